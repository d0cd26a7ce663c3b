"""The store of many nodes: one PostgreSQL with pgvector, transactions of a few short statements.

Idea: a body runs inside a transaction on a connection of the pool. Where the server says that it lost a race, or the
connection dies before COMMIT was sent, nothing was written, and the body is run again. Where the connection dies *during*
COMMIT, the outcome is unknown: then a row that the body wrote under an id made beforehand (`Tx.proven_by`) is looked
for, and only if that is not there is the body run again.

Invariant: a commit is reported only if the server confirmed it or its rows were seen. A connection to a server
that became read-only (a primary that was demoted) is not used again: pinging it with `SELECT 1` would find it well.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar, cast

import asyncpg
import msgspec

from gigachat_server.errors import InvalidRequest, SetupError, StorageUnavailable
from gigachat_server.store.database import Dialect, Durability, Reader, Row, Statements, Tx
from gigachat_server.store.engines.postgres_check import ServerState, problems, refuse_shared_sessions
from gigachat_server.store.engines.postgres_connect import Connector, in_one_line, know_vectors, opening, set_up_for_requests
from gigachat_server.store.engines.postgres_url import read_url
from gigachat_server.store.engines.wakeups import FAILURES, PRESENCE, WakeUps

T = TypeVar("T")

_log = logging.getLogger("gigachat.store")

PATIENCE_S = 2.0  # how long a request waits for a connection, a lock, or a server that comes back
_CLOSE_S = 3.0
# A synchronous standby that is gone keeps a COMMIT waiting for ever; so long, too, it is tried to learn what became of one
# that the server never answered.
_COMMIT_S = 5.0
_MOST_REMEMBERED = 10_000
_REMEMBERED_S = 2.0  # a message that something has changed may be lost
_PROOF_S = 1.5  # how long a commit proves that the store can write
_MOST_CONFLICTS = 5
_BACKOFF_S = 0.05
_BUSY_BACKOFF_S = 0.25
_ARRIVAL_S = 10.0  # how long a process that starts waits for one that found itself alone

_BEGIN = "BEGIN"
_BEGIN_UNSAFE = "BEGIN; SET LOCAL synchronous_commit = off"

APPLICATION = "gigachat"  # how a node's connections are known to other programs

# Serialization failure, deadlock; and what another was faster to insert, be it a row or a table.
_CONFLICT = ("40001", "40P01", "23505", "42P07")
_READ_ONLY = "25006"
# The last two: what was prepared on it is not there, or somebody else's is. So it was not ours alone.
_GONE = ("57P", "08", "25P03", "26000", "42P05")
# Full disk, too many clients, a lock, a timeout, I/O, damage; and a password or a database that is being changed.
_BUSY = ("53", "55P03", "57014", "58", "XX001", "XX002", "28", "3D000")

# A character that the database's encoding lacks, or a value too large for its place.
_REFUSED_STATES = ("22021", "22P05", "54000")
_REFUSED = "The message store cannot hold this text: a character of it is not one, or it is too long."

_NO_TEXT_HAS = "\ufffe"  # Unicode has promised never to make it a character

_PARAMETER = re.compile(r"'[^']*'|(?<!:):([a-z_]\w*)")


@functools.lru_cache(maxsize=1024)
def to_postgres(sql: str) -> tuple[str, tuple[str, ...]]:
    """The one place that turns the common subset into PostgreSQL's own words; and the parameters in their order."""
    names: list[str] = []

    def number(match: re.Match[str]) -> str:
        name = match[1]
        if name is None:
            return match[0]
        if name not in names:
            names.append(name)
        return f"${names.index(name) + 1}"

    return _PARAMETER.sub(number, sql), tuple(names)


@functools.lru_cache(maxsize=256)
def _joined(statements: tuple[str, ...]) -> tuple[str, tuple[tuple[int, str], ...]]:
    """Several writes as one statement; and its parameters: of which of them, and their name."""
    parts: list[str] = []
    names: list[tuple[int, str]] = []
    for place, sql in enumerate(statements):
        text, own = to_postgres(sql)
        first = len(names)
        parts.append(re.sub(r"\$(\d+)", lambda match, first=first: f"${int(match[1]) + first}", text))  # type: ignore[misc]
        names += [(place, name) for name in own]
    before = ", ".join(f"w{place} AS ({part})" for place, part in enumerate(parts[:-1]))
    return f"WITH {before} {parts[-1]}" if before else parts[-1], tuple(names)


