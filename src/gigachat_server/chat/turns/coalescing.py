"""Prompts that follow each other closely are answered together, in the turn of the last of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gigachat_server.chat.events.recorder import Events
from gigachat_server.chat.turns.progress import Lease
from gigachat_server.chat.turns.queue import MOST_QUEUED, start
from gigachat_server.records import Message, TurnCoalesced
from gigachat_server.store import conversations, messages
from gigachat_server.store.database import Tx

# Called, once that is durable, with the lease of the last prompt and those that are answered with it.
Lead = Callable[[Lease, Sequence[Message]], None]


async def join_waiting(tx: Tx, events: Events, lease: Lease, *, now_us: int, must_end: bool, lead: Lead) -> Lease | float | None:
    """Join the prompts that wait to this one, if the last of them is old enough; else how long that takes, in seconds.

    None if the turn was ended elsewhere.
    """
    chatbot, prompt = lease.chatbot, lease.prompt
    if not await conversations.hold(tx, chatbot.id, prompt.conversation_id, control_epoch=lease.epoch, prompt_id=prompt.id):
        return None
    if await messages.list_replies(tx, prompt):
        return lease  # what was answered before is answered anew by itself
    unsettled = await messages.list_open(tx, chatbot.id, prompt.conversation_id)
    waiting = [each for each in unsettled if each.seq > prompt.seq and not await messages.list_replies(tx, each)]
    *joined, last = [prompt, *waiting]
    window_us = chatbot.config.response.coalesce_ms * 1000
    left_us = min(window_us, last.created_at + window_us - now_us)
    if left_us > 0 and not must_end and len(unsettled) <= MOST_QUEUED:
        return left_us / 1_000_000
    if not joined:
        return lease
    for each in joined:
        place = await events.add(tx, chatbot.id, prompt.conversation_id, TurnCoalesced(prompt_id=each.id, with_=last.id))
        await messages.set_turn(tx, chatbot.id, each.id, "coalesced", at=place.at)
    together = await start(tx, events, chatbot, last, now_us=now_us, joined=tuple(joined))
    tx.after_commit(lambda: lead(together, joined))
    return together
