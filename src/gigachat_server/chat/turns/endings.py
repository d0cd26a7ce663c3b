"""How turns end other than by their reply: stopped, interrupted by a newer prompt, taken over, or found abandoned.

Idea: one transaction first raises the conversation's `control_epoch`, which keeps out everything the model still says, and
then stores what was said so far as the reply. Invariant: what was shown is stored: a turn of this process is frozen before
the transaction begins, and a turn of another process has its draft.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gigachat_server.chat.events.recorder import Events
from gigachat_server.chat.turns import reply
from gigachat_server.chat.turns.live import FrozenTurns
from gigachat_server.chat.turns.outcome import vectors_of
from gigachat_server.chat.turns.progress import Turn, TurnResult
from gigachat_server.errors import GigachatError
from gigachat_server.records import (
    Ending,
    Message,
    MessageReplaced,
    MessageStatus,
    TurnFailed,
    TurnIntercepted,
    TurnInterrupted,
    TurnState,
    TurnStopped,
)
from gigachat_server.store import conversations, drafts, messages
from gigachat_server.store.database import Tx

_ENDED_AS: dict[Ending, type[TurnStopped | TurnInterrupted | TurnIntercepted]] = {
    "stopped": TurnStopped,
    "interrupted": TurnInterrupted,
    "intercepted": TurnIntercepted,
}


async def end_turns(
    tx: Tx,
    events: Events,
    prompts: Sequence[Message],
    state: Ending,
    *,
    chatbot_name: str,
    live: FrozenTurns,
) -> dict[str, TurnResult]:
    """Settle these prompts of one conversation on purpose. Returns, by prompt, what their callers get.

    The caller has just raised the conversation's control_epoch. `live` are the conversation's turns in this process.
    """
    ended = {}
    for prompt in prompts:
        said = await _said(tx, prompt, live.find(prompt.id), chatbot_name)
        said = [await _store(tx, events, each, ()) for each in said]
        if said:
            await replace_earlier(tx, events, prompt, said[0])
        place = await events.add(tx, prompt.chatbot_id, prompt.conversation_id, _ENDED_AS[state](prompt_id=prompt.id))
        await messages.set_turn(tx, prompt.chatbot_id, prompt.id, state, at=place.at)
        settled = msgspec.structs.replace(prompt, turn=state, updated_at=place.at)
        await drafts.delete(tx, prompt.chatbot_id, prompt.conversation_id, prompt.id)
        # A retry that was ended before its first word leaves the replies there were.
        newest = said or await messages.list_replies(tx, prompt) or [settled]
        ended[prompt.id] = TurnResult(newest, await vectors_of(tx, prompt.chatbot_id, newest))
    return ended


async def fail_turn(
    tx: Tx, events: Events, prompt: Message, said: Sequence[Message], error: GigachatError
) -> tuple[list[Message], Message]:
    """Settle the prompt of a failed turn, and store what was said as `incomplete`.

    A prompt with a whole reply from an earlier turn keeps it: what was said since stays readable behind it, and the prompt
    counts as answered, with an error that says no new reply could be made. A prompt that never got a word in reply is left
    out of what the model sees later.
    """
    kept = [each for each in await messages.list_replies(tx, prompt) if each.status == "completed"]
    broken = [msgspec.structs.replace(each, status="incomplete") for each in said]
    stored = [await _store(tx, events, each, kept) for each in broken]
    if stored and not kept:
        await replace_earlier(tx, events, prompt, stored[0])
    state, status, at = await _mark_failed(tx, events, prompt.chatbot_id, prompt.conversation_id, prompt.id, prompt.seq, error)
    return stored, msgspec.structs.replace(prompt, turn=state, status=status, error=error.code, updated_at=at)


async def fail_abandoned_turn(tx: Tx, events: Events, prompt: Message, error: GigachatError, *, chatbot_name: str) -> None:
    """Fail the turn of a process that is gone, and store what its draft holds."""
    await fail_turn(tx, events, prompt, await _said(tx, prompt, None, chatbot_name), error)
    await drafts.delete(tx, prompt.chatbot_id, prompt.conversation_id, prompt.id)


async def fail_unread_turns(tx: Tx, events: Events, chatbot_id: str, conversation_id: str, error: GigachatError) -> None:
    """Fail everything that waits or is being answered, without reading what was said: it may be unreadable."""
    for prompt_id, seq in await messages.list_open_ids(tx, chatbot_id, conversation_id):
        await _mark_failed(tx, events, chatbot_id, conversation_id, prompt_id, seq, error)
        await drafts.delete(tx, chatbot_id, conversation_id, prompt_id)


async def _mark_failed(
    tx: Tx, events: Events, chatbot_id: str, conversation_id: str, prompt_id: str, seq: int, error: GigachatError
) -> tuple[TurnState, MessageStatus, int]:
    place = await events.add(tx, chatbot_id, conversation_id, TurnFailed(prompt_id=prompt_id, code=error.code))
    replies = await messages.list_reply_statuses(tx, chatbot_id, conversation_id, prompt_id, after=seq)
    state: TurnState = "done" if "completed" in replies else "failed"
    status: MessageStatus = "completed" if replies else "failed"
    await messages.set_turn(tx, chatbot_id, prompt_id, state, at=place.at, status=status, error=error.code)
    return state, status, place.at


async def replace_earlier(tx: Tx, events: Events, prompt: Message, by: Message) -> None:
    """Replace the prompt's earlier replies by those that begin with this one."""
    replaced = await messages.replace_replies(tx, prompt, by=by)
    for message_id in replaced:
        gone = MessageReplaced(message_id=message_id, replaced_by=by.id)
        await events.add(tx, prompt.chatbot_id, prompt.conversation_id, gone)


async def _said(tx: Tx, prompt: Message, turn: Turn | None, chatbot_name: str) -> list[Message]:
    """What was said in reply to the prompt and is not stored yet."""
    if prompt.turn != "running":
        return []
    if turn is not None and turn.speech.length:
        said = reply.replies(turn.speech.shown(), prompt, chatbot_name=chatbot_name, unfinished="stopped")
    else:
        kept = await drafts.list_of(tx, prompt.chatbot_id, prompt.conversation_id)
        said = [
            reply.from_draft(draft, prompt, chatbot_name=chatbot_name, status="stopped")
            for draft in kept
            if draft.prompt_id == prompt.id
        ]
    # A turn may have stored its replies a transaction ago, and a retry have begun since.
    stored = await messages.list_by_id(tx, prompt.chatbot_id, [each.id for each in said])
    return [each for each in said if each.id not in stored]


async def _store(tx: Tx, events: Events, said: Message, kept: Sequence[Message]) -> Message:
    place = await conversations.open_and_advance(
        tx, said.chatbot_id, said.conversation_id, now_us=events.now_us(), speaker="chatbot"
    )
    assert place is not None  # the conversation was there a statement ago
    said = reply.placed(said, seq=place.seq, at=place.at, behind=kept)
    await events.store_message(tx, said)
    return said
