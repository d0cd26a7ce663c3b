"""What was deleted leaves the disk: the store's file, its log, the backups made afterwards."""

from __future__ import annotations

import asyncio
import os
import random
import re
import sys
import threading
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import pytest

from gigachat_server.clock import system_clock
from gigachat_server.store.copies.backup import copy_store
from gigachat_server.store.database import Reader, Row, Tx
from gigachat_server.store.engines import eraser, remnants
from gigachat_server.store.engines.connections import open_reader
from gigachat_server.store.engines.folder import Note, read_note
from gigachat_server.store.engines.migrate import migrate
from gigachat_server.store.engines.sqlite import FILE_NAME, SQLiteDatabase, open_sqlite
from tests.harness import gigachat, until

pytestmark = pytest.mark.sqlite_only

SECRET = "Quetzalcoatl-4711"


def holding(folder: Path, text: str) -> set[str]:
    """The files below the folder that hold the text."""
    return {path.name for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()}


@pytest.mark.parametrize("which", ["conversation", "user", "chatbot"])
async def test_deleted_text_is_neither_in_the_store_nor_in_its_log_nor_in_a_new_backup(tmp_path: Path, which: str) -> None:
    folder = tmp_path / "data"
    async with gigachat(folder) as api:
        chatbot = await api.chatbot()
        for number in range(12):
            words = "about my parcel " * (number * 40)
            await api.say(chatbot, f"{SECRET} {number} {words}", conversation="c1", user="ada")
            await api.say(chatbot, f"Nothing {number} {words}", conversation="c2", user="bob")
        await api.push(chatbot, "d1", f"{SECRET} is in a document as well. " * 50)
        assert f"{FILE_NAME}-wal" in holding(folder, SECRET)
        paths = {"conversation": ["/conversations/c1", "/documents/d1"], "user": ["/users/ada", "/documents/d1"], "chatbot": [""]}
        document = (await api.get(f"{chatbot}/documents")).body[0]
        for path in paths[which]:
            gone = await api.call("DELETE", f"{chatbot}{path.replace('d1', document.get('id', 'd1'))}")
            assert gone.status == 204, gone.text
        assert holding(folder, SECRET) == set()
        with closing(open_reader(folder / FILE_NAME)) as source:
            source.execute("BEGIN")
            copy_store(source, tmp_path / "backup.sqlite3")
        assert holding(tmp_path, SECRET) == set()
        if which != "chatbot":
            assert len(await api.messages(chatbot, "c2")) == 24


def shuffled_store(file: Path, *, secure_delete: str) -> set[str]:
    """A file whose rows SQLite has moved about a lot; what was deleted from it."""
    chance = random.Random(7)
    deleted = set()
    with closing(apsw.Connection(str(file))) as connection:
        for pragma in ("journal_mode = DELETE", "synchronous = OFF", f"secure_delete = {secure_delete}"):
            connection.execute(f"PRAGMA {pragma}").fetchall()
        connection.execute("CREATE TABLE said (thread, seq, id, body, PRIMARY KEY (thread, seq)) WITHOUT ROWID")
        connection.execute("CREATE INDEX said_by_body ON said (id, body)")
        connection.execute("BEGIN")
        for number in range(6_000):
            text = f"MARK{number:05}-" + "lorem " * chance.choice([1, 3, 10, 60])
            connection.execute("INSERT INTO said VALUES (?, ?, ?, ?)", (chance.randrange(60), number, chance.random(), text))
        for (seq,) in connection.execute("SELECT seq FROM said WHERE thread % 3 = 0").fetchall():
            deleted.add(f"MARK{seq:05}-")
        connection.execute("DELETE FROM said WHERE thread % 3 = 0")
        connection.execute("COMMIT")
    return deleted


def contents(file: Path) -> list[tuple[object, ...]]:
    with closing(apsw.Connection(str(file))) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return connection.execute("SELECT * FROM said ORDER BY thread, seq").fetchall()


@pytest.mark.parametrize("secure_delete", ["ON", "FAST", "OFF"])
def test_remnants_are_overwritten_and_nothing_else(tmp_path: Path, secure_delete: str) -> None:
    """Also in files of versions before, which deleted without zeroing."""
    file = tmp_path / "shuffled.sqlite3"
    deleted, before = shuffled_store(file, secure_delete=secure_delete), contents(file)
    assert deleted & set(re.findall(r"MARK\d{5}-", file.read_bytes().decode("latin-1"))), "there is something to find"
    descriptor = os.open(file, os.O_RDWR)
    try:
        found = remnants.scan(descriptor)
        assert remnants.overwrite(descriptor, found) == len(found)
        assert remnants.scan(descriptor) == []
    finally:
        os.close(descriptor)
    assert not deleted & set(re.findall(r"MARK\d{5}-", file.read_bytes().decode("latin-1")))
    assert contents(file) == before


