"""Whether a PostgreSQL is one that gigachat can work on; asked by every start, and by `gigachat doctor`.

Idea: what would fail later, in the middle of a request, is asked for before the first one: encoding, rights, room for the
connections, and whether a session is a session. Each answer is one line that says what to do.

A pooler that hands the server's sessions to its clients for one transaction each (pgbouncer's `pool_mode = transaction`) looks
like a server. But a LISTEN, an advisory lock, a setting or a prepared statement belongs to a session, so it would be lost, or
be found by another client. What gives such a pooler away is that two of its clients are served by the same session.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import msgspec

from gigachat_server.errors import SetupError

OLDEST_SERVER = 16
OLDEST_VECTOR = (0, 8)
SPARE_CONNECTIONS = 2  # beside those of the pool: one for wake-ups, and one now and then, as for making an index

# More clients than a pooler is likely to have idle sessions for: one of them gets the session that is looked for.
_MOST_CLIENTS = 8
_ANSWER_S = 3.0

_BEGIN = (
    "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; "
    "SET LOCAL idle_in_transaction_session_timeout = 0"
)

Connect = Callable[..., Awaitable[Any]]


class ServerState(msgspec.Struct, frozen=True):
    """What a server says of itself, of the database and of the role that is connected."""

    version: str
    version_number: int
    encoding: str
    is_standby: bool
    is_read_only: bool
    read_only_source: str
    role: str
    database: str
    schema: str | None  # in which tables are made; None: the search_path names none that is there
    has_tables: bool
    may_create: bool  # tables in that schema
    may_write: bool  # in the tables that are there
    sees_all: bool  # of their rows
    most_connections: int  # that this role can have at once
    vector_offered: str | None  # the version that the server could add
    vector: str | None
    vector_schema: str | None
    may_use_vector: bool
    is_distributed: bool  # Citus places the rows


_STATE = """
SELECT current_setting('server_version'), current_setting('server_version_num')::int,
    (SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = current_database()),
    pg_is_in_recovery(), current_setting('transaction_read_only') = 'on',
    coalesce((SELECT source FROM pg_settings WHERE name = 'default_transaction_read_only'), ''),
    current_user::text, current_database()::text, current_schema()::text,
    to_regclass('schema_migrations') IS NOT NULL,
    coalesce(has_schema_privilege(current_schema(), 'CREATE'), false),
    NOT EXISTS (SELECT FROM {tables} WHERE to_regclass(name) IS NOT NULL AND NOT (has_table_privilege(to_regclass(name), 'SELECT')
            AND has_table_privilege(to_regclass(name), 'INSERT') AND has_table_privilege(to_regclass(name), 'UPDATE')
            AND has_table_privilege(to_regclass(name), 'DELETE'))),
    NOT EXISTS (SELECT FROM {tables} WHERE to_regclass(name) IS NOT NULL AND row_security_active(to_regclass(name))),
    (SELECT min(allowed) FROM (
        SELECT current_setting('max_connections')::int - CASE WHEN rolsuper THEN 0
            ELSE current_setting('superuser_reserved_connections')::int
                + coalesce(current_setting('reserved_connections', true)::int, 0) END FROM pg_roles WHERE rolname = current_user
        UNION ALL SELECT rolconnlimit FROM pg_roles WHERE rolname = session_user AND rolconnlimit >= 0 AND NOT rolsuper
        UNION ALL SELECT datconnlimit FROM pg_database, pg_roles WHERE datname = current_database() AND datconnlimit >= 0
            AND rolname = session_user AND NOT rolsuper
    ) AS limits(allowed)),
    (SELECT default_version FROM pg_available_extensions WHERE name = 'vector'),
    v.extversion, n.nspname::text, coalesce(has_schema_privilege(n.oid, 'USAGE'), true),
    EXISTS (SELECT FROM pg_extension WHERE extname = 'citus')
