"""Documents over HTTP."""

from __future__ import annotations

from typing import Annotated, Any, get_args

import msgspec
from msgspec import Meta

from gigachat_server.access.speakers import document_name
from gigachat_server.api import wire
from gigachat_server.api.sse import PING_S, EventStream, stream_document
from gigachat_server.clock import wire_time
from gigachat_server.edge.answer import Answer
from gigachat_server.edge.request import Request, next_link, query_choice, query_flag, query_limit
from gigachat_server.edge.uploads import FileInput
from gigachat_server.errors import FieldError, InvalidRequest, NotFound
from gigachat_server.ids import is_id
from gigachat_server.knowledge.documents.replacement import IngestResult
from gigachat_server.records import Document
from gigachat_server.services import Services
from gigachat_server.settings import Settings
from gigachat_server.store import documents, ingest_queue
from gigachat_server.store.database import Reader
from gigachat_server.store.idempotency import IdempotencyRecord


class DocumentInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A text and what it is called; the name is its identity: pushing it again replaces the document."""

    name: Annotated[str, Meta(min_length=1, max_length=1024)]
    content: str


async def push(request: Request[DocumentInput | FileInput], services: Services) -> Answer:
    return await _push(request, services, document_id=None, success=201)


async def put(request: Request[DocumentInput | FileInput], services: Services) -> Answer:
    return await _push(request, services, document_id=_document_id(request), success=200)


async def list_all(request: Request[None], services: Services) -> Answer:
    limit, after = query_limit(request.query), request.query.get("after")
    wanted = query_choice(request.query, "state", get_args(wire.WireState))
    is_warned = query_flag(request.query, "warned", default=None)
    states = None if wanted is None else ("uploaded", "pending") if wanted == "pending" else (wanted,)

    async def read(reader: Reader) -> list[Document]:
        return await documents.list_documents(
            reader, request.chatbot.id, states=states, is_warned=is_warned, after=after, limit=limit + 1
        )

    found = await services.database.read(read)
    headers = next_link(request, found[limit - 1].id) if len(found) > limit else {}
    return Answer([wire.document(document, request.account_id) for document in found[:limit]], headers=headers)


async def get(request: Request[None], services: Services) -> Answer | EventStream:
    async def read(reader: Reader) -> tuple[Document, str]:
        document = await documents.find(reader, request.chatbot.id, _document_id(request))
        content = await documents.get_content(reader, request.chatbot.id, _document_id(request))
        if document is None or content is None:
            raise NotFound
        return document, content

    document, content = await services.database.read(read)
    if request.accepts_events:
        return stream_document(services.ingest.watch.follow(request.chatbot.id, document.id, idle_s=PING_S), request)
    return Answer(wire.document_with_content(document, request.account_id, content))


class WireQueue(msgspec.Struct, frozen=True):
    """Documents of a chatbot that cannot be found yet."""

    chatbot_id: str
    name: str
    waiting: Annotated[int, Meta(description="How many are waiting.")]
    working: Annotated[int, Meta(description="How many are being read or embedded.")]
    bytes: Annotated[int, Meta(description="Their size together: bytes of files, characters of texts.")]
    oldest_at: Annotated[wire.Moment, Meta(description="When the oldest of them began to wait.")]


async def queues(request: Request[None], services: Services) -> Answer:
    async def read(reader: Reader) -> list[ingest_queue.Queue]:
        return await ingest_queue.list_queues(reader, request.account_id, among=request.principal.reachable)

    found = await services.database.read(read)
    return Answer(
        [
            WireQueue(each.chatbot_id, each.name, each.waiting, each.working, each.bytes, wire_time(each.oldest_at))
            for each in found
        ]
    )


async def delete(request: Request[None], services: Services) -> Answer:
    await services.ingest.delete(request.chatbot.id, _document_id(request))
    return Answer(None, 204)


async def _push(
    request: Request[DocumentInput | FileInput], services: Services, *, document_id: str | None, success: int
) -> Answer:
    wanted, chatbot, key = request.body, request.chatbot, request.key
    _with_embedding(request)  # refused before anything is stored, and also where the answer has no chunks
    if request.kept is not None:
        return await _repeated(request, services, request.kept)
    if isinstance(wanted, FileInput):
        assert request.file is not None
        document = await services.ingest.accept_file(
            chatbot, wanted.name, request.file, media_type=wanted.media_type, document_id=document_id, key=key
        )
        return _accepted(document, request, services)
    check_text(wanted.name, wanted.content, services.settings)
    if "respond-async" in request.headers.get("prefer", ""):
        document = await services.ingest.accept(chatbot, wanted.name, wanted.content, document_id=document_id, key=key)
        return _accepted(document, request, services)
    ingested = await services.ingest.push(chatbot, wanted.name, wanted.content, document_id=document_id, key=key)
    return _ingested(ingested, success, request, services)


async def _repeated(request: Request[Any], services: Services, kept: IdempotencyRecord) -> Answer:
    """The document that the same request stored before, as it is now: it is not stored again over what came later."""

    async def read(reader: Reader) -> Document:
        document = await documents.find(reader, request.chatbot.id, kept.response)
        if document is None:
            raise NotFound
        return document

    document = await services.database.read(read)
    if kept.status == 202:
        return _accepted(document, request, services)
    return _ingested(await services.ingest.held(document), kept.status, request, services)


def _ingested(ingested: IngestResult, status: int, request: Request[Any], services: Services) -> Answer:
    """Its chunks, once it can be searched."""
    if ingested.document.state != "ready":
        return _accepted(ingested.document, request, services)
    return Answer(_wire_chunks(ingested, request), status)


def _accepted(document: Document, request: Request[Any], services: Services) -> Answer:
    services.ingest_worker.wake_up()
    location = f"{request.root}/chatbots/{document.chatbot_id}/documents/{document.id}"
    return Answer(wire.document(document, request.account_id), 202, {"Location": location})


def _wire_chunks(ingested: IngestResult, request: Request[Any]) -> list[wire.WireChunk]:
    with_embedding = _with_embedding(request)
    return [wire.chunk(chunk, request.account_id, with_embedding=with_embedding) for chunk in ingested.chunks]


def _with_embedding(request: Request[Any]) -> bool:
    return query_flag(request.query, "embedding", default=True)


def check_text(name: str, content: str, settings: Settings) -> None:
    """Raises `InvalidRequest` for what can be no document."""
    document_name(name, "name")
    most = settings.max_document_characters
    if not content.strip():
        raise InvalidRequest(errors=(FieldError("content", "Must contain some text."),))
    if len(content) > most:
        raise InvalidRequest(errors=(FieldError("content", f"Must have at most {most} characters; split it."),))


def _document_id(request: Request[Any]) -> str:
    document_id = request.named["document_id"]
    if not is_id(document_id):
        raise NotFound
    return document_id
