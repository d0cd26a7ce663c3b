"""Conversations over HTTP: what is said, and reading it back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, cast, get_args

import msgspec
from msgspec import UNSET, Meta, UnsetType
from starlette.responses import Response

from gigachat_server.access.speakers import client_defined_id, operator_name
from gigachat_server.access.standings import headers as limit_headers
from gigachat_server.api import sse
from gigachat_server.api.views import View, view_of
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


class EndUserPrompt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an end user says. Without a conversation_id it starts a conversation, whose id the answer tells."""

    prompt: Annotated[str, Meta(min_length=1, max_length=32_000, description="What the user says.")]
    conversation_id: Annotated[
        Annotated[str, Meta(min_length=1, max_length=255)] | UnsetType, Meta(description="Of one that is theirs, to continue it.")
    ] = UNSET
    user_id: Annotated[
        Annotated[str, Meta(min_length=1, max_length=255)] | UnsetType,
        Meta(description="Theirs, which their token or session says anyway."),
    ] = UNSET
    stream: Annotated[bool | None, Meta(description="true: answer with Server-Sent Events.")] = None
    metadata: Annotated[dict[str, Any], Meta(description="Stored with the prompt; 16 kB of JSON at most.")] = {}


class RetryInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    stream: Annotated[bool | None, Meta(description="true: answer with Server-Sent Events.")] = None


class TakeoverInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    operator: Annotated[
        str, Meta(min_length=1, max_length=255, description="The operator who takes over, such as `support_staff_01`.")
    ]
    force: Annotated[bool, Meta(description="true: take over from another operator, too.")] = False


class HandoffInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    note: Annotated[str, Meta(max_length=2000, description="A note to the operators: what it is about.")] = ""


class TypingInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    user_id: Annotated[
        Annotated[str, Meta(min_length=1, max_length=255)] | UnsetType,
        Meta(description="With an API key: who, an end user or `client:support_staff_01`."),
    ] = UNSET


class ReadInput(TypingInput, frozen=True, kw_only=True, forbid_unknown_fields=True):
    seq: Annotated[int, Meta(ge=0, le=2**53, description="Of the last message that they have read.")]


class RatingInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    closed_seq: Annotated[int, Meta(ge=1, le=2**53, description="Of the event `conversation.closed`.")]
    score: Annotated[int, Meta(ge=1, le=5)]
    comment: Annotated[str, Meta(max_length=2000)] = ""


async def say(request: Request[PromptInput | EndUserPrompt], services: Services) -> Answer | Response:
    wanted, view = request.body, view_of(request)
    started = await services.conversations.speak(
        request.principal,
        request.chatbot,
        conversation_id=wanted.conversation_id or None,
        user_id=wanted.user_id or None,
        text=wanted.prompt,
        metadata=wanted.metadata,
        key=request.key,
    )
    return await _turn_answer(request, started, view, wants_stream=_wants_stream(request, wanted.stream))


async def retry(request: Request[RetryInput], services: Services) -> Answer | Response:
    """Answers the prompt, or the prompt of this reply, again; the reply that is replaced stays readable."""
    view = view_of(request)
    started = await services.conversations.retry(
        request.principal, request.chatbot, _id(request), request.named["message_id"], key=request.key
    )
    return await _turn_answer(request, started, view, wants_stream=_wants_stream(request, request.body.stream))


async def _turn_answer(request: Request[Any], started: TurnHandle, view: View, *, wants_stream: bool) -> Answer | Response:
    headers = {**(REPLAYED if started.is_replayed else {}), **limit_headers(started.standings)}
    if wants_stream:
        return sse.stream_turn(started, request, view, headers=headers)
    stored = await started.result()
    await trigger("S9")
    return Answer(view.messages(stored), 201, headers)


async def stop(request: Request[None], services: Services) -> Answer:
    """Stops the running reply and the prompts queued behind it; answers with what was stored of them."""
    door, who, view = services.conversations, request.principal, view_of(request)
    ids = request.earlier(list[str])
    if ids is None:
        return Answer(view.messages(await door.stop(who, request.chatbot, _id(request), key=request.key)))
    return Answer(view.messages(await door.named(who, request.chatbot, _id(request), ids)))


async def take_over(request: Request[TakeoverInput], services: Services) -> Answer:
    """Gives the conversation to an operator; from the answer on, the chatbot says nothing more in it."""
    wanted = request.body
    taken = request.earlier(Conversation) or await services.conversations.take_over(
        request.principal, request.chatbot, _id(request), wanted.operator, may_take_from=wanted.force, key=request.key
    )
    return Answer(view_of(request).conversation(taken))


async def release(request: Request[None], services: Services) -> Answer:
    """Gives the conversation back to the chatbot, which answers the next prompt."""
    released = request.earlier(Conversation) or await services.conversations.release(
        request.principal, request.chatbot, _id(request), key=request.key
    )
    return Answer(view_of(request).conversation(released))