FROM (SELECT 1) AS always LEFT JOIN pg_extension v ON v.extname = 'vector' LEFT JOIN pg_namespace n ON n.oid = v.extnamespace
""".format(
    tables="unnest(ARRAY['schema_migrations', 'accounts', 'chatbots', 'conversations', 'messages', 'events', 'chunks']) AS name"
)


async def state_of(connection: Any) -> ServerState:
    """To be called once for a connection: it leaves a transaction open."""
    await _begin(connection)
    return ServerState(*await connection.fetchrow(_STATE))


async def _begin(connection: Any) -> None:
    """A transaction without the limits that the role may have.

    Outside of one, a pooler may have a statement prepared in one session and executed in another.
    """
    await connection.execute(f"{no_transaction_timeout(connection)}{_BEGIN}")


def no_transaction_timeout(connection: Any) -> str:
    """The statement that has none from now on; nothing where the server is too old for one. It acts at once."""
    return "SET transaction_timeout = 0; " if connection.get_server_version().major >= 17 else ""


def problems(state: ServerState, *, connections: int) -> Iterator[str]:
    """What keeps a gigachat with so many connections in its pool from working there, the gravest first: a line each."""
    if state.version_number < OLDEST_SERVER * 10_000:
        yield f"PostgreSQL {state.version} is too old: gigachat needs {OLDEST_SERVER} or newer."
    if state.encoding != "UTF8":
        yield (
            f"The database {state.database} has the encoding {state.encoding}, which cannot hold every text: create one with "
            f"`CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0` and name it in GIGACHAT_DATABASE_URL."
        )
    if state.is_standby:
        yield "This PostgreSQL is a standby, which takes no writes: GIGACHAT_DATABASE_URL has to name the primary."
    elif state.is_read_only:
        yield _read_only(state)
    if state.schema is None:
        yield (
            f"The search_path of {state.role} names no schema that is there, or none that it may use: create that schema, "
            f"or `ALTER ROLE {_name(state.role)} SET search_path = public`."
        )
    elif not state.has_tables and not state.may_create:
        yield (
            f"The role {state.role} may not create tables in the schema {state.schema}: have an administrator run "
            f"`GRANT CREATE, USAGE ON SCHEMA {_name(state.schema)} TO {_name(state.role)}` in the database {state.database}."
        )
    if not state.may_write:
        yield (
            f"The role {state.role} may not read and write gigachat's tables: connect as the role that owns them, "
            f"or have it run `GRANT ALL ON ALL TABLES IN SCHEMA {_name(state.schema or 'public')} TO {_name(state.role)}`."
        )
    if not state.sees_all:
        yield (
            f"Row-level security hides rows of gigachat's tables from {state.role}: connect as the role that owns them, "
            f"or have an administrator run `ALTER ROLE {_name(state.role)} BYPASSRLS`."
        )
    if state.most_connections < connections + SPARE_CONNECTIONS:
        yield (
            f"PostgreSQL lets {state.role} have {state.most_connections} connections, and a node takes up to "
            f"{connections + SPARE_CONNECTIONS}: {_fewer(state.most_connections)}."
        )
    yield from _vector_problems(state)


def _fewer(allowed: int) -> str:
    if allowed - SPARE_CONNECTIONS < 2:
        return "raise max_connections, or the role's or the database's CONNECTION LIMIT"
    return f"raise max_connections (or the CONNECTION LIMIT), or set GIGACHAT_DATABASE_CONNECTIONS={allowed - SPARE_CONNECTIONS}"


def _read_only(state: ServerState) -> str:
    role, database, setting = _name(state.role), _name(state.database), "default_transaction_read_only"
    undo = {
        "user": f"`ALTER ROLE {role} RESET {setting}`",
        "database": f"`ALTER DATABASE {database} RESET {setting}`",
        "database user": f"`ALTER ROLE {role} IN DATABASE {database} RESET {setting}`",
        "client": f"take {setting} out of GIGACHAT_DATABASE_URL",
    }.get(state.read_only_source, "find out why (a full disk?), and name the primary in GIGACHAT_DATABASE_URL")
    return f"This PostgreSQL takes no writes, for {setting} is on: {undo}."


def _vector_problems(state: ServerState) -> Iterator[str]:
    if state.vector is None:
        if state.vector_offered is None:
            yield (
                "This PostgreSQL lacks the extension pgvector: install it on the server "
                f"(package postgresql-{state.version_number // 10_000}-pgvector)."
            )
        return
    if _numbers(state.vector) < OLDEST_VECTOR:
        needed = ".".join(map(str, OLDEST_VECTOR))
        if _numbers(state.vector_offered or "0") < OLDEST_VECTOR:
            yield (
                f"pgvector {state.vector} is too old: gigachat needs {needed} or newer. Install it on the server, "
                "then run `ALTER EXTENSION vector UPDATE`."
            )
        else:
            yield f"pgvector {state.vector} is too old: gigachat needs {needed} or newer. Run `ALTER EXTENSION vector UPDATE`."
    if not state.may_use_vector:
        yield (
            f"pgvector is in the schema {state.vector_schema}, which {state.role} may not use: have an administrator run "
            f"`GRANT USAGE ON SCHEMA {_name(state.vector_schema or '')} TO {_name(state.role)}`."
        )


def _numbers(version: str) -> tuple[int, ...]:
    """The first two of its numbers."""
    return tuple(int("".join(filter(str.isdigit, part)) or 0) for part in version.split(".")[:2])


def _name(text: str) -> str:
    """As it stands in SQL."""
    return text if text.isascii() and text.isidentifier() and text == text.lower() else '"' + text.replace('"', '""') + '"'


# --- sessions ---

POOLER = (
    "A pooler between gigachat and PostgreSQL gives each transaction another session, and LISTEN, advisory locks and prepared "
    "statements need one that stays: have GIGACHAT_DATABASE_URL name PostgreSQL itself (at Neon the host without -pooler, at "
    "Supabase port 5432, not 6543), or set `pool_mode = session` in pgbouncer."
)


async def refuse_shared_sessions(connect: Connect, *, connections: int) -> None:
    """Raises `SetupError` where a session does not belong to one connection for as long as that lasts, or there are too few."""
    async with AsyncExitStack() as opened:

        async def client() -> Any:
            connection = await connect(timeout=_ANSWER_S, statement_cache_size=0)
            opened.callback(connection.terminate)
            return connection

        first = await client()
        session = await _session(first)
        for had in range(1, _MOST_CLIENTS + 1):
            other = await client()
            try:
                session_of_other = await _session(other, stays=True)
            except TimeoutError:
                if had < connections + SPARE_CONNECTIONS:
                    raise SetupError(_too_few_sessions(had, connections)) from None
                break
            if session_of_other == session or await _session(first) != session:
                raise SetupError(POOLER)
            if (first.get_server_pid(), other.get_server_pid()) == (session, session_of_other):
                break  # the server has told them so itself: nobody is in between


def _too_few_sessions(had: int, connections: int) -> str:
    return (
        f"The pooler between gigachat and PostgreSQL had {had} sessions to give, and a node takes up to "
        f"{connections + SPARE_CONNECTIONS}: raise its default_pool_size, or lower GIGACHAT_DATABASE_CONNECTIONS."
    )


async def _session(connection: Any, *, stays: bool = False) -> int:
    """Which process of the server serves a transaction of that connection. `stays`: which then is left open."""
    try:
        async with asyncio.timeout(_ANSWER_S):
            await _begin(connection)
            row = await connection.fetchrow("SELECT pg_backend_pid()")
            if not stays:
                await connection.execute("COMMIT")
            return int(row[0])
    except asyncpg.PostgresError as error:
        if is_of_a_pooler(error):
            raise SetupError(POOLER) from None
        raise


def is_of_a_pooler(error: BaseException) -> bool:
    """Whether only a pooler says so: that a statement which was prepared is not there, or that there are no transactions."""
    if not isinstance(error, asyncpg.PostgresError):
        return False
    lost = (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError)
    return isinstance(error, lost) or "statement pooling" in str(error)
