"""The text of a file, read by a process of its own that can harm nobody.

Idea: files come from anyone, and the libraries that read them are large and old. So a child process reads one file each
(`extraction/child.py`), with limits that the kernel holds (`extraction/sandbox.py`): memory, time, no network. The file is
handed to it piece by piece, and what it answers is bounded, so this process never holds more than a piece and a text. Only
small texts in UTF-8 are read here: there is nothing to them but to decode them.

Invariant: at most `AT_ONCE` of them run; each has ended when the call ends, however that ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator

import msgspec

from gigachat_server.errors import FileTooComplex, document_failure
from gigachat_server.knowledge.extraction.child import HEAD_BYTES, Outcome, Request
from gigachat_server.knowledge.extraction.extracted import Extracted
from gigachat_server.knowledge.extraction.plain import SMALL_BYTES, read_small_text

AT_ONCE = 2
PATIENCE_S = 35.0  # 30 s of processor time, and a little more for a machine that is busy
_BYTES_A_CHARACTER = 4
_BESIDES_BYTES = 16 * 1024 * 1024  # of an answer: places, and what a text of a few characters takes besides
_END_S = 5.0  # a killed process takes no time, but whoever else has its output might
_CHILD = ("-S", "-m", "gigachat_server.knowledge.extraction.child")

_log = logging.getLogger("gigachat.extract")


class Extractor:
    """Reads files, some at a time."""

    def __init__(self, *, most_characters: int, patience_s: float = PATIENCE_S) -> None:
        self._most_characters = most_characters
        self._patience_s = patience_s
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def extract(self, pieces: AsyncIterator[bytes], *, name: str, media_type: str | None) -> Extracted:
        """Raises a `DocumentFailed` that says what to do, and `OSError` where no process can be started."""
        first = await anext(pieces, b"")
        second = await anext(pieces, b"")
        if not second and len(first) <= SMALL_BYTES:
            # A process costs more than such a text does to embed.
            read = await asyncio.to_thread(read_small_text, first, name, media_type, self._most_characters)
            if read is not None:
                return read
        async with self._slots:
            answer = await self._ask_child(first + second, pieces, Request(name, media_type, self._most_characters, os.getpid()))
        try:
            outcome = msgspec.msgpack.decode(answer, type=Outcome)
        except msgspec.MsgspecError:
            raise FileTooComplex from None
        if outcome.extracted is None:
            raise document_failure(outcome.code, outcome.reason)
        return outcome.extracted

    async def _ask_child(self, first: bytes, pieces: AsyncIterator[bytes], request: Request) -> bytes:
        # It inherits no settings: it needs none, and some are secrets. Where our packages are it is told (hence -S).
        environment = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "PYTHONUTF8": "1"}
        process = await asyncio.create_subprocess_exec(
            sys.executable, *_CHILD, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=environment, start_new_session=True
        )
        try:
            async with asyncio.timeout(self._patience_s):
                _, answer = await asyncio.gather(_hand_over(process, first, pieces, request), self._answer(process))
                status = await process.wait()
        except TimeoutError:
            raise FileTooComplex from None
        finally:
            await asyncio.shield(_end(process))
        if status:
            _log.info("reading a file ended its process with status %s", status)
            raise FileTooComplex
        return answer

    async def _answer(self, process: Process) -> bytes:
        assert process.stdout is not None
        most = _BYTES_A_CHARACTER * self._most_characters + _BESIDES_BYTES
        answer = bytearray()
        while piece := await process.stdout.read(256 * 1024):
            answer += piece
            if len(answer) > most:
                raise FileTooComplex
        return bytes(answer)


async def _end(process: Process) -> None:
    """It is gone. What it said and nobody has read is read away: asyncio waits for that before it tells of the end."""
    assert process.stdout is not None
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_END_S):
            while await process.stdout.read(256 * 1024):
                pass
            await process.wait()


async def _hand_over(process: Process, first: bytes, pieces: AsyncIterator[bytes], request: Request) -> None:
    assert process.stdin is not None
    head = msgspec.msgpack.encode(request)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it ended early, and its status says why
        process.stdin.write(len(head).to_bytes(HEAD_BYTES, "big") + head + first)
        await process.stdin.drain()
        async for piece in pieces:
            process.stdin.write(piece)
            await process.stdin.drain()
    process.stdin.close()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        await process.stdin.wait_closed()
