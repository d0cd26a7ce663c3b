"""The socket in the data folder over which this machine's own commands reach a running server.

Invariant: who can open it owns the data: its mode is 0600, and it is there only while someone holds the data folder's
lock. An unanswered socket is what a killed server left behind.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gigachat_server.errors import SetupError

_LONGEST_NAME = 107  # bytes that the kernel keeps for the name of a socket


@contextmanager
def short_name(path: Path) -> Iterator[str]:
    """A name of the socket that the kernel accepts: where the path is too long, one through the opened folder."""
    if len(os.fsencode(path)) <= _LONGEST_NAME:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def bind(path: Path) -> socket.socket:
    """A socket of that name, for its owner alone. Only for the holder of the folder's lock: a stale one is replaced."""
    unlink(path)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with short_name(path) as name:
            bound.bind(name)
            # Nobody can connect before the socket listens, so there is no moment at which others could.
            path.chmod(0o600)
    except OSError as error:
        bound.close()
        raise SetupError(f"Cannot make the socket {path}: {error.strerror or error}.") from None
    return bound


def unlink(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()


def is_locked(folder: Path) -> bool:
    """Whether a gigachat holds the data folder. Asking locks it for a moment: ask only where a start is unlikely."""
    try:
        lock = os.open(folder / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def is_answered(path: Path) -> bool:
    """Whether a server listens there."""
    try:
        with short_name(path) as name, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(5.0)
            probe.connect(name)
    except (FileNotFoundError, ConnectionRefusedError):
        return False
    except OSError as error:
        raise SetupError(f"Cannot reach the gigachat at {path}: {error.strerror or error}.") from None
    return True
