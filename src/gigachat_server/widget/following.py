"""What a frame is told while it follows a conversation, and how messages, control and comings and goings look to it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from gigachat_server.api import sse
from gigachat_server.chat.conversations import BOT
from gigachat_server.chat.events.recorder import CLOSED, RELEASED, TAKEN_OVER
from gigachat_server.chat.feed import FeedEvent
from gigachat_server.chat.threads import Coming
from gigachat_server.errors import NotFound
from gigachat_server.pages.following import Following
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


class FrameFollowing(Following):
    """One frame that follows a conversation."""

    def __init__(self, request: WidgetRequest[None], context: WidgetContext) -> None:
        super().__init__(request)
        self._request = request
        self._context = context

    def typing(self, names: Sequence[str]) -> bytes:
        return sse.event("typing", {"is_typing": bool(names), "names": names})

    async def changed(self, happened: FeedEvent, named: Sequence[Message]) -> dict[str, Any] | None:
        """With who answers, came or went, if it is about that; of what is for staff alone, nothing."""
        event = happened.event
        if event.type in STAFF_ONLY:
            return None
        is_about_control = event.type in _CHANGES_OF_CONTROL or any(message.role == "operator" for message in named)
        changed: dict[str, Any] = {
            "messages": [await self._message(message) for message in named],
            "control": await self._control() if is_about_control else None,
        }
        if event.type in _COMINGS:
            changed |= await self._coming(event.seq)
        return changed

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
