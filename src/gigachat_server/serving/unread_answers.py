"""How much of large answers may wait in memory for callers to read it: for each of them, and for all together.

Idea: slow readers keep no other caller waiting. Where there is too much, the connections that stand still are cut,
those of the caller with most first. If none does, an answer that can wait is written later; for one that cannot, the connection
is cut that moved least recently.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

_STILL_S = 1.0  # so long nothing moved
_LOOK_AGAIN_S = 0.1


class WaitingAnswer:
    """One answer that its reader has not taken to its end."""

    def __init__(self, owner: int, size: int, cut_off: Callable[[], None]) -> None:
        self.owner = owner
        self.size = size
        self.cut_off = cut_off
        self.moved_at = asyncio.get_running_loop().time()


class UnreadAnswers:
    """`most_bytes` in all, and half of that for one owner; but any answer may wait alone."""

    def __init__(self, most_bytes: int, *, when_all_are_read: Callable[[], None] = lambda: None) -> None:
        self._most_bytes = most_bytes
        self._when_all_are_read = when_all_are_read
        self._of: defaultdict[int, OrderedDict[int, WaitingAnswer]] = defaultdict(OrderedDict)  # who moved last comes last
        self._bytes_of: defaultdict[int, int] = defaultdict(int)
        self.bytes = 0

    @asynccontextmanager
    async def waiting(
        self, owner: int, size: int, cut_off: Callable[[], None], *, can_wait: bool = False
    ) -> AsyncIterator[WaitingAnswer]:
        """An answer of that size is being written, once there is room. `cut_off` ends its connection."""
        while (crowded := self._crowded(owner, size)) is not None:
            if not self._cut_one_of(crowded, only_if_still=can_wait):
                await asyncio.sleep(_LOOK_AGAIN_S)
        answer = WaitingAnswer(owner, size, cut_off)
        self._of[owner][id(answer)] = answer
        self._count(owner, size)
        try:
            yield answer
        finally:
            self._forget(answer)

    def has_moved(self, answer: WaitingAnswer) -> None:
        answer.moved_at = asyncio.get_running_loop().time()
        if (own := self._of.get(answer.owner)) is not None and id(answer) in own:
            own.move_to_end(id(answer))

    def _crowded(self, owner: int, size: int) -> list[int] | None:
        """The caller who must give up an answer to make room, the one with most first; None: there is room."""
        own_bytes = self._bytes_of.get(owner, 0)
        if own_bytes and own_bytes + size > self._most_bytes // 2:
            return [owner]
        if self.bytes and self.bytes + size > self._most_bytes:
            return sorted(self._bytes_of, key=self._bytes_of.__getitem__, reverse=True)
        return None

    def _cut_one_of(self, owners: list[int], *, only_if_still: bool) -> bool:
        since = asyncio.get_running_loop().time() - _STILL_S
        oldest = [next(iter(self._of[owner].values())) for owner in owners]
        still = next((answer for answer in oldest if answer.moved_at <= since), None)
        if still is None and only_if_still:
            return False
        cut = still or oldest[0]
        self._forget(cut)
        cut.cut_off()
        return True

    def _forget(self, answer: WaitingAnswer) -> None:
        own = self._of.get(answer.owner)
        if own is None or own.pop(id(answer), None) is None:
            return  # its connection was cut
        self._count(answer.owner, -answer.size)
        if not own:
            del self._of[answer.owner], self._bytes_of[answer.owner]
        if not self._of:
            self._when_all_are_read()

    def _count(self, owner: int, size: int) -> None:
        self._bytes_of[owner] += size
        self.bytes += size
