"""The vectors of a document's texts: reused if the same text was embedded before, made otherwise.

Idea: a text is known by its hash. It may be in the document as it is now, in another document of the chatbot, or in what was
made for this document before the process died; and a text that a document holds many times is one text. What is made for a
long document in the background is stored as it is made, while the next of it is being made.

Invariant: each text of a document is embedded at most once, whatever happens in between; nothing made is ever visible
before the document is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from gigachat_server.knowledge.search.directions import Directions, loaded, quantised
from gigachat_server.knowledge.search.vector_space import built_with
from gigachat_server.models.base import Embedder
from gigachat_server.records import Document
from gigachat_server.store import made_embeddings, units
from gigachat_server.store.database import Database, Reader, Tx
from gigachat_server.triggers import trigger

BATCH = 384  # texts made and stored at once: a few seconds of the built-in embedder
_HASHES_AT_ONCE = 1_000

# Called in the transaction that stores what was made, with how many of how many texts have a vector then.
Advance = Callable[[Tx, int, int], Awaitable[None]]


class TextVectors:
    """Finds and makes them."""

    def __init__(self, database: Database, embedder: Embedder) -> None:
        self._database = database
        self._embedder = embedder
        self._built_with = built_with(embedder)

    async def of(self, document: Document, texts: Sequence[str], *, advance: Advance | None = None) -> Directions:
        """In the order of the texts. Raises `EmbedderUnavailable`, and what `advance` raises.

        With `advance`, what is made for many texts is stored as it is made.
        """
        by_hash = {units.text_hash(text): text for text in texts}
        known = await self._known(document, list(by_hash), is_resumed=advance is not None)
        missing = [text_hash for text_hash in by_hash if text_hash not in known]
        if advance is None or len(missing) <= BATCH:
            made = await self._make([by_hash[text_hash] for text_hash in missing])
            known.update(zip(missing, made, strict=True))
        else:
            await self._make_and_store(document, missing, by_hash, known, advance)
        return loaded([known[units.text_hash(text)] for text in texts])

    async def _known(self, document: Document, hashes: list[str], *, is_resumed: bool) -> dict[str, bytes]:
        async def read(reader: Reader) -> dict[str, bytes]:
            known: dict[str, bytes] = {}
            if is_resumed:
                known = await made_embeddings.list_of(reader, document.chatbot_id, document.id, embedding_model=self._built_with)
            missing = [text_hash for text_hash in hashes if text_hash not in known]
            for first in range(0, len(missing), _HASHES_AT_ONCE):
                known |= await units.list_vectors_by_text(
                    reader,
                    document.chatbot_id,
                    missing[first : first + _HASHES_AT_ONCE],
                    embedding_model=self._built_with,
                )
            return known

        return await self._database.read(read)

    async def _make(self, texts: list[str]) -> list[bytes]:
        if not texts:
            return []
        return [direction.tobytes() for direction in quantised(await self._embedder.embed_passages(texts))]

    async def _make_and_store(
        self, document: Document, missing: list[str], by_hash: dict[str, str], known: dict[str, bytes], advance: Advance
    ) -> None:
        batches = [missing[first : first + BATCH] for first in range(0, len(missing), BATCH)]

        def begin(number: int) -> asyncio.Task[list[bytes]]:
            return asyncio.create_task(self._make([by_hash[text_hash] for text_hash in batches[number]]))

        making = begin(0)
        try:
            for number, batch in enumerate(batches):
                made = list(zip(batch, await making, strict=True))
                if number + 1 < len(batches):
                    making = begin(number + 1)
                known.update(made)
                await self._store(
                    document, made, len(by_hash) - len(missing) + number * BATCH + len(batch), len(by_hash), advance
                )
        finally:
            making.cancel()
            await asyncio.wait((making,))

    async def _store(self, document: Document, made: list[tuple[str, bytes]], done: int, total: int, advance: Advance) -> None:
        async def body(tx: Tx) -> None:
            await advance(tx, done, total)
            await made_embeddings.insert(tx, document.chatbot_id, document.id, made, embedding_model=self._built_with)
            await trigger("I4")

        await self._database.transaction("ingest.embedded", body)
