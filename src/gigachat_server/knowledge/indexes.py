"""The indexes of recently used chatbots, in memory, kept up with the store.

Idea: the rows are the truth and an index is a cache of them. A chatbot's `knowledge_version` rises in the transaction
that changes its documents; a search brings the index to at least the version its caller has read, loading only the
documents that changed since. So a prompt sent after a push was acknowledged always sees what was pushed.

Invariant: a document is in an index whole or not at all, because its chunks are read in one consistent read.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec
import numpy as np

from gigachat_server.errors import EmbedderUnavailable
from gigachat_server.knowledge.index import ChatbotIndex, IndexRow
from gigachat_server.knowledge.retrieve import Earlier, Found, SearchQuery, search
from gigachat_server.knowledge.searcher import OTHER_LENGTH, KnownChunks, Retrieval, without_gaps
from gigachat_server.models.base import Embedder, Vector
from gigachat_server.records import Chatbot
from gigachat_server.store import chunks, documents
from gigachat_server.store.database import Database, Reader, Tx

T = TypeVar("T")

# A search of fewer chunks than this takes less than handing it to a thread does.
_INLINE_CHUNKS = 2_000


class _Entry:
    __slots__ = ("index", "lock", "version", "versions")

    def __init__(self) -> None:
        self.index = ChatbotIndex(1)  # of the vectors' dimension once there are any
        self.lock = asyncio.Lock()  # ChatbotIndex lets one thread at a time touch it
        self.version = -1
        self.versions: dict[str, int] = {}


class _Changes(msgspec.Struct, frozen=True):
    versions: dict[str, int]
    rows: dict[str, list[chunks.IndexRow]]


class Indexes:
    """A `Searcher` that holds what it searches."""

    def __init__(self, database: Database, embedder: Embedder, *, memory_bytes: int) -> None:
        self._database = database
        self._embedder = embedder
        self._memory_bytes = memory_bytes
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._known = KnownChunks(database)

    def start(self) -> None:
        """An index is made when it is searched."""

    async def has_documents(self, chatbot: Chatbot) -> bool:
        if chatbot.knowledge_version == 0:
            return False
        return len((await self._current(chatbot)).index) > 0

    async def retrieve(self, chatbot: Chatbot, text: str, vector: Vector, history: Sequence[Earlier]) -> Retrieval:
        return await without_gaps(self._database, chatbot, lambda current: self._search(current, text, vector, history))

    async def _search(self, chatbot: Chatbot, text: str, vector: Vector, history: Sequence[Earlier]) -> Retrieval:
        entry = await self._current(chatbot)
        results = chatbot.config.documents.results

        def run() -> Found:
            return search(
                entry.index,
                SearchQuery(text, vector, history),
                scale=self._embedder.scale,
                match_count=results.match_count,
                match_threshold=results.match_threshold,
            )

        async with entry.lock:
            if len(vector) != entry.index.dimension:
                raise EmbedderUnavailable(OTHER_LENGTH)
            found = run() if len(entry.index) < _INLINE_CHUNKS else await _to_its_end(run)
        return await self._known.retrieval(chatbot.id, found)

    def forget(self, chatbot_id: str) -> None:
        self._entries.pop(chatbot_id, None)

    async def count_out(self, tx: Tx, chatbot_id: str, document_id: str) -> None:
        """An index counts what it holds, and learns of changes by their version."""

    async def count_in(self, tx: Tx, chatbot_id: str, document_id: str) -> None:
        """Likewise."""

    async def aclose(self) -> None:
        """Nothing runs."""

    async def _current(self, chatbot: Chatbot) -> _Entry:
        entry = self._entries.get(chatbot.id)
        if entry is None:
            entry = self._entries[chatbot.id] = _Entry()
        self._entries.move_to_end(chatbot.id)
        if entry.version < chatbot.knowledge_version:
            async with entry.lock:
                if entry.version < chatbot.knowledge_version:
                    await self._catch_up(chatbot, entry)
            self._evict(keep=chatbot.id)
        return entry

    async def _catch_up(self, chatbot: Chatbot, entry: _Entry) -> None:
        async def read_changes(reader: Reader) -> _Changes:
            versions = await documents.list_versions(reader, chatbot.id, embedding_model=self._embedder.name)
            changed = [document for document, version in versions.items() if entry.versions.get(document) != version]
            rows: dict[str, list[chunks.IndexRow]] = {document: [] for document in changed}
            for row in await chunks.list_for_index(reader, chatbot.id, changed) if changed else []:
                rows[row.document_id].append(row)
            return _Changes(versions, rows)

        changes = await self._database.read(read_changes)
        lengths = {len(row.embedding) // 4 for rows in changes.rows.values() for row in rows}
        if len(entry.index):
            lengths.add(entry.index.dimension)
        if len(lengths) > 1:
            raise EmbedderUnavailable(OTHER_LENGTH)

        def apply() -> None:
            for document in entry.versions.keys() - changes.versions.keys():
                entry.index.remove(document)
            for document, rows in changes.rows.items():
                indexed = [IndexRow(row.id, row.stems, np.frombuffer(row.embedding, dtype="<f4")) for row in rows]
                if indexed and not len(entry.index):
                    entry.index = ChatbotIndex(len(indexed[0].vector))
                entry.index.add(document, indexed)

        if sum(map(len, changes.rows.values())) < 100:
            apply()
        else:
            await _to_its_end(apply)
        entry.versions = changes.versions
        # At least this version was read; a later change has a higher one and is caught up with when it is asked for.
        entry.version = chatbot.knowledge_version

    def _evict(self, *, keep: str) -> None:
        used = sum(entry.index.memory_bytes for entry in self._entries.values())
        for chatbot_id in list(self._entries):
            if used <= self._memory_bytes:
                return
            entry = self._entries[chatbot_id]
            if chatbot_id != keep and not entry.lock.locked():
                used -= entry.index.memory_bytes
                del self._entries[chatbot_id]


async def _to_its_end(work: Callable[[], T]) -> T:
    """Run in a thread and, even when cancelled, return only once the thread is done: the lock outlives its work."""
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait((running,))
        raise
