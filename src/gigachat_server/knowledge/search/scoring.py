"""How chunks are scored: what every searcher shares, whether it holds a chatbot's chunks or has its store look for them.

The idea: a searcher says of each chunk that it looked at how near its best unit is and what its terms weigh; the order, the
features, the relevance and the scores are made here, so the same chunks get the same scores however they were found.

BM25: k1 1.2, b .5, idf = ln(1 + (N - df + .5) / (df + .5)) (Robertson; the form that cannot go negative). A word of a prompt
may be there as one of several terms: df counts the chunks that hold any of them, and the one that weighs most counts. N, df
and the average length are those of the chatbot's own chunks: no text of another one can move a score.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from gigachat_server.knowledge.search.relevance import Features, rank_scores, rank_weights, relevance
from gigachat_server.language.codes import Language
from gigachat_server.language.detect import is_foreign
from gigachat_server.language.terms import QueryWord
from gigachat_server.models.base import Matrix, RankWeights, RelevanceScale, Vector

Numbers = TypeVar("Numbers", float, npt.NDArray[np.float64])
Places = npt.NDArray[np.intp]
# For some places and their coverage by words that are the same: their coverage with words that are alike counting in part.
Softened = Callable[[list[int], list[float]], list[float]]
Word = TypeVar("Word")
Alternatives = tuple[str, ...]  # the terms of one word of a prompt: whoever holds any of them holds the word

K1, B = 1.2, 0.5
MOST_STEMS = 256  # of one query's bag that are looked up: the heaviest
MOST_COUNT = 255  # more often counts no more

MOST_ALIKE = 2  # chunks of one document in one result that say the same
FIFTH = 5  # the best unit but four is what the others stand out from

_REFINED = 50  # places that are ordered with words that are alike

_SAME_RANK = 1e-6  # ranks that differ by less are equal: sums in another order differ by as much


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A chunk that a search found. The fields mean what `models.base.Passage` says of them."""

    chunk_id: str
    document_id: str
    cosine: float
    lexical: float
    coverage: float
    is_foreign: bool
    prior: float
    margin: float
    identified: float
    units: int
    rank_score: float
    score: float


# --- stems ---


def dump_stems(stems: Iterable[str]) -> str:
    """A chunk's stem counts as text: the stems that occur once, then after each `|` those that occur once more."""
    groups: list[list[str]] = []
    for stem, count in Counter(stems).items():
        groups.extend([] for _ in range(count - len(groups)))
        groups[count - 1].append(stem)
    return "|".join(map(" ".join, groups))


def load_stems(text: str) -> dict[str, int]:
    """The counts that `dump_stems` wrote."""
    return {stem: count for count, group in enumerate(text.split("|"), 1) for stem in group.split()}


def heaviest(bag: Mapping[Word, float], most: int = MOST_STEMS) -> list[Word]:
    """The words of a query's bag that are looked up."""
    return sorted(bag, key=bag.__getitem__, reverse=True)[:most] if len(bag) > most else list(bag)


# --- BM25 ---


def idf(chunks: int, holding: int) -> float:
    """How rare a stem is that so many of the chunks hold."""
    return math.log(1 + (chunks - holding + 0.5) / (holding + 0.5))


def length_norm(lengths: Numbers, *, chunks: int, total: float) -> Numbers:
    """What BM25 adds to the counts of a chunk of that length; `total` is the length of all chunks together."""
    return K1 * (1 - B + B * lengths / max(total / max(chunks, 1), 1.0))


# --- one order out of all that is known ---


