"""Brings texts and files into chatbots: at once, or stored first and made searchable by a worker later.

Invariant: what was accepted is durable, and either becomes searchable or tells why not; until then the chunks of an earlier
version answer (`replacement.py` swaps them). What is unchanged costs nothing: the same text or file is a no-op.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from gigachat_server.clock import Clock
from gigachat_server.errors import Conflict, EmbedderUnavailable, FieldError, InvalidRequest, NotFound, TooManyChunks
from gigachat_server.ids import new_id
from gigachat_server.knowledge.documents.build import Text
from gigachat_server.knowledge.documents.files import FileStore, Upload, hash_of
from gigachat_server.knowledge.documents.replacement import ChunkReplacer, IngestResult, NewerVersion
from gigachat_server.knowledge.documents.watch import DocumentWatch
from gigachat_server.knowledge.extraction.extract import Extractor
from gigachat_server.knowledge.extraction.extracted import FileText
from gigachat_server.knowledge.search.searcher import Searcher
from gigachat_server.knowledge.search.vector_space import built_with
from gigachat_server.models.base import Embedder
from gigachat_server.records import Chatbot, Chunk, Document, TextSplitterConfig
from gigachat_server.store import chatbots, chunks, documents, idempotency, ingest_queue, uploads
from gigachat_server.store.database import Database, Reader, Tx
from gigachat_server.triggers import trigger

_PROGRESS_READ = 10  # percent, once a file was read


class DocumentNameTaken(Conflict):
    code = "document_name_taken"
    message = "Another document of this chatbot has that name."


# What else becomes durable together with a document, for those who store one as a part of something larger.
Besides = Callable[[Tx, Document], Awaitable[None]]


class _PushedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file as its caller describes it, and what was measured of it."""

    name: str
    document_id: str | None
    media_type: str | None
    origin: str | None
    sha256: str
    size: int

    @classmethod
    async def of(
        cls, name: str, data: bytes | Path, *, document_id: str | None, media_type: str | None, origin: str | None
    ) -> _PushedFile:
        size = len(data) if isinstance(data, bytes) else (await asyncio.to_thread(data.stat)).st_size
        sha256 = await hash_of(data)
        return cls(name=name, document_id=document_id, media_type=media_type, origin=origin, sha256=sha256, size=size)

    def document(self, chatbot_id: str, earlier: Document | None, *, upload_id: str, now_us: int) -> Document:
        """The document of that file, which is not read yet: what is known of its text is what an earlier version had."""
        return Document(
            chatbot_id=chatbot_id,
            id=earlier.id if earlier else new_id(),
            name=self.name,
            content_sha256=earlier.content_sha256 if earlier else _sha256(""),
            state="uploaded",
            error=None,
            chunk_count=earlier.chunk_count if earlier else 0,
            characters=earlier.characters if earlier else 0,
            embedding_model=earlier.embedding_model if earlier else None,
            created_at=earlier.created_at if earlier else now_us,
            updated_at=now_us,
            title=earlier.title if earlier else None,
            warnings=earlier.warnings if earlier else (),
            media_type=self.media_type,
            origin=self.origin,
            upload_id=upload_id,
            file_sha256=self.sha256,
            chunks_sha256=earlier.chunks_sha256 if earlier else None,
        )


