"""What a caller cannot take from everyone else: the memory of a real server, its moments, and its connections."""

from __future__ import annotations

import contextlib
import http.client
import logging
import math
import random
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from gigachat_server.models.endpoints.stub_endpoint import StubEndpoint
from tests.cli.commands import Gigachat, Server, endpoint
from tests.faults.processes import KEY, make_chatbot

_log = logging.getLogger("faults")
pytestmark = [pytest.mark.sqlite_only]

MOST_P99_S = 0.25
_PAGE = 4096
_SENT_BYTES = 45_000_000


class Watch:
    """How much memory the server has, and how soon it answers those who ask whether it lives."""

    def __init__(self, server: Server) -> None:
        self._pid = server.process.pid
        self._address = address_of(server)
        self._took_s: list[float] = []
        self._over = threading.Event()
        self.before_mib = self.most_mib = self.resident_mib()
        self._usual_p99_s = self._idle_p99_s()

    def resident_mib(self) -> float:
        return int(Path(f"/proc/{self._pid}/statm").read_text().split()[1]) * _PAGE / (1 << 20)

    @property
    def grown_mib(self) -> float:
        return self.most_mib - self.before_mib

    @property
    def p99_s(self) -> float:
        return sorted(self._took_s)[int(0.99 * len(self._took_s))]

    def _look(self, most: float = math.inf) -> None:
        connection = http.client.HTTPConnection(*self._address, timeout=60)
        while not self._over.is_set() and len(self._took_s) < most:
            began, computed = time.perf_counter(), self._computed_s()
            connection.request("GET", "/livez")
            connection.getresponse().read()
            # What the server's loop computed meanwhile; for how long it had no processor is up to the machine.
            self._took_s.append(min(time.perf_counter() - began, self._computed_s() - computed))
            self.most_mib = max(self.most_mib, self.resident_mib())
            self._over.wait(0.005)
        connection.close()

    def _computed_s(self) -> float:
        """How long the server's main thread, in which its event loop runs, had a processor."""
        return int(Path(f"/proc/{self._pid}/task/{self._pid}/schedstat").read_text().split()[0]) / 1e9

    def _idle_p99_s(self) -> float:
        """What this machine, busy as it may be with other things, takes for it anyway."""
        self._look(100)
        found = self.p99_s
        self._took_s.clear()
        return found

    @property
    def is_held_up(self) -> bool:
        return self.p99_s > MOST_P99_S + self._usual_p99_s

    @contextmanager
    def looking(self) -> Iterator[None]:
        looking = threading.Thread(target=self._look)
        looking.start()
        try:
            yield
        finally:
            self._over.set()
            looking.join()
            p99_ms, usual_ms = 1000 * self.p99_s, 1000 * self._usual_p99_s
            _log.info("+%.0f MiB at most, /livez p99 %.0f ms, else %.0f ms", self.grown_mib, p99_ms, usual_ms)

    def falls_below(self, grown_mib: float, *, within_s: float) -> bool:
        until = time.monotonic() + within_s
        while self.resident_mib() - self.before_mib > grown_mib:
            if time.monotonic() > until:
                return False
            time.sleep(0.1)
        return True


def address_of(server: Server) -> tuple[str, int]:
    return "127.0.0.1", int(server.url.rpartition(":")[2])


def connect(
    server: Server, caller: socket.socket | None = None, *, source: str = "127.0.0.1", buffer_bytes: int | None = None
) -> socket.socket:
    caller = caller or socket.socket()
    if buffer_bytes is not None:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
    caller.settimeout(60)
    caller.bind((source, 0))
    caller.connect(address_of(server))
    return caller


