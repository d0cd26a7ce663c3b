"""The one stream of an inbox page: the list as it changes, who waits, and all that happens in the conversation that is open.

Idea: the list is read anew whenever something happened in one of its chatbots, at most every quarter of a second, and what
differs from what the page was told is sent; so no order of events can leave a row that is not listed. The conversation goes on
from the place that `Last-Event-ID` names. Invariant: without anything happening, nothing is read, but for what shows that the
operator whose page it is is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any

from starlette.responses import Response

from gigachat_server.access.principal import Principal
from gigachat_server.access.scopes import Scope
from gigachat_server.access.speakers import CLIENT_PREFIX
from gigachat_server.api import sse
from gigachat_server.chat.feed import FeedDelta, FeedEvent, FeedTyping, Place
from gigachat_server.edge.problem import problem
from gigachat_server.errors import GigachatError, NotFound
from gigachat_server.ids import is_id
from gigachat_server.inbox.overview import LINES, Desk, Person, Rows
from gigachat_server.pages.context import PageContext
from gigachat_server.pages.inbox import SHOWN_MESSAGES, account_of, asked_for, chatbots_of, rows_of
from gigachat_server.pages.inbox_views import counts_of, desk_of, line_of, note_of, person_of, row_of, said
from gigachat_server.pages.merged import merged
from gigachat_server.pages.request import PageRequest, me_of
from gigachat_server.records import Chatbot

_GATHER_S = 0.25
_REST = 4  # times as long as a look took
_LOOK_ANYWAY_S = 60.0


async def follow(request: PageRequest[None], context: PageContext) -> Response:
    """`open`: the chatbot and the conversation on the page, `after`: the place that it shows."""
    page = _Page(request, context)
    place = sse.place_of(request)
    streams = [page.list_changes()]
    if page.is_attended:
        streams.append(page.attendance())
    if request.query.get("open"):
        chatbot = await page.find_open()
        streams.append(page.thread_changes(chatbot, place))
    return sse.EventStream(page.pieces(merged(*streams)))


class _Page:
    """One inbox on one screen."""

    def __init__(self, request: PageRequest[None], context: PageContext) -> None:
        self._request = request
        self._context = context
        self._me = me_of(request)
        self._asked = asked_for(request.query)
        self._open, _, self._conversation_id = request.query.get("open", "").partition("/")
        self._admission = sse.Admission(request)
        self._told_rows: dict[str, str] = {}
        self._told: dict[str, Any] = {}

    @property
    def is_attended(self) -> bool:
        """Whether it shows that somebody is there who may answer."""
        return bool(self._me) and account_of(self._request).may(Scope.MESSAGES_INJECT)

    async def find_open(self) -> Chatbot:
        """The chatbot of the conversation on the page. Raises `NotFound`."""
        found = await chatbots_of(self._request, self._context) if is_id(self._open) else []
        for each in found:
            if each.id == self._open:
                return each
        raise NotFound

    async def pieces(self, changes: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        """Ends with `gone` once the visitor may not see it any more."""
        yield sse.PING
        try:
            async for piece in changes:
                yield piece
        except GigachatError as error:
            if error.status in (401, 403, 404):  # else the page follows anew by itself, from where it is
                yield sse.event("gone", problem(error, instance=self._request.path, request_id="", root=self._request.root))
        finally:
            await changes.aclose()

    # --- the list ---

    async def list_changes(self) -> AsyncGenerator[bytes, None]:
        """The rows that differ from what the page was told, with the order of all; the counts; a ping while nothing does."""
        loop, who = asyncio.get_running_loop(), account_of(self._request)
        chatbots = await chatbots_of(self._request, self._context)
        looked_at = loop.time()
        async with aclosing(self._context.services.overview.changes(who, chatbots, idle_s=sse.PING_S)) as changes:
            async for is_woken in changes:
                await self._admission.check(is_fact=is_woken)
                if not is_woken and loop.time() - looked_at < _LOOK_ANYWAY_S:
                    yield sse.PING
                    continue
                begun = looked_at = loop.time()
                for piece in await self._differences(await chatbots_of(self._request, self._context)):
                    yield piece
                await asyncio.sleep(max(_GATHER_S, _REST * (loop.time() - begun)))

    async def _differences(self, chatbots: list[Chatbot]) -> list[bytes]:
        rows = await rows_of(self._request, self._context, chatbots, self._asked)
        found = await self._rendered(rows, chatbots)
        changed = [{"key": key, "html": html} for key, html in found.items() if self._told_rows.get(key) != html]
        pieces = []
        if changed or list(found) != list(self._told_rows) or not self._told:
            pieces.append(sse.event("row", {"order": list(found), "changed": changed}))
        self._told_rows = found
        waits = [[f"{each.chatbot_id}/{each.conversation_id}", each.since, each.operator] for each in rows.waits]
        counted = {**counts_of(rows.waits, rows.mine), "waits": waits}
        if counted != self._told:
            pieces.append(sse.event("counts", counted))
        self._told = counted
        return pieces

    async def _rendered(self, rows: Rows, chatbots: list[Chatbot]) -> dict[str, str]:
        by_id = {each.id: each for each in chatbots}
        views = [row_of(each, by_id, me=self._me, view_name=self._asked.view) for each in rows.listed]
        query = self._asked.query()
        html = await self._context.render("inbox_rows.html", rows=views, query=query, me=self._me, separator="\0", open_key="")
        return dict(zip((each.key for each in views), html.split("\0")[:-1], strict=True))

    # --- who is there ---

    async def attendance(self) -> AsyncGenerator[bytes, None]:
        """Its operator is, for as long as it is open; it is told who of the others is, and what its own operator chose."""
        async with aclosing(self._context.services.presence.attend(lambda: account_of(self._request))) as attended:
            async for each in attended:
                chosen = next((its.status for its in each if its.operator == self._me), "available")
                there = [its.operator for its in each if its.is_available]
                yield sse.event("presence", {"status": chosen, "there": there})

    # --- the conversation that is open ---

    async def thread_changes(self, chatbot: Chatbot, place: Place) -> AsyncGenerator[bytes, None]:
        who = self._request.principal.within(chatbot)
        door = self._context.services.conversations
        try:
            last_seq = (await door.read(who, chatbot, self._conversation_id)).last_seq
            if last_seq - place.seq > SHOWN_MESSAGES:  # a page goes no further back
                yield sse.event("stale", {})
                return
            followed = await door.follow(who, chatbot, self._conversation_id, place, idle_s=_LOOK_ANYWAY_S, with_typing=True)
            try:
                async for each in followed:
                    await self._admission.check(is_fact=isinstance(each, FeedEvent))
                    self._request.principal.within(chatbot)  # as they are by now
                    match each:
                        case FeedDelta():
                            yield sse.delta(each.said, each.seq)
                        case FeedTyping():
                            yield sse.event("typing", {"names": each.names})
                        case FeedEvent():
                            yield await self._change(chatbot, each)
                        case None:
                            pass  # the list keeps the stream alive
            finally:
                await followed.aclose()
        except NotFound as error:
            yield sse.event("closed", problem(error, instance=self._request.path, request_id="", root=self._request.root))

    async def _change(self, chatbot: Chatbot, happened: FeedEvent) -> bytes:
        """What the event put into the thread, and how the conversation stands now."""
        event, who = happened.event, self._request.principal.within(chatbot)
        note_id = str(event.data.get("note_id", ""))
        gone = [f"note-{note_id}"] if event.type == "note.deleted" else []
        changed: dict[str, Any] = {"items": [], "removed": gone, "is_stale": event.type == "messages.deleted"}
        with suppress(NotFound):  # deleted meanwhile: the stream tells so next
            wanted = note_id if event.type == "note.created" else None
            desk, person, note = await self._context.services.overview.now(who, chatbot, self._conversation_id, note_id=wanted)
            named = [each for each in (happened.prompt, happened.message) if each is not None]
            items = [await self._item("inbox_message.html", said(each, desk, person)) for each in named]
            if event.type in LINES:
                items.append(await self._item("inbox_line.html", line_of(event)))
            if note is not None:
                items.append(await self._item("inbox_note.html", note_of(note)))
            spoke = [each.user_id.removeprefix(CLIENT_PREFIX) for each in named]  # who is not writing any more
            changed.update(items=items, spoke=spoke, **await self._standing(who, chatbot, desk, person))
        return sse.event("change", changed, place=sse.event_id(event.seq, happened.position))

    async def _standing(self, who: Principal, chatbot: Chatbot, desk: Desk, person: Person) -> dict[str, str]:
        """What stands around the thread."""
        render, me, query = self._context.render, self._me, self._asked.query()
        may_act, may_fix = (bool(me) and who.may(scope) for scope in (Scope.MESSAGES_INJECT, Scope.LEARNING_WRITE))
        shown = desk_of(desk, person, chatbot)
        told = person_of(person, desk.conversation, chatbot, me=me)
        return {
            "head": await render("inbox_head.html", desk=shown, me=me, may_act=may_act, query=query),
            "proposals": await render("inbox_proposals.html", desk=shown, me=me, may_act=may_act),
            "person": await render("inbox_person.html", person=told, may_fix=may_fix, query=query),
        }

    async def _item(self, template: str, item: Any) -> dict[str, Any]:
        html = await self._context.render(template, item=item, me=self._me)
        return {"id": item.id, "seq": item.seq, "html": html}
