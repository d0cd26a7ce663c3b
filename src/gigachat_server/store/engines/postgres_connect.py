"""Connections to the PostgreSQL of a URL, each set to what gigachat needs, whatever the server, the database or the role has.

Idea: a role may have defaults of its own (`ALTER ROLE ... SET`), and a provider adds some: transactions that are serializable,
a timeout of a second, a search_path without pgvector's schema. So every connection sets what its statements rely on. It
does so after it was made: a pooler refuses most settings while a connection is being made.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
from collections.abc import Sequence
from typing import Any

import asyncpg
import numpy as np

from gigachat_server.errors import SetupError
from gigachat_server.store.engines.postgres_check import POOLER, ServerState, is_of_a_pooler, no_transaction_timeout, state_of
from gigachat_server.store.engines.postgres_url import VARIABLE, ServerUrl
from gigachat_server.store.engines.wakeups import FAILURES

_NEXT_HOST_S = 0.5  # a host that takes longer to answer does not keep the next one waiting

# What the statements of every connection rely on. A transaction is READ COMMITTED: a body takes its row first and reads
# afterwards what others have committed meanwhile. `statement_timeout` comes first, for it is the one that could keep the
# others from being set.
_SESSION = {
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    "standard_conforming_strings": "on",
    "transform_null_equals": "off",
    "bytea_output": "hex",
    "row_security": "on",
    "timezone": "UTC",
}

# Those of requests have limits besides, so that no stuck statement of another program can hold one for long.
_OF_REQUESTS = {
    "lock_timeout": "1000",
    "statement_timeout": "30000",
    "idle_in_transaction_session_timeout": "10000",
    "jit": "off",  # planning it takes longer than our statements
    "max_parallel_workers_per_gather": "0",  # and so does starting a worker
    # pgvector's: an index looks at some more chunks than the 100 nearest that a search wants (docs/decisions/0012), and goes
    # on where some have been deleted.
    "hnsw.ef_search": "490",
    "hnsw.iterative_scan": "relaxed_order",
}

# Finds pgvector's types and operators where they are in a schema that is not searched.
_SEARCH_VECTORS = """
SELECT set_config('search_path', concat_ws(', ', nullif(current_setting('search_path'), ''), quote_ident(nspname)), false)
FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace
WHERE extname = 'vector' AND nspname <> ALL (current_schemas(true))
"""

# A server may be told to confirm what is not on its disk yet; what is acknowledged here has to be.
_DURABLE = "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"

_VECTOR_SCHEMA = "SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'vector'"


class Connector:
    """Makes connections to the first of a URL's hosts that is what it asks for. Raises what the driver does."""

    def __init__(self, url: ServerUrl, application: str) -> None:
        self.url = url
        self._named = {"application_name": application}
        self._security = {"ssl": ssl.create_default_context()} if url.trusts_system else {}

    async def connect(self, dsn: None = None, *, timeout: float | None = None, **options: Any) -> Any:
        """A connection as the server makes it. One that does not answer does not hold up the next."""
        options = {"server_settings": self._named, "timeout": timeout or self.url.connect_s} | self._security | options
        return await _first_of(self.url.dsns, **options)

    async def session(self, **options: Any) -> Any:
        """A connection with the settings that all have."""
        connection = await self.connect(**options)
        try:
            await set_up(connection)
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def state(self) -> ServerState:
        """Of the server that takes writes; where none does, of one that answers."""
        try:
            connection = await self.connect(statement_cache_size=0)
        except asyncpg.TargetServerAttributeNotMatched:
            connection = await self.connect(statement_cache_size=0, target_session_attrs="any")
        try:
            async with asyncio.timeout(self.url.connect_s):
                return await state_of(connection)
        finally:
            connection.terminate()


