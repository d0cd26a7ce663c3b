"""Time that stands still until a test moves it: the clock of a server, and the pace of its background work."""

from __future__ import annotations

import asyncio

from gigachat_server.clock import system_clock
from gigachat_server.work.background import Background
from tests.harness import until


class ManualTime:
    """Pass `clock` as the server's clock and this as its pace, and set `background` once it runs."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.background: Background | None = None
        self.held = 0  # jobs that the test keeps from ending
        self._start_us = system_clock()
        self._resting: dict[asyncio.Event, float] = {}

    def clock(self) -> int:
        return self._start_us + int(self.now_s * 1_000_000)

    def random(self) -> float:
        return 1.0

    async def rest(self, seconds: float, woken: asyncio.Event | None = None) -> None:
        event = woken or asyncio.Event()
        self._resting[event] = self.now_s + seconds
        try:
            await event.wait()
        finally:
            del self._resting[event]

    async def settled(self) -> None:
        """Everything that could happen now has happened: every loop rests, and of all work only what the test holds goes on."""
        background = self.background
        assert background is not None

        async def rests() -> bool:
            running = sum(loop.is_running for loop in background.loops)
            is_woken = any(event.is_set() for event in self._resting)
            return (
                running == len(self._resting)
                and not is_woken
                and sum(len(each.running) for each in background.workers) == self.held
            )

        await until(rests)

    async def advance(self, seconds: float) -> None:
        """So much time passes, and everything happens that is due meanwhile, in order."""
        end_s = self.now_s + seconds
        await self.settled()
        while due := [at_s for at_s in self._resting.values() if at_s <= end_s]:
            self.now_s = max(self.now_s, min(due))
            for event in [event for event, at_s in self._resting.items() if at_s <= self.now_s]:
                event.set()
            await self.settled()
        self.now_s = end_s
