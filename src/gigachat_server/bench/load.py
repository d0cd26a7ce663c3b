"""Many clients at once, in a separate process: a `Load` as JSON on stdin, its `Outcome` as JSON on stdout.

Idea: a load generator as expensive as the server would measure itself, so there is no client library here: each client is one
persistent connection whose protocol writes the next request as soon as the last answer is complete.
Invariant: the bytes sent do not depend on the server; a client has one request in flight at a time.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import time
from functools import partial
from typing import Any, Literal, cast

import httptools
import msgspec
import uvloop

PATIENCE_S = 120.0  # for the last answers, before the load is given up


class Load(msgspec.Struct, kw_only=True, frozen=True):
    """What to send. With `seconds` None each text is sent once, else they are sent in turns until the time is over."""

    port: int
    path: str = "/"
    key: str = ""
    kind: Literal["prompt", "document", "raw"] = "prompt"
    name: str  # what the ids of this load's conversations or the names of its documents start with
    texts: list[str]
    clients: int
    seconds: float | None = None
    stream: bool = False
    turns: int = 5  # in one conversation, before the client starts another


class TimedAnswer(msgspec.Struct, gc=False):
    """One request: when it was sent and answered (monotonic seconds), and what the answer was."""

    sent_at: float
    answered_at: float
    status: int
    terminals: int = 0  # `done` and `error` events of a stream
    is_done: bool = False
    first_token_ms: float | None = None  # after the endpoint sent it, where the endpoint says when that was


class Outcome(msgspec.Struct, kw_only=True):
    answered: list[TimedAnswer]
    broken: int  # connections that ended before the answer did


class _Client(asyncio.Protocol):
    """One connection. Asks `work` for its next request until there is none."""

    def __init__(self, work: _Work, number: int) -> None:
        self._work = work
        self._number = number
        self._turn = 0
        self._sent_at: float | None = None
        self._body = b""
        self._first_token_ms: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._work.connected(self)

    def send(self) -> None:
        request = self._work.next_request(self._number, self._turn)
        if request is None:
            self._sent_at = None
            self._transport.close()
            return
        self._turn += 1
        self._body = b""
        self._first_token_ms = None
        self._parser = httptools.HttpResponseParser(self)
        self._sent_at = time.monotonic()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        if not self._work.load.stream:
            return
        now = time.monotonic_ns()
        self._body += body
        if self._first_token_ms is None:
            self._first_token_ms = since_stamp(self._body, now)

    def on_message_complete(self) -> None:
        assert self._sent_at is not None
        answered = TimedAnswer(self._sent_at, time.monotonic(), self._parser.get_status_code())
        if self._work.load.stream:
            self._read_stream(answered)
        self._work.answered.append(answered)
        self._sent_at = None
        # Not from within the parser's own callback: the next request gets a new parser.
        asyncio.get_running_loop().call_soon(self.send)

    def connection_lost(self, error: Exception | None) -> None:
        self._work.ended(is_broken=self._sent_at is not None)

    def _read_stream(self, answered: TimedAnswer) -> None:
        done, error = self._body.count(b"event: done\n"), self._body.count(b"event: error\n")
        answered.terminals = done + error
        answered.is_done = done == 1 and self._body.count(b"event: message\n") == 1
        answered.first_token_ms = self._first_token_ms


class _Work:
    """What is to be sent, and what came of it."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.answered: list[TimedAnswer] = []
        self.broken = 0
        self.is_over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sent = 0
        self._waiting: list[_Client] = []
        self._connections = load.clients
        self._ends_at = float("inf")
        authorization = f"Authorization: Bearer {load.key}\r\n" if load.key else ""
        accept = "text/event-stream" if load.stream else "application/json"
        self._head = (
            f"POST {load.path} HTTP/1.1\r\nHost: 127.0.0.1:{load.port}\r\n{authorization}"
            f"Accept: {accept}\r\nContent-Type: application/json\r\nContent-Length: "
        ).encode()

    def connected(self, client: _Client) -> None:
        """All start together, when the last has connected."""
        self._waiting.append(client)
        if len(self._waiting) == self.load.clients:
            if self.load.seconds is not None:
                self._ends_at = time.monotonic() + self.load.seconds
            for waiting in self._waiting:
                waiting.send()

    def next_request(self, client: int, turn: int) -> bytes | None:
        load, number = self.load, self._sent
        if time.monotonic() >= self._ends_at or (load.seconds is None and number >= len(load.texts)):
            return None
        self._sent += 1
        text = load.texts[number % len(load.texts)]
        body = self._body(text, number, client, turn)
        return b"%b%d\r\n\r\n%b" % (self._head, len(body), body)

    def _body(self, text: str, number: int, client: int, turn: int) -> bytes:
        name = self.load.name
        if self.load.kind == "raw":
            return text.encode()
        if self.load.kind == "document":
            return msgspec.json.encode({"name": f"{name}-{number}", "content": text})
        conversation_id = f"{name}-{client}-{turn // self.load.turns}"
        return msgspec.json.encode({"conversation_id": conversation_id, "user_id": f"user-{client}", "prompt": text})

    def ended(self, *, is_broken: bool) -> None:
        self.broken += is_broken
        self._connections -= 1
        if self._connections == 0:
            self.is_over.set_result(None)

    def fail(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A callback raised: without this its connection would never end."""
        if not self.is_over.done():
            self.is_over.set_exception(context.get("exception") or RuntimeError(context["message"]))


def since_stamp(body: bytes, now_ns: int) -> float | None:
    """Milliseconds from the time that the first delta tells, ours or an endpoint's own; None if there is none."""
    for line in body.split(b"\n"):
        for marker in (b'"text":"', b'"content":"'):
            stamp = line.rpartition(marker)[2].partition(b'"')[0] if marker in line else b""
            if line.startswith(b"data:") and stamp.isdigit() and len(stamp) > 9:
                return (now_ns - int(stamp)) / 1e6
    return None


async def run(load: Load) -> Outcome:
    """Send it all, and wait for every answer."""
    work = _Work(load)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(work.fail)
    for number in range(load.clients):
        await loop.create_connection(partial(_Client, work, number), "127.0.0.1", load.port)
    async with asyncio.timeout((load.seconds or 0) + PATIENCE_S):
        await work.is_over
    return Outcome(answered=work.answered, broken=work.broken)


def main() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    load = msgspec.json.decode(sys.stdin.buffer.read(), type=Load)
    answer = msgspec.json.encode(uvloop.run(run(load)))
    # Under PYTHONUNBUFFERED sys.stdout may write a part of it and leave it at that.
    with open(sys.stdout.fileno(), "wb", closefd=False) as out:
        out.write(answer)


if __name__ == "__main__":
    main()
