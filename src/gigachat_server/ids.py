"""Ids that gigachat makes: UUIDs of version 7 (RFC 9562), so that ids made later sort later.

Invariant: within one process every new id is greater than the one before, also when the clock stands still or steps
back, because the time part never falls and the 74 random bits are raised instead of drawn again.
"""

from __future__ import annotations

import secrets
import threading
import time
import uuid

_lock = threading.Lock()
_last_ms = 0
_last_random = 0

_RANDOM_BITS = 74


def new_id() -> str:
    """A new UUIDv7 as text."""
    global _last_ms, _last_random
    with _lock:
        now_ms = time.time_ns() // 1_000_000
        if now_ms > _last_ms:
            _last_ms, _last_random = now_ms, secrets.randbits(_RANDOM_BITS - 1)
        else:
            _last_random += 1 + secrets.randbits(32)
        ms, random = _last_ms, _last_random
    high, low = random >> 62, random & ((1 << 62) - 1)
    return str(uuid.UUID(int=(ms << 80) | (7 << 76) | (high << 64) | (2 << 62) | low))


def is_id(text: str) -> bool:
    """Whether the text has the exact form of an id that gigachat could have made."""
    if len(text) != 36:
        return False
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False
