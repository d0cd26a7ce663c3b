"""What the frame calls: speak, follow, stop, retry, rate, ask for a human, say how far one has read and that one is typing.

Idea: as on the chat page, a call only has something done; what comes of it is told by the stream, as HTML that templates made of
stored messages. Invariant: each does what the API's route does for the same end user, through the same front door.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from starlette.responses import Response

from gigachat_server.access.end_users import Profile
from gigachat_server.access.principal import PrincipalKind
from gigachat_server.api import access_wire, sse
from gigachat_server.edge.answer import Answer
from gigachat_server.errors import FieldError, InvalidRequest
from gigachat_server.records import EndUser, Feedback
from gigachat_server.widget.context import WidgetContext
from gigachat_server.widget.following import FrameFollowing, as_control, as_line, as_message
from gigachat_server.widget.request import WidgetRequest
from gigachat_server.widget.views import plain_line

SHOWN = 30
_LISTED = 50
_LONGEST_TITLE = 80

ConversationId = Annotated[str, Meta(min_length=1, max_length=255)]
Comment = Annotated[str, Meta(max_length=2000)]


class SessionInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    claim: Annotated[str, Meta(min_length=1, max_length=255)] | None = None


class PromptInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    prompt: Annotated[str, Meta(min_length=1, max_length=32_000)]
    conversation_id: ConversationId | None = None
    context: dict[str, Any] | None = None


class ConversationInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    conversation_id: ConversationId


class RetryInput(ConversationInput, frozen=True, kw_only=True, forbid_unknown_fields=True):
    message_id: str


class RateInput(RetryInput, frozen=True, kw_only=True, forbid_unknown_fields=True):
    rating: Literal["up", "down"] | None
    text: Comment = ""


class ReadInput(ConversationInput, frozen=True, kw_only=True, forbid_unknown_fields=True):
    seq: Annotated[int, Meta(ge=0, le=2**53)]


class ScoreInput(ReadInput, frozen=True, kw_only=True, forbid_unknown_fields=True):
    score: Annotated[int, Meta(ge=1, le=5)]
    comment: Comment = ""


class ProfileInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(min_length=1, max_length=255)] | None = None
    email: Annotated[str, Meta(min_length=3, max_length=255)] | None = None


# --- having something done ---


async def open_session(request: WidgetRequest[SessionInput], context: WidgetContext) -> Answer:
    """For a visitor with a widget key; or, with a user's token, what an anonymous session said becomes theirs."""
    who, services = request.principal, context.services
    if who.kind is PrincipalKind.WIDGET:
        return Answer(access_wire.session(await services.user_sessions.open_anonymous(who, request.chatbot)), 201)
    if request.body.claim is None:
        raise InvalidRequest(errors=(FieldError("claim", "Required."),))
    return Answer(access_wire.session(await services.conversations.claim(who, request.chatbot, request.body.claim)), 201)


async def say(request: WidgetRequest[PromptInput], context: WidgetContext) -> Answer:
    """Answered as soon as it is stored. Sent again with its key, it is not stored again."""
    wanted = request.body
    started = await context.services.conversations.speak(
        request.principal,
        request.chatbot,
        conversation_id=wanted.conversation_id,
        user_id=None,
        text=wanted.prompt,
        metadata={} if wanted.context is None else {"context": wanted.context},
        key=request.key,
    )
    prompt = started.prompt
    return Answer({"conversation_id": prompt.conversation_id, "message_id": prompt.id, "seq": prompt.seq}, 201)


async def retry(request: WidgetRequest[RetryInput], context: WidgetContext) -> Answer:
    wanted = request.body
    started = await context.services.conversations.retry(
        request.principal, request.chatbot, wanted.conversation_id, wanted.message_id, key=request.key
    )
    return Answer({"message_id": started.prompt.id}, 201)


async def stop(request: WidgetRequest[ConversationInput], context: WidgetContext) -> Answer:
    await context.services.conversations.stop(request.principal, request.chatbot, request.body.conversation_id, key=request.key)
    return Answer(None, 204)


