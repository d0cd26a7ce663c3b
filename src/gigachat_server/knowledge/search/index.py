"""All chunks of one chatbot in memory: the directions of their units, and inverted lists of their terms.

The idea: 2,500 chunks have 8,000 units, which are compared one by one in half a millisecond, so of them nothing is approximate.
Up to 16,384 chunks the codes of all units (`codes.py`) say, with all the words, which 1,000 chunks may be the best; of more,
the leading numbers of the chunks' embeddings (`vectors.py`) say which 3,000. Those are scored as they would be among few. A
removed document leaves its rows as tombstones until they outnumber the live rows; then the rows are packed again.

Invariants: every score is made of the whole cosine of the best unit, the whole BM25 and the whole coverage; only live rows
count, in the results as in N, the average length and every document frequency, so an index kept up to date answers like one
built afresh; and no text of another chatbot can move a score. The index holds no chunk texts: the store has them, by chunk id.
It is not thread-safe: its owner lets one thread at a time touch it, searching included.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from gigachat_server.knowledge.search.directions import Directions, loaded, quantised
from gigachat_server.knowledge.search.fuzzy import Vocabulary
from gigachat_server.knowledge.search.members import Members
from gigachat_server.knowledge.search.relevance import rank_scores
from gigachat_server.knowledge.search.scoring import (
    FIFTH,
    K1,
    MOST_ALIKE,
    MOST_COUNT,
    Alternatives,
    Candidate,
    Ranking,
    Search,
    Standing,
    distinct,
    heaviest,
    idf,
    length_norm,
    with_alike,
)
from gigachat_server.knowledge.search.vectors import BLOCK_ROWS, FEW_UNITS, Rows, UnitComparison, Vectors
from gigachat_server.language.codes import Language
from gigachat_server.models.base import Matrix, Vector

_COUNT_BITS = MOST_COUNT.bit_length()  # a posting is row << 8 | count
_MOST_WEIGHTS = 500_000  # numbers of worked-out weights that are kept, 16 bytes each
_LOOKED_AT = 3_000  # rows of many that are scored, or more where more are asked for
_LOOKED_AT_CODED = 1_000  # likewise where codes say which: they are nearer the truth
_LOOKED_AT_EACH = 20  # for each that is asked for
_FEWEST_TOMBSTONES = 256  # fewer are not worth packing
_FURTHER = 8  # times as many rows are looked at where too few are distinct
_FURTHEST = 1_000  # rows that are looked at for that, or as many as are asked for
_COMPARED_ROWS = 4_096  # at once, with what their document has said
_FEW_POSTINGS = 64  # of a term: so many are looked at one by one
_MOST_ALIKE_WORDS = 4_000  # prompts' words of which the terms like them are remembered
_TERM_BYTES, _ROW_BYTES = 230, 130  # Python's own cost of a dictionary entry with its array; of a row's id and slots


class IndexRow(msgspec.Struct, frozen=True):
    """One chunk to be indexed: its id, and its terms as `dump_stems` writes them."""

    chunk_id: str
    terms: str


class IndexUnits(msgspec.Struct, frozen=True):
    """The units of a document, and of each the numbers of the first and of the last chunk that it belongs to."""

    directions: Directions
    first: Rows
    last: Rows

    @classmethod
    def of(cls, vectors: Sequence[bytes], first: Sequence[int], last: Sequence[int]) -> IndexUnits:
        """As they are stored."""
        return cls(loaded(vectors), np.array(first, np.intp), np.array(last, np.intp))

    @classmethod
    def whole(cls, embeddings: Matrix) -> IndexUnits:
        """Of chunks that are units themselves."""
        own = np.arange(len(embeddings))
        return cls(quantised(embeddings), own, own)


class _Weights(NamedTuple):
    """A word in one state of the index: the live rows that hold it, its BM25 in each, and how rare it is."""

    rows: npt.NDArray[np.intp]
    bm25: npt.NDArray[np.float64]
    idf: float


class _Words(NamedTuple):
    """What the words of a query say of every row."""

    bm25: npt.NDArray[np.float64]
    coverage: npt.NDArray[np.float64]  # by words that are the same
    identified: npt.NDArray[np.float64]
    idfs: Sequence[float]  # of the prompt's own words
    is_unidentified: bool


class _Ranking(NamedTuple):
    """Rows with the order that a search gives them; a place in the ranking is that in `rows`."""

    ranking: Ranking
    rows: Sequence[int]
    document_ids: Sequence[str]


class ChatbotIndex:
    """The searchable chunks of one chatbot."""

    def __init__(self, dimension: int, *, capacity: int = 64, block_rows: int = BLOCK_ROWS, few_units: int = FEW_UNITS) -> None:
        self._vectors = Vectors(dimension, capacity=capacity, block_rows=block_rows, few_units=few_units)
        self._lengths: npt.NDArray[np.float64] = np.zeros(max(capacity, 1))  # 0 for a tombstone
        self._live: npt.NDArray[np.bool_] = np.zeros(len(self._lengths), dtype=np.bool_)
        self._chunk_ids: list[str] = []
        self._document_ids: list[str] = []
        self._documents: dict[str, range] = {}
        self._languages: dict[str, Language | None] = {}
        self._postings: dict[str, array[int]] = {}
        self._posting_count = 0
        self._vocabulary = Vocabulary()
        self._alike: dict[str, list[tuple[str, float]]] = {}  # of words that were asked for
        self._live_count = 0
        # What searches of this very state have worked out; gone with every change.
        self._length_norm: npt.NDArray[np.float64] | None = None  # BM25's, of every row
        self._weights: dict[Alternatives, _Weights] = {}
        self._weights_size = 0

    def __len__(self) -> int:
        return self._live_count

    def __contains__(self, document_id: str) -> bool:
        return document_id in self._documents

    @property
    def dimension(self) -> int:
        return self._vectors.dimension

    @property
    def languages(self) -> list[Language | None]:
        """Those of its documents."""
        return sorted(set(self._languages.values()), key=lambda spoken: spoken or "")

    @property
    def memory_bytes(self) -> int:
        """About what this index occupies."""
        arrays = self._vectors.nbytes + self._lengths.nbytes * 2 + self._live.nbytes
        arrays += self._weights_size * 16 + self._vocabulary.memory_bytes
        return arrays + self._posting_count * 5 + len(self._postings) * _TERM_BYTES + len(self._chunk_ids) * _ROW_BYTES

    # --- keeping up with the documents ---

    def add(self, document_id: str, rows: Sequence[IndexRow], units: IndexUnits, *, language: Language | None = None) -> None:
        """The document's chunks are these from now on; what it had before is gone. Each chunk has a unit."""
        if rows and units.directions.shape[1] != self.dimension:
            raise ValueError("a vector of another dimension than the index")
        self.remove(document_id)
        first, end = len(self._chunk_ids), len(self._chunk_ids) + len(rows)
        if not rows:
            return
        self._reserve(end)
        self._vectors.append(units.directions, Members.of(units.first, units.last, len(rows)))
        self._live[first:end] = True
        postings = self._postings
        for row_number, row in enumerate(rows, first):
            shifted = row_number << _COUNT_BITS
            length = added = 0
            for count, group in enumerate(row.terms.split("|"), 1):
                posting = shifted | min(count, MOST_COUNT)
                terms = group.split()
                length += count * len(terms)
                added += len(terms)
                for term in terms:
                    held = postings.get(term)
                    if held is None:
                        postings[term] = array("I", (posting,))
                        self._vocabulary.add(term)
                    else:
                        held.append(posting)
            self._lengths[row_number] = length
            self._posting_count += added
        self._chunk_ids.extend(row.chunk_id for row in rows)
        self._document_ids.extend([document_id] * len(rows))
        self._documents[document_id] = range(first, end)
        self._languages[document_id] = language
        self._live_count += len(rows)
        self._alike = {}
        self._forget_weights()

    def remove(self, document_id: str) -> None:
        """The document's chunks are found no more. An unknown document is none."""
        rows = self._documents.pop(document_id, None)
        if rows is None:
            return
        del self._languages[document_id]
        self._live[rows.start : rows.stop] = False
        self._lengths[rows.start : rows.stop] = 0
        self._live_count -= len(rows)
        self._forget_weights()
        if len(self._chunk_ids) - self._live_count > max(self._live_count, _FEWEST_TOMBSTONES):
            self._pack()

    def _reserve(self, rows: int) -> None:
        if rows > len(self._lengths):
            more = max(rows, 2 * len(self._lengths)) - len(self._lengths)
            self._lengths = np.concatenate([self._lengths, np.zeros(more)])
            self._live = np.concatenate([self._live, np.zeros(more, dtype=np.bool_)])

    def _pack(self) -> None:
        """Renumber the live rows without gaps."""
        used = len(self._chunk_ids)
        live = self._live[:used]
        kept = np.flatnonzero(live)
        new_rows = (np.cumsum(live) - 1).astype(np.uint32)
        postings: dict[str, array[int]] = {}
        self._posting_count = 0
        for term, held in self._postings.items():
            values = np.frombuffer(held, dtype=np.uint32)
            rows = values >> _COUNT_BITS
            counted = live[rows]
            if not counted.any():
                continue
            packed = (new_rows[rows[counted]] << _COUNT_BITS) | (values[counted] & MOST_COUNT)
            postings[term] = array("I", packed.astype(np.uint32).tobytes())
            self._posting_count += len(packed)
        self._postings = postings
        self._vocabulary, self._alike = Vocabulary(), {}
        for term in postings:
            self._vocabulary.add(term)
        self._chunk_ids = [self._chunk_ids[row] for row in kept]
        self._document_ids = [self._document_ids[row] for row in kept]
        self._documents = {
            document_id: range(int(new_rows[rows.start]), int(new_rows[rows.start]) + len(rows))
            for document_id, rows in self._documents.items()
        }
        self._vectors = self._vectors.kept(kept)
        self._lengths, self._live = self._lengths[kept], np.ones(len(kept), dtype=np.bool_)
        self._forget_weights()

    def lead_next(self) -> bool:
        """Make what searches of many rows are quicker by, a tenth of a second's work at most; False when all is there."""
        return self._vectors.lead_next()

    # --- searching ---

    def idf(self, word: Alternatives) -> float:
        """How rare the word is among the chunks; that of an unknown one is the greatest."""
        return self._weights_of(word).idf

    def _weights_of(self, word: Alternatives) -> _Weights:
        """What the word adds to the rows that hold it. Kept until the index changes: prompts repeat their words."""
        known = self._weights.get(word)
        if known is not None:
            return known
        used = len(self._chunk_ids)
        if self._length_norm is None:
            lengths = self._lengths[:used]
            self._length_norm = length_norm(lengths, chunks=self._live_count, total=float(lengths.sum()))
        parts = [np.frombuffer(self._postings.get(term, b""), dtype=np.uint32) for term in word]
        values = parts[0] if len(parts) == 1 else np.concatenate(parts)
        rows, counts = (values >> _COUNT_BITS).astype(np.intp), values & MOST_COUNT
        if self._live_count < used:
            rows, counts = rows[self._live[rows]], counts[self._live[rows]]
        frequency = (K1 + 1) * counts / (counts + self._length_norm[rows])
        if sum(map(len, parts)) > max(map(len, parts)):  # several of its terms are there: in each row the one that weighs most
            rows, places = np.unique(rows, return_inverse=True)
            most = np.zeros(len(rows))
            np.maximum.at(most, places, frequency)
            frequency = most
        rarity = idf(self._live_count, len(rows))
        if self._weights_size > _MOST_WEIGHTS:
            self._weights, self._weights_size = {}, 0
        self._weights_size += len(rows) + 1
        weights = self._weights[word] = _Weights(rows, rarity * frequency, rarity)
        return weights

    def _forget_weights(self) -> None:
        self._weights = {}
        self._weights_size = 0
        self._length_norm = None

    def search(self, search: Search) -> list[Candidate]:
        """The `search.limit` best live chunks, best first. Of one document's chunks that say the same, two."""
        limit = search.limit
        if self._live_count == 0 or limit < 1:
            return []
        vector = search.vector.astype(np.float32, copy=False)
        words = self._words(search)
        left_out = np.zeros(len(self._chunk_ids), dtype=np.bool_)
        ranked, compared = self._ranked(search, vector, words, left_out)
        reach, furthest = limit, max(limit, _FURTHEST)
        while True:
            softened = partial(self._with_alike_at, search, words.idfs, ranked)
            ranked.ranking.refine(softened)
            places = ranked.ranking.best(reach)
            kept = distinct(
                places,
                document_ids=ranked.document_ids,
                vectors=partial(self._vectors_at, ranked),
                limit=limit,
                same_text=search.scale.same_text,
            )
            if len(kept) == limit or len(places) == self._live_count - np.count_nonzero(left_out):
                break
            # A document repeats itself: further down there may be something else.
            if reach < furthest:
                reach = min(_FURTHER * reach, furthest)
                continue
            # So often that nothing else comes near: without its repetitions what is there moves up, so each time more are kept.
            self._leave_out_repeated(
                left_out,
                [ranked.rows[place] for place in places],
                [ranked.rows[place] for place in kept],
                same_text=search.scale.same_text,
            )
            if self._vectors.are_few:
                ranked.ranking.leave_out(left_out)
            else:
                ranked, _ = self._ranked(search, vector, words, left_out)
        return ranked.ranking.candidates(
            kept,
            Standing(fifth_best=compared.nth_best_unit(FIFTH), units=len(compared.units), is_unidentified=words.is_unidentified),
            softened=softened,
            language_of=self._languages.__getitem__,
        )

    def _leave_out_repeated(
        self, left_out: npt.NDArray[np.bool_], rows: Sequence[int], kept: Sequence[int], *, same_text: float
    ) -> None:
        """Mark those rows that are not kept, and all of their documents that say what `MOST_ALIKE` of the kept ones do.

        What is kept is better than what was not looked at, so this leaves out no row that `distinct` would keep.
        """
        not_kept = list(set(rows).difference(kept))
        left_out[not_kept] = True
        for document_id in {self._document_ids[row] for row in not_kept}:
            said = self._vectors.of([row for row in kept if self._document_ids[row] == document_id]).T
            of_document = self._documents[document_id]
            for start in range(of_document.start, of_document.stop, _COMPARED_ROWS):
                end = min(start + _COMPARED_ROWS, of_document.stop)
                alike = self._vectors.of(range(start, end)) @ said >= same_text
                left_out[start:end] |= np.count_nonzero(alike, axis=1) >= MOST_ALIKE
        left_out[list(kept)] = False

    def _ranked(
        self, search: Search, vector: Vector, words: _Words, left_out: npt.NDArray[np.bool_]
    ) -> tuple[_Ranking, UnitComparison]:
        """The rows that may be among the best, ranked, without those left out: all of them where they are few.

        And the units that were compared for that.
        """
        used = len(self._chunk_ids)
        if self._vectors.are_few:
            dead = ~self._live[:used] if self._live_count < used else None
            compared = self._vectors.compare_all(vector, dead=None if dead is None else np.flatnonzero(dead))
            ranking = Ranking(
                search,
                cosine=compared.best,
                bm25=words.bm25,
                coverage=words.coverage,
                identified=words.identified,
                chunk_ids=self._chunk_ids,
                document_ids=self._document_ids,
                dead=dead,
            )
            return _Ranking(ranking, range(used), self._document_ids), compared
        promising = self._promising(search, vector, words, left_out)
        rows = promising.tolist()
        document_ids = [self._document_ids[row] for row in rows]
        compared = self._vectors.compare(promising, vector)
        ranking = Ranking(
            search,
            cosine=compared.best,
            bm25=words.bm25[promising],
            coverage=words.coverage[promising],
            identified=words.identified[promising],
            chunk_ids=[self._chunk_ids[row] for row in rows],
            document_ids=document_ids,
            dead=left_out[promising],
        )
        return _Ranking(ranking, rows, document_ids), compared

    def nearest(self, vector: Vector, limit: int) -> list[tuple[str, float]]:
        """The ids of the live chunks nearest to the vector, with their cosines, nearest first: the half without words."""
        if self._live_count == 0:
            return []
        vector = vector.astype(np.float32, copy=False)
        rank = self._vectors.estimates(vector)
        rank[~self._live[: len(rank)]] = -np.inf
        count = min(max(self._looked_at, _LOOKED_AT_EACH * limit), self._live_count)
        rows = np.sort(np.argpartition(rank, len(rank) - count)[len(rank) - count :])
        cosines = self._vectors.compare(rows, vector).best
        return [(self._chunk_ids[rows[place]], float(cosines[place])) for place in np.argsort(-cosines)[:limit]]

    @property
    def _looked_at(self) -> int:
        return _LOOKED_AT_CODED if self._vectors.are_coded else _LOOKED_AT

    def _promising(self, search: Search, vector: Vector, words: _Words, left_out: npt.NDArray[np.bool_]) -> Rows:
        """Live rows that may be among the best, rising, the one whose words weigh most among them.

        None of those left out but that one: the others' scores are measured by it.
        """
        used = len(self._chunk_ids)
        heaviest_row = int(words.bm25.argmax())
        greatest = words.bm25[heaviest_row]
        rank = rank_scores(
            search.rank,
            cosine=_single(self._vectors.estimates(vector)),
            coverage=_single(words.coverage),
            lexical=_single(words.bm25) / np.float32(greatest if greatest > 0 else 1),
            identified=_single(words.identified),
        )
        if self._live_count < used:
            rank[~self._live[:used]] = -np.inf
        rank[left_out] = -np.inf
        counted = self._live_count - int(np.count_nonzero(left_out))
        count = min(max(self._looked_at, _LOOKED_AT_EACH * search.limit), counted)
        rows: Rows = np.argpartition(rank, used - count)[used - count :]
        return np.union1d(rows, [heaviest_row]) if greatest > 0 else np.sort(rows)

    def _words(self, search: Search) -> _Words:
        """Of every row."""
        own = [self._weights_of(word.alternatives) for word in search.words]
        idfs = [weights.idf for weights in own]
        total = sum(idfs)
        identifying = [self._weights_of(word) for word in search.identifiers]
        identified = np.zeros(len(self._chunk_ids))
        for weights in identifying:
            identified[weights.rows] = 1.0
        asked = [(self._weights_of(word), search.bag[word]) for word in heaviest(search.bag)]
        lengths = [len(weights.rows) for weights in own]
        return _Words(
            bm25=self._added([w.rows for w, _ in asked], [w.bm25 if times == 1 else times * w.bm25 for w, times in asked]),
            coverage=self._added([w.rows for w in own], [np.repeat([idf / total for idf in idfs], lengths)])
            if total > 0
            else identified * 0,
            identified=identified,
            idfs=idfs,
            is_unidentified=bool(identifying) and not any(len(weights.rows) for weights in identifying),
        )

    def _added(self, rows: Sequence[Rows], weights: Sequence[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
        """For every row the sum of what it was given: those weights, in a row, to those rows."""
        used = len(self._chunk_ids)
        if not any(map(len, rows)):
            return np.zeros(used)
        summed = np.bincount(np.concatenate(rows), weights=np.concatenate(weights), minlength=used)
        return summed.astype(np.float64, copy=False)

    def _vectors_at(self, ranked: _Ranking, places: Sequence[int]) -> Matrix:
        return self._vectors.of([ranked.rows[place] for place in places])

    def _with_alike_at(
        self, search: Search, idfs: Sequence[float], ranked: _Ranking, places: list[int], coverage: list[float]
    ) -> list[float]:
        """The coverage of the rows there, words that are alike counting in part."""
        rows = [ranked.rows[place] for place in places]
        number_of = {row: number for number, row in enumerate(rows)}
        holding = partial(self._holding, np.array(rows, np.uint32), number_of)
        return with_alike(coverage, search.words, idfs, alike=self._alike_to, holding=holding)

    def _alike_to(self, word: str) -> list[tuple[str, float]]:
        known = self._alike.get(word)
        if known is None:
            if len(self._alike) >= _MOST_ALIKE_WORDS:
                self._alike = {}
            known = self._alike[word] = self._vocabulary.alike(word)
        return known

    def _holding(self, rows: npt.NDArray[np.uint32], number_of: Mapping[int, int], term: str) -> list[int]:
        """The numbers of those of the rows that hold the term."""
        held = self._postings.get(term)
        if held is None:
            return []
        if len(held) <= _FEW_POSTINGS:
            return [number for posting in held if (number := number_of.get(posting >> _COUNT_BITS)) is not None]
        postings = np.frombuffer(held, dtype=np.uint32)
        at = np.searchsorted(postings, rows << _COUNT_BITS)  # postings rise with their rows
        is_held = postings[np.minimum(at, len(postings) - 1)] >> _COUNT_BITS == rows
        return np.flatnonzero(is_held).tolist()


def _single(numbers: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Precise enough to say what is worth a look, in half the memory."""
    return numbers.astype(np.float32, copy=False)
