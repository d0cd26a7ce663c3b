"""From a pushed text to chunks that can be found: cut, embed, and replace all at once.

Invariant: everything slow happens before the transaction; the transaction swaps all chunks of the document and raises
the chatbot's `knowledge_version`, so readers see the old document or the new one, never a mix. What is unchanged costs
nothing: the same text is a no-op, and a chunk whose text stays keeps its vector.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
from typing import Protocol

import msgspec
import numpy as np

from gigachat_server.clock import Clock
from gigachat_server.errors import Conflict, EmbedderUnavailable, FieldError, InvalidRequest, NotFound
from gigachat_server.ids import new_id
from gigachat_server.knowledge.chunk import TextChunk, split
from gigachat_server.knowledge.scoring import dump_stems
from gigachat_server.knowledge.searcher import Searcher
from gigachat_server.models.base import Embedder, Matrix
from gigachat_server.records import Chatbot, Chunk, Document, TextSplitterConfig
from gigachat_server.store import chatbots, chunks, documents
from gigachat_server.store.database import Database, Reader, Tx
from gigachat_server.text import stems

# Cutting and stemming shorter texts takes less than handing them to a thread does.
_INLINE_CHARACTERS = 4_000
MOST_CHUNKS = 10_000  # of one document; the largest document makes 2,600 with the default text_splitter


class DocumentNameTaken(Conflict):
    code = "document_name_taken"
    message = "Another document of this chatbot has that name."


# Runs at the end of the transaction that stores a document: what an idempotency key stands for is kept with it.
class Keep(Protocol):
    async def __call__(self, tx: Tx, document: Document) -> None: ...


class Ingested(msgspec.Struct, frozen=True):
    """A document as it now is, with its chunks. A `pending` one has been accepted but cannot be searched yet."""

    document: Document
    chunks: list[Chunk]


class _Superseded(Exception):
    """The chatbot's text_splitter changed, or the document did, while this version was being embedded."""


class _Cut(msgspec.Struct, frozen=True):
    pieces: list[TextChunk]
    stems: list[str]


