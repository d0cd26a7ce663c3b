"""A real gigachat for a test: the app on the test's store, behind a real server on loopback, spoken to over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import uvicorn
from multidict import CIMultiDict
from yarl import URL

from gigachat_server import app
from gigachat_server.clock import Clock, system_clock
from gigachat_server.models.base import ChatModel, Embedder
from gigachat_server.models.embedders.hashing_embedder import HashingEmbedder
from gigachat_server.models.fake import ScriptedModel
from gigachat_server.services import Services
from gigachat_server.settings import Settings
from gigachat_server.work.pace import Pace
from tests import stores


class Reply(msgspec.Struct):
    """An answer as it came over the wire."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def body(self) -> Any:
        return json.loads(self.text)

    @property
    def code(self) -> str:
        """Of a problem; asserts that it is one, in full form."""
        assert self.headers["Content-Type"] == "application/problem+json", self.text
        body = self.body
        assert body["status"] == self.status
        assert {"type", "title", "status", "detail", "instance", "code", "request_id"} <= body.keys()
        return str(body["code"])

    @property
    def fields(self) -> set[str]:
        """The fields that a problem names."""
        return {error["field"] for error in self.body.get("errors", [])}

    @property
    def events(self) -> list[tuple[str, Any]]:
        """Of an event stream: (name, data) each; asserts that every event is one line of JSON."""
        found = []
        for block in self.text.split("\n\n"):
            lines = [line for line in block.split("\n") if line and not line.startswith(":")]
            if lines:
                if lines[0].startswith("id: "):
                    lines.pop(0)
                assert len(lines) == 2, block
                assert lines[0].startswith("event: ")
                assert lines[1].startswith("data: ")
                found.append((lines[0][7:], json.loads(lines[1][6:])))
        return found


class Api:
    """A client of the server under test. `services` is there to look behind the wire, not to reach around it."""

    def __init__(self, services: Services, url: str, key: str, session: aiohttp.ClientSession) -> None:
        self.services = services
        self.url = url
        self.key = key
        self._session = session

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        key: str | None = "",
    ) -> Reply:
        """`path` goes out as written. `key`: another key than the fixture's; None: no key."""
        sent: CIMultiDict[str] = CIMultiDict(headers or {})
        if key is not None:
            sent.setdefault("Authorization", f"Bearer {key or self.key}")
        content = raw if raw is not None else (None if body is None else json.dumps(body).encode())
        data = None if content is None else io.BytesIO(content)
        if data is not None:
            sent.setdefault("Content-Type", "application/json")
        url = URL(self.url + path, encoded=True)
        async with self._session.request(method, url, data=data, headers=sent, allow_redirects=False) as response:
            return Reply(
                response.status,
                {name.title(): value for name, value in response.headers.items()},
                (await response.read()).decode(),
            )

    async def get(self, path: str, **options: Any) -> Reply:
        return await self.call("GET", path, **options)

    async def post(self, path: str, body: Any = None, **options: Any) -> Reply:
        return await self.call("POST", path, body, **options)

    async def chatbot(self, **properties: Any) -> str:
        """The path of a new chatbot."""
        reply = await self.post("/chatbots", {"name": "Superbot", **properties})
        assert reply.status == 201, reply.text
        return f"/chatbots/{reply.body['id']}"

    async def push(self, chatbot: str, name: str, content: str) -> list[dict[str, Any]]:
        reply = await self.post(f"{chatbot}/documents", {"name": name, "content": content})
        assert reply.status == 201, reply.text
        chunks: list[dict[str, Any]] = reply.body
        return chunks

    async def say(
        self, chatbot: str, prompt: str, *, conversation: str = "c1", user: str = "ann@example.com", **more: Any
    ) -> list[dict[str, Any]]:
        reply = await self.post(
            f"{chatbot}/conversations", {"conversation_id": conversation, "user_id": user, "prompt": prompt, **more}
        )
        assert reply.status == 201, reply.text
        messages: list[dict[str, Any]] = reply.body
        return messages

    async def insist(self, chatbot: str, prompt: str, **more: Any) -> list[dict[str, Any]]:
        """Say it again for as long as too many prompts wait."""
        body = {"conversation_id": "c1", "user_id": "ann@example.com", "prompt": prompt, **more}
        while (reply := await self.post(f"{chatbot}/conversations", body)).status == 409:
            assert reply.code == "conversation_busy"
        assert reply.status == 201, reply.text
        messages: list[dict[str, Any]] = reply.body
        return messages

    async def messages(self, chatbot: str, conversation: str = "c1") -> list[dict[str, Any]]:
        reply = await self.get(f"{chatbot}/conversations/{conversation}/messages?limit=100")
        assert reply.status == 200, reply.text
        messages: list[dict[str, Any]] = reply.body
        return messages


class _Server(uvicorn.Server):
    """Stops when it is told to, where uvicorn looks ten times a second; and leaves signals alone."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.stopping = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self.stopping.wait()
        self.should_exit = True


@asynccontextmanager
async def gigachat(
    folder: Path,
    *,
    model: ChatModel | None = None,
    embedder: Embedder | None = None,
    clock: Clock = system_clock,
    pace: Pace | None = None,
    **settings: Any,
) -> AsyncIterator[Api]:
    """A server on a store in this folder, and a client with a key. The model says "Hi." unless told otherwise."""
    given: dict[str, Any] = {"data": str(folder), "shutdown_timeout_s": 0.2} | stores.current().settings(folder) | settings
    chosen = Settings(**given)
    await stores.current().begin(folder)
    async with app.running(
        chosen, clock=clock, model=model or ScriptedModel(["Hi."]), embedder=embedder or HashingEmbedder(), pace=pace
    ) as services:
        _, secret = await services.key_ring.create(services.account.id, "test")
        # With its protocol named, asyncio sets TCP_NODELAY on what it accepts; without, each answer waits 40 ms.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.bind(("127.0.0.1", 0))
        listener.listen(2048)
        config = uvicorn.Config(
            app.PublicApp(services), lifespan="off", log_level="warning", proxy_headers=False, timeout_graceful_shutdown=1
        )
        server = _Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
            try:
                await _answers(session, url)
                yield Api(services, url, secret, session)
            finally:
                await session.close()  # first, so that no idle connection is waited for
                server.stopping.set()
                await serving


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Ask again, as a client would, until what happens in the background has happened. The test's own limit bounds it."""
    while not await holds():  # noqa: ASYNC110 - what is awaited is only visible over the wire
        await asyncio.sleep(0.005)


async def _answers(session: aiohttp.ClientSession, url: str) -> None:
    async with session.get(url + "/livez") as response:
        assert response.status == 200
