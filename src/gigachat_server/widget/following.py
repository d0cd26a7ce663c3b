"""What a frame is told while it follows a conversation, and how messages, control and comings and goings look to it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any

from gigachat_server.api import sse
from gigachat_server.chat.conversations import BOT
from gigachat_server.chat.events.recorder import CLOSED, RELEASED, TAKEN_OVER
from gigachat_server.chat.feed import FeedDelta, FeedEvent, FeedTyping
from gigachat_server.chat.threads import Coming
from gigachat_server.edge.problem import problem
from gigachat_server.errors import GigachatError, NotFound
from gigachat_server.pages.blocks import Blocks, block_event
from gigachat_server.records import STAFF_ONLY, Conversation, Message
from gigachat_server.widget.context import WidgetContext
from gigachat_server.widget.request import WidgetRequest
from gigachat_server.widget.views import widget_view

_COMINGS = (TAKEN_OVER, RELEASED, CLOSED)
_CHANGES_OF_CONTROL = (*_COMINGS, "handoff.requested", "conversation.reopened")


async def as_message(context: WidgetContext, request: WidgetRequest[Any], message: Message) -> str:
    access, strings = request.principal.user_access, request.strings
    shown = widget_view(message, access.sources if access else "titles", strings)
    return await context.render("message.html", m=shown, t=strings.words)


def as_control(conversation: Conversation) -> dict[str, str]:
    if conversation.status == "closed":
        return {"state": "closed", "name": ""}
    if conversation.controlled_by != BOT:
        return {"state": "operator", "name": conversation.controlled_by}
    return {"state": "bot" if conversation.handoff_requested_at is None else "waiting", "name": ""}


def as_line(coming: Coming) -> dict[str, Any]:
    return {"seq": coming.seq, "kind": coming.kind, "name": coming.operator}


class Following:
    """One frame that follows a conversation."""

    def __init__(self, request: WidgetRequest[None], context: WidgetContext) -> None:
        self._request = request
        self._context = context
        self._blocks = Blocks()

    async def pieces(
        self, followed: AsyncGenerator[FeedEvent | FeedDelta | FeedTyping | None, None]
    ) -> AsyncGenerator[bytes, None]:
        """Ends with `gone` once the visitor may not see it any more, or it was deleted."""
        admission = sse.Admission(self._request)
        yield sse.PING
        try:
            async with aclosing(followed):
                async for each in followed:
                    await admission.check(is_fact=isinstance(each, FeedEvent))
                    match each:
                        case None:
                            yield sse.PING
                        case FeedDelta():
                            yield sse.delta(each.said, each.seq)
                            if (block := self._blocks.hear(each.said.message_id, each.said.offset, each.said.text)) is not None:
                                yield await block_event(block)
                        case FeedTyping():
                            yield sse.event("typing", {"is_typing": bool(each.names), "names": each.names})
                        case FeedEvent() if each.event.type in STAFF_ONLY:
                            pass
                        case FeedEvent():
                            yield await self._change(each)
        except GigachatError as error:
            if error.status not in (401, 403, 404):
                return  # the frame follows anew by itself, from where it is
            yield sse.event(
                "gone", problem(error, instance=self._request.path, request_id=self._request.request_id, root=self._request.root)
            )

    async def _change(self, happened: FeedEvent) -> bytes:
        """Every message that the event names, as it is now; who answers, came or went, if it is about that."""
        event = happened.event
        named = [message for message in (happened.prompt, happened.message) if message is not None]
        for message in named:
            self._blocks.forget(message.id)
        is_about_control = event.type in _CHANGES_OF_CONTROL or any(message.role == "operator" for message in named)
        changed: dict[str, Any] = {
            "messages": [await self._message(message) for message in named],
            "control": await self._control() if is_about_control else None,
            "is_stale": event.type == "messages.deleted",  # the frame shows what is gone
        }
        if event.type in _COMINGS:
            changed |= await self._coming(event.seq)
        return sse.event("change", changed, place=sse.event_id(event.seq, happened.position))

    async def _message(self, message: Message) -> dict[str, Any]:
        html = await as_message(self._context, self._request, message)
        return {"id": message.id, "seq": message.seq, "role": message.role, "html": html}

    async def _control(self) -> dict[str, str] | None:
        request = self._request
        with suppress(NotFound):  # deleted meanwhile
            found = await self._context.services.conversations.read(
                request.principal, request.chatbot, request.query.get("id", "")
            )
            return as_control(found)
        return None

    async def _coming(self, seq: int) -> dict[str, Any]:
        """Who came or went, and whether they are to be rated."""
        request, threads = self._request, self._context.services.conversations.threads
        page = await threads.page(request.principal, request.chatbot, request.query.get("id", ""), before=seq + 1, limit=1)
        line = next((as_line(each) for each in page.lines if each.seq == seq), None)
        unrated = page.unrated
        csat = {"seq": seq, "name": unrated.operator} if unrated is not None and unrated.seq == seq else None
        return {"line": line, "csat": csat}
