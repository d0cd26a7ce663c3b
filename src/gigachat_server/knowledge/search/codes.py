"""Codes: one bit for each number of a unit, which estimate its cosine in a sixth of the time that working it out takes.

The idea (RaBitQ): a unit's step from the middle of all units is about its signs times one length, and a prompt is as near to it
as to that. With what this loses along the step itself given back (`_scales`), the estimate is right on average, whatever the
middle is, and off by some thousandths. The prompt has two bits a number, so products are counts of bits. On the development
sets the best ten of 5,164 chunks are among the first 200 by the estimate in .999 of the cases.

Invariant: codes say only which units are worth comparing; they are made once, as units come, and never change.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gigachat_server.knowledge.search.directions import Directions
from gigachat_server.models.base import Vector

_AT_ONCE = 2_048  # units that are widened together
_COUNTED = 16_384  # units whose bits are counted together: as many as stay in a core's cache
_HALF_STEPS = 1.5  # the prompt's numbers are -1.5, -.5, .5 and 1.5 steps


class Codes:
    """The codes of numbered units, which only grow in number."""

    def __init__(self, middle: Vector) -> None:
        self._middle = middle
        self._bits: npt.NDArray[np.uint64] = np.zeros((-(-len(middle) // 64), 0), np.uint64)
        self._ones = np.zeros(0, np.float32)  # how many bits of each are set
        self._scales = np.zeros(0, np.float32)
        self._along = np.zeros(0, np.float32)  # the product of each with the middle
        self._count = 0

    @property
    def nbytes(self) -> int:
        return self._bits.nbytes + self._ones.nbytes + self._scales.nbytes + self._along.nbytes

    def append(self, directions: Directions, norms: Vector) -> None:
        """More units, with their inverse norms."""
        self._reserve(self._count + len(directions))
        for start in range(0, len(directions), _AT_ONCE):
            units = directions[start : start + _AT_ONCE] * norms[start : start + _AT_ONCE, None]
            place = slice(self._count, self._count + len(units))
            self._along[place] = units @ self._middle
            units -= self._middle
            sizes = np.abs(units)
            self._scales[place] = np.einsum("ij,ij->i", units, units) / np.maximum(sizes.sum(axis=1), 1e-9)
            bits = units > 0
            self._ones[place] = np.count_nonzero(bits, axis=1)
            self._bits[:, place] = self._packed(bits).T
            self._count += len(units)

    def estimates(self, vector: Vector) -> Vector:
        """About the cosine of each unit."""
        step = vector - self._middle
        size = max(float(step.std()), 1e-9)
        steps = np.clip(np.floor(step / size), -2, 1).astype(np.int8) + 2
        low, high = self._packed(np.stack([steps & 1, steps >> 1]).astype(np.bool_))
        found = np.empty(self._count, np.float32)
        for start in range(0, self._count, _COUNTED):
            found[start : start + _COUNTED] = self._products(start, low, high)
        found -= _HALF_STEPS * self._ones[: self._count]
        found *= 2 * size
        found -= (steps - _HALF_STEPS).sum() * size
        found *= self._scales[: self._count]
        found += self._along[: self._count]
        found += np.float32((vector - self._middle) @ self._middle)
        return found

    def _products(self, start: int, low: npt.NDArray[np.uint64], high: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint16]:
        """Of some units: the sum of the prompt's steps, from 0 to 3, over the bits that are set."""
        bits = self._bits[:, start : min(start + _COUNTED, self._count)]
        common = np.empty(bits.shape[1], np.uint64)
        ones = np.empty(bits.shape[1], np.uint8)
        summed: npt.NDArray[np.uint16] = np.zeros((2, bits.shape[1]), np.uint16)
        for into, plane in zip(summed, (low, high), strict=True):
            for row, word in zip(bits, plane, strict=True):
                np.bitwise_and(row, word, out=common)
                np.bitwise_count(common, out=ones)
                into += ones
        found: npt.NDArray[np.uint16] = summed[0] + 2 * summed[1]
        return found

    def _packed(self, bits: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint64]:
        packed = np.packbits(bits, axis=1)
        padded = np.zeros((len(bits), 8 * len(self._bits)), np.uint8)
        padded[:, : packed.shape[1]] = packed
        return padded.view(np.uint64)

    def _reserve(self, count: int) -> None:
        room = len(self._scales)
        if count <= room:
            return
        more = max(count, room + room // 2) - room
        self._bits = np.concatenate([self._bits, np.zeros((len(self._bits), more), np.uint64)], axis=1)
        self._ones, self._scales, self._along = (
            np.concatenate([each, np.zeros(more, np.float32)]) for each in (self._ones, self._scales, self._along)
        )
