"""Conversations and their messages: who said what, what it is based on, what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

MessageRole = Literal["user", "assistant", "operator", "system"]
# A closed or snoozed conversation is open again as soon as its end user speaks.
ConversationStatus = Literal["open", "snoozed", "closed"]
MessageStatus = Literal["completed", "stopped", "incomplete", "failed"]
# What became of a prompt: it waits, is being answered, was answered, could not be; its reply was ended by `stop`, by a
# newer prompt, or by an operator who took over (or had); it was answered together with the prompt after it; or its reply is
# proposed to the operators.
TurnState = Literal["queued", "running", "done", "failed", "stopped", "interrupted", "intercepted", "coalesced", "proposed"]
Ending = Literal["stopped", "interrupted", "intercepted"]  # of a turn that was ended on purpose
UNSETTLED: tuple[TurnState, ...] = ("queued", "running")  # a process still has to settle it


class Conversation(msgspec.Struct, frozen=True):
    """One thread. `user_id` is the end user who opened it; None while only a client has spoken.

    `controlled_by` is `bot` or the operator who has taken over. `control_epoch` rises whenever a running reply may
    no longer be stored: control changed hands, or the reply was ended. `answering` is the prompt being answered.

    `waiting_since` is when the end user first spoke without an answer of a human, since one is wanted or in control.
    `assigned_to` is the operator who looks after it, in control or not.
    """

    chatbot_id: str
    conversation_id: str
    user_id: str | None
    last_seq: int
    last_at: int
    controlled_by: str
    control_epoch: int
    release_at: int | None
    handoff_requested_at: int | None
    answering: str | None
    queued: int
    created_at: int
    status: ConversationStatus = "open"
    snoozed_until: int | None = None
    closed_at: int | None = None
    assigned_to: str | None = None
    waiting_since: int | None = None
    last_message_seq: int = 0


class Source(msgspec.Struct, frozen=True):
    """A chunk as it stood when a reply was made from it; only its vector is looked up again on reading."""

    id: str
    document_id: str
    document_name: str
    number: int
    content: str
    line_from: int
    line_to: int
    score: float
    created_at: int
    updated_at: int
    page: int | None = None
    heading: str | None = None


class Citation(msgspec.Struct, frozen=True):
    """A marker of a reply, and what it points to: characters `start` to `end` of the content of source `number`, from 1.

    Both are None where no sentence of the source is known to say what the reply says. The marker itself, such as `[1]`,
    is the reply's characters `marker_start` to `marker_end`; one that names two sources is two citations.
    """

    number: int
    start: int | None
    end: int | None
    marker_start: int
    marker_end: int

    def text(self, sources: Sequence[Source]) -> str | None:
        """What is cited, word for word."""
        return None if self.start is None else sources[self.number - 1].content[self.start : self.end]


class Feedback(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an end user thought of a reply."""

    rating: Annotated[Literal["up", "down"] | None, Meta(description="null takes the rating back.")]
    text: Annotated[str, Meta(max_length=4000, description="The reason, in the end user's own words.")] = ""


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One stored utterance. `seq` and `created_at` rise strictly within its conversation.

    `turn` and `error` belong to prompts: what became of it, and the code of what went wrong. `replaced_by` names the
    reply that a retry put in this one's place.
    """

    chatbot_id: str
    conversation_id: str
    seq: int
    id: str
    role: MessageRole
    user_id: str
    name: str
    content: str
    status: MessageStatus
    in_reply_to: str | None
    alternative: int
    replaced_by: str | None
    turn: TurnState | None = None
    error: str | None = None
    feedback: Feedback | None = None
    metadata: dict[str, Any]  # what the client sent with a prompt, or what the model reported about a reply
    sources: tuple[Source, ...]
    citations: tuple[Citation, ...] = ()
    created_at: int
    updated_at: int
