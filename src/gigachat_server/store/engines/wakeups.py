"""Nodes wake each other through PostgreSQL's LISTEN and NOTIFY.

Idea: a topic names what changed but carries no data; the woken node reads the store. Topics are gathered while the last message
is in flight and sent outside transactions, because a transaction that notifies holds a lock of the whole database until it is
on disk, and all others would commit one after the other.

Invariants: a wake-up may be missed (a node dies between its commit and its message; a connection breaks), so no waiter relies
on one: it also polls, and after a break every waiter is woken, because anything may have been missed. A connection that was
silent for `_FRESH_S` has been verified to lead to a writable server, the one through which other nodes notify, so silence means
that nothing happened.
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
from gigachat_server.work.background import Background
from gigachat_server.work.pace import Backoff

# All that asyncpg raises, whatever the cause: `_kind` in postgres.py tells them apart.
FAILURES = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)

_CHANNEL = "gigachat"
_MOST_BYTES = 7_500  # PostgreSQL takes 8,000
_CHECK_EVERY_S = 0.4
_ANSWER_S = 3.0  # a server that takes longer is taken for one that will not answer any more
_FRESH_S = 1.5  # shorter than others wait for an answer before they go on without (chat/turns/nodes.py)
_STOOD_STILL_S = 0.5
_RECONNECT_S = 0.25
_TALK_AGAIN = Backoff(first_s=_RECONNECT_S, longest_s=2.0)  # after what no server and no connection is to blame for

# The advisory lock that each process on the store holds, shared, on this connection: a process that is killed lets go of it
# at once, one that stands still keeps it.
PRESENCE = 7423190842

_log = logging.getLogger("gigachat.store")


class _Message(msgspec.Struct, array_like=True):
    sender: str
    topics: list[str]


class WakeUps:
    """This node's connection for telling and being told.

    `callback` gets each topic, or None: anything may have happened. `when_silent` is called when the server stopped to answer.
    """

    def __init__(self, connect: Callable[[], Awaitable[Any]]) -> None:
        self._connect = connect
        self._node = random_text(12)
        self._untold: dict[str, None] = {}
        self._has_work = asyncio.Event()
        self._connection: Any = None
        self._answered_at = 0.0  # when that was asked which the server answered last
        self._is_doubted = False
        self._shows_presence, self._is_present = False, asyncio.Event()
        self._talking = Background().loop("wake-ups", self._talk, every_s=0, backoff=_TALK_AGAIN)
        self.callback: Callable[[str | None], None] = lambda topic: None
        self.when_silent: Callable[[], None] = lambda: None

    async def start(self) -> None:
        """Raises what asyncpg does when the server cannot be reached."""
        await self._listen()
        self._talking.start()

    async def aclose(self) -> None:
        await self._talking.aclose()
        if self._connection is not None and not self._connection.is_closed():
            with contextlib.suppress(*FAILURES):
                async with asyncio.timeout(_ANSWER_S):
                    await self._send()
        if self._connection is not None:
            self._connection.terminate()

    async def show_presence(self) -> None:
        """Others can see from now on that this process is there, for as long as it is."""
        self._shows_presence = True
        self._has_work.set()
        with contextlib.suppress(TimeoutError):  # it is tried for as long as this runs
            async with asyncio.timeout(_ANSWER_S):
                await self._is_present.wait()

    def tell(self, topic: str) -> None:
        self._untold[topic] = None
        self._has_work.set()

    def doubt(self) -> None:
        """The server may be another one's standby by now: nothing is heard until it has been asked."""
        self._is_doubted = True
        self._has_work.set()

    @property
    def is_listening(self) -> bool:
        """Whether whatever was told until a moment ago has been heard."""
        if self._connection is None or self._connection.is_closed() or self._is_doubted:
            return False
        return asyncio.get_running_loop().time() - self._answered_at < _FRESH_S

    async def _listen(self) -> None:
        async with asyncio.timeout(_ANSWER_S):
            connection = await self._connect()
            try:
                # A message is nothing that has to survive: it need not wait for the disk, or for a standby.
                await connection.execute("SET synchronous_commit = off")
                await connection.add_listener(_CHANNEL, self._hear)
            except BaseException:
                connection.terminate()
                raise
        self._connection = connection
        self._is_present.clear()
        self._is_doubted = False
        self._answered_at = asyncio.get_running_loop().time()

    def _hear(self, connection: Any, pid: int, channel: str, payload: str) -> None:
        try:
            message = msgspec.json.decode(payload, type=_Message)
        except msgspec.MsgspecError:
            self.callback(None)  # of another version, perhaps
            return
        if message.sender != self._node:
            for topic in message.topics:
                self.callback(topic)

    async def _talk(self) -> None:
        """Tell what is to be told, and see now and then that the server still answers; go to another when it does not."""
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        try:
            if self._connection is None or self._connection.is_closed():
                await self._listen()
                async with asyncio.timeout(_ANSWER_S):
                    await self._be_present()
                self.callback(None)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CHECK_EVERY_S):
                    await self._has_work.wait()
            self._has_work.clear()
            asked_at = loop.time()
            async with asyncio.timeout(_ANSWER_S):
                await self._check()
                await self._be_present()
                await self._send()
        except FAILURES as error:
            if self._connection is not None:
                self._connection.terminate()
            if isinstance(error, TimeoutError) and loop.time() - asked_at < _ANSWER_S + _STOOD_STILL_S:
                self.when_silent()  # and not because this process did not listen
            await asyncio.sleep(_RECONNECT_S)

    async def _check(self) -> None:
        """A connection that leads nowhere looks like one on which nothing happens. Raises what asyncpg does, if it is one."""
        asked_at = asyncio.get_running_loop().time()
        if self._is_doubted or asked_at - self._answered_at > _CHECK_EVERY_S:
            # No node notifies through a demoted server.
            if await self._connection.fetchval("SELECT current_setting('transaction_read_only')") != "off":
                raise asyncpg.ReadOnlySQLTransactionError("the server takes no writes")
            self._answered_at, self._is_doubted = asked_at, False

    async def _be_present(self) -> None:
        if not self._shows_presence or self._is_present.is_set():
            return
        # Never waits for the lock: a short exclusive lock must not look like a dead server.
        if await self._connection.fetchval(f"SELECT pg_try_advisory_lock_shared({PRESENCE})"):
            self._is_present.set()

    async def _send(self) -> None:
        while self._untold:
            topics: list[str] = []
            size = 0
            for topic in self._untold:
                size += len(msgspec.json.encode(topic)) + 1
                if topics and size > _MOST_BYTES:
                    break
                topics.append(topic)
            payload = msgspec.json.encode(_Message(self._node, topics)).decode()
            for topic in topics:
                del self._untold[topic]
            try:
                await self._connection.execute("SELECT pg_notify($1, $2)", _CHANNEL, payload)
            except BaseException:
                self._untold = dict.fromkeys((*topics, *self._untold))
                raise
