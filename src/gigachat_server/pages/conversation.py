"""What the chat page's script calls: speak, follow, stop, take over, release, retry, rate.

Idea: a call only has something done. What comes of it is shown to everybody the same way, by the stream of the
conversation's events, as HTML that the templates made of stored messages; so the page that asked shows nothing twice, and
what an operator or another client does appears by itself. Invariant: whoever signed in may do here what their key may do
over the API, by the same handlers where those exist.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from starlette.responses import Response

from gigachat_server.access.restrictions import check_restrictions, client_defined_id, speaker_id
from gigachat_server.api import conversations as api
from gigachat_server.api import sse
from gigachat_server.chat.events.recorder import RELEASED, TAKEN_OVER
from gigachat_server.chat.feed import FeedDelta, FeedEvent
from gigachat_server.chat.turns.intake import PromptRequest
from gigachat_server.edge.http import Answer, ApiRequest, decode, problem, render
from gigachat_server.edge.idempotency import key_of
from gigachat_server.errors import GigachatError, NotFound
from gigachat_server.ids import is_id
from gigachat_server.pages.http import PageRequest, Site
from gigachat_server.pages.views import ControlView, view, view_control
from gigachat_server.records import Chatbot, Feedback, Message
from gigachat_server.store import chatbots, conversations
from gigachat_server.store.database import Reader

_CHANGES_OF_CONTROL = (TAKEN_OVER, RELEASED, "handoff.requested")


class ConversationInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The conversation on the page."""

    chatbot_id: str
    conversation_id: str


class SayInput(ConversationInput, frozen=True, kw_only=True, forbid_unknown_fields=True):
    user_id: Annotated[str, Meta(min_length=1, max_length=255)]
    prompt: Annotated[str, Meta(min_length=1, max_length=32_000)]


class TakeoverInput(ConversationInput, frozen=True, kw_only=True, forbid_unknown_fields=True):
    operator: Annotated[str, Meta(min_length=1, max_length=255)]
    force: bool = False


class RetryInput(ConversationInput, frozen=True, kw_only=True, forbid_unknown_fields=True):
    message_id: str


class RatingInput(RetryInput, frozen=True, kw_only=True, forbid_unknown_fields=True):
    rating: Literal["up", "down"] | None


# --- having something done ---


async def say(request: PageRequest, site: Site) -> Response:
    """Store what was said: answered as soon as that is durable. Sent again with its key, it is not stored again."""
    wanted = decode(request.body, SayInput, site.services.settings)
    called = await _call(request, site, "conversations:write", wanted)
    prompt = PromptRequest(
        conversation_id=client_defined_id(wanted.conversation_id, "conversation_id"),
        user_id=speaker_id(wanted.user_id, "user_id"),
        text=wanted.prompt,
        metadata={},
    )
    if prompt.operator is not None:
        request.need("messages:inject")
    key = key_of(request.headers, request.signed_in, chatbot_id=wanted.chatbot_id, route=_route(request), body=wanted)
    started = await site.services.turns.start(called.chatbot, prompt, key)
    return render(Answer({"message_id": started.prompt.id}, 201))


async def retry(request: PageRequest, site: Site) -> Response:
    """Have a prompt answered anew: answered as soon as it is its turn, or waits for it."""
    wanted = decode(request.body, RetryInput, site.services.settings)
    called = await _call(request, site, "conversations:write", wanted)
    key = key_of(request.headers, request.signed_in, chatbot_id=wanted.chatbot_id, route=_route(request), body=wanted)
    started = await site.services.turns.retry(called.chatbot, wanted.conversation_id, wanted.message_id, key)
    return render(Answer({"message_id": started.prompt.id}, 201))


async def stop(request: PageRequest, site: Site) -> Response:
    wanted = decode(request.body, ConversationInput, site.services.settings)
    return render(await api.stop(await _call(request, site, "conversations:write", wanted), site.services))


async def take_over(request: PageRequest, site: Site) -> Response:
    wanted = decode(request.body, TakeoverInput, site.services.settings)
    body = api.TakeoverInput(operator=wanted.operator, force=wanted.force)
    return render(await api.take_over(await _call(request, site, "messages:inject", wanted, body=body), site.services))


async def release(request: PageRequest, site: Site) -> Response:
    wanted = decode(request.body, ConversationInput, site.services.settings)
    return render(await api.release(await _call(request, site, "messages:inject", wanted), site.services))


async def rate(request: PageRequest, site: Site) -> Response:
    wanted = decode(request.body, RatingInput, site.services.settings)
    body = Feedback(rating=wanted.rating)
    called = await _call(request, site, "conversations:write", wanted, body=body, message_id=wanted.message_id)
    return render(await api.give_feedback(called, site.services))


