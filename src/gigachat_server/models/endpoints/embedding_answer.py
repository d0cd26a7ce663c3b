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
    embedding: Sequence[float | Sequence[float]] | str  # numbers, also one list deeper, or base64 of float32
    index: int | float | str | None = None


class _Answer(msgspec.Struct):
    data: list[_Item]


def vectors_in(content: bytes, count: int) -> Matrix:
    """The vectors of `count` texts. Raises `MalformedAnswer`."""
    items = _items(content)
    if len(items) != count:
        raise MalformedAnswer(f"it sent {len(items)} vectors for {count} texts")
    indexes = [_index(item.index) for item in items]
    if len(set(indexes)) > 1:  # some endpoints leave them out, or say 0 for each, and keep the order
        by_index = dict(zip(indexes, items, strict=True))
        if set(by_index) != set(range(count)):
            raise MalformedAnswer("it did not send one vector for each text")
        items = [by_index[index] for index in range(count)]
    elif indexes[0] not in (None, 0):
        raise MalformedAnswer("it did not send one vector for each text")
    rows = [_numbers(item.embedding) for item in items]
    if len({len(row) for row in rows}) != 1 or not len(rows[0]):
        raise MalformedAnswer("its vectors are empty or differ in length")
    return _unit(np.stack(rows))


def _items(content: bytes) -> list[_Item]:
    try:
        return msgspec.json.decode(content, type=_Answer).data
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return msgspec.json.decode(content, type=list[_Item])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise MalformedAnswer("its answer is not a list of embeddings") from None


def _index(given: float | str | None) -> int | None:
    try:
        return None if given is None else int(given)
    except (ValueError, OverflowError):
        raise MalformedAnswer("it did not send one vector for each text") from None


def _numbers(embedding: Sequence[float | Sequence[float]] | str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    if not isinstance(embedding, str):
        numbers = np.array(embedding, np.float64)
        if numbers.ndim == 2 and numbers.shape[0] == 1:
            numbers = numbers[0]
        if numbers.ndim != 1:
            raise MalformedAnswer("its vectors are empty or differ in length")
        return numbers
    try:
        padded = embedding + "=" * (-len(embedding) % 4)
        return np.frombuffer(b64decode(padded, validate=True), "<f4").astype(np.float64)
    except (binascii.Error, ValueError):
        raise MalformedAnswer("its vectors are neither numbers nor base64") from None


def _unit(matrix: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> Matrix:
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    if not np.isfinite(matrix).all() or not np.isfinite(lengths).all() or not (lengths > 0).all():
        raise MalformedAnswer("its vectors are not finite or have no length")
    unit: Matrix = (matrix / lengths).astype(np.float32)
    return unit
