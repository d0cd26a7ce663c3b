"""What a support team writes beside conversations."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from gigachat_server.records.conversations import Citation, Source

# A proposal is wanted until the model has made it, then open until somebody sends it (as it is, or edited) or discards it, or
# until it is out of date. One that could not be made has failed.
ProposalState = Literal["wanted", "open", "sent", "edited", "discarded", "superseded", "failed"]


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


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """A reply of the chatbot that an operator sends, edits or discards. It can be sent under its `control_epoch` alone."""

    chatbot_id: str
    conversation_id: str
    prompt_id: str
    id: str
    content: str
    sources: tuple[Source, ...]
    citations: tuple[Citation, ...]
    metadata: dict[str, Any]
    control_epoch: int
    state: ProposalState
    decided_by: str | None = None
    message_id: str | None = None
    created_at: int
    decided_at: int | None = None