class Ingest:
    """Brings documents into chatbots and takes them out again."""

    def __init__(self, database: Database, embedder: Embedder, searcher: Searcher, clock: Clock, *, extractor: Extractor) -> None:
        self._database = database
        self._built_with = built_with(embedder)
        self._searcher = searcher
        self._clock = clock
        self._extractor = extractor
        self._files = FileStore(database, clock)
        self.watch = DocumentWatch(database)
        self._chunks = ChunkReplacer(database, embedder, searcher, self.watch)

    async def aclose(self) -> None:
        await self._extractor.aclose()

    async def push(
        self,
        chatbot: Chatbot,
        name: str,
        content: str,
        *,
        document_id: str | None = None,
        key: idempotency.Key | None = None,
        besides: Besides | None = None,
    ) -> IngestResult:
        """Have this text be the document of that name (or of that id, which may rename it), searchable on return.

        Without an embedder to reach, the text is accepted as `pending`. With a key, the document's id is kept under it;
        `besides` runs at the end of the transaction that stores it. Raises `NotFound`, `DocumentNameTaken`.
        """
        also = self._also(key, besides, is_accepted=False)
        sha256 = _sha256(content)
        earlier = await self._find(chatbot.id, name, document_id)
        if earlier and self._is_unchanged(earlier, name=name, sha256=sha256):
            if key is not None or besides is not None:
                await self._database.transaction("document.keep", lambda tx: also(tx, earlier))
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
            embedding_model=self._built_with,
            created_at=earlier.created_at if earlier else now_us,
            updated_at=now_us,
        )
        try:
            splitter = chatbot.config.documents.text_splitter
            settle = functools.partial(_take_place, document=document, must_exist=document_id is not None)
            return await self._chunks.replace(document, Text(content), splitter, settle=settle, finish=also)
        except TooManyChunks as error:
            raise InvalidRequest(errors=(FieldError("content", error.detail or error.message),)) from None
        except (EmbedderUnavailable, NewerVersion):
            return IngestResult(await self._accept(chatbot, name, content, document_id=document_id, also=also), [])

    async def accept(
        self,
        chatbot: Chatbot,
        name: str,
        content: str,
        *,
        document_id: str | None = None,
        key: idempotency.Key | None = None,
    ) -> Document:
        """Store the text durably as `pending`; a worker makes it searchable. Raises as `push` does."""
        also = self._also(key, None, is_accepted=True)
        return await self._accept(chatbot, name, content, document_id=document_id, also=also)

    def _also(self, key: idempotency.Key | None, besides: Besides | None, *, is_accepted: bool) -> Besides:
        """What ends every transaction that stores a document for a caller."""

        async def also(tx: Tx, document: Document) -> None:
            await idempotency.keep_document(tx, key, document.id, is_accepted=is_accepted, now_us=self._clock())
            if besides is not None:
                await besides(tx, document)

        return also

    async def _accept(self, chatbot: Chatbot, name: str, content: str, *, document_id: str | None, also: Besides) -> Document:
        sha256 = _sha256(content)
        now_us = self._clock()

        async def body(tx: Tx) -> Document:
            if await chatbots.lock(tx, chatbot.account_id, chatbot.id) is None:
                raise NotFound
            earlier = await _find_target(tx, chatbot.id, name, document_id)
            if earlier and self._is_unchanged(earlier, name=name, sha256=sha256):
                await also(tx, earlier)
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
            await documents.put_text(tx, document, content=content)
            await _forget_file(tx, earlier)
            tx.after_commit(functools.partial(self.watch.changed, document.chatbot_id, document.id))
            await also(tx, document)
            return document

        return await self._database.transaction("document.accept", body)

    async def accept_file(
        self,
        chatbot: Chatbot,
        name: str,
        data: bytes | Path,
        *,
        media_type: str | None,
        document_id: str | None = None,
        origin: str | None = None,
        key: idempotency.Key | None = None,
        besides: Besides | None = None,
    ) -> Document:
        """Have this file be the document of that name (or of that id, which may rename it), as `push` does, but later.

        On return its bytes are stored durably, and the document is `uploaded`; a worker (wake it: `IngestWorker.wake_up`)
        reads it, in a process with limits, and makes its text searchable. Until then, and if it fails, the chunks of an
        earlier version answer. A file that is byte for byte the one the document was last made from, or is being made
        from, changes nothing, and the document is returned as it is; another file whose text is the same keeps the chunks
        with their ids. What failed before is tried again.

        `media_type` and the extension of `name` only help where the content does not tell what it is; a charset in
        `media_type` counts as HTTP means it. `origin` is stored with the document, for callers such as the crawler.
        `key` and `besides` as of `push`. Raises as `push` does; the path may be deleted on return.
        """
        also = self._also(key, besides, is_accepted=True)
        file = await _PushedFile.of(name, data, document_id=document_id, media_type=media_type, origin=origin)
        while True:
            earlier = await self._find(chatbot.id, name, document_id)
            upload = None if earlier and self._is_same_file(earlier, file) else await self._files.store(chatbot.id, data)
            await trigger("I0")
            store = functools.partial(self._store_file, chatbot=chatbot, file=file, upload=upload, also=also)
            document = await self._database.transaction("document.upload", store)
            if document is not None:
                return document

    async def _store_file(
        self, tx: Tx, *, chatbot: Chatbot, file: _PushedFile, upload: Upload | None, also: Besides
    ) -> Document | None:
        """The document as it now is; None if it became another after the file was taken for the same, and so was not stored."""
        if await chatbots.lock(tx, chatbot.account_id, chatbot.id) is None:
            raise NotFound
        earlier = await _find_target(tx, chatbot.id, file.name, file.document_id)
        if file.document_id is not None and (earlier is None or earlier.id != file.document_id):
            raise NotFound
        if earlier and self._is_same_file(earlier, file):
            await also(tx, earlier)
            return earlier
        if upload is None:
            return None
        document = file.document(chatbot.id, earlier, upload_id=upload.id, now_us=self._clock())
        await upload.finish(tx)
        await documents.put_file(tx, document, size=file.size)
        await _forget_file(tx, earlier)
        tx.after_commit(functools.partial(self.watch.changed, document.chatbot_id, document.id))
        await also(tx, document)
        await trigger("I1")
        return document

    async def work_off(self, claimed: Document, splitter: TextSplitterConfig) -> None:
        """Make a document that was claimed searchable. Raises a `DocumentFailed`, or `EmbedderUnavailable`: then it waits."""
        try:
            document = claimed if claimed.upload_id is None else await self._read_file(claimed, claimed.upload_id)
            if document is not None:
                await self._make_searchable(document, splitter)
        except (NewerVersion, NotFound):
            return  # a newer text, or none, is in its place: that one is another entry of the queue

    async def fail(self, claimed: Document, *, error: str, reason: str) -> None:
        """Give up on what was claimed, unless something newer is in its place; earlier chunks still answer."""

        async def body(tx: Tx) -> None:
            if not await chatbots.lock_of_any_account(tx, claimed.chatbot_id):
                return
            held = await documents.find(tx, claimed.chatbot_id, claimed.id)
            if held is None or held.file_sha256 != claimed.file_sha256 or held.upload_id not in (claimed.upload_id, None):
                return
            if claimed.upload_id is None and held.content_sha256 != claimed.content_sha256:
                return
            now_us = self._clock()
            if await ingest_queue.mark_failed(tx, held.chatbot_id, held.id, error=error, reason=reason, now_us=now_us):
                await _forget_file(tx, held)
                tx.after_commit(functools.partial(self.watch.changed, held.chatbot_id, held.id))

        await self._database.transaction("ingest.fail", body)

    async def _read_file(self, claimed: Document, upload_id: str) -> Document | None:
        """The document with its text stored, ready to be embedded; None if the chunks of that text are there already."""
        pieces = self._files.pieces(claimed.chatbot_id, upload_id)
        extracted = await self._extractor.extract(
            pieces, name=claimed.name, media_type=claimed.media_type, chatbot_id=claimed.chatbot_id
        )
        sha256 = _sha256(extracted.text)
        places = _dump_places(extracted)

        async def body(tx: Tx) -> Document | None:
            if not await chatbots.lock_of_any_account(tx, claimed.chatbot_id):
                raise NotFound
            held = await documents.find(tx, claimed.chatbot_id, claimed.id)
            if held is None or held.upload_id != upload_id:
                raise NewerVersion
            read = msgspec.structs.replace(
                held,
                content_sha256=sha256,
                characters=len(extracted.text),
                title=extracted.title,
                warnings=extracted.warnings,
                state="embedding",
                progress=_PROGRESS_READ,
                upload_id=None,
                updated_at=self._clock(),
            )
            await _forget_file(tx, held)
            tx.after_commit(functools.partial(self.watch.changed, held.chatbot_id, held.id))
            is_there = held.content_sha256 == held.chunks_sha256 == sha256 and held.embedding_model == self._built_with
            if is_there and await documents.get_places(tx, held.chatbot_id, held.id) == places:
                await documents.put_unchanged(tx, read, places=places)
                return None
            await documents.put_extracted(tx, read, content=extracted.text, places=places)
            await trigger("I3")
            return read

        return await self._database.transaction("ingest.extracted", body)

    async def _make_searchable(self, document: Document, splitter: TextSplitterConfig) -> None:
        async def read(reader: Reader) -> Text | None:
            content = await documents.get_content(reader, document.chatbot_id, document.id)
            places = await documents.get_places(reader, document.chatbot_id, document.id)
            return Text(content, places) if content is not None else None

        text = await self._database.read(read)
        if text is None or _sha256(text.content) != document.content_sha256:
            return
        ready = msgspec.structs.replace(
            document,
            state="ready",
            error=None,
            reason=None,
            progress=100,
            embedding_model=self._built_with,
            updated_at=self._clock(),
        )
        settle, advance = functools.partial(_take_waiting, document=ready), functools.partial(self._advance, document=ready)
        await self._chunks.replace(ready, text, splitter, settle=settle, advance=advance)

    async def _advance(self, tx: Tx, done: int, total: int, *, document: Document) -> None:
        progress = _PROGRESS_READ + (99 - _PROGRESS_READ) * done // total
        if not await ingest_queue.advance(
            tx, document.chatbot_id, document.id, content_sha256=document.content_sha256, progress=progress
        ):
            raise NewerVersion
        tx.after_commit(functools.partial(self.watch.changed, document.chatbot_id, document.id))

    async def delete(self, chatbot_id: str, document_id: str) -> None:
        """Its chunks are found no more. Raises `NotFound`."""

        async def body(tx: Tx) -> bool:
            return await self.delete_in(tx, chatbot_id, document_id)

        if not await self._database.transaction("document.delete", body):
            raise NotFound

    async def delete_in(self, tx: Tx, chatbot_id: str, document_id: str) -> bool:
        """The same within a transaction that has written nothing of the chatbot before; False if there is none."""
        await chatbots.raise_knowledge_version(tx, chatbot_id)
        await self._searcher.count_out(tx, chatbot_id, document_id)
        return await documents.delete(tx, chatbot_id, document_id)

    def _is_same_file(self, earlier: Document, file: _PushedFile) -> bool:
        is_current = earlier.state != "ready" or earlier.embedding_model == self._built_with
        is_same = earlier.file_sha256 == file.sha256 and earlier.name == file.name
        return is_same and earlier.state != "failed" and is_current

    def _is_unchanged(self, earlier: Document, *, name: str, sha256: str) -> bool:
        return (
            earlier.content_sha256 == sha256
            and earlier.name == name
            and earlier.state == "ready"
            and earlier.embedding_model == self._built_with
        )

    async def _find(self, chatbot_id: str, name: str, document_id: str | None) -> Document | None:
        async def read(reader: Reader) -> Document | None:
            found = await _find_target(reader, chatbot_id, name, document_id)
            if document_id is not None and found is None:
                raise NotFound
            return found

        return await self._database.read(read)

    async def held(self, document: Document) -> IngestResult:
        """The document with the chunks it has now."""

        async def read(reader: Reader) -> list[Chunk]:
            return await chunks.list_of_document(reader, document.chatbot_id, document.id)

        return IngestResult(document, await self._database.read(read))


