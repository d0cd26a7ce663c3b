"""The embedded store: one SQLite file, one connection that writes, group commit.

Idea: transactions queue up while the disk is busy with the group before them; the writer's thread then runs all
that wait, and one fdatasync pays for all. Only when it returned are they answered. If a body fails, the group is run
again with a savepoint around each, so that it fails alone. A body is a coroutine
that awaits nothing but our statements, which never suspend, so the thread drives it to its end with one `send`; a body
that suspends awaited something else, and is refused: nothing slow can run inside a transaction.

Invariant: exactly one connection of exactly one process writes and checkpoints (a lock file keeps a second process
out). SQLite 3.7.0 to 3.51.2 can corrupt a WAL that two connections write at once; readers here are opened read-only.
After an fdatasync that failed nothing is written: the kernel may have dropped the pages, and would confirm them next time.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import queue
import re
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import apsw
import msgspec

from gigachat_server.errors import SetupError, StorageUnavailable
from gigachat_server.store.database import Dialect, Durability, Reader, Row, Statements, Tx
from gigachat_server.store.engines import folder as data_folder
from gigachat_server.store.engines.connections import BUSY_TIMEOUT_MS, SIGNING, fold, open_reader, open_writer
from gigachat_server.store.engines.damage import damaged, refuse_damage
from gigachat_server.store.engines.eraser import LOOK_AGAIN_S, Eraser
from gigachat_server.store.engines.folder import FolderLock, Note

T = TypeVar("T")

_log = logging.getLogger("gigachat.store")

FILE_NAME = "gigachat.sqlite3"
_LARGEST_GROUP = 256
_READERS = 2
_MOST_REMEMBERED = 10_000
_LONG_WAL_PAGES = 1_000
_PROOF_S = 1.5  # how long a commit proves that the store can write

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
_DAMAGED = (apsw.CorruptError, apsw.NotADBError)
_FSYNC_FAILED = (apsw.SQLITE_IOERR_FSYNC, apsw.SQLITE_IOERR_DIR_FSYNC)

_ANY = re.compile(r"= ANY\(:(\w+)\)")
# Exactly one transaction writes at a time, so its rows are its own.
_LOCK = re.compile(r" FOR (?:NO KEY UPDATE|UPDATE|KEY SHARE)(?: SKIP LOCKED)?\b")


@functools.lru_cache(maxsize=1024)
def to_sqlite(sql: str) -> str:
    """The one place that turns the common subset into SQLite's own words."""
    return _LOCK.sub("", _ANY.sub(r"IN (SELECT value FROM json_each(:\1))", sql.replace("greatest(", "max(")))


class SuspendedInTransaction(RuntimeError):
    """A transaction body awaited something other than SQL: a bug in the body."""


