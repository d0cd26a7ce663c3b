"""Restricts a process before it reads foreign files: memory, time, no network, no other programs.

Idea: a parser that a hostile file has taken over can do no more than its process can. So limits that the kernel holds are
set once the libraries are there, and nothing in the process can take them back. Invariant: it ends when the process that
started it does.

The network is refused by a filter of system calls, which needs no privilege. On other machines than x86-64 and ARM64 there
is none; the other limits hold everywhere on Linux.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
import struct
import sys

MEMORY_BYTES = 512 * 1024 * 1024
CPU_S = 30

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 1, 38, 22, 2
_LOAD_WORD, _EQUALS, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # of the kernel's filter machine (BPF)
_NUMBER_AT, _ARCHITECTURE_AT = 0, 4
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050001, 0x80000000  # refused as "operation not permitted"
_OTHER_ABI = 0x40000000  # on x86-64 the same calls have a second number each

# socket, connect, bind, listen, accept, accept4, socketpair; execve, execveat, clone, clone3, fork, vfork, ptrace,
# process_vm_writev, kill, io_uring_setup; ARM64 has neither fork nor vfork.
_CALLS: dict[str, tuple[int, tuple[int, ...]]] = {
    "x86_64": (0xC000003E, (41, 42, 49, 50, 43, 288, 53, 59, 322, 56, 435, 57, 58, 101, 311, 62, 425)),
    "aarch64": (0xC00000B7, (198, 203, 200, 201, 202, 242, 199, 221, 281, 220, 435, 117, 271, 129, 425)),
}


def enter(*, parent: int) -> None:
    """From here on all of it holds. `parent`: the process at whose end this one has to end."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)  # it ended before the kernel was told
    _limit(resource.RLIMIT_AS, MEMORY_BYTES)
    _limit(resource.RLIMIT_CPU, CPU_S)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_CORE, 0)
    _refuse_calls(libc)


def _limit(what: int, most: int) -> None:
    _, hard = resource.getrlimit(what)
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    resource.setrlimit(what, (most, most))


def _refuse_calls(libc: ctypes.CDLL) -> None:
    known = _CALLS.get(platform.machine())
    if known is None:
        return
    architecture, calls = known
    steps = [
        _step(_LOAD_WORD, _ARCHITECTURE_AT),
        _step(_EQUALS, architecture, 1, 0),
        _step(_RETURN, _KILL),
        _step(_LOAD_WORD, _NUMBER_AT),
        _step(_AT_LEAST, _OTHER_ABI, len(calls) + 1, 0),
        *(_step(_EQUALS, call, len(calls) - place, 0) for place, call in enumerate(calls)),
        _step(_RETURN, _ALLOW),
        _step(_RETURN, _REFUSE),
    ]
    code = ctypes.create_string_buffer(b"".join(steps))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(steps), ctypes.addressof(code)))
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, program, 0, 0)


def _step(what: int, value: int, if_so: int = 0, if_not: int = 0) -> bytes:
    return struct.pack("=HBBI", what, if_so, if_not, value)