async def _find_target(reader: Reader, chatbot_id: str, name: str, document_id: str | None) -> Document | None:
    """The document that a push of this name (and id) replaces. Raises `DocumentNameTaken`."""
    named = await documents.find_by_name(reader, chatbot_id, name)
    if document_id is None:
        return named
    held = await documents.find(reader, chatbot_id, document_id)
    if held is not None and named is not None and named.id != held.id:
        raise DocumentNameTaken
    return held if held is not None else named


async def _take_place(tx: Tx, *, document: Document, must_exist: bool) -> Document:
    """The pushed document in the place of the one it replaces. Another may have pushed the name first: that one then."""
    target = await _find_target(tx, document.chatbot_id, document.name, document.id)
    if must_exist and (target is None or target.id != document.id):
        raise NotFound
    if target is None:
        return document
    await _forget_file(tx, target)
    return msgspec.structs.replace(document, id=target.id, created_at=target.created_at)


async def _take_waiting(tx: Tx, *, document: Document) -> Document:
    """The document that waited for this text, if it still does. It may have been renamed since."""
    held = await documents.find(tx, document.chatbot_id, document.id)
    if held is None or held.content_sha256 != document.content_sha256:
        raise NewerVersion
    if held.upload_id is not None or held.state not in ("pending", "embedding"):
        raise NewerVersion
    return msgspec.structs.replace(document, name=held.name, created_at=held.created_at)


async def _forget_file(tx: Tx, earlier: Document | None) -> None:
    if earlier is not None and earlier.upload_id is not None:
        await uploads.delete(tx, earlier.chatbot_id, earlier.upload_id)


def _dump_places(extracted: FileText) -> str | None:
    return msgspec.json.encode(extracted.places).decode() if extracted.places else None


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
