"""What a store found for a prompt, scored as an index in memory scores what it holds.

Idea: a store brings chunks with the cosine of their embedding and with their terms. That says which of them are promising; of
those the units are asked for, and the best of its units is how near a chunk is.

Invariant: a promising chunk has the cosine, BM25, coverage and identifiers that it would have among all chunks; the chunk whose
words weigh most of all that were found is always among them, since the others are measured by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from gigachat_server.knowledge.search.directions import cosines, inverse_norms, loaded
from gigachat_server.knowledge.search.fuzzy import Vocabulary
from gigachat_server.knowledge.search.relevance import rank_scores
from gigachat_server.knowledge.search.scoring import (
    FIFTH,
    K1,
    MOST_COUNT,
    Alternatives,
    Ranking,
    Search,
    Standing,
    heaviest,
    idf,
    length_norm,
    load_stems,
    with_alike,
)
from gigachat_server.language.codes import Language
from gigachat_server.store.chunk_search import FoundChunk, FoundUnit


class Counts(NamedTuple):
    """What BM25 knows of all chunks: how many there are, their length together, and how many hold each word."""

    chunks: int
    length: int
    holding: Mapping[Alternatives, int]


class _WordShare(NamedTuple):
    """What the words of a query say of a chunk."""

    bm25: float
    coverage: float
    identified: float


class Pool:
    """The chunks found for one search. `counts` are to be set before any are added, `languages` of their documents after."""

    def __init__(self, search: Search, vocabulary: Vocabulary) -> None:
        self._search = search
        self._vocabulary = vocabulary
        self._found: dict[str, FoundChunk] = {}
        self._said: dict[str, _WordShare] = {}
        self._units: dict[tuple[str, int], float] = {}  # the cosine of each, by its document and number
        self._best: dict[str, float] = {}  # of the units of each chunk
        self._terms: dict[str, Mapping[str, int]] = {}
        self._asked = heaviest(search.bag)
        self.counts = Counts(0, 0, {})
        self.promising: list[FoundChunk] = []
        self.languages: dict[str, Language | None] = {}

    def idf(self, word: Alternatives) -> float:
        return idf(self.counts.chunks, self.counts.holding.get(word, 0))

    def add(self, found: Sequence[FoundChunk], *, most: int, without: Sequence[str] = ()) -> None:
        """These are there too; `most` of all that are there are promising, beside what is known of the documents `without`."""
        fresh = [chunk for chunk in {chunk.id: chunk for chunk in found}.values() if chunk.id not in self._found]
        self._found.update((chunk.id, chunk) for chunk in fresh)
        self._said.update(zip((chunk.id for chunk in fresh), self._words(fresh), strict=True))
        chunks = [chunk for chunk in self._found.values() if chunk.document_id not in without]
        repeated = [chunk for chunk in self._found.values() if chunk.document_id in without and chunk.id in self._best]
        if len(chunks) > most:
            said = [self._said[chunk.id] for chunk in chunks]
            bm25 = np.array([each.bm25 for each in said])
            greatest = bm25.max()
            rank = rank_scores(
                self._search.rank,
                cosine=np.array([chunk.cosine for chunk in chunks]),
                coverage=np.array([each.coverage for each in said]),
                lexical=bm25 / greatest if greatest > 0 else bm25,
                identified=np.array([each.identified for each in said]),
            )
            order = np.argpartition(-rank, most)[:most].tolist()
            heaviest_place = int(bm25.argmax())
            chunks = [chunks[place] for place in dict.fromkeys([*order, heaviest_place])]
        self.promising = chunks + repeated

    def without_units(self) -> list[FoundChunk]:
        """The promising ones whose units are not known yet."""
        return [chunk for chunk in self.promising if chunk.id not in self._best]

    def add_units(self, units: Sequence[FoundUnit]) -> None:
        """All units of what was `without_units`."""
        fresh = list({(unit.document_id, unit.number): unit for unit in units}.values())
        if fresh:
            directions = loaded([unit.vector for unit in fresh])
            found = cosines(directions, inverse_norms(directions), self._search.vector)
            self._units.update(zip(((unit.document_id, unit.number) for unit in fresh), found.tolist(), strict=True))
        by_place = {(unit.document_id, unit.number): unit for unit in fresh}
        for chunk in self.without_units():
            numbers = range(0) if chunk.first_unit is None else range(chunk.first_unit, (chunk.last_unit or 0) + 1)
            own = [
                self._units[place]
                for number in numbers
                if (unit := by_place.get(place := (chunk.document_id, number))) is not None
                and unit.first_chunk <= chunk.number <= unit.last_chunk
            ]
            if not own:  # it was embedded as a whole, by an earlier version
                self._units[chunk.document_id, -1 - chunk.number] = chunk.cosine
                own = [chunk.cosine]
            self._best[chunk.id] = max(own)

    def ranked(self) -> Ranking:
        """The promising ones in their order; a place is that in `promising`."""
        said = [self._said[chunk.id] for chunk in self.promising]
        return Ranking(
            self._search,
            cosine=np.array([self._best[chunk.id] for chunk in self.promising], np.float32),
            bm25=np.array([each.bm25 for each in said]),
            coverage=np.array([each.coverage for each in said]),
            identified=np.array([each.identified for each in said]),
            chunk_ids=[chunk.id for chunk in self.promising],
            document_ids=[chunk.document_id for chunk in self.promising],
        )

    def standing(self) -> Standing:
        best = sorted(self._units.values(), reverse=True)
        identifiers = self._search.identifiers
        return Standing(
            fifth_best=best[min(FIFTH, len(best)) - 1] if best else 0.0,
            units=max(len(best), self.counts.chunks),
            is_unidentified=bool(identifiers) and not any(self.counts.holding.get(word, 0) for word in identifiers),
        )

    def softened(self, places: Sequence[int], coverage: list[float]) -> list[float]:
        """The coverage of these promising ones, words that are alike counting in part."""
        held = [self._terms_of(self.promising[place]) for place in places]

        def holding(term: str) -> list[int]:
            return [number for number, terms in enumerate(held) if term in terms]

        words = self._search.words
        idfs = [self.idf(word.alternatives) for word in words]
        return with_alike(coverage, words, idfs, alike=self._vocabulary.alike, holding=holding)

    def _terms_of(self, chunk: FoundChunk) -> Mapping[str, int]:
        known = self._terms.get(chunk.id)
        if known is None:
            known = self._terms[chunk.id] = load_stems(chunk.stems)
            for term in known:
                self._vocabulary.add(term)
        return known

    def _words(self, found: Sequence[FoundChunk]) -> list[_WordShare]:
        """What the words of the query say of these chunks."""
        wanted = frozenset(term for word in (*self._asked, *(w.alternatives for w in self._search.words)) for term in word)
        counts: list[dict[str, int]] = []
        lengths: list[int] = []
        for chunk in found:
            said: dict[str, int] = {}
            length = 0
            for times, group in enumerate(chunk.stems.split("|"), 1):
                terms = group.split()
                length += times * len(terms)
                for term in wanted.intersection(terms):
                    said[term] = min(times, MOST_COUNT)
            counts.append(said)
            lengths.append(length)
        norms = length_norm(np.array(lengths, dtype=np.float64), chunks=self.counts.chunks, total=self.counts.length).tolist()
        weights = {word: self._search.bag[word] * self.idf(word) * (K1 + 1) for word in self._asked}
        own = {word.alternatives: self.idf(word.alternatives) for word in self._search.words}
        total, identifiers = sum(own.values()), self._search.identifiers
        return [
            _WordShare(
                bm25=sum(
                    weight * times / (times + norm)
                    for word, weight in weights.items()
                    if (times := max((said.get(term, 0) for term in word), default=0))
                ),
                coverage=sum(rarity for word, rarity in own.items() if _holds(said, word)) / total if total > 0 else 0.0,
                identified=float(any(_holds(said, word) for word in identifiers)),
            )
            for said, norm in zip(counts, norms, strict=True)
        ]


def _holds(said: Mapping[str, int], word: Alternatives) -> bool:
    return any(term in said for term in word)
