"""A real gigachat with its pages behind a real server on loopback, and a visitor with a cookie like a browser's."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import aiohttp
import uvicorn
from yarl import URL

from gigachat_server import app
from gigachat_server.clock import Clock, system_clock
from gigachat_server.models.base import ChatModel
from gigachat_server.models.embedders.hashing_embedder import HashingEmbedder
from gigachat_server.models.fake import ScriptedModel
from gigachat_server.pages import Web
from gigachat_server.settings import Settings
from tests.harness import Api, Reply

# A chatbot of these properties has its document as a source, whatever is asked.
MATCHING = {"documents": {"results": {"match_threshold": 0}}}


class Change(NamedTuple):
    """An event of the page's stream."""

    place: str
    name: str
    data: dict[str, Any]


def html_of(found: list[Change], message_id: str) -> str:
    """The message as the page shows it after all that; empty while it does not."""
    shown = [each["html"] for change in found for each in change.data.get("messages", ()) if each["id"] == message_id]
    return str(shown[-1]) if shown else ""


def _is_settled(found: list[Change], prompt_id: str) -> bool:
    """Whether the page shows what came of it: a reply beside it, or a note."""
    html = html_of(found, prompt_id)
    is_answered = any(prompt_id in (each["id"] for each in change.data.get("messages", ())[:-1]) for change in found)
    return "data-turn" not in html and (is_answered or 'class="note' in html or 'class="message operator' in html)


class Visitor:
    """Somebody with a browser. Sends what browsers send: the cookie, and that a form comes from the same origin."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.cookie = ""
        self.csrf = ""
        self.session = session

    async def call(self, method: str, path: str, *, raw: bytes | None = None, headers: dict[str, str]) -> Reply:
        sent = dict(headers)
        if self.cookie:
            sent["Cookie"] = f"gigachat_session={self.cookie}"
        data = None if raw is None else io.BytesIO(raw)
        url = URL(self.url + path, encoded=True)
        async with self.session.request(method, url, data=data, headers=sent, allow_redirects=False) as answer:
            named = {name.title(): value for name, value in answer.headers.items()}
            return Reply(answer.status, named, (await answer.read()).decode())

    async def get(self, path: str, **headers: str) -> Reply:
        return await self.call("GET", path, headers=headers)

    async def post(self, path: str, headers: dict[str, str] | None = None, **fields: str) -> Reply:
        """A form of ours. `headers` replace those that the browser would send."""
        if headers is None:
            headers = {"Sec-Fetch-Site": "same-origin"}
        if self.csrf:
            fields.setdefault("csrf", self.csrf)
        sent = {"Content-Type": "application/x-www-form-urlencoded", **headers}
        return await self.call("POST", path, raw=urlencode(fields).encode(), headers=sent)

    async def send(self, path: str, chatbot: str, *, conversation: str = "c1", key: str = "", **fields: Any) -> Reply:
        """What the page's script sends. `chatbot` is a path, as the API's client has it."""
        wanted = {"chatbot_id": chatbot.removeprefix("/chatbots/"), "conversation_id": conversation, **fields}
        sent = {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/json", "X-CSRF-Token": self.csrf}
        if key:
            sent["Idempotency-Key"] = key
        return await self.call("POST", path, raw=json.dumps(wanted).encode(), headers=sent)

    async def say(self, chatbot: str, prompt: str, **more: str) -> Reply:
        """To try the chatbot out, or as `operator`."""
        return await self.send("/web/chat", chatbot, prompt=prompt, **more)

    async def ask(self, chatbot: str, prompt: str, *, conversation: str = "c1", **more: str) -> list[Change]:
        """Say it, and what the page was told of by the time that it was settled."""
        said = await self.say(chatbot, prompt, conversation=conversation, **more)
        assert said.status == 201, said.text
        return await self.follow(chatbot, conversation, until=lambda found: _is_settled(found, said.body["message_id"]))

    async def follow(
        self, chatbot: str, conversation: str = "c1", *, place: str = "0", until: Callable[[list[Change]], bool]
    ) -> list[Change]:
        """What the page is told of from that place on."""
        found: list[Change] = []
        query = {"chatbot": chatbot.removeprefix("/chatbots/"), "conversation": conversation, "after": place}
        headers = {"Cookie": f"gigachat_session={self.cookie}"}
        async with self.session.get(f"{self.url}/web/chat/events", params=query, headers=headers) as answer:
            assert (answer.status, answer.content_type) == (200, "text/event-stream")
            held = ""
            async for piece in answer.content.iter_any():
                *blocks, held = (held + piece.decode()).split("\n\n")
                for block in blocks:
                    fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
                    if fields:
                        found.append(Change(fields.get("id", ""), fields["event"], json.loads(fields["data"])))
                        if until(found):
                            return found
        return found

    async def sign_in(self, *, key: str = "", token: str = "") -> Reply:
        reply = await self.post("/login", key=key, token=token)
        found = re.match(r"gigachat_session=([\w-]+);", reply.headers.get("Set-Cookie", ""))
        if found:
            self.cookie = found[1]
            page = await self.get("/keys")
            self.csrf = re.findall(r'name="csrf" value="([\w-]+)"', page.text)[0]
        return reply


class Pages:
    """The server under test, its API's client, and somebody who is signed in by a link."""

    def __init__(self, api: Api, web: Web, visitor: Visitor, stranger: Visitor) -> None:
        self.api = api
        self.web = web
        self.loop = asyncio.get_running_loop()
        self.visitor = visitor
        self.stranger = stranger

    def link(self) -> str:
        """For a browser's thread: a path that signs in, once."""
        return asyncio.run_coroutine_threadsafe(self.web.login_path(), self.loop).result(10)

    async def token(self) -> str:
        return (await self.web.login_path()).removeprefix("/login?token=")


