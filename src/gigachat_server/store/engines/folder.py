"""The data folder: one process owns it, and a note in its lock says what the store's files have to look like.

Idea: SQLite takes a write-ahead log that is missing for one that is empty, and a missing file for a new store; both would
lose acknowledged messages without a word. So the owner notes what it is about to do before it does it, durably.

Invariant: while the note is `OPEN` the log is there and holds at least one frame; once it is `CLOSED` the file alone is the
whole store; and nothing was ever acknowledged while it was `NEW`.
"""

from __future__ import annotations

import enum
import fcntl
import os
from pathlib import Path

from gigachat_server.errors import SetupError

LOCK_NAME = "lock"


class Note(enum.StrEnum):
    """What the lock says of the store. `UNKNOWN`: nothing, as in a folder into which a backup was put."""

    UNKNOWN = "unknown"
    NEW = "new"
    OPEN = "open"
    CLOSED = "closed"


class FolderLock:
    """The lock of a data folder, held until it is released or the process ends."""

    def __init__(self, file: Path, descriptor: int) -> None:
        self.file = file
        self._descriptor = descriptor
        self.note = _note_of(descriptor)
        self.write(self.note)  # the number of this process

    def write(self, note: Note) -> None:
        """The note is that, durably. Raises `OSError`."""
        # One small write of constant length: a crash leaves the note before it or the note after it.
        os.pwrite(self._descriptor, f"{os.getpid():<10} {note:<8}\n".encode(), 0)
        os.fdatasync(self._descriptor)
        self.note = note

    def release(self) -> None:
        os.close(self._descriptor)


def take(folder: Path) -> FolderLock:
    """The folder, made if need be, for this process alone. Raises `SetupError` with one line for a person."""
    _make(folder)
    file = folder / LOCK_NAME
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SetupError(
            f"Cannot write in the data folder {folder}: {error.strerror} ({file}). Run gigachat as the owner of what is in it, "
            "or choose another folder with GIGACHAT_DATA."
        ) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        owner = (_words(descriptor) or ["unknown"])[0]
        os.close(descriptor)
        raise SetupError(
            f"Another gigachat (process {owner}) uses the data folder {folder}. Stop it, or choose another folder "
            "with GIGACHAT_DATA."
        ) from None
    try:
        return FolderLock(file, descriptor)
    except OSError as error:
        os.close(descriptor)
        raise SetupError(f"Cannot write {file}: {error.strerror}. Make room on its disk, or check the disk.") from None


def _make(folder: Path) -> None:
    try:
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for made in missing:
            sync_folder(made.parent)  # or a power cut takes the folder away, with all that is in it
    except FileExistsError:
        raise SetupError(f"The data folder {folder} is a file: choose another with GIGACHAT_DATA.") from None
    except OSError as error:
        raise SetupError(
            f"Cannot create the data folder {folder}: {error.strerror}. Make it and give it to this user, or choose another "
            "with GIGACHAT_DATA."
        ) from None


def sync_folder(folder: Path) -> None:
    """What was created in the folder is there after a power cut. Raises `OSError`."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_note(folder: Path) -> Note:
    """What the lock of that folder says, for a process that does not hold it. Raises `OSError`."""
    try:
        descriptor = os.open(folder / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return Note.UNKNOWN
    try:
        return _note_of(descriptor)
    finally:
        os.close(descriptor)


def _words(descriptor: int) -> list[str]:
    return os.pread(descriptor, 32, 0).decode(errors="replace").split()


def _note_of(descriptor: int) -> Note:
    words = _words(descriptor)
    return Note(words[1]) if len(words) == 2 and words[1] in set(Note) else Note.UNKNOWN
