"""What a page loads of us: the loader, the settings of its key, and the frame with the chat.

Idea: the browser keeps the frame off pages that its key does not list (`frame-ancestors`), so no other page can have anybody
talk, whatever it sends. Invariant: a key that is unknown, disabled or revoked opens nothing, and its answer tells no more.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
from starlette.responses import Response

from gigachat_server.access.restrictions import is_listed
from gigachat_server.errors import NotFound
from gigachat_server.records import Chatbot, WidgetKey
from gigachat_server.widget.context import WidgetContext
from gigachat_server.widget.files import ServedFile, accepts_gzip, answer, compress
from gigachat_server.widget.request import WidgetRequest
from gigachat_server.widget.strings import Strings

_LOADER_CACHE = "public, max-age=3600"
_SETTINGS_CACHE = "public, max-age=300"
_PLACE = b"const GIVEN = null;"
_LABELS = ("open", "close", "unread")
_LOCAL = ("localhost", "127.0.0.1", "[::1]")
_UNKNOWN = "no live widget key of this server is named"
_NOT_LISTED = "its key does not list this page's hostname"


async def loader(request: WidgetRequest[None], context: WidgetContext) -> Response:
    """The script itself; with a key in its address, also that key's settings, so that the page asks for nothing else."""
    file = context.files["widget.js"]
    if "key" not in request.query:
        return answer(file, request.headers, cache=_LOADER_CACHE)
    found = await _settings(request, context, request.query.get("chatbot", ""), request.headers.get("referer"))
    content = file.content.replace(_PLACE, b"const GIVEN = " + msgspec.json.encode(found) + b";", 1)
    return answer(_made(content), request.headers, cache=_SETTINGS_CACHE, by="Accept-Language, Referer")


async def settings(request: WidgetRequest[None], context: WidgetContext) -> Response:
    """A module, since a page that lets our script run lets it import: no other permission is asked of its policy."""
    found = await _settings(request, context, request.named["chatbot_id"], request.headers.get("origin"))
    content = b"export default " + msgspec.json.encode(found) + b";\n"
    return answer(_made(content), request.headers, cache=_SETTINGS_CACHE, by="Accept-Language, Origin")


async def _settings(request: WidgetRequest[None], context: WidgetContext, chatbot_id: str, page: str | None) -> dict[str, Any]:
    """What the loader shows before the chat is opened, or why it shows nothing; no error, which consoles would show besides."""
    opened = await context.services.widget_keys.find_live(chatbot_id, request.query.get("key", ""))
    if opened is None:
        return {"refused": _UNKNOWN}
    chatbot, key = opened
    if page is not None and not is_listed(page, key.hostnames):
        return {"refused": _NOT_LISTED}
    words, chosen = request.strings.words, key.settings
    return {
        "name": chatbot.name,
        "accent": chosen.accent,
        "side": chosen.side,
        "offset_x": chosen.offset_x,
        "offset_y": chosen.offset_y,
        "theme": chosen.theme,
        "greeting": chosen.greeting or "",
        "starters": chosen.starters,
        "labels": {name: words[name] for name in _LABELS},
        "panel_url": request.origin + context.files.url("panel.js"),
    }


async def show(request: WidgetRequest[None], context: WidgetContext) -> Response:
    """The frame. On its own, as a page, only if the key says so."""
    opened = await context.services.widget_keys.find_live(request.named["chatbot_id"], request.query.get("key", ""))
    if opened is None:
        raise NotFound
    chatbot, key = opened
    if request.headers.get("sec-fetch-dest") == "document" and not key.settings.allow_direct:
        raise NotFound
    response = await _frame(request, context, chatbot, key, is_direct=False)
    response.headers["Content-Security-Policy"] = policy(key.hostnames)
    return response


async def show_directly(request: WidgetRequest[None], context: WidgetContext) -> Response:
    """The same chat as a page, for those without a site, where one of the chatbot's keys allows that."""
    opened = await context.services.widget_keys.find_direct(request.named["chatbot_id"])
    if opened is None:
        raise NotFound
    response = await _frame(request, context, *opened, is_direct=True)
    response.headers["Content-Security-Policy"] = policy(())
    return response


async def _frame(
    request: WidgetRequest[None], context: WidgetContext, chatbot: Chatbot, key: WidgetKey, *, is_direct: bool
) -> Response:
    strings = request.strings
    html = await context.render(
        "frame.html",
        chatbot=chatbot,
        settings=key.settings,
        locale=strings.locale,
        direction=strings.direction,
        t=strings.words,
        is_direct=is_direct,
        given=_given(context, chatbot, key, strings),
    )
    headers = {"Cache-Control": "no-store", "Vary": "Accept-Encoding, Accept-Language"}
    if not accepts_gzip(request.headers):
        return Response(html, 200, headers, "text/html")
    return Response(compress(html.encode()), 200, {**headers, "Content-Encoding": "gzip"}, "text/html")


def _given(context: WidgetContext, chatbot: Chatbot, key: WidgetKey, strings: Strings) -> str:
    """What the scripts know, as JSON that can stand in a script element."""
    known = {
        "chatbot": chatbot.id,
        "key": key.key,
        "root": context.root,
        "locale": strings.locale,
        "hostnames": key.hostnames,
        "settings": {
            name: getattr(key.settings, name)
            for name in ("theme", "accent", "greeting", "starters", "ask_contact", "handoff_button")
        },
        "strings": strings.words,
    }
    return msgspec.json.encode(known).decode().replace("<", "\\u003c")


def policy(hostnames: tuple[str, ...]) -> str:
    """What the frame may load, and which pages may show it; none: it is a page of its own."""
    ancestors = [source for hostname in hostnames for source in _sources(hostname)] or ["'none'"]
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        f"form-action 'none'; base-uri 'none'; frame-ancestors {' '.join(ancestors)}"
    )


def _sources(hostname: str) -> list[str]:
    """Over plain http on this machine alone."""
    name = hostname.encode("idna").decode() if not hostname.isascii() else hostname
    return [f"https://{name}:*", *([f"http://{name}:*"] if name in _LOCAL or name.endswith(".localhost") else [])]


def _made(content: bytes) -> ServedFile:
    return ServedFile(content, compress(content), "text/javascript", hashlib.sha256(content).hexdigest()[:16])
