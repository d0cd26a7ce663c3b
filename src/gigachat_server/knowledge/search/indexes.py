"""The indexes of recently used chatbots, in memory, kept up with the store.

Idea: the rows are the truth and an index is a cache of them. A chatbot's `knowledge_version` rises in the transaction
that changes its documents; a search brings the index to at least the version its caller has read, loading only the
documents that changed since. So a prompt sent after a push was acknowledged always sees what was pushed.

Invariant: a document is in an index whole or not at all, because its chunks are read in one consistent read. The documents of
a chatbot are read in many: each is there as of some moment since the caller's version, and none is read twice.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar

import msgspec
import numpy as np

from gigachat_server.errors import EmbedderUnavailable
from gigachat_server.knowledge.search.index import ChatbotIndex, IndexRow, IndexUnits
from gigachat_server.knowledge.search.retrieve import Earlier, Manner, SearchQuery, search
from gigachat_server.knowledge.search.searcher import (
    OTHER_LENGTH,
    KnownChunks,
    PriorOf,
    Retrieval,
    manner_of,
    no_prior,
    without_gaps,
)
from gigachat_server.knowledge.search.vector_space import searchable_with
from gigachat_server.models.base import Embedder, Vector
from gigachat_server.records import Chatbot
from gigachat_server.store import chunks, documents, units
from gigachat_server.store.database import Database, Reader, Tx
from gigachat_server.store.documents import Version

T = TypeVar("T")

# A search of fewer chunks than this, for no longer a text, takes hardly more than handing it to a thread does.
_INLINE_CHUNKS = 2_000
_INLINE_CHARACTERS = 300  # each word that is new is compared with thousands
_INLINE_ROWS = 100  # likewise: that are added at once
_FIRST_DOCUMENTS = 8  # are read at once, and then as many as have about
_ROWS_AT_ONCE = 2_000


class _Entry:
    __slots__ = ("index", "lock", "version", "versions")

    def __init__(self) -> None:
        self.index = ChatbotIndex(1)  # of the vectors' dimension once there are any
        self.lock = asyncio.Lock()  # ChatbotIndex lets one thread at a time touch it
        self.version = -1
        self.versions: dict[str, Version] = {}


class _Changes(msgspec.Struct, frozen=True):
    versions: dict[str, Version]
    rows: dict[str, list[chunks.IndexRow]]
    units: dict[str, list[units.IndexUnit]]


class Indexes:
    """A `Searcher` that holds what it searches."""

    def __init__(self, database: Database, embedder: Embedder, *, memory_bytes: int, prior_of: PriorOf = no_prior) -> None:
        self._database = database
        self._embedder = embedder
        self._prior_of = prior_of
        self._memory_bytes = memory_bytes
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._known = KnownChunks(database)

    def start(self, *, is_dormant: bool = False) -> None:
        """An index is made when it is searched."""

    async def has_documents(self, chatbot: Chatbot) -> bool:
        if chatbot.knowledge_version == 0:
            return False
        return len((await self._current(chatbot)).index) > 0

    async def retrieve(
        self,
        chatbot: Chatbot,
        text: str,
        vector: Vector,
        history: Sequence[Earlier],
        *,
        is_lenient: bool,
        nearby: int = 0,
    ) -> Retrieval:
        query = SearchQuery(text, vector, history)
        manner = manner_of(chatbot, self._embedder.scale, prior=self._prior_of(vector), is_lenient=is_lenient, nearby=nearby)
        return await without_gaps(self._database, chatbot, lambda current: self._search(current, query, manner))

    async def _search(self, chatbot: Chatbot, query: SearchQuery, manner: Manner) -> Retrieval:
        entry = await self._current(chatbot)
        async with entry.lock:
            if len(query.vector) != entry.index.dimension:
                raise EmbedderUnavailable(OTHER_LENGTH)
            is_short = len(entry.index) < _INLINE_CHUNKS and len(query.text) <= _INLINE_CHARACTERS
            found = await _run(partial(search, entry.index, query, manner), is_short=is_short)
        return await self._known.retrieval(chatbot.id, found)

    async def nearest(self, chatbot: Chatbot, vector: Vector, limit: int) -> list[tuple[str, float]]:
        """The half of a search that asks for no word: chunk ids with their cosines, nearest first."""
        entry = await self._current(chatbot)
        async with entry.lock:
            work = partial(entry.index.nearest, vector, limit)
            return await _run(work, is_short=len(entry.index) < _INLINE_CHUNKS)

    @property
    def memory_bytes(self) -> int:
        """About what all indexes occupy."""
        return sum(entry.index.memory_bytes for entry in self._entries.values())

    def forget(self, chatbot_id: str) -> None:
        self._entries.pop(chatbot_id, None)

    async def count_out(self, tx: Tx, chatbot_id: str, document_id: str) -> None:
        """An index counts what it holds, and learns of changes by their version."""

    async def count_in(self, tx: Tx, chatbot_id: str, document_id: str) -> None:
        """The same."""

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
        models = searchable_with(self._embedder)

        async def read_first(reader: Reader) -> tuple[dict[str, Version], list[str], _Changes]:
            versions = await documents.list_versions(reader, chatbot.id, embedding_models=models)
            changed = [document for document, version in versions.items() if entry.versions.get(document) != version]
            return versions, changed, await _read(reader, chatbot.id, changed[:_FIRST_DOCUMENTS], models)

        wanted, changed, changes = await self._database.read(read_first)
        gone = entry.versions.keys() - wanted.keys()
        await _run(partial(_remove, entry, gone), is_short=len(entry.index) < _INLINE_CHUNKS)
        # Some documents at a time: what is read and not indexed yet would need more memory than the index itself.
        done, count = 0, _FIRST_DOCUMENTS
        while True:
            rows = sum(map(len, changes.rows.values()))
            is_short = rows < _INLINE_ROWS and len(entry.index) < _INLINE_CHUNKS
            await _run(partial(_take_in, entry, changes), is_short=is_short)
            done += count
            if done >= len(changed):
                break
            count = min(max(count * _ROWS_AT_ONCE // max(rows, 1), 1), 4 * count)
            some = changed[done : done + count]
            changes = await self._database.read(partial(_read, chatbot_id=chatbot.id, document_ids=some, models=models))
        # At least this version was read; a later change has a higher one and is caught up with when it is asked for.
        entry.version = chatbot.knowledge_version

    def _evict(self, *, keep: str) -> None:
        used = self.memory_bytes
        for chatbot_id in list(self._entries):
            if used <= self._memory_bytes:
                return
            entry = self._entries[chatbot_id]
            if chatbot_id != keep and not entry.lock.locked():
                used -= entry.index.memory_bytes
                del self._entries[chatbot_id]


async def _read(reader: Reader, chatbot_id: str, document_ids: Sequence[str], models: Sequence[str]) -> _Changes:
    """Those documents as they are now; without those deleted meanwhile."""
    if not document_ids:
        return _Changes({}, {}, {})
    versions = await documents.list_versions_of(reader, chatbot_id, document_ids, embedding_models=models)
    changes = _Changes(versions, {document: [] for document in versions}, {document: [] for document in versions})
    for row in await chunks.list_for_index(reader, chatbot_id, list(versions)):
        changes.rows[row.document_id].append(row)
    for unit in await units.list_for_index(reader, chatbot_id, list(versions)):
        changes.units[unit.document_id].append(unit)
    return changes


def _remove(entry: _Entry, document_ids: Iterable[str]) -> None:
    for document in document_ids:
        entry.index.remove(document)
        del entry.versions[document]


def _take_in(entry: _Entry, changes: _Changes) -> None:
    """Raises `EmbedderUnavailable` for a vector of another length; the documents before it are in their place."""
    for document, rows in changes.rows.items():
        try:
            of_document = _units(rows, changes.units[document])
        except ValueError:
            raise EmbedderUnavailable(OTHER_LENGTH) from None
        dimension = of_document.directions.shape[1]
        if rows and not len(entry.index):
            entry.index = ChatbotIndex(dimension)
        if rows and dimension != entry.index.dimension:
            raise EmbedderUnavailable(OTHER_LENGTH)
        version = changes.versions[document]
        indexed = [IndexRow(row.id, row.stems) for row in rows]
        entry.index.add(document, indexed, of_document, language=version.language)
        entry.versions[document] = version
    entry.index.lead_next()


def _units(rows: Sequence[chunks.IndexRow], found: Sequence[units.IndexUnit]) -> IndexUnits:
    """Of a document's chunks. Raises `ValueError` if their vectors are of several lengths."""
    whole = [row.embedding for row in rows if row.embedding is not None]
    if len(whole) < len(rows) or not rows:
        return IndexUnits.of(
            [unit.vector for unit in found], [unit.first_chunk for unit in found], [unit.last_chunk for unit in found]
        )
    # Embedded as a whole, by an earlier version, and waiting to be built anew.
    return IndexUnits.whole(np.stack([np.frombuffer(embedding, dtype="<f4") for embedding in whole]))


async def _run(work: Callable[[], T], *, is_short: bool) -> T:
    return work() if is_short else await _to_its_end(work)


async def _to_its_end(work: Callable[[], T]) -> T:
    """Run in a thread and, even when cancelled, return only once the thread is done: the lock outlives its work."""
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait((running,))
        raise
