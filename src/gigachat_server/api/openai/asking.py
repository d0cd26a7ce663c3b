"""A prompt that came in the words of OpenAI's API: brought through the front door, and answered whole or as a stream.

Idea: both kinds of calls differ in their bodies and in the form of what comes back, and share all that is between. Invariant:
of what a client says was said before nothing is stored; it is told to the model only where no conversation was named, in
that turn alone, and as the caller's account.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import msgspec

from gigachat_server.access.standings import headers as limit_headers
from gigachat_server.api import sse
from gigachat_server.api.openai import bodies, callers, errors
from gigachat_server.api.openai.errors import PreviousResponseNotFound, invalid
from gigachat_server.api.openai.stream import ChatStream, ResponseStream
from gigachat_server.chat.conversations import most_recounted
from gigachat_server.chat.turns.turn import TurnHandle
from gigachat_server.edge.chatbot_names import RESPONSE_PREFIX
from gigachat_server.edge.idempotency import REPLAYED, fingerprint, implicit_key_of
from gigachat_server.edge.request import Request
from gigachat_server.errors import FieldError, GigachatError, InvalidRequest
from gigachat_server.ids import is_id
from gigachat_server.records import Message
from gigachat_server.services import Services
from gigachat_server.store.idempotency import Key
from gigachat_server.triggers import trigger


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a client asks, whichever kind of call it was."""

    said: bodies.Said
    metadata: dict[str, Any]
    user: str | None
    safety_identifier: str | None
    ignored: list[str]
    conversation: str | None = None
    previous_response_id: str | None = None


class _Goal(msgspec.Struct, frozen=True, kw_only=True):
    """Where a prompt goes: into which conversation, and behind which prompt's reply."""

    conversation_id: str | None = None  # None: a new one
    follows: str | None = None


class AskedTurn(msgspec.Struct, frozen=True):
    """What came of it, and what the answer says in headers."""

    started: TurnHandle
    headers: dict[str, str]


def most_earlier(request: Request[Any]) -> int:
    """How many earlier messages are of use."""
    return most_recounted(request.chatbot.config.response.memory_size)


async def ask(request: Request[Any], services: Services, asked: Asked) -> AskedTurn:
    """Store the prompt and have it answered. Raises what the front door does, and the errors of this room."""
    said = asked.said
    user_id = callers.speaker(
        request.principal, request.headers, metadata=asked.metadata, user=asked.user, safety=asked.safety_identifier
    )
    if len(said.text) > bodies.LONGEST_PROMPT:
        raise invalid(said.field, f"Must have at most {bodies.LONGEST_PROMPT:,} characters.")
    if "\0" in said.text:
        raise invalid(said.field, "Must not contain NUL characters.")
    goal = await _goal(request, services, asked, user_id)
    is_unnamed = goal.conversation_id is None and said.has_earlier
    try:
        started = await services.conversations.speak(
            request.principal,
            request.chatbot,
            conversation_id=goal.conversation_id,
            user_id=user_id,
            text=said.text,
            metadata={**asked.metadata, "is_unnamed": True} if is_unnamed else asked.metadata,
            key=_key(request, user_id),
            recounted=said.earlier if is_unnamed else (),
            follows=goal.follows,
            new_prefix=callers.CONVERSATION_PREFIX,
        )
    except InvalidRequest as error:
        raise _in_the_callers_words(error, said.field) from None
    return AskedTurn(started, _headers(started, asked.ignored))


def _in_the_callers_words(error: InvalidRequest, field: str) -> InvalidRequest:
    """The front door calls the prompt `prompt`."""
    named = tuple(FieldError(field, each.message) if each.field == "prompt" else each for each in error.errors)
    return InvalidRequest(error.detail, errors=named)


