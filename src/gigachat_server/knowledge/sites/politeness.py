"""How fast one node reads from one host: two requests at once, or, where its robots.txt asks for it, one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_AT_ONCE_OF_HOST = 2
_AT_ONCE = 4  # of all hosts together: what is fetched is in memory


class Politeness:
    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._hosts: dict[str, _Host] = {}

    @asynccontextmanager
    async def turn(self, host: str, delay_s: float) -> AsyncIterator[None]:
        """A request to that host may be made within; they begin `delay_s` apart."""
        known = self._hosts.setdefault(host, _Host())
        known.users += 1
        try:
            async with known.slots:
                if delay_s:
                    await known.wait(delay_s)
                async with self._slots:
                    yield
        finally:
            known.users -= 1
            if not known.users and known.free_at <= asyncio.get_running_loop().time():
                self._hosts.pop(host, None)


class _Host:
    def __init__(self) -> None:
        self.users = 0
        self.slots = asyncio.Semaphore(_AT_ONCE_OF_HOST)
        self.free_at = 0.0
        self._gate = asyncio.Lock()

    async def wait(self, delay_s: float) -> None:
        clock = asyncio.get_running_loop().time
        async with self._gate:
            await asyncio.sleep(max(0.0, self.free_at - clock()))
            self.free_at = clock() + delay_s
