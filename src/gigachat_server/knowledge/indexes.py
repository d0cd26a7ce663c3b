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
from gigachat_server.knowledge.index import Candidate, ChatbotIndex, IndexRow
from gigachat_server.knowledge.retrieve import Earlier, Found, SearchQuery, search
from gigachat_server.models.base import Embedder, Passage, Vector
from gigachat_server.records import Chatbot, Chunk
from gigachat_server.store import chunks, documents
from gigachat_server.store.database import Database, Reader

T = TypeVar("T")

# A search of fewer chunks than this takes less than handing it to a thread does.
_INLINE_CHUNKS = 2_000
_CACHED_CHARACTERS = 20_000_000
_MOST_CHARACTERS = 200_000  # of the passages of one retrieval


class Retrieval(msgspec.Struct, frozen=True):
    """One search for a turn: the passages above the threshold, best first, with the chunks they are of."""

    found: Found
    passages: tuple[Passage, ...]
    chunks: tuple[Chunk, ...]


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
    """Searches the documents of any chatbot."""

    def __init__(self, database: Database, embedder: Embedder, *, memory_bytes: int) -> None:
        self._database = database
        self._embedder = embedder
        self._memory_bytes = memory_bytes
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._chunks: OrderedDict[str, Chunk] = OrderedDict()
        self._chunk_characters = 0

    async def has_documents(self, chatbot: Chatbot) -> bool:
        """Whether anything can be found at all; without documents a prompt needs no vector."""
        if chatbot.knowledge_version == 0:
            return False
        return len((await self._current(chatbot)).index) > 0

    async def retrieve(self, chatbot: Chatbot, text: str, vector: Vector, history: Sequence[Earlier]) -> Retrieval:
        """What the chatbot's documents hold for this prompt."""
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
                raise EmbedderUnavailable("The embedding model makes vectors of another length than it did.")
            found = run() if len(entry.index) < _INLINE_CHUNKS else await _to_its_end(run)
        by_id = await self._chunks_of(chatbot.id, [candidate.chunk_id for candidate in found.candidates])
        pairs = _bounded([(c, by_id[c.chunk_id]) for c in found.candidates if c.chunk_id in by_id])
        passages = tuple(
            Passage(
                chunk_id=chunk.id,
                document_id=chunk.document_id,
                document_name=chunk.document_name,
                number=chunk.number,
                text=chunk.content,
                line_from=chunk.line_from,
                line_to=chunk.line_to,
                cosine=candidate.cosine,
                lexical=candidate.lexical,
                coverage=candidate.coverage,
                rank_score=candidate.rank_score,
                score=candidate.score,
            )
            for candidate, chunk in pairs
        )
        return Retrieval(found, passages, tuple(chunk for _, chunk in pairs))

    def forget(self, chatbot_id: str) -> None:
        """Free the memory of a deleted chatbot."""
        self._entries.pop(chatbot_id, None)

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
            raise EmbedderUnavailable("The embedding model makes vectors of another length than it did.")

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

    async def _chunks_of(self, chatbot_id: str, ids: list[str]) -> dict[str, Chunk]:
        """A chunk never changes under its id, so what is cached is right. Those deleted meanwhile are left out."""
        found = {id: self._chunks[id] for id in ids if id in self._chunks}
        missing = [id for id in ids if id not in found]
        if missing:

            async def read(reader: Reader) -> list[Chunk]:
                return await chunks.list_by_id(reader, chatbot_id, missing)

            for chunk in await self._database.read(read):
                if chunk.id not in self._chunks:
                    self._chunk_characters += len(chunk.content)
                found[chunk.id] = self._chunks[chunk.id] = chunk
        for id in found:
            self._chunks.move_to_end(id)
        while self._chunk_characters > _CACHED_CHARACTERS:
            self._chunk_characters -= len(self._chunks.popitem(last=False)[1].content)
        return found


def _bounded(pairs: list[tuple[Candidate, Chunk]]) -> list[tuple[Candidate, Chunk]]:
    """The best, as many as are worth handing on: sources are stored and sent with every reply."""
    characters = 0
    for place, (_, chunk) in enumerate(pairs):
        characters += len(chunk.content)
        if characters > _MOST_CHARACTERS and place > 0:
            return pairs[:place]
    return pairs


async def _to_its_end(work: Callable[[], T]) -> T:
    """Run in a thread and, even when cancelled, return only once the thread is done: the lock outlives its work."""
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait((running,))
        raise