class _Statements:
    """Statements on one connection."""

    def __init__(self, connection: Any, *, joins: bool = True) -> None:
        self._connection = connection
        self._joins = joins
        self._added: list[tuple[str, dict[str, Any]]] = []
        self.callbacks: list[Callable[[], None]] = []
        self.forgotten: list[str] = []
        self.proof: tuple[str, dict[str, Any]] | None = None

    async def all(self, sql: str, **parameters: Any) -> list[Row]:
        await self.flush()
        text, names = to_postgres(sql)
        return [tuple(row) for row in await self._connection.fetch(text, *_bound(parameters, names))]

    async def one(self, sql: str, **parameters: Any) -> Row | None:
        await self.flush()
        text, names = to_postgres(sql)
        row = await self._connection.fetchrow(text, *_bound(parameters, names))
        return None if row is None else tuple(row)

    async def run(self, sql: str, **parameters: Any) -> int:
        await self.flush()
        text, names = to_postgres(sql)
        return _count(await self._connection.execute(text, *_bound(parameters, names)))

    async def add(self, sql: str, **parameters: Any) -> None:
        self._added.append((sql, parameters))

    async def flush(self) -> None:
        """Send what was added. A round trip costs more than most of our statements do."""
        if not self._added:
            return
        added, self._added = self._added, []
        for group in [added] if self._joins else [[each] for each in added]:
            text, names = _joined(tuple(sql for sql, _ in group))
            await self._connection.execute(text, *[_known(group[place][1][name]) for place, name in names])

    async def run_many(self, sql: str, rows: Iterable[dict[str, Any]]) -> None:
        await self.flush()
        text, names = to_postgres(sql)
        await self._connection.executemany(text, [_bound(row, names) for row in rows])

    def forget(self, key: str) -> None:
        self.forgotten.append(key)

    def after_commit(self, callback: Callable[[], None]) -> None:
        self.callbacks.append(callback)

    def erases(self) -> None:
        """Its vacuum frees the space: see docs/guides/go-to-production.md."""

    def proven_by(self, sql: str, **parameters: Any) -> None:
        if self.proof is None:
            self.proof = (sql, parameters)


def statements_on(connection: Any) -> Tx:
    """Statements of the common subset on a connection that the caller closes."""
    return _Statements(connection)


def _bound(parameters: dict[str, Any], names: tuple[str, ...]) -> list[Any]:
    return [_known(parameters[name]) for name in names]


def _known(value: Any) -> Any:
    """PostgreSQL knows no NUL: nothing that is stored has one, so what asks for one finds nothing."""
    return value.replace("\0", _NO_TEXT_HAS) if isinstance(value, str) and "\0" in value else value


def _count(status: str) -> int:
    """How many rows `UPDATE 3` or `INSERT 0 1` tells of."""
    last = status.rpartition(" ")[2]
    return int(last) if last.isdigit() else 0


