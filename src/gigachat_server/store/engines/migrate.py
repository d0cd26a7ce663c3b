"""Brings a store to the schema this version needs: numbered migrations, each applied once.

Idea: a migration is SQL that is applied in one transaction, and may have a step in Python that is repeated, each time in a
separate transaction, until nothing is left to do; its progress is stored in the same transaction. So a process
that is killed in the middle leaves a store with which the next one goes on, and on a shared store several do it together:
each transaction begins by waiting for the others', and by looking what they have done.

Invariant: a migration that was released is never edited. A store that a newer version has migrated, or has begun to, is
refused. `applied_at` is -1 for what was begun and is not finished; the number 0 stands for a copy into it (`mark_filling`).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from importlib import resources

import msgspec

from gigachat_server.clock import Clock
from gigachat_server.errors import SetupError
from gigachat_server.store.database import Database, Dialect, Reader, Tx

# Does a part of the work from behind `reached` on ('': the beginning); how far it has come then, None if that was all.
Step = Callable[[Tx, str], Awaitable[str | None]]

_FILE = re.compile(r"(\d{4})_\w+\.sql")
_FILLING = 0
_BEGUN = -1

_LOOK_FOR = {
    "sqlite": "SELECT 1 FROM sqlite_schema WHERE name = 'schema_migrations'",
    "postgres": "SELECT 1 WHERE to_regclass('schema_migrations') IS NOT NULL",
}

# Finds a table of these that this role may not change: whose that is, and who asks.
_FOREIGN = (
    "SELECT pg_get_userbyid(c.relowner)::text, current_user::text FROM pg_class c "
    "WHERE c.oid = ANY (SELECT to_regclass(name) FROM unnest(CAST(:tables AS TEXT[])) AS name) "
    "AND NOT (pg_has_role(c.relowner, 'USAGE') AND has_schema_privilege(c.relnamespace, 'CREATE')) LIMIT 1"
)

# What a transaction of a migration begins with. Where other nodes may start at the same time, it waits for theirs, however
# long they take; what it then waits for is a node that answers requests, which should not have to wait for it.
_ALONE: dict[Dialect, tuple[str, ...]] = {
    "sqlite": (),
    "postgres": (
        "SET LOCAL lock_timeout = 0",
        "SET LOCAL statement_timeout = 0",
        "SET LOCAL idle_in_transaction_session_timeout = 0",
        "SELECT pg_advisory_xact_lock(7423190841)",
        "SET LOCAL lock_timeout = '10s'",
    ),
}


class Migration(msgspec.Struct, frozen=True):
    number: int
    name: str
    sql: str
    step: Step | None = None


class Schema(msgspec.Struct, frozen=True):
    """What was done to a store: the numbers of what was applied, of what was begun, and what it is being filled from."""

    applied: frozenset[int] = frozenset()
    begun: frozenset[int] = frozenset()
    filled_from: str | None = None

    @property
    def number(self) -> int:
        """Of the newest migration; 0 before the first."""
        return max(self.applied | self.begun, default=0)


def migrations(dialect: Dialect) -> list[Migration]:
    """Every migration of such a store, in order."""
    found = []
    for entry in resources.files("gigachat_server.store").joinpath("sql", dialect).iterdir():
        if match := _FILE.fullmatch(entry.name):
            found.append(Migration(int(match[1]), entry.name, entry.read_text(encoding="utf-8")))
    return sorted(found, key=lambda migration: migration.number)


async def schema_of(reader: Reader, dialect: Dialect) -> Schema:
    """Also of a store that was never migrated."""
    if await reader.one(_LOOK_FOR[dialect]) is None:
        return Schema()
    rows = await reader.all("SELECT number, name, applied_at FROM schema_migrations")
    numbers = [row for row in rows if row[0] != _FILLING]
    return Schema(
        applied=frozenset(number for number, _, applied_at in numbers if applied_at != _BEGUN),
        begun=frozenset(number for number, _, applied_at in numbers if applied_at == _BEGUN),
        filled_from=next((name for number, name, _ in rows if number == _FILLING), None),
    )


def missing(schema: Schema, known: Sequence[Migration]) -> list[Migration]:
    """What is to be applied, in order. Raises `SetupError` if the store is not one that this version can go on with."""
    if newer := (schema.applied | schema.begun) - {migration.number for migration in known}:
        raise SetupError(
            f"The message store was last used by a newer gigachat (schema {max(newer)}; this knows {known[-1].number}). "
            "Upgrade gigachat, or restore a backup."
        )
    return [migration for migration in known if migration.number not in schema.applied]


def refuse_half_filled(schema: Schema) -> None:
    if schema.filled_from is not None:
        raise SetupError(
            f"The message store is only partly filled from {schema.filled_from}: run that `gigachat move` again to continue, "
            "or start with an empty store."
        )


async def refuse_foreign_tables(reader: Reader, dialect: Dialect, todo: Sequence[Migration]) -> None:
    """Raises `SetupError` if the tables that these migrations change belong to another user of the database."""
    tables = sorted({effect.table for migration in todo for effect in effects(migration)})
    if dialect == "postgres" and (row := await reader.one(_FOREIGN, tables=["schema_migrations", *tables])) is not None:
        owner, role = row
        raise SetupError(
            f"The message store has to be migrated, which the role {role} may not do: run `gigachat migrate` as {owner}, "
            "who owns its tables, then start this again."
        )


async def migrate(
    database: Database,
    clock: Clock,
    *,
    known: Sequence[Migration] | None = None,
    before: Callable[[Migration], Awaitable[None]] | None = None,
    is_filling: bool = False,
) -> list[Migration]:
    """Apply what is missing; what that was. Raises `SetupError` if the store is of a newer version.

    `before` is called with the first one if the store was migrated before, so it may hold something, and nothing of it was
    begun. `is_filling`: the store is being filled from another one.
    """
    known = migrations(database.dialect) if known is None else known

    async def prepare(tx: Tx) -> Schema:
        await _be_alone(tx, database.dialect)
        await tx.run(
            "CREATE TABLE IF NOT EXISTS schema_migrations "
            "(number BIGINT PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL)"
        )
        return await schema_of(tx, database.dialect)

    async def look(reader: Reader) -> Schema:
        return await schema_of(reader, database.dialect)

    schema = await database.read(look)
    if not schema.number:
        schema = await database.transaction("migrate.prepare", prepare)
    todo = missing(schema, known)
    if not is_filling:
        refuse_half_filled(schema)
    if todo:
        await database.read(lambda reader: refuse_foreign_tables(reader, database.dialect, todo))
    if todo and before is not None and schema.applied and todo[0].number not in schema.begun:
        await before(todo[0])
    for migration in todo:
        await _apply(database, migration, clock)
    return todo


async def _apply(database: Database, migration: Migration, clock: Clock) -> None:
    """Return when it is applied, by this process or by another."""

    async def begin(tx: Tx) -> bool:
        await _be_alone(tx, database.dialect)
        schema = await schema_of(tx, database.dialect)
        if migration.number in schema.applied:
            return True
        if migration.number in schema.begun:
            return False
        for statement in statements(migration.sql):
            await tx.run(statement)
        if migration.step is not None:
            await tx.run("CREATE TABLE IF NOT EXISTS schema_progress (number BIGINT PRIMARY KEY, reached TEXT NOT NULL)")
            await tx.run("INSERT INTO schema_progress (number, reached) VALUES (:number, '')", number=migration.number)
        await tx.run(
            "INSERT INTO schema_migrations (number, name, applied_at) VALUES (:number, :name, :applied_at)",
            number=migration.number,
            name=migration.name,
            applied_at=clock() if migration.step is None else _BEGUN,
        )
        return migration.step is None

    async def go_on(tx: Tx) -> bool:
        assert migration.step is not None
        await _be_alone(tx, database.dialect)
        if migration.number in (await schema_of(tx, database.dialect)).applied:
            return True
        row = await tx.one("SELECT reached FROM schema_progress WHERE number = :number", number=migration.number)
        assert row is not None
        reached = await migration.step(tx, row[0])
        if reached is not None:
            await tx.run(
                "UPDATE schema_progress SET reached = :reached WHERE number = :number", number=migration.number, reached=reached
            )
            return False
        await tx.run("DELETE FROM schema_progress WHERE number = :number", number=migration.number)
        await tx.run(
            "UPDATE schema_migrations SET applied_at = :now_us WHERE number = :number", number=migration.number, now_us=clock()
        )
        return True

    is_done = await database.transaction(f"migrate.{migration.name}", begin)
    while not is_done:
        is_done = await database.transaction(f"migrate.{migration.name}", go_on)


async def _be_alone(tx: Tx, dialect: Dialect) -> None:
    for statement in _ALONE[dialect]:
        await tx.run(statement)


async def mark_filling(tx: Tx, source: str) -> None:
    """Mark the store as being filled: no server serves it until it is marked as filled."""
    await tx.run(
        "INSERT INTO schema_migrations (number, name, applied_at) VALUES (:number, :source, :begun)",
        number=_FILLING,
        source=source,
        begun=_BEGUN,
    )


async def mark_filled(tx: Tx) -> None:
    """From now on it is served. What is derived from messages was not copied, and is made anew."""
    await tx.run("UPDATE conversations SET indexed_seq = 0")
    await tx.run("DELETE FROM schema_migrations WHERE number = :number", number=_FILLING)


def statements(sql: str) -> list[str]:
    without_comments = "\n".join(line for line in sql.splitlines() if not line.lstrip().startswith("--"))
    return [part.strip() for part in without_comments.split(";\n") if part.strip(" ;\n")]


# --- what it would do ---

_COUNT: dict[Dialect, str] = {
    "sqlite": "SELECT 1 FROM sqlite_schema WHERE name = :table",
    # What the planner thinks; -1 where it has never looked.
    "postgres": "SELECT CAST(reltuples AS BIGINT) FROM pg_class WHERE oid = to_regclass(:table)",
}

_TABLE_IN = (
    ("rewrites", re.compile(r"^INSERT INTO \w+.*\bFROM (\w+)", re.DOTALL)),
    ("rewrites", re.compile(r"^UPDATE (\w+)")),
    ("empties", re.compile(r"^DELETE FROM (\w+)")),
    ("removes", re.compile(r"^DROP TABLE (?:IF EXISTS )?(\w+)")),
    ("changes", re.compile(r"^ALTER TABLE (?:IF EXISTS )?(?:ONLY )?(\w+)")),
    ("indexes", re.compile(r"^CREATE (?:UNIQUE )?INDEX .*?\bON (?:ONLY )?(\w+)", re.DOTALL)),
    ("makes", re.compile(r"^CREATE TABLE (?:IF NOT EXISTS )?(\w+)")),
)
_RENAMED = re.compile(r"^ALTER TABLE (\w+) RENAME TO (\w+)")


class Effect(msgspec.Struct, frozen=True):
    """What a migration does to a table: `rewrites` messages."""

    verb: str
    table: str

    @property
    def reads_rows(self) -> bool:
        """Whether it takes the longer the more rows there are."""
        return self.verb in ("rewrites", "indexes")


def effects(migration: Migration) -> list[Effect]:
    """What its SQL does to which tables, as far as can be told from the text; the costliest for each."""
    costliest_first = [verb for verb, _ in _TABLE_IN]
    found: dict[str, str] = {}
    names: dict[str, str] = {}  # as they are called at the end, by what they were renamed to meanwhile
    for statement in statements(migration.sql):
        if renamed := _RENAMED.match(statement):
            names[renamed[2]] = renamed[1]
            continue
        verb, table = next(((verb, match[1]) for verb, pattern in _TABLE_IN if (match := pattern.search(statement))), ("", ""))
        if not verb or (verb == "removes" and table in names):
            continue
        table = names.get(table, table)
        is_new = found.get(table) == "makes" and table not in names.values()  # what is done to it costs nothing
        if table not in found or (not is_new and costliest_first.index(verb) < costliest_first.index(found[table])):
            found[table] = verb
    return [Effect(verb, table) for table, verb in found.items()]


async def count_roughly(reader: Reader, dialect: Dialect, table: str) -> int:
    """How many rows a table has, if it is there."""
    row = await reader.one(_COUNT[dialect], table=table)
    if row is None:
        return 0
    if dialect == "postgres" and row[0] >= 0:
        return int(row[0])
    counted = await reader.one(f"SELECT count(*) FROM {table}")
    return int(counted[0]) if counted else 0
