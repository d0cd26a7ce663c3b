"""Fresh databases for the tests of a run, on one server that all its processes share.

    databases = Databases("gw0", migrate)
    dsn = databases.fresh()      # migrated, and empty but for what the migrations put in
    databases.release(dsn)

Idea: a released database is emptied and given to the next test, for that is what costs least. Milliseconds for the schema
of 11 tables and 23 indexes, one and two processes at it at once, on 2 cores and a disk that had other things to do, too:

    DELETE from all tables, in one message            0.6      0.6
    TRUNCATE of all tables                             17       62
    a schema for each test, made and dropped           81       53
    CREATE ... TEMPLATE, STRATEGY WAL_LOG, and DROP    49      110     (103 of the server's CPU time)
    CREATE ... TEMPLATE, STRATEGY FILE_COPY, and DROP 135      161     (32 of the server's CPU time)

All that `release` does takes 2.5 ms of the server's CPU time; 9 to 14 ms pass with four or five processes to each core. Made
ahead by a thread, a database would still cost both cores its CPU time. So one is only copied from the template where a
process needs one more at the same time than ever before, or where a test changed more than rows: in memory that takes
50 ms, on a busy disk 300 and more.

What a test then pays is connecting: 4 to 8 ms for each connection that it opens.

Invariant: whoever gets a database finds the schema, the rows and the sequences of the template, and nobody connected.
Roles, and settings of the server, are everybody's: who changes them uses a server of their own (`postgres_server.py`).

`TEST_POSTGRES_DSN` names another server to use: its user may create databases and has the right to set
`session_replication_role`, as superusers do, and the extension `vector` is there.
"""

from __future__ import annotations

import asyncio
import fcntl
import io
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from tests import postgres_server

T = TypeVar("T")

_RUN = "TEST_POSTGRES_RUN"  # names the run to all its processes: the process that ends last, and a word of its own
_SERVER = "TEST_POSTGRES_DSN"
_PATIENCE_S = 60
_SMALL_BYTES = 512 * 1024  # a larger table is truncated: it would go on growing otherwise


def begin_run() -> None:
    """In the process that ends last, before it starts others. The server, once somebody needs it, ends with that process."""
    os.environ[_RUN] = f"{os.getpid()}_{secrets.token_hex(4)}"


def end_run() -> None:
    """Nothing is left of the run: no server, no database on a server that was there before, no file."""
    run = os.environ.pop(_RUN, "")
    if not run.startswith(f"{os.getpid()}_"):
        return
    folder = _folder(run)
    with suppress(FileNotFoundError):
        server = json.loads((folder / "server.json").read_text())
        if "keeper" in server:
            _end_server(server["keeper"])
        else:
            asyncio.run(_drop_all(server["dsn"], run))
    shutil.rmtree(folder, ignore_errors=True)


