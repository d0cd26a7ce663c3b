"""The widget on a pretend shop, with an editor of its looks that writes the tag to copy.

Idea: the shop is the widget's own page, shown in a frame, so it meets the widget as any site does: by the tag alone. Invariant:
only those who may manage access see it, since a widget key is made here, good on this machine alone.
"""

from __future__ import annotations

from urllib.parse import urlencode

from starlette.responses import Response

from gigachat_server.errors import NotFound
from gigachat_server.ids import is_id
from gigachat_server.pages.context import PageContext, redirect
from gigachat_server.pages.request import PageRequest
from gigachat_server.records import Chatbot, WidgetKey, WidgetSettings
from gigachat_server.store import chatbots
from gigachat_server.store.database import Reader

DEMO_HOSTNAMES = ("localhost", "127.0.0.1")
_MOST_LISTED = 100
# The shop shows our script and our frame, as a site with a strict policy would.
_SHOP_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; frame-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
_EDITOR_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; frame-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


async def show(request: PageRequest[None], context: PageContext) -> Response:
    """The editor, around the shop."""
    listed = await _chatbots(request, context)
    chosen = _chosen(listed, request.query.get("chatbot", ""))
    key = None if chosen is None else await _key(request, context, chosen)
    return await context.page(
        request,
        "demo.html",
        headers={"Content-Security-Policy": _EDITOR_POLICY},
        chatbots=listed,
        chatbot=chosen,
        key=key,
        settings=key.settings if key else WidgetSettings(),
        address=request.address,
    )


async def shop(request: PageRequest[None], context: PageContext) -> Response:
    """The pretend shop: its script puts the tag in that the editor has written."""
    return await context.page(request, "shop.html", headers={"Content-Security-Policy": _SHOP_POLICY})


async def _chatbots(request: PageRequest[None], context: PageContext) -> list[Chatbot]:
    async def read(reader: Reader) -> list[Chatbot]:
        return await chatbots.list_chatbots(
            reader, request.account_id, among=request.principal.reachable, after=None, limit=_MOST_LISTED
        )

    return await context.services.database.read(read)


def _chosen(listed: list[Chatbot], wanted: str) -> Chatbot | None:
    if not wanted:
        return next(iter(listed), None)
    found = next((each for each in listed if each.id == wanted), None) if is_id(wanted) else None
    if found is None:
        raise NotFound
    return found


async def _key(request: PageRequest[None], context: PageContext, chatbot: Chatbot) -> WidgetKey | None:
    """One that is good on this machine."""
    listed = await context.services.widget_keys.list(request.principal, chatbot)
    return next((key for key in listed if key.is_live and set(DEMO_HOSTNAMES) <= set(key.hostnames)), None)


async def create_key(request: PageRequest[None], context: PageContext) -> Response:
    """A widget key for this machine, and for the name that the browser knows it by."""
    chatbot = _chosen(await _chatbots(request, context), request.form.get("chatbot", ""))
    if chatbot is None:
        raise NotFound
    host = request.origin.partition("://")[2].rpartition(":")[0].strip("[]")
    hostnames = tuple(dict.fromkeys((*DEMO_HOSTNAMES, *([host] if host else []))))
    await context.services.widget_keys.create(
        request.principal,
        chatbot,
        name="demo",
        hostnames=hostnames,
        settings=WidgetSettings(sources="full"),
        is_enabled=True,
    )
    return redirect("/widget/demo?" + urlencode({"chatbot": chatbot.id}))
