"""Replies that operators want the chatbot to propose, as background work; `work/leased.py` has the policy.

Invariant: a suggestion touches nothing of the conversation but its own row: it takes no lease of it, is shown to operators
alone, and is dropped if control or the newest prompt has changed while it was made.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from gigachat_server.chat.answers.answer import Answerer
from gigachat_server.chat.answers.answer_input import AnswerInput
from gigachat_server.chat.answers.memory import recall
from gigachat_server.chat.answers.speech import Speech
from gigachat_server.chat.events.recorder import Events
from gigachat_server.chat.turns import reply
from gigachat_server.chat.turns.proposing import is_outdated
from gigachat_server.clock import Clock
from gigachat_server.errors import ModelEmpty
from gigachat_server.records import Chatbot, Conversation, Message, Proposal, ProposalCreated, ProposalDecided
from gigachat_server.store import chatbots, conversations, messages, proposals
from gigachat_server.store.database import Database, Reader, Tx
from gigachat_server.store.proposals import ProposalRef


class SuggestionQueue:
    """The proposals that are wanted."""

    def __init__(self, database: Database, answerer: Answerer, events: Events, clock: Clock) -> None:
        self._database = database
        self._answerer = answerer
        self._events = events
        self._clock = clock

    async def find_next(self, running: Collection[ProposalRef], without: Collection[ProposalRef]) -> ProposalRef | None:
        async def read(reader: Reader) -> list[ProposalRef]:
            return await proposals.list_wanted(reader, now_us=self._clock(), limit=1 + len(without))

        return next((each for each in await self._database.read(read) if each not in without), None)

    async def claim(self, entry: ProposalRef, lease: str, *, now_us: int, until_us: int) -> int | None:
        async def body(tx: Tx) -> int | None:
            return await proposals.claim(tx, entry, lease=lease, now_us=now_us, until_us=until_us)

        return await self._database.transaction("suggestion.claim", body)

    async def renew(self, entry: ProposalRef, lease: str, *, until_us: int) -> None:
        async def body(tx: Tx) -> None:
            await proposals.renew(tx, entry, lease=lease, until_us=until_us)

        await self._database.transaction("suggestion.renew", body)

    async def work_off(self, entry: ProposalRef, lease: str) -> None:
        begun = await self._database.read(lambda reader: self._read(reader, entry))
        if begun is None:
            await self._database.transaction("suggestion.drop", lambda tx: self._drop(tx, entry))
            return
        given, prompt = begun
        speech = Speech(1)
        answer = await self._answerer.answer(given, speech)
        replies = reply.replies(answer, prompt, chatbot_name=given.chatbot.name, unfinished="completed")
        if not replies:
            raise ModelEmpty

        async def body(tx: Tx) -> None:
            conversation = await conversations.lock(tx, entry.chatbot_id, entry.conversation_id)
            wanted = await proposals.find(tx, entry)
            if conversation is None or wanted is None or wanted.state != "wanted":
                return
            newest = await messages.find_newest_prompt(tx, entry.chatbot_id, entry.conversation_id)
            if is_outdated(wanted, conversation, newest):
                await self._drop(tx, entry)
                return
            await self._open(tx, conversation, wanted, replies[0], lease)

        await self._database.transaction("suggestion.finish", body)

    async def _open(self, tx: Tx, conversation: Conversation, wanted: Proposal, made: Message, lease: str) -> None:
        """Unless another has taken it up since, who will."""
        filled = msgspec.structs.replace(
            wanted,
            content=made.content,
            sources=made.sources,
            citations=made.citations,
            metadata=made.metadata,
            created_at=max(conversation.last_at + 1, self._clock()),
        )
        if await proposals.fill(tx, filled, lease=lease):
            created = ProposalCreated(proposal_id=wanted.id, prompt_id=wanted.prompt_id)
            await self._events.add(tx, wanted.chatbot_id, wanted.conversation_id, created)

    async def _read(self, reader: Reader, entry: ProposalRef) -> tuple[AnswerInput, Message] | None:
        """What it is made from; None if it is out of date."""
        wanted = await proposals.find(reader, entry)
        chatbot = await chatbots.find_of_any_account(reader, entry.chatbot_id)
        prompt = None if wanted is None else await messages.find(reader, entry.chatbot_id, wanted.prompt_id)
        if wanted is None or chatbot is None or prompt is None:
            return None
        memory = await recall(reader, chatbot, prompt, before=prompt.seq, control_epoch=wanted.control_epoch)
        return AnswerInput(chatbot=_with_one_reply(chatbot), text=prompt.content, memory=memory, may_hand_off=False), prompt

    async def _drop(self, tx: Tx, entry: ProposalRef) -> None:
        await conversations.lock(tx, entry.chatbot_id, entry.conversation_id)
        if await proposals.decide(tx, entry, "superseded", at=self._clock()):
            decided = ProposalDecided(proposal_id=entry.id, state="superseded")
            await self._events.add(tx, entry.chatbot_id, entry.conversation_id, decided)

    async def release(self, entry: ProposalRef, lease: str, *, at_us: int, reason: str | None, is_counted: bool) -> None:
        async def body(tx: Tx) -> None:
            await proposals.release(tx, entry, lease=lease, at_us=at_us, is_counted=is_counted)

        await self._database.transaction("suggestion.release", body)

    async def park(self, entry: ProposalRef, lease: str, *, tries: int, now_us: int, reason: str) -> bool:
        async def body(tx: Tx) -> bool:
            await conversations.lock(tx, entry.chatbot_id, entry.conversation_id)
            if not await proposals.park(tx, entry, lease=lease, at=now_us):
                return False
            failed = ProposalDecided(proposal_id=entry.id, state="failed")
            await self._events.add(tx, entry.chatbot_id, entry.conversation_id, failed)
            return True

        return await self._database.transaction("suggestion.park", body)


def _with_one_reply(chatbot: Chatbot) -> Chatbot:
    config = chatbot.config
    response = msgspec.structs.replace(config.response, n=1)
    return msgspec.structs.replace(chatbot, config=msgspec.structs.replace(config, response=response))
