"""Conversations over HTTP: what is said, and reading it back."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.responses import Response

from gigachat_server.access.restrictions import client_defined_id, speaker_id
from gigachat_server.api import sse, wire
from gigachat_server.chat.turns.intake import CLIENT_PREFIX, PromptRequest
from gigachat_server.chat.turns.outcome import vectors_of
from gigachat_server.chat.turns.progress import TurnResult
from gigachat_server.chat.turns.turn import TurnHandle
from gigachat_server.edge import cursors
from gigachat_server.edge.http import Answer, ApiRequest, next_link, query_choice, query_flag, query_limit
from gigachat_server.edge.idempotency import REPLAYED
from gigachat_server.errors import FieldError, Forbidden, InvalidRequest, NotFound
from gigachat_server.records import Conversation, Feedback, Message
from gigachat_server.services import Services
from gigachat_server.store import conversations, messages
from gigachat_server.store.database import Reader, Tx
from gigachat_server.triggers import trigger


class PromptInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What someone says. A new conversation_id starts a conversation, a known one continues it."""

    conversation_id: Annotated[
        str, Meta(min_length=1, max_length=255, description="Yours to define: any string but `.` and `..`.")
    ]
    user_id: Annotated[str, Meta(min_length=1, max_length=255, description="With the prefix `client:`: your staff, unanswered.")]
    prompt: Annotated[str, Meta(min_length=1, max_length=32_000, description="What the user says.")]
    stream: Annotated[
        bool | None, Meta(description="true: answer with Server-Sent Events, as `Accept: text/event-stream` does.")
    ] = None
    metadata: Annotated[dict[str, Any], Meta(description="Stored with the prompt and returned; 16 kB of JSON at most.")] = {}


class RetryInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    stream: Annotated[bool | None, Meta(description="true: answer with Server-Sent Events.")] = None


class TakeoverInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    operator: Annotated[str, Meta(min_length=1, max_length=255, description="Who takes over, such as `support_staff_01`.")]
    force: Annotated[bool, Meta(description="Also from another operator.")] = False


class HandoffInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    note: Annotated[str, Meta(max_length=2000, description="For the operators: what it is about.")] = ""


async def say(request: ApiRequest, services: Services) -> Answer | Response:
    wanted: PromptInput = request.body
    prompt = PromptRequest(
        conversation_id=client_defined_id(wanted.conversation_id, "conversation_id"),
        user_id=speaker_id(wanted.user_id, "user_id"),
        text=wanted.prompt,
        metadata=_checked_metadata(wanted.metadata, services),
    )
    if prompt.operator is not None and "messages:inject" not in (request.principal.scopes if request.principal else ()):
        raise Forbidden("To speak as client: a key needs the scope messages:inject.")
    started = await services.turns.start(request.chatbot, prompt, request.key)
    return await _turn_answer(request, started, wants_stream=_wants_stream(request, wanted.stream))


async def retry(request: ApiRequest, services: Services) -> Answer | Response:
    """Has the prompt, or the prompt of this reply, answered anew; the reply that is replaced stays readable."""
    wanted: RetryInput = request.body
    started = await services.turns.retry(request.chatbot, _conversation_id(request), request.path["message_id"], request.key)
    return await _turn_answer(request, started, wants_stream=_wants_stream(request, wanted.stream))


async def _turn_answer(request: ApiRequest, started: TurnHandle, *, wants_stream: bool) -> Answer | Response:
    with_embedding = _with_embedding(request)
    headers = REPLAYED if started.is_replayed else {}
    if wants_stream:
        return sse.stream_turn(started, request, with_embedding=with_embedding, headers=headers)
    stored = await started.result()
    await trigger("S9")
    return Answer(wire.stored(stored, request.account_id, with_embedding=with_embedding), 201, headers)


async def stop(request: ApiRequest, services: Services) -> Answer:
    """Ends the reply in the making and whatever waits behind it; answers with what was stored of them."""
    with_embedding = _with_embedding(request)

    async def keep(tx: Tx, ended: TurnResult) -> None:
        answer = Answer(wire.stored(ended, request.account_id, with_embedding=with_embedding))
        await request.keep(tx, answer, now_us=services.clock())

    ended = await services.control.stop(request.chatbot, _conversation_id(request), keep=keep)
    return Answer(wire.stored(ended, request.account_id, with_embedding=with_embedding))