def get(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {KEY}", *headers, "", ""]).encode()


@pytest.fixture
def talkative(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A data folder, and its chatbot: 100 messages of the conversation `c1` are some 20 MB with their vectors."""
    if not _filled:
        _filled.append(_fill(tmp_path_factory.mktemp("talkative") / "data"))
    return _filled[0]


_filled: list[tuple[Path, str]] = []  # once for all tests


def _fill(data: Path) -> tuple[Path, str]:
    documents = {"results": {"match_count": 40, "match_threshold": 0}, "text_splitter": {"chunk_size": 1500, "chunk_overlap": 0}}
    chance = random.Random(1)
    words = ["".join(chance.choices("abcdefghijklmnop", k=6)) for _ in range(3000)]
    lines = [f"Parcels of kind {number} are sent on Mondays. {' '.join(chance.choices(words, k=200))}" for number in range(60)]
    with endpoint(StubEndpoint()) as url, Gigachat(data, api_key=KEY, model_url=url, model="stub").serving() as server:
        answer = server.call("/chatbots", KEY, {"name": "much", "documents": documents, "response": {"n": 4}})
        chatbot = f"/chatbots/{answer.body['id']}"
        assert (
            server.call(f"{chatbot}/documents?embedding=false", KEY, {"name": "parcels", "content": "\n\n".join(lines)}).status
            == 201
        )
        for number in range(20):
            body = {"conversation_id": "c1", "user_id": "ann", "prompt": f"When are parcels of kind {number} sent?"}
            assert server.call(f"{chatbot}/conversations?embedding=false", KEY, body).status == 201
        assert server.stop()[0] == 0
    return data, chatbot


@contextmanager
def serving_much(talkative: tuple[Path, str]) -> Iterator[tuple[Server, str]]:
    data, chatbot = talkative
    with Gigachat(data, api_key=KEY).serving() as server:
        # What a server needs once, it has by now.
        assert server.call(f"{chatbot}/conversations/c1/messages?limit=100&embedding=true", KEY).status == 200
        yield server, chatbot


def test_trailers_without_end_take_no_memory(tmp_path: Path) -> None:
    with Gigachat(tmp_path / "data", api_key=KEY).serving() as server:
        server.call("/livez", KEY)
        watch = Watch(server)
        with watch.looking(), contextlib.closing(connect(server)) as caller:
            caller.sendall(b"POST /chatbots HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")
            with contextlib.suppress(OSError):
                for number in range(_SENT_BYTES // 9000):
                    caller.sendall(b"X-%d: %b\r\n" % (number, b"y" * 8) * 500)
        assert watch.grown_mib < 20
        assert not watch.is_held_up


def test_requests_in_one_go_take_no_memory(tmp_path: Path) -> None:
    with Gigachat(tmp_path / "data", api_key=KEY).serving() as server:
        server.call("/livez", KEY)
        watch = Watch(server)
        with watch.looking(), contextlib.ExitStack() as stack:
            for _ in range(20):
                caller = stack.enter_context(contextlib.closing(connect(server)))
                caller.settimeout(2)
                with contextlib.suppress(OSError):
                    caller.sendall(b"POST /chatbots HTTP/1.1\r\nContent-Length: 9\r\n\r\n" + b"x" * 9)
                    caller.sendall(b"GET / HTTP/1.1\r\n\r\n" * 200_000)
        assert watch.grown_mib < 20
        assert not watch.is_held_up


def _lists(chatbot: str) -> bytes:
    return get(f"{chatbot}/conversations/c1/messages?limit=100&embedding=true")


def _events(chatbot: str) -> bytes:
    return get(f"{chatbot}/conversations/c1/events?limit=100&embedding=true")


def _followers(chatbot: str) -> bytes:
    return get(f"{chatbot}/conversations/c1/events?after=0", "Accept: text/event-stream")


def _followers_of_all(chatbot: str) -> bytes:
    return get(f"{chatbot}/events?after=0", "Accept: text/event-stream")


def _followers_with_vectors(chatbot: str) -> bytes:
    return get(f"{chatbot}/conversations/c1/events?after=0&embedding=true", "Accept: text/event-stream")


@pytest.mark.parametrize(
    "count, asking",
    [(100, _lists), (100, _events), (200, _followers), (100, _followers_with_vectors)],
)
def test_who_does_not_read_takes_little_memory(talkative: tuple[Path, str], count: int, asking: Callable[[str], bytes]) -> None:
    with serving_much(talkative) as (server, chatbot):
        watch = Watch(server)
        with watch.looking(), contextlib.ExitStack() as stack:
            for _ in range(count):
                caller = stack.enter_context(contextlib.closing(connect(server, buffer_bytes=4096)))
                caller.sendall(asking(chatbot))
            answer = server.call(f"{chatbot}/conversations/c1", KEY)
            assert answer.status == 200
            assert server.call("/chatbots", _other_key(talkative)).body == [], "other accounts have their lists meanwhile"
        assert watch.grown_mib < 150
        assert not watch.is_held_up
        assert watch.falls_below(100, within_s=20)


def _other_key(talkative: tuple[Path, str]) -> str:
    said = Gigachat(talkative[0], api_key=KEY).output("keys", "create", "--name", "other", "--account", "other")
    return next(word for word in said.split() if word.startswith("gca_"))


def test_many_ordinary_readers_hold_up_nobody(talkative: tuple[Path, str]) -> None:
    with serving_much(talkative) as (server, chatbot):
        watch = Watch(server)
        path = f"{chatbot}/conversations/c1/messages?limit=100&embedding=true"
        with watch.looking(), ThreadPoolExecutor(20) as pool:
            sizes = {len(answer.text) for answer in pool.map(lambda _: server.call(path, KEY), range(40))}
        assert len(sizes) == 1
        assert sizes.pop() > 15_000_000
        assert not watch.is_held_up
        assert watch.falls_below(100, within_s=20)


def test_lists_are_short_unless_vectors_are_asked_for(talkative: tuple[Path, str]) -> None:
    with serving_much(talkative) as (server, chatbot):
        path = f"{chatbot}/conversations/c1/messages?limit=100"
        assert 3 * len(server.call(path, KEY).text) < len(server.call(f"{path}&embedding=true", KEY).text)


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="prlimit is not installed")
@pytest.mark.parametrize("late", [b"", b"x"])
def test_connections_that_wait_leave_room_for_others(tmp_path: Path, late: bytes) -> None:
    """400 files: 168 connections, three quarters of them from one address."""
    gigachat = Gigachat(tmp_path / "data", api_key=KEY)
    process = gigachat.start("serve", "--port", "0", "--receive-timeout-s", "2", under=("prlimit", "--nofile=400:400"))
    try:
        server = Server(process)
        chatbot = make_chatbot(server)
        with contextlib.ExitStack() as stack:
            callers = []
            for _ in range(600):
                caller = stack.enter_context(contextlib.closing(socket.socket()))
                with contextlib.suppress(ConnectionError):  # who is one too many is cut off, if need be before they know
                    connect(server, caller)
                    caller.sendall(b"POST /chatbots HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
                callers.append(caller)
            with contextlib.closing(connect(server, source="127.0.0.2")) as other:
                other.sendall(get(chatbot))
                assert other.recv(4096).startswith(b"HTTP/1.1 200 ")
            said = [_first(caller) for caller in callers]
            assert said.count("401") == 126
            assert said.count("503") >= 64
            for caller in callers:
                with contextlib.suppress(OSError):
                    caller.sendall(late)
            assert all(_ends(caller) for caller in callers)
        assert server.call(chatbot, KEY).status == 200
        assert server.stop()[0] == 0
    finally:
        process.kill()
        process.communicate()


def _first(caller: socket.socket) -> str:
    """The status of what it is told, if it is told anything."""
    try:
        return caller.recv(64).decode()[9:12]
    except OSError:
        return ""


def _ends(caller: socket.socket) -> bool:
    caller.settimeout(10)
    try:
        while caller.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True