@asynccontextmanager
async def pages(
    folder: Path, *, model: ChatModel | None = None, clock: Clock = system_clock, **settings: Any
) -> AsyncIterator[Pages]:
    """A server on a store in this folder. The model says "Hi." unless told otherwise."""
    chosen = Settings(data=str(folder), shutdown_timeout_s=0.2, **settings)
    model = model or ScriptedModel(["Hi."])
    async with app.running(chosen, clock=clock, model=model, embedder=HashingEmbedder()) as services:
        _, secret = await services.key_ring.create(services.account.id, "test")
        public = app.PublicApp(services)
        # Named as TCP, or asyncio would not set TCP_NODELAY on its connections, and every answer would take 40 ms more.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.bind(("127.0.0.1", 0))
        listener.listen(100)
        server = uvicorn.Server(
            uvicorn.Config(public, lifespan="off", log_level="warning", proxy_headers=False, timeout_graceful_shutdown=1)
        )
        server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        jar = aiohttp.DummyCookieJar()
        try:
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), cookie_jar=jar) as session:
                visitor = Visitor(url, session)
                found = Pages(Api(services, url, secret, session), public.web, visitor, Visitor(url, session))
                await visitor.sign_in(token=await found.token())
                yield found
        finally:
            server.should_exit = True
            services.feed.close()
            await serving


# --- what a page is made of ---

# Elements that templates and the markdown renderer make. Any other in a page came from a payload.
_ELEMENTS = {
    *("html", "head", "meta", "title", "link", "script", "body", "header", "nav", "main", "section", "article", "div"),
    *("form", "input", "button", "label", "select", "option", "textarea", "noscript", "details", "summary", "time"),
    *("figure", "figcaption", "g", "line", "circle", "text", "tspan"),
    *("fieldset", "legend", "rect", "aside", "b", "dl", "dt", "dd", "progress"),
    *("a", "bdi", "img", "svg", "path", "span", "kbd", "p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "hr", "br"),
    *("table", "caption", "thead", "tbody", "tr", "th", "td", "pre", "code", "blockquote", "strong", "em", "s", "mark"),
}
_ADDRESSES = ("href", "src", "action", "formaction", "srcset", "poster", "data", "xlink:href", "background")


class Page(HTMLParser):
    """Collects what in a page could run, or fetch from elsewhere. `dangers` is empty for a page that can do neither."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.dangers: list[str] = []
        self.texts: list[str] = []
        self.links: list[dict[str, str]] = []
        self.ids: list[str] = []
        self.feed(html)
        self.close()

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag not in ("a", "strong", "em", "s", "code"):
            self.texts.append(" ")
        if tag not in _ELEMENTS:
            self.dangers.append(f"<{tag}>")
        if tag == "script" and not given.get("src", "").startswith("/static/"):
            self.dangers.append("inline script")
        for name, value in given.items():
            if name.startswith("on") or name == "style":
                self.dangers.append(f"{name}={value}")
            if name in _ADDRESSES:
                self._check_address(tag, value, given)
        if "id" in given:
            self.ids.append(given["id"])

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def _check_address(self, tag: str, value: str, given: dict[str, str]) -> None:
        if value.startswith(("/", "#", "?")) and not value.startswith(("//", "/\\")):
            return
        is_link = tag == "a" and value.startswith(("http://", "https://"))
        if is_link and given.get("rel") == "noopener noreferrer nofollow":
            self.links.append(given)
        else:
            self.dangers.append(f"<{tag}> to {value}")


def event_html(found: list[Change]) -> str:
    """All the HTML that the page was told of."""
    return "".join(each["html"] for change in found for each in change.data.get("messages", ()))


def field(html: str, name: str) -> str:
    """The value of a hidden field."""
    return unescape(re.findall(rf'name="{name}" value="([^"]*)"', html)[0])
