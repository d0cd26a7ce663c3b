"""Checks a store's files before anything is done with them, so that damage is refused and not made worse.

Invariant: nothing here changes a file, creates one or waits for a lock. Use it only on files without a concurrent writer: as
the holder of the folder's lock, or while the lock is free.

What it cannot detect: SQLite has no checksums of pages in the file itself, so a change within a text looks valid; and whether
the lost end of a write-ahead log was acknowledged can only be told if the log's index survived.
"""

from __future__ import annotations

import os
import struct
from contextlib import closing
from pathlib import Path

import apsw

from gigachat_server.errors import SetupError
from gigachat_server.store.engines import folder, wal
from gigachat_server.store.engines.folder import Note

APPLICATION_ID = 0x47694741  # "GiGA", in the header of every store
_MAGIC = b"SQLite format 3\x00"
_LEAST_WAL_BYTES = 32 + 24 + 512  # a header, and a frame with the smallest of pages
_HEADER = struct.Struct(">16xH6x2I60xI4x")  # size of a page, changes, pages, and up to which change that number is right
_QUICKLY_CHECKED_BYTES = 64 * 1024 * 1024  # 0.08 s for 100 MB that are cached; a large file would hold up the start


def wal_of(file: Path) -> Path:
    return file.with_name(file.name + "-wal")


def refuse_damage(file: Path, note: Note, *, is_full: bool = False) -> None:
    """Raises `SetupError` unless the store is whole, or was never made. `note` is what the lock beside it says.

    `is_full` looks at every row of a file of any size (0.5 s for 100 MB).
    """
    try:
        _refuse_what_is_missing(file, note)
        if _size(file):
            _refuse_what_is_cut_off(file)
            if note in (Note.OPEN, Note.UNKNOWN):  # else nothing in it was ever acknowledged that the file does not hold
                _refuse_damaged_wal(file)
            _refuse_what_sqlite_finds(file, note, is_full=is_full)
    except OSError as error:
        raise SetupError(f"Cannot read the message store {file}: {error.strerror}. Check its owner and its disk.") from None


def _refuse_what_sqlite_finds(file: Path, note: Note, *, is_full: bool) -> None:
    try:
        with closing(open_unchanging(file)) as connection:
            found = _check(connection, file, is_full=is_full)
            is_ours = _is_ours(connection, note)
    except apsw.Error as error:
        raise SetupError(damaged(file, str(error))) from None
    if found != "ok":
        raise SetupError(damaged(file, " ".join(found.split())))
    if not is_ours:
        raise SetupError(
            f"{file} is not a message store: another program made it, or the {file.name}-wal that was beside it is missing. "
            "Nothing was changed: put the right file there, or restore a backup."
        )


def _check(connection: apsw.Connection, file: Path, *, is_full: bool) -> str:
    if is_full:
        check = "integrity_check"
    elif file.stat().st_size <= _QUICKLY_CHECKED_BYTES:
        check = "quick_check"
    else:
        return "ok"
    return str(connection.execute(f"PRAGMA {check}(1)").fetchall()[0][0])


def _is_ours(connection: apsw.Connection, note: Note) -> bool:
    """Whether it is a message store. One that is as young as this process's start holds no tables yet."""
    mark = connection.execute("PRAGMA application_id").fetchall()[0][0]
    if connection.execute("SELECT 1 FROM pragma_table_info('schema_migrations') WHERE name = 'applied_at'").fetchall():
        return mark in (0, APPLICATION_ID)
    is_empty = not connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()
    return is_empty and (note is Note.NEW or (mark == APPLICATION_ID and note is not Note.UNKNOWN))


def damaged(file: Path, reason: str) -> str:
    """The line that says so."""
    return (
        f"The message store {file} is damaged ({reason}). It was left as it is: restore a backup, or save what can still be "
        f"read with `sqlite3 {file} .recover`."
    )


def open_unchanging(file: Path) -> apsw.Connection:
    """A connection that sees the file and its log and leaves no trace: no lock, no index of the log, no folding of it.

    Raises `apsw.Error`.
    """
    if _size(wal_of(file)):
        # Without locks, and with the log's index in memory.
        connection = apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READONLY, vfs="unix-none")
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        connection.execute("PRAGMA locking_mode = EXCLUSIVE").fetchall()
    else:
        uri = f"{file.absolute().as_uri()}?immutable=1"
        connection = apsw.Connection(uri, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    connection.execute("PRAGMA mmap_size = 0").fetchall()
    return connection


def _refuse_what_is_missing(file: Path, note: Note) -> None:
    log, lock = wal_of(file), file.with_name(folder.LOCK_NAME)
    if not file.exists():
        if _size(log):
            raise SetupError(f"{file} is missing, but {log.name} beside it holds data. Restore both from a backup.")
        if note in (Note.OPEN, Note.CLOSED):
            raise SetupError(
                f"{file} is missing, though {lock} says that it was here. Restore it from a backup; or, to start with an "
                f"empty store, remove {lock}."
            )
        return
    if not file.is_file():
        raise SetupError(f"{file} is not a file. Restore it from a backup.")
    if note is Note.NEW:
        return
    with file.open("rb") as stream:
        magic = stream.read(len(_MAGIC))
    if not magic:
        raise SetupError(f"{file} is empty. Restore it from a backup; or, to start with an empty store, remove it and {lock}.")
    if magic != _MAGIC:
        raise SetupError(f"{file} is not a SQLite database, or is damaged. Restore it from a backup.")
    if note is Note.OPEN and _size(log) < _LEAST_WAL_BYTES:
        raise SetupError(
            f"{log} is missing or empty: the gigachat that ran last was not shut down, and its newest messages were in "
            f"there. Put it back, or restore a backup; or, to go on without them, remove {lock}."
        )


def _refuse_what_is_cut_off(file: Path) -> None:
    """SQLite reads zeros for the rest of a last page that is not all there. With a log, what is gone may be in that."""
    with file.open("rb") as stream:
        header = stream.read(_HEADER.size)
    if len(header) < _HEADER.size or _size(wal_of(file)):
        return
    page_size, changes, pages, valid_for = _HEADER.unpack(header)
    if changes == valid_for and _size(file) < pages * (65536 if page_size == 1 else page_size):
        raise SetupError(damaged(file, "its end is cut off"))


def _refuse_damaged_wal(file: Path) -> None:
    log = wal_of(file)
    if not _size(log):
        return
    if fault := wal.fault(log, index=file.with_name(file.name + "-shm")):
        raise SetupError(
            f"{log} is damaged ({fault}), and SQLite would drop what it cannot read of it. It was left as it is: restore a "
            f"backup; or, to go on without the rest, let `sqlite3 {file} 'PRAGMA wal_checkpoint(TRUNCATE)'` fold what can be "
            f"read, and remove {file.with_name(folder.LOCK_NAME)}."
        )


def _size(file: Path) -> int:
    """Bytes; 0 for what is not there."""
    try:
        return os.stat(file).st_size  # noqa: PTH116 - one call also for what is not there
    except FileNotFoundError:
        return 0
