"""What an OpenAI-compatible /embeddings endpoint answered, as unit vectors; no I/O.

Invariant: only a complete answer of finite vectors of one dimension comes through, in the order of the texts.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Sequence

import msgspec
import numpy as np

from gigachat_server.models.base import Matrix


class MalformedAnswer(Exception):
    """This is not an answer to the request. Its text says what is wrong, in our words alone."""


class _Item(msgspec.Struct):
    embedding: Sequence[float] | str  # numbers, or base64 of little-endian float32
    index: int | None = None


class _Answer(msgspec.Struct):
    data: list[_Item]


def vectors_in(content: bytes, count: int) -> Matrix:
    """The vectors of `count` texts. Raises `MalformedAnswer`."""
    try:
        items = msgspec.json.decode(content, type=_Answer).data
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise MalformedAnswer("its answer is not a list of embeddings") from None
    if len(items) != count:
        raise MalformedAnswer(f"it sent {len(items)} vectors for {count} texts")
    indexes = [item.index for item in items]
    if any(index is not None for index in indexes):  # some endpoints leave them out, and keep the order
        by_index = {item.index: item for item in items}
        if set(by_index) != set(range(count)):
            raise MalformedAnswer("it did not send one vector for each text")
        items = [by_index[index] for index in range(count)]
    rows = [_numbers(item.embedding) for item in items]
    if len({len(row) for row in rows}) != 1 or not len(rows[0]):
        raise MalformedAnswer("its vectors are empty or differ in length")
    return _unit(np.stack(rows))


def _numbers(embedding: Sequence[float] | str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    if not isinstance(embedding, str):
        return np.array(embedding, np.float64)
    try:
        return np.frombuffer(b64decode(embedding, validate=True), "<f4").astype(np.float64)
    except (binascii.Error, ValueError):
        raise MalformedAnswer("its vectors are neither numbers nor base64") from None


def _unit(matrix: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> Matrix:
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    if not np.isfinite(matrix).all() or not np.isfinite(lengths).all() or not (lengths > 0).all():
        raise MalformedAnswer("its vectors are not finite or have no length")
    unit: Matrix = (matrix / lengths).astype(np.float32)
    return unit
