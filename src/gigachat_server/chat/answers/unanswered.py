"""Which prompts got no answer. Pure.

Idea: a prompt is unanswered if nothing in the chatbot's documents was relevant enough, or if all its replies say that they are
none. Small talk asks nothing, and an end user who asks for a human is answered by one. A chatbot without documents answers from
its persona, so only its own word counts there.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import msgspec

from gigachat_server.chat.answers.markers import without_markers
from gigachat_server.chat.answers.speech import Speech
from gigachat_server.language.words import asks_for_human, normalised, small_talk
from gigachat_server.models.base import ReplyEnd
from gigachat_server.records import UnansweredReason


def mark_refusals(speech: Speech, refusals: Sequence[str]) -> None:
    """Replies that are nothing but a refusal abstain, whichever model said so: they cite nothing."""
    refused, ends = _normalised(tuple(refusals)), speech.facts.ends
    for alternative in range(len(speech.message_ids)):
        if normalised(without_markers(speech.text(alternative))) in refused:
            ends[alternative] = msgspec.structs.replace(ends.get(alternative, ReplyEnd(alternative)), abstained=True)


@functools.lru_cache(maxsize=256)  # each chatbot says the same each time
def _normalised(refusals: tuple[str, ...]) -> frozenset[str]:
    return frozenset(map(normalised, refusals))


def reason(speech: Speech, text: str, *, found: int | None) -> UnansweredReason | None:
    """Why the prompt is unanswered, if it is. `found`: how many passages matched it; None: there are no documents to match."""
    facts = speech.facts
    if facts.fixed_answer_id is not None or (facts.handoff is not None and facts.handoff.reason == "asked"):
        return None
    replies = speech.replies()
    is_refused = bool(replies) and all(reply.end is not None and reply.end.abstained is True for reply in replies)
    is_given_up = facts.handoff is not None and facts.handoff.reason == "unanswered"
    if not (found == 0 or is_refused or is_given_up) or small_talk(text) is not None or asks_for_human(text):
        return None
    return "refused" if found else "nothing_matched"
