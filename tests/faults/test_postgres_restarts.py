"""PostgreSQL that goes away and comes back, here or elsewhere: nothing acknowledged is lost, and nobody has to restart a node."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal

import aiohttp
import msgspec
import pytest

from tests import stores
from tests.faults.cluster import (
    LEASE_S,
    Found,
    Load,
    Node,
    ServerStores,
    assert_whole,
    compared,
    hosts_dsn,
    loading,
    migrate,
    on_a_server_of_its_own,
    serving_nodes,
    until,
)
from tests.faults.serving import ROUNDS, ModelEndpoint, read_store
from tests.postgres_server import PostgresServer, temporary_folder

pytestmark = pytest.mark.postgres_only

CLIENTS = 12
BACK_S = 5.0
FAILED_OVER_S = 10.0
BUSY = 3.0  # on a machine that runs other tests beside this one

Record = Callable[[str, object], None]
Way = Literal["fast", "immediate", "kill"]


def summary(load: Load, found: Found, back_s: list[float]) -> dict[str, object]:
    return {
        **msgspec.to_builtins(found),
        "requests": len(load.told),
        "refused": load.refused(),
        "errors": dict(load.errors()),
        "first answer after, s": [round(each, 2) for each in back_s],
    }


# --- F10: restarts ---


async def restart(ways: Sequence[Way], folder: Path, record: Record, *, limit_s: float) -> None:
    with on_a_server_of_its_own() as server, ModelEndpoint().serving() as endpoint:
        with serving_nodes(folder, endpoint, 2) as nodes:
            async with loading(nodes) as load:
                back_s, all_back_s = list[float](), list[float]()
                async with load.clients(CLIENTS):
                    for way in ways:
                        await load.talked(CLIENTS)
                        await asyncio.to_thread(_end, server, way)
                        await load.noticed()
                        await asyncio.to_thread(server.start)
                        up_at = time.monotonic()
                        all_back_s.append(await load.all_talked())
                        back_s.append(load.first_answer_after(up_at))
        found = compared(load, read_store(folder))
        all_back = {"all clients after, s": [round(each, 2) for each in all_back_s]}
        record("figures", summary(load, found, back_s) | all_back)
        assert_whole(load, read_store(folder))
        assert load.errors() == Counter()
        assert max(back_s) <= limit_s
        assert max(all_back_s) <= LEASE_S / 2, "no conversation waits until a lease has run out"


def _end(server: PostgresServer, way: Way) -> None:
    if way == "kill":
        server.kill()
    else:
        server.stop(way)


@pytest.mark.faults
async def test_postgresql_is_restarted_ten_times_under_load(tmp_path: Path, record_property: Record) -> None:
    await restart(("fast", "immediate", "kill") * 3 + ("kill",), tmp_path, record_property, limit_s=BACK_S)


async def test_postgresql_is_killed_and_comes_back(tmp_path: Path, record_property: Record) -> None:
    await restart(("kill",), tmp_path, record_property, limit_s=BACK_S * BUSY)


# --- F11 to F13: another server is the primary ---


class Pair:
    """A primary and its standby, which change places."""

    def __init__(self, folder: Path, *, is_synchronous: bool = True) -> None:
        self._folder = folder
        self._count = 0
        self._is_synchronous = is_synchronous
        self.primary = PostgresServer.create(folder / "server0", durable=True)
        self.primary.start()
        self.standby = self._make_standby()
        self._first = (self.primary, self.standby)

    def dsn(self) -> str:
        """Of the primary alone."""
        return self.primary.dsn()

    def both(self) -> str:
        return hosts_dsn(*self._first)

    def _make_standby(self) -> PostgresServer:
        self._count += 1
        name = f"standby{self._count}"
        return self.primary.make_standby(self._folder / f"server{self._count}", name=name, is_synchronous=self._is_synchronous)

    def fail_over(self) -> None:
        """The primary is dead, and the standby in its place, alone."""
        self.primary.kill()
        self.standby.promote()
        self.primary, self.standby = self.standby, self.primary

    def renew_standby(self) -> None:
        """The primary has a standby again, at the address of the one before."""
        port = self.standby.port
        self._count += 1
        name = f"standby{self._count}"
        self.standby = self.primary.make_standby(
            self._folder / f"server{self._count}", name=name, is_synchronous=self._is_synchronous, port=port
        )

    def stop(self) -> None:
        for server in (self.primary, self.standby):
            server.stop("immediate")


@contextmanager
def pair(*, is_synchronous: bool = True) -> Iterator[Pair]:
    with temporary_folder() as folder, ExitStack() as stack:
        found = Pair(folder, is_synchronous=is_synchronous)
        stack.callback(found.stop)
        migrate(found.dsn())
        with stores.using(ServerStores(found.dsn, through=found.both)):
            yield found


async def readiness(node: Node) -> int:
    """The status of `/readyz`."""
    async with aiohttp.ClientSession() as session, session.get(node.url + "/readyz") as response:
        return response.status


async def durability(node: Node) -> str:
    """As `/readyz` says it; the empty string while it is not ready."""
    async with aiohttp.ClientSession() as session, session.get(node.url + "/readyz") as response:
        return str((await response.json()).get("durability", ""))


async def fail_over(rounds: int, folder: Path, record: Record, *, limit_s: float) -> None:
    with pair() as servers, ModelEndpoint().serving() as endpoint, serving_nodes(folder, endpoint, 2) as nodes:
        async with loading(nodes) as load:
            back_s = []
            assert await durability(nodes[0]) == "replicated"
            async with load.clients(CLIENTS):
                for number in range(rounds):
                    if number:
                        await asyncio.to_thread(servers.renew_standby)
                        assert await durability(nodes[0]) == "replicated"
                    await load.talked(CLIENTS)
                    former = servers.primary
                    await asyncio.to_thread(servers.fail_over)
                    promoted_at = time.monotonic()
                    assert not former.is_running and not servers.primary.is_standby
                    await load.talked(CLIENTS)
                    back_s.append(load.first_answer_after(promoted_at))
                    assert await durability(nodes[1]) == "local"
        found = compared(load, read_store(folder))
        record("figures", summary(load, found, back_s))
        assert_whole(load, read_store(folder))
        assert load.errors() == Counter()
        assert max(back_s) <= limit_s


@pytest.mark.faults
async def test_ten_failovers_to_a_synchronous_standby(tmp_path: Path, record_property: Record) -> None:
    await fail_over(max(1, ROUNDS // 2), tmp_path, record_property, limit_s=FAILED_OVER_S)


async def test_a_failover_loses_nothing(tmp_path: Path, record_property: Record) -> None:
    await fail_over(1, tmp_path, record_property, limit_s=FAILED_OVER_S * BUSY)


async def lose(folder: Path, record: Record) -> Found:
    """An asynchronous standby that stood still is promoted: what came meanwhile is lost, and the check has to see it."""
    with (
        pair(is_synchronous=False) as servers,
        ModelEndpoint().serving() as endpoint,
        serving_nodes(folder, endpoint, 2) as nodes,
    ):
        async with loading(nodes) as load:
            assert await durability(nodes[0]) == "local", "nobody is told that it is safe"
            async with load.clients(CLIENTS):
                await load.talked(CLIENTS)
                with servers.standby.frozen():
                    await load.talked(5 * CLIENTS)
                    await asyncio.to_thread(servers.primary.kill)
                    await asyncio.to_thread(servers.standby.kill)  # with what its sockets held
                await asyncio.to_thread(servers.standby.start)
                await asyncio.to_thread(servers.fail_over)
                await load.talked(CLIENTS)
        found = compared(load, read_store(folder))
        record("figures", summary(load, found, []))
        return found


async def test_what_an_asynchronous_standby_loses_is_seen(tmp_path: Path, record_property: Record) -> None:
    """F12: it proves that the other checks would see a loss."""
    assert (await lose(tmp_path, record_property)).lost > 0


@pytest.mark.parametrize("way", ["read-only", pytest.param("standby", marks=pytest.mark.faults)])
async def test_a_primary_that_becomes_read_only_is_left(tmp_path: Path, way: str, record_property: Record) -> None:
    """F13: it stays up and answers reads; or it comes back as the standby of the other."""
    with pair() as servers, ModelEndpoint().serving() as endpoint, serving_nodes(tmp_path, endpoint, 2) as nodes:
        for is_refusing in (True, False):
            await asyncio.to_thread(servers.primary.refuse_writes, is_refusing=is_refusing)

            async def is_told(wanted: int = 503 if is_refusing else 200) -> bool:
                return await readiness(nodes[0]) == wanted

            await until(is_told, patience_s=10)  # though nobody has tried to write
        async with loading(nodes) as load, load.clients(CLIENTS):
            await load.talked(CLIENTS)
            former = servers.primary
            if way == "standby":
                await asyncio.to_thread(former.hand_over_to, servers.standby)
            else:
                await asyncio.to_thread(former.refuse_writes)
                await load.noticed()
                await asyncio.to_thread(servers.standby.promote)
            servers.primary, servers.standby = servers.standby, servers.primary
            promoted_at = time.monotonic()
            await load.talked(CLIENTS)
            back_s = load.first_answer_after(promoted_at)
            assert former.is_running
            # They hear each other again, too.
            await until(lambda: all_listen_to(servers.primary, nodes))
        found = compared(load, read_store(tmp_path))
        record_property("figures", summary(load, found, [back_s]))
        assert_whole(load, read_store(tmp_path))
        assert load.errors() == Counter()
        assert back_s <= BACK_S * BUSY


def all_listen_to(server: PostgresServer, nodes: Sequence[Node]) -> bool:
    """Whether each node has its connection for wake-ups there; of all connections these alone ask that."""
    asked = "query LIKE '%transaction_read_only''%' OR query LIKE '%pg_notify%'"
    return int(server.query(f"SELECT count(*) FROM pg_stat_activity WHERE ({asked}) AND pid <> pg_backend_pid()")) >= len(nodes)


@pytest.mark.faults
async def test_a_primary_that_does_not_answer_any_more_is_left(tmp_path: Path, record_property: Record) -> None:
    """Its connections stay open and say nothing, as those of a machine that lost its disk; its standby takes its place."""
    with pair() as servers, ModelEndpoint().serving() as endpoint, serving_nodes(tmp_path, endpoint, 2) as nodes:
        async with loading(nodes) as load, load.clients(CLIENTS):
            await load.talked(CLIENTS)
            former = servers.primary
            with former.frozen():
                servers.primary, servers.standby = servers.standby, former
                await asyncio.to_thread(servers.primary.promote)
                back_s = await load.all_talked()
                await asyncio.to_thread(former.kill)
            await load.talked(CLIENTS)
        found = compared(load, read_store(tmp_path))
        record_property("figures", summary(load, found, [back_s]))
        assert_whole(load, read_store(tmp_path))
        assert load.errors() == Counter()
        assert back_s <= FAILED_OVER_S * BUSY
