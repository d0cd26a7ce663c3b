"""Messages and conversations as the pages show them: who spoke, what became of it, what it is based on, who answers."""

from __future__ import annotations

import msgspec

from gigachat_server.errors import error_with_code
from gigachat_server.records import UNSETTLED, Conversation, Message, Source
from gigachat_server.store.conversations import BOT

_BADGES = {"user": "User", "assistant": "Assistant", "operator": "Operator", "system": "System"}
# What became of a reply, and of a prompt. Whatever went well says nothing.
_REPLIES = {
    "stopped": "Stopped here.",
    "incomplete": "Broken off here; what had been said is kept.",
}
_PROMPTS = {
    "queued": "Waits for the reply before it.",
    "stopped": "Stopped.",
    "interrupted": "Interrupted by a newer prompt.",
    "intercepted": "Left to the operator.",
    "coalesced": "Answered together with the next prompt.",
}
_RETRIED = ("failed", "stopped", "interrupted", "intercepted")  # prompts that may still want a reply


class SourceView(msgspec.Struct, frozen=True):
    document: str
    lines: str
    relevance: str
    excerpt: str


class MessageView(msgspec.Struct, frozen=True, kw_only=True):
    """`is_markdown`: the chatbot wrote it; what people write is shown as it is. `turn`: of a prompt that is not settled."""

    id: str
    seq: int
    role: str
    badge: str
    speaker: str
    content: str
    is_markdown: bool
    note: str
    error: str
    turn: str
    rating: str
    alternative: int
    is_replaced: bool
    may_be_retried: bool
    created_at: int
    sources: list[SourceView]


class ControlView(msgspec.Struct, frozen=True):
    """Who answers: the `operator` who took over, or (empty) the chatbot. Times in microseconds."""

    operator: str = ""
    release_at: int | None = None
    handoff_requested_at: int | None = None


def view(message: Message) -> MessageView:
    """The stored message, ready for `message.html`."""
    is_reply = message.role == "assistant"
    return MessageView(
        id=message.id,
        seq=message.seq,
        role=message.role,
        badge=_BADGES[message.role],
        speaker=message.name or message.user_id,
        content=message.content,
        is_markdown=is_reply,
        note=_note(message),
        error=message.error or "",
        turn=message.turn if message.turn in UNSETTLED else "",
        rating=message.feedback.rating or "" if message.feedback else "",
        alternative=message.alternative,
        is_replaced=message.replaced_by is not None,
        may_be_retried=is_reply or message.turn in _RETRIED,
        created_at=message.created_at,
        sources=[_source(source) for source in message.sources],
    )


def view_control(conversation: Conversation | None) -> ControlView:
    """Ready for `control.html`; None: nobody has spoken yet."""
    if conversation is None:
        return ControlView()
    return ControlView(
        operator="" if conversation.controlled_by == BOT else conversation.controlled_by,
        release_at=conversation.release_at,
        handoff_requested_at=conversation.handoff_requested_at,
    )


def _note(message: Message) -> str:
    if message.error is not None:
        return error_with_code(message.error).message
    return _PROMPTS.get(message.turn or "", "") or _REPLIES.get(message.status, "")


def _source(source: Source) -> SourceView:
    one_line = source.line_from == source.line_to
    return SourceView(
        document=source.document_name,
        lines=f"line {source.line_from}" if one_line else f"lines {source.line_from}–{source.line_to}",
        relevance=f"{source.score:.2f}",
        excerpt=source.content,
    )
