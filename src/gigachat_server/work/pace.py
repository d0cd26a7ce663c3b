"""How background work waits: real time, unless a test passes a pace of its own.

Invariant: a loop waits through its `Pace` alone, so a test decides when it goes on, and what "at random" means.
"""

from __future__ import annotations

import asyncio
import random
from typing import Protocol

import msgspec

from gigachat_server.work.waking import is_set_within


class Pace(Protocol):
    async def rest(self, seconds: float, woken: asyncio.Event | None = None) -> None:
        """Wait so long, or until it is woken."""

    def random(self) -> float:
        """From 0 to 1."""


class RealPace:
    """What runs outside tests."""

    async def rest(self, seconds: float, woken: asyncio.Event | None = None) -> None:
        if woken is None:
            await asyncio.sleep(seconds)
        else:
            await is_set_within(woken, seconds)

    def random(self) -> float:
        return random.random()  # noqa: S311 - it spreads retries, and keeps no secret


class Backoff(msgspec.Struct, frozen=True):
    """How long to wait after failures: twice as long after each, at random down to half of that, so that nodes spread out."""

    first_s: float = 1.0
    longest_s: float = 60.0

    def after(self, failures: int, pace: Pace) -> float:
        """Seconds to wait after so many failures in a row, at least one."""
        doubled = self.first_s * 2.0 ** min(failures - 1, 30)
        return min(doubled, self.longest_s) * (0.5 + pace.random() / 2)