async def rate(request: WidgetRequest[RateInput], context: WidgetContext) -> Answer:
    wanted = request.body
    feedback = Feedback(rating=wanted.rating, text=wanted.text)
    await context.services.conversations.rate(
        request.principal, request.chatbot, wanted.conversation_id, wanted.message_id, feedback
    )
    return Answer(None, 204)


async def hand_off(request: WidgetRequest[ConversationInput], context: WidgetContext) -> Answer:
    await context.services.conversations.hand_off(
        request.principal, request.chatbot, request.body.conversation_id, note="", key=request.key
    )
    return Answer(None, 204)


async def mark_read(request: WidgetRequest[ReadInput], context: WidgetContext) -> Answer:
    threads, wanted = context.services.conversations.threads, request.body
    await threads.mark_read(request.principal, request.chatbot, wanted.conversation_id, None, wanted.seq)
    return Answer(None, 204)


async def type_(request: WidgetRequest[ConversationInput], context: WidgetContext) -> Answer:
    await context.services.conversations.threads.note_typing(
        request.principal, request.chatbot, request.body.conversation_id, None
    )
    return Answer(None, 204)


async def score(request: WidgetRequest[ScoreInput], context: WidgetContext) -> Answer:
    wanted = request.body
    await context.services.conversations.threads.rate(
        request.principal,
        request.chatbot,
        wanted.conversation_id,
        closed_seq=wanted.seq,
        score=wanted.score,
        comment=wanted.comment,
    )
    return Answer(None, 204)


async def tell(request: WidgetRequest[ProfileInput], context: WidgetContext) -> Answer:
    """How the visitor can be reached: their own words, so operators see it as unverified."""
    wanted, who = request.body, request.principal

    def merge(held: EndUser) -> Profile:
        return Profile(name=wanted.name or held.name, email=wanted.email or held.email, metadata=held.metadata)

    await context.services.end_users.change(who, request.chatbot, who.user_id or "", merge)
    return Answer(None, 204)


# --- reading ---


async def list_all(request: WidgetRequest[None], context: WidgetContext) -> Answer:
    """The visitor's own, the one that spoke last first."""
    found = await context.services.conversations.threads.overview(request.principal, request.chatbot, limit=_LISTED)
    return Answer(
        [
            {
                "id": each.conversation.conversation_id,
                "title": plain_line(each.said_last, _LONGEST_TITLE),
                "at": each.conversation.last_at,
                "unread": each.unread,
            }
            for each in found
        ]
    )


async def show(request: WidgetRequest[None], context: WidgetContext) -> Answer:
    """A page of a conversation: its newest messages, or those `before` a seq; who came and went; what is unread."""
    before = request.query.get("before")
    if before is not None and not (before.isascii() and before.isdigit() and len(before) <= 16):
        raise InvalidRequest(errors=(FieldError("before", "Must be the seq of a message."),))
    conversation_id = request.query.get("id", "")
    page = await context.services.conversations.threads.page(
        request.principal, request.chatbot, conversation_id, before=None if before is None else int(before), limit=SHOWN
    )
    html = [await as_message(context, request, message) for message in page.messages]
    return Answer(
        {
            "html": "".join(html),
            "lines": [as_line(each) for each in page.lines],
            "first": page.first_seq,
            "seq": page.conversation.last_seq,
            "control": as_control(page.conversation),
            "read": page.read_seq,
            "unread": page.unread,
            "csat": None if page.unrated is None else {"seq": page.unrated.seq, "name": page.unrated.operator},
        }
    )


async def follow(request: WidgetRequest[None], context: WidgetContext) -> Response:
    """All that changes from the place that the frame shows, or, in `Last-Event-ID`, was told of."""
    place = sse.place_of(request)
    followed = await context.services.conversations.follow(
        request.principal, request.chatbot, request.query.get("id", ""), place, idle_s=sse.PING_S, with_typing=True
    )
    return sse.EventStream(FrameFollowing(request, context).pieces(followed))
