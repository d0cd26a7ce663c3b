"""Replaying stored prompts over HTTP, as one JSON document or as Server-Sent Events; either ends when its caller goes away."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.responses import Response

from gigachat_server.access.speakers import client_defined_id
from gigachat_server.api import learning_wire
from gigachat_server.api.chatbots import merged_config
from gigachat_server.api.sse import PING, PING_S, Admission, EventStream, event
from gigachat_server.edge.problem import problem
from gigachat_server.edge.request import Request
from gigachat_server.errors import FieldError, GigachatError, InvalidRequest
from gigachat_server.learning.replay import ReplayResult, Selection
from gigachat_server.records import Chatbot
from gigachat_server.services import Services

_encode = msgspec.json.Encoder().encode


class ReplayInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which prompts are asked again: those of conversations, the unanswered ones, or else the newest; and of what chatbot."""

    conversation_ids: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=255)], ...],
        Meta(max_length=100, description="Replay only these conversations."),
    ] = ()
    unanswered: Annotated[bool, Meta(description="true: replay the open prompts of the list of unanswered ones.")] = False
    limit: Annotated[int, Meta(ge=1, le=200, description="Replay at most this many prompts, the newest.")] = 50
    config: Annotated[
        dict[str, Any], Meta(description="Changes to the chatbot's configuration for this replay, as PATCH takes them.")
    ] = {}
    stream: Annotated[bool | None, Meta(description="true: answer with Server-Sent Events.")] = None


async def replay(request: Request[ReplayInput], services: Services) -> Response:
    wanted = request.body
    services.replay.admit(request.principal, request.chatbot)
    if wanted.unanswered and wanted.conversation_ids:
        raise InvalidRequest(errors=(FieldError("unanswered", "Give either this or conversation_ids."),))
    selection = Selection(
        limit=wanted.limit,
        conversation_ids=tuple(client_defined_id(each, "conversation_ids") for each in wanted.conversation_ids),
        is_of_unanswered=wanted.unanswered,
    )
    chatbot = _proposed(request.chatbot, wanted.config)
    prompts = await services.replay.select(chatbot.id, selection)
    running = services.replay.run(chatbot, prompts, idle_s=PING_S)
    if wanted.stream or (wanted.stream is None and request.accepts_events):
        return EventStream(_events(running, request))
    return EventStream(_document(running, request), media_type="application/json")


def _proposed(chatbot: Chatbot, patch: dict[str, Any]) -> Chatbot:
    name, config = merged_config(chatbot, patch)
    if config.documents.text_splitter != chatbot.config.documents.text_splitter:
        message = "Documents are not cut anew for a replay: try it on another chatbot."
        raise InvalidRequest(errors=(FieldError("config.documents.text_splitter", message),))
    return msgspec.structs.replace(chatbot, name=name, config=config)


async def _events(running: AsyncGenerator[ReplayResult | None, None], request: Request[Any]) -> AsyncGenerator[bytes, None]:
    told, admission = list[ReplayResult](), Admission(request)
    yield PING  # the head leaves at once
    try:
        async with aclosing(running):
            async for each in running:
                await admission.check(is_fact=each is not None)
                if each is None:
                    yield PING
                else:
                    told.append(each)
                    yield event("turn", learning_wire.replayed(each))
    except GigachatError as error:
        yield event("error", problem(error, instance=request.raw_path, request_id=request.request_id, root=request.root))
        return
    yield event("done", learning_wire.summary(told))


async def _document(running: AsyncGenerator[ReplayResult | None, None], request: Request[Any]) -> AsyncGenerator[bytes, None]:
    """A `WireReplay` in pieces, so that a reader who left is noticed; with an `error` if it broke off."""
    told, admission = list[ReplayResult](), Admission(request)
    yield b'{"turns":['
    ending = b""
    try:
        async with aclosing(running):
            async for each in running:
                await admission.check(is_fact=each is not None)
                if each is None:
                    yield b"\n"
                else:
                    yield b"," * bool(told) + _encode(learning_wire.replayed(each))
                    told.append(each)
    except GigachatError as error:
        ending = b',"error":' + _encode(
            problem(error, instance=request.raw_path, request_id=request.request_id, root=request.root)
        )
    yield b'],"summary":' + _encode(learning_wire.summary(told)) + ending + b"}"
