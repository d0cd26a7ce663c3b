"""Callers who speak HTTP byte by byte, and a server of a small application for them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from gigachat_server.serving.server import Server, bind
from gigachat_server.settings import Settings

Address = tuple[str, int]


class Caller:
    """A connection on which every byte is ours."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        """Raises `ConnectionError` once the server has hung up."""
        self._writer.write(data)
        await self._writer.drain()

    async def send_until_closed(self, data: bytes, most_bytes: int) -> int:
        """So many bytes it took; it may have taken all."""
        sent = 0
        with suppress(ConnectionError):
            while sent < most_bytes:
                await self.send(data)
                sent += len(data)
        return sent

    def end(self) -> None:
        """We say no more, and listen."""
        self._writer.write_eof()

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the next answer, which names its length."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in head[1:] if line)
        body = await self._reader.readexactly(int(headers.get("content-length", "0")))
        return int(head[0].split()[1]), headers, body

    async def rest(self) -> bytes:
        """All that comes until the server closes."""
        came = b""
        with suppress(ConnectionResetError):
            while piece := await self._reader.read(65536):
                came += piece
        return came

    async def close(self) -> None:
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()


@asynccontextmanager
async def calling(address: Address) -> AsyncIterator[Caller]:
    caller = Caller(*await asyncio.open_connection(*address))
    try:
        yield caller
    finally:
        await caller.close()


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Says what it was sent: at /early before the body is read, at /stream in pieces of a length that nobody knows."""
    told: dict[str, Any] = {"headers": [(name.decode(), value.decode()) for name, value in scope["headers"]]}
    size, more = 0, scope["path"] != "/early"
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    body = json.dumps({**told, "path": scope["path"], "size": size}).encode()
    is_streamed = scope["path"] == "/stream"
    length = [] if is_streamed else [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": length})
    for piece in (body[:10], body[10:]) if is_streamed else ():
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b"" if is_streamed else body})


@asynccontextmanager
async def serving(app: ASGIApp = echo, **settings: Any) -> AsyncIterator[tuple[Server, Address]]:
    """A server of that application; what it waits for a caller is short."""
    server = Server(app, Settings(**{"shutdown_timeout_s": 0, "receive_timeout_s": 0.3, **settings}))
    with closing(bind("127.0.0.1", 0)) as bound:
        task = asyncio.create_task(server.serve(sockets=[bound]))
        await server.is_listening.wait()
        try:
            yield server, bound.getsockname()
        finally:
            server.stop()
            await task