class Search(msgspec.Struct, frozen=True, kw_only=True):
    """What is searched for, and by what it is judged.

    `bag` has the weights of all words that are looked up, those of the conversation among them; `words` are the prompt's own.
    `prior`: what the prompt alone says; `is_lenient`: the model that reads the passages judges for itself.
    """

    text: str
    vector: Vector
    bag: Mapping[Alternatives, float]
    words: tuple[QueryWord, ...]
    is_dependent: bool
    scale: RelevanceScale
    is_lenient: bool = False
    prior: float = 0.0
    limit: int

    @property
    def rank(self) -> RankWeights:
        return rank_weights(self.scale, is_dependent=self.is_dependent)

    @property
    def identifiers(self) -> list[Alternatives]:
        return [word.alternatives for word in self.words if word.is_identifier]


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What is the same for all passages of one search.

    `fifth_best`: the cosine of the chatbot's fifth best unit. `units`: how many it has, or more than a relevance counts.
    `is_unidentified`: no chunk holds any of the prompt's identifiers.
    """

    fifth_best: float
    units: int
    is_unidentified: bool


class Ranking:
    """Chunks in the order of `relevance.rank_scores`. `dead` are places that do not count.

    The coverage they begin with counts only words that are the same; `refine` has those that come first count as they are judged.
    """

    def __init__(
        self,
        search: Search,
        *,
        cosine: Vector,
        bm25: npt.NDArray[np.float64],
        coverage: npt.NDArray[np.float64],
        identified: npt.NDArray[np.float64],
        chunk_ids: Sequence[str],
        document_ids: Sequence[str],
        dead: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        greatest = bm25.max(initial=0.0)
        self._search = search
        self._cosine: npt.NDArray[np.float64] = cosine.astype(np.float64)
        self._lexical: npt.NDArray[np.float64] = bm25 / greatest if greatest > 0 else bm25
        self._coverage = coverage
        self._identified = identified
        self._chunk_ids = chunk_ids
        self._document_ids = document_ids
        self._refined: set[int] = set()
        self._ahead: Places | None = None  # the places that were refined together, ahead of all others
        self._same = _SAME_RANK * max(search.rank.cosine, 1.0)
        self._rank = rank_scores(
            search.rank, cosine=self._cosine, coverage=coverage, lexical=self._lexical, identified=identified
        )
        self.counted = len(self._rank)
        if dead is not None:
            self._rank[dead] = -np.inf
            self.counted -= int(dead.sum())

    def best(self, limit: int) -> list[int]:
        """The places of the greatest ranks, equal ones by chunk id: no order hangs on where a chunk happens to lie."""
        limit = min(limit, self.counted)
        if limit < 1:
            return []
        if self._ahead is not None and limit <= len(self._ahead):
            return [int(self._ahead[at]) for at in self._greatest(self._rank[self._ahead], limit, self._ahead)]
        return self._greatest(self._rank, limit)

    def _greatest(self, ranks: npt.NDArray[np.float64], limit: int, places: Places | None = None) -> list[int]:
        """Where the greatest of these ranks are, which are those of these places, or of all."""
        least = np.partition(ranks, len(ranks) - limit)[len(ranks) - limit]
        near = np.flatnonzero(ranks >= least - self._same)
        rank = np.round(ranks[near] / self._same)
        last = np.partition(rank, len(rank) - limit)[len(rank) - limit]
        is_ahead = rank > last
        ahead = near[is_ahead].tolist()
        by_rank = dict(zip(ahead, rank[is_ahead].tolist(), strict=True))

        def chunk_id(at: int) -> str:
            return self._chunk_ids[at if places is None else int(places[at])]

        ahead.sort(key=lambda at: (-by_rank[at], chunk_id(at)))
        # However many are equal at the end, no more of them are sorted than fit.
        return [*ahead, *heapq.nsmallest(limit - len(ahead), near[rank == last].tolist(), key=chunk_id)]

    def leave_out(self, places: npt.NDArray[np.bool_]) -> None:
        """From now on the places marked do not count either."""
        self._rank[places] = -np.inf
        self.counted = int(np.count_nonzero(self._rank > -np.inf))
        self._ahead = None

    def refine(self, softened: Softened) -> None:
        """The best of them are ordered with all that they cover. None loses by it, so they stay ahead of the others."""
        if self._search.rank.coverage <= 0 or self._ahead is not None:
            return
        most = max(_REFINED, self._search.limit)
        ahead = np.flatnonzero(self._rank > -np.inf) if self.counted <= most else np.array(self.best(most), np.intp)
        self._cover(ahead.tolist(), softened)
        self._ahead = ahead

    def _cover(self, places: Sequence[int], softened: Softened) -> None:
        missing = [place for place in places if place not in self._refined]
        if not missing:
            return
        self._refined.update(missing)
        before = self._coverage[missing]
        after = np.array(softened(missing, before.tolist()))
        self._coverage[missing] = after
        self._rank[missing] += self._search.rank.coverage * (after - before)

    def candidates(
        self,
        places: Sequence[int],
        standing: Standing,
        *,
        softened: Softened,
        language_of: Callable[[str], Language | None],
    ) -> list[Candidate]:
        """The chunks there, best first, with their scores. `language_of` a document, by its id."""
        self._cover(places, softened)
        search = self._search
        foreign = {spoken: is_foreign(search.text, spoken) for spoken in {language_of(self._document_ids[p]) for p in places}}
        found = []
        for place in places:
            features = Features(
                cosine=float(self._cosine[place]),
                coverage=float(self._coverage[place]),
                is_foreign=foreign[language_of(self._document_ids[place])],
                prior=search.prior,
                margin=float(self._cosine[place]) - standing.fifth_best,
                identified=-1.0 if standing.is_unidentified else float(self._identified[place]),
                units=standing.units,
            )
            found.append(
                Candidate(
                    chunk_id=self._chunk_ids[place],
                    document_id=self._document_ids[place],
                    cosine=features.cosine,
                    lexical=float(self._lexical[place]),
                    coverage=features.coverage,
                    is_foreign=features.is_foreign,
                    prior=features.prior,
                    margin=features.margin,
                    identified=features.identified,
                    units=features.units,
                    rank_score=float(self._rank[place]),
                    score=relevance(search.scale, features, is_lenient=search.is_lenient),
                )
            )
        found.sort(key=lambda candidate: (-round(candidate.rank_score / self._same), candidate.chunk_id))
        return found


def with_alike(
    coverage: list[float],
    words: Sequence[QueryWord],
    idfs: Sequence[float],
    *,
    alike: Callable[[str], Iterable[tuple[str, float]]],
    holding: Callable[[str], Iterable[int]],
) -> list[float]:
    """The coverage of some places by words that are the same, with words that are alike counting in part.

    Coverage is the share of the words' idf that a chunk holds. `alike`: terms like a word, the likest first; `holding`: the
    numbers of the places whose chunks hold a term.
    """
    total = sum(idfs)
    if total <= 0:
        return coverage
    for word, weight in zip(words, idfs, strict=True):
        near: dict[int, float] = {}
        for term, likeness in alike(word.word):
            for number in holding(term):
                near.setdefault(number, likeness)
        if not near:  # which is what most words are, so whoever holds the word itself is asked last
            continue
        for term in word.alternatives:
            for number in holding(term):
                near.pop(number, None)
        for number, likeness in near.items():
            coverage[number] += weight * likeness / total
    return coverage


def crowding(places: Sequence[int], document_ids: Sequence[str]) -> list[int]:
    """Those places that may say what others do: of documents with more than `MOST_ALIKE` among them."""
    count = Counter(document_ids[place] for place in places)
    return [place for place in places if count[document_ids[place]] > MOST_ALIKE]


def distinct(
    places: Sequence[int],
    *,
    document_ids: Sequence[str],
    vectors: Callable[[list[int]], Matrix],
    limit: int,
    same_text: float,
) -> list[int]:
    """The first `limit` of these places, without those that say what `MOST_ALIKE` better ones of their document do.

    So one document that repeats itself cannot fill the results; its chunks that differ are all let through. `vectors` is
    asked for those of the places that `crowding` names; from the cosine `same_text` on two of them say the same.
    """
    of_document: dict[str, list[int]] = {}
    for position, place in enumerate(places):
        of_document.setdefault(document_ids[place], []).append(position)
    kept: list[int] = []
    for positions in of_document.values():
        if len(positions) > MOST_ALIKE:
            positions = _unlike(positions, vectors([places[p] for p in positions]), limit, same_text)
        kept += positions
    return [places[position] for position in sorted(kept)[:limit]]


def _unlike(positions: Sequence[int], matrix: Matrix, limit: int, same_text: float) -> list[int]:
    kept: list[int] = []
    said = np.zeros(len(positions), dtype=np.intp)  # by how many of the kept
    at = 0
    while at < len(positions) and len(kept) < limit:
        kept.append(positions[at])
        said += matrix @ matrix[at] >= same_text
        at += 1
        at += int(np.argmax(said[at:] < MOST_ALIKE)) if (said[at:] < MOST_ALIKE).any() else len(positions)
    return kept
