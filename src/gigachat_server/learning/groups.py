"""What operators make of unanswered prompts: groups of those that ask the same, answered once for all of them.

Idea: rows are per prompt, groups are worked out when they are asked for. A group is called by its first prompt, which stays its
first for as long as it is open. Invariant: what is made of a group and that its prompts are settled is one transaction, so of two
operators who answer it at once one is told that it is done.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Sequence

import msgspec
import numpy as np

from gigachat_server.clock import Clock
from gigachat_server.errors import Conflict, NotFound
from gigachat_server.knowledge.documents.ingest import Ingest
from gigachat_server.language.words import normalised
from gigachat_server.learning.fixed_answers import FixedAnswers
from gigachat_server.learning.similar import PromptVector, group
from gigachat_server.models.base import Embedder
from gigachat_server.records import Chatbot, Document, FixedAnswer, UnansweredPrompt, UnansweredState
from gigachat_server.store import idempotency, unanswered
from gigachat_server.store.database import Database, Reader, Tx
from gigachat_server.store.unanswered import Suggestion

MOST_GROUPED = 10_000  # of the newest prompts
MOST_PROMPTS = 50  # of a fixed answer
_INLINE = 200, 20_000  # grouping fewer prompts and characters takes a few milliseconds, and no thread
_SUGGESTED_FOR = 20  # of a group's newest prompts, what operators said to them is looked at
_LONGEST_NAME = 200


class UnansweredSettled(Conflict):
    code = "unanswered_settled"
    message = "This was answered or dismissed before."


class Group(msgspec.Struct, frozen=True):
    """Unanswered prompts that ask much the same, oldest first."""

    prompts: list[UnansweredPrompt]

    @property
    def id(self) -> str:
        return self.prompts[0].prompt_id

    @property
    def place(self) -> tuple[int, str]:
        """In the list of groups, of which the one with the newest prompt comes first."""
        return self.prompts[-1].created_at, self.id

    @property
    def wordings(self) -> list[str]:
        """What they say, each once, as many as a fixed answer takes."""
        return list({normalised(each.content): each.content for each in reversed(self.prompts)}.values())[::-1][:MOST_PROMPTS]


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
        self._embedder = embedder
        self._fixed_answers = fixed_answers
        self._ingest = ingest
        self._clock = clock

    async def groups(self, chatbot_id: str, state: UnansweredState) -> list[Group]:
        """Of the newest 10,000 prompts in that state."""

        async def read(reader: Reader) -> list[UnansweredPrompt]:
            return await unanswered.list_newest(reader, chatbot_id, state, limit=MOST_GROUPED)

        rows = (await self._database.read(read))[::-1]
        embedder = self._embedder
        run = functools.partial(grouped, rows, embedding_model=embedder.name, least_cosine=embedder.scale.similar_prompt)
        return run() if is_little(rows) else await asyncio.to_thread(run)

    async def suggestions(self, chatbot_id: str, groups: Sequence[Group]) -> dict[str, Suggestion]:
        """What an operator said to the newest prompt of a group that one said anything to, by the group's id."""
        wanted = [each.prompt_id for each_group in groups for each in each_group.prompts[-_SUGGESTED_FOR:]]
        if not wanted:
            return {}

        async def read(reader: Reader) -> list[Suggestion]:
            return await unanswered.list_suggestions(reader, chatbot_id, wanted)

        by_prompt = {suggestion.prompt_id: suggestion for suggestion in await self._database.read(read)}
        found = {}
        for each in groups:
            said = [by_prompt[row.prompt_id] for row in each.prompts[-_SUGGESTED_FOR:] if row.prompt_id in by_prompt]
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

        wordings = prompts or found.wordings
        await self._fixed_answers.put(chatbot, None, prompts=wordings, answer=answer, is_enabled=True, besides=settle)
        return settled[0]

    async def answer_by_document(
        self, chatbot: Chatbot, prompt_id: str, answer: str, *, name: str | None, key: idempotency.Key | None
    ) -> GroupOutcome:
        """Have a document with the question and its answer. Raises `NotFound`, `UnansweredSettled`."""
        found = await self._open_group(chatbot.id, prompt_id)
        asked = found.prompts[0].content
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
        for found in await self.groups(chatbot_id, "open"):
            if any(each.prompt_id == prompt_id for each in found.prompts):
                return found
        return Group([row])  # older than those that are grouped; or settled, which whoever settles it is told

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
            found.prompts[0].chatbot_id,
            [each.prompt_id for each in found.prompts],
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


def is_little(rows: Sequence[UnansweredPrompt]) -> bool:
    """Whether grouping them takes so little that the event loop can do it. Pure."""
    most_rows, most_characters = _INLINE
    return len(rows) < most_rows and sum(len(row.content) for row in rows) < most_characters


def grouped(rows: Sequence[UnansweredPrompt], *, embedding_model: str, least_cosine: float) -> list[Group]:
    """Rows, oldest first, in groups, the one with the newest prompt first; vectors of other models do not count. Pure."""
    by_id = {row.prompt_id: row for row in rows}
    vectors = {
        row.prompt_id: np.frombuffer(row.embedding, "<f4")
        for row in rows
        if row.embedding is not None and row.embedding_model == embedding_model
    }
    said = [PromptVector(row.prompt_id, row.content, vectors.get(row.prompt_id)) for row in rows]
    groups = [Group([by_id[each.id] for each in members]) for members in group(said, least_cosine=least_cosine)]
    return sorted(groups, key=lambda each: each.place, reverse=True)


def document_name(asked: str) -> str:
    """What a document is called that answers this: answering it again replaces it."""
    return f"Answer: {' '.join(asked.split())}"[:_LONGEST_NAME]