class Ingest:
    """Brings documents into chatbots and takes them out again."""

    def __init__(self, database: Database, embedder: Embedder, searcher: Searcher, clock: Clock) -> None:
        self._database = database
        self._embedder = embedder
        self._searcher = searcher
        self._clock = clock

    async def push(
        self, chatbot: Chatbot, name: str, content: str, *, document_id: str | None = None, keep: Keep | None = None
    ) -> Ingested:
        """Have this text be the document of that name (or of that id, which may rename it), searchable on return.

        Without an embedder to reach, the text is accepted as `pending`. Raises `NotFound`, `DocumentNameTaken`.
        """
        sha256 = hashlib.sha256(content.encode()).hexdigest()
        earlier = await self._find(chatbot.id, name, document_id)
        if earlier and self._is_unchanged(earlier, name=name, sha256=sha256):
            if keep is not None:
                await self._database.transaction("document.keep", functools.partial(keep, document=earlier))
            return await self.held(earlier)
        now_us = self._clock()
        document = Document(
            chatbot_id=chatbot.id,
            id=earlier.id if earlier else new_id(),
            name=name,
            content_sha256=sha256,
            state="ready",
            error=None,
            chunk_count=0,
            characters=len(content),
            embedding_model=self._embedder.name,
            created_at=earlier.created_at if earlier else now_us,
            updated_at=now_us,
        )
        try:
            splitter = chatbot.config.documents.text_splitter
            return await self._embed_and_replace(splitter, document, content, must_exist=document_id is not None, keep=keep)
        except (EmbedderUnavailable, _Superseded):
            return Ingested(await self.accept(chatbot, name, content, document_id=document_id, keep=keep), [])

    async def accept(
        self, chatbot: Chatbot, name: str, content: str, *, document_id: str | None = None, keep: Keep | None = None
    ) -> Document:
        """Store the text durably as `pending`; a worker makes it searchable. Raises as `push` does."""
        sha256 = hashlib.sha256(content.encode()).hexdigest()
        now_us = self._clock()

        async def body(tx: Tx) -> Document:
            if await chatbots.lock(tx, chatbot.account_id, chatbot.id) is None:
                raise NotFound
            earlier = await _find_target(tx, chatbot.id, name, document_id)
            if earlier and self._is_unchanged(earlier, name=name, sha256=sha256):
                if keep is not None:
                    await keep(tx, document=earlier)
                return earlier
            document = Document(
                chatbot_id=chatbot.id,
                id=earlier.id if earlier else new_id(),
                name=name,
                content_sha256=sha256,
                state="pending",
                error=None,
                chunk_count=earlier.chunk_count if earlier else 0,
                characters=len(content),
                embedding_model=earlier.embedding_model if earlier else None,
                created_at=earlier.created_at if earlier else now_us,
                updated_at=now_us,
            )
            await documents.put_waiting(tx, document, content=content)
            if keep is not None:
                await keep(tx, document=document)
            return document

        return await self._database.transaction("document.accept", body)

    async def work_off(self, waiting: documents.Waiting, splitter: TextSplitterConfig) -> None:
        """Make a `pending` document searchable. Raises `EmbedderUnavailable`; then it still waits."""

        async def read(reader: Reader) -> tuple[Document, str] | None:
            document = await documents.find(reader, waiting.chatbot_id, waiting.id)
            content = await documents.get_content(reader, waiting.chatbot_id, waiting.id)
            return (document, content) if document is not None and content is not None else None

        if (found := await self._database.read(read)) is None:
            return
        document, content = found
        ready = msgspec.structs.replace(
            document, state="ready", error=None, embedding_model=self._embedder.name, updated_at=self._clock()
        )
        try:
            await self._embed_and_replace(splitter, ready, content, only_if_waiting=True)
        except (_Superseded, NotFound):
            return  # a newer text, or none, is in its place: that one is another entry of the queue

    async def delete(self, chatbot_id: str, document_id: str) -> None:
        """Its chunks are found no more. Raises `NotFound`."""

        async def body(tx: Tx) -> bool:
            await chatbots.raise_knowledge_version(tx, chatbot_id)
            await self._searcher.count_out(tx, chatbot_id, document_id)
            return await documents.delete(tx, chatbot_id, document_id)

        if not await self._database.transaction("document.delete", body):
            raise NotFound

    def _is_unchanged(self, earlier: Document, *, name: str, sha256: str) -> bool:
        return (
            earlier.content_sha256 == sha256
            and earlier.name == name
            and earlier.state == "ready"
            and earlier.embedding_model == self._embedder.name
        )

    async def _embed_and_replace(
        self,
        splitter: TextSplitterConfig,
        document: Document,
        content: str,
        *,
        only_if_waiting: bool = False,
        must_exist: bool = False,
        keep: Keep | None = None,
    ) -> Ingested:
        """Raises `_Superseded` when what was embedded is not what is wanted any more, `InvalidRequest` for too many chunks."""
        if len(content) <= _INLINE_CHARACTERS:
            cut = _cut(content, splitter)
        else:
            cut = await asyncio.to_thread(_cut, content, splitter)
        if len(cut.pieces) > MOST_CHUNKS:
            message = f"Makes {len(cut.pieces)} chunks, and may make {MOST_CHUNKS}: split it, or raise the chatbot's chunk_size."
            raise InvalidRequest(errors=(FieldError("content", message),))
        vectors = await self._vectors(document, [piece.text for piece in cut.pieces])
        new_chunks = [
            Chunk(
                chatbot_id=document.chatbot_id,
                document_id=document.id,
                document_name=document.name,
                id=new_id(),
                number=number,
                content=piece.text,
                line_from=piece.line_from,
                line_to=piece.line_to,
                embedding=vector.tobytes(),
                created_at=document.updated_at,
                updated_at=document.updated_at,
            )
            for number, (piece, vector) in enumerate(zip(cut.pieces, vectors, strict=True))
        ]

        async def body(tx: Tx) -> Ingested:
            name = document.name
            if (raised := await chatbots.raise_knowledge_version(tx, document.chatbot_id)) is None:
                raise NotFound
            version, config = raised
            if config.documents.text_splitter != splitter:
                raise _Superseded
            if only_if_waiting:
                held = await documents.find(tx, document.chatbot_id, document.id)
                if held is None or held.content_sha256 != document.content_sha256 or held.state != "pending":
                    raise _Superseded
                target: Document | None = held
                name = held.name  # it may have been renamed since
            elif must_exist:
                target = await _find_target(tx, document.chatbot_id, document.name, document.id)
                if target is None or target.id != document.id:
                    raise NotFound
            else:
                # Someone else may have pushed the name first: then theirs is replaced, under its own id.
                target = await _find_target(tx, document.chatbot_id, document.name, document.id)
            final = msgspec.structs.replace(
                document,
                name=name,
                id=target.id if target else document.id,
                chunk_count=len(new_chunks),
                created_at=target.created_at if target else document.created_at,
            )
            placed = [msgspec.structs.replace(chunk, document_id=final.id, document_name=name) for chunk in new_chunks]
            await self._searcher.count_out(tx, final.chatbot_id, final.id)
            await chunks.replace(tx, final.chatbot_id, final.id, zip(placed, cut.stems, strict=True))
            await self._searcher.count_in(tx, final.chatbot_id, final.id)
            await documents.put(tx, final, content=content, version=version)
            if keep is not None:
                await keep(tx, document=final)
            return Ingested(final, placed)

        return await self._database.transaction("document.replace", body)

    async def _vectors(self, document: Document, texts: list[str]) -> Matrix:
        """The vector of each text, taken from the document's earlier chunks where the text is the same."""

        async def read(reader: Reader) -> dict[str, bytes]:
            held = await documents.find(reader, document.chatbot_id, document.id)
            if held is None or held.embedding_model != self._embedder.name:
                return {}
            earlier = await chunks.list_of_document(reader, document.chatbot_id, document.id)
            return {chunk.content: chunk.embedding for chunk in earlier}

        known = await self._database.read(read)
        missing = list(dict.fromkeys(text for text in texts if text not in known))
        if missing:
            fresh = await self._embedder.embed_passages(missing)
            known.update((text, vector.astype("<f4").tobytes()) for text, vector in zip(missing, fresh, strict=True))
        joined = b"".join(known[text] for text in texts)
        return np.frombuffer(joined, dtype="<f4").reshape(len(texts), -1)

    async def _find(self, chatbot_id: str, name: str, document_id: str | None) -> Document | None:
        async def read(reader: Reader) -> Document | None:
            found = await _find_target(reader, chatbot_id, name, document_id)
            if document_id is not None and found is None:
                raise NotFound
            return found

        return await self._database.read(read)

    async def held(self, document: Document) -> Ingested:
        """The document with the chunks it has now."""

        async def read(reader: Reader) -> list[Chunk]:
            return await chunks.list_of_document(reader, document.chatbot_id, document.id)

        return Ingested(document, await self._database.read(read))


async def _find_target(reader: Reader, chatbot_id: str, name: str, document_id: str | None) -> Document | None:
    """The document that a push of this name (and id) replaces. Raises `DocumentNameTaken`."""
    named = await documents.find_by_name(reader, chatbot_id, name)
    if document_id is None:
        return named
    held = await documents.find(reader, chatbot_id, document_id)
    if held is not None and named is not None and named.id != held.id:
        raise DocumentNameTaken
    return held if held is not None else named


def _cut(content: str, splitter: TextSplitterConfig) -> _Cut:
    pieces = split(content, size=splitter.chunk_size, overlap=splitter.chunk_overlap)
    return _Cut(pieces, [dump_stems(stems(piece.text)) for piece in pieces])
