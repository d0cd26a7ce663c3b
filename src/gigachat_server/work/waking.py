"""Waiting for something to happen: woken when it does, looking again anyway.

Idea: a wake-up only saves waiting. It may be missed, or happen on another node, so waiting code also looks by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

K = TypeVar("K")


async def is_set_within(event: asyncio.Event, seconds: float) -> bool:
    """Whether it was set in time; in either case it is set then."""
    # Not `asyncio.timeout`: a reader waits anew for each word, and it would be half of what that takes.
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    timer = loop.call_at(until, event.set)
    try:
        await event.wait()
    finally:
        timer.cancel()
    return loop.time() < until


class Watchers(Generic[K]):
    """Those who wait for changes, by what they watch."""

    def __init__(self) -> None:
        self._events: dict[K, set[asyncio.Event]] = {}
        self.is_closed = False

    @contextmanager
    def watching(self, key: K) -> Iterator[asyncio.Event]:
        """An event that is set whenever this changes."""
        event = asyncio.Event()
        self._events.setdefault(key, set()).add(event)
        try:
            yield event
        finally:
            self._events[key].discard(event)
            if not self._events[key]:
                del self._events[key]

    def wake(self, key: K) -> None:
        """It has changed."""
        for event in self._events.get(key, ()):
            event.set()

    def close(self) -> None:
        """Wake everyone for the last time: each finds `is_closed`."""
        self.is_closed = True
        for key in self._events:
            self.wake(key)