async def hand_off(request: Request[HandoffInput], services: Services) -> Answer:
    """Asks for a human: adds a visible message and notes the time; the chatbot goes on until an operator takes over."""
    handed = request.earlier(Conversation) or await services.conversations.hand_off(
        request.principal, request.chatbot, _id(request), note=request.body.note, key=request.key
    )
    return Answer(view_of(request).conversation(handed))


async def give_feedback(request: Request[Feedback], services: Services) -> Answer:
    """Keeps what the end user thought of a reply; a rating of null takes it back."""
    view = view_of(request)
    rated = await services.conversations.rate(
        request.principal, request.chatbot, _id(request), request.named["message_id"], request.body
    )
    (message,) = view.messages(rated)
    return Answer(message)


async def mark_read(request: Request[ReadInput], services: Services) -> Answer:
    """Notes how far somebody has read: the mark only rises."""
    who, wanted = request.principal, request.body
    await services.conversations.threads.mark_read(who, request.chatbot, _id(request), wanted.user_id or None, wanted.seq)
    return Answer(None, 204)


async def note_typing(request: Request[TypingInput], services: Services) -> Answer:
    """Tells those who follow the conversation that somebody is writing, for six seconds."""
    await services.conversations.threads.note_typing(
        request.principal, request.chatbot, _id(request), request.body.user_id or None
    )
    return Answer(None, 204)


async def rate(request: Request[RatingInput], services: Services) -> Answer:
    """Keeps what the end user thought of a human's help, once for each closing."""
    wanted = request.body
    await services.conversations.threads.rate(
        request.principal,
        request.chatbot,
        _id(request),
        closed_seq=wanted.closed_seq,
        score=wanted.score,
        comment=wanted.comment,
    )
    return Answer(None, 204)


async def list_events(request: Request[None], services: Services) -> Answer | Response:
    """What happened, oldest first; as an event stream also what happens from then on, with every word of a reply."""
    door, conversation_id, view = services.conversations, _id(request), view_of(request, with_embedding=False)
    who, chatbot, with_vectors = request.principal, request.chatbot, view.with_embedding
    if request.accepts_events:
        place = sse.place_of(request)
        followed = await door.follow(
            who,
            chatbot,
            conversation_id,
            place,
            idle_s=sse.PING_S,
            with_vectors=with_vectors,
            with_typing=bool(query_flag(request.query, "typing", default=False)),
        )
        return sse.stream_events(followed, request, view, of_chatbot=False)
    limit, after = query_limit(request.query), _after_seq(request)
    found = await door.events(who, chatbot, conversation_id, after=after, limit=limit + 1, with_vectors=with_vectors)
    headers = next_link(request, str(found[limit - 1].event.seq)) if len(found) > limit else {}
    shown = (view.event(happened) for happened in found[:limit])
    return Answer((event for event in shown if event is not None), headers=headers)


async def follow_chatbot(request: Request[None], services: Services) -> Response:
    """What happens in all conversations, as an event stream. After a break events may come twice: tell them by their seq."""
    cursor = cursors.load(request.headers.get("last-event-id", request.query.get("after")))
    since = cursor[0] if cursor is not None else None
    view = view_of(request, with_embedding=False)
    followed = await services.conversations.follow_all(
        request.principal, request.chatbot, since, idle_s=sse.PING_S, with_vectors=view.with_embedding
    )
    return sse.stream_events(followed, request, view, of_chatbot=True)


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
    view = view_of(request)
    return Answer([view.conversation(conversation) for conversation in found[:limit]], headers=headers)


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
    found = await services.conversations.read(request.principal, request.chatbot, _id(request))
    return Answer(view_of(request).conversation(found))


async def list_messages(request: Request[None], services: Services) -> Answer:
    """Oldest first."""
    limit, view = query_limit(request.query), view_of(request, with_embedding=False)
    found = await services.conversations.messages(
        request.principal,
        request.chatbot,
        _id(request),
        after=_after_seq(request),
        limit=limit + 1,
        with_vectors=view.with_embedding,
    )
    headers = next_link(request, str(found.messages[limit - 1].seq)) if len(found.messages) > limit else {}
    return Answer((view.message(each, found.vectors) for each in found.messages[:limit]), headers=headers)


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


def _wants_stream(request: Request[Any], wanted: bool | None) -> bool:
    if not request.chatbot.config.response.stream or wanted is False:
        return False
    return wanted is True or request.accepts_events


def _after_seq(request: Request[Any]) -> int:
    text = request.query.get("after", "0")
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise InvalidRequest(errors=(FieldError("after", "Must be the seq of a message, or a cursor from a Link header."),))
    return int(text)
