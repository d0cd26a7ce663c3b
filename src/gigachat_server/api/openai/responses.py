"""Responses: OpenAI's newer call. A response is the first reply to a prompt, and named after its message."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from gigachat_server.api.openai import bodies, callers, wire
from gigachat_server.api.openai.asking import Asked, ask, most_earlier, replies_of, stream
from gigachat_server.api.openai.errors import invalid
from gigachat_server.api.openai.stream import ResponseStream
from gigachat_server.api.views import shown_to
from gigachat_server.edge.answer import Answer
from gigachat_server.edge.chatbot_names import RESPONSE_PREFIX
from gigachat_server.edge.request import Request
from gigachat_server.errors import NotFound, error_with_code
from gigachat_server.ids import is_id
from gigachat_server.records import UNSETTLED
from gigachat_server.services import Services


async def create(request: Request[bodies.ResponseInput], services: Services) -> Answer | Response:
    callers.refuse_task(request.headers)
    body, chatbot = request.body, request.chatbot
    bodies.refuse_unsupported_response(body)
    conversation = body.conversation.id if isinstance(body.conversation, bodies.ConversationReference) else body.conversation
    if conversation is not None and body.previous_response_id is not None:
        raise invalid("previous_response_id", "Send either conversation or previous_response_id.")
    said = bodies.said_in(body.input, "input", most_earlier=most_earlier(request))
    asked = Asked(
        said=said,
        metadata=body.metadata or {},
        user=body.user,
        safety_identifier=body.safety_identifier,
        ignored=bodies.ignored_fields(body, said),
        conversation=conversation,
        previous_response_id=body.previous_response_id,
    )
    turn = await ask(request, services, asked)
    started, previous, shown = turn.started, body.previous_response_id, shown_to(request.principal)
    if body.stream:
        ids = started.turn.speech.message_ids if started.turn is not None else [each.id for each in started.replies]
        message_id = ids[0] if ids else None
        frames = ResponseStream(chatbot, started.prompt, message_id=message_id, previous=previous, shown=shown)
        return stream(started, request, frames, turn.headers)
    replies = await replies_of(started)
    made = wire.response(chatbot, started.prompt, replies[0] if replies else None, previous=previous, shown=shown)
    return Answer(made, 200, turn.headers)


async def get(request: Request[None], services: Services) -> Answer:
    """As it is now: what is still made has no output yet."""
    return Answer(await _found(request, services, is_read=True))


async def cancel(request: Request[None], services: Services) -> Answer:
    """Ends the reply in the making; what was said of it is stored. Nothing happens to one that is made."""
    message_id = _message_id(request)
    found = await services.conversations.turn_of(request.principal, request.chatbot, message_id, is_read=False)
    if found.prompt.turn in UNSETTLED:
        await services.conversations.stop(request.principal, request.chatbot, found.prompt.conversation_id, key=None)
    return Answer(await _found(request, services, is_read=False))


async def _found(request: Request[None], services: Services, *, is_read: bool) -> wire.OpenAIResponse:
    message_id = _message_id(request)
    found = await services.conversations.turn_of(request.principal, request.chatbot, message_id, is_read=is_read)
    error: dict[str, Any] | None = None
    if found.prompt.turn == "failed":
        failure = error_with_code(found.prompt.error)
        error = {"code": failure.code, "message": failure.message}
    return wire.response(
        request.chatbot,
        found.prompt,
        found.reply,
        message_id=message_id,
        is_made=found.reply is not None or found.prompt.turn not in UNSETTLED,
        error=error,
        shown=shown_to(request.principal),
    )


def _message_id(request: Request[None]) -> str:
    given = request.named["response_id"]
    message_id = given.removeprefix(RESPONSE_PREFIX)
    if message_id == given or not is_id(message_id):
        raise NotFound
    return message_id
