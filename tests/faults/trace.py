"""What a trace of system calls proves: that no answer left before the disk had confirmed its rows."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

# What the checker needs to see of each call, and calls in full: pages are 4,096 bytes.
OPTIONS = ("-y", "-s", "8192", "-e", "trace=pwrite64,fdatasync,fsync,write,writev,sendto,sendmsg")

_CALL = re.compile(r"^(\d+) +(\w+)\(\d+<([^>]*)>(.*)$")
_RESUMED = re.compile(r"^(\d+) +<\.\.\. (\w+) resumed>(.*)$")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')


class Call(msgspec.Struct):
    """One system call: on which file, with which data, and between which lines of the trace it ran."""

    thread: str
    name: str
    file: str
    data: bytes
    started: int
    ended: int
    is_successful: bool

    @property
    def is_log_write(self) -> bool:
        return self.name == "pwrite64" and self.file.endswith("-wal")

    @property
    def is_commit(self) -> bool:
        """The head of a frame that ends a transaction: it says how large the database is then."""
        return self.is_log_write and len(self.data) == 24 and any(self.data[4:8])


def unconfirmed(trace: Path, message_ids: Iterable[str]) -> list[str]:
    """Those of the acknowledged messages whose answer left before an fdatasync that covers their rows had returned."""
    calls = list(_calls(trace.read_text(errors="replace").splitlines()))
    return [message_id for message_id in message_ids if not _is_confirmed(calls, message_id.encode())]


def _is_confirmed(calls: list[Call], message_id: bytes) -> bool:
    answered = next(call for call in calls if "socket:" in call.file and message_id in call.data)
    writes = [call for call in calls if call.is_log_write]
    stored = next((number for number, call in enumerate(writes) if message_id in call.data), None)
    if stored is None:
        return False
    # Each frame is two writes, its head and its page. The page that holds the id, or a later one, ends the transaction.
    commit = next((number for number in range(stored - 1, len(writes) - 1) if writes[number].is_commit), None)
    if commit is None:
        return False
    written = writes[commit + 1]
    return any(
        call.name == "fdatasync" and call.file.endswith("-wal") and call.is_successful
        and written.ended < call.started and call.ended < answered.started
        for call in calls
    )  # fmt: skip


def _calls(lines: list[str]) -> Iterator[Call]:
    """Every call that returned, in the order in which they started."""
    begun: dict[str, Call] = {}
    found: list[Call] = []
    for number, line in enumerate(lines):
        if resumed := _RESUMED.match(line):
            call = begun.pop(resumed[1], None)
            if call is not None:
                call.ended, call.is_successful = number, _succeeded(line)
        elif started := _CALL.match(line):
            thread, name, file, rest = started.groups()
            data = b"".join(ast.literal_eval("b" + text[0]) for text in _STRING.finditer(rest))
            call = Call(thread, name, file, data, number, number, _succeeded(line))
            found.append(call)
            if line.endswith("<unfinished ...>"):
                begun[thread] = call
    unreturned = {id(call) for call in begun.values()}
    yield from (call for call in found if id(call) not in unreturned)


def _succeeded(line: str) -> bool:
    return " = -1 " not in line[line.rfind(")") :]
