"""A reply in the making, block by block: what of it is complete is shown as it will be, while the rest is still being said.

Invariant: a block ends at an empty line outside of code, and is rendered once; so a reply of any length costs as much as it is
long. What is shown is provisional: the stored reply replaces it.
"""

from __future__ import annotations

import asyncio
import re

import msgspec

from gigachat_server.api import sse

_FENCE = re.compile(r"^ {0,3}(?:```|~~~)", re.MULTILINE)
_LONGEST = 20_000  # beyond which a reply stays plain until it is stored


class Block(msgspec.Struct, frozen=True):
    """Characters `start` to `end` of the reply."""

    message_id: str
    start: int
    end: int
    text: str


class Blocks:
    """Of the replies that one follower hears."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[str, int]] = {}  # what is not in a block yet, and where it starts

    def hear(self, message_id: str, offset: int, text: str) -> Block | None:
        """The block that these words complete, if they do."""
        if offset == 0:
            self._said[message_id] = ("", 0)
        pending, start = self._said.get(message_id, ("", 0))
        if message_id not in self._said or start + len(pending) != offset or offset > _LONGEST:
            self._said.pop(message_id, None)  # its beginning was said elsewhere
            return None
        pending += text
        end = _complete(pending)
        self._said[message_id] = (pending[end:], start + end)
        return Block(message_id, start, start + end, pending[:end]) if end and pending[:end].strip() else None

    def forget(self, message_id: str) -> None:
        self._said.pop(message_id, None)


def _complete(text: str) -> int:
    """How much of it no further word can change."""
    end = text.rfind("\n\n")
    while end >= 0:
        if len(_FENCE.findall(text[:end])) % 2 == 0:
            return end + 2
        end = text.rfind("\n\n", 0, end)
    return 0


async def block_event(block: Block) -> bytes:
    """As followers get it: without a place, since it tells nothing that the words before it have not."""
    html = await asyncio.to_thread(_rendered, block.text)
    return sse.event("block", {"message_id": block.message_id, "start": block.start, "end": block.end, "html": html})


def _rendered(text: str) -> str:
    from gigachat_server.pages.markdown import markdown  # which takes a while to import

    return str(markdown(text))
