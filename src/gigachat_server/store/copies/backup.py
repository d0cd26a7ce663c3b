"""Backups: files of SQLite that hold a whole store, made from a running one, verified, and put in its place again.

Idea: a backup is the store's own format in one file, without a log beside it, so `sqlite3` reads it and gigachat runs on it.
Its pages are copied in one read transaction: writers go on meanwhile, and only the folding of the log waits (half as long
as for VACUUM INTO, which rewrites them).

Invariant: a file under its own name is whole, verified and on the disk: it is written as `NAME.part` and renamed then. At
each moment of a restore the folder holds the store from before, the restored one, or something that a start refuses.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import apsw
import msgspec

from gigachat_server.errors import SetupError
from gigachat_server.store.copies.sqlite_rows import number, tables_of
from gigachat_server.store.engines import remnants
from gigachat_server.store.engines.connections import open_reader
from gigachat_server.store.engines.damage import open_unchanging, refuse_damage, wal_of
from gigachat_server.store.engines.folder import FolderLock, Note, sync_folder
from gigachat_server.store.engines.migrate import Migration
from gigachat_server.store.engines.sqlite import FILE_NAME

KEPT = 3  # of the backups made before migrations

_STEP_PAGES = 4096
_SPARE_BYTES = 64 * 1024 * 1024
_BLOCK_BYTES = 4 * 1024 * 1024

# How many of how many bytes are done.
Watching = Callable[[int, int], None]


class Backup(msgspec.Struct, frozen=True):
    """A backup that was looked at as a whole. `rows` by table."""

    file: Path
    size: int
    sha256: str
    rows: dict[str, int]


def _unwatched(done: int, total: int) -> None:
    """Ignore the progress."""


@contextmanager
def being_written(file: Path) -> Iterator[Path]:
    """The place to write that file to; once the block is left it is there, durably, under its own name. Raises `SetupError`."""
    part = file.with_name(file.name + ".part")
    try:
        _remove(part)
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        yield part
        _sync(part)
        part.replace(file)
        sync_folder(file.parent)
    except OSError as error:
        raise SetupError(f"Cannot write {file}: {error.strerror or error}.") from None
    except apsw.Error as error:
        raise SetupError(f"Cannot write {file}: {error}. Is its disk full?") from None
    finally:
        with suppress(OSError):
            _remove(part)


def copy_store(source: apsw.Connection, file: Path, watching: Watching = _unwatched) -> Backup:
    """The store as that connection sees it, in the transaction that it is in and that this ends, as a backup.

    Raises `SetupError`.
    """
    with being_written(file) as part:
        rows = counts(source)
        _refuse_too_little_room(file, _size(source))
        _copy_pages(source, part, watching)
        source.execute("ROLLBACK")  # from here on writers can fold the log again, while the copy is verified
        _fold_into_one_file(part)
        _erase_remnants(part)
        found = examine(part)
        if found.rows != rows:
            raise SetupError(f"The backup {file} does not hold what it was made from: check the disk.")
    return msgspec.structs.replace(found, file=file)


def make_of(store: Path, file: Path) -> Backup:
    """Turn the file of a store that is no longer in use into a backup. Raises `SetupError`."""
    with being_written(file) as part:
        store.replace(part)
        _fold_into_one_file(part)
        _erase_remnants(part)
        found = examine(part)
    return msgspec.structs.replace(found, file=file)


def _copy_pages(source: apsw.Connection, part: Path, watching: Watching) -> None:
    with closing(apsw.Connection(str(part))) as target:
        for pragma in ("journal_mode = OFF", "synchronous = OFF"):
            target.execute(f"PRAGMA {pragma}").fetchall()
        page_size = number(source, "PRAGMA page_size")
        with target.backup("main", source, "main") as copying:
            while not copying.done:
                # Within the source's transaction, or each change of the store would have it begin again.
                copying.step(_STEP_PAGES)
                watching((copying.page_count - copying.remaining) * page_size, copying.page_count * page_size)


def _fold_into_one_file(part: Path) -> None:
    """Say in the file that it has no log."""
    with closing(apsw.Connection(str(part))) as connection:
        connection.execute("PRAGMA journal_mode = DELETE").fetchall()


def _erase_remnants(part: Path) -> None:
    """Keep deleted text out of the backup too."""
    descriptor = os.open(part, os.O_RDWR | os.O_CLOEXEC)
    try:
        remnants.overwrite(descriptor, remnants.scan(descriptor))
    finally:
        os.close(descriptor)


def examine(file: Path) -> Backup:
    """What is in a backup, after a look at all of it. Raises `SetupError` if it is none, or damaged."""
    if _bytes(wal_of(file)):
        raise SetupError(
            f"{file} is not a backup: {wal_of(file).name} beside it holds a part of it. Make one with `gigachat backup`."
        )
    if not file.is_file():
        raise SetupError(f"The backup {file} does not exist.")
    refuse_damage(file, Note.UNKNOWN, is_full=True)
    try:
        with closing(open_unchanging(file)) as connection, file.open("rb") as stream:
            return Backup(file, _bytes(file), hashlib.file_digest(stream, "sha256").hexdigest(), counts(connection))
    except (apsw.Error, OSError) as error:
        raise SetupError(f"The backup {file} cannot be read: {error}.") from None


def counts(connection: apsw.Connection) -> dict[str, int]:
    """How many rows each table has."""
    return {name: number(connection, f"SELECT count(*) FROM {name}") for name in sorted(tables_of(connection))}


# --- before a migration ---


def back_up_before(folder: Path, migration: Migration) -> Backup:
    """Make a backup beside the store, whose lock this process holds, and keep the newest few. Raises `SetupError`."""
    file = folder / f"gigachat-before-{migration.number:04}.sqlite3"
    with closing(open_reader(folder / FILE_NAME)) as source:
        source.execute("BEGIN")
        try:
            made = copy_store(source, file)
        except SetupError as error:
            raise SetupError(
                f"The message store was not migrated, because the backup failed: {error} `gigachat migrate --no-backup` skips it."
            ) from None
    for old in sorted(folder.glob("gigachat-before-[0-9][0-9][0-9][0-9].sqlite3"))[:-KEPT]:
        old.unlink(missing_ok=True)
    return made


# --- putting it back ---


def store_in(folder: Path) -> Path:
    return folder / FILE_NAME


def is_empty(folder: Path) -> bool:
    """Whether there is no store in this folder."""
    file = store_in(folder)
    return not file.exists() and not wal_of(file).exists()


def put_in_place(backup: Backup, folder: Path, *, lock: FolderLock, watching: Watching = _unwatched) -> Path | None:
    """From now on the folder's store is what the backup holds. Where a former store is now, if there was one."""
    file = store_in(folder)
    _refuse_too_little_room(file, backup.size)
    with _reported(folder):
        restoring = folder / f"{FILE_NAME}.restoring"
        _copy_file(backup, restoring, watching)
        former = _set_aside(file, lock) if not is_empty(folder) else None
        # A server that starts in between finds its store gone, and refuses to start.
        lock.write(Note.CLOSED)
        restoring.replace(file)
        sync_folder(folder)
    return former