async def _call(
    request: PageRequest, site: Site, scope: str, which: ConversationInput, *, body: Any = None, message_id: str = ""
) -> ApiRequest:
    """The same as a call of the API, for its handlers. Raises `Forbidden`, `NotFound`."""
    request.need(scope)

    async def read(reader: Reader) -> Chatbot:
        return await chatbot_of(reader, request, which.chatbot_id)

    chatbot = await site.services.database.read(read)
    check_addresses(request, chatbot)
    return ApiRequest(
        path={"conversation_id": which.conversation_id, "message_id": message_id},
        query={**request.query, "embedding": "false"},
        headers=request.headers,
        raw_path=request.path,
        principal=request.principal,
        request_id="",
        body=body,
        chatbot=chatbot,
    )


def _route(request: PageRequest) -> str:
    return f"POST {request.path}"


async def chatbot_of(reader: Reader, request: PageRequest, chatbot_id: str) -> Chatbot:
    """The visitor's own. Raises `NotFound`."""
    found = await chatbots.find(reader, request.signed_in.account_id, chatbot_id) if is_id(chatbot_id) else None
    if found is None:
        raise NotFound
    return found


def check_addresses(request: PageRequest, chatbot: Chatbot) -> None:
    """The addresses that the chatbot is restricted to hold here too; its hostnames are those of other pages."""
    check_restrictions(chatbot.config.restrictions, peer=request.peer, headers={}, has_key=True)


# --- showing what happens ---


async def follow(request: PageRequest, site: Site) -> Response:
    """All that changes on the page from the place that it shows, or, in `Last-Event-ID`, has been told of."""
    query = request.query
    which = ConversationInput(chatbot_id=query.get("chatbot", ""), conversation_id=query.get("conversation", ""))
    called = await _call(request, site, "conversations:read", which)
    feed = site.services.feed
    place = sse.place_of(called, last_seq=await feed.last_seq(called.chatbot.id, which.conversation_id))
    followed = feed.follow_conversation(called.chatbot.id, which.conversation_id, place, idle_s=sse.PING_S)
    return sse.EventStream(_Following(request, site, which).pieces(followed))


class _Following:
    """One page that follows a conversation."""

    def __init__(self, request: PageRequest, site: Site, which: ConversationInput) -> None:
        self._request = request
        self._site = site
        self._which = which

    async def pieces(self, followed: AsyncGenerator[FeedEvent | FeedDelta | None, None]) -> AsyncGenerator[bytes, None]:
        """Ends with `gone` once the visitor may not see it any more, or the conversation was deleted."""
        loop = asyncio.get_running_loop()
        checked_at = loop.time()
        yield sse.PING
        try:
            async with aclosing(followed):
                async for each in followed:
                    if loop.time() - checked_at >= sse.PING_S / 3:
                        await self._request.reauthorise()  # the visitor may have signed out since
                        checked_at = loop.time()
                    match each:
                        case None:
                            yield sse.PING
                        case FeedDelta():
                            yield sse.delta(each.said, each.seq)
                        case FeedEvent():
                            yield await self._change(each)
        except GigachatError as error:
            if error.status not in (401, 403, 404):
                return  # the page follows anew by itself, from where it is
            yield sse.event("gone", problem(error, instance=self._request.path, request_id=""))

    async def _change(self, happened: FeedEvent) -> bytes:
        """Every message that the event names, as it is now; and who has control, if that may have changed."""
        event = happened.event
        named = [message for message in (happened.prompt, happened.message) if message is not None]
        is_spoken_by_operator = any(message.role == "operator" for message in named)
        is_about_control = event.type in _CHANGES_OF_CONTROL or is_spoken_by_operator
        changed = {
            "messages": [await self._message(message) for message in named],
            "control": await self._control() if is_about_control else None,
            "is_stale": event.type == "messages.deleted",  # the page shows what is gone
        }
        return sse.event("change", changed, place=sse.event_id(event.seq, happened.position))

    async def _message(self, message: Message) -> dict[str, Any]:
        html = await self._site.render("message.html", message=view(message), may=self._request.may)
        return {"id": message.id, "seq": message.seq, "html": html}

    async def _control(self) -> str:
        async def read(reader: Reader) -> ControlView:
            return view_control(await conversations.find(reader, self._which.chatbot_id, self._which.conversation_id))

        control = await self._site.services.database.read(read)
        return await self._site.render("control.html", control=control, may=self._request.may)
