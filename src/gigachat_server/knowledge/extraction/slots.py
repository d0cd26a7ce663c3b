"""A limit on concurrent work, shared fairly between groups that take turns.

Invariant: at most `total` slots are taken, at most `most_each` of them by one group; a free slot goes to the longest waiting
caller of the group that has the fewest, among the groups below their limit.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class FairSlots:
    def __init__(self, total: int, *, most_each: int) -> None:
        self._free = total
        self._most_each = most_each
        self._taken: Counter[str] = Counter()
        self._waiting: list[tuple[str, asyncio.Future[None]]] = []

    @asynccontextmanager
    async def one(self, group: str) -> AsyncIterator[None]:
        """A place, for as long as the context lasts."""
        await self._take(group)
        try:
            yield
        finally:
            self._give_back(group)

    async def _take(self, group: str) -> None:
        if self._free and self._taken[group] < self._most_each:
            self._free -= 1
            self._taken[group] += 1
            return
        given = asyncio.get_running_loop().create_future()
        entry = (group, given)
        self._waiting.append(entry)
        try:
            await given
        except asyncio.CancelledError:
            if given.done() and not given.cancelled():
                self._give_back(group)  # it was given just then
            else:
                self._waiting.remove(entry)
            raise

    def _give_back(self, group: str) -> None:
        self._free += 1
        self._taken[group] -= 1
        if not self._taken[group]:
            del self._taken[group]
        while self._free:
            may = [entry for entry in self._waiting if self._taken[entry[0]] < self._most_each and not entry[1].done()]
            if not may:
                return
            chosen = min(may, key=lambda entry: self._taken[entry[0]])
            self._waiting.remove(chosen)
            self._free -= 1
            self._taken[chosen[0]] += 1
            chosen[1].set_result(None)
