"""A turn that is settled elsewhere, as the store tells of it: what is said there, and how it ended once it did."""

from __future__ import annotations

import msgspec

from gigachat_server.chat.turns.outcome import answered_with, read_outcome
from gigachat_server.chat.turns.progress import TurnResult
from gigachat_server.errors import GigachatError
from gigachat_server.store import drafts, messages
from gigachat_server.store.database import Reader


class ReplyElsewhere(msgspec.Struct, frozen=True):
    """A reply as far as the store knows it."""

    alternative: int
    message_id: str
    text: str


class ViewElsewhere(msgspec.Struct, frozen=True):
    """`outcome` is None while the turn is not settled."""

    outcome: TurnResult | GigachatError | None
    replies: list[ReplyElsewhere] = []


async def read_elsewhere(
    reader: Reader, *, chatbot_id: str, conversation_id: str, prompt_id: str, has_drafts: bool
) -> ViewElsewhere:
    """How the turn of that prompt ended, or what is said of it by now; `has_drafts`: another node may keep some of it."""
    outcome = await read_outcome(reader, chatbot_id=chatbot_id, prompt_id=prompt_id)
    if isinstance(outcome, TurnResult):
        replies = [message for message in outcome.messages if message.in_reply_to is not None]
        return ViewElsewhere(outcome, [ReplyElsewhere(each.alternative, each.id, each.content) for each in replies])
    if outcome is not None or not has_drafts:
        return ViewElsewhere(outcome)
    prompt = await answered_with(reader, await messages.find(reader, chatbot_id, prompt_id))
    kept = await drafts.list_of(reader, chatbot_id, conversation_id)
    mine = [draft for draft in kept if prompt is not None and draft.prompt_id == prompt.id]
    return ViewElsewhere(None, [ReplyElsewhere(each.alternative, each.message_id, each.content) for each in mine])
