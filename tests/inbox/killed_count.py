"""Counts the whole days of a store, and is killed at its Nth transaction: killed_count.py SETTINGS AHEAD_US N.

`SETTINGS` are the store's, as JSON; the clock is so far ahead that what an earlier process held is free. N of 0: not killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from gigachat_server.clock import system_clock
from gigachat_server.configured import open_database
from gigachat_server.inbox.figures import FigureQueue
from gigachat_server.settings import Settings
from gigachat_server.store.database import Database, Tx


class Killing:
    """Every other time it is killed within the transaction, with all statements said, and else behind it."""

    def __init__(self, database: Database, transactions: int) -> None:
        self._database = database
        self._left = transactions

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    async def transaction(self, name: str, body: Callable[[Tx], Awaitable[Any]], **options: Any) -> Any:
        self._left -= 1
        is_last, is_within = self._left == 0, os.getpid() % 2 == 0

        async def watched(tx: Tx) -> Any:
            result = await body(tx)
            if is_last and is_within:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        result = await self._database.transaction(name, watched, **options)
        if is_last:
            os.kill(os.getpid(), signal.SIGKILL)
        return result


async def main(settings: Settings, ahead_us: int, transactions: int) -> None:
    database = await open_database(settings)

    def clock() -> int:
        return system_clock() + ahead_us

    try:
        queue = FigureQueue(Killing(database, transactions), clock)
        while (entry := await queue.find_next((), ())) is not None:
            if await queue.claim(entry, "lease", now_us=clock(), until_us=clock() + 30_000_000) is not None:
                await queue.work_off(entry, "lease")
    finally:
        await database.aclose()


if __name__ == "__main__":
    asyncio.run(main(Settings(**json.loads(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3])))
