"""Several nodes, each a `gigachat serve` of its own, on one PostgreSQL that loses nothing; and clients who do not give up.

Idea: a client asks one prompt after the other in a conversation of its own, and sends each again under its key until it is
answered, at whichever node comes next. What it was ever told is then compared with what is stored. Invariant: whatever is
counted as lost, twice or out of order was found in the database, past any node.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import asyncpg
import msgspec

from tests import stores
from tests.cli.commands import PATIENCE_S
from tests.faults.serving import KEY, Answered, Ask, Client, ModelEndpoint, Stored, events
from tests.faults.test_kill import ask_all
from tests.postgres_server import PostgresServer, temporary_server

T = TypeVar("T")

DATABASE = "postgres"
LEASE_S = 30  # chat/turns/queue.py


class ServerStores:
    """Every folder is that server's one database. `dsn` is asked for each time: it is whoever is the primary now."""

    def __init__(self, dsn: Callable[[], str], *, through: Callable[[], str] | None = None) -> None:
        self._dsn = dsn
        self._through = through or dsn

    def settings(self, folder: Path) -> dict[str, str]:
        return {"database_url": self._through()}

    async def begin(self, folder: Path) -> None:
        """The first server migrates it."""

    def copy(self, folder: Path, to: Path) -> None:
        raise NotImplementedError

    def query(self, folder: Path, sql: str) -> list[dict[str, Any]]:
        return query(self._dsn(), sql)

    def damage(self, folder: Path) -> list[str]:
        return []


def query(dsn: str, sql: str) -> list[dict[str, Any]]:
    """The rows, by column, in a session of its own. Works beside any event loop."""

    async def fetch() -> list[dict[str, Any]]:
        connection = await asyncpg.connect(dsn, timeout=PATIENCE_S)
        try:
            return [dict(row) for row in await connection.fetch(sql)]
        finally:
            await connection.close()

    return _elsewhere(fetch())


def _elsewhere(work: Coroutine[Any, Any, T]) -> T:
    """In a thread and an event loop of its own."""
    found: list[T] = []
    thread = threading.Thread(target=lambda: found.append(asyncio.run(work)))
    thread.start()
    thread.join()
    return found[0]


@contextmanager
def on_a_server_of_its_own() -> Iterator[PostgresServer]:
    """The test's store is a PostgreSQL that is as durable as it comes, for it alone."""
    with temporary_server(durable=True) as server, stores.using(ServerStores(server.dsn)):
        migrate(server.dsn())
        yield server


def migrate(dsn: str) -> None:
    """Have the schema there."""
    _elsewhere(stores.migrate(dsn))


def hosts_dsn(*servers: PostgresServer) -> str:
    """One DSN of them all."""
    parts = urlsplit(servers[0].dsn(DATABASE))
    hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
    return urlunsplit(parts._replace(netloc=f"postgres@{hosts}"))


# --- nodes ---


class Node:
    """One `gigachat serve`. Its log is a file: nobody reads it while it runs."""

    def __init__(self, folder: Path, endpoint: ModelEndpoint, *, store: Path, **settings: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "log"
        given = {
            "data": str(folder / "data"), "embedder": "hashing", "api_key": KEY, "model_url": endpoint.url, "model": "stub",
            "log": "warning", **stores.current().settings(store), **settings,
        }  # fmt: skip
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("GIGACHAT_")}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gigachat_server", "serve", "--port", "0"],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=inherited | {f"GIGACHAT_{name.upper()}": value for name, value in given.items()},
            )
        self.url = "http://127.0.0.1:9"  # where nobody listens

    def listens(self) -> None:
        """Returns once it does."""
        assert self.process.stdout is not None
        with self.process.stdout as out:
            first = out.readline()
        assert first, self.log.read_text()
        self.url = first.split()[-1]

    def signal(self, sign: signal.Signals) -> None:
        self.process.send_signal(sign)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """It stands still meanwhile."""
        self.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(signal.SIGCONT)

    @property
    def resident_bytes(self) -> int:
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def end(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE_S)
        if self.process.stdout is not None:
            self.process.stdout.close()


