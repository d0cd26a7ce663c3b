"""Finds and opens the store that a command names: to inspect it, to read all of it, or to fill it.

Idea: a store is a folder or a PostgreSQL database, and each operation on it is written once, for both.

Invariant: a move reads a store that stands still: no server serves it or can start to. Filling marks the store first, so that
no server serves an incomplete one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

import apsw
import msgspec

from gigachat_server.clock import system_clock
from gigachat_server.errors import SetupError, StorageUnavailable
from gigachat_server.serving import local_socket
from gigachat_server.settings import Settings, expanded
from gigachat_server.store.copies import backup
from gigachat_server.store.copies.copying import Rows, Target
from gigachat_server.store.copies.sqlite_rows import SQLiteRows, SQLiteTarget
from gigachat_server.store.database import Database, Dialect, Reader, Tx
from gigachat_server.store.engines import folder as data_folder
from gigachat_server.store.engines import sqlite
from gigachat_server.store.engines.connections import open_reader
from gigachat_server.store.engines.damage import open_unchanging, refuse_damage
from gigachat_server.store.engines.migrate import (
    Schema,
    mark_filled,
    mark_filling,
    migrate,
    migrations,
    missing,
    refuse_half_filled,
    schema_of,
)
from gigachat_server.store.engines.postgres_url import place_of
from gigachat_server.store.engines.sqlite import FILE_NAME, SQLiteDatabase, open_sqlite

_SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


class Location(msgspec.Struct, frozen=True):
    """A folder, or a URL."""

    folder: Path = Path()
    url: str = ""

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The store that a server with these settings serves."""
        return cls(url=settings.database_url) if settings.database_url else cls(folder=settings.data_folder.absolute())

    @classmethod
    def parse(cls, text: str) -> Self:
        """`postgresql://...`, `sqlite:///absolute/folder`, or a folder. Raises `SetupError`."""
        if text.lower().startswith(("postgresql://", "postgres://")):
            return cls(url=text)
        parts = urlsplit(text)
        if parts.scheme == "sqlite" and not parts.netloc:
            folder = Path(unquote(parts.path))
        elif "://" not in text and text:
            folder = expanded(text)
        else:
            shown = text.rpartition("@")[2]
            raise SetupError(f"{shown} is not a store: write postgresql://user@host/database, or a data folder.")
        if folder.is_file():
            raise SetupError(f"{folder} is a file: name the data folder. To put a backup back, use `gigachat restore`.")
        return cls(folder=folder.absolute())

    @property
    def dialect(self) -> Dialect:
        return "postgres" if self.url else "sqlite"

    def __str__(self) -> str:
        """For people, and so without a password."""
        if not self.url:
            return str(self.folder)
        return f"postgresql://{place_of(self.url)}"


@asynccontextmanager
async def opened(location: Location, command: str) -> AsyncIterator[Database]:
    """The store as a server opens it, but not migrated. Raises `SetupError`."""
    if location.url:
        from gigachat_server.store.engines.postgres import open_postgres

        database: Database = await open_postgres(location.url, connections=2, application=f"gigachat {command}")
    else:
        database = open_sqlite(location.folder)
    try:
        yield database
    except StorageUnavailable:
        raise SetupError(f"{location} cannot be read or written now: its disk may be full. Run the command again.") from None
    finally:
        await database.aclose()


@asynccontextmanager
async def looking_at(location: Location) -> AsyncIterator[Reader]:
    """Reads one state of the store, served or not; nothing of it changes. Raises `SetupError`."""
    if not location.url:
        with sqlite_connection(location) as connection:
            yield sqlite.statements_on(connection)
        return
    from gigachat_server.store.engines import postgres

    async with _connected(location, "looks") as connection:
        await connection.execute(_SNAPSHOT)
        yield postgres.statements_on(connection)


@contextmanager
def sqlite_connection(location: Location, *, may_be_served: bool = True) -> Iterator[apsw.Connection]:
    """A connection that reads one state; it keeps servers from starting on an idle store. Raises `SetupError`."""
    file = location.folder / FILE_NAME
    if backup.is_empty(location.folder):
        raise SetupError(f"There is no message store in {location.folder}.")
    try:
        if may_be_served and local_socket.is_locked(location.folder):
            with closing(open_reader(file)) as connection:
                connection.execute("BEGIN")
                yield connection
            return
        lock = data_folder.take(location.folder)
        try:
            refuse_damage(file, lock.note)
            with closing(open_unchanging(file)) as connection:
                connection.execute("BEGIN")
                yield connection
        finally:
            lock.release()
    except (apsw.Error, OSError) as error:
        raise SetupError(f"Cannot read the message store {file}: {error}.") from None