class PostgresDatabase:
    """A `Database` on a PostgreSQL that other nodes use, too. Open it with `open_postgres`."""

    dialect: Dialect = "postgres"
    is_shared = True

    def __init__(self, pool: Any, wake_ups: WakeUps, connect: Callable[[], Awaitable[Any]], *, joins: bool) -> None:
        """`joins`: writes that follow each other may be one statement."""
        self._pool = pool
        self._connect = connect
        self._joins = joins
        self._may_wait = asyncio.Semaphore(pool.get_max_size() - 1)
        self._wake_ups = wake_ups
        self.broken = asyncio.Event()  # never set: what a server has on its disk is that server's to know
        self._running: set[asyncio.Task[Any]] = set()
        self._in_use: set[Any] = set()
        self._is_failing = False
        self._is_closing = False
        self._wrote_at = -_PROOF_S
        self._remembered: dict[str, tuple[float, Any]] = {}  # until when, and what
        self._forgotten = 0  # how often anything was
        self._looking: dict[str, tuple[int, asyncio.Task[Any]]] = {}  # since how much was forgotten
        self._callback: Callable[[str | None], None] = lambda topic: None
        wake_ups.callback = self._told
        wake_ups.when_silent = self._leave

    # --- statements ---

    async def read(self, body: Callable[[Reader], Awaitable[T]]) -> T:
        return await self._to_its_end("read", functools.partial(self._read_once, body))

    async def lookup(self, key: str, body: Callable[[Reader], Awaitable[T]], *, exactly: bool = True) -> T:
        if exactly:
            return await self._look_up(key, body)
        held = self._remembered.get(key)
        if held is not None and time.monotonic() < held[0] and self.hears:
            return cast("T", held[1])
        # Many requests want it at once as it runs out: one asks for them all, unless it did so before a change.
        begun, looking = self._looking.get(key, (-1, None))
        if looking is None or begun != self._forgotten:
            looking = asyncio.create_task(self._look_up(key, body), name="store")
            self._looking[key] = self._forgotten, looking
            looking.add_done_callback(functools.partial(self._forget_looking, key))
        try:
            return cast("T", await asyncio.shield(looking))
        except StorageUnavailable as error:
            raise error.again() from None

    def _forget_looking(self, key: str, looking: asyncio.Task[Any]) -> None:
        if self._looking.get(key, (0, None))[1] is looking:
            del self._looking[key]
        if not looking.cancelled():
            looking.exception()

    async def _look_up(self, key: str, body: Callable[[Reader], Awaitable[T]]) -> T:
        forgotten = self._forgotten
        found = await self._to_its_end(key, functools.partial(self._look_up_once, body))
        if forgotten == self._forgotten and self.hears:
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            self._remembered[key] = (time.monotonic() + _REMEMBERED_S, found)
        return found

    def _forget(self, key: str | None) -> None:
        self._forgotten += 1
        if key is None:
            self._remembered.clear()
        else:
            self._remembered.pop(key, None)

    async def transaction(
        self, name: str, body: Callable[[Tx], Awaitable[T]], *, patience_s: float = PATIENCE_S, may_be_lost: bool = False
    ) -> T:
        lost: list[tuple[_Statements, T]] = []  # those of which the COMMIT was sent, and never answered
        once = functools.partial(self._write_once, name, body, lost, _BEGIN_UNSAFE if may_be_lost else _BEGIN)
        # A caller who gets an error will try again, and wait for a statement that may still be running.
        return await self._to_its_end(name, once, patience_s=lambda: max(patience_s, _COMMIT_S if lost else 0.0))

    async def _to_its_end(
        self, name: str, once: Callable[[], Awaitable[T]], *, patience_s: Callable[[], float] = lambda: PATIENCE_S
    ) -> T:
        """Try until it is done, in a separate task: a cancelled caller must not leave a connection mid-transaction."""
        task: asyncio.Task[T] = asyncio.create_task(self._try(name, once, patience_s), name="store")
        self._running.add(task)
        task.add_done_callback(self._forget_task)
        return await asyncio.shield(task)

    def _forget_task(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # mark it as retrieved: the caller is gone

    async def _try(self, name: str, once: Callable[[], Awaitable[T]], patience_s: Callable[[], float]) -> T:
        began_at = time.monotonic()
        conflicts = 0
        while True:
            try:
                result = await once()
            except FAILURES as error:
                match _kind(error):
                    case "conflict" if conflicts < _MOST_CONFLICTS:
                        conflicts += 1
                        continue
                    case "gone" | "busy" as kind if time.monotonic() < began_at + patience_s() and not self._is_closing:
                        await asyncio.sleep(_BACKOFF_S if kind == "gone" else _BUSY_BACKOFF_S)
                        continue
                    case "gone" | "busy" | "conflict" as kind if kind != "conflict" or _is_race(error):
                        self._note_failure(name, error)
                        raise StorageUnavailable(retry_after_s=1) from None
                    case "refused":
                        raise InvalidRequest(_REFUSED) from None
                raise
            self._note_success()
            return result

    @asynccontextmanager
    async def _connection(self, *, may_wait: bool) -> AsyncIterator[Any]:
        """A connection of the pool. One on which anything but a statement failed is closed.

        All of them but one may wait for locks: every request looks something up first, and should not wait for that.
        """
        async with AsyncExitStack() as held:
            async with asyncio.timeout(PATIENCE_S):
                if may_wait:
                    await held.enter_async_context(self._may_wait)
                connection = await self._pool.acquire()
            async with self._released_after(connection):
                yield connection

    @asynccontextmanager
    async def _released_after(self, connection: Any) -> AsyncIterator[None]:
        self._in_use.add(connection)
        try:
            yield
        except BaseException as error:
            if isinstance(error, asyncpg.PostgresError) and error.sqlstate == _READ_ONLY:
                await self._pool.expire_connections()  # the others lead to the same server
                self._wake_ups.doubt()
            with contextlib.suppress(asyncpg.InterfaceError):  # it was terminated, and so is not ours any more
                if connection.is_in_transaction() or _kind(error) == "gone":
                    connection.terminate()
            raise
        finally:
            self._in_use.discard(connection)
            # What was committed is, whatever becomes of its connection.
            with contextlib.suppress(*FAILURES):
                await self._pool.release(connection)

    def _leave(self) -> None:
        """The server stopped answering, and would leave every pending caller waiting without end."""
        for connection in self._in_use:
            with contextlib.suppress(asyncpg.InterfaceError):  # it was left before
                connection.terminate()

    async def _read_once(self, body: Callable[[Reader], Awaitable[T]]) -> T:
        async with self._connection(may_wait=True) as connection:
            await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            try:
                return await body(_Statements(connection))
            finally:
                await _roll_back(connection)

    async def _look_up_once(self, body: Callable[[Reader], Awaitable[T]]) -> T:
        # One statement needs no transaction to be consistent.
        async with self._connection(may_wait=False) as connection:
            return await body(_Statements(connection))

    async def _write_once(
        self, name: str, body: Callable[[Tx], Awaitable[T]], lost: list[tuple[_Statements, T]], begin: str
    ) -> T:
        async with self._connection(may_wait=True) as connection:
            for statements, result in lost:
                if await _is_proven(name, connection, statements):
                    self._finish(name, statements)
                    return result
            statements = _Statements(connection, joins=self._joins)
            await connection.execute(begin)
            try:
                result = await body(statements)
                await statements.flush()
            except BaseException:
                await _roll_back(connection)
                raise
            try:
                await _commit(connection)
            except FAILURES as error:
                if _kind(error) == "gone":
                    lost.append((statements, result))
                raise
        self._finish(name, statements)
        return result

    def _finish(self, name: str, statements: _Statements) -> None:
        self._wrote_at = time.monotonic()
        for key in statements.forgotten:
            self._forget(key)
            self.tell(f"forget {key}")
        for callback in statements.callbacks:
            try:
                callback()
            except Exception:  # noqa: BLE001 - it is durable, and its caller must learn so
                _log.exception("after %s", name)

    async def apart(self, body: Callable[[Statements], Awaitable[T]]) -> T:
        try:
            connection = await self._connect()
            try:
                await connection.execute("SET application_name = 'gigachat upkeep'")
                result = await body(_Statements(connection))
                await connection.close(timeout=_CLOSE_S)  # once it is, whatever it had locked is free
                return result
            finally:
                connection.terminate()
        except FAILURES as error:
            raise StorageUnavailable(f"PostgreSQL: {in_one_line(error)}.", retry_after_s=60) from None

    def _note_failure(self, name: str, error: BaseException) -> None:
        if not self._is_failing:  # one line for each time, not for each request
            _log.error("PostgreSQL cannot be used (%s): %s", name, in_one_line(error))
        self._is_failing = True

    def _note_success(self) -> None:
        if self._is_failing:
            _log.warning("PostgreSQL can be used again")
            self._is_failing = False

    # --- other nodes ---

    @asynccontextmanager
    async def arriving(self) -> AsyncIterator[bool]:
        try:
            connection = await self._connect()
        except FAILURES as error:
            raise StorageUnavailable(f"PostgreSQL: {in_one_line(error)}.", retry_after_s=60) from None
        try:
            # A node that finds itself alone keeps others out while the block runs, and is visible to them from then on.
            is_alone = await connection.fetchval("SELECT pg_try_advisory_lock($1)", PRESENCE)
            await connection.execute(f"SET lock_timeout = '{_ARRIVAL_S:.0f}s'")
            with contextlib.suppress(asyncpg.LockNotAvailableError):  # by one that stood still there, and ends no lease any more
                await connection.execute("SELECT pg_advisory_lock_shared($1)", PRESENCE)
            yield is_alone
            if is_alone:
                await connection.execute("SELECT pg_advisory_unlock($1)", PRESENCE)
            await self._wake_ups.show_presence()  # and only then does this connection let go of it
        except FAILURES as error:
            raise StorageUnavailable(f"PostgreSQL: {in_one_line(error)}.", retry_after_s=60) from None
        finally:
            connection.terminate()

    @property
    def hears(self) -> bool:
        return self._wake_ups.is_listening

    def tell(self, topic: str) -> None:
        self._wake_ups.tell(topic)

    def on_told(self, callback: Callable[[str | None], None]) -> None:
        self._callback = callback

    def _told(self, topic: str | None) -> None:
        if topic is None or topic.startswith("forget "):
            self._forget(topic and topic.removeprefix("forget "))
            if topic is not None:
                return
        self._callback(topic)

    # --- health ---

    async def prove_writable(self) -> None:
        if self._is_failing or time.monotonic() - self._wrote_at > _PROOF_S:

            async def body(tx: Tx) -> None:
                # A message without a reader: it only goes through the log, so the disk confirms it.
                # A transaction that only reads may write it, too.
                emit = "SELECT pg_logical_emit_message(true, 'gigachat', '') IS NULL"
                if await tx.one(f"{emit} WHERE current_setting('transaction_read_only') = 'off'") is None:
                    raise asyncpg.ReadOnlySQLTransactionError("the server takes no writes")

            await self.transaction("prove.writable", body)

    async def durability(self) -> Durability:
        return await self._to_its_end("durability", functools.partial(self._look_up_once, durability_of))

    async def aclose(self) -> None:
        """Finish what was begun, and leave."""
        self._is_closing = True
        while self._running:
            await asyncio.wait(set(self._running))
        await self._wake_ups.aclose()
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self._pool.close()
        except FAILURES:
            self._pool.terminate()


def _kind(error: BaseException) -> str:
    """What is to be done about it: run it again (`conflict`), on another connection (`gone`), later (`busy`), never (`refused`);
    or it is a `bug`."""
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        if state in _CONFLICT or isinstance(error, asyncpg.InvalidCachedStatementError):
            return "conflict"
        if state.startswith((*_GONE, _READ_ONLY)):
            return "gone"
        if state.startswith(_BUSY):
            return "busy"
        if state in _REFUSED_STATES:
            return "refused"
    elif isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError):
        # The driver could not encode a value; which it repeats, so its text may say anything.
        return "refused" if isinstance(error.__cause__, UnicodeError) else "bug"
    elif isinstance(error, asyncpg.InterfaceError):
        text = str(error)
        return "gone" if "closed" in text or "closing" in text or "released" in text else "bug"
    elif isinstance(error, TimeoutError):
        return "busy"
    elif isinstance(error, (OSError, asyncpg.InternalClientError)):  # as when none of several hosts takes writes
        return "gone"
    return "bug"


