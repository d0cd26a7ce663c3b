"""Chatbots over HTTP."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from gigachat_server.access.restrictions import restriction_errors
from gigachat_server.api import wire
from gigachat_server.edge.http import Answer, ApiRequest, convert, next_link, query_limit
from gigachat_server.errors import FieldError, InvalidRequest, NotFound
from gigachat_server.ids import new_id
from gigachat_server.records import (
    Chatbot,
    ChatbotConfig,
    DocumentsConfig,
    InterceptionConfig,
    ResponseConfig,
    RestrictionsConfig,
    TextSplitterConfig,
)
from gigachat_server.services import Services
from gigachat_server.store import chatbots, ingest_queue
from gigachat_server.store.database import Reader, Tx

S = TypeVar("S", bound=msgspec.Struct)


class ChatbotInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(min_length=1, max_length=255)]
    response: ResponseConfig = ResponseConfig()
    restrictions: RestrictionsConfig = RestrictionsConfig()
    documents: DocumentsConfig = DocumentsConfig()
    interception: InterceptionConfig = InterceptionConfig()

    def config(self) -> ChatbotConfig:
        """Raises `InvalidRequest` for what no single field can tell."""
        errors = restriction_errors(self.restrictions) + _splitter_errors(self.documents.text_splitter)
        if errors:
            raise InvalidRequest(errors=tuple(errors))
        return ChatbotConfig(
            response=self.response, restrictions=self.restrictions, documents=self.documents, interception=self.interception
        )


async def create(request: ApiRequest, services: Services) -> Answer:
    wanted: ChatbotInput = request.body
    now_us = services.clock()
    chatbot = Chatbot(new_id(), request.account_id, wanted.name, wanted.config(), 0, now_us, now_us)
    answer = Answer(wire.chatbot(chatbot), 201)

    async def body(tx: Tx) -> None:
        await chatbots.insert(tx, chatbot)
        await request.keep(tx, answer, now_us=now_us)

    await services.database.transaction("chatbot.create", body)
    return answer


async def list_all(request: ApiRequest, services: Services) -> Answer:
    limit, after = query_limit(request.query), request.query.get("after")

    async def read(reader: Reader) -> list[Chatbot]:
        return await chatbots.list_chatbots(reader, request.account_id, after=after, limit=limit + 1)

    found = await services.database.read(read)
    headers = next_link(request, found[limit - 1].id) if len(found) > limit else {}
    return Answer([wire.chatbot(chatbot) for chatbot in found[:limit]], headers=headers)


async def get(request: ApiRequest, services: Services) -> Answer:
    return Answer(wire.chatbot(request.chatbot))


async def change(request: ApiRequest, services: Services) -> Answer:
    """Merged into what is stored at that moment; a new text_splitter has the documents cut anew in the background."""
    patch: dict[str, Any] = request.body

    async def body(tx: Tx) -> tuple[Chatbot, bool]:
        held = await chatbots.lock(tx, request.account_id, request.chatbot.id)
        if held is None:
            raise NotFound
        name, config = merged_config(held, patch)
        changed = msgspec.structs.replace(held, name=name, config=config, updated_at=max(held.updated_at + 1, services.clock()))
        await chatbots.update(tx, changed)
        is_recut = held.config.documents.text_splitter != changed.config.documents.text_splitter
        if is_recut:
            await ingest_queue.mark_all_waiting(tx, held.id)
        return changed, is_recut

    changed, is_recut = await services.database.transaction("chatbot.change", body)
    if is_recut:
        services.ingest_worker.wake_up()
    return Answer(wire.chatbot(changed))


async def delete(request: ApiRequest, services: Services) -> Answer:
    """Removes the chatbot with all its documents and conversations."""
    await services.erasure.delete_chatbot(request.account_id, request.chatbot.id)
    services.searcher.forget(request.chatbot.id)
    services.fixed_answers.forget(request.chatbot.id)
    return Answer(None, 204)


def merged_config(held: Chatbot, patch: dict[str, Any]) -> tuple[str, ChatbotConfig]:
    """The chatbot's name and config with what the patch changes. Raises `InvalidRequest`.

    Only what the patch says is checked: the rest may be a later version's, beyond today's limits.
    """
    said = convert({"name": "-", **patch}, ChatbotInput)
    config = _patched(held.config, said, {name: value for name, value in patch.items() if name != "name"})
    errors = restriction_errors(said.restrictions)
    if config.documents.text_splitter != held.config.documents.text_splitter:
        errors += _splitter_errors(config.documents.text_splitter)
    if errors:
        raise InvalidRequest(errors=tuple(errors))
    return said.name if "name" in patch else held.name, config


def _splitter_errors(splitter: TextSplitterConfig) -> list[FieldError]:
    if splitter.chunk_overlap < splitter.chunk_size:
        return []
    return [FieldError("documents.text_splitter.chunk_overlap", "Must be less than chunk_size.")]


def _patched(held: S, said: msgspec.Struct, patch: dict[str, Any]) -> S:
    """`held` with those fields of `said` that the patch names."""
    changes = {
        name: _patched(getattr(held, name), getattr(said, name), value) if isinstance(value, dict) else getattr(said, name)
        for name, value in patch.items()
    }
    return msgspec.structs.replace(held, **changes)
