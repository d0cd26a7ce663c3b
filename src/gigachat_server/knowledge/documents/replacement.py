"""A document's chunks, replaced all at once by those of its new text.

Invariant: everything slow happens before the transaction; the transaction swaps all chunks of the document and raises the
chatbot's `knowledge_version`, so readers see the old document or the new one, never a mix. A text that was embedded before
keeps its direction.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable

import msgspec

from gigachat_server.errors import NotFound, TooManyChunks
from gigachat_server.ids import new_id
from gigachat_server.knowledge.documents.build import BuiltText, CutText, Text, build, cut
from gigachat_server.knowledge.documents.text_vectors import Advance, TextVectors
from gigachat_server.knowledge.documents.watch import DocumentWatch
from gigachat_server.knowledge.search.searcher import Searcher
from gigachat_server.models.base import Embedder
from gigachat_server.records import Chunk, Document, TextSplitterConfig
from gigachat_server.store import chatbots, chunks, documents, made_embeddings, units
from gigachat_server.store.chunks import StoredChunk
from gigachat_server.store.database import Database, Tx
from gigachat_server.triggers import trigger

# Cutting and stemming shorter texts takes less than handing them to a thread does.
_INLINE_CHARACTERS = 4_000
MOST_CHUNKS = 10_000  # of one document; the largest document makes 2,600 with the default text_splitter


class NewerVersion(Exception):
    """The chatbot's text_splitter changed, or the document did, while this version was being embedded."""


class IngestResult(msgspec.Struct, frozen=True):
    """A document as it now is, with its chunks. A `pending` one has been accepted but cannot be searched yet."""

    document: Document
    chunks: list[Chunk]


class _NewText(msgspec.Struct, frozen=True):
    """A text that is ready to be stored: cut, embedded and built."""

    text: Text
    cut: CutText
    built: BuiltText

    def chunks_of(self, document: Document) -> list[Chunk]:
        return [
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
                page=place.page,
                heading=place.heading,
            )
            for number, (piece, place, vector) in enumerate(
                zip(self.cut.chunks, self.cut.located, self.built.embeddings, strict=True)
            )
        ]


# What the transaction that swaps the chunks does first and last: it decides which document they are of (and raises
# `NewerVersion` where they are wanted no more), and it makes durable what belongs together with them.
Settle = Callable[[Tx], Awaitable[Document]]
Finish = Callable[[Tx, Document], Awaitable[None]]


class ChunkReplacer:
    """Makes the chunks of a text, and puts them in the place of a document's earlier ones."""

    def __init__(self, database: Database, embedder: Embedder, searcher: Searcher, watch: DocumentWatch) -> None:
        self._database = database
        self._searcher = searcher
        self._watch = watch
        self._vectors = TextVectors(database, embedder)

    async def replace(
        self,
        document: Document,
        text: Text,
        splitter: TextSplitterConfig,
        *,
        settle: Settle,
        finish: Finish | None = None,
        advance: Advance | None = None,
    ) -> IngestResult:
        """`document`: as it was when its text was taken up. Raises `TooManyChunks`, `NewerVersion`, `EmbedderUnavailable`."""
        made = await self._make(document, text, splitter, advance)

        async def body(tx: Tx) -> IngestResult:
            version = await _raise_version(tx, document.chatbot_id, splitter)
            final = msgspec.structs.replace(await settle(tx), chunk_count=len(made.cut.chunks), language=made.cut.language)
            placed = await self._swap(tx, final, made, version=version)
            tx.after_commit(functools.partial(self._watch.changed, final.chatbot_id, final.id))
            if finish is not None:
                await finish(tx, final)
            await trigger("I5")
            return IngestResult(final, placed)

        ingested = await self._database.transaction("document.replace", body)
        await trigger("I6")
        return ingested

    async def _make(self, document: Document, text: Text, splitter: TextSplitterConfig, advance: Advance | None) -> _NewText:
        is_short = len(text.content) <= _INLINE_CHARACTERS
        pieces = cut(text, splitter) if is_short else await asyncio.to_thread(cut, text, splitter)
        if len(pieces.chunks) > MOST_CHUNKS:
            raise TooManyChunks(
                f"Makes {len(pieces.chunks)} chunks, and may make {MOST_CHUNKS}: split it, or raise the chatbot's chunk_size."
            )
        directions = await self._vectors.of(document, [unit.text for unit in pieces.units], advance=advance)
        built = build(pieces, directions) if is_short else await asyncio.to_thread(build, pieces, directions)
        return _NewText(text, pieces, built)

    async def _swap(self, tx: Tx, final: Document, made: _NewText, *, version: int) -> list[Chunk]:
        """Those chunks, and no others, are the document's."""
        placed = made.chunks_of(final)
        stored = [
            StoredChunk(chunk, terms, first, last)
            for chunk, terms, (first, last) in zip(placed, made.cut.terms, made.built.spans, strict=True)
        ]
        await self._searcher.count_out(tx, final.chatbot_id, final.id)
        await chunks.replace(tx, final.chatbot_id, final.id, stored)
        await units.replace(tx, final.chatbot_id, final.id, made.built.units)
        await self._searcher.count_in(tx, final.chatbot_id, final.id)
        await documents.put(tx, final, content=made.text.content, places=made.text.places, version=version)
        await made_embeddings.delete(tx, final.chatbot_id, final.id)
        return placed


async def _raise_version(tx: Tx, chatbot_id: str, splitter: TextSplitterConfig) -> int:
    """The chatbot's new `knowledge_version`; its text_splitter still is the one that the text was cut with."""
    raised = await chatbots.raise_knowledge_version(tx, chatbot_id)
    if raised is None:
        raise NotFound
    version, config = raised
    if config.documents.text_splitter != splitter:
        raise NewerVersion
    return version
