"""Extracts the text of a file in a sandboxed process.

Idea: files come from anyone, and the libraries that read them are large and old. So each file is read by a child process
(`children.py`, `extraction/child.py`) under limits that the kernel enforces (`extraction/sandbox.py`): memory, time, no
network. It gets the file piece by piece and its answer is bounded, so this process never holds more than a piece and a text.
Only small texts in UTF-8, which only need decoding, are read here.

Invariant: at most `AT_ONCE` of them run; each has ended when the call ends, however that ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator

import msgspec

from gigachat_server.errors import FileTooComplex, document_failure
from gigachat_server.knowledge.extraction.child import HEAD_BYTES, Outcome, Request
from gigachat_server.knowledge.extraction.children import Children
from gigachat_server.knowledge.extraction.extracted import FileText
from gigachat_server.knowledge.extraction.plain import SMALL_BYTES, read_small_text
from gigachat_server.knowledge.extraction.slots import FairSlots

AT_ONCE = 3
MOST_EACH = 2  # of one chatbot, so that its files never keep all others waiting
PATIENCE_S = 35.0  # 30 s of processor time, and a little more for a machine that is busy
_BYTES_A_CHARACTER = 4 * 4  # of a table each name of a column may be repeated, as `TextWriter.item` bounds it
_BESIDES_BYTES = 16 * 1024 * 1024  # of an answer: places, and what a text of a few characters takes besides

_log = logging.getLogger("gigachat.extract")


class Extractor:
    """Reads files, some at a time. `aclose` must be called."""

    def __init__(self, *, most_characters: int, patience_s: float = PATIENCE_S) -> None:
        self._most_characters = most_characters
        self._patience_s = patience_s
        self._children = Children()
        self._slots = FairSlots(AT_ONCE, most_each=MOST_EACH)

    async def extract(self, pieces: AsyncIterator[bytes], *, name: str, media_type: str | None, chatbot_id: str = "") -> FileText:
        """Raises a `DocumentFailed` that says what to do, and `OSError` where no process can be started."""
        first = await anext(pieces, b"")
        second = await anext(pieces, b"")
        if not second and len(first) <= SMALL_BYTES:
            # There is nothing in it that a process would have to be kept from.
            read = await asyncio.to_thread(read_small_text, first, name, media_type, self._most_characters)
            if read is not None:
                return read
        async with self._slots.one(chatbot_id):
            answer, status = await self._ask_child(first + second, pieces, Request(name, media_type, self._most_characters))
        try:
            outcome = msgspec.msgpack.decode(answer, type=Outcome)
        except msgspec.MsgspecError:
            _log.info("reading a file ended its process with status %s", status)
            raise FileTooComplex from None
        if outcome.unimported:
            _log.error("reading a file needed modules that its process had not imported: %s", ", ".join(outcome.unimported)[:500])
        if outcome.extracted is None:
            raise document_failure(outcome.code, outcome.reason)
        return outcome.extracted

    async def aclose(self) -> None:
        await self._children.aclose()

    async def _ask_child(self, first: bytes, pieces: AsyncIterator[bytes], request: Request) -> tuple[bytes, int | None]:
        try:
            async with self._children.one() as child, asyncio.timeout(self._patience_s):
                _, answer = await asyncio.gather(_hand_over(child.writer, first, pieces, request), self._answer(child.reader))
        except TimeoutError:
            raise FileTooComplex from None
        return answer, child.status

    async def _answer(self, reader: StreamReader) -> bytes:
        most = _BYTES_A_CHARACTER * self._most_characters + _BESIDES_BYTES
        answer = bytearray()
        with contextlib.suppress(ConnectionError):  # it ended early, and left unread what was handed to it
            while piece := await reader.read(256 * 1024):
                answer += piece
                if len(answer) > most:
                    raise FileTooComplex
        return bytes(answer)


async def _hand_over(writer: StreamWriter, first: bytes, pieces: AsyncIterator[bytes], request: Request) -> None:
    head = msgspec.msgpack.encode(request)
    with contextlib.suppress(ConnectionError):  # it ended early
        writer.write(len(head).to_bytes(HEAD_BYTES, "big") + head + first)
        await writer.drain()
        async for piece in pieces:
            writer.write(piece)
            await writer.drain()
        writer.write_eof()
