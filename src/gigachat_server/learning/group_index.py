"""The groups of each chatbot's unanswered prompts, kept between requests: only what changed since is read and compared.

Idea: a short query tells whether anything changed. If so, prompts that came later are added to their groups, and groups that
were settled whole go; anything else has the groups computed again. Each of these steps runs in a thread and takes prompts in
batches, so it holds up no other request, and two that ask for the same groups at once share the work.

Invariant: nothing that a prompt says is answered from here: who shows one reads it from the store.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence

import msgspec
import numpy as np

from gigachat_server.learning.similar import Grouping, PromptVector
from gigachat_server.models.base import Embedder
from gigachat_server.records import UnansweredPrompt, UnansweredState
from gigachat_server.store import unanswered
from gigachat_server.store.database import Database, Reader
from gigachat_server.store.unanswered import Place, Version

MOST_GROUPED = 10_000  # of the newest prompts
_BATCH = 500
_MOST_KEPT = 16  # chatbots and states


class GroupOutline(msgspec.Struct, frozen=True):
    """Which prompts are a group, oldest first."""

    ids: list[str]
    newest_at: int

    @property
    def id(self) -> str:
        return self.ids[0]

    @property
    def place(self) -> tuple[int, str]:
        """In the order of groups, by their newest prompts."""
        return self.newest_at, self.id


class _KeptGroups:
    """The groups of one chatbot's prompts in one state, as of `version`."""

    def __init__(self) -> None:
        self.busy = asyncio.Lock()
        self.version: Version | None = None
        self.outlines: list[GroupOutline] = []
        self.grouping: Grouping | None = None
        self.places: list[Place] = []


class GroupIndex:
    def __init__(self, database: Database, embedder: Embedder) -> None:
        self._database = database
        self._embedder = embedder
        self._kept: OrderedDict[tuple[str, UnansweredState], _KeptGroups] = OrderedDict()

    async def outlines(self, chatbot_id: str, state: UnansweredState) -> list[GroupOutline]:
        """The groups of the newest 10,000 prompts in that state, the one with the newest prompt last."""
        kept = self._kept.setdefault((chatbot_id, state), _KeptGroups())
        self._kept.move_to_end((chatbot_id, state))
        while len(self._kept) > _MOST_KEPT:
            self._kept.popitem(last=False)
        async with kept.busy:

            async def read_version(reader: Reader) -> Version:
                return await unanswered.get_version(reader, chatbot_id, state)

            version = await self._database.read(read_version)
            if version != kept.version:
                kept.version = None  # if this is cut off, the next one to ask goes on from whatever was reached
                await self._bring_up(kept, chatbot_id, state)
                kept.version = version
            return kept.outlines

    async def _bring_up(self, kept: _KeptGroups, chatbot_id: str, state: UnansweredState) -> None:
        async def read(reader: Reader) -> list[Place]:
            return await unanswered.list_places(reader, chatbot_id, state, limit=MOST_GROUPED)

        places = (await self._database.read(read))[::-1]
        added = await asyncio.to_thread(_prepare, kept, places)
        if kept.grouping is None:
            kept.grouping = Grouping(least_cosine=self._embedder.scale.similar_prompt)
            kept.places, added = [], places
        for start in range(0, len(added), _BATCH):
            batch = added[start : start + _BATCH]
            rows = await self._rows(chatbot_id, [place.prompt_id for place in batch])
            await asyncio.to_thread(kept.grouping.add, rows)
            kept.places += batch
        kept.outlines = await asyncio.to_thread(_outlined, kept.grouping, places)

    async def _rows(self, chatbot_id: str, prompt_ids: Sequence[str]) -> list[PromptVector]:
        async def read(reader: Reader) -> list[UnansweredPrompt]:
            return await unanswered.list_of_prompts(reader, chatbot_id, prompt_ids)

        by_id = {row.prompt_id: row for row in await self._database.read(read)}
        return [vector_of(by_id[each], self._embedder.name) for each in prompt_ids if each in by_id]


def _prepare(kept: _KeptGroups, places: Sequence[Place]) -> list[Place]:
    """What is to be added to the groups that are kept, those that went taken out. None are kept that do not serve any more."""
    is_there = {place.prompt_id for place in places}
    gone = {place.prompt_id for place in kept.places} - is_there
    if kept.grouping is None or (gone and not kept.grouping.remove(gone)):
        kept.grouping = None
        return []
    kept.places = [place for place in kept.places if place.prompt_id not in gone]
    known = {place.prompt_id for place in kept.places}
    added = [place for place in places if place.prompt_id not in known]
    if added and kept.places and added[0] < kept.places[-1]:
        kept.grouping = None  # one that was settled is open again, and maybe leads others
    return added


def _outlined(grouping: Grouping, places: Sequence[Place]) -> list[GroupOutline]:
    created_at = {place.prompt_id: place.created_at for place in places}
    groups = ([member.id for member in members] for members in grouping.groups)
    outlines = [GroupOutline(ids, created_at[ids[-1]]) for ids in groups]
    return sorted(outlines, key=lambda each: each.place)


def vector_of(row: UnansweredPrompt, embedding_model: str) -> PromptVector:
    """As it is compared: vectors of other models do not count."""
    is_ours = row.embedding is not None and row.embedding_model == embedding_model
    return PromptVector(row.prompt_id, row.content, np.frombuffer(row.embedding, "<f4") if is_ours and row.embedding else None)
