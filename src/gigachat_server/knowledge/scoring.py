"""How chunks are scored: what every searcher shares, whether it holds a chatbot's chunks or has its store look for them.

The idea: a searcher says of each chunk that it looked at how near its vector is and what its stems weigh; the order, the
relevance and the scores are made here, so the same chunks get the same scores whoever found them.

BM25: k1 1.2, b .5, idf = ln(1 + (N - df + .5) / (df + .5)) (Robertson; the form that cannot go negative). N, df and the
average length are those of the chatbot's own chunks: no text of another one can move a score.
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

from gigachat_server.models.base import Matrix, RelevanceScale

Numbers = TypeVar("Numbers", float, npt.NDArray[np.float64])

K1, B = 1.2, 0.5
COSINE_SHARE = 0.7  # of the rank score; the rest is BM25 over the best BM25
MOST_STEMS = 256  # of one query's bag that are looked up: the heaviest
MOST_COUNT = 255  # more often counts no more

ALIKE = 0.95  # the cosine from which on two chunks of one document say the same
MOST_ALIKE = 2  # of one document in one result; chunks that overlap by a fifth are never so near

_SAME_RANK = 1e-6  # ranks that differ by less are equal: sums in another order differ by as much


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A chunk that a search found. The fields mean what `models.base.Passage` says of them."""

    chunk_id: str
    document_id: str
    cosine: float
    lexical: float
    coverage: float
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


def heaviest(bag: Mapping[str, float], most: int = MOST_STEMS) -> list[str]:
    """The stems of a query's bag that are looked up."""
    return sorted(bag, key=bag.__getitem__, reverse=True)[:most] if len(bag) > most else list(bag)


# --- BM25 ---


def idf(chunks: int, holding: int) -> float:
    """How rare a stem is that so many of the chunks hold."""
    return math.log(1 + (chunks - holding + 0.5) / (holding + 0.5))


def length_norm(lengths: Numbers, *, chunks: int, total: float) -> Numbers:
    """What BM25 adds to the counts of a chunk of that length; `total` is the length of all chunks together."""
    return K1 * (1 - B + B * lengths / max(total / max(chunks, 1), 1.0))


# --- one order out of both halves ---


class Ranking:
    """Chunks in the order of .7 cosine + .3 BM25 over the best BM25. `dead` are places that do not count."""

    def __init__(
        self,
        cosine: npt.NDArray[np.float32] | npt.NDArray[np.float64],
        bm25: npt.NDArray[np.float64],
        *,
        chunk_ids: Sequence[str],
        document_ids: Sequence[str],
        dead: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        greatest = bm25.max(initial=0.0)
        self._cosine = cosine
        self._lexical = bm25 / greatest if greatest > 0 else bm25
        self._rank = COSINE_SHARE * cosine + (1 - COSINE_SHARE) * self._lexical
        self._chunk_ids = chunk_ids
        self._document_ids = document_ids
        self.counted = len(self._rank)
        if dead is not None:
            self._rank[dead] = -np.inf
            self.counted -= int(dead.sum())

    def best(self, limit: int) -> list[int]:
        """The places of the greatest ranks, equal ones by chunk id: no order hangs on where a chunk happens to lie."""
        limit = min(limit, self.counted)
        if limit < 1:
            return []
        least = np.partition(self._rank, len(self._rank) - limit)[len(self._rank) - limit]
        near = np.flatnonzero(self._rank >= least - _SAME_RANK)
        rank = np.round(self._rank[near], 6)
        last = np.partition(rank, len(rank) - limit)[len(rank) - limit]
        ahead = near[rank > last].tolist()
        by_rank = dict(zip(ahead, rank[rank > last].tolist(), strict=True))
        ahead.sort(key=lambda place: (-by_rank[place], self._chunk_ids[place]))
        # However many are equal at the end, no more of them are sorted than fit.
        equal = near[rank == last].tolist()
        return [*ahead, *heapq.nsmallest(limit - len(ahead), equal, key=self._chunk_ids.__getitem__)]

    def leave_out(self, places: npt.NDArray[np.bool_]) -> None:
        """From now on the places marked do not count either."""
        self._rank[places] = -np.inf
        self.counted = int(np.count_nonzero(self._rank > -np.inf))

    def candidates(
        self,
        places: Sequence[int],
        *,
        holds: Callable[[int, str], bool],
        own_idf: Mapping[str, float],
        scale: RelevanceScale,
    ) -> list[Candidate]:
        """The chunks there, with their scores.

        `holds` tells of a place and a stem whether the chunk there has it, for the coverage: the share of `own_idf`, the
        stems of the prompt itself, that the chunk holds.
        """
        # Only what is found needs its coverage: numpy takes longer to be called than to compute for a small chatbot.
        return [
            Candidate(
                chunk_id=self._chunk_ids[place],
                document_id=self._document_ids[place],
                cosine=float(self._cosine[place]),
                lexical=float(self._lexical[place]),
                coverage=(coverage := _coverage(place, holds, own_idf)),
                rank_score=float(self._rank[place]),
                score=_relevance(scale, float(self._cosine[place]), coverage),
            )
            for place in places
        ]


def crowding(places: Sequence[int], document_ids: Sequence[str]) -> list[int]:
    """Those places that may say what others do: of documents with more than `MOST_ALIKE` among them."""
    count = Counter(document_ids[place] for place in places)
    return [place for place in places if count[document_ids[place]] > MOST_ALIKE]


def distinct(
    places: Sequence[int], *, document_ids: Sequence[str], vectors: Callable[[list[int]], Matrix], limit: int
) -> list[int]:
    """The first `limit` of these places, without those that say what `MOST_ALIKE` better ones of their document do.

    So one document that repeats itself cannot fill the results; its chunks that differ are all let through. `vectors` is
    asked for those of the places that `crowding` names.
    """
    of_document: dict[str, list[int]] = {}
    for position, place in enumerate(places):
        of_document.setdefault(document_ids[place], []).append(position)
    kept: list[int] = []
    for positions in of_document.values():
        kept += positions if len(positions) <= MOST_ALIKE else _unlike(positions, vectors([places[p] for p in positions]), limit)
    return [places[position] for position in sorted(kept)[:limit]]


def _unlike(positions: Sequence[int], matrix: Matrix, limit: int) -> list[int]:
    kept: list[int] = []
    said = np.zeros(len(positions), dtype=np.intp)  # by how many of the kept
    at = 0
    while at < len(positions) and len(kept) < limit:
        kept.append(positions[at])
        said += matrix @ matrix[at] >= ALIKE
        at += 1
        at += int(np.argmax(said[at:] < MOST_ALIKE)) if (said[at:] < MOST_ALIKE).any() else len(positions)
    return kept


def _coverage(place: int, holds: Callable[[int, str], bool], own_idf: Mapping[str, float]) -> float:
    total = sum(own_idf.values())
    if total <= 0:
        return 0.0
    return sum(weight for stem, weight in own_idf.items() if holds(place, stem)) / total


def _relevance(scale: RelevanceScale, cosine: float, coverage: float) -> float:
    logit = scale.cosine * cosine + scale.coverage * coverage + scale.bias
    return 1 / (1 + math.exp(-min(max(logit, -60.0), 60.0)))
