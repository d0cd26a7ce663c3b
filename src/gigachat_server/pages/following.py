"""A page or a frame that follows one conversation: replies word by word and block by block, and the rest as changes.

Invariant: what the follower may not see any more is not told; the stream then ends with `gone`, and after any other trouble
without a word, so that the follower comes again from where it is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from gigachat_server.api import sse
from gigachat_server.chat.feed import FeedDelta, FeedEvent, FeedTyping
from gigachat_server.edge.problem import problem
from gigachat_server.edge.request import Request
from gigachat_server.errors import GigachatError
from gigachat_server.pages.blocks import Blocks, block_event
from gigachat_server.records import Message


class Following(ABC):
    """One follower; what a change looks like to it, its subclass says."""

    def __init__(self, request: Request[Any]) -> None:
        self._followed_by = request
        self._blocks = Blocks()

    @abstractmethod
    async def changed(self, happened: FeedEvent, named: Sequence[Message]) -> dict[str, Any] | None:
        """What is told of an event and of the messages that it names, as they are now; None: nothing."""

    def typing(self, names: Sequence[str]) -> bytes | None:
        """What is told of those who write; None: nothing."""
        return None

    async def pieces(
        self, followed: AsyncGenerator[FeedEvent | FeedDelta | FeedTyping | None, None]
    ) -> AsyncGenerator[bytes, None]:
        """Ends with `gone` once the conversation may not be seen any more, or was deleted."""
        request, admission = self._followed_by, sse.Admission(self._followed_by)
        yield sse.PING
        try:
            async with aclosing(followed):
                async for each in followed:
                    await admission.check(is_fact=isinstance(each, FeedEvent))
                    match each:
                        case None:
                            yield sse.PING
                        case FeedDelta():
                            yield sse.delta(each.said, each.seq)
                            if (block := self._blocks.hear(each.said.message_id, each.said.offset, each.said.text)) is not None:
                                yield await block_event(block)
                        case FeedTyping():
                            if (told := self.typing(each.names)) is not None:
                                yield told
                        case FeedEvent():
                            if (change := await self._change(each)) is not None:
                                yield change
        except GigachatError as error:
            if error.status not in (401, 403, 404):
                return
            told_of = problem(error, instance=request.path, request_id=request.request_id, root=request.root)
            yield sse.event("gone", told_of)

    async def _change(self, happened: FeedEvent) -> bytes | None:
        event = happened.event
        named = [message for message in (happened.prompt, happened.message) if message is not None]
        for message in named:
            self._blocks.forget(message.id)
        changed = await self.changed(happened, named)
        if changed is None:
            return None
        changed["is_stale"] = event.type == "messages.deleted"  # what is gone is still shown
        return sse.event("change", changed, place=sse.event_id(event.seq, happened.position))
