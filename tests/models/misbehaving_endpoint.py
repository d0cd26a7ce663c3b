"""A model endpoint that does to a client, byte by byte, what a test tells it to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from gigachat_server.models.base import (
    ChatMessage,
    HandoffOffer,
    HandoffRequest,
    ModelEvent,
    ModelInput,
    Query,
    ReplyEnd,
    Sampling,
    TextDelta,
)
from gigachat_server.models.endpoints.chat_completions import OpenAIModel, Timeouts
from gigachat_server.models.endpoints.completion_stream import Limits

KEY = "sk-secret-0123456789"
QUICK = Timeouts(drain_s=1.0, retry_pause_s=0.001)  # patient where a busy machine may be slow, quick where tests wait
DONE = b"data: [DONE]\n\n"


class Exchange:
    """One request as it came, and the connection to answer it on."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes, body: bytes) -> None:
        self._reader = reader
        self._writer = writer
        self.head = head.decode()
        self.body: dict[str, Any] = msgspec.json.decode(body)

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def client_gone(self) -> None:
        """Returns when the client has closed the connection."""
        try:
            while await self._reader.read(1024):
                pass
        except ConnectionError:
            pass

    def reset(self) -> None:
        self._writer.transport.abort()


Answer = bytes | Callable[[Exchange], Awaitable[None]]


class Endpoint:
    """`requests` has every exchange; `gone` is set when a client left an answer that still went on."""

    def __init__(self, answers: tuple[Answer, ...], port: int) -> None:
        self._answers = answers
        self.requests: list[Exchange] = []
        self.gone = asyncio.Event()
        self.url = f"http://127.0.0.1:{port}/v1"

    def next_answer(self) -> Answer:
        return self._answers[min(len(self.requests) - 1, len(self._answers) - 1)]


@asynccontextmanager
async def endpoint(*answers: Answer) -> AsyncIterator[Endpoint]:
    """Serves the answers one a request, the last from then on; every connection serves one request and is closed."""
    connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            exchange = Exchange(reader, writer, head, await reader.readexactly(length))
            here.requests.append(exchange)
            answer = here.next_answer()
            if isinstance(answer, bytes):
                await exchange.send(answer)
            else:
                await answer(exchange)
        except ConnectionError:
            here.gone.set()
        except asyncio.IncompleteReadError:
            pass  # connected and left
        finally:
            writer.close()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(serve(reader, writer))
        connections.add(task)
        task.add_done_callback(connections.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    here = Endpoint(answers, server.sockets[0].getsockname()[1])
    try:
        yield here
    finally:
        server.close()
        for task in list(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


def chunk(text: str | None = None, *, index: int = 0, end: str | None = None, **delta: object) -> bytes:
    """One `data:` line with its blank line."""
    content = {} if text is None else {"content": text}
    choice = {"index": index, "delta": content | delta, "finish_reason": end}
    return b"data: " + msgspec.json.encode({"model": "m-1", "choices": [choice]}) + b"\n\n"


def usage(prompt_tokens: int, completion_tokens: int) -> bytes:
    counts = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}
    return b"data: " + msgspec.json.encode({"model": "m-1", "choices": [], "usage": counts}) + b"\n\n"


def http(body: bytes, *, status: str = "200 OK", headers: str = "", kind: str = "text/event-stream") -> bytes:
    """A whole answer with its length."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n{headers}\r\n".encode() + body


def sse(*lines: bytes) -> bytes:
    return http(b"".join(lines))


OPEN_STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def framed(data: bytes) -> bytes:
    """One chunk of the transfer encoding."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


GOOD = sse(chunk("Hel"), chunk("lo"), chunk(end="stop"), usage(3, 2), DONE)


def prompt(text: str = "Hi", *, handoff: HandoffOffer | None = None, **sampling: Any) -> ModelInput:
    return ModelInput(
        messages=(ChatMessage("system", "Be brief."), ChatMessage("user", text)),
        sampling=Sampling(**sampling),
        query=Query(text=text, vector=None, stem_weights={}),
        handoff=handoff,
    )


@asynccontextmanager
async def model_at(
    url: str, *, timeouts: Timeouts = QUICK, limits: Limits | None = None, key: str | None = KEY
) -> AsyncIterator[OpenAIModel]:
    model = OpenAIModel(url, "default-model", key, timeouts=timeouts, limits=limits)
    try:
        yield model
    finally:
        await model.aclose()


def texts(events: list[ModelEvent]) -> dict[int, str]:
    """What each alternative says."""
    said: dict[int, str] = {}
    for event in events:
        if isinstance(event, TextDelta):
            said[event.index] = said.get(event.index, "") + event.text
    return said


def ends(events: list[ModelEvent]) -> dict[int, str]:
    return {event.index: event.finish_reason for event in events if isinstance(event, ReplyEnd)}


def handoffs(events: list[ModelEvent]) -> list[HandoffRequest]:
    return [event for event in events if isinstance(event, HandoffRequest)]
