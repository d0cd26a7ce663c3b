"""The process that children are forked from: it has imported what they need, and never sees a byte of any file.

Idea: starting a Python that imports the page reader takes 0.1 s of processor time; forking one that has takes 0.006 s.
Standard input is a socket of packets, each a letter and a number, from the process that started this one:

- `F` with a descriptor: fork child `number`, which reads a file from there and answers to there;
- `E`: end it. Four bytes on standard output, behind its number, say how it ended;
- `L`: import the library of that place in `LIBRARIES`, since files that need it come.

Invariant: a child that is not ended here has not been waited for, so its process number cannot be reused. All of them end with
this process, and this one ends with the socket.
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
import socket
from contextlib import suppress

from gigachat_server.knowledge.extraction import child

FORK, END, LEARN = b"F", b"E", b"L"
NUMBER_BYTES, STATUS_BYTES = 8, 4
NOT_FORKED = -(2**31)
# What takes a tenth of a second or more to import. Only those are imported that some file has needed.
LIBRARIES = ("pypdfium2",)

_PAGE = b"<html><title>t</title><body><h1>h</h1><p>p"


def main() -> None:
    child.read(_PAGE, name="", media_type=None, most_characters=1_000)  # most files are pages, and the first one takes long
    gc.collect()
    gc.freeze()  # else each child would copy what its collector looks at
    control = socket.socket(fileno=0)
    pids: dict[bytes, int] = {}
    while True:
        message, ends, _, _ = socket.recv_fds(control, 1 + NUMBER_BYTES, 1)
        what, number = message[:1], message[1:]
        if what == FORK:
            with suppress(OSError):
                pids[number] = _fork(ends[0])
            os.close(ends[0])
        elif what == END:
            status = _end(pids.pop(number)) if number in pids else NOT_FORKED
            os.write(1, number + status.to_bytes(STATUS_BYTES, "big", signed=True))
        elif what == LEARN:
            with suppress(ImportError):
                importlib.import_module(LIBRARIES[int.from_bytes(number, "big")])
            gc.freeze()
        else:
            os._exit(0)  # the server is gone, and the kernel ends the children


def _fork(end: int) -> int:
    parent = os.getpid()
    if pid := os.fork():
        return pid
    try:
        os.dup2(end, 0)  # which were the socket and the pipe of this process
        os.dup2(end, 1)
        os.close(end)
        child.main(parent=parent)
    finally:
        os._exit(1)


def _end(pid: int) -> int:
    """How it ended: its exit status, or the signal as a negative number; by this, if it had not by then."""
    ended, status = os.waitpid(pid, os.WNOHANG)
    if not ended:
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    main()
