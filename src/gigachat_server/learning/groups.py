"""What operators make of unanswered prompts: groups of those that ask the same, answered once for all of them.

Idea: rows are per prompt, groups are worked out when they are asked for, and kept (`group_index.py`). A group is called by its
first prompt, which stays its first for as long as it is open. Invariant: what is made of a group and that its prompts are
settled is one transaction, so of two operators who answer it at once one is told that it is done.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Sequence

import msgspec

from gigachat_server.clock import Clock
from gigachat_server.errors import Conflict, NotFound
from gigachat_server.knowledge.documents.ingest import Ingest
from gigachat_server.language.words import normalised
from gigachat_server.learning.fixed_answers import FixedAnswers
from gigachat_server.learning.group_index import GroupIndex, GroupOutline
from gigachat_server.models.base import Embedder
from gigachat_server.records import Chatbot, Document, FixedAnswer, UnansweredPrompt, UnansweredState
from gigachat_server.store import idempotency, unanswered
from gigachat_server.store.database import Database, Reader, Tx
from gigachat_server.store.unanswered import Suggestion

MOST_PROMPTS = 50  # of a fixed answer
MOST_SHOWN = 20  # of a group's newest prompts; what operators said to them is suggested
_BATCH = 500
_LONGEST_NAME = 200


class UnansweredSettled(Conflict):
    code = "unanswered_settled"
    message = "This was answered or dismissed before."


class Group(msgspec.Struct, frozen=True):
    """Unanswered prompts that ask much the same: its first one, and its newest ones, oldest first."""

    ids: list[str]
    first: UnansweredPrompt
    newest: list[UnansweredPrompt]

    @property
    def id(self) -> str:
        return self.ids[0]


class GroupPage(msgspec.Struct, frozen=True):
    """Groups, the one with the newest prompt first; `last` is the place of the last one if more follow."""

    groups: list[Group]
    last: tuple[int, str] | None


class GroupOutcome(msgspec.Struct, frozen=True):
    """What became of a group: how many prompts it was, and what was made of it."""

    id: str
    state: UnansweredState
    count: int
    fixed_answer: FixedAnswer | None = None
    document: Document | None = None


class Learning:
    """Groups what went unanswered, and settles it. With a key, what became of a group is kept under it."""

    def __init__(
        self, database: Database, *, embedder: Embedder, fixed_answers: FixedAnswers, ingest: Ingest, clock: Clock
    ) -> None:
        self._database = database
        self._index = GroupIndex(database, embedder)
        self._fixed_answers = fixed_answers
        self._ingest = ingest
        self._clock = clock

    async def page(self, chatbot_id: str, state: UnansweredState, *, before: tuple[int, str] | None, limit: int) -> GroupPage:
        """Of the groups of the newest 10,000 prompts in that state."""
        outlines = await self._index.outlines(chatbot_id, state)
        end = len(outlines) if before is None else bisect_left(outlines, before, key=_place_of)
        start = max(end - limit, 0)
        chosen = outlines[start:end][::-1]
        return GroupPage(await self._shown(chatbot_id, chosen), chosen[-1].place if start else None)

    async def _shown(self, chatbot_id: str, outlines: Sequence[GroupOutline]) -> list[Group]:
        """With what their prompts say; without those that were deleted meanwhile."""
        shown = [list(dict.fromkeys((each.ids[0], *each.ids[-MOST_SHOWN:]))) for each in outlines]
        by_id = {row.prompt_id: row for row in await self._rows(chatbot_id, [each for ids in shown for each in ids])}
        groups = []
        for outline, ids in zip(outlines, shown, strict=True):
            rows = [by_id[each] for each in ids if each in by_id]
            if rows:
                groups.append(Group(outline.ids, rows[0], rows[-MOST_SHOWN:]))
        return groups

    async def _rows(self, chatbot_id: str, prompt_ids: Sequence[str]) -> list[UnansweredPrompt]:
        """In no more than a batch at once, since each is a prompt of up to 32,000 characters."""
        found: list[UnansweredPrompt] = []
        for start in range(0, len(prompt_ids), _BATCH):
            batch = prompt_ids[start : start + _BATCH]

            async def read(reader: Reader, batch: Sequence[str] = batch) -> list[UnansweredPrompt]:
                return await unanswered.list_of_prompts(reader, chatbot_id, batch)

            found += await self._database.read(read)
        return found

    async def suggestions(self, chatbot_id: str, groups: Sequence[Group]) -> dict[str, Suggestion]:
        """What an operator said to the newest prompt of a group that one said anything to, by the group's id."""
        wanted = [row.prompt_id for each in groups for row in each.newest]
        if not wanted:
            return {}

        async def read(reader: Reader) -> list[Suggestion]:
            return await unanswered.list_suggestions(reader, chatbot_id, wanted)

        by_prompt = {suggestion.prompt_id: suggestion for suggestion in await self._database.read(read)}
        found = {}
        for each in groups:
            said = [by_prompt[row.prompt_id] for row in each.newest if row.prompt_id in by_prompt]
            if said:
                found[each.id] = said[-1]
        return found

    async def dismiss(self, chatbot: Chatbot, prompt_id: str, *, key: idempotency.Key | None) -> GroupOutcome:
        """Take the group that this prompt is in off the list. Raises `NotFound`, `UnansweredSettled`."""
        found = await self._open_group(chatbot.id, prompt_id)

        async def body(tx: Tx) -> GroupOutcome:
            return await self._settle(tx, found, key, "dismissed")

        return await self._database.transaction("unanswered.dismiss", body)

    async def answer(
        self, chatbot: Chatbot, prompt_id: str, answer: str, *, prompts: Sequence[str], key: idempotency.Key | None
    ) -> GroupOutcome:
        """Have a fixed answer to this prompt's group; to these wordings instead of the group's, if there are any.

        Raises `NotFound`, `UnansweredSettled`, `TooManyFixedAnswers`.
        """
        found = await self._open_group(chatbot.id, prompt_id)
        settled: list[GroupOutcome] = []

        async def settle(tx: Tx, made: FixedAnswer) -> None:
            settled[:] = [await self._settle(tx, found, key, "answered", fixed_answer=made)]

        wordings = prompts or await self._wordings(chatbot.id, found)
        await self._fixed_answers.put(chatbot, None, prompts=wordings, answer=answer, is_enabled=True, besides=settle)
        return settled[0]

    async def answer_by_document(
        self, chatbot: Chatbot, prompt_id: str, answer: str, *, name: str | None, key: idempotency.Key | None
    ) -> GroupOutcome:
        """Have a document with the question and its answer. Raises `NotFound`, `UnansweredSettled`."""
        found = await self._open_group(chatbot.id, prompt_id)
        asked = found.first.content
        settled: list[GroupOutcome] = []

        async def settle(tx: Tx, document: Document) -> None:
            settled[:] = [await self._settle(tx, found, key, "answered", document=document)]

        await self._ingest.push(chatbot, name or document_name(asked), f"{asked.strip()}\n\n{answer}", besides=settle)
        return settled[0]

    async def _open_group(self, chatbot_id: str, prompt_id: str) -> Group:
        async def read(reader: Reader) -> UnansweredPrompt | None:
            return await unanswered.find(reader, chatbot_id, prompt_id)

        row = await self._database.read(read)
        if row is None:
            raise NotFound
        outlines = await self._index.outlines(chatbot_id, "open")
        outline = next((each for each in outlines if prompt_id in each.ids), None)
        groups = [] if outline is None else await self._shown(chatbot_id, [outline])
        # One that is in no group is older than those that are; or settled, which is what comes of settling it again.
        return groups[0] if groups else Group([prompt_id], row, [row])

    async def _wordings(self, chatbot_id: str, found: Group) -> list[str]:
        """What its prompts say, as a fixed answer takes it."""
        texts = [row.content for row in await self._rows(chatbot_id, found.ids)]
        return await asyncio.to_thread(wordings, texts)

    async def _settle(
        self,
        tx: Tx,
        found: Group,
        key: idempotency.Key | None,
        state: UnansweredState,
        *,
        fixed_answer: FixedAnswer | None = None,
        document: Document | None = None,
    ) -> GroupOutcome:
        made = fixed_answer or document
        count = await unanswered.settle(
            tx,
            found.first.chatbot_id,
            found.ids,
            state,
            answered_by=None if made is None else made.id,
            at=self._clock(),
        )
        settled = GroupOutcome(found.id, state, count, fixed_answer, document)
        # First: the same request may have done it, and is then told what it did.
        await idempotency.keep_result(tx, key, settled, now_us=self._clock())
        if not count:
            raise UnansweredSettled
        return settled


def wordings(texts: Sequence[str]) -> list[str]:
    """Of texts, oldest first, each wording once, as many as a fixed answer takes. Pure."""
    return list({normalised(text): text for text in reversed(texts)}.values())[::-1][:MOST_PROMPTS]


def _place_of(outline: GroupOutline) -> tuple[int, str]:
    return outline.place


def document_name(asked: str) -> str:
    """What a document is called that answers this: answering it again replaces it."""
    return f"Answer: {' '.join(asked.split())}"[:_LONGEST_NAME]
