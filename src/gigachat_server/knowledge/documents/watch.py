"""Follows a document through its ingest.

Invariant: a follower reads what is stored: it reports every state in which it finds the document, and always the last one.
A wake-up only saves waiting, so changes from another node are seen too, a moment later.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from gigachat_server.errors import NotFound, ShuttingDown, StorageUnavailable
from gigachat_server.records import WAITING, Document
from gigachat_server.store import documents
from gigachat_server.store.database import Database, Reader
from gigachat_server.work.waking import Watchers, is_set_within

_LOOK_EVERY_S = 1.0


class DocumentWatch:
    """Wakes those who follow a document."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._watchers: Watchers[tuple[str, str]] = Watchers()

    def changed(self, chatbot_id: str, document_id: str) -> None:
        """It is durable that something of the document is another than before."""
        self._watchers.wake((chatbot_id, document_id))

    def close(self) -> None:
        """Every follower ends with `ShuttingDown`."""
        self._watchers.close()

    async def follow(self, chatbot_id: str, document_id: str, *, idle_s: float) -> AsyncGenerator[Document | None, None]:
        """The document now and after each change, until its ingest ends; None whenever it has not changed for `idle_s`.

        Raises `NotFound` once it is deleted, `ShuttingDown` when this process stops.
        """
        loop = asyncio.get_running_loop()
        told: Document | None = None
        told_at = loop.time()
        with self._watchers.watching((chatbot_id, document_id)) as woken:
            while True:
                if self._watchers.is_closed:
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
                await is_set_within(woken, _LOOK_EVERY_S)

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
