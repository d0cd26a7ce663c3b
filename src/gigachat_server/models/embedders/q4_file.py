"""Reads the file that holds multilingual-e5-small in blocks of 4 bits: its vocabulary, its normalisation, its tensors.

The format: a header of numbers, the vocabulary (where each piece ends, scores, the pieces in UTF-8), what characters are
normalised to, a directory of tensors, and these. A block stands for 32 numbers: a scale in 16 bits, then sixteen bytes, of
which the lower halves are the first sixteen numbers and the upper halves the others, each 8 above what the scale multiplies.

Invariant: the file is mapped, and of the 54 MB of word rows only those are read that a text needs. It is verified by its
SHA-256 before, so nothing here doubts it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from gigachat_server.models.embedders.unigram import Unigram

_Bytes = npt.NDArray[np.uint8]
_Floats = npt.NDArray[np.float32]

_BLOCK = np.dtype([("scale", "<f2"), ("halves", "u1", 16)])
_NUMBERS_IN_BLOCK = 32
_FIRST_OF_HEADER = 8  # after the four letters and the version


class Shape(msgspec.Struct, frozen=True):
    """What the header says of the network."""

    hidden: int
    layers: int
    heads: int
    inner: int
    words: int
    positions: int
    segments: int


class Q4File:
    """`word_rows` may be called from several threads at once."""

    def __init__(self, path: Path) -> None:
        self._bytes: _Bytes = np.asarray(np.memmap(path, np.uint8, "r"))
        self._at = _FIRST_OF_HEADER
        self.shape = Shape(*self._read("7i"))
        self._read("fi")  # epsilon of the norms, and the numbers in a block: both are in the graph and here
        self.begin, self.end, self.unigram = self._read_vocabulary()
        self.normalisation = self._read_normalisation()
        (count,) = self._read("i")
        self._offsets = dict(self._read_entry() for _ in range(count))
        self._words = self._blocks("emb.word", self.shape.words)

    def floats(self, name: str, *shape: int) -> _Floats:
        start = self._offsets[name]
        size = int(np.prod(shape)) * 4
        return self._bytes[start : start + size].view("<f4").reshape(shape)

    def matrix(self, name: str, rows: int, columns: int) -> _Floats:
        return _numbers(self._blocks(name, rows, columns))

    def word_rows(self, ids: Sequence[int]) -> _Floats:
        return _numbers(self._words[list(ids)])

    def _blocks(self, name: str, rows: int, columns: int | None = None) -> npt.NDArray[np.void]:
        in_row = (columns or self.shape.hidden) // _NUMBERS_IN_BLOCK
        start = self._offsets[name]
        return self._bytes[start : start + rows * in_row * _BLOCK.itemsize].view(_BLOCK).reshape(rows, in_row)

    def _read_vocabulary(self) -> tuple[int, int, Unigram]:
        count, begin, end, padding, unknown = self._read("5i")
        (size,) = self._read("Q")
        ends = self._take((count + 1) * 4).view("<u4")[1:]
        scores = self._take(count * 4).view("<f4").astype(np.float64)
        pieces = self._take(size)
        ends_in_characters = np.cumsum((pieces & 0xC0) != 0x80, dtype=np.int32)[ends - 1]
        controls = (begin, end, padding, unknown, count - 1)  # the last is the mask of its training
        text = pieces.tobytes().decode()
        return begin, end, Unigram(text, ends_in_characters.astype(np.intp), scores, unknown=unknown, controls=controls)

    def _read_normalisation(self) -> dict[int, str]:
        """What `str.translate` wants."""
        count, _ = self._read("iI")
        table = {}
        for _ in range(count):
            character, length = self._read("IB")
            table[character] = "".join(map(chr, self._read(f"{length}I")))
        return table

    def _read_entry(self) -> tuple[str, int]:
        (length,) = self._read("H")
        name = self._take(length).tobytes().decode()
        _kind, _numbers, offset, _size = self._read("BIQQ")
        return name, offset

    def _read(self, form: str) -> tuple[int, ...]:
        return struct.unpack(f"<{form}", self._take(struct.calcsize(f"<{form}")).tobytes())

    def _take(self, size: int) -> _Bytes:
        self._at += size
        return self._bytes[self._at - size : self._at]


def _numbers(blocks: npt.NDArray[np.void]) -> _Floats:
    """[rows, blocks] as [rows, numbers]."""
    halves = blocks["halves"]
    numbers = np.concatenate((halves & 15, halves >> 4), axis=2).astype(np.float32)
    numbers -= 8
    numbers *= blocks["scale"][..., None].astype(np.float32)
    return numbers.reshape(len(blocks), -1)
