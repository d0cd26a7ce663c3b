"""The embedded store: all or nothing, durable before it is confirmed, and never two writers."""

from __future__ import annotations

import asyncio
import functools
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from gigachat_server.clock import system_clock
from gigachat_server.errors import SetupError, StorageUnavailable
from gigachat_server.store.database import Reader, Tx
from gigachat_server.store.engines.migrate import migrate
from gigachat_server.store.engines.sqlite import SuspendedInTransaction, open_sqlite


async def insert(tx: Tx, name: str) -> None:
    await tx.run("INSERT INTO accounts (id, name, created_at) VALUES (:id, :name, 0)", id=name, name=name)


async def names(reader: Reader) -> list[str]:
    return [row[0] for row in await reader.all("SELECT name FROM accounts ORDER BY name")]


async def test_a_failing_body_fails_alone_in_its_group(tmp_path: Path) -> None:
    database = open_sqlite(tmp_path)
    await migrate(database, system_clock)

    async def good(tx: Tx, name: str) -> None:
        await insert(tx, name)

    async def bad(tx: Tx) -> None:
        await insert(tx, "half")
        raise ValueError("no")

    jobs = [database.transaction("good", functools.partial(good, name=f"good {n}")) for n in range(5)]
    jobs.insert(2, database.transaction("bad", bad))
    results = await asyncio.gather(*jobs, return_exceptions=True)
    assert [type(result) for result in results].count(ValueError) == 1
    assert await database.read(names) == [f"good {n}" for n in range(5)]
    await database.aclose()


async def test_a_body_that_awaits_anything_but_sql_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    database = open_sqlite(tmp_path)
    await migrate(database, system_clock)

    async def slow(tx: Tx) -> None:
        await insert(tx, "slow")
        await asyncio.sleep(0)

    with pytest.raises(SuspendedInTransaction, match=r"turn\.slow"):
        await database.transaction("turn.slow", slow)
    assert await database.read(names) == []
    await database.aclose()


async def test_many_transactions_share_one_fdatasync_and_callbacks_follow_it(tmp_path: Path) -> None:
    database = open_sqlite(tmp_path)
    await migrate(database, system_clock)
    done: list[int] = []

    async def write(tx: Tx, n: int) -> None:
        await insert(tx, f"account {n}")
        tx.after_commit(lambda: done.append(n))

    await asyncio.gather(*(database.transaction("write", functools.partial(write, n=n)) for n in range(200)))
    assert sorted(done) == list(range(200))
    assert len(await database.read(names)) == 200
    await database.aclose()


async def test_a_reader_cannot_write(tmp_path: Path) -> None:
    database = open_sqlite(tmp_path)
    await migrate(database, system_clock)

    async def write(reader: Reader) -> None:
        await reader.all("INSERT INTO accounts (id, name, created_at) VALUES ('x', 'x', 0)")

    with pytest.raises(StorageUnavailable):
        await database.read(write)
    await database.aclose()


async def test_a_second_process_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    database = open_sqlite(tmp_path)
    program = (
        "import sys; from pathlib import Path; from gigachat_server.store.engines.sqlite import open_sqlite\n"
        "from gigachat_server.errors import SetupError\n"
        "try: open_sqlite(Path(sys.argv[1]))\n"
        "except SetupError as error: print(error)"
    )
    second = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    output, _ = await second.communicate()
    assert "Another gigachat (process " in output.decode()
    await database.aclose()
    again = open_sqlite(tmp_path)
    await again.aclose()


async def test_a_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    database = open_sqlite(tmp_path)
    await migrate(database, system_clock)

    async def pretend(tx: Tx) -> None:
        await tx.run("INSERT INTO schema_migrations (number, name, applied_at) VALUES (9999, 'future.sql', 0)")

    await database.transaction("pretend", pretend)
    with pytest.raises(SetupError, match="newer gigachat"):
        await migrate(database, system_clock)
    await database.aclose()


@pytest.mark.parametrize("damage", ["garbage", "truncated", "lost but for its wal"])
def test_a_damaged_file_is_refused_and_left_as_it_is(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "gigachat.sqlite3"
    if damage == "garbage":
        file.write_bytes(b"not a database at all" * 100)
    elif damage == "truncated":
        whole = apsw.Connection(str(file))
        whole.execute("CREATE TABLE t (x)")
        whole.execute("INSERT INTO t SELECT zeroblob(100000)")
        whole.close()
        file.write_bytes(file.read_bytes()[:300])
    else:
        (tmp_path / "gigachat.sqlite3-wal").write_bytes(b"x" * 5000)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(SetupError, match=r"gigachat\.sqlite3"):
        open_sqlite(tmp_path)
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name != "lock"}
    assert after == before


async def test_the_file_is_fully_synchronous_and_private(tmp_path: Path) -> None:
    database = open_sqlite(tmp_path)

    async def mode(tx: Tx) -> list[object]:
        return [(await tx.all(f"SELECT * FROM pragma_{name}"))[0][0] for name in ("journal_mode", "synchronous")]

    assert await database.transaction("mode", mode) == ["wal", 2], "2 is FULL: a commit waits for its fdatasync"
    assert (tmp_path / "gigachat.sqlite3").stat().st_mode & 0o077 == 0
    await database.aclose()
