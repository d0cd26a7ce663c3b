"""gigachat's ids: UUIDs of version 7 (RFC 9562), so that later ids sort later.

Invariant: within one process every new id is greater than the one before, even if the clock stands still or steps back,
because the time part never falls and the 74 random bits are incremented instead of drawn again.
"""

from __future__ import annotations

import os
import re
import threading
import time

_lock = threading.Lock()
_last_ms = 0
_last_random = 0
_pool = b""

_FORM = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_RANDOM_BITS = 74
_POOL_BYTES = 4096


def new_id() -> str:
    """A new UUIDv7 as text."""
    global _last_ms, _last_random
    with _lock:
        now_ms = time.time_ns() // 1_000_000
        if now_ms > _last_ms:
            _last_ms, _last_random = now_ms, int.from_bytes(_random_bytes(10)) >> (80 - _RANDOM_BITS + 1)
        else:
            _last_random += 1 + int.from_bytes(_random_bytes(4))
        ms, random = _last_ms, _last_random
    high, low = random >> 62, random & ((1 << 62) - 1)
    digits = f"{(ms << 80) | (7 << 76) | (high << 64) | (2 << 62) | low:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def random_text(size: int) -> str:
    """`size` unguessable bytes as hexadecimal digits, for ids and the like; credentials are drawn one by one."""
    with _lock:
        return _random_bytes(size).hex()


def _random_bytes(size: int) -> bytes:
    """From the system's generator, fetched many at a time: each fetch is a system call, and a turn needs several."""
    global _pool
    if len(_pool) < size:
        _pool = os.urandom(_POOL_BYTES)
    taken, _pool = _pool[:size], _pool[size:]
    return taken


def is_id(text: str) -> bool:
    """Whether the text has the exact form of an id that gigachat could have made."""
    return _FORM.fullmatch(text) is not None
