"""Follows a document through its ingest.

Invariant: a follower reads what is stored: it reports every state in which it finds the document, and always the last one.
A wake-up only saves waiting, so changes from another node are seen too, a moment later.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager

from gigachat_server.errors import NotFound, ShuttingDown, StorageUnavailable
from gigachat_server.records import WAITING, Document
from gigachat_server.store import documents
from gigachat_server.store.database import Database, Reader

_LOOK_EVERY_S = 1.0


class DocumentWatch:
    """Wakes those who follow a document."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._followers: dict[tuple[str, str], set[asyncio.Event]] = {}
        self._is_closed = False

    def changed(self, chatbot_id: str, document_id: str) -> None:
        """It is durable that something of the document is another than before."""
        for follower in self._followers.get((chatbot_id, document_id), ()):
            follower.set()

    def close(self) -> None:
        """Every follower ends with `ShuttingDown`."""
        self._is_closed = True
        for followers in self._followers.values():
            for follower in followers:
                follower.set()

    async def follow(self, chatbot_id: str, document_id: str, *, idle_s: float) -> AsyncGenerator[Document | None, None]:
        """The document now and after each change, until its ingest ends; None whenever it has not changed for `idle_s`.

        Raises `NotFound` once it is deleted, `ShuttingDown` when this process stops.
        """
        loop = asyncio.get_running_loop()
        told: Document | None = None
        told_at = loop.time()
        with self._woken(chatbot_id, document_id) as woken:
            while True:
                if self._is_closed:
                    raise ShuttingDown(retry_after_s=5)
                woken.clear()
                document = await self._find(chatbot_id, document_id, otherwise=told)
                if document is not None and document != told:
                    told, told_at = document, loop.time()
                    yield document
                    if document.state not in WAITING:
                        return
                elif loop.time() - told_at >= idle_s:
                    told_at = loop.time()
                    yield None
                timer = loop.call_later(_LOOK_EVERY_S, woken.set)
                try:
                    await woken.wait()
                finally:
                    timer.cancel()

    async def _find(self, chatbot_id: str, document_id: str, *, otherwise: Document | None) -> Document | None:
        async def read(reader: Reader) -> Document | None:
            return await documents.find(reader, chatbot_id, document_id)

        try:
            document = await self._database.read(read)
        except StorageUnavailable:  # for now: a follower waits
            return otherwise
        if document is None:
            raise NotFound
        return document

    @contextmanager
    def _woken(self, chatbot_id: str, document_id: str) -> Iterator[asyncio.Event]:
        follower = asyncio.Event()
        followed = (chatbot_id, document_id)
        self._followers.setdefault(followed, set()).add(follower)
        try:
            yield follower
        finally:
            self._followers[followed].discard(follower)
            if not self._followers[followed]:
                del self._followers[followed]
