"""The connections to the store's file: the one that writes, those that read, and how its log is folded into it.

Invariant: a connection never folds or removes the log on its own, not even when it is closed: the holder of the folder's lock
decides that, and notes it there first.
"""

from __future__ import annotations

from pathlib import Path

import apsw

from gigachat_server.store.engines.damage import APPLICATION_ID

BUSY_TIMEOUT_MS = 5_000

# The file says whose it is. It is the smallest thing that can be committed, and writes a page each time.
SIGNING = f"PRAGMA application_id = {APPLICATION_ID}"


def open_writer(file: Path) -> apsw.Connection:
    """The connection that writes; it has written its signature, so the WAL is there and the disk takes it."""
    fresh = not file.exists()
    connection = apsw.Connection(str(file), statementcachesize=512)
    try:
        # Closing folds and removes the WAL, which is for `aclose` to decide.
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        if fresh:
            file.chmod(0o600)
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        for pragma in (
            "journal_mode = WAL",
            "synchronous = FULL",
            "mmap_size = 0",
            "cache_size = -4096",
            "temp_store = 2",
            "secure_delete = ON",
        ):
            connection.execute(f"PRAGMA {pragma}").fetchall()
        # What a crash left in the WAL may be known to the kernel alone, after an fdatasync that failed: nothing that is
        # written from now on may build on it.
        fold(connection)
        connection.execute(SIGNING).fetchall()
    except BaseException:
        connection.close()
        raise
    return connection


def fold(connection: apsw.Connection) -> bool:
    """Whether all that is in the WAL is now in the file itself, durably. Another program that reads may keep some."""
    try:
        pages, folded = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
    except apsw.BusyError:
        return False
    return pages == folded


def open_reader(file: Path) -> apsw.Connection:
    connection = apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READONLY, statementcachesize=512)
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    for pragma in ("query_only = 1", "mmap_size = 0", "cache_size = -2048", "temp_store = 2"):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    return connection
