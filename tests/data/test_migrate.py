"""Migrations that can be refused, looked at first, undone from a backup, killed at any moment, and begun by many at once."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gigachat_server import cli
from gigachat_server.cli.locations import Location, opened
from gigachat_server.clock import system_clock
from gigachat_server.errors import SetupError
from gigachat_server.store.copies.backup import back_up_before
from gigachat_server.store.database import Database, Reader, Tx
from gigachat_server.store.engines.migrate import Migration, effects, migrate, migrations
from gigachat_server.store.engines.sqlite import open_sqlite
from tests.cli.commands import Gigachat
from tests.data import batched
from tests.data.dumps import dump
from tests.data.filled import fill
from tests.data.test_move import Databases, refused
from tests.test_upgrade import first_schema

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.sqlite_only]  # it names its stores itself
NEWEST = migrations("sqlite")[-1].number


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in ("lock", "gigachat.sock")}


# --- looking first ---


def test_a_dry_run_says_what_would_be_done_and_does_nothing(tmp_path: Path) -> None:
    gigachat = Gigachat(tmp_path / "store")
    first_schema(gigachat.data)
    before = files(gigachat.data)
    ended = gigachat.run("migrate", "--dry-run")
    assert (ended.returncode, ended.stderr) == (3, "")
    assert "0002_turns.sql: " in ended.stdout
    assert "rewrites messages (6 rows)" in ended.stdout
    assert "has schema 1; " in ended.stdout
    assert files(gigachat.data) == before
    gigachat.output("migrate")
    ended = gigachat.run("migrate", "--dry-run")
    assert (ended.returncode, "nothing to do" in ended.stdout) == (0, True)
    with gigachat.serving():
        assert gigachat.run("migrate", "--dry-run").returncode == 0
        assert "Another gigachat" in refused(gigachat, "migrate")


def test_a_dry_run_on_postgresql(tmp_path: Path, fresh_database: Databases) -> None:
    gigachat = Gigachat(tmp_path / "unused", database_url=fresh_database())
    ended = gigachat.run("migrate", "--dry-run")
    assert ended.returncode == 3
    assert "makes messages" in ended.stdout
    assert f"has schema {NEWEST}" in gigachat.output("migrate")
    with gigachat.serving():
        assert "nothing to do" in gigachat.output("migrate", "--dry-run")
        assert "already" in gigachat.output("migrate"), "nodes may run"


def test_what_a_migration_does_is_read_from_its_text() -> None:
    sql = (
        "-- A comment;\nCREATE TABLE a (x TEXT);\nCREATE INDEX a_by ON a (x);\nCREATE INDEX b_by ON b (x) WHERE y;\n"
        "UPDATE c SET x = 1;\nALTER TABLE c ADD z;\n"
        "DROP TABLE d;\nALTER TABLE e RENAME TO f;\nCREATE TABLE e (x);\nINSERT INTO e SELECT x\n FROM f;\nDROP TABLE f;\n"
    )
    found = {effect.table: effect.verb for effect in effects(Migration(1, "m", sql))}
    assert found == {"a": "makes", "b": "indexes", "c": "rewrites", "d": "removes", "e": "rewrites"}


# --- the backup before ---


def test_the_store_is_backed_up_before_it_is_migrated(tmp_path: Path) -> None:
    gigachat, old = Gigachat(tmp_path / "store"), Gigachat(tmp_path / "old")
    first_schema(gigachat.data)
    before = dump(gigachat.data)
    with gigachat.serving() as server:
        assert "before 0002_turns.sql is kept in" in server.stop()[2]
    backup = gigachat.data / "gigachat-before-0002.sqlite3"
    assert dump(backup) == before
    assert dump(gigachat.data) != before
    shutil.copytree(gigachat.data, old.data)
    assert "--force" in refused(old, "restore", old.data / backup.name), "and it can be put back"
    with gigachat.serving() as server:
        assert server.stop()[2] == "", "not at each start"


def test_without_room_for_the_backup_nothing_is_migrated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first_schema(tmp_path / "store")
    before = dump(tmp_path / "store")
    with monkeypatch.context() as full:
        full.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9 - 5, 5))
        assert cli.run(["migrate", "--data", str(tmp_path / "store")]) == 1
    said = capsys.readouterr().err
    assert "too little room" in said and "--no-backup" in said
    assert dump(tmp_path / "store") == before
    assert cli.run(["migrate", "--no-backup", "--data", str(tmp_path / "store")]) == 0
    assert list((tmp_path / "store").glob("gigachat-before-*")) == []


def test_the_newest_few_backups_are_kept(tmp_path: Path) -> None:
    first_schema(tmp_path / "store")
    for old in ("0000", "0001"):
        (tmp_path / "store" / f"gigachat-before-{old}.sqlite3").touch()

    async def twice() -> None:
        async with opened(Location(folder=tmp_path / "store"), "test"):
            for number in (2, 3):
                back_up_before(tmp_path / "store", Migration(number, "", ""))

    asyncio.run(twice())
    kept = sorted(path.name for path in (tmp_path / "store").glob("gigachat-before-*"))
    assert kept == [f"gigachat-before-000{number}.sqlite3" for number in (1, 2, 3)]


# --- killed ---


@pytest.mark.parametrize("every", [25, pytest.param(6, marks=pytest.mark.faults)])
def test_a_migration_is_killed_at_any_statement_and_nothing_is_broken(tmp_path: Path, every: int) -> None:
    first_schema(tmp_path / "kept")
    gigachat, kills = Gigachat(tmp_path / "store"), 0
    whole = [
        _migrated(tmp_path / "kept", tmp_path / f"whole-{count}", count) for count in range(1, len(migrations("sqlite")) + 1)
    ]
    shutil.copytree(tmp_path / "kept", gigachat.data)
    for number in range(6, 400, every):
        command = [sys.executable, "-m", "tests.data.killed_migrate", str(number), str(gigachat.data)]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if ended.returncode == 0:
            break
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        kills += 1
        assert dump(gigachat.data) in whole, "each migration is there whole, or not at all"
    assert kills >= 70 // every
    assert dump(gigachat.data) == whole[-1]
    numbers = [migration.number for migration in migrations("sqlite")]
    backups = list(gigachat.data.glob("gigachat-before-*.sqlite3"))
    assert backups
    for file in backups:
        assert dump(file) == whole[numbers.index(int(file.stem[-4:])) - 1], file.name


def _migrated(folder: Path, to: Path, count: int) -> list[str]:
    """What a copy of it holds after so many migrations."""
    shutil.copytree(folder, to)

    async def apply() -> None:
        database = open_sqlite(to)
        try:
            await migrate(database, system_clock, known=migrations("sqlite")[:count])
        finally:
            await database.aclose()

    asyncio.run(apply())
    return dump(to)


class Store(NamedTuple):
    location: Location
    argument: str


@pytest.fixture(params=["folder", "database"])
def kept(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Store]:
    if request.param == "folder":
        yield Store(Location(folder=tmp_path / "store"), str(tmp_path / "store"))
    else:
        url = request.getfixturevalue("fresh_database")()
        yield Store(Location(url=url), url)


async def epochs(database: Database) -> list[tuple[int, str]]:
    async def read(reader: Reader) -> list[Any]:
        return await reader.all("SELECT control_epoch, flag FROM conversations")

    return await database.read(read)


@pytest.mark.parametrize("most", [3, pytest.param(10, marks=pytest.mark.faults)])
async def test_batches_are_killed_and_each_is_done_once(kept: Store, most: int) -> None:
    async with opened(kept.location, "test") as database:
        await fill(database, messages=2_000, chunks=10)  # of 100 conversations
    moment, kills = 1, 0
    while True:
        command = [sys.executable, "-m", "tests.data.batched", kept.argument, str(moment)]
        ended = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, capture_output=True, text=True, check=False)
        if ended.returncode == 0:
            break
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        kills, moment = kills + 1, 2 if moment == 1 else 1  # within a batch, or between two: each time one is done at most
        if kills == 2:
            with pytest.raises(SetupError, match="newer gigachat"):
                async with opened(kept.location, "test") as database:
                    await migrate(database, system_clock)
        if kills == most:
            moment = 1000
    assert kills == most
    async with opened(kept.location, "test") as database:
        assert await epochs(database) == [(2**53 + 2, "done")] * 100
        assert await migrate(database, system_clock, known=batched.known(database)) == []
        with pytest.raises(SetupError, match="newer gigachat"):
            await migrate(database, system_clock)


# --- many at once ---


def test_five_nodes_start_at_once_and_migrate_once(tmp_path: Path, fresh_database: Databases) -> None:
    gigachat = Gigachat(tmp_path / "unused", database_url=fresh_database())
    starting = [gigachat.start("migrate") for _ in range(5)]
    said = [process.communicate(timeout=120) for process in starting]
    assert [process.returncode for process in starting] == [0] * 5, said
    assert f"schema {NEWEST} already" in gigachat.output("migrate")


async def test_five_nodes_share_the_batches(tmp_path: Path, fresh_database: Databases) -> None:
    location = Location(url=fresh_database())
    async with opened(location, "test") as database:
        await fill(database, messages=2_000, chunks=10)

    async def node() -> None:
        async with opened(location, "test") as database:
            await migrate(database, system_clock, known=batched.known(database))

    await asyncio.gather(*(node() for _ in range(5)))
    async with opened(location, "test") as database:
        assert await epochs(database) == [(2**53 + 2, "done")] * 100


async def test_a_newer_store_is_refused(kept: Store) -> None:
    async with opened(kept.location, "test") as database:
        await migrate(database, system_clock)

        async def pretend(tx: Tx) -> None:
            await tx.run("INSERT INTO schema_migrations (number, name, applied_at) VALUES (9999, 'later.sql', 1)")

        await database.transaction("test", pretend)
        with pytest.raises(SetupError, match="newer gigachat"):
            await migrate(database, system_clock)
    settings = {"database_url": kept.location.url} if kept.location.url else {}
    gigachat = Gigachat(kept.location.folder, **settings)
    for arguments in (("serve", "--port", "0"), ("migrate",), ("migrate", "--dry-run")):
        assert "newer gigachat" in refused(gigachat, *arguments)
