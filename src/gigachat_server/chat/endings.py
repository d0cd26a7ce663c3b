"""How turns end other than by their reply: stopped, interrupted by a newer prompt, taken over, or found abandoned.

Idea: whoever ends a turn first raises the conversation's `control_epoch`, so that whatever its model still says can no
longer be stored; then stores what was said until then as its reply, all in one transaction. Invariant: what was shown
is stored: a turn of this process is frozen before the transaction begins, one of another has its draft.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gigachat_server.chat import reply
from gigachat_server.chat.events import Events
from gigachat_server.chat.live import FrozenTurns
from gigachat_server.chat.outcome import vectors_of
from gigachat_server.chat.progress import Stored, Turn
from gigachat_server.errors import GigachatError
from gigachat_server.records import Message, MessageStatus, TurnState
from gigachat_server.store import conversations, drafts, messages
from gigachat_server.store.database import Tx


async def end_turns(
    tx: Tx,
    events: Events,
    prompts: Sequence[Message],
    state: TurnState,
    *,
    chatbot_name: str,
    live: FrozenTurns,
    error: GigachatError | None = None,
) -> dict[str, Stored]:
    """These prompts, of one conversation, are settled; by prompt, what their callers are to get.

    For whoever has just raised the conversation's control_epoch. `live` are the conversation's turns of this process; with
    an error they failed, whatever the state.
    """
    ended = {}
    for prompt in prompts:
        kept = [] if error is None else await whole_replies(tx, prompt)
        said = await _said(tx, prompt, live.find(prompt.id), chatbot_name, "stopped" if error is None else "incomplete")
        said = [await _store(tx, events, each, kept) for each in said]
        if said and not kept:
            await replace_earlier(tx, events, prompt, said[0])
        if error is None:
            place = await events.add(tx, prompt.chatbot_id, prompt.conversation_id, f"turn.{state}", {"prompt_id": prompt.id})
            await messages.set_turn(tx, prompt.chatbot_id, prompt.id, state, at=place.at)
            settled = msgspec.structs.replace(prompt, turn=state, updated_at=place.at)
        else:
            settled = await mark_failed(tx, events, prompt, error, is_answered=bool(kept), was_shown=bool(said))
        await drafts.delete(tx, prompt.chatbot_id, prompt.conversation_id, prompt.id)
        # A retry that was ended before its first word leaves the replies there were.
        newest = said or await messages.list_replies(tx, prompt) or [settled]
        ended[prompt.id] = Stored(newest, await vectors_of(tx, prompt.chatbot_id, newest))
    return ended


async def whole_replies(tx: Tx, prompt: Message) -> list[Message]:
    """Those that the prompt has from an earlier turn, and that a turn that fails must not take from it."""
    return [each for each in await messages.list_replies(tx, prompt) if each.status == "completed"]


async def mark_failed(
    tx: Tx, events: Events, prompt: Message, error: GigachatError, *, is_answered: bool, was_shown: bool
) -> Message:
    """The prompt's turn failed. One that has a whole reply from before counts as answered by that, as it did; its error
    tells that no new one could be made.

    One of which nothing was ever shown is left out of what the model sees later.
    """
    data = {"prompt_id": prompt.id, "code": error.code}
    place = await events.add(tx, prompt.chatbot_id, prompt.conversation_id, "turn.failed", data)
    state: TurnState = "done" if is_answered else "failed"
    status: MessageStatus = "completed" if is_answered or was_shown else "failed"
    await messages.set_turn(tx, prompt.chatbot_id, prompt.id, state, at=place.at, status=status, error=error.code)
    return msgspec.structs.replace(prompt, turn=state, status=status, error=error.code, updated_at=place.at)


async def replace_earlier(tx: Tx, events: Events, prompt: Message, by: Message) -> None:
    """Whatever replies the prompt had before give way to those that begin with this one."""
    replaced = await messages.replace_replies(tx, prompt, by=by)
    for message_id in replaced:
        data = {"message_id": message_id, "replaced_by": by.id}
        await events.add(tx, prompt.chatbot_id, prompt.conversation_id, "message.replaced", data)


async def _said(tx: Tx, prompt: Message, turn: Turn | None, chatbot_name: str, status: MessageStatus) -> list[Message]:
    if prompt.turn != "running":
        return []
    if turn is not None and turn.length:
        said = reply.replies(turn, unfinished=status)
    else:
        kept = await drafts.list_of(tx, prompt.chatbot_id, prompt.conversation_id)
        said = [
            reply.from_draft(draft, prompt, chatbot_name=chatbot_name, status=status)
            for draft in kept
            if draft.prompt_id == prompt.id
        ]
    # A turn may have stored its replies a transaction ago, and a retry have begun since.
    stored = await messages.list_by_id(tx, prompt.chatbot_id, [each.id for each in said])
    return [each for each in said if each.id not in stored]


async def _store(tx: Tx, events: Events, said: Message, kept: Sequence[Message]) -> Message:
    place = await conversations.open_and_advance(tx, said.chatbot_id, said.conversation_id, user_id=None, now_us=events.now_us())
    assert place is not None  # the conversation was there a statement ago
    said = reply.placed(said, seq=place.seq, at=place.at, behind=kept)
    await events.add_message(tx, said)
    return said