async def take_over(request: ApiRequest, services: Services) -> Answer:
    """Gives the conversation to an operator; from the answer on, the chatbot says nothing more in it."""
    wanted: TakeoverInput = request.body
    # Whoever takes over can also speak: as `client:` and that name.
    operator = speaker_id(CLIENT_PREFIX + wanted.operator.removeprefix(CLIENT_PREFIX), "operator").removeprefix(CLIENT_PREFIX)
    return await _controlled(
        request,
        services,
        functools.partial(
            services.control.take_over, request.chatbot, _conversation_id(request), operator, may_take_from=wanted.force
        ),
    )


async def release(request: ApiRequest, services: Services) -> Answer:
    """Gives the conversation back to the chatbot, which answers the next prompt."""
    return await _controlled(
        request, services, functools.partial(services.control.release, request.chatbot, _conversation_id(request))
    )


async def hand_off(request: ApiRequest, services: Services) -> Answer:
    """Asks for a human: adds a visible message and notes the time; the chatbot goes on until somebody takes over."""
    wanted: HandoffInput = request.body
    return await _controlled(
        request,
        services,
        functools.partial(
            services.control.hand_off, request.chatbot, _conversation_id(request), reason="asked", note=wanted.note
        ),
    )


async def _controlled(request: ApiRequest, services: Services, change: Callable[..., Awaitable[Conversation]]) -> Answer:
    async def keep(tx: Tx, conversation: Conversation) -> None:
        await request.keep(tx, Answer(wire.conversation(conversation)), now_us=services.clock())

    return Answer(wire.conversation(await change(keep=keep)))


async def give_feedback(request: ApiRequest, services: Services) -> Answer:
    """Keeps what the end user thought of a reply; a rating of null takes it back."""
    feedback: Feedback = request.body
    conversation_id, message_id = _conversation_id(request), request.path["message_id"]
    chatbot_id = request.chatbot.id

    async def body(tx: Tx) -> tuple[Message, dict[str, bytes]]:
        await conversations.lock(tx, chatbot_id, conversation_id)
        message = await messages.find(tx, chatbot_id, message_id)
        if message is None or message.conversation_id != conversation_id:
            raise NotFound
        if message.role != "assistant":
            raise InvalidRequest(errors=(FieldError("message_id", "Only a reply of the chatbot takes feedback."),))
        given = None if feedback.rating is None and not feedback.text else feedback
        if given != message.feedback:
            data = {"message_id": message_id}
            place = await services.events.add(tx, chatbot_id, conversation_id, "message.feedback", data)
            await messages.set_feedback(tx, chatbot_id, message_id, given, at=place.at)
            message = msgspec.structs.replace(message, feedback=given, updated_at=place.at)
        return message, await vectors_of(tx, chatbot_id, [message])

    message, vectors = await services.database.transaction("message.feedback", body)
    return Answer(wire.message(message, request.account_id, vectors if _with_embedding(request) else {}))


async def list_events(request: ApiRequest, services: Services) -> Answer | Response:
    """What happened, oldest first; as an event stream also what happens from then on, with every word of a reply."""
    conversation_id, with_embedding = _conversation_id(request), _with_embedding(request, default=False)
    if "text/event-stream" in request.headers.get("accept", ""):
        last_seq = await services.feed.last_seq(request.chatbot.id, conversation_id)
        place = sse.place_of(request, last_seq=last_seq)
        followed = services.feed.follow_conversation(
            request.chatbot.id, conversation_id, place, idle_s=sse.PING_S, with_vectors=with_embedding
        )
        return sse.stream_events(followed, request, with_embedding=with_embedding, of_chatbot=False)
    limit, after = query_limit(request.query), _after_seq(request)
    found = await services.feed.page(
        request.chatbot.id, conversation_id, after=after, limit=limit + 1, with_vectors=with_embedding
    )
    headers = next_link(request, str(found[limit - 1].event.seq)) if len(found) > limit else {}
    listed = (wire.event(happened, request.account_id, with_embedding=with_embedding) for happened in found[:limit])
    return Answer(listed, headers=headers)


async def follow_chatbot(request: ApiRequest, services: Services) -> Response:
    """What happens in all conversations, as an event stream. After a break events may come twice: tell them by their seq."""
    cursor = cursors.load(request.headers.get("last-event-id", request.query.get("after")))
    since = cursor[0] if cursor is not None else None
    with_embedding = _with_embedding(request, default=False)
    followed = await services.feed.follow_chatbot(request.chatbot.id, since, idle_s=sse.PING_S, with_vectors=with_embedding)
    return sse.stream_events(followed, request, with_embedding=with_embedding, of_chatbot=True)


