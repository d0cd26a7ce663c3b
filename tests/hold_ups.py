"""How long the event loop of a test, which is that of its server, too, does nothing else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import msgspec

_LOOK_EVERY_S = 0.002


class HoldUps(msgspec.Struct):
    """The longest time that the loop computed before anybody else got a turn; what else the machine does is left out."""

    longest_s: float = 0.0

    async def watch(self) -> None:
        while True:
            began = time.thread_time()
            await asyncio.sleep(_LOOK_EVERY_S)
            self.longest_s = max(self.longest_s, time.thread_time() - began)


@asynccontextmanager
async def hold_ups() -> AsyncIterator[HoldUps]:
    found = HoldUps()
    watching = asyncio.create_task(found.watch())
    await asyncio.sleep(0)
    try:
        yield found
        await asyncio.sleep(0)
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
