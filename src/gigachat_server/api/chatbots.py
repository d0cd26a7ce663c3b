"""Chatbots over HTTP."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from gigachat_server.access.restrictions import restriction_errors
from gigachat_server.access.speakers import shown_name
from gigachat_server.api import wire
from gigachat_server.chat.hours import hours_errors
from gigachat_server.edge.answer import Answer
from gigachat_server.edge.body import convert, patched
from gigachat_server.edge.request import Request, next_link, query_limit
from gigachat_server.errors import FieldError, InvalidRequest
from gigachat_server.records import (
    Chatbot,
    ChatbotConfig,
    DocumentsConfig,
    InterceptionConfig,
    LimitsConfig,
    PricesConfig,
    ResponseConfig,
    RestrictionsConfig,
    TextSplitterConfig,
)
from gigachat_server.services import Services

S = TypeVar("S", bound=msgspec.Struct)


class ChatbotInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(min_length=1, max_length=255)]
    response: ResponseConfig = ResponseConfig()
    restrictions: RestrictionsConfig = RestrictionsConfig()
    documents: DocumentsConfig = DocumentsConfig()
    interception: InterceptionConfig = InterceptionConfig()
    limits: LimitsConfig = LimitsConfig()
    prices: PricesConfig = PricesConfig()

    def config(self) -> ChatbotConfig:
        """Raises `InvalidRequest` for what no single field can tell."""
        errors = restriction_errors(self.restrictions) + _splitter_errors(self.documents.text_splitter)
        errors += hours_errors(self.interception.hours)
        if errors:
            raise InvalidRequest(errors=tuple(errors))
        return ChatbotConfig(
            response=self.response,
            restrictions=self.restrictions,
            documents=self.documents,
            interception=self.interception,
            limits=self.limits,
            prices=self.prices,
        )


async def create(request: Request[ChatbotInput], services: Services) -> Answer:
    wanted = request.body
    created = request.earlier(Chatbot) or await services.chatbots.create(
        request.principal, wanted.name, wanted.config(), key=request.key
    )
    return Answer(wire.chatbot(created), 201)


async def list_all(request: Request[None], services: Services) -> Answer:
    limit, after = query_limit(request.query), request.query.get("after")
    found = await services.chatbots.list(request.principal, after=after, limit=limit + 1)
    headers = next_link(request, found[limit - 1].id) if len(found) > limit else {}
    return Answer([wire.chatbot(chatbot) for chatbot in found[:limit]], headers=headers)


async def get(request: Request[None], services: Services) -> Answer:
    return Answer(wire.chatbot(request.chatbot))


async def change(request: Request[dict[str, Any]], services: Services) -> Answer:
    """Merged into what is stored at that moment; a new text_splitter cuts the documents again in the background."""
    patch = request.body

    def merge(held: Chatbot) -> Chatbot:
        name, config = merged_config(held, patch)
        return msgspec.structs.replace(held, name=name, config=config)

    return Answer(wire.chatbot(await services.chatbots.change(request.principal, request.chatbot.id, merge)))


async def limits(request: Request[None], services: Services) -> Answer:
    """What is configured, and what end users have used of the budgets today (UTC); turns that run count as reserved."""
    spent = await services.till.spent_today(request.chatbot.id)
    return Answer(wire.limits(request.chatbot.config.limits, spent, now_us=services.clock()))


async def delete(request: Request[None], services: Services) -> Answer:
    """Removes the chatbot with all its documents and conversations."""
    await services.chatbots.delete(request.principal, request.chatbot.id)
    return Answer(None, 204)


def merged_config(held: Chatbot, patch: dict[str, Any]) -> tuple[str, ChatbotConfig]:
    """The chatbot's name and config with what the patch changes. Raises `InvalidRequest`.

    Only what the patch says is checked: the rest may be a later version's, beyond today's limits.
    """
    said = convert({"name": "-", **patch}, ChatbotInput)
    config = patched(held.config, said, {name: value for name, value in patch.items() if name != "name"})
    errors = restriction_errors(said.restrictions)
    if config.interception.hours != held.config.interception.hours:
        errors += hours_errors(config.interception.hours)
    if config.documents.text_splitter != held.config.documents.text_splitter:
        errors += _splitter_errors(config.documents.text_splitter)
    if errors:
        raise InvalidRequest(errors=tuple(errors))
    return shown_name(said.name, "name") if "name" in patch else held.name, config


def _splitter_errors(splitter: TextSplitterConfig) -> list[FieldError]:
    if splitter.chunk_overlap < splitter.chunk_size:
        return []
    return [FieldError("documents.text_splitter.chunk_overlap", "Must be less than chunk_size.")]