class Databases:
    """The databases of one process. Everything here waits until it is done, in any thread and beside any event loop."""

    def __init__(self, name: str, migrate: Callable[[str], Coroutine[Any, Any, None]]) -> None:
        """`name`: of the process within the run. `migrate` makes the schema in an empty database; once in a run."""
        self._name = name
        self._migrate = migrate
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="postgres", daemon=True)
        self._thread.start()
        self._run = os.environ[_RUN]
        self._server = ""
        self._made = 0
        self._free: list[_Database] = []
        self._taken: dict[str, _Database] = {}

    @property
    def made(self) -> int:
        """How many databases were made: the more, the slower."""
        return self._made

    def fresh(self, *, is_migrated: bool = True) -> str:
        """The DSN of a database that nobody else has. Without migrations there is nothing in it, not even an extension."""
        if is_migrated and self._free:
            database = self._free.pop()
        else:
            database = self._call(self._make(self._template() if is_migrated else "template0"))
            database.is_reusable = is_migrated
        self._taken[database.dsn] = database
        return database.dsn

    def copy(self, dsn: str) -> str:
        """The DSN of a database with the rows that are committed in that one now, as a kill at this moment would leave it.

        For databases with the schema of the migrations.
        """
        copied = self.fresh()
        self._call(_copy(dsn, self._taken[copied]))
        return copied

    def query(self, dsn: str, sql: str) -> list[dict[str, Any]]:
        """The rows, by column."""
        return self._call(self._taken[dsn].query(sql))

    def release(self, dsn: str) -> None:
        """It is nobody's any more. Those who are still connected to it are not for long."""
        database = self._taken.pop(dsn)
        if self._call(database.empty()):
            self._free.append(database)
        else:
            self._call(self._drop(database))

    def aclose(self) -> None:
        """Disconnects. The databases go with the run."""
        for database in (*self._free, *self._taken.values()):
            self._call(database.disconnect())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_PATIENCE_S)
        self._loop.close()

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, _PATIENCE_S), self._loop).result()

    def _template(self) -> str:
        """The name of the run's migrated database. Whoever is first makes it, and starts the server."""
        name = f"gigachat_{self._run}_template"
        with _lock(self._run) as folder:
            server, file = self._dsn(folder), folder / "template"
            if not file.exists():
                self._call(_execute(server, f'CREATE DATABASE "{name}" TEMPLATE template0'))
                self._call(self._migrate(_of(server, name)))
                self._call(_execute(server, "SELECT " + _DISCONNECT.format(f"datname = '{name}'")))
                file.touch()
        return name

    def _dsn(self, folder: Path) -> str:
        """Of the server that the run uses; to be called by one at a time."""
        if not self._server:
            file = folder / "server.json"
            if not file.exists():
                found = {"dsn": os.environ[_SERVER]} if os.environ.get(_SERVER) else _start_server(self._run, folder)
                file.write_text(json.dumps(found))
            self._server = json.loads(file.read_text())["dsn"]
        return self._server

    async def _make(self, template: str) -> _Database:
        if not self._server:
            with _lock(self._run) as folder:
                self._dsn(folder)
        self._made += 1
        name = f"gigachat_{self._run}_{self._name}_{self._made}"
        # The other strategy takes three times the CPU time.
        await _execute(self._server, f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy')
        database = _Database(name, _of(self._server, name))
        await database.connect()
        return database

    async def _drop(self, database: _Database) -> None:
        await database.disconnect()
        await _execute(self._server, f'DROP DATABASE "{database.name}" WITH (FORCE)')


class _Database:
    """One database, and a connection to it."""

    def __init__(self, name: str, dsn: str) -> None:
        self.name = name
        self.dsn = dsn
        self.is_reusable = True
        self._connection: asyncpg.Connection[Any]
        self._asking = asyncio.Lock()
        self._tables: list[str] = []  # quoted
        self._kept: dict[str, str] = {}  # tables with rows from the migrations, and the digest of those
        self._sequences = ""
        self._emptying = ""

    async def connect(self) -> None:
        """It is as the template is."""
        self._connection = await asyncpg.connect(self.dsn, server_settings={"session_replication_role": "replica"})
        names = await self._connection.fetch(_TABLES)
        self._tables = [row[0] for row in names]
        for table in list(self._tables):
            if await self._connection.fetchval(f"SELECT true FROM {table} LIMIT 1"):
                self._tables.remove(table)
                self._kept[table] = await self._connection.fetchval(_digest(table))
        self._sequences = await self._connection.fetchval(_SEQUENCES)
        await self._prepare_emptying()

    async def query(self, sql: str) -> list[dict[str, Any]]:
        async with self._asking:
            return [dict(row) for row in await self._connection.fetch(sql)]

    async def disconnect(self) -> None:
        with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
            await self._connection.close(timeout=5)

    async def empty(self) -> bool:
        """Whether it is as the template is, again. In one round trip, for on busy cores it is those that take long."""
        if not self.is_reusable or self._connection.is_closed():
            return False
        try:
            try:
                await self._connection.execute(self._emptying)
            except asyncpg.ObjectNotInPrerequisiteStateError:  # a table is large
                large = [row[0] for row in await self._connection.fetch(_LARGE, self._tables, _SMALL_BYTES)]
                await self._connection.execute(f"TRUNCATE {', '.join(large)} CASCADE")
                await self._prepare_emptying()
                await self._connection.execute(self._emptying)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            return False
        return True

    async def _prepare_emptying(self) -> None:
        """Right after nothing but rows can have changed."""
        schema = await self._connection.fetchval(_SCHEMA)
        unchanged = "".join(f"ASSERT ({_digest(table)}) = '{digest}';" for table, digest in self._kept.items())
        tables = ", ".join(f"$name${table}$name$" for table in self._tables)
        self._emptying = f"""
        DO $empty$ BEGIN
            PERFORM {_DISCONNECT.format("datname = current_database() AND pid <> pg_backend_pid()")};
            ASSERT ({_SCHEMA}) = '{schema}';
            {unchanged}
            IF EXISTS (SELECT FROM unnest(ARRAY[{tables}]::text[]) AS name WHERE {_IS_LARGE.format(_SMALL_BYTES)}) THEN
                RAISE object_not_in_prerequisite_state;
            END IF;
            {"".join(f"DELETE FROM {table};" for table in self._tables)}
            {self._sequences}
        END $empty$"""


_MINE = "nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')"

_TABLES = f"""
SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE relkind = 'r' AND {_MINE} ORDER BY 1"""

_PLACE = "SELECT nspname, relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE c.oid = $1::text::regclass"

_COLUMNS = """
SELECT attname FROM pg_attribute
WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum"""

# What sets every sequence as it is now, for PL/pgSQL.
_SEQUENCES = f"""
SELECT coalesce(string_agg(format('PERFORM setval(%L, %s, %L);', format('%I.%I', schemaname, sequencename),
    coalesce(last_value, start_value), last_value IS NOT NULL), ''), '')
FROM pg_sequences WHERE {_MINE.replace("nspname", "schemaname")}"""

# How many rows of which version each catalog has, of all that is not PostgreSQL's own; and what is set for the database.
_SCHEMA = (
    "SELECT concat_ws(' ', "
    + ", ".join(
        f"(SELECT (count(*), sum(hashtextextended({key} || ' ' || xmin::text, 0))) FROM {catalog} WHERE {oid} >= 16384)"
        for catalog, key, oid in (
            ("pg_class", "oid", "oid"),
            ("pg_attribute", "attrelid || '.' || attnum", "attrelid"),
            ("pg_attrdef", "oid", "oid"),
            ("pg_constraint", "oid", "oid"),
            ("pg_trigger", "oid", "oid"),
            ("pg_proc", "oid", "oid"),
            ("pg_namespace", "oid", "oid"),
            ("pg_extension", "oid", "oid"),
        )
    )
    + """, (SELECT string_agg(setrole || setconfig::text, ' ' ORDER BY setrole) FROM pg_db_role_setting
            WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())))"""
)

# Waits, too, for those who have said that they leave.
_DISCONNECT = "pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE {}"

_IS_LARGE = "pg_relation_size(name::regclass) > {}"

_LARGE = f"SELECT name FROM unnest($1::text[]) AS name WHERE {_IS_LARGE.format('$2')}"


def _digest(table: str) -> str:
    return f"SELECT md5(string_agg(row::text, ',' ORDER BY row::text)) FROM {table} AS row"


async def _copy(dsn: str, into: _Database) -> None:
    source, target = await asyncpg.connect(dsn), into._connection
    try:
        async with source.transaction(isolation="repeatable_read", readonly=True):
            for table in [*into._tables, *into._kept]:
                columns = [row[0] for row in await source.fetch(_COLUMNS, table)]
                names, rows = ", ".join(f'"{column}"' for column in columns), io.BytesIO()
                await source.copy_from_query(f"SELECT {names} FROM {table}", output=rows, format="binary")
                rows.seek(0)
                await target.execute(f"DELETE FROM {table}")
                schema, name = await source.fetchrow(_PLACE, table)
                await target.copy_to_table(name, schema_name=schema, columns=columns, source=rows, format="binary")
            await target.execute(f"DO $set$ BEGIN {await source.fetchval(_SEQUENCES)} END $set$")
    finally:
        await source.close()


async def _execute(dsn: str, sql: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


async def _drop_all(server: str, run: str) -> None:
    connection = await asyncpg.connect(server)
    try:
        names = await connection.fetch("SELECT datname FROM pg_database WHERE starts_with(datname, $1)", f"gigachat_{run}_")
        for (name,) in names:
            await connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    finally:
        await connection.close()


def _of(server: str, database: str) -> str:
    """The same server's DSN of another database."""
    return urlunsplit(urlsplit(server)._replace(path="/" + database))


# --- the run's server ---


def _folder(run: str) -> Path:
    return Path(tempfile.gettempdir()) / f"gigachat-run-{run}"


@contextmanager
def _lock(run: str) -> Iterator[Path]:
    """The run's folder, for one process at a time."""
    folder = _folder(run)
    folder.mkdir(mode=0o700, exist_ok=True)
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield folder


_keepers: list[subprocess.Popen[str]] = []  # this process may end before they do, and does not wait for them


def _start_server(run: str, folder: Path) -> dict[str, Any]:
    """A process of its own has it, which looks whether the run goes on: whoever starts it may end before the run does."""
    with (folder / "keeper.log").open("w") as log:
        keeper = subprocess.Popen(
            [sys.executable, postgres_server.__file__, run.partition("_")[0], str(folder)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True,
        )  # fmt: skip
    _keepers.append(keeper)
    assert keeper.stdout is not None
    with keeper.stdout as out:
        dsn = out.readline().strip()
    if not dsn:
        raise AssertionError((folder / "keeper.log").read_text())
    return {"dsn": dsn, "keeper": keeper.pid}


def _end_server(keeper: int) -> None:
    with suppress(ProcessLookupError):
        end = os.pidfd_open(keeper)
        signal.pidfd_send_signal(end, signal.SIGTERM)
        postgres_server.await_end(end)
        os.close(end)
    for own in _keepers:
        own.wait(_PATIENCE_S)
