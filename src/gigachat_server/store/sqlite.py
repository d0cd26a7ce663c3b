"""The embedded store: one SQLite file, one connection that writes, group commit.

Idea: transactions queue up while the disk is busy with the group before them; the writer's thread then runs all
that wait, and one fdatasync pays for all. Only when it returned are they answered. If a body fails, the group is run
again with a savepoint around each, so that it fails alone. A body is a coroutine
that awaits nothing but our statements, which never suspend, so the thread drives it to its end with one `send`; a body
that suspends awaited something else, and is refused: nothing slow can run inside a transaction.

Invariant: exactly one connection of exactly one process writes and checkpoints (a lock file keeps a second process
out). SQLite 3.7.0 to 3.51.2 can corrupt a WAL that two connections write at once; readers here are opened read-only.
"""

from __future__ import annotations

import asyncio
import fcntl
import functools
import logging
import os
import queue
import re
import threading
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar, cast

import apsw
import msgspec

from gigachat_server.errors import SetupError, StorageUnavailable
from gigachat_server.store.database import Reader, Row, Tx

T = TypeVar("T")

_log = logging.getLogger("gigachat.store")

_FILE_NAME = "gigachat.sqlite3"
_LARGEST_GROUP = 256
_BUSY_TIMEOUT_MS = 5_000
_READERS = 2
_MOST_REMEMBERED = 10_000

# What a full disk, a lost mount or a lock of another program raises: nothing is wrong with the statement.
_UNAVAILABLE = (
    apsw.FullError,
    apsw.IOError,
    apsw.BusyError,
    apsw.LockedError,
    apsw.ReadOnlyError,
    apsw.CantOpenError,
    apsw.NoMemError,
    apsw.CorruptError,
    apsw.NotADBError,
)
_FSYNC_FAILED = (apsw.SQLITE_IOERR_FSYNC, apsw.SQLITE_IOERR_DIR_FSYNC)

_ANY = re.compile(r"= ANY\(:(\w+)\)")


@functools.lru_cache(maxsize=1024)
def to_sqlite(sql: str) -> str:
    """The one place that turns the common subset into SQLite's own words."""
    return _ANY.sub(r"IN (SELECT value FROM json_each(:\1))", sql.replace("greatest(", "max("))


class SuspendedInTransaction(RuntimeError):
    """A transaction body awaited something other than SQL: a bug in the body."""


class _Statements:
    """Statements of one job on one connection; they complete without suspending."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self.callbacks: list[Callable[[], None]] = []
        self.forgotten: list[str] = []

    async def all(self, sql: str, **parameters: Any) -> list[Row]:
        return cast("list[Row]", self._connection.execute(to_sqlite(sql), _bindable(parameters)).fetchall())

    async def one(self, sql: str, **parameters: Any) -> Row | None:
        cursor = self._connection.execute(to_sqlite(sql), _bindable(parameters))
        row = cursor.fetchone()
        # An UPDATE ... RETURNING is complete only once stepped to its end.
        if row is not None:
            cursor.fetchall()
        return cast("Row | None", row)

    async def run(self, sql: str, **parameters: Any) -> int:
        self._connection.execute(to_sqlite(sql), _bindable(parameters)).fetchall()
        return self._connection.changes()

    async def run_many(self, sql: str, rows: Iterable[dict[str, Any]]) -> None:
        self._connection.executemany(to_sqlite(sql), (_bindable(row) for row in rows)).fetchall()

    def forget(self, key: str) -> None:
        self.forgotten.append(key)

    def after_commit(self, callback: Callable[[], None]) -> None:
        self.callbacks.append(callback)


def _bindable(parameters: dict[str, Any]) -> dict[str, Any]:
    for name, value in parameters.items():
        if isinstance(value, (list, tuple)):
            return {**parameters, name: msgspec.json.encode(value).decode()}
    return parameters


def _drive(name: str, body: Callable[[Any], Awaitable[T]], statements: _Statements) -> T:
    """Run a body to its end. Raises what it raises, or `SuspendedInTransaction`."""
    coroutine = cast("Any", body(statements))
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return cast("T", stop.value)
    coroutine.close()
    raise SuspendedInTransaction(f"{name} awaits something that is not SQL")


class _Job:
    """One transaction on its way through a lane's thread."""

    __slots__ = ("body", "callbacks", "error", "forgotten", "future", "name", "result")

    def __init__(self, name: str, body: Callable[[Any], Awaitable[Any]], future: asyncio.Future[Any]) -> None:
        self.name = name
        self.body = body
        self.future = future
        self.result: Any = None
        self.error: BaseException | None = None
        self.callbacks: list[Callable[[], None]] = []
        self.forgotten: list[str] = []

    def drive(self, connection: apsw.Connection) -> None:
        """Run the body to its end. Raises what it raises."""
        statements = _Statements(connection)
        self.result = _drive(self.name, self.body, statements)
        self.callbacks, self.forgotten = statements.callbacks, statements.forgotten

    def deliver(self) -> None:
        """On the event loop: answer whoever waits. A caller who went away is no reason to skip the callbacks."""
        if self.error is None:
            for callback in self.callbacks:
                callback()
        if self.future.done():
            return
        if self.error is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.error)


