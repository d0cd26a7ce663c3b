"""The inbox: who waits and what was said, as a list, a thread and a side panel. The page is whole as it comes from the server;
`inbox_events.py` keeps it so.

Invariant: what is listed or opened is of the visitor's own chatbots, and what the stream brings is made by the same functions and
templates as the page, so that a page that was offline ends up as one that is loaded anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from starlette.responses import Response

from gigachat_server.access.principal import Principal
from gigachat_server.access.scopes import Scope
from gigachat_server.errors import Forbidden, NotFound
from gigachat_server.inbox.overview import MOST_CHATBOTS, VIEWS, Rows, View, readable
from gigachat_server.pages.context import PageContext
from gigachat_server.pages.inbox_views import ThreadView, counts_of, row_of, thread_of
from gigachat_server.pages.request import PageRequest, me_of
from gigachat_server.records import Chatbot

SHOWN_MESSAGES = 100
_PER_PAGE = 50
_MOST_ROWS = 500
_LONGEST_SEARCH = 500


class Asked(msgspec.Struct, frozen=True):
    """Which list is on the page: a view, or what a search finds; of one chatbot, or all."""

    view: View
    search: str
    chatbot_id: str
    limit: int

    def query(self, **changed: object) -> str:
        """Of an address that leads to the same list, but for what is changed."""
        wanted = {"view": self.view, "q": self.search, "chatbot": self.chatbot_id, "n": self.limit, **changed}
        usual = {"view": "waiting", "q": "", "chatbot": "", "n": _PER_PAGE}
        return urlencode({name: value for name, value in wanted.items() if value != usual[name]})


async def show(request: PageRequest[None], context: PageContext) -> Response:
    asked, me = asked_for(request.query), me_of(request)
    mine = await chatbots_of(request, context)
    rows = await rows_of(request, context, mine, asked)
    opened = request.named.get("conversation_id", "")
    thread, colleagues = None, []
    if opened:
        thread = await _thread(request, context, opened)
        if me and request.may(Scope.MESSAGES_INJECT):
            colleagues = [each.handle for each in await context.services.operators.colleagues(request.principal, request.chatbot)]
    listed = {each.id: each for each in mine}
    return await context.page(
        request,
        "inbox.html",
        asked=asked,
        views=VIEWS,
        chatbots=mine,
        rows=[row_of(each, listed, me=me, view_name=asked.view) for each in rows.listed],
        has_more=len(rows.listed) >= asked.limit and asked.limit < _MOST_ROWS and not asked.search,
        more=asked.query(n=min(asked.limit * 2, _MOST_ROWS)),
        counts=counts_of(rows.waits, rows.mine),
        open_key=f"{request.chatbot.id}/{quote(opened, safe='')}" if opened else "",
        conversation_id=opened,
        thread=thread,
        chatbot=request.chatbot if opened else None,
        colleagues=colleagues,
        me=me,
        may_act=bool(me) and request.may(Scope.MESSAGES_INJECT),
        may_fix=bool(me) and request.may(Scope.LEARNING_WRITE),
        now=context.services.clock(),
    )


def asked_for(query: Mapping[str, str]) -> Asked:
    """What an address asks for, as far as it makes sense."""
    view, count = query.get("view", ""), query.get("n", "")
    limit = int(count) if count.isascii() and count.isdigit() and len(count) <= 4 else _PER_PAGE
    return Asked(
        view=next((each for each in VIEWS if each == view), "waiting"),
        search=query.get("q", "").strip()[:_LONGEST_SEARCH],
        chatbot_id=query.get("chatbot", ""),
        limit=min(max(limit, 1), _MOST_ROWS),
    )


async def chatbots_of(request: PageRequest[Any], context: PageContext) -> list[Chatbot]:
    """Those whose conversations the visitor may read from where they are."""
    everywhere = account_of(request)
    found = await context.services.chatbots.list(everywhere, after=None, limit=MOST_CHATBOTS)
    return [each for each in readable(everywhere, found) if _lets_in(request, each)]


async def rows_of(request: PageRequest[Any], context: PageContext, chatbots: list[Chatbot], asked: Asked) -> Rows:
    """The list that is asked for. Raises `SearchBusy`."""
    chosen = [each for each in chatbots if asked.chatbot_id in ("", each.id)]
    overview, everywhere = context.services.overview, account_of(request)
    if asked.search:
        return await overview.found(everywhere, chosen, asked.search, limit=asked.limit)
    return await overview.rows(everywhere, chosen, asked.view, limit=asked.limit)


async def _thread(request: PageRequest[Any], context: PageContext, conversation_id: str) -> ThreadView:
    read = await context.services.overview.thread(request.principal, request.chatbot, conversation_id, limit=SHOWN_MESSAGES)
    return thread_of(read, request.chatbot, me=me_of(request))


def account_of(request: PageRequest[Any]) -> Principal:
    """The visitor as they are in all their chatbots, also where the address names one."""
    assert request.session is not None
    return request.session.principal


def _lets_in(request: PageRequest[Any], chatbot: Chatbot) -> bool:
    try:
        request.check_addresses(chatbot.config.restrictions)
    except (Forbidden, NotFound):
        return False
    return True
