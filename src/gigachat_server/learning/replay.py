"""Asks stored prompts again, of the chatbot as it is or as it might be, and compares: nothing of it is stored.

Idea: a prompt is answered as it would be if it came now behind what was said before it then, and without a turn: there is no
lease, and no place in the conversation. Invariant: a replay reads the store and never writes to it; however
many there are, they ask the model `AT_ONCE` prompts at a time; and all of it ends when its reader goes away.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

import msgspec

from gigachat_server.access.principal import Principal
from gigachat_server.access.scopes import Scope
from gigachat_server.chat.answers.answer import Answerer
from gigachat_server.chat.answers.answer_input import AnswerInput
from gigachat_server.chat.answers.memory import first_answered_at, recall
from gigachat_server.chat.answers.speech import Speech
from gigachat_server.chat.turns import reply
from gigachat_server.chat.turns.outcome import joined_to
from gigachat_server.chat.turns.unanswered import BY_REPLY
from gigachat_server.errors import GigachatError, ModelEmpty
from gigachat_server.learning.comparison import Comparison, compare
from gigachat_server.models.base import UsageReport
from gigachat_server.records import Chatbot, Message
from gigachat_server.store import messages, unanswered
from gigachat_server.store.database import Database, Reader

AT_ONCE = 4  # of all replays of this process


class Selection(msgspec.Struct, frozen=True):
    """Which prompts: those of these conversations, or those that are unanswered, or else the newest."""

    limit: int
    conversation_ids: tuple[str, ...] = ()
    is_of_unanswered: bool = False


class ReplayResult(msgspec.Struct, frozen=True):
    """A prompt, what was replied to it, what would be now, and how that differs."""

    prompt: Message
    old: Message | None
    new: Message | None
    was_unanswered: bool
    is_unanswered: bool
    comparison: Comparison
    is_model_asked: bool
    usage: UsageReport | None
    error: GigachatError | None


class _Recalled(msgspec.Struct, frozen=True):
    """A prompt as it was asked, and what was replied to it."""

    answer_input: AnswerInput
    old: Message | None
    was_unanswered: bool


class Replay:
    """Replays prompts."""

    def __init__(self, database: Database, answerer: Answerer) -> None:
        self._database = database
        self._answerer = answerer
        self._slots = asyncio.Semaphore(AT_ONCE)

    def admit(self, principal: Principal, chatbot: Chatbot) -> None:
        """It shows what was said, and tries what the chatbot might be. Raises `Forbidden`, `NotFound`."""
        for scope in (Scope.CONVERSATIONS_READ, Scope.CHATBOTS_WRITE):
            principal.require(scope, "Replaying needs a key with the scopes conversations:read and chatbots:write.")
        principal.check_reach(chatbot)

    async def select(self, chatbot_id: str, wanted: Selection) -> list[Message]:
        """The newest that are wanted, oldest first. None of them is still to be answered."""

        async def read(reader: Reader) -> list[Message]:
            if wanted.is_of_unanswered:
                rows = await unanswered.list_newest(reader, chatbot_id, "open", limit=wanted.limit)
                found = await messages.list_by_id(reader, chatbot_id, [row.prompt_id for row in rows])
                return [found[row.prompt_id] for row in rows if row.prompt_id in found]
            return await messages.list_newest_prompts(
                reader, chatbot_id, limit=wanted.limit, conversation_ids=wanted.conversation_ids
            )

        return (await self._database.read(read))[::-1]

    async def run(
        self, chatbot: Chatbot, prompts: Sequence[Message], *, idle_s: float
    ) -> AsyncGenerator[ReplayResult | None, None]:
        """Each in its order; None whenever nothing came for `idle_s`. `chatbot` may have a config that is not stored."""
        tasks = [asyncio.create_task(self._ask(chatbot, prompt), name="replay") for prompt in prompts]
        try:
            for task in tasks:
                while not (await asyncio.wait((task,), timeout=idle_s))[0]:
                    yield None
                yield task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, chatbot: Chatbot, prompt: Message) -> ReplayResult:
        speech, new, error, reason = Speech(chatbot.config.response.n), None, None, None
        async with self._slots:
            recalled = await self._recall(chatbot, prompt)
            try:
                answer = await self._answerer.answer(recalled.answer_input, speech)
                reason = answer.unanswered
                new = next(iter(reply.replies(answer, prompt, chatbot_name=chatbot.name, unfinished="completed")), None)
                if new is None:
                    raise ModelEmpty
            except GigachatError as failed:
                error = failed
        old, was_unanswered, is_unanswered = recalled.old, recalled.was_unanswered, reason is not None
        return ReplayResult(
            prompt=prompt,
            old=old,
            new=new,
            was_unanswered=was_unanswered,
            is_unanswered=is_unanswered,
            comparison=compare(old, new, was_unanswered=was_unanswered, is_unanswered=is_unanswered),
            is_model_asked=speech.facts.is_model_asked,
            usage=speech.facts.usage,
            error=error,
        )

    async def _recall(self, chatbot: Chatbot, prompt: Message) -> _Recalled:
        """What the turn knew that answered it first, and what it said."""

        async def read(reader: Reader) -> _Recalled:
            before, joined = await first_answered_at(reader, prompt), await joined_to(reader, prompt)
            memory = await recall(reader, chatbot, prompt, before=before, control_epoch=1, without=joined)
            replies = await messages.list_replies(reader, prompt)
            reasons = await unanswered.list_reasons(reader, chatbot.id, [prompt.id], but_answered_by=BY_REPLY)
            text = "\n".join(message.content for message in (*joined, prompt))
            old = replies[0] if replies else None
            was_unanswered = old is None or bool(reasons) or old.metadata.get("abstained") is True
            answer_input = AnswerInput(chatbot=chatbot, text=text, memory=memory, may_hand_off=True)
            return _Recalled(answer_input, old, was_unanswered)

        return await self._database.read(read)