class SQLiteDatabase:
    """A `Database` in one file. Open it with `open_sqlite`."""

    def __init__(self, file: Path, lock: int) -> None:
        self._file = file
        self._lock = lock
        self._writes: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._reads: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._writer = _open_writer(file)
        self._remembered: dict[str, Any] = {}
        self._forgotten = 0  # how often anything was
        self._must_stop = False
        self._threads = [threading.Thread(target=self._write_loop, name="store-writer", daemon=True)]
        self._threads += [
            threading.Thread(target=self._read_loop, name=f"store-reader-{number}", daemon=True) for number in range(_READERS)
        ]
        for thread in self._threads:
            thread.start()

    async def read(self, body: Callable[[Reader], Awaitable[T]]) -> T:
        return cast("T", await self._enqueue(self._reads, "read", body))

    async def lookup(self, key: str, body: Callable[[Reader], Awaitable[T]]) -> T:
        # Every write goes through this object, and is forgotten on the event loop before its caller learns of it; so what
        # is remembered is right. What was being read when it was forgotten is not remembered.
        if key in self._remembered:
            return cast("T", self._remembered[key])
        forgotten = self._forgotten
        found = await self.read(body)
        if forgotten == self._forgotten:
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            self._remembered[key] = found
        return found

    def _forget(self, key: str) -> None:
        self._forgotten += 1
        self._remembered.pop(key, None)

    async def transaction(self, name: str, body: Callable[[Tx], Awaitable[T]]) -> T:
        return cast("T", await self._enqueue(self._writes, name, body))

    async def aclose(self) -> None:
        """Finish what is queued, fold the WAL into the file, give up the lock."""
        self._writes.put(None)
        for _ in range(_READERS):
            self._reads.put(None)
        loop = asyncio.get_running_loop()
        for thread in self._threads:
            await loop.run_in_executor(None, thread.join)
        self._writer.close()
        os.close(self._lock)

    def _enqueue(
        self, lane: queue.SimpleQueue[_Job | None], name: str, body: Callable[[Any], Awaitable[Any]]
    ) -> asyncio.Future[Any]:
        future = asyncio.get_running_loop().create_future()
        lane.put(_Job(name, body, future))
        return future

    def _write_loop(self) -> None:
        while (job := self._writes.get()) is not None:
            group = [job]
            stop = False
            while len(group) < _LARGEST_GROUP:
                try:
                    waiting = self._writes.get_nowait()
                except queue.Empty:
                    break
                if waiting is None:
                    stop = True
                    break
                group.append(waiting)
            self._write_group(group)
            self._deliver(group)
            if stop:
                return

    def _write_group(self, group: list[_Job]) -> None:
        """Run every job in one transaction. A body that fails fails alone; a store that fails fails them all."""
        try:
            if self._must_stop:
                raise StorageUnavailable("The disk failed to confirm a write. Check it, then restart gigachat.")
            self._writer.execute("BEGIN IMMEDIATE")
            if not self._write_all(group):
                self._writer.execute("ROLLBACK")
                self._writer.execute("BEGIN IMMEDIATE")
                for job in group:
                    self._write_one(job)
            self._writer.execute("COMMIT")
        except (*_UNAVAILABLE, StorageUnavailable) as error:
            self._give_up(group, error)

    def _write_all(self, group: list[_Job]) -> bool:
        """Run the jobs without a net; False if a body failed. That is rare, and savepoints are a third of the statements."""
        try:
            for job in group:
                job.drive(self._writer)
        except _UNAVAILABLE:
            raise  # nothing is wrong with the body
        except Exception:  # noqa: BLE001 - whichever failed fails again, by itself
            return False
        return True

    def _write_one(self, job: _Job) -> None:
        self._writer.execute("SAVEPOINT job")
        try:
            job.drive(self._writer)
        except _UNAVAILABLE:
            raise  # the group's transaction is not to be trusted any more
        except Exception as error:  # noqa: BLE001 - a failing body fails alone; whoever awaits it gets the error
            job.error = error
            self._writer.execute("ROLLBACK TO job")
        self._writer.execute("RELEASE job")

    def _give_up(self, group: list[_Job], error: Exception) -> None:
        _log.error("store cannot write: %s", type(error).__name__)
        if isinstance(error, apsw.Error) and getattr(error, "extendedresult", 0) in _FSYNC_FAILED:
            # After a failed fsync the kernel may drop the dirty pages: trying again would confirm what is lost.
            self._must_stop = True
        if self._writer.in_transaction:
            self._writer.execute("ROLLBACK")
        failure = error if isinstance(error, StorageUnavailable) else StorageUnavailable(retry_after_s=1)
        for job in group:
            if job.error is None:
                job.error = failure

    def _read_loop(self) -> None:
        connection = _open_reader(self._file)
        while (job := self._reads.get()) is not None:
            try:
                connection.execute("BEGIN")
                job.drive(connection)
            except _UNAVAILABLE as error:
                _log.error("store cannot read: %s", type(error).__name__)
                job.error = StorageUnavailable(retry_after_s=1)
            except Exception as error:  # noqa: BLE001 - handed to whoever awaits the read
                job.error = error
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            self._deliver([job])
        connection.close()

    def _deliver(self, group: list[_Job]) -> None:
        """Have the event loop answer whoever waits, after it has forgotten what they changed."""

        def deliver_all() -> None:
            for job in group:
                if job.error is None:
                    for key in job.forgotten:
                        self._forget(key)
            for job in group:
                job.deliver()

        try:
            group[0].future.get_loop().call_soon_threadsafe(deliver_all)
        except RuntimeError:  # the event loop is closed: nobody waits any more
            _log.warning("%d transactions completed after their event loop had closed", len(group))


