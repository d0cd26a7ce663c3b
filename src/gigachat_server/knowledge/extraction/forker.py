"""The process that children are forked from: it has imported what they need, and never sees a byte of any file.

Idea: starting a Python that imports the readers takes 0.2 s of processor time; forking one that has takes 0.006 s. A child can
open nothing once it has begun, so nothing may be left to import (`sandbox.py`).
Standard input is a socket of packets, each a letter and a number, from the process that started this one:

- `F` with a descriptor: fork child `number`, which reads a file from there and answers to there;
- `E`: end it. Four bytes on standard output, behind its number, say how it ended.

Once it can fork without delay it says so, with the number `READY`: the time that a file may take begins then.

Invariant: a child that is not ended here has not been waited for, so its process number cannot be reused. All of them end with
this process, and this one ends with the socket.
"""

from __future__ import annotations

import gc
import importlib
import os
import pkgutil
import signal
import socket
import time
from contextlib import suppress

from gigachat_server.knowledge.extraction import child

FORK, END = b"F", b"E"
NUMBER_BYTES, STATUS_BYTES = 8, 4
READY = 2 ** (8 * NUMBER_BYTES) - 1  # the number of no child
NOT_FORKED = -(2**31)
# They import their own modules when a file needs them.
_WHOLE_PACKAGES = ("charset_normalizer", "email", "encodings", "pypdfium2")
# What modules of the standard library import within functions: `Counter.most_common` imports heapq, for example.
_MODULES = (
    "bisect bz2 calendar copy csv datetime decimal difflib fractions gzip heapq html.entities html.parser json linecache locale "
    "lzma mimetypes operator quopri random statistics string stringprep _strptime struct textwrap tokenize traceback unicodedata "
    "urllib.parse uuid warnings weakref xml.etree.ElementTree xml.sax.saxutils zipfile zlib lxml.etree lxml._elementpath"
)

_PAGE = b"<html><title>t</title><body><h1>h</h1><p>p"


def main() -> None:
    import_all()
    child.read(_PAGE, name="", media_type=None, most_characters=1_000)  # most files are pages, and the first one takes long
    gc.collect()
    gc.freeze()  # else each child would copy what its collector looks at
    os.write(1, READY.to_bytes(NUMBER_BYTES, "big") + bytes(STATUS_BYTES))
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
        else:
            os._exit(0)  # the server is gone, and the kernel ends the children


def import_all() -> None:
    """The readers, whatever they or their libraries import as they go, and what Python looks up in files the first time."""
    for name in sorted(child.MODULES):
        importlib.import_module(f"gigachat_server.knowledge.extraction.{name}")
    for name in _MODULES.split():
        importlib.import_module(name)
    for package in map(importlib.import_module, _WHOLE_PACKAGES):
        for module in pkgutil.iter_modules(package.__path__):
            if not module.ispkg and not module.name.startswith("__"):
                with suppress(ImportError):  # some codecs are for Windows
                    importlib.import_module(f"{package.__name__}.{module.name}")
    time.localtime()


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
