"""What was deleted on purpose leaves the disk too: the store's file, its log, and so every backup made afterwards.

Idea: `secure_delete` zeroes deleted rows in the file. Their earlier pages are still in the log, so it is folded and emptied
before the deletion is acknowledged, or as soon as readers that began earlier let it. The copies that SQLite leaves between
rows (`remnants.py`) are overwritten then: at once in a small file, in the background in a large one, where finding them
takes a second for each gigabyte. A marker in the data folder makes the next start go on with what was not finished.

Invariant: whatever moment a crash takes, the note in the folder's lock says what is there. It is `CLOSED` only while the file
is the whole store and nothing can be committed, since the thread that commits is the one that empties the log. The file's own
descriptor stays open until SQLite has closed the file: closing it earlier would drop SQLite's locks (POSIX).
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from gigachat_server.store.engines import remnants
from gigachat_server.store.engines.connections import BUSY_TIMEOUT_MS, SIGNING, fold
from gigachat_server.store.engines.damage import wal_of
from gigachat_server.store.engines.folder import FolderLock, Note, sync_folder

MARKER = "erasing"
LOOK_AGAIN_S = 0.1

_AT_ONCE_BYTES = 32 * 1024 * 1024  # a file that is scanned while the deletion waits for its acknowledgement
_AT_ONCE_PAGES = 512
_REST = 10  # after a scan, wait this many times as long as it took: a deletion a second must not keep a core busy

_log = logging.getLogger("gigachat.store")


class Eraser:
    """Owned by the thread that writes; only the scan of a large file runs in another."""

    def __init__(self, file: Path, lock: FolderLock, writer: apsw.Connection) -> None:
        self._lock = lock
        self._writer = writer
        self._log = wal_of(file)
        self._marker = file.with_name(MARKER)
        self._descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
        self._is_log_clean = True
        self._is_scan_wanted = False
        self._is_scanned = threading.Event()
        self._is_closing = threading.Event()
        self._scanner: threading.Thread | None = None
        self._scanned: list[int] = []  # by the scan, which may run in its own thread
        self._found: list[int] = []
        self._scan_at = 0.0  # earliest, on the monotonic clock
        if self._marker.exists():
            self._is_log_clean, self._is_scan_wanted = False, True

    @property
    def is_busy(self) -> bool:
        """Whether there is something left to erase."""
        return not self._is_log_clean or self._is_scan_wanted or self._scanner is not None or bool(self._found)

    def want(self) -> None:
        """A transaction that is durable now deleted something for good. Raises `OSError`."""
        self._is_log_clean, self._is_scan_wanted = False, True
        if not self._marker.exists():
            self._marker.touch(0o600)
            sync_folder(self._marker.parent)

    def step(self) -> None:
        """Do what can be done now, in a bounded time. Raises `apsw.Error`, `OSError`."""
        if self._scanner is not None and self._is_scanned.is_set():
            self._scanner = None
            self._found = self._scanned
        is_due = self._is_scan_wanted and self._scanner is None and not self._found and time.monotonic() >= self._scan_at
        is_small = os.fstat(self._descriptor).st_size <= _AT_ONCE_BYTES
        if self._is_log_clean and not self._found and not is_due:
            self._finish()
            return
        with self._emptied() as is_empty:
            if not is_empty:
                return
            self._is_log_clean = True
            if is_due and is_small:
                self._is_scan_wanted = False
                self._scan()
                self._found = self._scanned
            batch, self._found = self._found[:_AT_ONCE_PAGES], self._found[_AT_ONCE_PAGES:]
            if batch:
                remnants.overwrite(self._descriptor, batch)
                self._writer.release_memory()  # its copies of these pages would bring the remnants back
        if is_due and not is_small:
            self._start_scan()  # of the file into which the log was just folded
        self._finish()

    def give_up(self) -> None:
        """Leave what is left to the next start, which finds the marker."""
        self._is_log_clean, self._is_scan_wanted, self._found = True, False, []

    def reopen_log(self) -> None:
        """Before anything is committed: the log holds a frame, and the lock says so. Raises `apsw.Error`, `OSError`."""
        if self._lock.note is not Note.OPEN:
            self._writer.execute(SIGNING).fetchall()
            self._lock.write(Note.OPEN)

    def close(self) -> None:
        """For after the writer was closed."""
        self._is_closing.set()
        if self._scanner is not None:
            self._scanner.join()
        os.close(self._descriptor)

    @contextmanager
    def _emptied(self) -> Iterator[bool]:
        """Whether the log is empty within the block; then the file alone is the store, and nothing else writes to it.

        No wait for readers: they would hold up every commit.
        """
        self._writer.set_busy_timeout(0)
        try:
            if not fold(self._writer):
                yield False
                return
            self._lock.write(Note.CLOSED)
            try:
                # The lock on writing keeps other programs, too, from committing something that could be folded meanwhile.
                is_empty = self._truncate()
                self._writer.execute("BEGIN IMMEDIATE")
                try:
                    yield is_empty and not self._has_log()
                finally:
                    self._writer.execute("ROLLBACK")
            finally:
                self.reopen_log()
        finally:
            self._writer.set_busy_timeout(BUSY_TIMEOUT_MS)

    def _truncate(self) -> bool:
        try:
            self._writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except apsw.BusyError:
            return False
        return True

    def _has_log(self) -> bool:
        try:
            return self._log.stat().st_size > 0
        except FileNotFoundError:
            return False

    def _start_scan(self) -> None:
        self._is_scan_wanted = False  # here, and not by the scan: what is deleted while it begins wants another one
        self._is_scanned.clear()
        self._scanner = threading.Thread(target=self._scan, name="store-eraser", daemon=True)
        self._scanner.start()

    def _scan(self) -> None:
        began = time.monotonic()
        self._scanned = []
        try:
            self._scanned = remnants.scan(self._descriptor, is_stopped=self._is_closing.is_set)
        except OSError as error:
            _log.warning("cannot look for remnants of deleted text: %s", error)
            self._is_scan_wanted = True
        self._scan_at = time.monotonic() + _REST * (time.monotonic() - began)
        self._is_scanned.set()

    def _finish(self) -> None:
        if not self.is_busy:
            self._marker.unlink(missing_ok=True)
