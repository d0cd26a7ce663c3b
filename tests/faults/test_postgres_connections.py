"""Connections to PostgreSQL that break at the worst moment, lead nowhere, or are all taken."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from gigachat_server.store.database import Tx
from gigachat_server.store.engines.postgres import PATIENCE_S, open_postgres
from tests import stores
from tests.faults.cluster import (
    ServerStores,
    assert_whole,
    compared,
    is_answered,
    loading,
    migrate,
    on_a_server_of_its_own,
    serving_nodes,
    until,
)
from tests.faults.cutting_proxy import CuttingProxy
from tests.faults.serving import ROUNDS, Ask, ModelEndpoint, read_store
from tests.postgres_server import temporary_server

pytestmark = pytest.mark.postgres_only

CLIENTS = 8
BUSY = 3.0  # on a machine that runs other tests beside this one

Record = Callable[[str, object], None]


# --- F14: the answer to a COMMIT is lost ---


async def cut(count: int, folder: Path, record: Record) -> None:
    with temporary_server(durable=True) as server, CuttingProxy(server.port).serving() as proxy:
        parts = urlsplit(server.dsn())
        migrate(server.dsn())
        through = urlunsplit(parts._replace(netloc=f"postgres@127.0.0.1:{proxy.port}"))
        with (
            stores.using(ServerStores(server.dsn, through=lambda: through)),
            ModelEndpoint().serving() as endpoint,
            serving_nodes(folder, endpoint, 2) as nodes,
        ):
            async with loading(nodes) as load, load.clients(CLIENTS):
                proxy.is_cutting = True
                await until(lambda: proxy.cuts.total() >= count, patience_s=600)
                proxy.is_cutting = False
            found = compared(load, read_store(folder))
            figures = {
                "cuts": dict(proxy.cuts),
                "requests": len(load.told),
                "refused": load.refused(),
                "errors": dict(load.errors()),
                "model asked again": endpoint.calls.total() - len(endpoint.calls),
                "found": str(found),
            }
            record("figures", figures)
            assert min(proxy.cuts["before"], proxy.cuts["after"]) > count / 5
            assert_whole(load, read_store(folder))
            assert load.errors() == Counter()


@pytest.mark.faults
async def test_200_connections_are_cut_at_their_commit(tmp_path: Path, record_property: Record) -> None:
    await cut(10 * ROUNDS, tmp_path, record_property)


async def test_connections_are_cut_at_their_commit(tmp_path: Path, record_property: Record) -> None:
    await cut(20, tmp_path, record_property)


async def test_what_became_of_a_commit_is_found_out_when_the_server_is_back(tmp_path: Path) -> None:
    """It is away for longer than a request waits otherwise: whoever gave up would ask again for what is stored."""
    with temporary_server(durable=True) as server, CuttingProxy(server.port, one_in=1).serving() as proxy:
        migrate(server.dsn())
        parts = urlsplit(server.dsn())
        through = urlunsplit(parts._replace(netloc=f"postgres@127.0.0.1:{proxy.port}"))
        async with aclosing(await open_postgres(through, connections=2)) as database:
            for number in range(2):  # by chance it was committed, or was not
                account = f"account {number}"

                async def body(tx: Tx, account: str = account) -> None:
                    await tx.run("INSERT INTO accounts (id, name, created_at) VALUES (:id, :id, 0)", id=account)
                    tx.proven_by("SELECT 1 FROM accounts WHERE id = :id", id=account)

                proxy.is_cutting, proxy.away_s = True, PATIENCE_S + 1
                cuts = proxy.cuts.total()
                writing = asyncio.create_task(database.transaction("test", body))
                await until(lambda cuts=cuts: proxy.cuts.total() > cuts)  # type: ignore[misc]
                proxy.is_cutting = False
                await writing
                assert server.query(f"SELECT count(*) FROM accounts WHERE id = '{account}'") == "1"


# --- F15: all connections wait ---


async def wait_for_a_lock(requests: int, lock_s: float, folder: Path, record: Record, *, limit_s: float) -> None:
    with (
        on_a_server_of_its_own() as server,
        ModelEndpoint().serving() as endpoint,
        serving_nodes(folder, endpoint, 1, database_connections="5") as nodes,
    ):
        async with loading(nodes) as load:
            chatbot = load.chatbot
            asks = [
                Ask(chatbot=chatbot, conversation=f"c{number % 50}", text=f"prompt {number}", streams=number % 2 == 0)
                for number in range(requests)
            ]
            await load.ask_until_answered(Ask(chatbot=chatbot, conversation="warm", text="warm", streams=False))
            other = await asyncpg.connect(server.dsn())
            transaction = other.transaction()
            await transaction.start()
            await other.execute("LOCK TABLE messages, conversations IN ACCESS EXCLUSIVE MODE")
            before = nodes[0].resident_bytes
            locked_at = time.monotonic()
            told = []
            while time.monotonic() - locked_at < lock_s:  # all of them at once, and again
                told += await asyncio.gather(*(load.ask(each) for each in asks))
                assert not any(map(is_answered, told)), "the lock was there"
            grown = nodes[0].resident_bytes - before
            await transaction.rollback()
            await other.close()
            free_at = time.monotonic()
            await load.ask_until_answered(asks[0])
            back_s = time.monotonic() - free_at
            for start in range(0, requests, 50):
                await asyncio.gather(*(load.ask_until_answered(each) for each in asks[start : start + 50]))
        slowest_s = max(each.took_s for each in told)
        found = compared(load, read_store(folder))
        figures = {
            "requests": len(told),
            "statuses": dict(Counter(each.answered.status for each in told)),
            "slowest, s": round(slowest_s, 2),
            "back, s": round(back_s, 2),
            "grown, MB": grown >> 20,
            "found": str(found),
        }
        record("figures", figures)
        assert load.errors() == Counter()
        assert_whole(load, read_store(folder))
        assert slowest_s <= limit_s
        assert back_s <= limit_s
        assert grown < 50 << 20


@pytest.mark.faults
async def test_500_requests_while_another_session_holds_a_lock_for_30_s(tmp_path: Path, record_property: Record) -> None:
    await wait_for_a_lock(500, 30, tmp_path, record_property, limit_s=5.0)


async def test_requests_while_another_session_holds_a_lock(tmp_path: Path, record_property: Record) -> None:
    await wait_for_a_lock(60, 2, tmp_path, record_property, limit_s=5.0 * BUSY)
