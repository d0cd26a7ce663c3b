"""Time for every part of gigachat: whole microseconds since 1970 in UTC, from a clock that is passed in.

Invariant: the wall clock is only read through a `Clock`, so a test can move it; order never depends on it (see
`store/conversations.py`), only the visible times do.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], int]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def system_clock() -> int:
    """Microseconds since 1970 by this machine's clock."""
    return time.time_ns() // 1000


@functools.lru_cache(maxsize=2048)
def wire_time(microseconds: int) -> str:
    """`2023-06-16T18:18:38.883440+00:00`: always UTC, always six digits. Cached: a chunk is often a source."""
    return (_EPOCH + timedelta(microseconds=microseconds)).isoformat(timespec="microseconds")