def _copy_file(backup: Backup, to: Path, watching: Watching) -> None:
    hashed, done = hashlib.sha256(), 0
    to.unlink(missing_ok=True)
    with backup.file.open("rb") as source, os.fdopen(os.open(to, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as target:
        while block := source.read(_BLOCK_BYTES):
            target.write(block)
            hashed.update(block)
            done += len(block)
            watching(done, backup.size)
        target.flush()
        os.fsync(target.fileno())
    with to.open("rb") as written:
        if {hashed.hexdigest(), hashlib.file_digest(written, "sha256").hexdigest()} != {backup.sha256}:
            raise SetupError(f"{backup.file} changed while it was being restored, or the disk of {to.parent} is failing.")


def _set_aside(file: Path, lock: FolderLock) -> Path:
    """Move the store's files into a folder of their own."""
    log = wal_of(file)
    if lock.note not in (Note.OPEN, Note.CLOSED):
        # Without a note a folder whose store was moved away would look like a new one.
        lock.write(Note.OPEN if _bytes(log) else Note.CLOSED)
    aside = Path(tempfile.mkdtemp(prefix=time.strftime("replaced-%Y%m%d-%H%M%S-", time.gmtime()), dir=file.parent))
    # The file first: a log without its file is refused, a file without its log might not be.
    for path in (file, log, file.with_name(file.name + "-shm")):
        with suppress(FileNotFoundError):
            path.rename(aside / path.name)
    sync_folder(aside)
    sync_folder(file.parent)
    return aside


# --- files ---


@contextmanager
def _reported(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SetupError(f"Cannot write in the data folder {folder}: {error.strerror or error}.") from None


def _refuse_too_little_room(file: Path, needed: int) -> None:
    free = shutil.disk_usage(file.parent).free
    if free < needed + _SPARE_BYTES:
        raise SetupError(
            f"There is too little room for {file}: {(needed + _SPARE_BYTES) / 1e6:.0f} MB are needed, "
            f"{free / 1e6:.0f} MB are free."
        )


def _size(connection: apsw.Connection) -> int:
    return number(connection, "PRAGMA page_count") * number(connection, "PRAGMA page_size")


def _bytes(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def _remove(part: Path) -> None:
    for ending in ("", "-wal", "-shm", "-journal"):
        part.with_name(part.name + ending).unlink(missing_ok=True)


def _sync(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