def open_sqlite(folder: Path) -> SQLiteDatabase:
    """The store in this folder, locked for this process. Raises `SetupError` with one line for a person."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise SetupError(f"Cannot create the data folder {folder}: {error.strerror}.") from None
    lock = _take_lock(folder)
    file = folder / _FILE_NAME
    try:
        _refuse_damage(file)
        database = SQLiteDatabase(file, lock)
    except SetupError:
        os.close(lock)
        raise
    except apsw.Error as error:
        os.close(lock)
        raise SetupError(
            f"Cannot open the message store {file}: {error}. It was left as it is; restore it from a backup, "
            f"or try `sqlite3 {file} .recover`."
        ) from None
    return database


def _take_lock(folder: Path) -> int:
    path = folder / "lock"
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SetupError(f"Cannot write in the data folder {folder}: {error.strerror}.") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        owner = os.read(lock, 32).decode(errors="replace").strip() or "unknown"
        os.close(lock)
        raise SetupError(
            f"Another gigachat (process {owner}) uses the data folder {folder}. Stop it, or choose another folder "
            "with GIGACHAT_DATA."
        ) from None
    os.ftruncate(lock, 0)
    os.write(lock, str(os.getpid()).encode())
    return lock


def _refuse_damage(file: Path) -> None:
    """Never start an empty store over the remains of another."""
    wal = file.with_name(file.name + "-wal")
    missing = not file.exists() or file.stat().st_size == 0
    if missing and wal.exists() and wal.stat().st_size > 0:
        raise SetupError(f"{file} is missing or empty, but {wal.name} beside it holds data. Restore both from a backup.")
    if not missing:
        with file.open("rb") as stream:
            if stream.read(16) != b"SQLite format 3\x00":
                raise SetupError(f"{file} is not a SQLite database, or is damaged. Restore it from a backup.")


def _open_writer(file: Path) -> apsw.Connection:
    fresh = not file.exists()
    connection = apsw.Connection(str(file), statementcachesize=512)
    if fresh:
        file.chmod(0o600)
    connection.set_busy_timeout(_BUSY_TIMEOUT_MS)
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",
        "mmap_size = 0",
        "cache_size = -4096",
        "temp_store = 2",
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    return connection


def _open_reader(file: Path) -> apsw.Connection:
    connection = apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READONLY, statementcachesize=512)
    connection.set_busy_timeout(_BUSY_TIMEOUT_MS)
    for pragma in ("query_only = 1", "mmap_size = 0", "cache_size = -2048"):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    return connection
