"""Moments of the event loop for work that many callers may want at once, such as encoding what they asked for.

Invariant: between two looks at the network, all of it together takes `MOST_S` and one piece.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

MOST_S = 0.005


class _Moments:
    """What was used since the event loop last looked around."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._used_s = 0.0

    async def until_free(self) -> None:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._used_s = loop, 0.0
        while self._used_s > MOST_S:  # noqa: ASYNC110 - the next iteration of the loop is what is waited for
            await asyncio.sleep(0)

    def use(self, seconds: float) -> None:
        if not self._used_s:
            asyncio.get_running_loop().call_soon(self._renew)
        self._used_s += seconds

    def _renew(self) -> None:
        self._used_s = 0.0


_moments = _Moments()


@asynccontextmanager
async def moment() -> AsyncIterator[float]:
    """For one piece of work, which awaits nothing: until when it may go on, as `perf_counter` tells time."""
    await _moments.until_free()
    began = time.perf_counter()
    yield began + MOST_S
    _moments.use(time.perf_counter() - began)
