"""Conversations over HTTP: what is said, and reading it back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, cast, get_args

import msgspec
from msgspec import Meta
from starlette.responses import Response

from gigachat_server.access.speakers import client_defined_id, operator_name
from gigachat_server.api import sse, wire
from gigachat_server.chat.conversations import ConversationFilter
from gigachat_server.chat.turns.turn import TurnHandle
from gigachat_server.edge import cursors
from gigachat_server.edge.answer import Answer
from gigachat_server.edge.idempotency import REPLAYED
from gigachat_server.edge.request import Request, next_link, query_choice, query_flag, query_limit
from gigachat_server.errors import FieldError, InvalidRequest
from gigachat_server.records import Conversation, ConversationStatus, Feedback
from gigachat_server.services import Services
from gigachat_server.triggers import trigger

STATUSES = get_args(ConversationStatus)


class PromptInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What someone says. A new conversation_id starts a conversation, a known one continues it."""

    conversation_id: Annotated[
        str, Meta(min_length=1, max_length=255, description="Yours to define: any string but `.` and `..`.")
    ]
    user_id: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=255,
            description="With the prefix `client:` your staff speaks, and the chatbot does not reply.",
        ),
    ]
    prompt: Annotated[str, Meta(min_length=1, max_length=32_000, description="What the user says.")]
    stream: Annotated[
        bool | None, Meta(description="true: answer with Server-Sent Events, as `Accept: text/event-stream` does.")
    ] = None
    metadata: Annotated[dict[str, Any], Meta(description="Stored with the prompt and returned; 16 kB of JSON at most.")] = {}


class RetryInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    stream: Annotated[bool | None, Meta(description="true: answer with Server-Sent Events.")] = None


class TakeoverInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    operator: Annotated[
        str, Meta(min_length=1, max_length=255, description="The operator who takes over, such as `support_staff_01`.")
    ]
    force: Annotated[bool, Meta(description="true: take over from another operator, too.")] = False


class HandoffInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    note: Annotated[str, Meta(max_length=2000, description="A note to the operators: what it is about.")] = ""


async def say(request: Request[PromptInput], services: Services) -> Answer | Response:
    wanted, with_embedding = request.body, _with_embedding(request)
    started = await services.conversations.speak(
        request.principal,
        request.chatbot,
        conversation_id=wanted.conversation_id,
        user_id=wanted.user_id,
        text=wanted.prompt,
        metadata=wanted.metadata,
        key=request.key,
    )
    return await _turn_answer(request, started, with_embedding, wants_stream=_wants_stream(request, wanted.stream))


async def retry(request: Request[RetryInput], services: Services) -> Answer | Response:
    """Answers the prompt, or the prompt of this reply, again; the reply that is replaced stays readable."""
    with_embedding = _with_embedding(request)
    started = await services.conversations.retry(
        request.principal, request.chatbot, _id(request), request.named["message_id"], key=request.key
    )
    return await _turn_answer(request, started, with_embedding, wants_stream=_wants_stream(request, request.body.stream))


async def _turn_answer(
    request: Request[Any], started: TurnHandle, with_embedding: bool, *, wants_stream: bool
) -> Answer | Response:
    headers = REPLAYED if started.is_replayed else {}
    if wants_stream:
        return sse.stream_turn(started, request, with_embedding=with_embedding, headers=headers)
    stored = await started.result()
    await trigger("S9")
    return Answer(wire.messages(stored, request.account_id, with_embedding=with_embedding), 201, headers)


async def stop(request: Request[None], services: Services) -> Answer:
    """Stops the running reply and the prompts queued behind it; answers with what was stored of them."""
    door, who, with_embedding = services.conversations, request.principal, _with_embedding(request)
    ids = request.earlier(list[str])
    if ids is None:
        ended = await door.stop(who, request.chatbot, _id(request), key=request.key)
        return Answer(wire.messages(ended, request.account_id, with_embedding=with_embedding))
    earlier = await door.named(who, request.chatbot, _id(request), ids)
    return Answer(wire.messages(earlier, request.account_id, with_embedding=with_embedding))


async def take_over(request: Request[TakeoverInput], services: Services) -> Answer:
    """Gives the conversation to an operator; from the answer on, the chatbot says nothing more in it."""
    wanted = request.body
    taken = request.earlier(Conversation) or await services.conversations.take_over(
        request.principal, request.chatbot, _id(request), wanted.operator, may_take_from=wanted.force, key=request.key
    )
    return Answer(wire.conversation(taken))


async def release(request: Request[None], services: Services) -> Answer:
    """Gives the conversation back to the chatbot, which answers the next prompt."""
    released = request.earlier(Conversation) or await services.conversations.release(
        request.principal, request.chatbot, _id(request), key=request.key
    )
    return Answer(wire.conversation(released))


async def hand_off(request: Request[HandoffInput], services: Services) -> Answer:
    """Asks for a human: adds a visible message and notes the time; the chatbot goes on until an operator takes over."""
    handed = request.earlier(Conversation) or await services.conversations.hand_off(
        request.principal, request.chatbot, _id(request), note=request.body.note, key=request.key
    )
    return Answer(wire.conversation(handed))