class _Statements:
    """Statements of one job on one connection; they complete without suspending."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self.callbacks: list[Callable[[], None]] = []
        self.forgotten: list[str] = []
        self.is_erasing = False

    async def all(self, sql: str, **parameters: Any) -> list[Row]:
        return cast("list[Row]", self._connection.execute(to_sqlite(sql), _bindable(parameters)).fetchall())

    async def one(self, sql: str, **parameters: Any) -> Row | None:
        cursor = self._connection.execute(to_sqlite(sql), _bindable(parameters))
        try:
            row = cursor.fetchone()
            # An UPDATE ... RETURNING is complete only once stepped to its end.
            if row is not None:
                cursor.fetchall()
        except BaseException:
            cursor.close(True)  # a row that cannot be read would keep it open, and the transaction from ending
            raise
        return cast("Row | None", row)

    async def run(self, sql: str, **parameters: Any) -> int:
        self._connection.execute(to_sqlite(sql), _bindable(parameters)).fetchall()
        return self._connection.changes()

    async def add(self, sql: str, **parameters: Any) -> None:
        self._connection.execute(to_sqlite(sql), _bindable(parameters)).fetchall()

    async def run_many(self, sql: str, rows: Iterable[dict[str, Any]]) -> None:
        self._connection.executemany(to_sqlite(sql), (_bindable(row) for row in rows)).fetchall()

    def forget(self, key: str) -> None:
        self.forgotten.append(key)

    def after_commit(self, callback: Callable[[], None]) -> None:
        self.callbacks.append(callback)

    def erases(self) -> None:
        self.is_erasing = True

    def proven_by(self, sql: str, **parameters: Any) -> None:
        """Not needed: this process knows whether its own COMMIT went through, or ends."""


def statements_on(connection: apsw.Connection) -> Reader:
    """Statements of the common subset on a connection that the caller closes."""
    return _Statements(connection)


def _bindable(parameters: dict[str, Any]) -> dict[str, Any]:
    lists = {name: msgspec.json.encode(value).decode() for name, value in parameters.items() if isinstance(value, (list, tuple))}
    return {**parameters, **lists} if lists else parameters


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

    __slots__ = ("body", "callbacks", "error", "forgotten", "future", "is_erasing", "may_be_lost", "name", "result")

    def __init__(
        self, name: str, body: Callable[[Any], Awaitable[Any]], future: asyncio.Future[Any], *, may_be_lost: bool = False
    ) -> None:
        self.name = name
        self.body = body
        self.future = future
        self.may_be_lost = may_be_lost
        self.result: Any = None
        self.error: BaseException | None = None
        self.callbacks: list[Callable[[], None]] = []
        self.forgotten: list[str] = []
        self.is_erasing = False

    def drive(self, connection: apsw.Connection) -> None:
        """Run the body to its end. Raises what it raises."""
        statements = _Statements(connection)
        self.result = _drive(self.name, self.body, statements)
        self.callbacks, self.forgotten, self.is_erasing = statements.callbacks, statements.forgotten, statements.is_erasing

    def deliver(self) -> None:
        """On the event loop: answer the callers. The callbacks run even if a caller is gone."""
        if self.error is None:
            for callback in self.callbacks:
                try:
                    callback()
                except Exception:  # noqa: BLE001 - it is durable, and those who wait beside it must learn so
                    _log.exception("after %s", self.name)
        if self.future.done():
            return
        if self.error is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.error)


class SQLiteDatabase:
    """A `Database` in one file. Open it with `open_sqlite`."""

    dialect: Dialect = "sqlite"
    is_shared = False
    hears = True

    def __init__(self, file: Path, lock: FolderLock, writer: apsw.Connection) -> None:
        self._lock = lock
        self._writes: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._reads: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._remembered: dict[str, Any] = {}
        self._forgotten = 0  # how often anything was
        self.broken = asyncio.Event()
        self._must_stop = False
        self._is_failing = False
        self._is_locked_out = False
        self._wal_pages = 0
        self._is_waiting_for_disk = True
        self._wrote_at = 0.0
        self._writer = writer
        self._writer.set_wal_hook(self._note_commit)
        self._eraser = Eraser(file, lock, writer)
        self._threads = [threading.Thread(target=self._write_loop, name="store-writer", daemon=True)]
        self._threads += [
            threading.Thread(target=self._read_loop, args=(open_reader(file),), name=f"store-reader-{number}", daemon=True)
            for number in range(_READERS)
        ]
        for thread in self._threads:
            thread.start()

    async def read(self, body: Callable[[Reader], Awaitable[T]]) -> T:
        return cast("T", await self._enqueue(self._reads, "read", body))

    async def lookup(self, key: str, body: Callable[[Reader], Awaitable[T]], *, exactly: bool = True) -> T:
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

    async def transaction(
        self, name: str, body: Callable[[Tx], Awaitable[T]], *, patience_s: float = 0.0, may_be_lost: bool = False
    ) -> T:
        return cast("T", await self._enqueue(self._writes, name, body, may_be_lost=may_be_lost))

    async def apart(self, body: Callable[[Statements], Awaitable[T]]) -> T:
        raise NotImplementedError("one connection alone writes, and a group never waits for long")

    async def prove_writable(self) -> None:
        if self._is_failing or time.monotonic() - self._wrote_at > _PROOF_S:

            async def body(tx: Tx) -> None:
                await tx.run(SIGNING)

            await self.transaction("prove.writable", body)

    async def durability(self) -> Durability:
        return "local"

    @asynccontextmanager
    async def arriving(self) -> AsyncIterator[bool]:
        yield True  # the folder's lock keeps every other process out

    def tell(self, topic: str) -> None:
        """There are no other nodes."""

    def on_told(self, callback: Callable[[str | None], None]) -> None:
        """There are no other nodes to wake."""

    async def aclose(self) -> None:
        """Finish what is queued, fold the WAL into the file, give up the lock."""
        self._writes.put(None)
        for _ in range(_READERS):
            self._reads.put(None)
        loop = asyncio.get_running_loop()
        for thread in self._threads:
            await loop.run_in_executor(None, thread.join)
        self._close_writer()
        self._eraser.close()
        self._lock.release()

    def _close_writer(self) -> None:
        """Without its WAL if all of it is in the file; else with it, for the next start to read."""
        try:
            if not self._must_stop and fold(self._writer):
                self._lock.write(Note.CLOSED)
                self._writer.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
        except (apsw.Error, OSError) as error:
            _log.warning("the store's log stays beside it: %s", type(error).__name__)
        self._writer.close()

    def _enqueue(
        self,
        lane: queue.SimpleQueue[_Job | None],
        name: str,
        body: Callable[[Any], Awaitable[Any]],
        *,
        may_be_lost: bool = False,
    ) -> asyncio.Future[Any]:
        future = asyncio.get_running_loop().create_future()
        lane.put(_Job(name, body, future, may_be_lost=may_be_lost))
        return future

    def _write_loop(self) -> None:
        is_last = False
        while not is_last and (job := self._next_write()) is not None:
            group, is_last = self._waiting_after(job)
            self._write_group(group)
            if any(job.is_erasing and job.error is None for job in group):
                self._erase(is_wanted=True)
            self._deliver(group)
            if self._wal_pages >= _LONG_WAL_PAGES and not self._must_stop:
                self._fold_wal(group[0].future.get_loop())

    def _next_write(self) -> _Job | None:
        """The next job, None after the last; what is left to erase is erased while none comes."""
        while self._eraser.is_busy and not self._must_stop:
            try:
                return self._writes.get(timeout=LOOK_AGAIN_S)
            except queue.Empty:
                self._erase()
        return self._writes.get()

    def _erase(self, *, is_wanted: bool = False) -> None:
        """Have what was deleted leave the disk, as far as that is possible now."""
        try:
            if is_wanted:
                self._eraser.want()
            self._eraser.step()
        except (apsw.Error, OSError) as error:
            self._note_failure(error)
        except Exception:  # noqa: BLE001 - the writer's thread: without it the store would stand still
            _log.exception("deleted text was not erased; the next start tries again")
            self._eraser.give_up()

    def _waiting_after(self, first: _Job) -> tuple[list[_Job], bool]:
        """The jobs that wait, and whether no more will come."""
        group = [first]
        while len(group) < _LARGEST_GROUP:
            try:
                job = self._writes.get_nowait()
            except queue.Empty:
                break
            if job is None:
                return group, True
            group.append(job)
        return group, False

    def _write_group(self, group: list[_Job]) -> None:
        """Run every job in one transaction. A body that fails fails alone; a store that fails fails them all."""
        try:
            if self._must_stop:
                raise StorageUnavailable("The disk failed to confirm a write, so this server exits.", retry_after_s=5)
            self._eraser.reopen_log()
            with self._as_safe_as(group):
                self._begin()
                if not self._write_all(group):
                    self._writer.execute("ROLLBACK")
                    self._begin()
                    for job in group:
                        self._write_one(job)
                self._writer.execute("COMMIT")
        except (apsw.Error, OSError, StorageUnavailable) as error:
            self._give_up(group, error)
        else:
            if self._is_failing:
                _log.warning("store writes again")
                self._is_failing = False

    @contextmanager
    def _as_safe_as(self, group: list[_Job]) -> Iterator[None]:
        """Have COMMIT wait for the disk, unless no job of the group is worth that: what comes after it waits for both."""
        if not all(job.may_be_lost for job in group):
            yield
            return
        self._is_waiting_for_disk = False
        self._writer.execute("PRAGMA synchronous = NORMAL")
        try:
            yield
        finally:
            if self._writer.in_transaction:  # the setting cannot change within one
                self._writer.execute("ROLLBACK")
            self._writer.execute("PRAGMA synchronous = FULL")
            self._is_waiting_for_disk = True

    def _begin(self) -> None:
        """Open a transaction. Waits for another program's lock, but for as long as that lasts only once."""
        try:
            self._writer.execute("BEGIN IMMEDIATE")
        except apsw.BusyError:
            # While it lasts, new callers fail at once: each group would wait again, and those behind it for all of them.
            self._writer.set_busy_timeout(0)
            self._is_locked_out = True
            raise
        if self._is_locked_out:
            self._writer.set_busy_timeout(BUSY_TIMEOUT_MS)
            self._is_locked_out = False

    def _write_all(self, group: list[_Job]) -> bool:
        """Run the jobs without a net; False if a body failed. That is rare, and savepoints are a third of the statements."""
        try:
            for job in group:
                job.drive(self._writer)
        except _UNAVAILABLE:
            raise  # nothing is wrong with the body
        except Exception:  # noqa: BLE001 - the one that failed fails again, alone
            return False
        return True

    def _write_one(self, job: _Job) -> None:
        self._writer.execute("SAVEPOINT job")
        try:
            job.drive(self._writer)
        except _UNAVAILABLE:
            raise  # the group's transaction is not to be trusted any more
        except Exception as error:  # noqa: BLE001 - a failing body fails alone; its caller gets the error
            job.error = error
            self._writer.execute("ROLLBACK TO job")
        self._writer.execute("RELEASE job")

    def _give_up(self, group: list[_Job], error: Exception) -> None:
        self._note_failure(error)
        if self._writer.in_transaction:  # SQLite rolls back some on its own
            self._writer.execute("ROLLBACK")
        failure = error if isinstance(error, StorageUnavailable) else StorageUnavailable(retry_after_s=1)
        for job in group:
            if job.error is None:
                job.error = failure

    def _note_failure(self, error: Exception) -> None:
        if getattr(error, "extendedresult", 0) in _FSYNC_FAILED:
            self._must_stop = True
            _log.critical("the disk failed to confirm a write (fdatasync): nothing more is written, and this process ends")
        elif not self._is_failing:  # one line for each time, not for each request
            _log.error("store cannot write: %s", type(error).__name__)
        self._is_failing = True

    def _note_commit(self, connection: apsw.Connection, schema: str, wal_pages: int) -> int:
        """SQLite calls it after each commit that wrote something."""
        self._wal_pages = wal_pages
        if self._is_waiting_for_disk:
            self._wrote_at = time.monotonic()
        return apsw.SQLITE_OK

    def _fold_wal(self, loop: asyncio.AbstractEventLoop) -> None:
        """Keep the WAL short. SQLite would do it within COMMIT, where the group waits for it, and drop its errors."""
        try:
            fold(self._writer)
        except apsw.Error as error:
            self._note_failure(error)
            if self._must_stop:
                loop.call_soon_threadsafe(self.broken.set)

    def _read_loop(self, connection: apsw.Connection) -> None:
        while (job := self._reads.get()) is not None:
            try:
                connection.execute("BEGIN")
                job.drive(connection)
            except _UNAVAILABLE as error:
                _log.error("store cannot read: %s", type(error).__name__)
                job.error = StorageUnavailable(retry_after_s=1)
            except Exception as error:  # noqa: BLE001 - passed to the caller of the read
                job.error = error
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            self._deliver([job])
        connection.close()

    def _deliver(self, group: list[_Job]) -> None:
        """Let the event loop answer the callers, after it has dropped what they changed."""

        def deliver_all() -> None:
            if self._must_stop:
                self.broken.set()
            for job in group:
                if job.error is None:
                    for key in job.forgotten:
                        self._forget(key)
            for job in group:
                job.deliver()

        try:
            group[0].future.get_loop().call_soon_threadsafe(deliver_all)
        except RuntimeError:  # the event loop is closed
            _log.warning("%d transactions completed after their event loop had closed", len(group))


