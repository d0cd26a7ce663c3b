"""Documents as background work: which waiting document is next, and what becomes of a try; `work/leased.py` has the policy."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections import Counter
from collections.abc import Collection

import msgspec

from gigachat_server.clock import Clock
from gigachat_server.errors import DocumentFailed, EmbedderRejected, EmbedderUnavailable, EmbeddingRefused
from gigachat_server.knowledge.documents.ingest import Ingest
from gigachat_server.records import Document, TextSplitterConfig
from gigachat_server.store import chatbots, documents, ingest_queue, uploads
from gigachat_server.store.database import Database, Reader, Tx
from gigachat_server.store.ingest_queue import Waiting
from gigachat_server.triggers import trigger
from gigachat_server.work.background import Background
from gigachat_server.work.leased import LOST, PutOff

_EMBEDDER_AWAY_S = 5.0
_LOOK_EVERY_S = 5.0
_SWEEP_EVERY_S = 3600.0
_AT_ONCE = 12
_AT_ONCE_EACH = 4  # of one chatbot, and one more that is small
_FAILS = "Something went wrong on our side; it is tried again."
_PARKED = (
    "Something went wrong on our side each time it was tried. Push it again, or start gigachat again, which tries it once more; "
    "`gigachat doctor` says what went wrong."
)
_LOST = "The server broke down each time it worked on this: push it in another form, or split it."

_log = logging.getLogger("gigachat.work")


class _Claim(msgspec.Struct, frozen=True):
    document: Document
    splitter: TextSplitterConfig


class IngestQueue:
    """The documents that wait to be made searchable.

    Chatbots take turns: those that have the fewest are first, none has more than its share, and what is small does not wait
    for what is large.
    """

    def __init__(self, database: Database, ingest: Ingest, clock: Clock) -> None:
        self._database = database
        self._ingest = ingest
        self._clock = clock

    async def find_next(self, running: Collection[Waiting], without: Collection[Waiting]) -> Waiting | None:
        working = Counter(entry.chatbot_id for entry in running)
        full = [chatbot_id for chatbot_id, number in working.items() if number >= _AT_ONCE_EACH]
        over_full = [chatbot_id for chatbot_id, number in working.items() if number > _AT_ONCE_EACH]
        ids = [entry.id for entry in without]

        async def read(reader: Reader) -> Waiting | None:
            now_us = self._clock()
            for chatbot_ids, is_small in ((list(working), False), (full, False), (over_full, True)):
                found = await ingest_queue.find_next(
                    reader, now_us=now_us, without_chatbots=chatbot_ids, without=ids, is_small=is_small
                )
                if found is not None:
                    return found
            return None

        return await self._database.read(read)

    async def claim(self, entry: Waiting, lease: str, *, now_us: int, until_us: int) -> int | None:
        async def body(tx: Tx) -> int | None:
            self._tell(tx, entry)
            return await ingest_queue.claim(tx, entry.chatbot_id, entry.id, lease=lease, now_us=now_us, until_us=until_us)

        return await self._database.transaction("ingest.claim", body)

    async def renew(self, entry: Waiting, lease: str, *, until_us: int) -> None:
        async def body(tx: Tx) -> None:
            await ingest_queue.renew(tx, entry.chatbot_id, entry.id, lease=lease, until_us=until_us)

        await self._database.transaction("ingest.renew", body)

    async def work_off(self, entry: Waiting, lease: str) -> None:
        await trigger("I2")
        claimed = await self._load(entry, lease)
        if claimed is None:
            return
        try:
            await self._ingest.work_off(claimed.document, claimed.splitter)
        except EmbedderRejected as error:
            _log.warning("document %s cannot be embedded: %s", entry.id, error)
            await self._fail(claimed.document, EmbeddingRefused(error.detail))
        except EmbedderUnavailable as error:
            raise PutOff(_EMBEDDER_AWAY_S, f"It is tried again: {error}") from error
        except DocumentFailed as error:
            await self._fail(claimed.document, error)

    async def _load(self, entry: Waiting, lease: str) -> _Claim | None:
        """What was claimed; None if it is gone, or pushed again."""

        async def read(reader: Reader) -> _Claim | None:
            if not await ingest_queue.is_held(reader, entry.chatbot_id, entry.id, lease=lease):
                return None
            document = await documents.find(reader, entry.chatbot_id, entry.id)
            chatbot = await chatbots.find_of_any_account(reader, entry.chatbot_id)
            if document is None or chatbot is None:
                return None
            return _Claim(document, chatbot.config.documents.text_splitter)

        return await self._database.read(read)

    async def _fail(self, document: Document, error: DocumentFailed) -> None:
        await self._ingest.fail(document, error=error.code, reason=error.detail or error.message)

    async def release(self, entry: Waiting, lease: str, *, at_us: int, reason: str | None, is_counted: bool) -> None:
        async def body(tx: Tx) -> None:
            self._tell(tx, entry)
            why = _FAILS if is_counted else reason
            await ingest_queue.release(
                tx, entry.chatbot_id, entry.id, lease=lease, at_us=at_us, reason=why, is_counted=is_counted
            )

        await self._database.transaction("ingest.release", body)

    async def park(self, entry: Waiting, lease: str, *, tries: int, now_us: int, reason: str) -> bool:
        async def body(tx: Tx) -> bool:
            self._tell(tx, entry)
            return await ingest_queue.park(
                tx,
                entry.chatbot_id,
                entry.id,
                lease=lease,
                tries=tries,
                error=DocumentFailed.code,
                reason=_LOST if reason == LOST else _PARKED,
                why=reason,
                now_us=now_us,
            )

        return await self._database.transaction("ingest.park", body)

    def _tell(self, tx: Tx, entry: Waiting) -> None:
        """Those who follow the document look at it once this is stored."""
        tx.after_commit(functools.partial(self._ingest.watch.changed, entry.chatbot_id, entry.id))


class IngestWorker:
    """Makes waiting documents searchable, some at a time. `waiting` wakes it: a document was accepted."""

    def __init__(self, database: Database, ingest: Ingest, clock: Clock, background: Background, waiting: asyncio.Event) -> None:
        self._database = database
        self._clock = clock
        queue = IngestQueue(database, ingest, clock)
        self._leased = background.leased("ingest", queue, at_once=_AT_ONCE, every_s=_LOOK_EVERY_S, wake=waiting)
        self._sweeping = background.loop("upload-sweep", self.sweep, every_s=_SWEEP_EVERY_S)

    def start(self, *, is_dormant: bool = False) -> None:
        """`is_dormant`: this process is no node, and works only once it was given something itself."""
        self._leased.start(is_dormant=is_dormant)
        if not is_dormant:
            self._sweeping.start()

    def wake_up(self) -> None:
        """There may be something to do."""
        self._leased.wake_up()

    def drain(self) -> None:
        self._leased.drain()

    async def aclose(self) -> None:
        await self._sweeping.aclose()
        await self._leased.aclose()

    async def sweep(self) -> None:
        """Files are gone that were stored for a push that never came to its end."""

        async def body(tx: Tx) -> None:
            await uploads.delete_forgotten(tx, now_us=self._clock())

        await self._database.transaction("uploads.sweep", body)
