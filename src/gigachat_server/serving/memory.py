"""Memory that is no longer used goes back to the system.

Idea: glibc raises what counts as large whenever something large is freed, and then keeps such pieces for itself; one list of
20 MB was enough to keep its memory for a quarter of an hour. With a fixed bound it maps what is large, and unmaps it.
"""

from __future__ import annotations

import asyncio
import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGE_BYTES = 256 * 1024
_PAUSE_S = 2.0
_KEPT_BYTES = 8 * 1024 * 1024  # at the top of the heap


def settle() -> None:
    """Before much is allocated. Other C libraries give back anyway, or cannot be told."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


class GivingBack:
    """Gives back what is free, a moment after it was told that there may be some."""

    def __init__(self) -> None:
        self._soon: asyncio.TimerHandle | None = None

    def soon(self) -> None:
        if self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(_PAUSE_S, self._start)

    def _start(self) -> None:
        self._soon = None
        asyncio.get_running_loop().run_in_executor(None, give_back)


def give_back() -> None:
    """What is free within the heap, as far as it is whole pages. Takes some milliseconds."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)
