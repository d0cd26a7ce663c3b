"""Proposals: what operators do with replies that the chatbot wrote for them.

Idea: a proposal is sent by one conditional statement, with its message in the same transaction. Invariant: of a sending, a
discarding, a newer prompt and a change of control that come at once, the one whose transaction is first wins, and the others
find the proposal decided: nothing of a proposal is ever said twice, or after its time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import msgspec

from gigachat_server.access.principal import Principal
from gigachat_server.access.scopes import Scope
from gigachat_server.access.speakers import client_defined_id
from gigachat_server.chat.answers.citations import look_up
from gigachat_server.chat.events.recorder import Events
from gigachat_server.chat.turns.control import Control
from gigachat_server.chat.turns.endings import replace_earlier
from gigachat_server.chat.turns.proposing import is_outdated, supersede_outdated, want
from gigachat_server.clock import Clock
from gigachat_server.errors import AlreadyTakenOver, Conflict, FieldError, InvalidRequest, NotFound
from gigachat_server.ids import new_id
from gigachat_server.inbox.desk import author
from gigachat_server.language.words import is_blank
from gigachat_server.records import (
    Chatbot,
    Conversation,
    ConversationReopened,
    Message,
    Proposal,
    ProposalDecided,
    ProposalState,
    TurnStopped,
)
from gigachat_server.store import conversations, idempotency, messages, proposals
from gigachat_server.store.conversations import BOT
from gigachat_server.store.database import Database, Reader, Tx
from gigachat_server.store.proposals import ProposalRef

T = TypeVar("T")

_MINUTE_US = 60_000_000
_HANDED_OFF_AT_ONCE = 100


class ProposalDecidedAlready(Conflict):
    code = "proposal_decided"
    message = "This proposal was sent, discarded, or is out of date."


class NothingToAnswer(Conflict):
    code = "nothing_to_answer"
    message = "No end user has said anything in this conversation."


class Proposals:
    """The proposals of all chatbots. Each method raises `Forbidden` and `NotFound`, besides what it names."""

    def __init__(
        self, database: Database, *, control: Control, events: Events, clock: Clock, suggestion_wanted: Callable[[], None]
    ) -> None:
        """`suggestion_wanted` is called when the model is to make one."""
        self._database = database
        self._control = control
        self._events = events
        self._clock = clock
        self._suggestion_wanted = suggestion_wanted

    async def list(
        self, principal: Principal, chatbot: Chatbot, conversation_id: str, *, after: str, limit: int
    ) -> Sequence[Proposal]:
        """Oldest first, from behind that id."""
        _admit(principal, chatbot)
        conversation_id = _id(conversation_id)

        async def read(reader: Reader) -> Sequence[Proposal]:
            if await conversations.find_owned(reader, principal.account_id, chatbot.id, conversation_id) is None:
                raise NotFound
            return await proposals.list_proposals(reader, chatbot.id, conversation_id, after=after, limit=limit)

        return await self._database.read(read)

    async def suggest(
        self, principal: Principal, chatbot: Chatbot, conversation_id: str, *, key: idempotency.Key | None
    ) -> Proposal:
        """Have the chatbot propose a reply to the newest prompt: the proposal, which is open once the model has made it.

        One that is wanted or open already stays. Raises `NothingToAnswer` where no end user has spoken.
        """
        _admit(principal, chatbot)
        conversation_id = _id(conversation_id)

        async def body(tx: Tx) -> Proposal:
            conversation = await conversations.lock(tx, chatbot.id, conversation_id)
            if conversation is None:
                raise NotFound
            prompt = await messages.find_newest_prompt(tx, chatbot.id, conversation_id)
            if prompt is None:
                raise NothingToAnswer
            await supersede_outdated(tx, self._events, conversation, prompt)
            undecided = await proposals.list_undecided(tx, chatbot.id, conversation_id)
            wanted = undecided[-1] if undecided else await self._want(tx, conversation, prompt)
            await idempotency.keep_result(tx, key, wanted, now_us=self._clock())
            return wanted

        return await self._database.transaction("proposal.want", body)

    async def _want(self, tx: Tx, conversation: Conversation, prompt: Message) -> Proposal:
        tx.after_commit(self._suggestion_wanted)
        return await want(tx, prompt, control_epoch=conversation.control_epoch)

    async def send(
        self,
        principal: Principal,
        chatbot: Chatbot,
        conversation_id: str,
        proposal_id: str,
        *,
        content: str | None,
        operator: str | None,
        key: idempotency.Key | None,
    ) -> Message:
        """Say it in the chatbot's name, as it is or (`content`) as the operator has edited it.

        Raises `AlreadyTakenOver` if another operator has control, `InvalidRequest`, `ProposalDecidedAlready`.
        """
        _admit(principal, chatbot)
        by = author(principal, operator)
        if content is not None and is_blank(content):
            raise InvalidRequest(errors=(FieldError("content", "Must contain some text."),))

        async def say(tx: Tx, conversation: Conversation, proposal: Proposal) -> Message:
            if conversation.controlled_by not in (BOT, by):
                raise AlreadyTakenOver
            is_edited = content is not None and content != proposal.content
            said = await self._say(tx, chatbot, proposal, content if content is not None else proposal.content, by, is_edited)
            state: ProposalState = "edited" if is_edited else "sent"
            which, epoch = proposals.ref(proposal), conversation.control_epoch
            if not await proposals.decide(tx, which, state, at=said.created_at, by=by, message_id=said.id, control_epoch=epoch):
                raise ProposalDecidedAlready
            decided = ProposalDecided(proposal_id=proposal.id, state=state, message_id=said.id)
            await self._events.add(tx, chatbot.id, conversation.conversation_id, decided)
            if conversation.controlled_by == by:
                release_at = self._control.release_at(chatbot)
                await conversations.extend_control(tx, chatbot.id, conversation.conversation_id, release_at=release_at)
            await idempotency.keep_result(tx, key, [said.id], now_us=self._clock())
            return said

        return await self._decide("proposal.send", chatbot, conversation_id, proposal_id, key, say)

    async def discard(
        self,
        principal: Principal,
        chatbot: Chatbot,
        conversation_id: str,
        proposal_id: str,
        *,
        operator: str | None,
        key: idempotency.Key | None,
    ) -> Proposal:
        """It is not said; its prompt stays without a reply. Raises `ProposalDecidedAlready`."""
        _admit(principal, chatbot)
        by = author(principal, operator)

        async def drop(tx: Tx, conversation: Conversation, proposal: Proposal) -> Proposal:
            at = self._clock()
            if not await proposals.decide(tx, proposals.ref(proposal), "discarded", at=at, by=by):
                raise ProposalDecidedAlready
            prompt = await messages.find(tx, chatbot.id, proposal.prompt_id)
            if prompt is not None and prompt.turn == "proposed":
                place = await self._events.add(tx, chatbot.id, prompt.conversation_id, TurnStopped(prompt_id=prompt.id))
                await messages.set_turn(tx, chatbot.id, prompt.id, "stopped", at=place.at)
            decided = ProposalDecided(proposal_id=proposal.id, state="discarded")
            await self._events.add(tx, chatbot.id, conversation.conversation_id, decided)
            dropped = msgspec.structs.replace(proposal, state="discarded", decided_by=by, decided_at=at)
            await idempotency.keep_result(tx, key, dropped, now_us=self._clock())
            return dropped

        return await self._decide("proposal.discard", chatbot, conversation_id, proposal_id, key, drop)

    async def _decide(
        self,
        name: str,
        chatbot: Chatbot,
        conversation_id: str,
        proposal_id: str,
        key: idempotency.Key | None,
        act: Callable[[Tx, Conversation, Proposal], Awaitable[T]],
    ) -> T:
        """Act on an open proposal while its conversation stands still."""
        conversation_id = _id(conversation_id)

        async def body(tx: Tx) -> T:
            conversation = await conversations.lock(tx, chatbot.id, conversation_id)
            proposal = await proposals.find(tx, ProposalRef(chatbot.id, conversation_id, proposal_id))
            if conversation is None or proposal is None:
                raise NotFound
            await idempotency.give_way(tx, key, now_us=self._clock())
            # Settings may have changed since, so that a newer prompt did not put it out of date.
            if is_outdated(proposal, conversation, await messages.find_newest_prompt(tx, chatbot.id, conversation_id)):
                raise ProposalDecidedAlready
            return await act(tx, conversation, proposal)

        return await self._database.transaction(name, body)

    async def _say(self, tx: Tx, chatbot: Chatbot, proposal: Proposal, content: str, by: str, is_edited: bool) -> Message:
        conversation_id = proposal.conversation_id
        prompt = await messages.find(tx, chatbot.id, proposal.prompt_id)
        if prompt is None:
            raise ProposalDecidedAlready
        place = await conversations.open_and_advance(tx, chatbot.id, conversation_id, now_us=self._clock(), speaker="operator")
        if place is None:
            raise NotFound
        said = Message(
            chatbot_id=chatbot.id,
            conversation_id=conversation_id,
            seq=place.seq,
            id=new_id(),
            role="assistant",
            user_id=prompt.user_id,
            name=chatbot.name,
            content=content,
            status="completed",
            in_reply_to=prompt.id,
            alternative=0,
            replaced_by=None,
            metadata={**proposal.metadata, "reviewed_by": by, "is_edited": is_edited},
            sources=proposal.sources,
            citations=look_up(content, proposal.sources) if is_edited else proposal.citations,
            created_at=place.at,
            updated_at=place.at,
        )
        await self._events.store_message(tx, said)
        if place.is_reopening:
            await self._events.add(tx, chatbot.id, conversation_id, ConversationReopened(reason="operator"))
        await messages.set_turn(tx, chatbot.id, prompt.id, "done", at=place.at)
        await replace_earlier(tx, self._events, prompt, said)
        return said

    async def hand_off_unseen(self, chatbot_of: Callable[[str], Awaitable[Chatbot | None]]) -> None:
        """Ask for a human where a reply that is reviewed was not looked at for as long as its chatbot allows."""
        for chatbot_id in await self._database.read(proposals.list_chatbots_with_open):
            chatbot = await chatbot_of(chatbot_id)
            if chatbot is not None:
                await self._hand_off_unseen_of(chatbot)

    async def _hand_off_unseen_of(self, chatbot: Chatbot) -> None:
        before_us = self._clock() - chatbot.config.interception.review_minutes * _MINUTE_US

        async def read(reader: Reader) -> list[str]:
            return await proposals.list_unseen_since(reader, chatbot.id, before_us=before_us, limit=_HANDED_OFF_AT_ONCE)

        for conversation_id in await self._database.read(read):

            async def body(tx: Tx, conversation_id: str = conversation_id) -> None:
                conversation = await conversations.lock(tx, chatbot.id, conversation_id)
                if conversation is None:
                    return
                prompt = await messages.find_newest_prompt(tx, chatbot.id, conversation_id)
                await supersede_outdated(tx, self._events, conversation, prompt)
                if await proposals.is_unseen_since(tx, chatbot.id, conversation_id, before_us=before_us):
                    await self._control.ask_for_human_in(tx, chatbot, conversation_id, reason="review", note="")

            await self._database.transaction("proposal.unseen", body)


def _admit(principal: Principal, chatbot: Chatbot) -> None:
    principal.require(Scope.MESSAGES_INJECT)
    principal.check_reach(chatbot)


def _id(conversation_id: str) -> str:
    return client_defined_id(conversation_id, "conversation_id")
