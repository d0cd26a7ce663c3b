"""Event streams as a client sees them: each event when it arrives, with its `id:`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
from yarl import URL

from tests.harness import Api


class Seen(msgspec.Struct, frozen=True):
    """One event of a stream."""

    id: str | None
    name: str
    data: Any

    @property
    def seq(self) -> int:
        """Of an event of a conversation; 0 of words, which have none."""
        return 0 if self.name in ("delta", "error") else int(self.data["seq"])


class Stream:
    """What arrives, in order; `seen` keeps it."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.status = response.status
        self.headers = {name.title(): value for name, value in response.headers.items()}
        self.seen: list[Seen] = []
        self.pings = 0
        self._response = response
        self._buffer = b""

    async def next(self) -> Seen | None:
        """The next event; None at the end. Pings are counted and passed over."""
        while True:
            block, found, rest = self._buffer.partition(b"\n\n")
            if not found:
                more = await self._response.content.readany()
                if not more:
                    assert not self._buffer, "the stream ended within an event"
                    return None
                self._buffer += more
                continue
            self._buffer = rest
            if block.startswith(b":"):
                self.pings += 1
                continue
            self.seen.append(_parsed(block.decode()))
            return self.seen[-1]

    async def read_until(self, holds: Callable[[Seen], bool]) -> list[Seen]:
        """All that comes, up to the event of which that holds."""
        found = []
        while True:
            event = await self.next()
            assert event is not None, f"the stream ended after {self.seen[-3:]}"
            found.append(event)
            if holds(event):
                return found

    async def read_to(self, seq: int) -> list[Seen]:
        """All that comes, up to the conversation's event `seq`."""
        return await self.read_until(lambda event: event.seq >= seq)

    async def read_all(self) -> list[Seen]:
        """All that comes until the server ends the stream."""
        while await self.next() is not None:
            pass
        return self.seen

    async def ping(self) -> None:
        """Waits for the next one; asserts that no event comes before it."""
        before = self.pings
        while self.pings == before:
            if b"\n\n" not in self._buffer:
                self._buffer += await self._response.content.readany()
            block, _, self._buffer = self._buffer.partition(b"\n\n")
            assert block.startswith(b":"), block
            self.pings += 1

    def close(self) -> None:
        """The caller goes away."""
        self._response.close()

    def text(self, message_id: str) -> str:
        """The words of that reply that arrived."""
        return "".join(e.data["text"] for e in self.seen if e.name == "delta" and e.data["message_id"] == message_id)

    def texts(self) -> str:
        return "".join(e.data["text"] for e in self.seen if e.name == "delta")


def _parsed(block: str) -> Seen:
    lines = block.split("\n")
    event_id = lines.pop(0)[4:] if lines[0].startswith("id: ") else None
    assert len(lines) == 2, block
    assert lines[0].startswith("event: ") and lines[1].startswith("data: "), block
    return Seen(event_id, lines[0][7:], json.loads(lines[1][6:]))


@asynccontextmanager
async def streaming(
    api: Api,
    path: str,
    body: Any = None,
    *,
    after: str | None = None,
    idempotency_key: str | None = None,
    key: str = "",
    session: aiohttp.ClientSession | None = None,
) -> AsyncIterator[Stream]:
    """A GET, or with a body a POST, that asks for an event stream. `after`: sent as Last-Event-ID."""
    headers = {"Authorization": f"Bearer {key or api.key}", "Accept": "text/event-stream"}
    if after is not None:
        headers["Last-Event-ID"] = after
    if idempotency_key is not None:
        headers["Idempotency-Key"] = idempotency_key
    method = "GET" if body is None else "POST"
    timeout = aiohttp.ClientTimeout(total=None)
    async with _session(session) as used:
        url = URL(api.url + path, encoded=True)
        async with used.request(method, url, json=body, headers=headers, timeout=timeout) as response:
            yield Stream(response)


@asynccontextmanager
async def _session(session: aiohttp.ClientSession | None) -> AsyncIterator[aiohttp.ClientSession]:
    if session is not None:
        yield session
        return
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True)) as own:
        yield own


def prompt(text: str = "Hello", *, conversation: str = "c1", user: str = "ann", **more: Any) -> dict[str, Any]:
    return {"conversation_id": conversation, "user_id": user, "prompt": text, **more}
