"""Messages as the pages show them: who spoke, what became of it, and what it is based on."""

from __future__ import annotations

import msgspec

from gigachat_server.records import Message, Source

_BADGES = {"user": "User", "assistant": "Assistant", "operator": "Operator", "system": "System"}
_NOTES = {
    "stopped": "Stopped before the end.",
    "incomplete": "The model broke off here.",
    "failed": "No reply could be made.",
}


class SourceView(msgspec.Struct, frozen=True):
    document: str
    lines: str
    relevance: str
    excerpt: str


class MessageView(msgspec.Struct, frozen=True):
    """`is_markdown`: the chatbot wrote it; what people write is shown as it is."""

    id: str
    role: str
    badge: str
    speaker: str
    content: str
    is_markdown: bool
    note: str
    error: str
    alternative: int
    created_at: int
    sources: list[SourceView]


def view(message: Message) -> MessageView:
    """The stored message, ready for `message.html`."""
    return MessageView(
        id=message.id,
        role=message.role,
        badge=_BADGES[message.role],
        speaker=message.name or message.user_id,
        content=message.content,
        is_markdown=message.role == "assistant",
        note=_NOTES.get(message.status, ""),
        error=message.error or "",
        alternative=message.alternative,
        created_at=message.created_at,
        sources=[_source(source) for source in message.sources],
    )


def _source(source: Source) -> SourceView:
    one_line = source.line_from == source.line_to
    return SourceView(
        document=source.document_name,
        lines=f"line {source.line_from}" if one_line else f"lines {source.line_from}–{source.line_to}",
        relevance=f"{source.score:.2f}",
        excerpt=source.content,
    )
