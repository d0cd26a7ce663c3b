"""What end users see of conversations: less than the account, by a form of its own, so that nothing is shown by accident.

Idea: each field is named here, and so is each type of event with what its data shows. Invariant: no id of the account, no
metadata, vector, score, note or name of another user; and of the sources as much as the key that let them in says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from gigachat_server.access.principal import Principal
from gigachat_server.api import wire
from gigachat_server.chat.conversations import BOT, Transcript
from gigachat_server.chat.feed import FeedEvent
from gigachat_server.chat.turns.progress import TurnResult
from gigachat_server.clock import wire_time
from gigachat_server.records import (
    Citation,
    Conversation,
    EventType,
    Feedback,
    Message,
    MessageRole,
    MessageStatus,
    Source,
    SourceView,
    TurnState,
)


class EndUserSource(msgspec.Struct, frozen=True):
    """A passage that a reply was made from."""

    id: str
    document_id: str
    name: Annotated[str, Meta(description="The document's.")]
    content: Annotated[str | None, Meta(description="Its text; null where only names are shown.")]
    page: int | None
    heading: str | None


class EndUserMessage(msgspec.Struct, frozen=True):
    """A message, as the end user of the conversation sees it."""

    id: str
    conversation_id: str
    user_id: Annotated[str | None, Meta(description="Yours, of what you said and the replies to it; null otherwise.")]
    role: MessageRole
    name: str
    content: str
    status: MessageStatus
    sources: list[EndUserSource]
    citations: Annotated[
        list[wire.WireCitation], Meta(description="Places count in a source's `content`; null where that is not shown.")
    ]
    in_reply_to: str | None
    alternative: int
    replaced_by: str | None
    turn: TurnState | None
    error: str | None
    feedback: Feedback | None
    seq: int
    created_at: wire.Moment
    updated_at: wire.Moment


class EndUserConversation(msgspec.Struct, frozen=True):
    """A conversation, as its end user sees it."""

    conversation_id: str
    user_id: str | None
    controlled_by: Annotated[str, Meta(description="`bot`, or the name of the operator who answers.")]
    handoff_requested_at: wire.Moment | None
    answering: Annotated[str | None, Meta(description="The prompt that is being answered.")]
    queued: int
    status: Literal["open", "closed"]
    seq: int
    created_at: wire.Moment
    updated_at: wire.Moment


class EndUserEvent(msgspec.Struct, frozen=True):
    """An event, as the end user of the conversation sees it. Their `seq` rises, and may skip."""

    conversation_id: str
    seq: int
    type: EventType
    data: dict[str, Any]
    message: EndUserMessage | None
    prompt: EndUserMessage | None
    created_at: wire.Moment


# What an end user is told of each type of event; those that are not here are the account's own.
SHOWN_EVENTS: Mapping[str, tuple[str, ...]] = {
    "message.created": ("message_id", "prompt_id"),
    "message.replaced": ("message_id", "replaced_by"),
    "message.feedback": ("message_id",),
    "messages.deleted": ("message_ids",),
    "turn.started": ("prompt_id",),
    "turn.queued": ("prompt_id",),
    "turn.failed": ("prompt_id", "code"),
    "turn.stopped": ("prompt_id",),
    "turn.interrupted": ("prompt_id",),
    "turn.intercepted": ("prompt_id",),
    "turn.coalesced": ("prompt_id", "with"),
    "turn.recovered": ("prompt_id",),
    "turn.proposed": ("prompt_id",),
    "handoff.requested": ("message_id",),
    "conversation.taken_over": ("operator",),
    "conversation.released": ("reason",),
    "conversation.identified": (),
    "conversation.closed": (),
    "conversation.rated": ("closed_seq", "score"),
    "conversation.reopened": (),
}


class EndUserView:
    """How records look to one end user."""

    def __init__(self, principal: Principal) -> None:
        self._user_id = principal.user_id
        self._sources: SourceView = principal.sources
        self.with_embedding = False

    def messages(self, found: TurnResult | Transcript) -> list[EndUserMessage]:
        return [self.message(record) for record in found.messages]

    def message(self, record: Message, vectors: Mapping[str, bytes] = {}) -> EndUserMessage:
        return EndUserMessage(
            id=record.id,
            conversation_id=record.conversation_id,
            user_id=record.user_id if record.user_id == self._user_id else None,
            role=record.role,
            name=record.name,
            content=record.content,
            status=record.status,
            sources=[] if self._sources == "none" else [self._source(source) for source in record.sources],
            citations=[] if self._sources == "none" else [self._citation(each, record.sources) for each in record.citations],
            in_reply_to=record.in_reply_to,
            alternative=record.alternative,
            replaced_by=record.replaced_by,
            turn=record.turn,
            error=record.error,
            feedback=record.feedback,
            seq=record.seq,
            created_at=wire_time(record.created_at),
            updated_at=wire_time(record.updated_at),
        )

    def conversation(self, record: Conversation) -> EndUserConversation:
        return EndUserConversation(
            conversation_id=record.conversation_id,
            user_id=record.user_id,
            controlled_by=record.controlled_by or BOT,
            handoff_requested_at=None if record.handoff_requested_at is None else wire_time(record.handoff_requested_at),
            answering=record.answering,
            queued=record.queued,
            status="closed" if record.status == "closed" else "open",
            seq=record.last_seq,
            created_at=wire_time(record.created_at),
            updated_at=wire_time(record.last_at),
        )

    def event(self, happened: FeedEvent) -> EndUserEvent | None:
        """None for one that is not theirs to see."""
        record = happened.event
        shown = SHOWN_EVENTS.get(record.type)
        if shown is None:
            return None
        return EndUserEvent(
            conversation_id=record.conversation_id,
            seq=record.seq,
            type=record.type,
            data={name: record.data[name] for name in shown if name in record.data},
            message=None if happened.message is None else self.message(happened.message),
            prompt=None if happened.prompt is None else self.message(happened.prompt),
            created_at=wire_time(record.created_at),
        )

    def _source(self, source: Source) -> EndUserSource:
        return EndUserSource(
            id=source.id,
            document_id=source.document_id,
            name=source.document_name,
            content=source.content if self._sources == "full" else None,
            page=source.page,
            heading=source.heading,
        )

    def _citation(self, citation: Citation, sources: Sequence[Source]) -> wire.WireCitation:
        is_full = self._sources == "full"
        return wire.WireCitation(
            number=citation.number,
            source_id=sources[citation.number - 1].id,
            start=citation.start if is_full else None,
            end=citation.end if is_full else None,
            text=citation.text(sources) if is_full else None,
            marker_start=citation.marker_start,
            marker_end=citation.marker_end,
        )
