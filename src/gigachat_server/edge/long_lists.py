"""Lists that may be long: few are made at once, not all of them for one account, and none in one go.

Idea: what waits its turn holds nothing yet. A turn is over once the server has room for the list among those that wait to be
read, however long that takes; at most half of the turns are one account's, so its requests wait behind each other alone.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gigachat_server.edge.answer import Answer, render
from gigachat_server.edge.moments import moment

ADMITTED = "gigachat.admitted"  # of the servers that keep a large body waiting: a message names what to call when it is not
_MOST_AT_ONCE = 4

_encode = msgspec.json.Encoder().encode


class LongLists:
    """The turns of all accounts."""

    def __init__(self, most: int = _MOST_AT_ONCE) -> None:
        self._all = asyncio.Semaphore(most)
        self._most_of_one = max(1, most // 2)
        self._own: dict[str, asyncio.Semaphore] = {}
        self._users: Counter[str] = Counter()

    async def answered(self, account_id: str, handler: Callable[[], Awaitable[Answer | Response]]) -> Response:
        """What the handler answers. An iterator as its body is an array whose items are made one by one."""
        turn = await self._turn(account_id)
        try:
            answer = await handler()
            if isinstance(answer, Answer) and isinstance(answer.body, Iterator):
                content = await _array(answer.body)
                return _LongList(content, answer.status, answer.headers, turn)
        except BaseException:
            turn.end()
            raise
        turn.end()
        return render(answer) if isinstance(answer, Answer) else answer

    async def _turn(self, account_id: str) -> _Turn:
        own = self._own.setdefault(account_id, asyncio.Semaphore(self._most_of_one))
        self._users[account_id] += 1
        ends: list[Callable[[], None]] = [functools.partial(self._leave, account_id)]
        try:
            for semaphore in (own, self._all):
                await semaphore.acquire()
                ends.append(semaphore.release)
        except BaseException:
            _Turn(ends).end()
            raise
        return _Turn(ends)

    def _leave(self, account_id: str) -> None:
        self._users[account_id] -= 1
        if not self._users[account_id]:
            del self._users[account_id], self._own[account_id]


class _Turn:
    """A caller's turn, until it is ended; ending it again changes nothing."""

    def __init__(self, ends: list[Callable[[], None]]) -> None:
        self._ends = ends

    def end(self) -> None:
        while self._ends:
            self._ends.pop()()


class _LongList(Response):
    """Holds its turn until there is room for it."""

    def __init__(self, content: bytes, status: int, headers: Mapping[str, str], turn: _Turn) -> None:
        super().__init__(content, status, headers, "application/json")
        self._turn = turn

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": self.body, ADMITTED: self._turn.end})
        finally:
            self._turn.end()


async def _array(made: Iterator[object]) -> bytes:
    items: list[bytes] = []
    is_more = True
    while is_more:
        async with moment() as until:
            for item in made:
                items.append(_encode(item))
                if time.perf_counter() > until:
                    break
            else:
                is_more = False
    return b"[" + b",".join(items) + b"]"
