"""The smallest server that answers a prompt and loses nothing: one raw ASGI application, to compare gigachat with.

A POST stores the prompt durably, asks the model endpoint for a stream as gigachat does, reads it piece by piece and parses
each event, stores the reply durably, and answers 201: what no turn can do without, so the endpoint's own cost stands on both
sides. It runs on what gigachat runs on: uvicorn with uvloop and httptools, aiohttp towards the endpoint, msgspec, SQLite (WAL,
synchronous=FULL). One thread writes, and one transaction takes all that waits, so that one fdatasync pays for many: a
floor that paid one for each message would flatter whatever stands beside it.

With `--database` it stores in PostgreSQL: two asyncpg INSERTs per turn, each in its own transaction.

Invariant: a 201 is sent only when both messages are on the disk. Everything else is left out: keys, chatbots,
documents, history, order, errors.
"""

from __future__ import annotations

import argparse
import asyncio
import queue
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import apsw
import msgspec
import uvicorn

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS messages (id INTEGER PRIMARY KEY, conversation_id TEXT NOT NULL, role TEXT NOT NULL, "
    "content TEXT NOT NULL, created_at INTEGER NOT NULL)"
)
_INSERT = "INSERT INTO messages (conversation_id, role, content, created_at) VALUES (?, ?, ?, ?)"
_INSERT_IN_POSTGRES = "INSERT INTO messages (conversation_id, role, content, created_at) VALUES ($1, $2, $3, $4) RETURNING id"


class _Prompt(msgspec.Struct):
    conversation_id: str
    user_id: str
    prompt: str


class _Reply(msgspec.Struct):
    id: int
    conversation_id: str
    role: str
    content: str


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta


class _Chunk(msgspec.Struct):
    choices: list[_Choice]


_decode_prompt = msgspec.json.Decoder(_Prompt).decode
_decode_chunk = msgspec.json.Decoder(_Chunk).decode
_encode = msgspec.json.Encoder().encode


class _Waiting(msgspec.Struct):
    """A message on its way to the disk; `stored` becomes its id there."""

    row: tuple[str, str, str, int]
    stored: asyncio.Future[int]


class Messages(Protocol):
    def store(self, conversation_id: str, role: str, content: str) -> Awaitable[int]:
        """The message's id, once it is durable."""


class PostgresMessages:
    """The table of messages in PostgreSQL."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._pool: Any = None
        self._opening = asyncio.Lock()

    async def store(self, conversation_id: str, role: str, content: str) -> int:
        pool = self._pool or await self._open()
        row = (conversation_id, role, content, time.time_ns() // 1000)
        return int(await pool.fetchval(_INSERT_IN_POSTGRES, *row))

    async def _open(self) -> Any:
        import asyncpg

        async with self._opening:
            if self._pool is None:
                pool = await asyncpg.create_pool(self._url, min_size=1, max_size=10)
                await pool.execute(_SCHEMA.replace("INTEGER PRIMARY KEY", "BIGSERIAL PRIMARY KEY").replace("INTEGER", "BIGINT"))
                self._pool = pool
        return self._pool


class SQLiteMessages:
    """The table of messages, written by one thread."""

    def __init__(self, file: Path) -> None:
        self._connection = apsw.Connection(str(file))
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "cache_size = -65536"):
            self._connection.execute(f"PRAGMA {pragma}").fetchall()
        self._connection.execute(_SCHEMA)
        self._waiting: queue.SimpleQueue[_Waiting] = queue.SimpleQueue()
        threading.Thread(target=self._write, name="writer", daemon=True).start()

    def store(self, conversation_id: str, role: str, content: str) -> asyncio.Future[int]:
        """The message's id, once it is durable."""
        stored = asyncio.get_running_loop().create_future()
        self._waiting.put(_Waiting((conversation_id, role, content, time.time_ns() // 1000), stored))
        return stored

    def _write(self) -> None:
        execute = self._connection.execute
        while True:
            group = [self._waiting.get()]
            while not self._waiting.empty():
                group.append(self._waiting.get())
            ids = []
            execute("BEGIN IMMEDIATE")
            for message in group:
                execute(_INSERT, message.row)
                ids.append(self._connection.last_insert_rowid())
            execute("COMMIT")
            group[0].stored.get_loop().call_soon_threadsafe(_settle, group, ids)


def _settle(group: list[_Waiting], ids: list[int]) -> None:
    for message, id in zip(group, ids, strict=True):
        if not message.stored.done():
            message.stored.set_result(id)


class Floor:
    """The ASGI application."""

    def __init__(self, messages: Messages, model_url: str) -> None:
        self._messages = messages
        self._url = model_url.rstrip("/") + "/chat/completions"
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        while True:
            event = await receive()
            if event["type"] == "http.disconnect":
                return
            body += event.get("body", b"")
            if not event.get("more_body"):
                break
        prompt = _decode_prompt(body)
        await self._messages.store(prompt.conversation_id, "user", prompt.prompt)
        text = await self.complete(prompt.prompt)
        id = await self._messages.store(prompt.conversation_id, "assistant", text)
        answer = _encode([_Reply(id, prompt.conversation_id, "assistant", text)])
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": 201, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def complete(self, prompt: str) -> str:
        """What the endpoint streams in reply, joined."""
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        request = {
            "model": "stub",
            "stream": True,
            "stream_options": {"include_usage": True},
            "messages": [{"role": "user", "content": prompt}],
        }
        parts: list[str] = []
        headers = {"Content-Type": "application/json"}
        async with self._session.post(self._url, data=_encode(request), headers=headers) as response:
            rest = b""
            async for data in response.content.iter_any():
                *events, rest = (rest + data).split(b"\n\n")
                for event in events:
                    payload = event.removeprefix(b"data: ")
                    if payload != b"[DONE]":
                        parts += [choice.delta.content or "" for choice in _decode_chunk(payload).choices]
        return "".join(parts)

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="The floor that gigachat is measured beside.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--database", default="")
    parser.add_argument("--model-url", required=True)
    parser.add_argument("--port", type=int, required=True)
    chosen = parser.parse_args()
    messages = PostgresMessages(chosen.database) if chosen.database else SQLiteMessages(chosen.data / "floor.sqlite3")
    app = Floor(messages, chosen.model_url)
    uvicorn.run(
        app, port=chosen.port, loop="uvloop", http="httptools", ws="none", lifespan="off", log_level="warning",
        access_log=False, backlog=2048,
    )  # fmt: skip


if __name__ == "__main__":
    main()
