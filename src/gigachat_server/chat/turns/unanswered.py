"""Prompts that got no answer: which they are, and noting them with the reply.

Idea: a prompt is unanswered if nothing in the chatbot's documents was relevant enough, or if all its replies say that they are
none. Small talk asks nothing, and who asks for a human is answered by one. A chatbot without documents answers from its persona,
so there only its own word counts.

Invariant: that a prompt is unanswered is stored in the transaction that stores its reply, under the same fence, once.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import msgspec

from gigachat_server.chat.answers.markers import without_markers
from gigachat_server.chat.events.recorder import Events
from gigachat_server.chat.turns.progress import Turn
from gigachat_server.language.words import asks_for_human, normalised, small_talk
from gigachat_server.models.base import ReplyEnd
from gigachat_server.records import Message, UnansweredPrompt, UnansweredReason
from gigachat_server.store import fixed_answers, unanswered
from gigachat_server.store.database import Tx

BY_REPLY = "reply"  # `answered_by` of a prompt that a retry has answered


def mark_refusals(turn: Turn, refusals: Sequence[str]) -> None:
    """Replies that are nothing but a refusal abstain, whichever model said so: they cite nothing."""
    refused = _normalised(tuple(refusals))
    for alternative in range(len(turn.message_ids)):
        if normalised(without_markers(turn.text(alternative))) in refused:
            end = turn.heard.ends.get(alternative, ReplyEnd(alternative))
            turn.heard.ends[alternative] = msgspec.structs.replace(end, abstained=True)


@functools.lru_cache(maxsize=256)  # each chatbot says the same each time
def _normalised(refusals: tuple[str, ...]) -> frozenset[str]:
    return frozenset(map(normalised, refusals))


def reason(turn: Turn, text: str, *, found: int | None) -> UnansweredReason | None:
    """Why the prompt is unanswered, if it is. `found`: how many passages matched it; None: there are no documents to match."""
    if turn.fixed_answer_id is not None or (turn.heard.handoff is not None and turn.heard.handoff.reason == "asked"):
        return None
    handoff = turn.heard.handoff
    said = [turn.heard.ends.get(place) for place in range(len(turn.message_ids)) if turn.text(place).strip()]
    is_refused = bool(said) and all(end is not None and end.abstained is True for end in said)
    is_given_up = handoff is not None and handoff.reason == "unanswered"
    if not (found == 0 or is_refused or is_given_up) or small_talk(text) is not None or asks_for_human(text):
        return None
    return "refused" if found else "nothing_matched"


async def note(tx: Tx, events: Events, turn: Turn, prompt: Message, *, at: int, is_anew: bool) -> None:
    """What came of the prompt, for those who look after the answers. For the transaction that stores its replies."""
    if turn.unanswered is not None:
        row = UnansweredPrompt(prompt.chatbot_id, prompt.id, prompt.conversation_id, prompt.seq, turn.unanswered, created_at=at)
        if await unanswered.insert(tx, row):
            data = {"prompt_id": prompt.id, "reason": turn.unanswered}
            await events.add(tx, prompt.chatbot_id, prompt.conversation_id, "prompt.unanswered", data)
    elif is_anew:
        await unanswered.settle(tx, prompt.chatbot_id, [prompt.id], "answered", answered_by=BY_REPLY, at=at)
    if turn.fixed_answer_id is not None:
        await fixed_answers.count_use(tx, prompt.chatbot_id, turn.fixed_answer_id)
