"""gigachat as a server: one event loop that listens on TCP for everyone and on a local socket for this machine's commands.

Idea: what listens is a context. Entering binds the port first, so that a taken one is told at once, then opens the
store; leaving stops accepting, lets running replies end for as long as the settings allow, and gives the store up.

Invariant: the application that needs no key is bound to the local socket alone, never to a port.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import functools
import gc
import math
import os
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec
import uvicorn
import uvloop
from starlette.types import ASGIApp

from gigachat_server.api.dispatch import Api
from gigachat_server.app import PublicApp, running
from gigachat_server.errors import SetupError
from gigachat_server.services import Services
from gigachat_server.serving import local_socket, memory
from gigachat_server.serving.admission import Admission
from gigachat_server.serving.connection import Bounds, Connection
from gigachat_server.serving.logs import with_request_lines
from gigachat_server.serving.unread_answers import UnreadAnswers
from gigachat_server.settings import Settings
from gigachat_server.work.tasks import observed

T = TypeVar("T")

BACKLOG = 2048
KEEP_ALIVE_S = 75  # longer than the proxies before us keep a connection, so that it is they who close it
_GRACE_S = 4  # to store that replies were cut off, and to tell those who wait for them, on a machine that is busy, too
_BROKEN_PATIENCE_S = 2  # to tell them so, when nothing can be stored
_PR_SET_DUMPABLE = 4
_MOST_OPEN_FILES = 1 << 20
_MOST_UNSENT_BYTES = 128 * 1024
_QUIT = 130


class Serving(msgspec.Struct, frozen=True):
    """A server that accepts requests. `stopped` is set when it was asked to end, or its store is broken."""

    services: Services
    app: PublicApp
    url: str
    stopped: asyncio.Event


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run it to its end in the event loop of servers; what it returns."""
    # Turns make little that only the cycle collector can free, and its passes over a large heap stop everything: with
    # the default thresholds they were a tenth of a turn's processor time.
    gc.set_threshold(50_000, 20, 50)
    # Threads read and decode; with the default of 5 ms each of them keeps the event loop waiting for that long.
    sys.setswitchinterval(0.001)
    memory.settle()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Serving]:
    """A gigachat that serves until the block is left. SIGTERM, SIGINT and a broken store set `stopped`. Raises `SetupError`."""
    raise_open_files_limit()
    keep_memory_private()
    stopped = asyncio.Event()
    _listen_to_signals(stopped)
    with closing(bind(settings.host, settings.port)) as port:
        async with running(settings) as services:
            services.embedder.start()
            app = PublicApp(services)
            public = Server(with_request_lines(app), settings)
            gc.collect()
            gc.freeze()  # what is there now stays
            async with (
                _stopping_when_broken(services, stopped),
                _for_commands(services) as local,
                _listening(public, port),
            ):
                try:
                    yield Serving(services, app, _url(settings.host, port), stopped)
                finally:
                    services.is_shutting_down = True
                    public.stop()
                    if local is not None:
                        local.stop()
                    # While the servers still wait for their requests: those get told how their turns ended.
                    await services.turns.drain(_patience_s(services))
                    services.feed.close()


def _patience_s(services: Services) -> float:
    """How long running turns may go on. What cannot be stored need not be waited for: only for those who are told so."""
    return _BROKEN_PATIENCE_S if services.database.broken.is_set() else services.settings.shutdown_timeout_s


@asynccontextmanager
async def _stopping_when_broken(services: Services, stopped: asyncio.Event) -> AsyncIterator[None]:
    async def stop() -> None:
        await services.database.broken.wait()
        stopped.set()

    watching = observed(stop(), name="store-watch")
    try:
        yield
    finally:
        watching.cancel()


@asynccontextmanager
async def _for_commands(services: Services) -> AsyncIterator[Server | None]:
    """Commands ask the process that holds the store's lock; a store without one they open themselves."""
    if services.database.is_shared:
        yield None
        return
    async with listening_locally(services, services.settings.socket_path) as local:
        yield local


