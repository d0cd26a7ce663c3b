"""The units of an index's chunks: compared one by one while they are few; when they are many, a part of them says which ones.

The idea: a chunk is as near to a prompt as the nearest of its units, and not much nearer than the mean of them. Turned so that
its first numbers hold most of what tells it from others (along the principal axes of a sample, around its middle: the vectors of
some models all point much the same way), a mean of 384 numbers is told from others by its first 128: they estimate its cosine and
are a tenth of what its units are. So means lead, and units decide: an index asks for the estimates of all chunks, and then
for the units of those that may be among the best.

Invariants: a cosine is always that of a whole unit; what leads decides alone which chunks are looked at. Chunks without
leading numbers are estimated by their units, so there is no moment at which anything is missing, and leading numbers can be made
again from the units, block by block, whenever there is time. In a single block, which is the common case, nothing leads: its
units are all compared while they are few, and their codes (`codes.py`) say which ones are worth it when they are some.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gigachat_server.knowledge.search.codes import Codes
from gigachat_server.knowledge.search.directions import Directions, cosines, inverse_norms, means, products, quantised
from gigachat_server.knowledge.search.members import Members
from gigachat_server.models.base import Matrix, Vector

BLOCK_ROWS = 16_384  # chunks that lead together
LEADING = 128
_SAMPLE_ROWS = 8_192  # chunks that the axes are taken from
FEW_UNITS = 8_192  # of one block that are all compared: estimating first is no faster
_UNITS = 65_536  # that are held together
_AT_ONCE = 4_096  # chunks whose units are widened together

Rows = npt.NDArray[np.intp]


class UnitComparison(NamedTuple):
    """Chunks with the cosine of the best unit of each, and the cosines of all units of those that live, each of them once."""

    best: Vector
    units: Vector

    def nth_best_unit(self, n: int) -> float:
        """Its cosine, or that of the last."""
        n = min(n, len(self.units))
        return float(np.partition(self.units, len(self.units) - n)[len(self.units) - n])


class _Units:
    """Numbered units that only grow in number, in blocks, so that adding to very many moves none of them."""

    def __init__(self, dimension: int, capacity: int) -> None:
        self._dimension = dimension
        self._whole = [np.zeros((capacity, dimension), np.int8)]
        self._norms = [np.zeros(capacity, np.float32)]  # inverse ones
        self.count = 0

    def __len__(self) -> int:
        return self.count

    @property
    def nbytes(self) -> int:
        return sum(block.nbytes for block in self._whole) + sum(block.nbytes for block in self._norms)

    def append(self, directions: Directions) -> None:
        norms, at = inverse_norms(directions), 0
        while at < len(directions):
            used = self.count - (len(self._whole) - 1) * _UNITS
            if used == _UNITS:
                self._whole.append(np.zeros((_UNITS, self._dimension), np.int8))
                self._norms.append(np.zeros(_UNITS, np.float32))
                used = 0
            fitting = min(len(directions) - at, _UNITS - used)
            if used + fitting > len(self._norms[-1]):
                more = min(max(used + fitting, 2 * used), _UNITS) - len(self._norms[-1])
                self._whole[-1] = np.concatenate([self._whole[-1], np.zeros((more, self._dimension), np.int8)])
                self._norms[-1] = np.concatenate([self._norms[-1], np.zeros(more, np.float32)])
            self._whole[-1][used : used + fitting] = directions[at : at + fitting]
            self._norms[-1][used : used + fitting] = norms[at : at + fitting]
            self.count += fitting
            at += fitting

    def cosines(self, vector: Vector) -> Vector:
        """Of all units."""
        found = np.empty(self.count, np.float32)
        for number, (whole, norms) in enumerate(zip(self._whole, self._norms, strict=True)):
            into = found[number * _UNITS : (number + 1) * _UNITS]
            products(whole[: len(into)], vector, into)
            into *= norms[: len(into)]
        return found

    def cosines_of(self, units: Rows, vector: Vector) -> Vector:
        """Of these units, which rise."""
        parts = [cosines(self._whole[block][own], self._norms[block][own], vector) for block, own in self._by_block(units)]
        return np.concatenate(parts)

    def of(self, units: Rows) -> tuple[Directions, Vector]:
        """These units, which rise, and their inverse norms."""
        parts = [(self._whole[block][own], self._norms[block][own]) for block, own in self._by_block(units)]
        return np.concatenate([whole for whole, _ in parts]), np.concatenate([norms for _, norms in parts])

    def _by_block(self, units: Rows) -> Iterator[tuple[int, Rows]]:
        borders = np.searchsorted(units, np.arange(len(self._whole) + 1) * _UNITS)
        for block in range(len(self._whole)):
            if borders[block] < borders[block + 1]:
                yield block, units[borders[block] : borders[block + 1]] - block * _UNITS


class _Axes:
    """Where chunks lie, the directions in which they differ most, and how many there were when these were taken."""

    __slots__ = ("directions", "middle", "taken_of")

    def __init__(self, sample: Matrix, taken_of: int) -> None:
        self.middle: Vector = sample.mean(axis=0)
        around = sample - self.middle
        _, directions = np.linalg.eigh((around.T @ around).astype(np.float64))  # the greatest comes last
        self.directions: Matrix = np.ascontiguousarray(directions[:, : -LEADING - 1 : -1], dtype=np.float32)
        self.taken_of = taken_of


class _Leading(NamedTuple):
    """Of a block of chunks: the leading numbers of each, in steps of its own length."""

    axes: _Axes
    numbers: Directions
    steps: Vector

    @classmethod
    def made(cls, axes: _Axes, embeddings: Matrix) -> _Leading:
        turned = (embeddings - axes.middle) @ axes.directions
        return cls(axes, quantised(turned), np.abs(turned).max(axis=1) / 127)


class Vectors:
    """Numbered chunks that only grow in number, each with its units; `kept` makes fewer of them."""

    def __init__(self, dimension: int, *, capacity: int = 64, block_rows: int = BLOCK_ROWS, few_units: int = FEW_UNITS) -> None:
        self.dimension = dimension
        self._few_units = few_units
        self._block_rows = block_rows
        self._units = _Units(dimension, max(1, min(capacity, _UNITS)))
        self._members: Rows = np.zeros(max(capacity, 1), np.intp)
        self._starts: Rows = np.zeros(max(capacity, 1) + 1, np.intp)
        self._chunks = self._pairs = 0
        self._leading: dict[int, _Leading] = {}  # by the number of its block
        self._axes: _Axes | None = None
        self._codes: Codes | None = None  # of all units, where there are some of them and no block leads

    def __len__(self) -> int:
        return self._chunks

    @property
    def nbytes(self) -> int:
        leading = sum(each.numbers.nbytes + each.steps.nbytes for each in self._leading.values())
        codes = self._codes.nbytes if self._codes is not None else 0
        return self._units.nbytes + self._members.nbytes + self._starts.nbytes + leading + codes

    @property
    def are_few(self) -> bool:
        """Whether `compare_all` is the way to search them."""
        return self._is_one_block and self._codes is None

    @property
    def are_coded(self) -> bool:
        """Whether estimates are those of codes: so near that few chunks need a look."""
        return self._codes is not None

    @property
    def _is_one_block(self) -> bool:
        return self._chunks <= self._block_rows

    def append(self, directions: Directions, members: Members) -> None:
        """More chunks; `members` counts both them and the units from 0."""
        chunks, pairs = len(members.starts) - 1, len(members.units)
        self._starts = _with_room(self._starts, self._chunks + chunks + 1)
        self._members = _with_room(self._members, self._pairs + pairs)
        self._starts[self._chunks : self._chunks + chunks + 1] = members.starts + self._pairs
        self._members[self._pairs : self._pairs + pairs] = members.units + len(self._units)
        self._chunks += chunks
        self._pairs += pairs
        self._units.append(directions)
        self._encode(directions)

    def _encode(self, directions: Directions) -> None:
        """Have codes of all units, these last ones included, while there are neither few of them nor more than one block."""
        if not self._is_one_block:
            self._codes = None
        elif self._codes is not None:
            self._codes.append(directions, inverse_norms(directions))
        elif len(self._units) > self._few_units:
            every, norms = self._units.of(np.arange(len(self._units)))
            self._codes = Codes((every[:FEW_UNITS] * norms[:FEW_UNITS, None]).mean(axis=0))
            self._codes.append(every, norms)

    def kept(self, chunks: Rows) -> Vectors:
        """Those chunks alone, in their order, which rises."""
        kept = Vectors(self.dimension, capacity=max(len(chunks), 64), block_rows=self._block_rows, few_units=self._few_units)
        kept._axes = self._axes
        for start in range(0, len(chunks), _AT_ONCE):
            members, starts = self._members_of(chunks[start : start + _AT_ONCE])
            units, renumbered = np.unique(members, return_inverse=True)
            kept.append(self._units.of(units)[0], Members(renumbered, np.append(starts, len(members))))
        if self._axes is not None:
            while kept.lead_next():
                pass
        return kept

    # --- comparing ---

    def compare_all(self, vector: Vector, *, dead: Rows | None = None) -> UnitComparison:
        """Every chunk with the vector. Those that are `dead` do not live."""
        found = self._units.cosines(vector)
        best = np.maximum.reduceat(found[self._members[: self._pairs]], self._starts[: self._chunks]) if self._chunks else found
        return UnitComparison(best, found if dead is None else np.delete(found, self._members_of(dead)[0]))

    def compare(self, chunks: Rows, vector: Vector) -> UnitComparison:
        """These chunks, which rise and are some, with the vector."""
        members, starts = self._members_of(chunks)
        units, places = np.unique(members, return_inverse=True)
        found = self._units.cosines_of(units, vector)
        return UnitComparison(np.maximum.reduceat(found[places], starts), found)

    def estimates(self, vector: Vector) -> Vector:
        """About what `compare_all` finds of every chunk, in a fraction of the time. The array is the caller's to change."""
        if self._codes is not None:
            units = self._codes.estimates(vector)
            return np.maximum.reduceat(units[self._members[: self._pairs]], self._starts[: self._chunks])
        estimated = np.empty(self._chunks, np.float32)
        turned: dict[int, tuple[Vector, np.float32]] = {}
        for block, start in enumerate(range(0, self._chunks, self._block_rows)):
            into = estimated[start : start + self._block_rows]
            leading = self._leading.get(block)
            if leading is None:
                into[:] = self.compare(np.arange(start, start + len(into)), vector).best
                continue
            axes = leading.axes
            if id(axes) not in turned:
                turned[id(axes)] = vector @ axes.directions, np.float32(vector @ axes.middle)
            products(leading.numbers, turned[id(axes)][0], into)
            into *= leading.steps
            into += turned[id(axes)][1]
        return estimated

    def of(self, chunks: Sequence[int]) -> Matrix:
        """The embeddings of these chunks, each the mean of its units, in the order given."""
        members, starts = self._members_of(np.asarray(chunks, np.intp))
        units, places = np.unique(members, return_inverse=True)
        directions, norms = self._units.of(units)
        return means(directions[places], norms[places], starts)

    def _members_of(self, chunks: Rows) -> tuple[Rows, Rows]:
        """The units of these chunks, one chunk after the other, and where those of each begin."""
        first = self._starts[chunks]
        times = self._starts[chunks + 1] - first
        starts = np.cumsum(times) - times
        return self._members[np.arange(int(times.sum())) + np.repeat(first - starts, times)], starts

    # --- what leads ---

    def lead_next(self) -> bool:
        """Make the leading numbers of one more block; False when every full block has them.

        The axes are computed again whenever there are twice as many chunks, and blocks follow one by one: what was typical of the
        first chunks need not be so of the rest.
        """
        if self._is_one_block:
            return False
        if self._axes is None or self._chunks >= 2 * self._axes.taken_of:
            rows = np.linspace(0, self._chunks - 1, min(_SAMPLE_ROWS, self._chunks)).astype(np.intp)
            self._axes = _Axes(self.of(rows.tolist()), self._chunks)
        for block in range(self._chunks // self._block_rows):
            if block not in self._leading or self._leading[block].axes is not self._axes:
                first = block * self._block_rows
                parts = [
                    _Leading.made(self._axes, self.of(range(start, min(start + _AT_ONCE, first + self._block_rows))))
                    for start in range(first, first + self._block_rows, _AT_ONCE)
                ]
                numbers, steps = (np.concatenate(each) for each in zip(*((p.numbers, p.steps) for p in parts), strict=True))
                self._leading[block] = _Leading(self._axes, numbers, steps)
                return True
        return False


def _with_room(numbers: Rows, needed: int) -> Rows:
    if needed <= len(numbers):
        return numbers
    return np.concatenate([numbers, np.zeros(max(needed, 2 * len(numbers)) - len(numbers), np.intp)])