@pytest.mark.parametrize("damage", [b"", b"SQLite format 3\0", os.urandom(4096 * 3)], ids=["empty", "header", "noise"])
def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path, damage: bytes) -> None:
    file = tmp_path / "any"
    file.write_bytes(damage)
    descriptor = os.open(file, os.O_RDWR)
    try:
        remnants.overwrite(descriptor, remnants.scan(descriptor))
    finally:
        os.close(descriptor)
    assert file.read_bytes() == damage


# --- in a running store ---


async def write(database: SQLiteDatabase, text: str) -> None:
    async def body(tx: Tx) -> None:
        await tx.run("CREATE TABLE IF NOT EXISTS said (body TEXT)")
        await tx.run("INSERT INTO said VALUES (:text)", text=text)

    await database.transaction("write", body)


async def erase(database: SQLiteDatabase) -> None:
    async def body(tx: Tx) -> None:
        tx.erases()
        await tx.run("DELETE FROM said WHERE body <> 'kept'")

    await database.transaction("erase", body)


async def is_done(folder: Path) -> bool:
    return not (folder / eraser.MARKER).exists()


async def test_a_reader_holds_up_erasure_but_not_the_deletion(tmp_path: Path) -> None:
    database = open_sqlite(tmp_path)
    await write(database, SECRET)
    reader = open_reader(tmp_path / FILE_NAME)
    reader.execute("BEGIN")
    assert reader.execute("SELECT body FROM said").fetchall() == [(SECRET,)]
    await erase(database)
    await write(database, "after")
    assert read_note(tmp_path) is Note.OPEN
    assert (tmp_path / eraser.MARKER).exists()
    reader.execute("COMMIT")
    reader.close()
    await until(partial(is_done, tmp_path))
    assert holding(tmp_path, SECRET) == set()
    assert read_note(tmp_path) is Note.OPEN
    await database.aclose()


async def test_a_large_store_is_erased_in_the_background(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eraser, "_AT_ONCE_BYTES", 0)
    database = open_sqlite(tmp_path)
    for number in range(50):
        await write(database, f"{SECRET} {number} " * 100)
    await erase(database)
    await until(partial(is_done, tmp_path))
    assert holding(tmp_path, SECRET) == set()
    await database.aclose()


async def test_what_is_deleted_while_a_scan_runs_is_looked_for_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eraser, "_AT_ONCE_BYTES", 0)
    began, may_end, scans, scan = threading.Event(), threading.Event(), [], remnants.scan

    def held_up(descriptor: int, **options: Any) -> list[int]:
        found = scan(descriptor, **options)
        scans.append(len(found))
        began.set()
        may_end.wait(30)
        return found

    monkeypatch.setattr(remnants, "scan", held_up)
    database = open_sqlite(tmp_path)
    await write(database, "first")
    await erase(database)
    assert await asyncio.to_thread(began.wait, 30)
    await write(database, SECRET)
    await erase(database)
    may_end.set()
    await until(partial(is_done, tmp_path))
    assert len(scans) == 2
    assert holding(tmp_path, SECRET) == set()
    await database.aclose()


async def test_a_scan_that_breaks_down_leaves_the_store_at_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(descriptor: int, **options: Any) -> list[int]:
        raise ValueError("a bug")

    database = open_sqlite(tmp_path)
    await migrate(database, system_clock)
    await write(database, SECRET)
    with monkeypatch.context() as patched:
        patched.setattr(remnants, "scan", broken)
        await erase(database)
    await write(database, "after")
    assert (await database.read(read_all)) == [("after",)]
    await database.aclose()
    database = open_sqlite(tmp_path)
    await until(partial(is_done, tmp_path))
    assert holding(tmp_path, SECRET) == set()
    await database.aclose()


