"""How many streams of events end users hold open, on this node: a tab that is forgotten must not keep everyone else out.

Invariant: a stream counts from the moment it is allowed until it is closed, or dropped without ever being read.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeVar

from gigachat_server.access.principal import Principal
from gigachat_server.errors import RateLimited
from gigachat_server.records import Chatbot

T = TypeVar("T")

MOST_OF_USER = 4
MOST_OF_ADDRESS = 20
POLICY = "streams"
_RETRY_S = 5


class Streams:
    """Counts them, by user and by address."""

    def __init__(self) -> None:
        self._open: Counter[tuple[str, ...]] = Counter()

    def counted(self, principal: Principal, chatbot: Chatbot, stream: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
        """The same stream, which counts until it ends. Raises `RateLimited`."""
        user, address = (chatbot.id, principal.user_id or ""), (principal.address or "",)
        if self._open[user] >= MOST_OF_USER or self._open[address] >= MOST_OF_ADDRESS:
            raise RateLimited("Too many streams are open: close one first.", retry_after_s=_RETRY_S, violated=(POLICY,))
        self._open.update((user, address))
        place = _Place(self._open, (user, address))
        counted = _passed_on(stream, place)
        weakref.finalize(counted, place.leave)  # one that is never begun is never closed either
        return counted


class _Place:
    """One stream's, until it is left."""

    def __init__(self, taken: Counter[tuple[str, ...]], subjects: tuple[tuple[str, ...], ...]) -> None:
        self._taken = taken
        self._subjects = subjects

    def leave(self) -> None:
        subjects, self._subjects = self._subjects, ()
        for subject in subjects:
            self._taken[subject] -= 1
            if not self._taken[subject]:
                del self._taken[subject]


async def _passed_on(stream: AsyncGenerator[T, None], place: _Place) -> AsyncGenerator[T, None]:
    try:
        async with aclosing(stream):
            async for each in stream:
                yield each
    finally:
        place.leave()
