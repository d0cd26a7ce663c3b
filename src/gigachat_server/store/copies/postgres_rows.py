"""The rows of a store on PostgreSQL, as `copying.py` wants them: read in one snapshot, written with COPY."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import asyncpg

from gigachat_server.errors import SetupError
from gigachat_server.store.copies.copying import BATCH_BYTES, BATCH_ROWS, OWN_TABLES, Table
from gigachat_server.store.database import Dialect, Row
from gigachat_server.store.engines.postgres import APPLICATION

_FEWEST_ROWS = 64

# Of the schema that new tables go into, without what extensions own and what the database makes by itself.
_CATALOGUE = """
SELECT c.relname, a.attname, format_type(a.atttypid, NULL), coalesce(array_position(i.indkey::int2[], a.attnum), -1)
FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relnamespace = current_schema()::regnamespace
  AND c.relname <> ALL($1)
  AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.classid = 'pg_class'::regclass AND d.deptype = 'e')
ORDER BY c.relname, a.attname COLLATE "C"
"""


class PostgresRows:
    """What a connection reads, within the transaction that its caller began."""

    dialect: Dialect = "postgres"

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._types: dict[tuple[str, str], str] = {}

    async def tables(self) -> dict[str, Table]:
        found: dict[str, Table] = {}
        keys: dict[str, list[tuple[int, str]]] = {}
        for name, column, type_, place in await self._connection.fetch(_CATALOGUE, OWN_TABLES):
            self._types[name, column] = type_.rpartition(".")[2]
            before = found[name].columns if name in found else ()
            if place >= 0:
                keys.setdefault(name, []).append((place, column))
            key = tuple(each for _, each in sorted(keys.get(name, ())))
            found[name] = Table(name, key, (*before, column))
        return found

    async def count(self, table: Table) -> int:
        return int(await self._connection.fetchval(f"SELECT count(*) FROM {table.name}"))

    async def batches(self, table: Table) -> AsyncGenerator[list[Row], None]:
        if not self._types:
            await self.tables()
        first, following = self._select(table, behind=False), self._select(table, behind=True)
        after: tuple[Any, ...] = ()
        most = BATCH_ROWS
        while rows := await self._connection.fetch(following if after else first, most, BATCH_BYTES, *after):
            yield [tuple(row) for row in rows]
            after = tuple(rows[-1][place] for place in table.key_places)
            most = min(BATCH_ROWS, max(_FEWEST_ROWS, 2 * len(rows)))

    def _select(self, table: Table, *, behind: bool) -> str:
        """The next rows by their key, $1 at most, as many as fit into $2 bytes and one more; from behind key $3 on."""
        columns = ", ".join(table.columns)
        # Texts by their bytes, whatever the database's collation; the key's index is sorted so.
        keys = [f'{column} COLLATE "C"' if self._types[table.name, column] == "text" else column for column in table.key]
        order = ", ".join(keys)
        where = ""
        if behind:
            where = f"WHERE ({order}) > ({', '.join(f'${number}' for number in range(3, 3 + len(keys)))})"
        sizes = " + ".join(f"coalesce({self._size(table, column)}, 0)" for column in table.columns)
        return (
            f"SELECT {columns} FROM (SELECT {columns}, sum(row_bytes) OVER (ORDER BY {order} ROWS UNBOUNDED PRECEDING) "
            f"- row_bytes AS bytes_before FROM (SELECT {columns}, {sizes} AS row_bytes FROM {table.name} {where} "
            f"ORDER BY {order} LIMIT $1) AS sized) AS summed WHERE bytes_before < $2 ORDER BY {order}"
        )

    def _size(self, table: Table, column: str) -> str:
        # Neither has to read what is stored out of line.
        if self._types[table.name, column] in ("text", "bytea"):
            return f"octet_length({column})"
        return f"pg_column_size({column})"


class PostgresTarget(PostgresRows):
    async def insert(self, table: Table, rows: list[Row]) -> None:
        try:
            await self._connection.copy_records_to_table(table.name, records=rows, columns=table.columns)
        except asyncpg.CharacterNotInRepertoireError:
            which = next((row for row in rows if any(isinstance(value, str) and "\0" in value for value in row)), rows[0])
            key = ", ".join(str(which[place]) for place in table.key_places)
            raise SetupError(f"A text of {table.name} ({key}) holds a NUL character, which PostgreSQL does not store.") from None

    async def begin_empty(self) -> None:
        """Begin a transaction that locks everyone else out until it ends, and empties the tables."""
        await _begin_locked(self._connection, "BEGIN", "ACCESS EXCLUSIVE")
        await self._connection.execute(f"TRUNCATE {', '.join(await self.tables())}")


# --- who else is there ---

_NODES = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1"
_COPYING = 7423190842  # the number of an advisory lock
_LOCK_PATIENCE = "5s"


async def refuse_nodes(connection: Any) -> None:
    """Raises `SetupError` while a gigachat is connected to the same database."""
    if await connection.fetchval(_NODES, APPLICATION):
        raise SetupError("A gigachat is connected to this database: stop every node first.")


async def hold_still(connection: Any) -> None:
    """Begin a transaction that sees one state and keeps it unchanged until it ends. Raises `SetupError`."""
    await refuse_nodes(connection)
    await _begin_locked(connection, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", "SHARE")


async def _begin_locked(connection: Any, begin: str, mode: str) -> None:
    """A transaction that has every table. What it sees is settled by the first statement after the lock."""
    names = ", ".join(await PostgresRows(connection).tables())
    try:
        await connection.execute(f"{begin}; SET LOCAL lock_timeout = '{_LOCK_PATIENCE}'; LOCK TABLE {names} IN {mode} MODE")
    except asyncpg.LockNotAvailableError:
        raise SetupError("Another program uses the tables of this database: end it first.") from None


async def have_to_itself(connection: Any) -> None:
    """Make sure that no server uses the database and no other command fills it. Raises `SetupError`."""
    await refuse_nodes(connection)
    if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _COPYING):
        raise SetupError("Another `gigachat move` or `gigachat restore` fills this database.")