async def test_what_the_writer_remembers_of_a_page_brings_nothing_back(tmp_path: Path) -> None:
    """A row that comes to a page whose remnants were overwritten is written with the page as it is now."""
    database = open_sqlite(tmp_path)
    deleted = await shuffle(database)
    await erase(database)
    await until(partial(is_done, tmp_path))

    async def touch(tx: Tx) -> None:
        await tx.run("UPDATE shuffled SET body = 'X' || substr(body, 2)")

    await database.transaction("touch", touch)
    found = set(re.findall(r"MARK\d{5}-", (tmp_path / FILE_NAME).read_bytes().decode("latin-1")))
    found |= set(re.findall(r"MARK\d{5}-", (tmp_path / f"{FILE_NAME}-wal").read_bytes().decode("latin-1")))
    assert not deleted & found
    await database.aclose()


async def shuffle(database: SQLiteDatabase) -> set[str]:
    """Rows of every size in an order that makes SQLite move them about, deleted in part; what was deleted."""
    chance = random.Random(11)
    texts = {number: f"MARK{number:05}-" + "lorem " * chance.choice([1, 3, 10, 60]) for number in range(3_000)}

    async def body(tx: Tx) -> None:
        await tx.run("CREATE TABLE said (body TEXT)")
        await tx.run("CREATE TABLE shuffled (thread, seq, body, PRIMARY KEY (thread, seq)) WITHOUT ROWID")
        for number, text in texts.items():
            await tx.run("INSERT INTO shuffled VALUES (:thread, :seq, :body)", thread=chance.randrange(60), seq=number, body=text)
        await tx.run("DELETE FROM shuffled WHERE thread % 3 = 0")

    await database.transaction("shuffle", body)

    async def read(reader: Reader) -> list[Row]:
        return await reader.all("SELECT seq FROM shuffled")

    kept = {row[0] for row in await database.read(read)}
    return {f"MARK{number:05}-" for number in texts if number not in kept}


async def test_what_filled_a_page_that_is_used_again_is_gone_too(tmp_path: Path) -> None:
    """A long text fills pages of its own; a shorter one takes them over and leaves their ends."""
    database = open_sqlite(tmp_path)
    for _ in range(20):
        await write(database, f"{SECRET} " * 1_000)

    async def delete(tx: Tx) -> None:
        await tx.run("DELETE FROM said")

    await database.transaction("delete", delete)
    for _ in range(20):
        await write(database, "Nothing. " * 700)
    await erase(database)
    assert holding(tmp_path, SECRET) == set()
    await database.aclose()


def test_a_backup_holds_no_remnants(tmp_path: Path) -> None:
    deleted = shuffled_store(tmp_path / FILE_NAME, secure_delete="ON")
    with closing(apsw.Connection(str(tmp_path / FILE_NAME))) as source:
        source.execute("CREATE TABLE schema_migrations (applied_at); BEGIN")
        copy_store(source, tmp_path / "backup.sqlite3")
    assert not deleted & set(re.findall(r"MARK\d{5}-", (tmp_path / "backup.sqlite3").read_bytes().decode("latin-1")))


KILLED = """
import asyncio, os, sys
from pathlib import Path
from typing import Any
from gigachat_server.clock import system_clock
from gigachat_server.store.engines import remnants
from gigachat_server.store.engines.migrate import migrate
from gigachat_server.store.engines.sqlite import open_sqlite
from tests.data.test_erasure import erase, write

async def main():
    database = open_sqlite(Path(sys.argv[1]))
    await migrate(database, system_clock)
    await write(database, "kept")
    await write(database, sys.argv[2])
    if sys.argv[3] == "while the log is empty":
        remnants.scan = lambda descriptor, **options: os._exit(9)
    if sys.argv[3] == "while remnants are overwritten":
        remnants.scan = lambda descriptor, **options: [1]
        remnants.overwrite = lambda descriptor, pages: os._exit(9)
    await erase(database)
    os._exit(9)

asyncio.run(main())
"""


@pytest.mark.parametrize("when", ["while the log is empty", "while remnants are overwritten", "after the deletion"])
async def test_a_kill_while_deleted_text_leaves_the_disk_loses_nothing(tmp_path: Path, when: str) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", KILLED, str(tmp_path), SECRET, when)
    assert await process.wait() == 9
    database = open_sqlite(tmp_path)  # it is not refused
    assert await database.read(read_all) == [("kept",)]
    await write(database, "after")
    await until(partial(is_done, tmp_path))
    assert holding(tmp_path, SECRET) == set()
    await database.aclose()


async def read_all(reader: Reader) -> list[Row]:
    return await reader.all("SELECT body FROM said")
