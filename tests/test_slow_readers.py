"""A caller who does not read: its connection ends, its memory is bounded, and the application is told in peace."""

from __future__ import annotations

import asyncio
import json
import logging
import resource
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gigachat_server.app import PublicApp
from gigachat_server.models.fake import ScriptedModel
from gigachat_server.serving.connection import Connection
from gigachat_server.serving.server import Server, bind
from gigachat_server.settings import Settings
from tests.harness import gigachat, until

_log = logging.getLogger(__name__)

PIECE = b"x" * 65536


class Talker:
    """An application that streams pieces until its caller is gone, or as many as it is told."""

    def __init__(self, pieces: int | None = None, *, is_streamed: bool = True) -> None:
        self.pieces = pieces
        self.is_streamed = is_streamed
        self.ended = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        leaving = asyncio.create_task(self._left(receive))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if not self.is_streamed:
            await send({"type": "http.response.body", "body": PIECE * (self.pieces or 0)})
        sent = 0
        while self.is_streamed and sent != self.pieces and not leaving.done():
            await send({"type": "http.response.body", "body": PIECE, "more_body": True})
            sent += 1
        if self.is_streamed:
            await send({"type": "http.response.body", "body": b""})
        leaving.cancel()
        self.ended.set()

    async def _left(self, receive: Receive) -> None:
        message: Message = {"type": ""}
        while message["type"] != "http.disconnect":
            message = await receive()


@asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[tuple[Server, tuple[str, int]]]:
    server = Server(app, Settings(shutdown_timeout_s=0))
    with closing(bind("127.0.0.1", 0)) as bound:
        task = asyncio.create_task(server.serve(sockets=[bound]))
        await server.is_listening.wait()
        try:
            yield server, bound.getsockname()
        finally:
            server.stop()
            await task


async def ask(
    address: tuple[str, int], *headers: str, line: str = "GET / HTTP/1.1", body: bytes = b"", buffer_bytes: int = 4096
) -> socket.socket:
    """A caller that has asked and reads nothing."""
    caller = socket.socket()
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
    caller.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(caller, address)
    await loop.sock_sendall(caller, "\r\n".join([line, "Host: x", *headers, "", ""]).encode() + body)
    return caller


async def read_all(caller: socket.socket) -> None:
    while await asyncio.get_running_loop().sock_recv(caller, 1 << 20):
        pass


async def all_stuck(server: Server, count: int) -> None:
    def is_stuck(connection: object) -> bool:
        return isinstance(connection, Connection) and connection.is_congested

    while sum(map(is_stuck, server.server_state.connections)) < count:  # noqa: ASYNC110 - as below
        await asyncio.sleep(0.01)


async def all_gone(server: Server) -> None:
    while server.server_state.connections:  # noqa: ASYNC110 - uvicorn tells nobody
        await asyncio.sleep(0.01)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(Connection, "stalled_s", 0.1)
    caplog.set_level(logging.ERROR)
    return caplog


@pytest.mark.parametrize(
    "talker, headers",
    [
        pytest.param({}, (), id="stream"),
        pytest.param({"pieces": 200, "is_streamed": False}, (), id="one large answer"),
        pytest.param({"pieces": 200, "is_streamed": False}, ("Connection: close",), id="one large answer, the last"),
    ],
)
async def test_who_stops_reading_is_cut_off(
    impatient: pytest.LogCaptureFixture, talker: dict[str, int], headers: tuple[str, ...]
) -> None:
    app = Talker(**talker)  # type: ignore[arg-type]
    async with serving(app) as (server, address):
        with await ask(address, *headers) as caller:
            await app.ended.wait()
            await all_gone(server)
            with pytest.raises(ConnectionResetError):
                await read_all(caller)
    assert impatient.records == []


async def test_who_reads_slowly_gets_it_all(impatient: pytest.LogCaptureFixture) -> None:
    app = Talker(pieces=200)
    loop = asyncio.get_running_loop()
    started = loop.time()
    async with serving(app) as (_, address):
        with await ask(address, buffer_bytes=1 << 18) as caller:
            received = 0
            while received < 200 * len(PIECE):
                received += len(await loop.sock_recv(caller, 256 * 1024))
                await asyncio.sleep(0.01)  # a slow line, not a wait for anything
            await app.ended.wait()
    assert loop.time() - started > 4 * Connection.stalled_s
    assert impatient.records == []


async def test_the_turn_of_who_stops_reading_is_finished_and_stored(impatient: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    pieces = ["long " * 20_000] * 120
    async with gigachat(tmp_path, model=ScriptedModel(pieces)) as api, serving(PublicApp(api.services)) as (server, address):
        chatbot = await api.chatbot()
        body = json.dumps({"conversation_id": "c1", "user_id": "ann", "prompt": "Go on"}).encode()
        headers = (f"Authorization: Bearer {api.key}", "Accept: text/event-stream", f"Content-Length: {len(body)}")
        with await ask(address, *headers, line=f"POST {chatbot}/conversations HTTP/1.1", body=body):
            await all_stuck(server, 1)
            await all_gone(server)

        async def is_stored() -> bool:
            return len(await api.messages(chatbot)) == 2

        await until(is_stored)
        assert (await api.messages(chatbot))[-1]["content"] == "".join(pieces)
    assert impatient.records == []


async def test_a_stop_does_not_wait_for_who_does_not_read(caplog: pytest.LogCaptureFixture) -> None:
    app = Talker()
    async with serving(app) as (server, address):
        with await ask(address):
            await all_stuck(server, 1)
            server.stop()
            async with asyncio.timeout(5):
                await app.ended.wait()
                await all_gone(server)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def memory_mib() -> float:
    """What this process has in memory: the server and its callers, who hold nothing."""
    resident_pages = int(Path("/proc/self/statm").read_text().split()[1])
    return resident_pages * resource.getpagesize() / (1 << 20)


@pytest.mark.faults
async def test_two_hundred_stuck_readers_take_little_memory() -> None:
    async with serving(Talker()) as (server, address):
        before = memory_mib()
        callers = [await ask(address) for _ in range(200)]
        await all_stuck(server, 200)
        grown_mib = memory_mib() - before
        for caller in callers:
            caller.close()
    _log.info("200 stuck readers: %.0f MiB", grown_mib)
    assert grown_mib < 100
