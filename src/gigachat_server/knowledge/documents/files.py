"""Files on their way to a text: stored as bytes where every node finds them, and read when their turn has come.

Idea: a file is stored in pieces, each in its own transaction, so that neither this process nor the store has to hold it
whole; the document names it in the last one. Invariant: a document either names bytes that are all there, or none; they are
removed in the transaction that stores their text, or that says why there is none.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from gigachat_server.clock import Clock
from gigachat_server.ids import new_id
from gigachat_server.store import uploads
from gigachat_server.store.database import Database, Reader, Tx

PIECE_BYTES = 1024 * 1024


class FileStore:
    """The bytes of files that wait to be read."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def store(self, chatbot_id: str, data: bytes | Path) -> Upload:
        """All but the last piece of the file is stored; it stays invisible until `Upload.finish`."""
        upload = Upload(chatbot_id, new_id(), self._clock())
        pieces = _pieces(data)
        while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
            if upload.last is not None:
                await self._database.transaction("upload.piece", upload.finish)
                upload.number += 1
            upload.last = piece
        return upload

    async def pieces(self, chatbot_id: str, upload_id: str) -> AsyncIterator[bytes]:
        """The file again, one piece in memory at a time."""
        number = 0

        async def read(reader: Reader) -> bytes | None:
            return await uploads.find_piece(reader, chatbot_id, upload_id, number=number)

        while (piece := await self._database.read(read)) is not None:
            yield piece
            number += 1


class Upload:
    """A file that is stored but for its last piece."""

    def __init__(self, chatbot_id: str, upload_id: str, now_us: int) -> None:
        self.id = upload_id
        self.number = 0
        self.last: bytes | None = None
        self._chatbot_id = chatbot_id
        self._now_us = now_us

    async def finish(self, tx: Tx) -> None:
        """Within the transaction that has a document name it."""
        await uploads.insert_piece(
            tx, self._chatbot_id, self.id, number=self.number, content=self.last or b"", now_us=self._now_us
        )


async def hash_of(data: bytes | Path) -> str:
    """SHA-256 of the file."""
    return await asyncio.to_thread(_hash_of, data)


def _hash_of(data: bytes | Path) -> str:
    if isinstance(data, bytes):
        return hashlib.sha256(data).hexdigest()
    with data.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _pieces(data: bytes | Path) -> Iterator[bytes]:
    if isinstance(data, bytes):
        for first in range(0, len(data), PIECE_BYTES):
            yield data[first : first + PIECE_BYTES]
        return
    with data.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            yield piece
