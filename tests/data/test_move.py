"""`gigachat move`: the same rows, to the bit, on either database; and what becomes of a move that was cut short."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from gigachat_server.cli.locations import Location, opened, reading
from gigachat_server.errors import SetupError
from gigachat_server.store.copies.copying import OWN_TABLES, Table
from tests.cli.commands import Gigachat
from tests.data.dumps import TABLES, dump
from tests.data.filled import fill_folder
from tests.test_upgrade import first_schema

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.sqlite_only  # it names its stores itself
Databases = Callable[[], str]


def filled(folder: Path, *, messages: int = 200, chunks: int = 60) -> Path:
    asyncio.run(fill_folder(folder, messages=messages, chunks=chunks))
    return folder


def moved(gigachat: Gigachat, there: Path | str, here: Path | str) -> str:
    """The tables with their rows and digests."""
    return gigachat.output("move", there, here)


def refused(gigachat: Gigachat, *arguments: Path | str) -> str:
    """The line that says so, behind those that said how far it was."""
    ended = gigachat.run(*arguments)
    assert (ended.returncode, ended.stdout, ended.stderr.count("gigachat: ")) == (1, "", 1), ended.stderr
    line = ended.stderr.splitlines()[-1]
    assert line.startswith("gigachat: ")
    return line


def _there_and_back(tmp_path: Path, fresh_database: Databases, *, messages: int, chunks: int) -> None:
    there, back, url = filled(tmp_path / "there", messages=messages, chunks=chunks), tmp_path / "back", fresh_database()
    gigachat = Gigachat(tmp_path / "unused")
    told = moved(gigachat, there, url)
    assert [line.split("\t")[:2] for line in told.splitlines() if "messages" in line] == [["messages", f"{messages:,}"]]
    before = dump(there)
    assert len(before) > messages + chunks
    assert dump(url) == before
    assert moved(gigachat, url, f"sqlite://{back}") == told, "a table has the same digest on either database"
    assert dump(back) == before


def test_there_and_back_nothing_has_changed(tmp_path: Path, fresh_database: Databases) -> None:
    _there_and_back(tmp_path, fresh_database, messages=400, chunks=100)


@pytest.mark.faults
def test_a_hundred_thousand_messages_go_there_and_back(tmp_path: Path, fresh_database: Databases) -> None:
    _there_and_back(tmp_path, fresh_database, messages=100_000, chunks=20_000)


def test_from_one_database_or_folder_to_another_of_its_kind(tmp_path: Path, fresh_database: Databases) -> None:
    gigachat = Gigachat(tmp_path / "unused")
    stores: list[Path | str] = [filled(tmp_path / "1"), tmp_path / "2", fresh_database(), fresh_database(), tmp_path / "3"]
    assert len({moved(gigachat, there, here) for there, here in pairwise(stores)}) == 1
    assert all(dump(store) == dump(stores[0]) for store in stores)


@pytest.mark.parametrize("every", [13, pytest.param(4, marks=pytest.mark.faults)])
@pytest.mark.parametrize("kind", ["folder", "database"])
def test_what_was_killed_goes_on_where_it_was(tmp_path: Path, fresh_database: Databases, kind: str, every: int) -> None:
    there = filled(tmp_path / "there", messages=3_500, chunks=100)
    here = str(tmp_path / "here") if kind == "folder" else fresh_database()
    gigachat = Gigachat(tmp_path / "here") if kind == "folder" else Gigachat(tmp_path / "unused", database_url=here)
    command = [sys.executable, "-m", "tests.data.killed_move", str(there), here]
    kills, steps = 0, 5
    while (ended := subprocess.run([*command, str(steps)], cwd=ROOT, capture_output=True, check=False)).returncode:
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        kills, steps = kills + 1, steps + every
        if kills == 2:
            assert "partly filled from" in refused(gigachat, "chatbots", "list"), "nobody serves a half"
            assert "partly filled from" in refused(gigachat, "move", filled(tmp_path / "another"), here)
            assert "partly filled from" in refused(gigachat, "move", here, tmp_path / "third")
    assert kills >= 30 // every
    assert dump(here if kind == "database" else Path(here)) == dump(there)
    assert len(gigachat.json("chatbots", "list")) == 11, "now it is served"


def test_a_source_that_has_changed_since_is_told(tmp_path: Path, fresh_database: Databases) -> None:
    there, url = filled(tmp_path / "there"), fresh_database()
    killed = subprocess.run([sys.executable, "-m", "tests.data.killed_move", there, url, "20"], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL

    async def change() -> None:
        async with opened(Location(folder=there), "test") as database:
            await database.transaction("test", lambda tx: tx.run("UPDATE chatbots SET name = 'another'"))

    asyncio.run(change())
    assert "The chatbots of the two stores differ" in refused(Gigachat(tmp_path / "unused"), "move", there, url)


def test_stores_in_use_are_left_alone(tmp_path: Path, fresh_database: Databases) -> None:
    empty, url = tmp_path / "empty", fresh_database()
    served = Gigachat(tmp_path / "served")
    with served.serving():
        assert "Another gigachat (process" in refused(served, "move", served.data, empty)
        assert "Another gigachat (process" in refused(served, "move", filled(tmp_path / "filled"), served.data)
        assert not empty.exists()
    node = Gigachat(tmp_path / "node", database_url=url)
    with node.serving():
        assert "stop every node first" in refused(served, "move", url, tmp_path / "target")
        assert "stop every node first" in refused(served, "move", served.data, url)


def test_what_can_not_be_is_told_in_one_line(tmp_path: Path, fresh_database: Databases) -> None:
    there, gigachat, url = filled(tmp_path / "there"), Gigachat(tmp_path / "unused"), fresh_database()
    assert "is not empty (accounts: 1" in refused(gigachat, "move", there, filled(tmp_path / "full"))
    first_schema(tmp_path / "older")
    before = dump(tmp_path / "older")
    assert "is not empty (accounts: 1" in refused(gigachat, "move", there, tmp_path / "older")
    assert dump(tmp_path / "older") == before, "nor is it migrated"
    assert "has an older schema (1)" in refused(gigachat, "move", tmp_path / "older", tmp_path / "here")
    assert "the same store" in refused(gigachat, "move", there, f"sqlite://{there}")
    assert "There is no message store in" in refused(gigachat, "move", tmp_path / "nowhere", tmp_path / "here")
    assert "There is no message store in" in refused(gigachat, "move", url, tmp_path / "here")
    assert "is a file" in refused(gigachat, "move", there / "gigachat.sqlite3", tmp_path / "here")
    assert "secret" not in refused(gigachat, "move", "mysql://ann:secret@host/db", tmp_path / "here")
    gone = urlunsplit(urlsplit(url)._replace(netloc="postgres:secret@" + url.split("@")[1].split("/")[0], path="/gone"))
    assert "no such database" in (line := refused(gigachat, "move", there, gone))
    assert "secret" not in line
    assert not (tmp_path / "nowhere").exists()


async def test_a_source_stands_still_while_it_is_read(tmp_path: Path, fresh_database: Databases) -> None:
    url = fresh_database()
    Gigachat(tmp_path / "unused", database_url=url).output("migrate")
    writer = await asyncpg.connect(url)
    await writer.execute("SET lock_timeout = '100ms'")
    async with reading(Location(url=url), "move", stands_still=True):
        with pytest.raises(asyncpg.LockNotAvailableError):
            await writer.execute("INSERT INTO accounts (id, name, created_at) VALUES ('a', 'a', 0)")
        assert await writer.fetchval("SELECT count(*) FROM accounts") == 0
    await writer.execute("BEGIN; INSERT INTO accounts (id, name, created_at) VALUES ('a', 'a', 0)")
    with pytest.raises(SetupError, match="Another program uses the tables"):
        async with reading(Location(url=url), "move", stands_still=True):
            pass
    await writer.close()


def test_a_text_that_postgresql_cannot_hold_is_named(tmp_path: Path, fresh_database: Databases) -> None:
    there = filled(tmp_path / "there")

    async def spoil() -> None:
        async with opened(Location(folder=there), "test") as database:
            await database.transaction("test", lambda tx: tx.run("UPDATE messages SET content = 'a' || char(0) WHERE id = 'm7'"))

    asyncio.run(spoil())
    line = refused(Gigachat(tmp_path / "unused"), "move", there, fresh_database())
    assert "messages" in line and "NUL" in line


def test_it_is_served_after_the_move_as_before(tmp_path: Path, fresh_database: Databases) -> None:
    url = fresh_database()
    gigachat = Gigachat(tmp_path / "data")
    with gigachat.serving() as server:
        key = server.first_key()
        chatbot = f"/chatbots/{server.call('/chatbots', key, {'name': 'Superbot'}).body['id']}"
        server.call(f"{chatbot}/documents", key, {"name": "d", "content": "Parcels ship on Monday. The desk is open at nine."})
        asked = {"conversation_id": "c1", "user_id": "ann", "prompt": "When do parcels ship?"}
        assert server.call(f"{chatbot}/conversations", key, asked).status == 201
        before = server.call(f"{chatbot}/conversations/c1/messages", key).body
        assert len(before) == 2
        server.stop()
    moved(gigachat, gigachat.data, url)
    with Gigachat(tmp_path / "node", database_url=url).serving() as server:
        assert server.call(f"{chatbot}/conversations/c1/messages", key).body == before
        assert server.call(f"{chatbot}/conversations", key, asked | {"prompt": "And the desk?"}).status == 201
        after = server.call(f"{chatbot}/conversations/c1/messages", key).body
        assert (after[:2], len(after)) == (before, 4)


async def test_both_databases_have_the_same_tables(tmp_path: Path, fresh_database: Databases) -> None:
    """What the embedded store has, PostgreSQL has: else it would have no place there."""
    found: list[dict[str, Table]] = []
    for location in (Location(folder=tmp_path / "data"), Location(url=fresh_database())):
        settings = {"database_url": location.url} if location.url else {}
        Gigachat(tmp_path / "data", **settings).output("migrate")
        async with reading(location, "test", stands_still=False) as rows:
            found.append(await rows.tables())
    sqlite, postgres = found
    assert sorted(sqlite) == sorted(TABLES)
    for name, table in sqlite.items():
        assert name not in OWN_TABLES
        assert table.key == postgres[name].key
        assert set(table.columns) <= set(postgres[name].columns)
