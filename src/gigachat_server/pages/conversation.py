"""What the chat page's script calls: speak, follow, stop, take over, release, retry, rate.

Idea: a call only has something done. What comes of it is shown to everybody the same way, by the stream of the
conversation's events, as HTML that the templates made of stored messages; so the page that asked shows nothing twice, and
what an operator or another client does appears by itself. Invariant: a visitor may do here what their key may do over the
API: both go through `chat/conversations.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from starlette.responses import Response

from gigachat_server.access.scopes import Scope
from gigachat_server.access.speakers import CLIENT_PREFIX
from gigachat_server.api import sse, wire
from gigachat_server.chat.conversations import CHANGES_OF_CONTROL
from gigachat_server.chat.feed import FeedEvent
from gigachat_server.edge.answer import Answer
from gigachat_server.errors import NotFound
from gigachat_server.pages.context import PageContext
from gigachat_server.pages.following import Following
from gigachat_server.pages.request import PageRequest, me_of
from gigachat_server.pages.views import view, view_control, view_line
from gigachat_server.records import Event, Feedback, Message

_ABOUT_CONTROL = (*CHANGES_OF_CONTROL, "handoff.requested")


Name = Annotated[str, Meta(min_length=1, max_length=248)]  # without the prefix that a user_id would have


class ConversationInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The conversation on the page."""

    chatbot_id: str
    conversation_id: str


class SayInput(ConversationInput, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`operator`: who speaks for the client; None: somebody tries the chatbot out."""

    prompt: Annotated[str, Meta(min_length=1, max_length=32_000)]
    operator: Name | None = None


class ControlInput(ConversationInput, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`operator`: who takes over or releases, which counts where the session does not tell it. `force`: from another one."""

    operator: Name | None = None
    force: bool = False


class RetryInput(ConversationInput, frozen=True, kw_only=True, forbid_unknown_fields=True):
    message_id: str


class RatingInput(RetryInput, frozen=True, kw_only=True, forbid_unknown_fields=True):
    rating: Literal["up", "down"] | None


# --- having something done ---


async def say(request: PageRequest[SayInput], context: PageContext) -> Answer:
    """Store what was said: answered as soon as that is durable. Sent again with its key, it is not stored again."""
    wanted = request.body
    door, who, chatbot = context.services.conversations, request.principal, request.chatbot
    if wanted.operator is None:
        started = await door.try_out(who, chatbot, wanted.conversation_id, text=wanted.prompt, key=request.key)
    else:
        started = await door.speak(
            who,
            chatbot,
            conversation_id=wanted.conversation_id,
            user_id=CLIENT_PREFIX + wanted.operator,
            text=wanted.prompt,
            metadata={},
            key=request.key,
        )
    return Answer({"message_id": started.prompt.id}, 201)


async def retry(request: PageRequest[RetryInput], context: PageContext) -> Answer:
    """Have a prompt answered anew: answered as soon as it is its turn, or waits for it."""
    wanted = request.body
    started = await context.services.conversations.retry(
        request.principal, request.chatbot, wanted.conversation_id, wanted.message_id, key=request.key
    )
    return Answer({"message_id": started.prompt.id}, 201)


async def stop(request: PageRequest[ConversationInput], context: PageContext) -> Answer:
    ended = await context.services.conversations.stop(
        request.principal, request.chatbot, request.body.conversation_id, key=request.key
    )
    return Answer(wire.messages(ended, request.account_id, with_embedding=False))


async def take_over(request: PageRequest[ControlInput], context: PageContext) -> Answer:
    wanted = request.body
    taken = await context.services.conversations.take_over(
        request.principal,
        request.chatbot,
        wanted.conversation_id,
        wanted.operator or "",
        may_take_from=wanted.force,
        key=request.key,
    )
    return Answer(wire.conversation(taken))


async def release(request: PageRequest[ControlInput], context: PageContext) -> Answer:
    """From another operator only with `force`: the page asks first."""
    wanted = request.body
    released = await context.services.conversations.release(
        request.principal,
        request.chatbot,
        wanted.conversation_id,
        operator=wanted.operator,
        may_take_from=wanted.force,
        key=request.key,
    )
    return Answer(wire.conversation(released))


async def rate(request: PageRequest[RatingInput], context: PageContext) -> Answer:
    wanted = request.body
    rated = await context.services.conversations.rate(
        request.principal, request.chatbot, wanted.conversation_id, wanted.message_id, Feedback(rating=wanted.rating)
    )
    (message,) = wire.messages(rated, request.account_id, with_embedding=False)
    return Answer(message)


# --- showing what happens ---


async def follow(request: PageRequest[None], context: PageContext) -> Response:
    """All that changes on the page from the place that it shows, or, in `Last-Event-ID`, has been told of."""
    conversation_id = request.query.get("conversation", "")
    place = sse.place_of(request)
    followed = await context.services.conversations.follow(
        request.principal, request.chatbot, conversation_id, place, idle_s=sse.PING_S
    )
    return sse.EventStream(_Following(request, context, conversation_id).pieces(followed))


class _Following(Following):
    """One page that follows a conversation."""

    def __init__(self, request: PageRequest[None], context: PageContext, conversation_id: str) -> None:
        super().__init__(request)
        self._request = request
        self._context = context
        self._conversation_id = conversation_id

    async def changed(self, happened: FeedEvent, named: Sequence[Message]) -> dict[str, Any]:
        """With who has control, if that may have changed."""
        event = happened.event
        is_about_control = event.type in _ABOUT_CONTROL or any(message.role == "operator" for message in named)
        return {
            "messages": [*[await self._message(message) for message in named], *await self._line(event)],
            "control": await self._control() if is_about_control else None,
        }

    async def _message(self, message: Message) -> dict[str, Any]:
        html = await self._context.render("message.html", message=view(message), may=self._request.may, Scope=Scope)
        return {"id": message.id, "seq": message.seq, "html": html}

    async def _line(self, event: Event) -> list[dict[str, Any]]:
        """What the thread says of a change of control."""
        if event.type not in CHANGES_OF_CONTROL:
            return []
        line = view_line(event)
        return [{"id": line.id, "seq": line.seq, "html": await self._context.render("line.html", line=line)}]

    async def _control(self) -> str:
        request, conversation = self._request, None
        with suppress(NotFound):  # deleted meanwhile
            conversation = await self._context.services.conversations.read(
                request.principal, request.chatbot, self._conversation_id
            )
        return await self._context.render(
            "control.html", control=view_control(conversation), me=me_of(request), may=request.may, Scope=Scope
        )
