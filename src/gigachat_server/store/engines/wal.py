"""Whether a write-ahead log still holds every transaction that was confirmed from it.

Idea: SQLite reads a log up to the first frame that does not fit the one before it, and takes the rest for what a crash
left unfinished. That is right for the last transaction alone: a transaction is written only after the one before it is
durable. So a frame that follows a commit, behind the place where SQLite stops, proves that something confirmed is lost.
The log's index (`-shm`) proves it too, as it counts durable frames only: the log may have more of them, but not fewer.

The format is the one of https://www.sqlite.org/fileformat2.html#the_write_ahead_log.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint32]
Flags = npt.NDArray[np.bool_]

_HEADER = struct.Struct(">8I")  # magic, version, page size, checkpoint number, two salts, two checksums
_FRAME_HEADER_BYTES = 24  # page number, pages of the database after a commit or 0, two salts, two checksums
_LITTLE_ENDIAN, _BIG_ENDIAN = 0x377F0682, 0x377F0683  # the order of the bytes that were summed
_FRAMES_AT_ONCE = 256

_INDEX = struct.Struct("=3I2BH2I2I2I2I")  # of the header of the log's index, in this machine's order of bytes


def fault(log: Path, *, index: Path) -> str:
    """What is wrong with a log that is not empty; nothing if all that was confirmed can be read."""
    size = log.stat().st_size
    with log.open("rb") as stream:
        header = stream.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return "its header is cut off"
    magic, _, page_size, _, *salts_and_sums = _HEADER.unpack(header)
    if magic not in (_LITTLE_ENDIAN, _BIG_ENDIAN) or _sums_of_header(header) != tuple(salts_and_sums[2:]):
        return "its header is garbled"
    count = (size - _HEADER.size) // (_FRAME_HEADER_BYTES + page_size)
    if count == 0:
        return ""  # it had just begun
    fits, commits = _look_at_frames(log, count, page_size, header)
    readable = count if fits.all() else int(fits.argmin())
    # A frame that fits comes after a commit that SQLite does not reach.
    if (commits[readable:-1] & fits[readable + 1 :]).any():
        return f"frame {readable + 1} of {count} is garbled, and there are confirmed transactions behind it"
    committed = int(commits[:readable].nonzero()[0].max(initial=-1)) + 1
    durable = _durable_frames(index, header)
    if durable > committed:
        return f"{durable} frames were confirmed, and {committed} can be read"
    return ""


def _look_at_frames(log: Path, count: int, page_size: int, header: bytes) -> tuple[Flags, Flags]:
    """Of each frame: whether it belongs to this run of the log and its sums follow those before it; whether it commits."""
    order = "<u4" if _HEADER.unpack(header)[0] == _LITTLE_ENDIAN else ">u4"
    salts_and_sums = np.frombuffer(header[16:], ">u4").astype(np.uint32)
    weights, power = _weights(2 + page_size // 4)
    fits, commits = np.empty(count, np.bool_), np.empty(count, np.bool_)
    sums_before = salts_and_sums[2:]
    with log.open("rb") as stream:
        stream.seek(_HEADER.size)
        for first in range(0, count, _FRAMES_AT_ONCE):
            slab = _read_frames(stream, min(_FRAMES_AT_ONCE, count - first), page_size)
            heads = slab[:, :_FRAME_HEADER_BYTES].copy().view(">u4").astype(np.uint32)
            summed = np.hstack((slab[:, :8], slab[:, _FRAME_HEADER_BYTES:])).view(order).astype(np.uint32)
            before = np.vstack((sums_before[np.newaxis], heads[:-1, 4:]))
            is_of_this_run = (heads[:, 2:4] == salts_and_sums[:2]).all(axis=1)
            where = slice(first, first + len(slab))
            fits[where] = is_of_this_run & (before @ power.T + summed @ weights == heads[:, 4:]).all(axis=1)
            commits[where] = is_of_this_run & (heads[:, 1] != 0)
            sums_before = heads[-1, 4:]
    return fits, commits


def _read_frames(stream: BinaryIO, count: int, page_size: int) -> npt.NDArray[np.uint8]:
    frame = _FRAME_HEADER_BYTES + page_size
    return np.frombuffer(stream.read(count * frame), np.uint8).reshape(count, frame)


def _weights(words: int) -> tuple[Words, Words]:
    """The log's checksum as a linear map: sums = before @ power.T + words @ weights, modulo 2 ** 32.

    For each pair (a, b) of words it does s0 += a + s1; s1 += b + s0, so a pair is multiplied by [[1, 1], [1, 2]] once for
    every pair that comes after it.
    """
    step = np.array([[1, 1], [1, 2]], np.uint32)
    power = np.eye(2, dtype=np.uint32)
    weights = np.empty((words, 2), np.uint32)
    for pair in reversed(range(words // 2)):
        weights[2 * pair] = power @ np.array([1, 1], np.uint32)  # a counts in both sums
        weights[2 * pair + 1] = power @ np.array([0, 1], np.uint32)
        power = power @ step
    return weights, power


def _sums_of_header(header: bytes) -> tuple[int, int]:
    order = "<u4" if _HEADER.unpack(header)[0] == _LITTLE_ENDIAN else ">u4"
    weights, _ = _weights(6)
    first, second = np.frombuffer(header[:24], order).astype(np.uint32) @ weights
    return int(first), int(second)


def _durable_frames(index: Path, header: bytes) -> int:
    """How many frames the index says were confirmed in this run of the log; 0 if it says nothing that can be relied on."""
    try:
        with index.open("rb") as stream:
            copies = stream.read(2 * _INDEX.size)
    except FileNotFoundError:
        return 0
    # Both copies alike: it was not being written. It is never synced, so a power cut may leave any older state of it.
    if len(copies) < 2 * _INDEX.size or copies[: _INDEX.size] != copies[_INDEX.size :]:
        return 0
    fields = _INDEX.unpack(copies[: _INDEX.size])
    weights, _ = _weights(10)
    sums = np.frombuffer(copies[:40], np.uint32) @ weights
    if tuple(map(int, sums)) != fields[-2:] or copies[32:40] != header[16:24]:
        return 0
    return int(fields[6])
