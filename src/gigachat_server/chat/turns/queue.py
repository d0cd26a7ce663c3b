"""Whose turn it is: a conversation's prompts are answered one after the other, in the order they came.

Idea: the conversation's row holds the lease, `answering` and `lease_until`. A prompt that finds it free takes it with the
same statement that gives it its place; the transaction that ends a turn hands it on to the next prompt that waits.
Invariant: a node is always responsible for the unsettled prompts of a conversation: the holder of its lease, or, once that
has run out, the first node that finds it (`lifecycle.py`).
"""

from __future__ import annotations

import msgspec

from gigachat_server.chat.answers.answer_input import AnswerInput
from gigachat_server.chat.answers.memory import Memory, first_answered_at, recall
from gigachat_server.chat.events.recorder import Events
from gigachat_server.chat.turns.outcome import joined_to
from gigachat_server.chat.turns.progress import Lease
from gigachat_server.records import Chatbot, Message, TurnStarted
from gigachat_server.store import chatbots, conversations, messages
from gigachat_server.store.conversations import Place
from gigachat_server.store.database import Tx

LEASE_US = 30_000_000
MOST_QUEUED = 8


async def start_next(tx: Tx, events: Events, chatbot_id: str, conversation_id: str, *, now_us: int) -> Lease | None:
    """Hand the lease on to the prompt that has waited longest, or give it up where none waits."""
    prompt = await messages.find_first_queued(tx, chatbot_id, conversation_id)
    chatbot = await chatbots.find_of_any_account(tx, chatbot_id) if prompt else None
    if prompt is None or chatbot is None:
        await conversations.hand_on(tx, chatbot_id, conversation_id, prompt_id=None, lease_until=None)
        return None
    return await start(tx, events, chatbot, prompt, now_us=now_us)


async def start(
    tx: Tx, events: Events, chatbot: Chatbot, prompt: Message, *, now_us: int, joined: tuple[Message, ...] = ()
) -> Lease:
    """Hand the lease on to this prompt; those of `joined` are answered with it."""
    place = await events.add(tx, chatbot.id, prompt.conversation_id, TurnStarted(prompt_id=prompt.id))
    await messages.set_turn(tx, chatbot.id, prompt.id, "running", at=place.at)
    await conversations.hand_on(tx, chatbot.id, prompt.conversation_id, prompt_id=prompt.id, lease_until=now_us + LEASE_US)
    before = place.seq
    if prompt.updated_at != prompt.created_at:
        # One that is answered anew is asked the same, and knows no more, than when it was answered first.
        before, joined = await first_answered_at(tx, prompt), await joined_to(tx, prompt)
    memory = await recall(tx, chatbot, prompt, before=before, control_epoch=place.control_epoch, without=joined)
    return lease(
        chatbot,
        msgspec.structs.replace(prompt, turn="running", status="completed", error=None, updated_at=place.at),
        place,
        memory=memory,
        joined=joined,
    )


def lease(chatbot: Chatbot, prompt: Message, place: Place, *, memory: Memory, joined: tuple[Message, ...] = ()) -> Lease:
    """The right to answer the prompt, and those of `joined` with it, from this place in the conversation on."""
    answer_input = AnswerInput(
        chatbot=chatbot,
        text="\n".join(message.content for message in (*joined, prompt)),
        memory=memory,
        may_hand_off=place.handoff_requested_at is None,
    )
    return Lease(prompt=prompt, answer_input=answer_input, epoch=place.control_epoch, start_seq=place.seq)
