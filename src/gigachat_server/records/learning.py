"""What operators learn from: prompts that went unanswered, and fixed answers."""

from __future__ import annotations

from typing import Literal

import msgspec

# Why a prompt went unanswered: no passage of the documents was relevant enough, or the reply itself says that it is no answer.
UnansweredReason = Literal["nothing_matched", "refused"]
UnansweredState = Literal["open", "answered", "dismissed"]


class UnansweredPrompt(msgspec.Struct, frozen=True):
    """A prompt that got no answer, with what it says. `answered_by` is what an operator made of it, or a later reply."""

    chatbot_id: str
    prompt_id: str
    conversation_id: str
    seq: int
    reason: UnansweredReason
    state: UnansweredState = "open"
    answered_by: str | None = None
    created_at: int = 0
    updated_at: int = 0
    content: str = ""
    embedding: bytes | None = None
    embedding_model: str | None = None


class FixedAnswer(msgspec.Struct, frozen=True):
    """A reply that is given word for word to each of its prompts, and to others that ask the same."""

    chatbot_id: str
    id: str
    prompts: tuple[str, ...]
    answer: str
    is_enabled: bool
    use_count: int
    created_at: int
    updated_at: int
