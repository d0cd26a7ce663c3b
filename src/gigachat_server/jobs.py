"""Background work: rows are the queue, a lease says who works on one.

Invariant: a row is worked on by at most one worker at a time; a worker that dies loses its lease within `LEASE_S` and
the row is taken up again. Waking up is a hint that only saves waiting: every worker also looks by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

from gigachat_server.clock import Clock
from gigachat_server.errors import EmbedderUnavailable, GigachatError, StorageUnavailable
from gigachat_server.knowledge.ingest import Ingest
from gigachat_server.records import TextSplitterConfig
from gigachat_server.store import chatbots, documents
from gigachat_server.store.database import Database, Reader, Tx

LEASE_S = 30
_RENEW_S = 10
_RETRY_S = 5
_LOOK_EVERY_S = 5.0
_AT_ONCE = 4

_log = logging.getLogger("gigachat.jobs")


class IngestWorker:
    """Makes `pending` documents searchable, some at a time."""

    def __init__(self, database: Database, ingest: Ingest, clock: Clock) -> None:
        self._database = database
        self._ingest = ingest
        self._clock = clock
        self._wake_up = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._loop(), name="ingest-worker")

    def wake_up(self) -> None:
        """There may be something to do."""
        self._wake_up.set()

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _loop(self) -> None:
        while True:
            self._wake_up.clear()
            try:
                worked = await self._work_off_some()
            except GigachatError as error:
                _log.warning("cannot look for documents to ingest: %s", error)
                worked = False
            if not worked:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake_up.wait(), _LOOK_EVERY_S)

    async def _work_off_some(self) -> bool:
        async def read(reader: Reader) -> list[documents.Waiting]:
            return await documents.list_waiting(reader, now_us=self._clock(), limit=_AT_ONCE * 4)

        waiting = await self._database.read(read)
        slots = asyncio.Semaphore(_AT_ONCE)

        async def one(entry: documents.Waiting) -> None:
            async with slots:
                await self._work_off(entry)

        await asyncio.gather(*(one(entry) for entry in waiting))
        return bool(waiting)

    async def _work_off(self, entry: documents.Waiting) -> None:
        async def claim(tx: Tx) -> TextSplitterConfig | None:
            now_us = self._clock()
            claimed = await documents.claim(tx, entry.chatbot_id, entry.id, now_us=now_us, until_us=now_us + LEASE_S * 1_000_000)
            chatbot = await chatbots.find_of_any_account(tx, entry.chatbot_id) if claimed else None
            return chatbot.config.documents.text_splitter if chatbot else None

        splitter = await self._database.transaction("ingest.claim", claim)
        if splitter is None:
            return
        renewing = asyncio.create_task(self._renew(entry))
        try:
            await self._ingest.work_off(entry, splitter)
        except (EmbedderUnavailable, StorageUnavailable) as error:
            _log.warning("document %s has to wait: %s", entry.id, error)
            await self._hold(entry, _RETRY_S)
        except Exception as error:  # noqa: BLE001 - the job loop: a failing document must not stop the others
            _log.exception("document %s cannot be ingested", entry.id)
            await self._fail(entry, type(error).__name__)
        finally:
            renewing.cancel()

    async def _renew(self, entry: documents.Waiting) -> None:
        while True:
            await asyncio.sleep(_RENEW_S)
            with contextlib.suppress(StorageUnavailable):  # it is tried again before the lease has run out
                await self._hold(entry, LEASE_S)

    async def _hold(self, entry: documents.Waiting, seconds: int) -> None:
        async def body(tx: Tx) -> None:
            await documents.hold(tx, entry.chatbot_id, entry.id, until_us=self._clock() + seconds * 1_000_000)

        await self._database.transaction("ingest.hold", body)

    async def _fail(self, entry: documents.Waiting, reason: str) -> None:
        async def body(tx: Tx) -> None:
            await documents.mark_failed(tx, entry.chatbot_id, entry.id, error=reason, now_us=self._clock())

        await self._database.transaction("ingest.fail", body)
