"""Replies that are proposed to the operators instead of said.

Idea: where a chatbot's replies are reviewed, the transaction that would store a reply stores a proposal, and gives up the lease
anyway: no lease lasts over a human's time. Invariant: a proposal stands for the newest prompt of its conversation under
the control it was made in; whatever changes either, in whose transaction, puts it out of date.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from gigachat_server.chat.events.recorder import Events
from gigachat_server.ids import new_id
from gigachat_server.records import (
    Chatbot,
    Conversation,
    Ending,
    Message,
    Proposal,
    ProposalCreated,
    ProposalDecided,
    TurnIntercepted,
    TurnInterrupted,
    TurnProposed,
    TurnStopped,
)
from gigachat_server.store import messages, proposals
from gigachat_server.store.database import Tx

_ENDED_AS: dict[Ending, type[TurnStopped | TurnInterrupted | TurnIntercepted]] = {
    "stopped": TurnStopped,
    "interrupted": TurnInterrupted,
    "intercepted": TurnIntercepted,
}


def are_reviewed(chatbot: Chatbot) -> bool:
    """Whether its replies are proposed to operators instead of said."""
    return chatbot.config.interception.review == "all"


def may_be_proposed(chatbot: Chatbot) -> bool:
    """Whether there may be proposals in its conversations; those of before a change of its settings are told by their age."""
    return are_reviewed(chatbot) or chatbot.config.interception.suggest


async def propose(tx: Tx, events: Events, replies: Sequence[Message], prompt: Message, *, control_epoch: int) -> Message:
    """Store the first of these replies as a proposal; the prompt as it is then. The caller holds the conversation's lease."""
    reply = replies[0]
    chatbot_id, conversation_id = prompt.chatbot_id, prompt.conversation_id
    await supersede(tx, events, chatbot_id, conversation_id, "interrupted", but=prompt.id)
    place = await events.add(tx, chatbot_id, conversation_id, TurnProposed(prompt_id=prompt.id))
    proposal = Proposal(
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
        prompt_id=prompt.id,
        id=new_id(),
        content=reply.content,
        sources=reply.sources,
        citations=reply.citations,
        metadata=reply.metadata,
        control_epoch=control_epoch,
        state="open",
        created_at=place.at,
    )
    await proposals.insert(tx, proposal)
    await events.add(tx, chatbot_id, conversation_id, ProposalCreated(proposal_id=proposal.id, prompt_id=prompt.id))
    return msgspec.structs.replace(prompt, turn="proposed", updated_at=place.at)


async def want(tx: Tx, prompt: Message, *, control_epoch: int) -> Proposal:
    """Have a reply to the prompt made, in the background, for the operator in control."""
    wanted = Proposal(
        chatbot_id=prompt.chatbot_id,
        conversation_id=prompt.conversation_id,
        prompt_id=prompt.id,
        id=new_id(),
        content="",
        sources=(),
        citations=(),
        metadata={},
        control_epoch=control_epoch,
        state="wanted",
        created_at=prompt.created_at,
    )
    await proposals.insert(tx, wanted)
    return wanted


def is_outdated(proposal: Proposal, conversation: Conversation, newest: Message | None) -> bool:
    """Whether control has changed since, or an end user has said that `newest` prompt."""
    return proposal.control_epoch != conversation.control_epoch or (
        newest is not None and newest.created_at > proposal.created_at
    )


async def supersede_outdated(tx: Tx, events: Events, conversation: Conversation, newest: Message | None) -> None:
    """Likewise, for those that are: while settings do not ask for proposals, prompts put none out of date."""
    await supersede(
        tx,
        events,
        conversation.chatbot_id,
        conversation.conversation_id,
        "interrupted",
        which=lambda proposal: is_outdated(proposal, conversation, newest),
    )


async def supersede(
    tx: Tx,
    events: Events,
    chatbot_id: str,
    conversation_id: str,
    ending: Ending,
    *,
    but: str | None = None,
    which: Callable[[Proposal], bool] = lambda _: True,
) -> None:
    """Put the conversation's proposals out of date, visibly. Prompts that waited for one are settled, `but` that one."""
    for proposal in filter(which, await proposals.list_undecided(tx, chatbot_id, conversation_id)):
        if not await proposals.decide(tx, proposals.ref(proposal), "superseded", at=events.now_us()):
            continue
        decided = ProposalDecided(proposal_id=proposal.id, state="superseded")
        await events.add(tx, chatbot_id, conversation_id, decided)
        prompt = await messages.find(tx, chatbot_id, proposal.prompt_id)
        if prompt is not None and prompt.turn == "proposed" and prompt.id != but:
            place = await events.add(tx, chatbot_id, conversation_id, _ENDED_AS[ending](prompt_id=prompt.id))
            await messages.set_turn(tx, chatbot_id, prompt.id, ending, at=place.at)
