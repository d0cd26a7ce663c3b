"""How much of large answers may wait in memory for callers to read it: for each of them, and for all together.

Idea: nobody is kept waiting for those who do not read. Where there is too much, of whoever has most of it the connection
is cut that has moved least recently; a caller who reads at all moves.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class WaitingAnswer:
    """One answer that its reader has not taken to its end."""

    def __init__(self, owner: int, size: int, cut_off: Callable[[], None], own: OrderedDict[int, WaitingAnswer]) -> None:
        self.owner = owner
        self.size = size
        self.cut_off = cut_off
        self._own = own

    def has_moved(self) -> None:
        if id(self) in self._own:
            self._own.move_to_end(id(self))


class UnreadAnswers:
    """`most_bytes` in all, and half of that for one owner; but any answer may wait alone."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._of: defaultdict[int, OrderedDict[int, WaitingAnswer]] = defaultdict(OrderedDict)
        self._bytes_of: defaultdict[int, int] = defaultdict(int)
        self.bytes = 0

    @contextmanager
    def waiting(self, owner: int, size: int, cut_off: Callable[[], None]) -> Iterator[WaitingAnswer]:
        """An answer of that size is being written. `cut_off` ends its connection."""
        own = self._of[owner]
        answer = WaitingAnswer(owner, size, cut_off, own)
        own[id(answer)] = answer
        self._count(owner, size)
        try:
            self._make_room(owner)
            yield answer
        finally:
            self._forget(answer)

    def _make_room(self, owner: int) -> None:
        while self._bytes_of[owner] > self._most_bytes // 2 and len(self._of[owner]) > 1:
            self._cut_one_of(owner)
        while self.bytes > self._most_bytes and sum(map(len, self._of.values())) > 1:
            self._cut_one_of(max(self._bytes_of, key=self._bytes_of.__getitem__))

    def _cut_one_of(self, owner: int) -> None:
        stuck = next(iter(self._of[owner].values()))
        self._forget(stuck)
        stuck.cut_off()

    def _forget(self, answer: WaitingAnswer) -> None:
        own = self._of.get(answer.owner)
        if own is None or own.pop(id(answer), None) is None:
            return  # its connection was cut
        self._count(answer.owner, -answer.size)
        if not own:
            del self._of[answer.owner], self._bytes_of[answer.owner]

    def _count(self, owner: int, size: int) -> None:
        self._bytes_of[owner] += size
        self.bytes += size