async def _goal(request: Request[Any], services: Services, asked: Asked, user_id: str) -> _Goal:
    """The first name of a conversation that the request holds; else a new one."""
    if asked.conversation is not None:
        return _Goal(conversation_id=callers.conversation_id(callers.Named(asked.conversation, "conversation")))
    if asked.previous_response_id is not None:
        message_id = asked.previous_response_id.removeprefix(RESPONSE_PREFIX)
        known = await _known(request, services, (message_id,), user_id) if is_id(message_id) else None
        if known is None:
            what = FieldError("previous_response_id", PreviousResponseNotFound.message)
            raise PreviousResponseNotFound(errors=(what,))
        return _Goal(conversation_id=known.conversation_id, follows=known.in_reply_to or known.id)
    if asked.said.message_ids:
        known = await _known(request, services, asked.said.message_ids, user_id)
        if known is not None:
            return _Goal(conversation_id=known.conversation_id)
    named = callers.named_in_metadata(asked.metadata) or callers.named_in_headers(request.headers)
    if named is not None:
        return _Goal(conversation_id=callers.conversation_id(named))
    return _Goal()


async def _known(request: Request[Any], services: Services, message_ids: tuple[str, ...], user_id: str) -> Message | None:
    return await services.conversations.last_known(request.principal, request.chatbot, message_ids, user_id=user_id)


def _key(request: Request[Any], user_id: str) -> Key:
    """The caller's own, or one made of the request: both SDKs send a request again that failed, and say how often they have.

    Headers, too, say who speaks and where. A key that comes again with others is another request's.
    """
    named = callers.named_in_headers(request.headers)
    place = named.value if named else ""
    if request.key is not None:
        meant = {"body": request.key.fingerprint, "user_id": user_id, "conversation": place}
        return msgspec.structs.replace(request.key, fingerprint=fingerprint(meant))
    repeats = request.headers.get("x-stainless-retry-count", "0").strip()
    is_repeat = repeats.isascii() and repeats.isdigit() and int(repeats[:9]) > 0
    return implicit_key_of(request, user_id, place, is_repeat=is_repeat)


def _headers(started: TurnHandle, ignored: list[str]) -> dict[str, str]:
    headers = {"X-Conversation-Id": callers.as_header(started.prompt.conversation_id), **limit_headers(started.standings)}
    if ignored:
        headers["X-Gigachat-Ignored"] = ", ".join(ignored)
    if started.turn is None and not started.replies:
        headers["X-Gigachat-Turn"] = started.prompt.turn or "intercepted"
    return headers | REPLAYED if started.is_replayed else headers


async def replies_of(started: TurnHandle) -> list[Message]:
    """The replies; none if the prompt is not answered. Raises what the turn ended with."""
    stored = await started.result()
    await trigger("S9")
    return _replies(stored.messages)


def _replies(messages: list[Message]) -> list[Message]:
    """A prompt without an answer is the newest message itself."""
    return [message for message in messages if message.role == "assistant"]


def stream(
    started: TurnHandle, request: Request[Any], frames: ChatStream | ResponseStream, headers: Mapping[str, str]
) -> sse.EventStream:
    return sse.EventStream(_frames(started, request, frames), 200, headers)


async def _frames(started: TurnHandle, request: Request[Any], frames: ChatStream | ResponseStream) -> AsyncGenerator[bytes, None]:
    turn, places = started.turn, dict[str, int]()
    yield frames.open(len(turn.speech.message_ids) if turn is not None else len(started.replies))
    try:
        async with aclosing(sse.words(started, request)) as heard:
            async for said in heard:
                if said is None:
                    yield sse.PING
                    continue
                if turn is not None and said.message_id not in places:  # of a reply that begins, or begins anew
                    places = {each: number for number, each in enumerate(turn.speech.message_ids)}
                index = places.get(said.message_id)
                if index is not None and (frame := frames.say(index, said.text)):
                    yield frame
        replies = await replies_of(started)
    except GigachatError as error:
        yield frames.fail(errors.document(error))
        return
    yield frames.end(replies)
