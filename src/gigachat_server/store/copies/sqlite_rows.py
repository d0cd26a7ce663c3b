"""The rows of an embedded store, or of a backup, as `copying.py` wants them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import closing
from typing import cast

import apsw

from gigachat_server.store.copies.copying import BATCH_BYTES, BATCH_ROWS, DERIVED_TABLES, OWN_TABLES, Table, size_of
from gigachat_server.store.database import Dialect, Row, Tx
from gigachat_server.store.engines.migrate import migrations, statements
from gigachat_server.store.engines.sqlite import SQLiteDatabase


class SQLiteRows:
    """What a connection reads. The caller closes it."""

    dialect: Dialect = "sqlite"

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    async def tables(self) -> dict[str, Table]:
        return tables_of(self._connection)

    async def count(self, table: Table) -> int:
        return number(self._connection, f"SELECT count(*) FROM {table.name}")

    async def batches(self, table: Table) -> AsyncGenerator[list[Row], None]:
        sql = f"SELECT {', '.join(table.columns)} FROM {table.name} ORDER BY {', '.join(table.key)}"
        cursor = self._connection.cursor()
        try:
            cursor.execute(sql)
            while batch := await asyncio.to_thread(_fetch, cursor):
                yield batch
        finally:
            cursor.close(True)


class SQLiteTarget(SQLiteRows):
    """A store that this process alone writes into, and a connection that reads what it has written."""

    def __init__(self, database: SQLiteDatabase, reader: apsw.Connection) -> None:
        super().__init__(reader)
        self._database = database

    async def insert(self, table: Table, rows: list[Row]) -> None:
        names = ", ".join(table.columns)
        values = ", ".join(f":{column}" for column in table.columns)

        async def body(tx: Tx) -> None:
            await tx.run_many(
                f"INSERT INTO {table.name} ({names}) VALUES ({values})",
                (dict(zip(table.columns, row, strict=True)) for row in rows),
            )

        await self._database.transaction("copy.rows", body)


def tables_of(connection: apsw.Connection) -> dict[str, Table]:
    """Every table that holds what a store is for."""
    found = {}
    names = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'")
    for (name,) in cast("list[tuple[str]]", names.fetchall()):
        if name in OWN_TABLES or name.startswith(DERIVED_TABLES):
            continue
        about = "SELECT name, pk FROM pragma_table_xinfo(?) WHERE hidden = 0"  # the others are made by the database
        columns = cast("list[tuple[str, int]]", connection.execute(about, (name,)).fetchall())
        key = [column for column, place in sorted(columns, key=lambda each: each[1]) if place]
        found[name] = Table(name, tuple(key), tuple(sorted(column for column, _ in columns)))
    return found


def embedded_tables() -> dict[str, Table]:
    """Every table of the embedded store's schema in this version."""
    with closing(apsw.Connection(":memory:")) as connection:
        for migration in migrations("sqlite"):
            for statement in statements(migration.sql):
                connection.execute(statement).fetchall()
        return tables_of(connection)


def number(connection: apsw.Connection, sql: str) -> int:
    """What a statement that finds one number finds."""
    return cast("int", connection.execute(sql).fetchall()[0][0])


def _fetch(cursor: apsw.Cursor) -> list[Row]:
    """In a thread: the next rows; none if there are no more."""
    batch: list[Row] = []
    size = 0
    for row in cursor:
        batch.append(row)
        size += size_of(row)
        if size >= BATCH_BYTES or len(batch) == BATCH_ROWS:
            break
    return batch
