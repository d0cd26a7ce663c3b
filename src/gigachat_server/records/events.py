"""What happens in a conversation, as events: one struct for the data of each type, as clients and webhooks get it.

Invariant: data holds ids, never copies. Whatever changes in a message, some event names it: in `message_id`, or, for a
prompt, in `prompt_id`. The guide to following live tells what each type means.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from gigachat_server.records.inbox import ProposalState
from gigachat_server.records.learning import UnansweredReason

EventType = Literal[
    "message.created",
    "message.replaced",
    "message.feedback",
    "messages.deleted",
    "turn.started",
    "turn.queued",
    "turn.failed",
    "turn.stopped",
    "turn.interrupted",
    "turn.intercepted",
    "turn.coalesced",
    "turn.recovered",
    "turn.proposed",
    "prompt.unanswered",
    "handoff.requested",
    "conversation.taken_over",
    "conversation.released",
    "conversation.identified",
    "conversation.assigned",
    "conversation.closed",
    "conversation.reopened",
    "conversation.snoozed",
    "note.created",
    "note.deleted",
    "conversation.rated",
    "proposal.created",
    "proposal.decided",
]

# What a support team does among itself: end users are never told of it.
STAFF_ONLY: frozenset[EventType] = frozenset(
    ("conversation.assigned", "conversation.snoozed", "note.created", "note.deleted", "proposal.created", "proposal.decided")
)
ReopeningReason = Literal["prompt", "operator", "handoff", "snooze"]


class Event(msgspec.Struct, frozen=True):
    """A fact about a conversation, as it is stored; its `seq` has no gaps.

    A later version may have stored a type that is none of this one's, or more in the data: followers get it as it is.
    """

    chatbot_id: str
    conversation_id: str
    seq: int
    type: EventType
    data: dict[str, Any]
    created_at: int

    @property
    def prompt_id(self) -> str:
        """Of the prompt that it names; empty where it names none."""
        return str(self.data.get("prompt_id", ""))


class EventData(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What an event of one type says. The tag is the type."""

    @property
    def type(self) -> EventType:
        return self.__struct_config__.tag  # type: ignore[return-value]

    def fields(self) -> dict[str, Any]:
        """As it is stored, and shown: without the type, which stands beside it."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        del fields["type"]
        return fields


class MessageCreated(EventData, frozen=True, kw_only=True, tag="message.created"):
    """A message was stored. A reply names its prompt, which it settles."""

    message_id: str
    prompt_id: str | None = None


class MessageReplaced(EventData, frozen=True, kw_only=True, tag="message.replaced"):
    """A reply gave way to another one."""

    message_id: str
    replaced_by: str


class FeedbackGiven(EventData, frozen=True, kw_only=True, tag="message.feedback"):
    """A reply was rated, or its rating was taken back."""

    message_id: str


class MessagesDeleted(EventData, frozen=True, kw_only=True, tag="messages.deleted"):
    message_ids: list[str]


class TurnStarted(EventData, frozen=True, kw_only=True, tag="turn.started"):
    """A prompt that had waited is being answered, or one that was answered before."""

    prompt_id: str


class TurnQueued(EventData, frozen=True, kw_only=True, tag="turn.queued"):
    """A prompt that was answered before waits to be answered again."""

    prompt_id: str


class TurnFailed(EventData, frozen=True, kw_only=True, tag="turn.failed"):
    """A prompt got no reply, or not the whole. `code` is the error's."""

    prompt_id: str
    code: str


class TurnStopped(EventData, frozen=True, kw_only=True, tag="turn.stopped"):
    prompt_id: str


class TurnInterrupted(EventData, frozen=True, kw_only=True, tag="turn.interrupted"):
    """A newer prompt ended the reply."""

    prompt_id: str


class TurnIntercepted(EventData, frozen=True, kw_only=True, tag="turn.intercepted"):
    """An operator who took over ended the reply."""

    prompt_id: str


class TurnCoalesced(EventData, frozen=True, kw_only=True, tag="turn.coalesced", rename={"with_": "with"}):
    """A prompt is answered together with a later one."""

    prompt_id: str
    with_: str


class TurnRecovered(EventData, frozen=True, kw_only=True, tag="turn.recovered"):
    """A prompt whose process died is answered after all."""

    prompt_id: str


class PromptUnanswered(EventData, frozen=True, kw_only=True, tag="prompt.unanswered"):
    prompt_id: str
    reason: UnansweredReason


class HandoffRequested(EventData, frozen=True, kw_only=True, tag="handoff.requested"):
    """A human is wanted. `message_id` is the message that says so to the end user."""

    reason: str
    note: str
    message_id: str


class ControlTakenOver(EventData, frozen=True, kw_only=True, tag="conversation.taken_over"):
    operator: str


class ControlReleased(EventData, frozen=True, kw_only=True, tag="conversation.released"):
    """The chatbot answers again: an operator released the conversation, or was silent for too long.

    `operator` is who released it, if that is known: it may be another one than who had it.
    """

    reason: str
    operator: str | None = None


class ConversationIdentified(EventData, frozen=True, kw_only=True, tag="conversation.identified"):
    """An anonymous visitor has signed in: the conversation, and what they said in it, is theirs by the name they have now."""


class ConversationAssigned(EventData, frozen=True, kw_only=True, tag="conversation.assigned"):
    """Another operator looks after it from now on; without `operator`, it is unassigned."""

    operator: str | None = None
    by: str


class ConversationClosed(EventData, frozen=True, kw_only=True, tag="conversation.closed"):
    """It is done with, until somebody speaks again."""

    by: str


class ConversationSnoozed(EventData, frozen=True, kw_only=True, tag="conversation.snoozed"):
    """It is out of sight for a while, or until somebody speaks."""

    by: str


class ConversationReopened(EventData, frozen=True, kw_only=True, tag="conversation.reopened"):
    """It was closed or snoozed, and is open: somebody spoke or wants a human, an operator opened it, or the time was up."""

    reason: ReopeningReason


class NoteCreated(EventData, frozen=True, kw_only=True, tag="note.created"):
    note_id: str


class NoteDeleted(EventData, frozen=True, kw_only=True, tag="note.deleted"):
    note_id: str


class ConversationRated(EventData, frozen=True, kw_only=True, tag="conversation.rated"):
    """The end user said what a human's help was worth, 1 to 5; `closed_seq` is that of the event by which it ended."""

    closed_seq: int
    score: int


class TurnProposed(EventData, frozen=True, kw_only=True, tag="turn.proposed"):
    """The reply to a prompt is written, and an operator looks at it before it is said."""

    prompt_id: str


class ProposalCreated(EventData, frozen=True, kw_only=True, tag="proposal.created"):
    proposal_id: str
    prompt_id: str


class ProposalDecided(EventData, frozen=True, kw_only=True, tag="proposal.decided"):
    """It was sent, discarded, or is out of date. `message_id` is the reply that it became."""

    proposal_id: str
    state: ProposalState
    message_id: str | None = None
