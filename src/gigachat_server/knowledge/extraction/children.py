"""The server's side of the processes that each read a file: forks them on demand, and always ends them.

Idea: they are forked from a prepared process, `extraction/forker.py`. It starts with the first file and ends when none has come
for a while, because it takes 30 MB.

Invariant: a child has ended when its block is left, however that is left; and so has the forker after `aclose`.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import sys
from asyncio import StreamReader, StreamWriter
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import msgspec

from gigachat_server.knowledge.extraction.forker import END, FORK, NOT_FORKED, NUMBER_BYTES, READY, STATUS_BYTES
from gigachat_server.work.tasks import observed

_IDLE_S = 60.0
_END_S = 5.0  # a killed process takes no time, but a machine may be busy
_FORKER = ("-B", "-S", "-m", "gigachat_server.knowledge.extraction.forker")


class Child(msgspec.Struct):
    """A process that reads what is written to it, and answers. `status` is there once it has ended: as of `subprocess`."""

    reader: StreamReader
    writer: StreamWriter
    status: int | None = None


class Children:
    """Forks them. Of a process that has no more use for them, `aclose` must be called."""

    def __init__(self, *, idle_s: float = _IDLE_S) -> None:
        self._idle_s = idle_s
        self._forker: _Forker | None = None
        self._starting: asyncio.Task[_Forker] | None = None
        self._users = 0
        self._leaving: asyncio.TimerHandle | None = None
        self._left: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def one(self) -> AsyncIterator[Child]:
        """A child, for as long as the block. Raises `OSError` if there can be none."""
        self._users += 1
        try:
            async with (await self._ready()).child() as child:
                yield child
        finally:
            self._users -= 1
            if not self._users:
                self._leave_later()

    async def aclose(self) -> None:
        if self._leaving is not None:
            self._leaving.cancel()
        if self._starting is not None:
            with suppress(OSError):
                await self._starting
        self._leave()
        if self._left is not None:
            await self._left

    async def _ready(self) -> _Forker:
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None
        if self._forker is not None and self._forker.is_there:
            return self._forker
        if self._starting is None:
            # A separate task: if the waiting caller is cancelled, the process still has an owner.
            self._starting = asyncio.create_task(self._start(), name="forker")
        return await asyncio.shield(self._starting)

    async def _start(self) -> _Forker:
        try:
            self._forker = await _Forker.start()
            return self._forker
        finally:
            self._starting = None

    def _leave_later(self) -> None:
        self._leaving = asyncio.get_running_loop().call_later(self._idle_s, self._leave)

    def _leave(self) -> None:
        if self._forker is not None:
            self._left = observed(self._forker.aclose(), name="forker")
            self._forker = None


class _Forker:
    """The process that children are forked from. Each has a number, which no other of this forker has had."""

    def __init__(self, process: Process, control: socket.socket) -> None:
        self._process = process
        self._control = control
        self._numbers = itertools.count()
        self._running: dict[int, asyncio.Future[int]] = {}
        self._can_fork = asyncio.Event()
        self._listening = observed(self._listen(), name="forker")

    @classmethod
    async def start(cls) -> _Forker:
        """Raises `OSError`."""
        # It inherits no settings: it needs none, and some are secrets. Where our packages are it is told (hence -S), and it
        # leaves no bytecode behind (-B).
        environment = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "PYTHONUTF8": "1"}
        control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        control.setblocking(False)
        try:
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    sys.executable, *_FORKER, stdin=theirs.fileno(), stdout=PIPE, stderr=DEVNULL, env=environment,
                    start_new_session=True,
                )  # fmt: skip
        except BaseException:
            control.close()
            raise
        return cls(process, control)

    @property
    def is_there(self) -> bool:
        return not self._listening.done()

    @asynccontextmanager
    async def child(self) -> AsyncIterator[Child]:
        """A child, once the forker has imported everything. Raises `OSError` if it could not be forked."""
        await self._can_fork.wait()
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                number, ended = self._fork(theirs)
        except BaseException:
            ours.close()
            raise
        try:
            reader, writer = await asyncio.open_unix_connection(sock=ours)
            child = Child(reader, writer)
            try:
                yield child
            finally:
                writer.close()
        finally:
            await asyncio.shield(self._end(number, ended))
        child.status = ended.result() if ended.done() else None
        if child.status == NOT_FORKED:
            raise ChildProcessError("no process could be forked to read a file")

    async def aclose(self) -> None:
        self._control.close()  # it ends as soon as it has heard of that
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_S):
                await asyncio.shield(self._listening)
                return
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._listening

    def _fork(self, end: socket.socket) -> tuple[int, asyncio.Future[int]]:
        number = next(self._numbers)
        socket.send_fds(self._control, [FORK + number.to_bytes(NUMBER_BYTES, "big")], [end.fileno()])
        ended = self._running[number] = asyncio.get_running_loop().create_future()
        return number, ended

    async def _end(self, number: int, ended: asyncio.Future[int]) -> None:
        self._send(END, number)
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_S):
                await asyncio.shield(ended)

    def _send(self, what: bytes, number: int) -> None:
        with suppress(OSError):  # it is gone, which `_listen` hears of
            self._control.send(what + number.to_bytes(NUMBER_BYTES, "big"))

    async def _listen(self) -> None:
        """How children ended, until the forker itself has; with it all have."""
        assert self._process.stdout is not None
        with suppress(asyncio.IncompleteReadError):
            while True:
                said = await self._process.stdout.readexactly(NUMBER_BYTES + STATUS_BYTES)
                number = int.from_bytes(said[:NUMBER_BYTES], "big")
                if number == READY:
                    self._can_fork.set()
                elif (ended := self._running.pop(number, None)) is not None and not ended.done():
                    ended.set_result(int.from_bytes(said[NUMBER_BYTES:], "big", signed=True))
        await self._process.wait()
        self._control.close()
        self._can_fork.set()  # that it cannot is what those who wait for it learn when they try
        for ended in self._running.values():
            if not ended.done():
                ended.set_result(NOT_FORKED)
        self._running.clear()