async def give_feedback(request: Request[Feedback], services: Services) -> Answer:
    """Keeps what the end user thought of a reply; a rating of null takes it back."""
    with_embedding = _with_embedding(request)
    rated = await services.conversations.rate(
        request.principal, request.chatbot, _id(request), request.named["message_id"], request.body
    )
    (message,) = wire.messages(rated, request.account_id, with_embedding=with_embedding)
    return Answer(message)


async def list_events(request: Request[None], services: Services) -> Answer | Response:
    """What happened, oldest first; as an event stream also what happens from then on, with every word of a reply."""
    door, conversation_id, with_embedding = services.conversations, _id(request), _with_embedding(request, default=False)
    who, chatbot = request.principal, request.chatbot
    if request.accepts_events:
        place = sse.place_of(request)
        followed = await door.follow(who, chatbot, conversation_id, place, idle_s=sse.PING_S, with_vectors=with_embedding)
        return sse.stream_events(followed, request, with_embedding=with_embedding, of_chatbot=False)
    limit, after = query_limit(request.query), _after_seq(request)
    found = await door.events(who, chatbot, conversation_id, after=after, limit=limit + 1, with_vectors=with_embedding)
    headers = next_link(request, str(found[limit - 1].event.seq)) if len(found) > limit else {}
    listed = (wire.event(happened, request.account_id, with_embedding=with_embedding) for happened in found[:limit])
    return Answer(listed, headers=headers)


async def follow_chatbot(request: Request[None], services: Services) -> Response:
    """What happens in all conversations, as an event stream. After a break events may come twice: tell them by their seq."""
    cursor = cursors.load(request.headers.get("last-event-id", request.query.get("after")))
    since = cursor[0] if cursor is not None else None
    with_embedding = _with_embedding(request, default=False)
    followed = await services.conversations.follow_all(
        request.principal, request.chatbot, since, idle_s=sse.PING_S, with_vectors=with_embedding
    )
    return sse.stream_events(followed, request, with_embedding=with_embedding, of_chatbot=True)


async def list_all(request: Request[None], services: Services) -> Answer:
    limit, after, query = query_limit(request.query), cursors.load(request.query.get("after")), request.query
    by_waiting = query_choice(query, "sort", ("last", "waiting")) == "waiting"
    found = await services.conversations.list(
        request.principal,
        request.chatbot,
        after=after,
        limit=limit + 1,
        which=_which(query),
        longest_waiting_first=by_waiting,
    )
    headers = {}
    if len(found) > limit:
        last = found[limit - 1]
        at = last.waiting_since if by_waiting and last.waiting_since is not None else last.last_at
        headers = next_link(request, cursors.dump(at, last.conversation_id))
    return Answer([wire.conversation(conversation) for conversation in found[:limit]], headers=headers)


def _which(query: Mapping[str, str]) -> ConversationFilter:
    """What a list was narrowed to. `operator` has control."""
    controlled_by, status = query_choice(query, "controlled_by", ("human", "bot")), query_choice(query, "status", STATUSES)
    operator, assigned_to = query.get("operator"), query.get("assigned_to")
    return ConversationFilter(
        by_human=None if controlled_by is None else controlled_by == "human",
        controlled_by=None if operator is None else operator_name(operator, "operator"),
        handoff_requested=query_flag(query, "handoff_requested", default=None),
        status=cast("ConversationStatus | None", status),
        is_waiting=query_flag(query, "waiting", default=None),
        assigned_to=operator_name(assigned_to, "assigned_to") if assigned_to else assigned_to,
        user_id=None if (user_id := query.get("user_id")) is None else client_defined_id(user_id, "user_id"),
    )


async def get(request: Request[None], services: Services) -> Answer:
    return Answer(wire.conversation(await services.conversations.read(request.principal, request.chatbot, _id(request))))


async def list_messages(request: Request[None], services: Services) -> Answer:
    """Oldest first."""
    limit, with_embedding = query_limit(request.query), _with_embedding(request, default=False)
    found = await services.conversations.messages(
        request.principal, request.chatbot, _id(request), after=_after_seq(request), limit=limit + 1, with_vectors=with_embedding
    )
    headers = next_link(request, str(found.messages[limit - 1].seq)) if len(found.messages) > limit else {}
    return Answer((wire.message(each, request.account_id, found.vectors) for each in found.messages[:limit]), headers=headers)


async def delete(request: Request[None], services: Services) -> Answer:
    """Removes the conversation with all that was said in it."""
    await services.conversations.erase(request.principal, request.chatbot, _id(request))
    return Answer(None, 204)


async def delete_user(request: Request[None], services: Services) -> Answer:
    """Removes all that one end user said and the replies to it; a conversation that was theirs alone goes whole."""
    await services.conversations.erase_user(request.principal, request.chatbot, request.named["user_id"])
    return Answer(None, 204)


def _id(request: Request[Any]) -> str:
    return request.named["conversation_id"]


def _with_embedding(request: Request[Any], *, default: bool = True) -> bool:
    """Answers to what was said show the sources' vectors; lists and streams of events do not, unless told otherwise."""
    return query_flag(request.query, "embedding", default=default)


def _wants_stream(request: Request[Any], wanted: bool | None) -> bool:
    if not request.chatbot.config.response.stream or wanted is False:
        return False
    return wanted is True or request.accepts_events


def _after_seq(request: Request[Any]) -> int:
    text = request.query.get("after", "0")
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise InvalidRequest(errors=(FieldError("after", "Must be the seq of a message, or a cursor from a Link header."),))
    return int(text)