async def durability_of(reader: Reader) -> Durability:
    """Where a server has what it confirms. Raises `StorageUnavailable` if it may be nowhere."""
    row = await reader.one(
        "SELECT current_setting('fsync'), current_setting('synchronous_standby_names'), current_setting('synchronous_commit')"
    )
    assert row is not None
    fsync, standbys, level = row
    if fsync != "on":
        raise StorageUnavailable(
            "PostgreSQL runs with fsync off: a power cut would lose what was acknowledged. Turn it on.", retry_after_s=60
        )
    return "replicated" if standbys and level in ("on", "remote_write", "remote_apply") else "local"


def _is_race(error: BaseException) -> bool:
    """Whether it might go well another time, however often it went wrong."""
    return isinstance(error, asyncpg.PostgresError) and (error.sqlstate or "").startswith("40")


async def _commit(connection: Any) -> None:
    """Raises what the server refused it for, or that the connection was lost."""
    # Never cancelled: a COMMIT that waits for its standby would then return as if it were replicated.
    giving_up = asyncio.get_running_loop().call_later(_COMMIT_S, connection.terminate)
    try:
        status = await connection.execute("COMMIT")
    finally:
        giving_up.cancel()
    if status != "COMMIT":
        raise RuntimeError("a transaction went on after a statement of it had failed")


