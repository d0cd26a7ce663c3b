"""Nodes tell each other where something has happened: PostgreSQL's LISTEN and NOTIFY.

Idea: a topic names what changed and carries nothing of it; who is told reads the store. Topics are gathered while the last
message is on its way and sent outside of transactions, because a transaction that notifies holds a lock of the whole
database until it is on disk, and all others would commit one after the other.

Invariant: a wake-up may be missed (a node dies between its commit and its message; a connection breaks), so nobody relies
on one: who waits also looks by itself. After a break everybody is woken, since nobody knows what was missed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import msgspec

from gigachat_server.ids import random_text

_CHANNEL = "gigachat"
_MOST_BYTES = 7_500  # PostgreSQL takes 8,000
_CHECK_EVERY_S = 5.0
_CHECK_S = 3.0
_RECONNECT_S = 0.25

_LOST = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError)

_log = logging.getLogger("gigachat.store")


class _Message(msgspec.Struct, array_like=True):
    sender: str
    topics: list[str]


class WakeUps:
    """This node's connection for telling and being told. `callback` gets each topic, or None: anything may have happened."""

    def __init__(self, connect: Callable[[], Awaitable[Any]]) -> None:
        self._connect = connect
        self._node = random_text(12)
        self._untold: dict[str, None] = {}
        self._has_untold = asyncio.Event()
        self._connection: Any = None
        self._tasks: list[asyncio.Task[None]] = []
        self.callback: Callable[[str | None], None] = lambda topic: None

    async def start(self) -> None:
        """Raises what asyncpg does when the server cannot be reached."""
        await self._listen()
        self._tasks = [
            asyncio.create_task(self._keep_listening(), name="wake-ups-in"),
            asyncio.create_task(self._keep_telling(), name="wake-ups-out"),
        ]

    async def aclose(self) -> None:
        with contextlib.suppress(*_LOST):
            await self._send()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._connection is not None:
            self._connection.terminate()

    def tell(self, topic: str) -> None:
        self._untold[topic] = None
        self._has_untold.set()

    async def _listen(self) -> None:
        connection = await self._connect()
        await connection.add_listener(_CHANNEL, self._hear)
        self._connection = connection

    def _hear(self, connection: Any, pid: int, channel: str, payload: str) -> None:
        try:
            message = msgspec.json.decode(payload, type=_Message)
        except msgspec.MsgspecError:
            self.callback(None)  # of another version, perhaps
            return
        if message.sender != self._node:
            for topic in message.topics:
                self.callback(topic)

    async def _keep_listening(self) -> None:
        while True:
            await asyncio.sleep(_CHECK_EVERY_S if self.is_listening else _RECONNECT_S)
            try:
                if not self.is_listening:
                    await self._listen()
                    self._has_untold.set()
                    self.callback(None)
                    continue
                # A connection that leads nowhere looks like one on which nothing happens.
                async with asyncio.timeout(_CHECK_S):
                    await self._connection.execute("SELECT 1")
            except _LOST:
                if self._connection is not None:
                    self._connection.terminate()

    @property
    def is_listening(self) -> bool:
        return self._connection is not None and not self._connection.is_closed()

    async def _keep_telling(self) -> None:
        while True:
            await self._has_untold.wait()
            self._has_untold.clear()
            if self.is_listening:
                with contextlib.suppress(*_LOST):
                    await self._send()

    async def _send(self) -> None:
        while self._untold and self.is_listening:
            topics: list[str] = []
            size = 0
            for topic in self._untold:
                size += len(msgspec.json.encode(topic)) + 1
                if topics and size > _MOST_BYTES:
                    break
                topics.append(topic)
            for topic in topics:
                del self._untold[topic]
            payload = msgspec.json.encode(_Message(self._node, topics)).decode()
            await self._connection.execute("SELECT pg_notify($1, $2)", _CHANNEL, payload)
