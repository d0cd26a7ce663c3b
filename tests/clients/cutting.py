"""A way to a server that is cut after so many bytes of an answer, with or without the death of the server behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from tests.cli.commands import Server
from tests.faults.serving import ModelEndpoint, server


class CuttingProxy:
    """Passes everything on. Armed, it cuts the connection whose answers reach that many bytes, once, after `when_cut`."""

    def __init__(self, port: int) -> None:
        self.port = port  # of the server
        self.url = ""
        self.cuts = 0
        self.longest = 0  # bytes of answers on one connection so far
        self._room: int | None = None
        self._passing: set[asyncio.Task[None]] = set()
        self._when_cut: Callable[[], Awaitable[None]] | None = None

    def arm(self, room: int, when_cut: Callable[[], Awaitable[None]] | None = None) -> None:
        self._room, self._when_cut = room, when_cut

    async def pass_on(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._passing.add(task)
        try:
            with suppress(OSError):
                server, to_server = await asyncio.open_connection("127.0.0.1", self.port)
                async with _aborted(to_server):
                    await self._exchange(client, to_client, server, to_server)
        except asyncio.CancelledError:
            pass  # the test is over
        finally:
            async with _aborted(to_client):
                self._passing.discard(task)

    async def aclose(self) -> None:
        for task in self._passing:
            task.cancel()
        while self._passing:
            await asyncio.wait(self._passing)

    async def _exchange(
        self,
        client: asyncio.StreamReader,
        to_client: asyncio.StreamWriter,
        server: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
    ) -> None:
        asking = asyncio.create_task(self._requests(client, to_server))
        try:
            await self._answers(server, to_client)
        finally:
            asking.cancel()
            await asyncio.wait([asking])

    async def _requests(self, client: asyncio.StreamReader, to_server: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await client.read(65536):
                to_server.write(data)
            to_server.close()

    async def _answers(self, server: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        length = 0
        while data := await server.read(65536):
            self.longest = max(self.longest, length := length + len(data))
            if self._room is not None:
                if len(data) >= self._room:
                    to_client.write(data[: self._room])
                    await to_client.drain()
                    self._room, self.cuts = None, self.cuts + 1
                    if self._when_cut is not None:
                        await self._when_cut()
                    return
                self._room -= len(data)
            to_client.write(data)
        await to_client.drain()
        to_client.close()


@asynccontextmanager
async def _aborted(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    """Cut at the end, and gone."""
    try:
        yield
    finally:
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()


@asynccontextmanager
async def proxying(port: int) -> AsyncIterator[CuttingProxy]:
    proxy = CuttingProxy(port)
    listener = await asyncio.start_server(proxy.pass_on, "127.0.0.1", 0)
    proxy.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        listener.close()
        await proxy.aclose()


async def side_by_side(rounds: Iterable[Awaitable[None]], *, at_once: int = 5) -> None:
    """Rounds that mostly wait, some of them at a time. Ends with the first that fails."""
    room = asyncio.Semaphore(at_once)

    async def run(each: Awaitable[None]) -> None:
        async with room:
            await each

    async with asyncio.TaskGroup() as group:
        for each in rounds:
            group.create_task(run(each))


class Mortal:
    """A server that can be killed; another one on the same data takes its place."""

    def __init__(self, data: Path, endpoint: ModelEndpoint) -> None:
        self._data = data
        self._endpoint = endpoint
        self._life = ExitStack()
        self.server: Server

    @property
    def port(self) -> int:
        return urlsplit(self.server.url).port or 0

    async def live(self) -> None:
        self.server = (await asyncio.to_thread(self._life.enter_context, server(self._data, self._endpoint))).server

    async def die(self) -> None:
        self.server.process.kill()
        await asyncio.to_thread(self._life.close)


@asynccontextmanager
async def mortal_server(data: Path) -> AsyncIterator[tuple[Mortal, CuttingProxy]]:
    """A server behind a proxy, and the endpoint of its model, which says "Parcels are sent on Mondays." """
    async with AsyncExitStack() as stack:
        mortal = Mortal(data, stack.enter_context(ModelEndpoint().serving()))
        await mortal.live()
        stack.push_async_callback(mortal.die)
        yield mortal, await stack.enter_async_context(proxying(mortal.port))


def death_of(mortal: Mortal, proxy: CuttingProxy) -> Callable[[], Awaitable[None]]:
    """The server dies now; nobody is reached until another one lives."""

    async def die() -> None:
        await mortal.die()
        rising.append(asyncio.create_task(rise()))

    async def rise() -> None:
        await mortal.live()
        proxy.port = mortal.port

    rising: list[asyncio.Task[None]] = []
    return die
