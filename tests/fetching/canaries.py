"""Listeners that nobody may reach, and sites that may be: all on loopback."""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec

SITE = "127.0.0.9"  # where a site is that the tests allow; every other address of loopback is a canary's


class Request(msgspec.Struct, frozen=True):
    """What a site was asked."""

    path: str
    headers: dict[str, str]
    at: float

    @property
    def host(self) -> str:
        return self.headers.get("host", "")


class Response(msgspec.Struct, frozen=True):
    body: bytes | str = b""
    status: int = 200
    headers: dict[str, str] = {}
    is_gzipped: bool = False

    def encoded(self) -> bytes:
        body = self.body.encode() if isinstance(self.body, str) else self.body
        headers = {"Content-Type": "text/html; charset=utf-8", **self.headers}
        if self.is_gzipped:
            body, headers = gzip.compress(body, 6), {**headers, "Content-Encoding": "gzip"}
        headers["Content-Length"] = str(len(body) if self.status not in (204, 304) else 0)
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"HTTP/1.1 {self.status} X\r\n{head}\r\n".encode("latin-1") + (body if self.status != 304 else b"")


Answering = Callable[[Request], "Response | Awaitable[Response | None] | None"]
Raw = Callable[[asyncio.StreamWriter], Awaitable[None]]


class Site:
    """An HTTP server of a few lines: what it answers is a function of what it was asked, and it remembers that."""

    def __init__(self, answer: Answering, raw: Raw | None) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        self.raw = raw
        self.connections = 0
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://{SITE}:{self.port}"

    @property
    def paths(self) -> list[str]:
        return [request.path for request in self.requests]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                first, *lines = head.decode("latin-1").split("\r\n")
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
                request = Request(first.split(" ")[1], headers, asyncio.get_running_loop().time())
                self.requests.append(request)
                if self.raw is not None:
                    await self.raw(writer)
                    return
                answered = self.answer(request)
                response = await answered if isinstance(answered, Awaitable) else answered
                writer.write((response or Response("nothing here", 404)).encoded())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(answer: Answering = lambda _: None, *, raw: Raw | None = None, port: int = 0) -> AsyncIterator[Site]:
    """A site at `SITE`."""
    site = Site(answer, raw)
    server = await asyncio.start_server(site.serve, SITE, port)
    site.port = server.sockets[0].getsockname()[1]
    try:
        yield site
    finally:
        server.close()


class Canary:
    """Counts who comes, at whichever address of loopback."""

    def __init__(self) -> None:
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.write(Response("the canary sings").encoded())
        writer.close()


@asynccontextmanager
async def canaries() -> AsyncIterator[tuple[Canary, int]]:
    """One that listens on every address of this machine, of IPv4 and of IPv6, and its port."""
    canary = Canary()
    listener = socket.socket(socket.AF_INET6)
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.bind(("::", 0))
    server = await asyncio.start_server(canary.serve, sock=listener)
    try:
        yield canary, listener.getsockname()[1]
    finally:
        server.close()