@contextmanager
def serving_nodes(folder: Path, endpoint: ModelEndpoint, count: int, **settings: str) -> Iterator[list[Node]]:
    """So many that listen. Whatever is in the list at the end is killed: a test may add to it."""
    nodes = [Node(folder / f"node{number}", endpoint, store=folder, **settings) for number in range(count)]
    try:
        for node in nodes:
            node.listens()
        yield nodes
    finally:
        for node in nodes:
            node.end()
    for node in nodes:
        log = node.log.read_text()
        assert "Traceback" not in log, log[-6000:]


# --- clients ---


class Told(msgspec.Struct):
    """What came of one request."""

    ask: Ask
    answered: Answered
    at_s: float
    took_s: float
    failure: str = ""  # of the connection
    node: Node | None = None


class Load:
    """Clients, each in a conversation of its own, and what they were told."""

    def __init__(self, session: aiohttp.ClientSession, nodes: Sequence[Node], chatbot: str) -> None:
        self.told: list[Told] = []
        self.asks: dict[str, Ask] = {}
        self.tries: Counter[str] = Counter()
        self.is_over = False
        self._session = session
        self._nodes = nodes
        self.chatbot = chatbot
        self._next = 0

    def _in_turn(self, but: Node | None) -> list[Node]:
        """All of them but that one, beginning with the one whose turn it is."""
        self._next += 1
        first = self._next % len(self._nodes)
        return [node for node in (*self._nodes[first:], *self._nodes[:first]) if node is not but]

    async def ask(self, ask: Ask, node: Node | None = None, *, but: Node | None = None) -> Told:
        """Once, of that node, or of whichever listens; `but` that one."""
        self.asks[ask.text] = ask
        self.tries[ask.text] += 1
        told = Told(ask, Answered(), time.monotonic(), 0)
        self.told.append(told)
        for told.node in [node] if node is not None else self._in_turn(but):
            told.failure = ""
            try:
                await Client(told.node.url, self._session).ask(ask, told.answered)
            except aiohttp.ClientConnectorError as error:
                told.failure = repr(error)
                continue  # nobody listens there: as a balancer does, to the next one
            except (aiohttp.ClientError, ConnectionError) as error:
                told.failure = repr(error)
            break
        told.took_s = time.monotonic() - told.at_s
        return told

    async def ask_until_answered(self, ask: Ask, *, patience_s: float = 60, pause_s: float = 0.1) -> Told:
        deadline = time.monotonic() + patience_s
        while True:
            told = await self.ask(ask)
            if is_answered(told):
                return told
            assert time.monotonic() < deadline, f"never answered: {told}"
            await asyncio.sleep(pause_s)

    async def talk(self, name: str) -> None:
        """One prompt after the other, until it is over."""
        number = 0
        while not self.is_over:
            await self.ask_until_answered(
                Ask(chatbot=self.chatbot, conversation=name, text=f"{name}, prompt {number}", streams=number % 2 == 0)
            )
            number += 1

    @asynccontextmanager
    async def clients(self, count: int, name: str = "c") -> AsyncIterator[None]:
        """So many talk meanwhile; in the end each gets its last answer."""
        self.is_over = False
        async with asyncio.TaskGroup() as talking:
            for number in range(count):
                talking.create_task(self.talk(f"{name}{number}"))
            try:
                yield
            finally:
                self.is_over = True

    async def ask_in_order(self, conversations: Sequence[Sequence[Ask]], node: Node) -> dict[str, Answered]:
        """All of them, each conversation's in order; what was told of each prompt."""
        return await ask_all(Client(node.url, self._session), conversations)

    async def new_chatbot(self, node: Node, **properties: Any) -> str:
        return await Client(node.url, self._session).new_chatbot(**properties)

    async def get(self, node: Node, path: str) -> Any:
        return await Client(node.url, self._session).get(self.chatbot + path)

    async def post(self, node: Node, path: str, body: dict[str, Any]) -> int:
        """The status."""
        async with self._session.post(node.url + self.chatbot + path, json=body) as response:
            await response.read()
            return response.status

    async def stream(self, node: Node, path: str, body: dict[str, Any]) -> AsyncIterator[tuple[str, Any]]:
        async with self._session.post(node.url + self.chatbot + path, json=body) as response:
            assert response.status == 201, await response.text()
            async for event in events(response):
                yield event

    # --- what came of it ---

    def errors(self) -> Counter[str]:
        """What no client should ever be told: anything but an answer, or that it is to try again shortly."""
        found: Counter[str] = Counter()
        for told in self.told:
            if told.failure:
                found[told.failure.partition("(")[0]] += 1
            elif told.answered.status not in (201, 503):
                found[f"{told.answered.status} {told.answered.error}"] += 1
            elif told.answered.error not in (None, "storage_unavailable", "shutting_down", "reply_cut_off"):
                found[told.answered.error] += 1
        return found

    async def talked(self, more: int) -> None:
        """So many more prompts were answered."""
        wanted = self.answered() + more
        await until(lambda: self.answered() >= wanted)

    async def all_talked(self) -> float:
        """How long it took until each of the clients had an answer from now on to what it asked."""
        began = time.monotonic()
        names = {told.ask.conversation for told in self.told}

        def have() -> bool:
            return names == {
                told.ask.conversation for told in self.told if told.at_s + told.took_s >= began and is_answered(told)
            }

        return await until(have)

    async def noticed(self) -> None:
        """Somebody was told to try again, from now on."""
        refused = self.refused()
        await until(lambda: self.refused() > refused)

    def refused(self) -> int:
        """How often a client was told to try again."""
        return sum(told.answered.error is not None for told in self.told)

    def answered(self) -> int:
        return sum(map(is_answered, self.told))

    def first_answer_after(self, at_s: float) -> float:
        """How long after that moment the first request was sent and answered, or an earlier one answered with a 201."""
        return min(told.at_s + told.took_s for told in self.told if is_answered(told) and told.at_s + told.took_s >= at_s) - at_s