@asynccontextmanager
async def listening_locally(services: Services, path: Path) -> AsyncIterator[Server]:
    """Answer this machine's own commands there. Only for the holder of the data folder's lock, or in a folder of its own."""
    server = Server(with_request_lines(Api(services, is_local=True)), services.settings, is_public=False)
    with closing(local_socket.bind(path)) as bound:
        try:
            async with _listening(server, bound):
                yield server
        finally:
            local_socket.unlink(path)


class Server(uvicorn.Server):
    """A uvicorn server that leaves signals alone, tells when it listens, and stops without delay.

    `is_public`: it bounds how many may come.
    """

    def __init__(self, app: ASGIApp, settings: Settings, *, is_public: bool = True) -> None:
        bounds = Bounds(
            patience_s=settings.receive_timeout_s,
            keep_alive_s=KEEP_ALIVE_S,
            unread=UnreadAnswers(settings.max_unread_bytes, when_all_are_read=memory.GivingBack().soon),
            admission=Admission(settings) if is_public else None,
            root=settings.public_path,
        )
        super().__init__(
            uvicorn.Config(
                app,
                http=cast(Any, functools.partial(Connection, bounds)),
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                proxy_headers=False,  # GIGACHAT_TRUSTED_PROXIES decides, request by request
                server_header=False,
                backlog=BACKLOG,
                timeout_graceful_shutdown=math.ceil(settings.shutdown_timeout_s) + _GRACE_S,
            )
        )
        self.is_listening = asyncio.Event()
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Accept nothing more; what runs may end."""
        self.should_exit = True
        self._stopping.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_listening.set()

    async def main_loop(self) -> None:
        # Once a second, for the Date header.
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._stopping.wait()


@asynccontextmanager
async def _listening(server: Server, bound: socket.socket) -> AsyncIterator[None]:
    """The server accepts on that socket; leaving waits for its running requests."""
    task = asyncio.create_task(server.serve(sockets=[bound]), name="server")
    started = asyncio.create_task(server.is_listening.wait())
    await asyncio.wait({task, started}, return_when=asyncio.FIRST_COMPLETED)
    started.cancel()
    if task.done():
        task.result()  # raises why it could not
    try:
        yield
    finally:
        server.stop()
        await task


def bind(host: str, port: int) -> socket.socket:
    """A socket that owns the port. Raises `SetupError` saying what to do where it cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (socket.gaierror, UnicodeError):
        raise SetupError(f"Cannot listen on {host!r}: set --host to an address of this machine.") from None
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # What the kernel takes for a caller who does not read; those who do are not held up by it.
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _MOST_UNSENT_BYTES)
        bound.bind(address)
        # Two processes may both bind; only one can listen. Whoever connects from now on waits until we are ready.
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        raise SetupError(_cannot_listen(error, host, port)) from None
    return bound


def _cannot_listen(error: OSError, host: str, port: int) -> str:
    if isinstance(error, PermissionError):
        return f"Port {port} is reserved for root: choose another with --port (1024 or higher), or 0 for any free one."
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} on {host} is taken: stop what uses it, or choose another with --port (0 for any free one)."
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is not an address of this machine: set --host to one that is."
    return f"Cannot listen on {host} port {port}: {error.strerror}."


def _url(host: str, bound: socket.socket) -> str:
    """Where a browser on this machine finds the server."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104
    return f"http://{f'[{reachable}]' if ':' in reachable else reachable}:{bound.getsockname()[1]}"


def _listen_to_signals(stopped: asyncio.Event) -> None:
    def interrupt() -> None:
        if stopped.is_set():
            # Someone is in a hurry. The next start repairs what this leaves, as after a power cut.
            os._exit(_QUIT)
        stopped.set()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, interrupt)
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    # A terminal that closes, or a service manager that wants a reload, is no reason to cut anybody off.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def raise_open_files_limit() -> None:
    """Every stream is an open file, and the usual limit of 1,024 is a compatibility matter of other programs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):  # a sandbox may forbid it: then the old limit holds
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def keep_memory_private() -> None:
    """Let no other process of this user read or trace this one, whose memory holds keys and what users said; dump no core."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
