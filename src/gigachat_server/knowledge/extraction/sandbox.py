"""Restricts a process before it reads foreign files: no files, network or other processes; bounded memory and time.

Idea: a parser that a hostile file has taken over can do no more than its process can. So everything is imported first; then
the kernel allows the few system calls that computing and answering need, and refuses all others: nothing can be opened, sent,
started, traced or signalled. Landlock, where the kernel has it, takes away the file system once more, also on processors for
which there is no list of calls here. Invariant: nothing in the process can take this back, and it ends when the process that
started it does.

What is refused fails with "operation not permitted", so a library that asks for something it can do without goes on.
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

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
_SECCOMP_MODE_FILTER = 2
_LOAD_WORD, _EQUALS, _RETURN = 0x20, 0x15, 0x06  # of the kernel's filter machine (BPF)
_NUMBER_AT, _ARCHITECTURE_AT = 0, 4
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050001, 0x80000000  # refused as "operation not permitted"

# By name: on x86-64, on ARM64; None where the processor has no such call. Everything else is refused, and the numbers of the
# other ABI of x86-64 with it.
_ALLOWED: dict[str, tuple[int, int | None]] = {
    # the open pipe
    "read": (0, 63), "write": (1, 64), "readv": (19, 65), "writev": (20, 66), "close": (3, 57), "fstat": (5, 80),
    "lseek": (8, 62),
    # memory
    "mmap": (9, 222), "mprotect": (10, 226), "munmap": (11, 215), "brk": (12, 214), "mremap": (25, 216), "madvise": (28, 233),
    # signals of its own, locks, waiting
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "sigaltstack": (131, 132),
    "restart_syscall": (219, 128), "futex": (202, 98), "membarrier": (324, 283), "rseq": (334, 293), "sched_yield": (24, 124),
    "nanosleep": (35, 101), "clock_nanosleep": (230, 115),
    # what time it is, who this is
    "clock_gettime": (228, 113), "clock_getres": (229, 114), "gettimeofday": (96, 169), "time": (201, None), "times": (100, 153),
    "getrusage": (98, 165), "getpid": (39, 172), "gettid": (186, 178), "getuid": (102, 174), "geteuid": (107, 175),
    "getgid": (104, 176), "getegid": (108, 177), "getrandom": (318, 278),
    # the end
    "exit": (60, 93), "exit_group": (231, 94),
}  # fmt: skip
_ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}

# The same on every processor. https://docs.kernel.org/userspace-api/landlock.html
_LANDLOCK_CREATE_RULESET, _LANDLOCK_RESTRICT_SELF = 444, 446
_LANDLOCK_VERSION = 1  # the flag that asks for it
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # how many rights over files each version knows; later ones add none so far
_NETWORK_SINCE, _SCOPES_SINCE = 4, 6


def enter(*, parent: int) -> None:
    """From here on all of it holds. `parent`: the process at whose end this one has to end."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)  # it ended before the kernel was told
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    _limit(resource.RLIMIT_AS, MEMORY_BYTES)
    _limit(resource.RLIMIT_CPU, CPU_S)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_CORE, 0)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _take_away_files(libc)
    _limit(resource.RLIMIT_NOFILE, 0)
    _refuse_calls(libc)


def _limit(what: int, most: int) -> None:
    _, hard = resource.getrlimit(what)
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    resource.setrlimit(what, (most, most))


def _take_away_files(libc: ctypes.CDLL) -> None:
    """With Landlock: every right that the kernel knows is taken, and none is given back."""
    version = libc.syscall(_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_LANDLOCK_VERSION))
    if version < 1:
        return  # the kernel has none, or it is switched off
    files = (1 << _FILE_RIGHTS.get(version, 16)) - 1
    rights = [files]
    if version >= _NETWORK_SINCE:
        rights.append(0b11)  # to bind and to connect
    if version >= _SCOPES_SINCE:
        rights.append(0b11)  # abstract sockets and signals, to processes outside
    ruleset = struct.pack(f"={len(rights)}Q", *rights)
    descriptor = libc.syscall(_LANDLOCK_CREATE_RULESET, ruleset, ctypes.c_size_t(len(ruleset)), ctypes.c_uint32(0))
    if descriptor >= 0:
        libc.syscall(_LANDLOCK_RESTRICT_SELF, ctypes.c_int(descriptor), ctypes.c_uint32(0))
        os.close(descriptor)


def _refuse_calls(libc: ctypes.CDLL) -> None:
    known = _ARCHITECTURES.get(platform.machine())
    if known is None:
        return
    architecture, place = known
    calls = [numbers[place] for numbers in _ALLOWED.values() if numbers[place] is not None]
    steps = [
        _step(_LOAD_WORD, _ARCHITECTURE_AT),
        _step(_EQUALS, architecture, 1, 0),
        _step(_RETURN, _KILL),
        _step(_LOAD_WORD, _NUMBER_AT),
        *(_step(_EQUALS, call or 0, len(calls) - at, 0) for at, call in enumerate(calls)),
        _step(_RETURN, _REFUSE),
        _step(_RETURN, _ALLOW),
    ]
    code = ctypes.create_string_buffer(b"".join(steps))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(steps), ctypes.addressof(code)))
    if libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, program, 0, 0) != 0:
        os._exit(1)  # rather no text than a file read without it


def _step(what: int, value: int, if_so: int = 0, if_not: int = 0) -> bytes:
    return struct.pack("=HBBI", what, if_so, if_not, value)
