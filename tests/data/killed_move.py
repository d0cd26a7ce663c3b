"""A `gigachat move` that is killed at its Nth step: killed_move.py FROM TO N."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from gigachat_server.cli.locations import Location, filling, reading
from gigachat_server.store.copies.copying import copy, plan
from gigachat_server.store.copies.sqlite_rows import embedded_tables


class Killing:
    def __init__(self, steps: int) -> None:
        self._steps = steps

    def begin(self, label: str) -> None:
        self.advance(0)

    def advance(self, rows: int) -> None:
        self._steps -= 1
        if not self._steps:
            os.kill(os.getpid(), signal.SIGKILL)


async def main(there: Location, here: Location, steps: int) -> None:
    async with reading(there, "move", stands_still=True) as source, filling(here, there) as target:
        await copy(source, target, await plan(source, target, embedded_tables()), Killing(steps))


if __name__ == "__main__":
    asyncio.run(main(Location.parse(sys.argv[1]), Location.parse(sys.argv[2]), int(sys.argv[3])))