@asynccontextmanager
async def reading(location: Location, command: str, *, stands_still: bool) -> AsyncIterator[Rows]:
    """All rows as they are now. `stands_still`: and stay for as long as this lasts. Raises `SetupError`."""
    if not location.url:
        with sqlite_connection(location, may_be_served=not stands_still) as connection:
            _refuse_other_schema(location, await schema_of(sqlite.statements_on(connection), "sqlite"))
            yield SQLiteRows(connection)
        return
    from gigachat_server.store.copies import postgres_rows
    from gigachat_server.store.engines import postgres

    async with _connected(location, command) as connection:
        _refuse_other_schema(location, await schema_of(postgres.statements_on(connection), "postgres"))
        if stands_still:
            await postgres_rows.hold_still(connection)
        else:
            await connection.execute(_SNAPSHOT)
        yield postgres_rows.PostgresRows(connection)


@asynccontextmanager
async def filling(location: Location, source: Location) -> AsyncIterator[Target]:
    """A store that is empty or half filled from that source, and is a whole one once the block is left. Raises `SetupError`."""
    async with opened(location, "move") as database, _target(location, database) as target:
        await _begin(database, target, location, source)
        yield target
        await database.transaction("copy.end", mark_filled)


@asynccontextmanager
async def _target(location: Location, database: Database) -> AsyncIterator[Target]:
    if isinstance(database, SQLiteDatabase):
        with closing(open_reader(location.folder / FILE_NAME)) as reader:
            yield SQLiteTarget(database, reader)
        return
    from gigachat_server.store.copies import postgres_rows

    async with having_to_itself(location, "move") as connection:
        yield postgres_rows.PostgresTarget(connection)
        await connection.execute("ANALYZE")  # or its first queries are planned for empty tables


@asynccontextmanager
async def replacing(location: Location, ask: Callable[[str], None]) -> AsyncIterator[Target]:
    """A store on PostgreSQL with nothing in it, within one transaction: if the block fails, all is as it was.

    `ask` is told what is in it now, if anything is, and raises what this does if that is to stay. Raises `SetupError`.
    """
    from gigachat_server.store.copies import postgres_rows
    from gigachat_server.store.engines import postgres

    async with opened(location, "restore") as database, having_to_itself(location, "restore") as connection:
        target = postgres_rows.PostgresTarget(connection)
        if held := await what_is_in(target):
            ask(held)
        await migrate(database, system_clock, is_filling=True)
        await target.begin_empty()
        yield target
        await mark_filled(postgres.statements_on(connection))
        await connection.execute("COMMIT")
        await connection.execute("ANALYZE")


@asynccontextmanager
async def having_to_itself(location: Location, command: str) -> AsyncIterator[Any]:
    """A connection to a PostgreSQL that no server serves and no other command fills. Raises `SetupError`."""
    from gigachat_server.store.copies import postgres_rows

    async with _connected(location, command) as connection:
        await postgres_rows.have_to_itself(connection)
        yield connection


async def schema_in(file: Path) -> Schema:
    """What was done to the store that a backup is of. Raises `SetupError`."""
    try:
        with closing(open_unchanging(file)) as connection:
            return await schema_of(sqlite.statements_on(connection), "sqlite")
    except apsw.Error as error:
        raise SetupError(f"The backup {file} cannot be read: {error}.") from None


async def _begin(database: Database, target: Target, location: Location, source: Location) -> None:
    """Create the schema, and the mark that the store is being filled."""

    async def look(reader: Reader) -> Schema:
        return await schema_of(reader, location.dialect)

    from_where = (await database.read(look)).filled_from
    if from_where not in (None, str(source)):
        raise SetupError(f"{location} is partly filled from {from_where}: run that `gigachat move` again, or name another store.")
    if from_where is None and (held := await what_is_in(target)):
        raise SetupError(f"{location} is not empty ({held}): name an empty data folder or database.")
    await migrate(database, system_clock, is_filling=True)

    async def mark(tx: Tx) -> None:
        await mark_filling(tx, str(source))

    if from_where is None:
        await database.transaction("copy.begin", mark)


async def what_is_in(rows: Rows) -> str:
    """The tables that are not empty, for a person."""
    held = [(name, await rows.count(table)) for name, table in sorted((await rows.tables()).items())]
    return ", ".join(f"{name}: {count}" for name, count in held if count)


@asynccontextmanager
async def _connected(location: Location, command: str) -> AsyncIterator[Any]:
    """A new connection. Failures on it become a `SetupError`."""
    import asyncpg

    from gigachat_server.store.engines import postgres
    from gigachat_server.store.engines.postgres_connect import in_one_line

    connection = await postgres.connect(location.url, f"gigachat {command}")
    try:
        yield connection
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        raise SetupError(f"{location} failed: {in_one_line(error)}. Run the command again.") from None
    finally:
        connection.terminate()


def _refuse_other_schema(location: Location, schema: Schema) -> None:
    refuse_half_filled(schema)
    if not schema.number:
        raise SetupError(f"There is no message store in {location}.")
    if missing(schema, migrations(location.dialect)):
        raise SetupError(f"{location} has an older schema ({schema.number}): run `gigachat migrate` on it first.")
