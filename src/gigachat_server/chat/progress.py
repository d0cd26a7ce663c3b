"""A turn as those who wait for it see it: what has been said so far, and how it ended.

Idea: a watcher is a cursor over the pieces that the model has said, so any number may watch, each at its own pace, from the
first character. Invariant: nothing is buffered for a slow reader, who gets the same text in longer pieces; and every
watcher ends, because every turn does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import msgspec

from gigachat_server.errors import GigachatError
from gigachat_server.models.base import TextDelta
from gigachat_server.records import Chunk, Message

_LONGEST_PIECE = 64 * 1024  # characters: what a reader who stopped reading holds in memory


class Said(msgspec.Struct, frozen=True):
    """A piece of reply `alternative`, as it came from the model; `offset` counts characters before it."""

    alternative: int
    offset: int
    text: str


class Stored(msgspec.Struct, frozen=True):
    """The messages a turn ended with, newest, and the chunks behind their sources, whose vectors the wire form shows."""

    messages: list[Message]
    chunks: tuple[Chunk, ...] = ()


class Turn:
    """One prompt on its way to its replies."""

    def __init__(self, prompt: Message, message_ids: list[str]) -> None:
        self.prompt = prompt
        self.message_ids = message_ids
        self.has_partial_reply = False
        self._said: list[Said] = []
        self._lengths = [0] * len(message_ids)
        self._watchers: set[asyncio.Event] = set()
        self._ended: asyncio.Future[Stored] = asyncio.get_running_loop().create_future()
        # Nobody need be there to see a failure: it is in the store.
        self._ended.add_done_callback(lambda ended: ended.cancelled() or ended.exception())

    async def result(self) -> Stored:
        """The stored replies. Raises the `GigachatError` that the turn ended with. May be awaited by many."""
        return await asyncio.shield(self._ended)

    async def watch(self, *, idle_s: float) -> AsyncGenerator[Said | None, None]:
        """All that is said, from the first character, until the turn ends; None whenever nothing was for `idle_s`.

        A slow reader gets it in longer pieces; nothing is buffered for it.
        """
        changed = asyncio.Event()
        self._watchers.add(changed)
        seen = 0
        try:
            while True:
                while seen < len(self._said):
                    piece, seen = self._joined(seen)
                    yield piece
                if self._ended.done():
                    return
                changed.clear()
                try:
                    async with asyncio.timeout(idle_s):
                        await changed.wait()
                except TimeoutError:
                    yield None
        finally:
            self._watchers.discard(changed)

    def text(self, alternative: int) -> str:
        """What has been said so far."""
        return "".join(piece.text for piece in self._said if piece.alternative == alternative)

    def say(self, delta: TextDelta) -> None:
        self._said.append(Said(delta.index, self._lengths[delta.index], delta.text))
        self._lengths[delta.index] += len(delta.text)
        self._wake_watchers()

    def end(self, stored: Stored | GigachatError) -> None:
        if isinstance(stored, GigachatError):
            self._ended.set_exception(stored)
        else:
            self._ended.set_result(stored)
        self._wake_watchers()

    def _joined(self, first: int) -> tuple[Said, int]:
        """What follows without a change of alternative, in one piece of bounded length, and where the next one starts."""
        start = self._said[first]
        last = first + 1
        length = len(start.text)
        while last < len(self._said) and self._said[last].alternative == start.alternative and length < _LONGEST_PIECE:
            length += len(self._said[last].text)
            last += 1
        if last == first + 1:
            return start, last
        text = "".join(piece.text for piece in self._said[first:last])
        return Said(start.alternative, start.offset, text), last

    def _wake_watchers(self) -> None:
        for watcher in self._watchers:
            watcher.set()