async def _is_proven(name: str, connection: Any, statements: _Statements) -> bool:
    """Whether the rows of an unconfirmed transaction are there. Raises `StorageUnavailable` if that cannot be known.

    A server that is still about to commit it holds its rows until then: the body, run again, waits for them, and finds
    them taken; then this is asked again.
    """
    if statements.proof is None:
        _log.warning("whether %s was stored is not known", name)
        raise StorageUnavailable(retry_after_s=1)
    sql, parameters = statements.proof
    return await _Statements(connection).one(sql, **parameters) is not None


async def _roll_back(connection: Any) -> None:
    with contextlib.suppress(*FAILURES):
        await connection.execute("ROLLBACK")


# --- opening ---


async def open_postgres(url: str, *, connections: int, application: str = APPLICATION) -> PostgresDatabase:
    """The store at that URL, of one host or of several of which one is writable. Raises `SetupError`."""
    server = read_url(url)
    if server.warning:
        _log.warning("%s", server.warning)
    with opening(server.place):
        connector = Connector(server, application)
        state = await _fit_server(connector, connections=connections)
        pool = await asyncpg.create_pool(
            connect=connector.connect,
            min_size=0,  # or the pool would keep reconnecting, and log each failure at length
            max_size=connections,
            timeout=server.connect_s,
            max_inactive_connection_lifetime=300,
            statement_cache_size=512,
            init=set_up_for_requests,
            reset=_keep_session,
        )
        wake_ups = WakeUps(connector.session)
        await wake_ups.start()
    # Citus plans a statement for one table at a time.
    return PostgresDatabase(pool, wake_ups, connector.session, joins=not state.is_distributed)