async def _first_of(dsns: Sequence[str], **options: Any) -> Any:
    untried, trying = list(dsns), set[asyncio.Task[Any]]()
    last: BaseException = OSError("there is no host")
    try:
        while untried or trying:
            if untried:
                trying.add(asyncio.create_task(asyncpg.connect(untried.pop(0), **options)))
            ended, trying = await asyncio.wait(
                trying, timeout=_NEXT_HOST_S if untried else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in ended:
                if (error := task.exception()) is None:
                    trying |= ended - {task}
                    return task.result()
                last = error
        raise last
    finally:
        for task in trying:
            task.add_done_callback(_hang_up)
            task.cancel()


def _hang_up(connecting: asyncio.Task[Any]) -> None:
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result().terminate()


async def set_up(connection: Any) -> None:
    """It has the settings of every connection."""
    settings = "; ".join(f"SET {name} = '{value}'" for name, value in _SESSION.items())
    await connection.execute(f"{no_transaction_timeout(connection)}{settings}; {_SEARCH_VECTORS}")


async def set_up_for_requests(connection: Any) -> None:
    """It has the settings of those that answer requests, and knows vectors."""
    await set_up(connection)
    limits = [f"SET {name} = '{value}'" for name, value in _OF_REQUESTS.items()]
    await connection.execute("; ".join((*limits, _DURABLE)))
    await know_vectors(connection)


# --- vectors ---


async def know_vectors(connection: Any) -> None:
    """A vector comes and goes as the bytes of its floats, if there are vectors."""
    if (schema := await connection.fetchval(_VECTOR_SCHEMA)) is not None:
        await connection.set_type_codec("vector", schema=schema, encoder=_encode_vector, decoder=_decode_vector, format="binary")


# pgvector's binary form: the dimension and a zero as 16-bit numbers, then 32-bit floats, all of it big-endian.


def _encode_vector(value: bytes) -> bytes:
    floats = np.frombuffer(value, dtype="<f4")
    return struct.pack(">HH", len(floats), 0) + floats.astype(">f4").tobytes()


def _decode_vector(value: bytes) -> bytes:
    return np.frombuffer(value, dtype=">f4", offset=4).astype("<f4").tobytes()


# --- what goes wrong ---


def in_one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def cannot_open(place: str, error: BaseException) -> str:
    """What to do about it, in one line."""
    if is_of_a_pooler(error):
        return POOLER
    if isinstance(error, asyncpg.InvalidAuthorizationSpecificationError):
        return f"PostgreSQL at {place} refuses the user or password of {VARIABLE}: {in_one_line(error)}."
    if isinstance(error, asyncpg.InvalidCatalogNameError):
        return f"PostgreSQL at {place} has no such database: create it, or correct {VARIABLE}."
    if isinstance(error, asyncpg.TooManyConnectionsError):
        return (
            f"PostgreSQL at {place} has no connection left ({in_one_line(error)}): raise max_connections, end other programs, "
            "or lower GIGACHAT_DATABASE_CONNECTIONS."
        )
    text = "it does not answer" if isinstance(error, TimeoutError) else in_one_line(error)
    if "startup parameter" in text:
        return f"A pooler in front of PostgreSQL at {place} refuses a parameter of {VARIABLE} ({text}): take it out of the URL."
    if "rejected SSL upgrade" in text:
        return f"PostgreSQL at {place} offers no TLS, which {VARIABLE} asks for: switch `ssl` on there, or take sslmode out."
    if "root certificate" in text:
        return (
            f"{VARIABLE} asks for a verified certificate, and no authority is known: add sslrootcert=system to it, or "
            "sslrootcert= with the path of the provider's certificate."
        )
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        return f"PostgreSQL at {place} does not let this user do what gigachat has to: {text}."
    if isinstance(error, ValueError):
        return f"{VARIABLE} cannot be read: {text}."
    return f"Cannot reach PostgreSQL at {place}: {text}. Is it running, and does {VARIABLE} name it?"


@contextlib.contextmanager
def opening(place: str) -> Any:
    """What the driver raises within becomes a `SetupError`."""
    try:
        yield
    except KeyError:  # a container may run under a number that is no user
        raise SetupError(f"{VARIABLE} names no user, and neither does this system: put it before the host.") from None
    except (*FAILURES, ValueError) as error:
        raise SetupError(cannot_open(place, error)) from None
