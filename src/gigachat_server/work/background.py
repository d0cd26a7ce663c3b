"""All background work of one process: what keeps its loops together, and what they share.

Invariant: every loop and every leased worker is made here, so `loops` and `workers` are complete.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from gigachat_server.clock import Clock, system_clock
from gigachat_server.work.leased import Leased, Queue
from gigachat_server.work.loop import Loop
from gigachat_server.work.pace import Backoff, Pace, RealPace

K = TypeVar("K")


class Background:
    def __init__(self, clock: Clock = system_clock, pace: Pace | None = None) -> None:
        self._clock = clock
        self._pace = pace or RealPace()
        self.loops: list[Loop] = []
        self.workers: list[Leased[Any]] = []

    def loop(
        self,
        name: str,
        body: Callable[[], Awaitable[object]],
        *,
        every_s: float,
        backoff: Backoff | None = None,
        wake: asyncio.Event | None = None,
        rests_first: bool = False,
    ) -> Loop:
        """A loop, to be started and closed by its caller. `wake`: an event that others set to wake it."""
        made = Loop(
            name,
            body,
            every_s=every_s,
            pace=self._pace,
            backoff=backoff or Backoff(),
            wake=wake or asyncio.Event(),
            rests_first=rests_first,
        )
        self.loops.append(made)
        return made

    def leased(self, name: str, queue: Queue[K], *, at_once: int, every_s: float, wake: asyncio.Event | None = None) -> Leased[K]:
        """A worker on rows that are claimed by lease, at most `at_once` at a time."""
        made = Leased(
            name, queue, at_once=at_once, every_s=every_s, wake=wake, make_loop=self.loop, clock=self._clock, pace=self._pace
        )
        self.workers.append(made)
        return made
