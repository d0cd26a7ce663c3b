"""What a support team writes beside conversations."""

from __future__ import annotations

import msgspec


class Note(msgspec.Struct, frozen=True):
    """What an operator tells the others about a conversation, behind the event `after_seq`. End users never see it."""

    chatbot_id: str
    conversation_id: str
    id: str
    after_seq: int
    operator: str
    content: str
    created_at: int
    updated_at: int


class CannedReply(msgspec.Struct, frozen=True):
    """Words that operators often need, found by their `shortcut`."""

    chatbot_id: str
    id: str
    shortcut: str
    content: str
    updated_at: int