def is_answered(told: Told) -> bool:
    return told.answered.status == 201 and told.answered.error is None and told.answered.is_ended and not told.failure


@asynccontextmanager
async def loading(nodes: Sequence[Node], **properties: Any) -> AsyncIterator[Load]:
    """A load on a new chatbot."""
    headers = {"Authorization": f"Bearer {KEY}"}
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        yield Load(session, nodes, await Client(nodes[0].url, session).new_chatbot(**properties))


class Found(msgspec.Struct):
    """What was wrong with a store."""

    prompts: int
    lost: int
    duplicates: int
    without_reply: int
    extra_replies: int
    disorder: int


def compared(load: Load, stored: Stored) -> Found:
    """What is stored, with what clients were told."""
    contents = {message["id"]: message["content"] for message in stored.messages}
    prompts = Counter(prompt["content"] for prompt in stored.prompts)
    replies = Counter(
        each["in_reply_to"] for each in stored.messages if each["in_reply_to"] is not None and each["replaced_by"] is None
    )
    lost = 0
    for told in load.told:
        if told.answered.prompt_id is not None:
            lost += contents.get(told.answered.prompt_id) != told.ask.text
        lost += sum(contents.get(reply) != text for reply, text in told.answered.stored.items())
    done = {told.ask.text for told in load.told if is_answered(told)}
    return Found(
        prompts=len(stored.prompts),
        lost=lost + len(done - prompts.keys()),
        duplicates=sum(count - 1 for count in prompts.values()),
        without_reply=sum(replies[prompt["id"]] < 1 for prompt in stored.prompts if prompt["content"] in done),
        extra_replies=sum(max(0, count - 1) for count in replies.values()),
        disorder=len(stored.disorder()),
    )


def assert_whole(load: Load, stored: Stored) -> Found:
    """Nothing lost, nothing twice, all in order, and nothing left of what is only there meanwhile."""
    found = compared(load, stored)
    assert (found.lost, found.duplicates, found.without_reply, found.extra_replies, found.disorder) == (0, 0, 0, 0, 0), found
    assert [each for each in stored.conversations if each["answering"] or each["lease_until"] or each["queued"]] == []
    assert stored.drafts == []
    return found


async def until(holds: Callable[[], Awaitable[bool] | bool], *, patience_s: float = PATIENCE_S) -> float:
    """How long it took."""
    began = time.monotonic()
    while True:
        found = holds()
        if found if isinstance(found, bool) else await found:
            return time.monotonic() - began
        assert time.monotonic() - began < patience_s
        await asyncio.sleep(0.01)
