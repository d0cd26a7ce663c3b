"""Directions: the vectors of units, a signed byte for each number, and the one way in which their cosines are worked out.

The idea: what a unit's vector is for is its cosine to a prompt's, which needs no length and loses less than .001 by rounding
each number to one of 255 steps of the greatest. That is a quarter of the memory, and of what is read from the store.

Invariant: a cosine is dot(prompt, bytes) / norm(bytes) in single precision, in memory and for what a store has found, so
both agree but for the order in which a product is summed up. A direction of zeros is at cosine 0 to everything.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gigachat_server.models.base import Matrix, Vector

Directions = npt.NDArray[np.int8]  # shape (units, dimension)

_GREATEST = 127
_AT_ONCE = 2_048  # rows that are widened together: as many as stay in a core's cache


def quantised(vectors: npt.NDArray[np.float32] | npt.NDArray[np.float64]) -> Directions:
    """The directions of these vectors, of any length."""
    greatest = np.abs(vectors).max(axis=1, initial=0.0, keepdims=True)
    scaled = vectors * (_GREATEST / np.where(greatest > 0, greatest, 1))
    made: Directions = np.rint(scaled).astype(np.int8)
    return made


def loaded(rows: Sequence[bytes]) -> Directions:
    """Of rows as they are stored. Raises `ValueError` if they are not all of one length."""
    return np.frombuffer(b"".join(rows), dtype=np.int8).reshape(len(rows), len(rows[0]) if rows else 0)


def inverse_norms(directions: Directions) -> Vector:
    """What a product with each is multiplied by to make it a cosine."""
    squares = np.empty(len(directions), np.float32)
    for start in range(0, len(directions), _AT_ONCE):
        some = directions[start : start + _AT_ONCE].astype(np.float32)
        np.einsum("ij,ij->i", some, some, out=squares[start : start + _AT_ONCE])
    return np.where(squares > 0, 1 / np.sqrt(np.maximum(squares, 1)), 0).astype(np.float32)


def products(directions: Directions, vector: Vector, out: Vector) -> None:
    """With each of them, which are widened a few at a time: there is never a wide copy of all."""
    wide = np.empty((min(_AT_ONCE, len(directions)), directions.shape[1]), np.float32)
    for start in range(0, len(directions), _AT_ONCE):
        some = directions[start : start + _AT_ONCE]
        wide[: len(some)] = some
        np.dot(wide[: len(some)], vector, out=out[start : start + len(some)])


def cosines(directions: Directions, norms: Vector, vector: Vector) -> Vector:
    """Of a vector of unit length with each; `norms` as `inverse_norms` made them."""
    found = np.empty(len(directions), np.float32)
    products(directions, vector, found)
    found *= norms
    return found


def means(directions: Directions, norms: Vector, starts: npt.NDArray[np.intp]) -> Matrix:
    """Of each run of rows, which begins at `starts` and ends where the next one does, the mean direction: of unit length."""
    if not len(directions):
        return np.zeros((0, directions.shape[1]), np.float32)
    summed = np.add.reduceat(directions * norms[:, None], starts, axis=0)
    lengths = np.sqrt(np.einsum("ij,ij->i", summed, summed))
    made: Matrix = (summed / np.where(lengths > 0, lengths, 1)[:, None]).astype(np.float32, copy=False)
    return made