def open_sqlite(folder: Path) -> SQLiteDatabase:
    """The store in this folder, locked for this process. Raises `SetupError` with one line for a person."""
    lock = data_folder.take(folder)
    file = folder / FILE_NAME
    try:
        refuse_damage(file, lock.note)
        if not file.exists():
            lock.write(Note.NEW)
        writer = open_writer(file)
        lock.write(Note.OPEN)  # from here on the WAL holds a frame
        return SQLiteDatabase(file, lock, writer)
    except BaseException as error:
        lock.release()
        if isinstance(error, apsw.Error):
            raise SetupError(_cannot_open(file, error)) from None
        if isinstance(error, OSError):
            raise SetupError(f"Cannot write beside the message store {file}: {error.strerror}. Check its disk.") from None
        raise


def _cannot_open(file: Path, error: apsw.Error) -> str:
    if isinstance(error, _DAMAGED):
        return damaged(file, str(error))
    if isinstance(error, apsw.FullError):
        return f"Cannot write to the message store {file}: the disk is full. Make room on it."
    if isinstance(error, apsw.BusyError):
        return f"Cannot write to the message store {file}: another program has locked it. End that program."
    return (
        f"Cannot write to the message store {file}: {error}. Check that this user owns it and what is beside it, "
        "and that its disk can be written."
    )
