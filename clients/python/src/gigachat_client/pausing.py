"""Waiting, in both halves of the client. asyncio is loaded by those who run in it, which keeps this import quick."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

AsyncPause = Callable[[float], Awaitable[None]]
SyncPause = Callable[[float], None]
AsyncTokens = Callable[[], Awaitable[str]]
SyncTokens = Callable[[], str]

sync_pause: SyncPause = time.sleep


async def async_pause(seconds: float) -> None:
    import asyncio

    await asyncio.sleep(seconds)
