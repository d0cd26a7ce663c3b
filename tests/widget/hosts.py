"""Other people's pages that show the widget: strict, hostile, or hardly a page at all; on another site than the server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from gigachat_server.pages.rendering import FOLDER as TEMPLATES
from gigachat_server.pages.rendering import templates_of
from gigachat_server.pages.static_files import FOLDER as STATIC
from gigachat_server.widget.strings import strings
from tests.widget.visits import Visit

STRICT = (
    "default-src 'none'; style-src 'none'; script-src {base}; frame-src {base}; "
    "require-trusted-types-for 'script'; trusted-types 'none'; report-uri /reports"
)
HOSTILE = """<style>*{display:none!important} button{all:unset!important} iframe{width:1px!important}</style>"""
# Each key that reaches the page is counted.
LISTENING = """<script>window.heard = []; for (const type of ["keydown", "keypress", "keyup"])
document.addEventListener(type, (event) => { heard.push(event.key); event.preventDefault(); });</script>"""


class Host:
    """A site of one page in several forms, and what browsers reported about it."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self.server_url = visit.api.url  # as its pages name it
        self.reports: list[str] = []
        self.url = ""
        self.other_url = ""  # the same pages, on a name that the key does not list

    def tag(self, **data: str) -> str:
        given = {"chatbot": self._visit.chatbot_id, "key": self._visit.key, **data}
        attributes = " ".join(f'data-{name}="{value}"' for name, value in given.items())
        return f'<script async src="{self.server_url}/widget.js" {attributes}></script>'

    async def answer(self, request: web.Request) -> web.Response:
        kind = request.match_info["kind"]
        headers = {}
        head, body = '<meta name="viewport" content="width=device-width, initial-scale=1">', self.tag(**dict(request.query))
        match kind:
            case "strict":
                headers["Content-Security-Policy"] = STRICT.format(base=self.server_url)
            case "hostile":
                body = HOSTILE + body
            case "listening":
                body = LISTENING + body
            case "twice":
                body = body + body
            case "short":
                url = f"{self.server_url}/widget.js?chatbot={self._visit.chatbot_id}&key={self._visit.key}"
                body = f'<script async src="{url}"></script>'
            case "sandboxed":
                inner = self.tag().replace('"', "&quot;")
                body = f'<iframe sandbox="allow-scripts" srcdoc="{inner}"></iframe>'
            case "bare":
                body = ""
            case "desktop":
                head = ""
            case "shop":
                return web.Response(text=_shop(request.query.get("locale", "en"), body), content_type="text/html")
        icon = '<link rel="icon" href="data:,">'
        text = f'<!doctype html><html lang="en"><head><meta charset="utf-8">{head}{icon}<title>Shop</title></head>'
        if kind == "strict":
            text = text.replace(icon, "")
        return web.Response(
            text=f"{text}<body><h1>Shop</h1><p>{kind}</p>{body}</body></html>", content_type="text/html", headers=headers
        )

    async def report(self, request: web.Request) -> web.Response:
        text = await request.text()
        if "favicon.ico" not in text:  # the browser's own wish
            self.reports.append(text)
        return web.Response(status=204)

    async def nothing(self, request: web.Request) -> web.Response:
        return web.Response(status=404)


def _shop(locale: str, body: str) -> str:
    """The pretend shop of the demo."""
    page = templates_of(TEMPLATES).get_template("shop.html").render(static=lambda _: "data:,")
    style = (STATIC / "shop.css").read_text(encoding="utf-8")
    page = page.replace("</head>", f'<link rel="icon" href="data:,"><style>{style}</style></head>').replace(
        "</body>", f"{body}</body>"
    )
    return page.replace('lang="en"', f'lang="{locale}" dir="{strings(locale).direction}"')


@asynccontextmanager
async def hosting(visit: Visit) -> AsyncIterator[Host]:
    host = Host(visit)
    app = web.Application()
    app.router.add_post("/reports", host.report)
    app.router.add_get("/favicon.ico", host.nothing)
    app.router.add_get("/{kind}", host.answer)
    runner: Any = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    host.url, host.other_url = f"http://localhost:{port}", f"http://127.0.0.1:{port}"
    try:
        yield host
    finally:
        await runner.cleanup()
