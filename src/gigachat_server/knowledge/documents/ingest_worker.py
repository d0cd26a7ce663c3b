"""Background work: rows are the queue, a lease says who works on one.

Invariant: a row is worked on by at most one worker at a time; a worker that dies loses its lease within `LEASE_S` and
the row is taken up again. Waking up is a hint that only saves waiting: every worker also looks by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter

import msgspec

from gigachat_server.clock import Clock
from gigachat_server.errors import (
    DocumentFailed,
    EmbedderRejected,
    EmbedderUnavailable,
    EmbeddingRefused,
    GigachatError,
    StorageUnavailable,
)
from gigachat_server.knowledge.documents.ingest import Ingest
from gigachat_server.records import Document, TextSplitterConfig
from gigachat_server.store import chatbots, documents, ingest_queue, uploads
from gigachat_server.store.database import Database, Reader, Tx
from gigachat_server.store.ingest_queue import Waiting
from gigachat_server.triggers import trigger

LEASE_S = 30
_RENEW_S = 10
_RETRY_S = 5
_LOOK_EVERY_S = 5.0
_SWEEP_EVERY_S = 3600.0
_AT_ONCE = 12
_AT_ONCE_EACH = 4  # of one chatbot, and one more that is small

_log = logging.getLogger("gigachat.jobs")


class _Claim(msgspec.Struct, frozen=True):
    document: Document
    splitter: TextSplitterConfig


class IngestWorker:
    """Makes waiting documents searchable, some at a time."""

    def __init__(self, database: Database, ingest: Ingest, clock: Clock) -> None:
        self._database = database
        self._ingest = ingest
        self._clock = clock
        self._wake_up = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._running: dict[Waiting, asyncio.Task[None]] = {}

    def start(self) -> None:
        self._task = asyncio.create_task(self._loop(), name="ingest-worker")

    def wake_up(self) -> None:
        """There may be something to do. A process that is no node, but was given something, sees to it from then on."""
        if self._task is None:
            self.start()
        self._wake_up.set()

    async def aclose(self) -> None:
        """What is being worked on waits again, for whoever comes next."""
        running = [task for task in (self._task, *self._running.values()) if task is not None]
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)

    async def _loop(self) -> None:
        loop = asyncio.get_running_loop()
        swept_at = loop.time() - _SWEEP_EVERY_S
        while True:
            self._wake_up.clear()
            try:
                if loop.time() - swept_at >= _SWEEP_EVERY_S:
                    swept_at = loop.time()
                    await self._sweep()
                await self._take_some()
            except GigachatError as error:
                _log.warning("cannot look for documents to ingest: %s", error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_EVERY_S):
                    await self._wake_up.wait()

    async def _take_some(self) -> None:
        """Begin with as many as there is room for; each that ends wakes the loop up.

        Chatbots take turns: those that have the fewest are first, none has more than its share, and what is small does not wait
        for what is large.
        """
        while len(self._running) < _AT_ONCE:
            entry = await self._next()
            if entry is None:
                return
            task = self._running[entry] = asyncio.create_task(self._work_off(entry), name="ingest")
            task.add_done_callback(lambda _, entry=entry: self._ended(entry))  # type: ignore[misc]

    async def _next(self) -> Waiting | None:
        running = Counter(entry.chatbot_id for entry in self._running)
        ids = [entry.id for entry in self._running]
        full = [chatbot_id for chatbot_id, number in running.items() if number >= _AT_ONCE_EACH]
        over_full = [chatbot_id for chatbot_id, number in running.items() if number > _AT_ONCE_EACH]

        async def read(reader: Reader) -> Waiting | None:
            now_us = self._clock()
            for without, is_small in ((list(running), False), (full, False), (over_full, True)):
                found = await ingest_queue.find_next(
                    reader, now_us=now_us, without_chatbots=without, without=ids, is_small=is_small
                )
                if found is not None:
                    return found
            return None

        return await self._database.read(read)

    def _ended(self, entry: Waiting) -> None:
        del self._running[entry]
        self._wake_up.set()

    async def _work_off(self, entry: Waiting) -> None:
        try:
            claimed = await self._claim(entry)
        except StorageUnavailable as error:
            _log.warning("document %s cannot be claimed: %s", entry.id, error)
            return
        if claimed is None:
            return
        renewing = asyncio.create_task(self._renew(entry))
        try:
            await trigger("I2")
            await self._ingest.work_off(claimed.document, claimed.splitter)
        except asyncio.CancelledError:
            with contextlib.suppress(StorageUnavailable):
                await self._release(entry, 0)
            raise
        except EmbedderRejected as error:
            _log.warning("document %s cannot be embedded: %s", entry.id, error)
            await self._fail(claimed.document, EmbeddingRefused(error.detail))
        except (EmbedderUnavailable, StorageUnavailable, OSError) as error:
            _log.warning("document %s has to wait: %s", entry.id, error)
            reason = f"It is tried again: {error}" if isinstance(error, EmbedderUnavailable) else None
            with contextlib.suppress(StorageUnavailable):  # then it waits for the end of its lease
                await self._release(entry, _RETRY_S, reason)
        except DocumentFailed as error:
            await self._fail(claimed.document, error)
        except Exception:  # noqa: BLE001 - the job loop: a failing document must not stop the others
            _log.exception("document %s cannot be ingested", entry.id)
            await self._fail(claimed.document, DocumentFailed())
        finally:
            renewing.cancel()

    async def _claim(self, entry: Waiting) -> _Claim | None:
        async def body(tx: Tx) -> _Claim | None:
            now_us = self._clock()
            until_us = now_us + LEASE_S * 1_000_000
            if not await ingest_queue.claim(tx, entry.chatbot_id, entry.id, now_us=now_us, until_us=until_us):
                return None
            document = await documents.find(tx, entry.chatbot_id, entry.id)
            chatbot = await chatbots.find_of_any_account(tx, entry.chatbot_id)
            if document is None or chatbot is None:
                return None
            return _Claim(document, chatbot.config.documents.text_splitter)

        claimed = await self._database.transaction("ingest.claim", body)
        if claimed is not None:
            self._ingest.watch.changed(entry.chatbot_id, entry.id)
        return claimed

    async def _renew(self, entry: Waiting) -> None:
        async def body(tx: Tx) -> None:
            await ingest_queue.hold(tx, entry.chatbot_id, entry.id, until_us=self._clock() + LEASE_S * 1_000_000)

        while True:
            await asyncio.sleep(_RENEW_S)
            with contextlib.suppress(StorageUnavailable):  # it is tried again before the lease has run out
                await self._database.transaction("ingest.hold", body)

    async def _release(self, entry: Waiting, seconds: int, reason: str | None = None) -> None:
        async def body(tx: Tx) -> None:
            until_us = self._clock() + seconds * 1_000_000
            await ingest_queue.release(tx, entry.chatbot_id, entry.id, until_us=until_us, reason=reason)

        await self._database.transaction("ingest.release", body)
        self._ingest.watch.changed(entry.chatbot_id, entry.id)

    async def _fail(self, document: Document, error: DocumentFailed) -> None:
        with contextlib.suppress(StorageUnavailable):  # then it is tried again when its lease has run out
            await self._ingest.fail(document, error=error.code, reason=error.detail or error.message)

    async def _sweep(self) -> None:
        async def body(tx: Tx) -> None:
            await uploads.delete_forgotten(tx, now_us=self._clock())

        await self._database.transaction("uploads.sweep", body)
