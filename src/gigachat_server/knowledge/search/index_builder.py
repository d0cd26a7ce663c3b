"""Gives big chatbots the indexes that the store searches them by, in the background, and takes them away again.

Idea: what there should be is worked out from the documents, and compared with what there is: an index that is missing, half
made or useless is built or dropped, one after the other, by one node at a time. No search waits: until a chatbot has its
index, its nearest chunks are found exactly, and later.

Invariant: a look that ends well leaves what should be; one that is cut off anywhere leaves what the next one mends.
"""

from __future__ import annotations

import asyncio
import logging

import msgspec

from gigachat_server.store import chunk_indexes
from gigachat_server.store.chunk_indexes import Big
from gigachat_server.store.database import Database, Reader, Statements
from gigachat_server.work.background import Background
from gigachat_server.work.pace import Backoff

_LOOK_EVERY_S = 30.0
_BACKOFF = Backoff(first_s=30.0, longest_s=600.0)  # building one may take long, and search waits for none

_log = logging.getLogger("gigachat.knowledge")


class _Plan(msgspec.Struct, frozen=True):
    drop: list[str]
    create: list[Big]

    def __bool__(self) -> bool:
        return bool(self.drop or self.create)


class IndexBuilder:
    """Keeps the indexes of chatbots of `least` chunks and more; one that shrinks keeps its own down to half of that."""

    def __init__(self, database: Database, *, least: int, background: Background) -> None:
        self._database = database
        self._least = least
        self._looking = background.loop("index-builder", self.look, every_s=_LOOK_EVERY_S, backoff=_BACKOFF)

    def start(self) -> None:
        self._looking.start()

    async def aclose(self) -> None:
        await self._looking.aclose()

    async def look(self) -> None:
        """Every big chatbot has its index and no other has one, unless another node is about it."""
        if await self._database.read(self._plan):
            await self._database.apart(self._see_to_it)

    async def _plan(self, reader: Reader) -> _Plan:
        existing = await chunk_indexes.list_existing(reader)
        big = await chunk_indexes.list_big(reader, least=max(self._least // 2, 1))
        useful = {each.index for each in big}
        one_each = {each.index: each for each in big}.values()  # vectors of several models may be of one length
        return _Plan(
            drop=[index for index, is_valid in existing.items() if not is_valid or index not in useful],
            create=[each for each in one_each if each.chunks >= self._least and not existing.get(each.index, False)],
        )

    async def _see_to_it(self, statements: Statements) -> None:
        if not await chunk_indexes.lock(statements):
            return
        plan = await self._plan(statements)  # only now nobody else changes what there is
        for index in plan.drop:
            await chunk_indexes.drop(statements, index)
        failures: list[BaseException | None] = []
        for big in plan.create:  # one that cannot be made must not keep the others from theirs
            _log.info("chatbot %s has %d chunks and gets an index", big.chatbot_id, big.chunks)
            failures += await asyncio.gather(chunk_indexes.create(statements, big), return_exceptions=True)
        for failure in failures:
            if failure is not None:
                raise failure
