"""Copies every row of one store into another, whichever database either is on, and proves that both hold the same.

Idea: a table is read and written in the order of its primary key, in batches of bounded size, each written whole or not
at all. So what an earlier run has copied of a table is its beginning: the next run compares that with the source's beginning
and copies the rest, without having to remember a place. It copies what the embedded store has; PostgreSQL derives the rest.

Invariant: `copy` returns only if each table was read back from the target and is equal to the source's. A table's digest is
the SHA-256 of its rows in the order of the key, texts compared by their bytes, each a MessagePack array of its columns in
the order of their names: the same rows have the same digest on either database.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Protocol, TypeVar

import msgspec

from gigachat_server.errors import SetupError
from gigachat_server.store.database import Dialect, Row

T = TypeVar("T")

BATCH_BYTES = 4 * 1024 * 1024
BATCH_ROWS = 5_000

# Those tell how a store came to be, and are each store's own.
OWN_TABLES = ("schema_migrations", "schema_progress")

# What is made anew from the others.
DERIVED_TABLES = ("message_texts", "message_words")

_encode = msgspec.msgpack.Encoder().encode


class Table(msgspec.Struct, frozen=True):
    """A table as the catalogue has it, without the columns that the database makes by itself."""

    name: str
    key: tuple[str, ...]
    columns: tuple[str, ...]

    @property
    def key_places(self) -> tuple[int, ...]:
        """Where a row has the columns of the key."""
        return tuple(self.columns.index(column) for column in self.key)


class Rows(Protocol):
    """All rows of a store, at one moment, or while there are no other writers."""

    dialect: Dialect

    async def tables(self) -> dict[str, Table]:
        """By name."""

    async def count(self, table: Table) -> int: ...

    def batches(self, table: Table) -> AsyncGenerator[list[Row], None]:
        """The rows in the order of the key, not much more than `BATCH_BYTES` at a time. Vectors are little-endian floats."""


class Target(Rows, Protocol):
    async def insert(self, table: Table, rows: list[Row]) -> None:
        """All of them are there, or none is."""


class TableCopy(msgspec.Struct, frozen=True):
    """A table that both stores hold alike."""

    table: str
    rows: int
    digest: str


class Watcher(Protocol):
    """Shows the progress of a copy."""

    def begin(self, label: str) -> None: ...

    def advance(self, rows: int) -> None: ...


async def plan(source: Rows, target: Rows, wanted: dict[str, Table]) -> list[Table]:
    """What of the wanted tables is copied: all of it. Raises `SetupError` if one side does not know a column."""
    for rows in (source, target):
        known = await rows.tables()
        for name, table in wanted.items():
            if missing := set(table.columns) - set(known[name].columns if name in known else ()):
                raise SetupError(f"A store lacks {name} ({', '.join(sorted(missing))}): both need the schema of this gigachat.")
    return [table for _, table in sorted(wanted.items())]


async def copy(source: Rows, target: Target, tables: list[Table], watcher: Watcher) -> list[TableCopy]:
    """The target holds those tables as the source does. Raises `SetupError` where what it held before is something else."""
    return [await _copy_table(source, target, table, watcher) for table in tables]


async def _copy_table(source: Rows, target: Target, table: Table, watcher: Watcher) -> TableCopy:
    watcher.begin(table.name)
    before = await digest(target, table)
    hashed, count = hashlib.sha256(), 0
    async with aclosing(_ahead(source.batches(table))) as batches:
        async for rows in batches:
            present = max(0, min(len(rows), before.rows - count))
            hashed.update(b"".join(map(_encode, rows[:present])))
            count += present
            if present and count == before.rows:
                _refuse_another(before, hashed.hexdigest())
            if present < len(rows):
                await target.insert(table, rows[present:])
                hashed.update(b"".join(map(_encode, rows[present:])))
                count += len(rows) - present
            watcher.advance(len(rows))
    if count < before.rows:
        _refuse_another(before, "")
    watcher.begin(f"{table.name} (checking)")
    copied = await digest(target, table)
    if (copied.rows, copied.digest) != (count, hashed.hexdigest()):
        raise SetupError(
            f"What was written into {table.name} is not what was read: check the disks, and start with an empty store."
        )
    return copied


def _refuse_another(before: TableCopy, found: str) -> None:
    if before.digest != found:
        raise SetupError(
            f"The {before.table} of the two stores differ: the source has changed since. Start again with an empty one."
        )


async def digest(rows: Rows, table: Table) -> TableCopy:
    hashed, count = hashlib.sha256(), 0
    async with aclosing(_ahead(rows.batches(table))) as batches:
        async for batch in batches:
            hashed.update(b"".join(map(_encode, batch)))
            count += len(batch)
    return TableCopy(table.name, count, hashed.hexdigest())


async def _ahead(batches: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """The same; while one is being used, the next one is read."""
    async with aclosing(batches):
        reading = asyncio.ensure_future(_next(batches))
        try:
            while True:
                await asyncio.wait({reading})  # a cancellation must not leave the read half done
                if (batch := reading.result()) is None:
                    return
                reading = asyncio.ensure_future(_next(batches))
                yield batch
        finally:
            await asyncio.wait({reading})


async def _next(batches: AsyncGenerator[T, None]) -> T | None:
    return await anext(batches, None)


def size_of(row: Row) -> int:
    """How many bytes it takes, roughly."""
    return len(_encode(row))