async def list_all(request: ApiRequest, services: Services) -> Answer:
    limit, before = query_limit(request.query), cursors.load(request.query.get("after"))
    controlled_by = query_choice(request.query, "controlled_by", ("human", "bot"))
    by_human = None if controlled_by is None else controlled_by == "human"
    handoff_requested = query_flag(request.query, "handoff_requested", default=None)

    async def read(reader: Reader) -> list[Conversation]:
        return await conversations.list_conversations(
            reader,
            request.chatbot.id,
            before=before,
            limit=limit + 1,
            by_human=by_human,
            handoff_requested=handoff_requested,
        )

    found = await services.database.read(read)
    headers = {}
    if len(found) > limit:
        last = found[limit - 1]
        headers = next_link(request, cursors.dump(last.last_at, last.conversation_id))
    return Answer([wire.conversation(conversation) for conversation in found[:limit]], headers=headers)


async def get(request: ApiRequest, services: Services) -> Answer:
    async def read(reader: Reader) -> Conversation:
        found = await conversations.find(reader, request.chatbot.id, _conversation_id(request))
        if found is None:
            raise NotFound
        return found

    return Answer(wire.conversation(await services.database.read(read)))


async def list_messages(request: ApiRequest, services: Services) -> Answer:
    """Oldest first."""
    limit, after = query_limit(request.query), _after_seq(request)
    with_embedding = _with_embedding(request, default=False)
    conversation_id = _conversation_id(request)

    async def read(reader: Reader) -> tuple[list[Message], dict[str, bytes]]:
        if await conversations.find(reader, request.chatbot.id, conversation_id) is None:
            raise NotFound
        found = await messages.list_messages(reader, request.chatbot.id, conversation_id, after=after, limit=limit + 1)
        return found, await vectors_of(reader, request.chatbot.id, found[:limit]) if with_embedding else {}

    found, vectors = await services.database.read(read)
    headers = next_link(request, str(found[limit - 1].seq)) if len(found) > limit else {}
    return Answer((wire.message(message, request.account_id, vectors) for message in found[:limit]), headers=headers)


async def delete(request: ApiRequest, services: Services) -> Answer:
    """Removes the conversation with all that was said in it."""
    await services.erasure.delete_conversation(request.chatbot.id, _conversation_id(request))
    return Answer(None, 204)


async def delete_user(request: ApiRequest, services: Services) -> Answer:
    """Removes all that one end user said and the replies to it; a conversation that was theirs alone goes whole."""
    await services.erasure.delete_user(request.chatbot.id, client_defined_id(request.path["user_id"], "user_id"))
    return Answer(None, 204)


def _with_embedding(request: ApiRequest, *, default: bool = True) -> bool:
    """Answers to what was said show the sources' vectors, lists and streams of events do not, unless told otherwise."""
    return query_flag(request.query, "embedding", default=default)


def _wants_stream(request: ApiRequest, wanted: bool | None) -> bool:
    if not request.chatbot.config.response.stream or wanted is False:
        return False
    return wanted is True or "text/event-stream" in request.headers.get("accept", "")


def _checked_metadata(metadata: dict[str, Any], services: Services) -> dict[str, Any]:
    settings = services.settings
    if metadata and _is_deeper(metadata, settings.max_depth):
        raise InvalidRequest(errors=(FieldError("metadata", "Nested too deeply."),))
    if metadata and len(msgspec.json.encode(metadata)) > settings.max_metadata_bytes:
        message = f"Must have at most {settings.max_metadata_bytes} bytes as JSON."
        raise InvalidRequest(errors=(FieldError("metadata", message),))
    return metadata


def _is_deeper(value: Any, depth: int) -> bool:
    """Looks no further down than that."""
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return depth == 0 or any(_is_deeper(each, depth - 1) for each in inner)


def _conversation_id(request: ApiRequest) -> str:
    return client_defined_id(request.path["conversation_id"], "conversation_id")


def _after_seq(request: ApiRequest) -> int:
    text = request.query.get("after", "0")
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise InvalidRequest(errors=(FieldError("after", "Must be the seq of a message, or a cursor from a Link header."),))
    return int(text)