async def connect(url: str, application: str) -> Any:
    """One connection for a command that takes its time, without the limits of requests. Raises `SetupError`."""
    server = read_url(url)
    with opening(server.place):
        connection = await Connector(server, application).session()
        await know_vectors(connection)
    return connection


class Examination(msgspec.Struct, frozen=True):
    """What a server would find at its start. `problems`: a line each; `warning`: what of the URL is not honoured."""

    state: ServerState
    problems: list[str]
    warning: str


async def examine(url: str, *, connections: int) -> Examination:
    """Changes nothing. Raises `SetupError` where the server cannot be reached."""
    server = read_url(url)
    with opening(server.place):
        connector = Connector(server, f"{APPLICATION} looks")
        state = await connector.state()
        found = list(problems(state, connections=connections))
        try:
            if not found:
                await refuse_shared_sessions(connector.connect, connections=connections)
        except SetupError as error:
            found.append(str(error))
    return Examination(state, found, server.warning)


async def _fit_server(connector: Connector, *, connections: int) -> ServerState:
    """Have pgvector there, on a server with which gigachat can work."""
    state = await connector.state()
    _refuse(problems(state, connections=connections))
    await refuse_shared_sessions(connector.connect, connections=connections)
    if state.vector is None:
        await _add_vectors(connector)
        state = await connector.state()
        _refuse(problems(state, connections=connections))
    return state


async def _add_vectors(connector: Connector) -> None:
    connection = await connector.session()
    try:
        await connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    except asyncpg.UniqueViolationError:
        pass  # another node was faster
    except asyncpg.PostgresError as error:
        raise SetupError(
            f"The database at {connector.url.place} lacks pgvector, and adding it failed ({in_one_line(error)}): have an "
            "administrator run `CREATE EXTENSION vector` in it."
        ) from None
    finally:
        connection.terminate()


def _refuse(found: Iterator[str]) -> None:
    for problem in found:
        raise SetupError(problem)


async def _keep_session(connection: Any) -> None:
    """Between two uses: nothing of ours outlives a transaction, and a RESET would cost a round trip."""
