"""On which store the servers of a test run. Whatever test starts a server runs once on each: see tests/conftest.py.

Invariant: the same folder is the same store for as long as the test lasts, so a server started on it again finds what the
last one left. On PostgreSQL a folder has a database, and `copy` copies that with it.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import apsw

from gigachat_server.clock import system_clock
from gigachat_server.store.engines import migrate as migrations
from gigachat_server.store.engines.postgres import open_postgres
from gigachat_server.store.engines.sqlite import open_sqlite
from tests.postgres import Databases

_FILE = "gigachat.sqlite3"


class Stores(Protocol):
    """The stores of one test."""

    def settings(self, folder: Path) -> dict[str, str]:
        """What a server on that folder has to be told besides."""

    async def begin(self, folder: Path) -> None:
        """Where nothing was stored yet, there is an empty store that has the schema: no test waits for all migrations."""

    def copy(self, folder: Path, to: Path) -> None:
        """From now on `to` is what a kill of all its servers at this moment would leave of the folder."""

    def query(self, folder: Path, sql: str) -> list[dict[str, Any]]:
        """The rows that are committed now, by column, past any server."""

    def damage(self, folder: Path) -> list[str]:
        """What the store finds wrong with itself."""


class SQLiteStores:
    def settings(self, folder: Path) -> dict[str, str]:
        return {}

    async def begin(self, folder: Path) -> None:
        global _empty_file
        _empty_file = _empty_file or await _migrated_file()
        _lay(_empty_file, folder / _FILE)

    def copy(self, folder: Path, to: Path) -> None:
        _copy_files(folder, to)

    def query(self, folder: Path, sql: str) -> list[dict[str, Any]]:
        # With the SQLite that gigachat uses: in one process a second one, such as Python's own, would drop the first one's locks.
        with closing(apsw.Connection(str(folder / _FILE), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
            connection.set_busy_timeout(5_000)
            cursor = connection.execute(sql)
            return [{column[0]: value for column, value in zip(cursor.description, row, strict=True)} for row in cursor]

    def damage(self, folder: Path) -> list[str]:
        found = [str(value) for row in self.query(folder, "PRAGMA integrity_check") for value in row.values()]
        return [] if found == ["ok"] else found


class PostgresStores:
    def __init__(self, databases: Databases) -> None:
        self._databases = databases
        self._dsns: dict[Path, str] = {}

    def settings(self, folder: Path) -> dict[str, str]:
        return {"database_url": self._dsn(folder), "secret": "of a store that many nodes may share"}

    async def begin(self, folder: Path) -> None:
        """Each database has it from the template."""

    def copy(self, folder: Path, to: Path) -> None:
        assert to.resolve() not in self._dsns
        if folder.exists():
            _copy_files(folder, to)
        self._dsns[to.resolve()] = self._databases.copy(self._dsn(folder))

    def query(self, folder: Path, sql: str) -> list[dict[str, Any]]:
        return self._databases.query(self._dsn(folder), sql)

    def damage(self, folder: Path) -> list[str]:
        return []

    def release(self) -> None:
        for dsn in self._dsns.values():
            self._databases.release(dsn)

    def _dsn(self, folder: Path) -> str:
        folder = folder.resolve()
        if folder not in self._dsns:
            self._dsns[folder] = self._databases.fresh()
        return self._dsns[folder]


def current() -> Stores:
    """Those of the running test."""
    if _current is None:
        raise AssertionError("a test whose module imports nothing that starts a server started one: see tests/conftest.py")
    return _current


@contextmanager
def using(stores: Stores) -> Iterator[None]:
    global _current  # not a context variable: threads that a test starts have it, too
    _current = stores
    try:
        yield
    finally:
        _current = None


_current: Stores | None = None
_empty_file = b""  # of SQLite, migrated; made once in each process


async def migrate(dsn: str) -> None:
    """The schema, in an empty database."""
    database = await open_postgres(dsn, connections=2)
    try:
        await migrations.migrate(database, system_clock)
    finally:
        await database.aclose()


def _lay(content: bytes, file: Path) -> None:
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_bytes(content)


async def _migrated_file() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        database = open_sqlite(Path(folder))
        try:
            await migrations.migrate(database, system_clock)
        finally:
            await database.aclose()
        return (Path(folder) / _FILE).read_bytes()


def _copy_files(folder: Path, to: Path) -> None:
    shutil.copytree(folder, to, ignore=shutil.ignore_patterns("*.sock", "lock"))
