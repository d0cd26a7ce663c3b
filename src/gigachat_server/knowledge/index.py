"""All chunks of one chatbot in memory: a matrix of vectors and inverted lists of stems.

The idea: 10,000 chunks are 15 MB of vectors, which one matrix-vector product reads in milliseconds, so up to 32,768 rows
nothing is approximate. Of more, the first numbers of the vectors (`vectors.py`) and all the words say which 2,000 rows may be
the best, and those are scored as they would be among few. A removed document leaves its rows as tombstones until they outnumber
the live rows; then the rows are packed anew.

Invariants: every score is made of the whole cosine and the whole BM25; only live rows count, in the results as in N, the
average length and every document frequency, so an index kept up to date answers like one built afresh; and no text of another
chatbot can move a score. The index holds no chunk texts: the store has them, by chunk id. It is not thread-safe: its owner
lets one thread at a time touch it, searching included.

Measured on one core of an AMD EPYC with eight stems a query: 0.2 ms a search of 100 chunks, 1.2 ms of 10,000; loading
10,000 takes 0.4 s. A chunk of up to 1000 characters takes 2.6 kB (mtrag_cloud, 7,277 chunks).
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from gigachat_server.knowledge.scoring import (
    ALIKE,
    COSINE_SHARE,
    K1,
    MOST_ALIKE,
    MOST_COUNT,
    Candidate,
    Ranking,
    distinct,
    heaviest,
    idf,
    length_norm,
)
from gigachat_server.knowledge.vectors import BLOCK_ROWS, Rows, Vectors
from gigachat_server.models.base import RelevanceScale, Vector

_COUNT_BITS = MOST_COUNT.bit_length()  # a posting is row << 8 | count
_MOST_WEIGHTS = 500_000  # numbers of worked-out weights that are kept, 16 bytes each
_LOOKED_AT = 2_000  # rows of many that are scored, or more where more are asked for
_LOOKED_AT_EACH = 20  # for each that is asked for
_FEWEST_TOMBSTONES = 256  # fewer are not worth packing
_FURTHER = 8  # times as many rows are looked at where too few are distinct
_FURTHEST = 1_000  # rows that are looked at for that, or as many as are asked for
_COMPARED_ROWS = 4_096  # at once, with what their document has said
_STEM_BYTES, _ROW_BYTES = 230, 130  # Python's own cost of a dictionary entry with its array; of a row's id and slots


class IndexRow(msgspec.Struct, frozen=True):
    """One chunk to be indexed: its id, its stems as `dump_stems` writes them, its unit vector."""

    chunk_id: str
    stems: str
    vector: Vector


class _Weights(NamedTuple):
    """A stem in one state of the index: the live rows that hold it, its BM25 in each, and how rare it is."""

    rows: npt.NDArray[np.intp]
    bm25: npt.NDArray[np.float64]
    idf: float


class _Ranked(NamedTuple):
    """Rows with the order that a search gives them; a place in the ranking is that in `rows`."""

    ranking: Ranking
    rows: Sequence[int]
    document_ids: Sequence[str]
    vectors: Vectors

    def distinct(self, places: Sequence[int], limit: int) -> list[int]:
        """The first `limit` of the places, without what a document repeats."""
        return distinct(
            places,
            document_ids=self.document_ids,
            vectors=lambda wanted: self.vectors.of([self.rows[place] for place in wanted]),
            limit=limit,
        )


class ChatbotIndex:
    """The searchable chunks of one chatbot."""

    def __init__(self, dimension: int, *, capacity: int = 64, block_rows: int = BLOCK_ROWS) -> None:
        self._vectors = Vectors(dimension, capacity=capacity, block_rows=block_rows)
        self._lengths: npt.NDArray[np.float64] = np.zeros(max(capacity, 1))  # 0 for a tombstone
        self._live: npt.NDArray[np.bool_] = np.zeros(len(self._lengths), dtype=np.bool_)
        self._chunk_ids: list[str] = []
        self._document_ids: list[str] = []
        self._documents: dict[str, range] = {}
        self._postings: dict[str, array[int]] = {}
        self._posting_count = 0
        self._live_count = 0
        # What searches of this very state have worked out; gone with every change.
        self._length_norm: npt.NDArray[np.float64] | None = None  # BM25's, of every row
        self._weights: dict[str, _Weights] = {}
        self._weights_size = 0

    def __len__(self) -> int:
        return self._live_count

    def __contains__(self, document_id: str) -> bool:
        return document_id in self._documents

    @property
    def dimension(self) -> int:
        return self._vectors.dimension

    @property
    def memory_bytes(self) -> int:
        """About what this index occupies."""
        arrays = self._vectors.nbytes + self._lengths.nbytes * 2 + self._live.nbytes
        arrays += self._weights_size * 16
        return arrays + self._posting_count * 5 + len(self._postings) * _STEM_BYTES + len(self._chunk_ids) * _ROW_BYTES

    # --- keeping up with the documents ---

    def add(self, document_id: str, rows: Sequence[IndexRow]) -> None:
        """The document's chunks are these from now on; what it had before is gone."""
        vectors = [row.vector for row in rows]
        if any(vector.shape != (self.dimension,) for vector in vectors):
            raise ValueError("a vector of another dimension than the index")
        self.remove(document_id)
        first, end = len(self._chunk_ids), len(self._chunk_ids) + len(rows)
        if not rows:
            return
        self._reserve(end)
        self._vectors.append(vectors)
        self._live[first:end] = True
        postings = self._postings
        for row_number, row in enumerate(rows, first):
            shifted = row_number << _COUNT_BITS
            length = added = 0
            for count, group in enumerate(row.stems.split("|"), 1):
                posting = shifted | min(count, MOST_COUNT)
                stems = group.split()
                length += count * len(stems)
                added += len(stems)
                for stem in stems:
                    held = postings.get(stem)
                    if held is None:
                        postings[stem] = array("I", (posting,))
                    else:
                        held.append(posting)
            self._lengths[row_number] = length
            self._posting_count += added
        self._chunk_ids.extend(row.chunk_id for row in rows)
        self._document_ids.extend([document_id] * len(rows))
        self._documents[document_id] = range(first, end)
        self._live_count += len(rows)
        self._forget_weights()

    def remove(self, document_id: str) -> None:
        """The document's chunks are found no more. An unknown document is none."""
        rows = self._documents.pop(document_id, None)
        if rows is None:
            return
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
        for stem, held in self._postings.items():
            values = np.frombuffer(held, dtype=np.uint32)
            rows = values >> _COUNT_BITS
            counted = live[rows]
            if not counted.any():
                continue
            packed = (new_rows[rows[counted]] << _COUNT_BITS) | (values[counted] & MOST_COUNT)
            postings[stem] = array("I", packed.astype(np.uint32).tobytes())
            self._posting_count += len(packed)
        self._postings = postings
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

    def idf(self, stem: str) -> float:
        """How rare the stem is among the chunks; that of an unknown stem is the greatest."""
        return self._weights_of(stem).idf

    def _weights_of(self, stem: str) -> _Weights:
        """What the stem adds to the rows that hold it. Kept until the index changes: prompts repeat their words."""
        known = self._weights.get(stem)
        if known is not None:
            return known
        used = len(self._chunk_ids)
        if self._length_norm is None:
            lengths = self._lengths[:used]
            self._length_norm = length_norm(lengths, chunks=self._live_count, total=float(lengths.sum()))
        values = np.frombuffer(self._postings.get(stem, b""), dtype=np.uint32)
        rows, counts = (values >> _COUNT_BITS).astype(np.intp), values & MOST_COUNT
        if self._live_count < used:
            rows, counts = rows[self._live[rows]], counts[self._live[rows]]
        rarity = idf(self._live_count, len(rows))
        bm25 = rarity * (K1 + 1) * counts / (counts + self._length_norm[rows])
        if self._weights_size > _MOST_WEIGHTS:
            self._weights, self._weights_size = {}, 0
        self._weights_size += len(rows) + 1
        weights = self._weights[stem] = _Weights(rows, bm25, rarity)
        return weights

    def _forget_weights(self) -> None:
        self._weights = {}
        self._weights_size = 0
        self._length_norm = None

    def search(
        self,
        vector: Vector,
        bag: Mapping[str, float],
        *,
        own_stems: Iterable[str],
        scale: RelevanceScale,
        limit: int,
    ) -> list[Candidate]:
        """The `limit` best live chunks by .7 cosine to `vector` + .3 BM25 of the weighted `bag`, best first.

        Of one document's chunks that say the same, two. Coverage is that of `own_stems`, in a follow-up not all of the bag.
        """
        if self._live_count == 0 or limit < 1:
            return []
        vector = vector.astype(np.float32, copy=False)
        bm25 = self._bm25(bag)
        own_idf = {stem: self._weights_of(stem).idf for stem in own_stems}
        left_out = np.zeros(len(self._chunk_ids), dtype=np.bool_)
        ranked = self._ranked(vector, bm25, limit, left_out)
        reach, furthest = limit, max(limit, _FURTHEST)
        while True:
            places = ranked.ranking.best(reach)
            kept = ranked.distinct(places, limit)
            if len(kept) == limit or len(places) == self._live_count - np.count_nonzero(left_out):
                break
            # A document repeats itself: further down there may be something else.
            if reach < furthest:
                reach = min(_FURTHER * reach, furthest)
                continue
            # So often that nothing else comes near: without its repetitions what is there moves up, so each time more are kept.
            self._leave_out_repeated(left_out, [ranked.rows[place] for place in places], [ranked.rows[place] for place in kept])
            if self._vectors.are_few:
                ranked.ranking.leave_out(left_out)
            else:
                ranked = self._ranked(vector, bm25, limit, left_out)
        return ranked.ranking.candidates(
            kept,
            holds=lambda place, stem: self._holds(ranked.rows[place], stem),
            own_idf=own_idf,
            scale=scale,
        )

    def _leave_out_repeated(self, left_out: npt.NDArray[np.bool_], rows: Sequence[int], kept: Sequence[int]) -> None:
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
                alike = self._vectors.of(range(start, end)) @ said >= ALIKE
                left_out[start:end] |= np.count_nonzero(alike, axis=1) >= MOST_ALIKE
        left_out[list(kept)] = False

    def _ranked(self, vector: Vector, bm25: npt.NDArray[np.float64], limit: int, left_out: npt.NDArray[np.bool_]) -> _Ranked:
        """The rows that may be among the best, ranked, without those left out: all of them where they are few."""
        used = len(self._chunk_ids)
        if self._vectors.are_few:
            dead = ~self._live[:used] if self._live_count < used else None
            ranking = Ranking(
                self._vectors.cosines(vector), bm25, chunk_ids=self._chunk_ids, document_ids=self._document_ids, dead=dead
            )
            return _Ranked(ranking, range(used), self._document_ids, self._vectors)
        promising = self._promising(vector, bm25, limit, left_out)
        rows = promising.tolist()
        document_ids = [self._document_ids[row] for row in rows]
        ranking = Ranking(
            self._vectors.cosines_of(promising, vector),
            bm25[promising],
            chunk_ids=[self._chunk_ids[row] for row in rows],
            document_ids=document_ids,
            dead=left_out[promising],
        )
        return _Ranked(ranking, rows, document_ids, self._vectors)

    def nearest(self, vector: Vector, limit: int) -> list[tuple[str, float]]:
        """The ids of the live chunks nearest to the vector, with their cosines, nearest first: the half without words."""
        if self._live_count == 0:
            return []
        vector = vector.astype(np.float32, copy=False)
        rows = self._promising(vector, np.zeros(0), limit)
        cosines = self._vectors.cosines_of(rows, vector)
        return [(self._chunk_ids[rows[place]], float(cosines[place])) for place in np.argsort(-cosines)[:limit]]

    def _promising(
        self, vector: Vector, bm25: npt.NDArray[np.float64], limit: int, left_out: npt.NDArray[np.bool_] | None = None
    ) -> Rows:
        """Live rows that may be among the best, rising, the one whose words weigh most among them. `bm25`: none, or all.

        None of those left out but that one: the others' scores are measured by it.
        """
        used = len(self._chunk_ids)
        rank = self._vectors.estimates(vector)
        heaviest_row = int(bm25.argmax()) if len(bm25) else 0
        if len(bm25) and bm25[heaviest_row] > 0:
            # In single precision, and scaled so that the cosines need no pass of their own.
            rank += bm25.astype(np.float32) * np.float32((1 - COSINE_SHARE) / COSINE_SHARE / bm25[heaviest_row])
        if self._live_count < used:
            rank[~self._live[:used]] = -np.inf
        counted = self._live_count
        if left_out is not None:
            rank[left_out] = -np.inf
            counted -= int(np.count_nonzero(left_out))
        count = min(max(_LOOKED_AT, _LOOKED_AT_EACH * limit), counted)
        rows: Rows = np.argpartition(rank, used - count)[used - count :]
        return np.union1d(rows, [heaviest_row]) if len(bm25) and bm25[heaviest_row] > 0 else np.sort(rows)

    def _bm25(self, bag: Mapping[str, float]) -> npt.NDArray[np.float64]:
        """Of every row."""
        used = len(self._chunk_ids)
        found = [(weights, bag[stem]) for stem in heaviest(bag) if len((weights := self._weights_of(stem)).rows)]
        if not found:
            return np.zeros(used)
        rows = np.concatenate([weights.rows for weights, _ in found])
        added = np.concatenate([weights.bm25 if times == 1 else times * weights.bm25 for weights, times in found])
        return np.bincount(rows, weights=added, minlength=used).astype(np.float64, copy=False)

    def _holds(self, row: int, stem: str) -> bool:
        held = self._postings.get(stem)
        if held is None:
            return False
        place = bisect_left(held, row << _COUNT_BITS)  # postings rise with their rows
        return place < len(held) and held[place] >> _COUNT_BITS == row
