"""The wire form of what operators learn from: groups of unanswered prompts, fixed answers, and replayed prompts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from gigachat_server.api import wire
from gigachat_server.clock import wire_time
from gigachat_server.learning.comparison import Changed
from gigachat_server.learning.groups import Group, GroupOutcome
from gigachat_server.learning.replay import ReplayResult
from gigachat_server.records import FixedAnswer, Message, Source, UnansweredPrompt, UnansweredReason, UnansweredState
from gigachat_server.store.unanswered import Suggestion

EXAMPLES = 10  # of a group's prompts that are shown


class WireExample(msgspec.Struct, frozen=True):
    """An unanswered prompt. `answered_by`: the fixed answer or document that an operator made of it, or `reply`."""

    prompt_id: str
    conversation_id: str
    prompt: str
    reason: UnansweredReason
    answered_by: str | None
    created_at: wire.Moment


class WireSuggestion(msgspec.Struct, frozen=True):
    """What an operator said to an end user who had got no answer."""

    content: str
    operator: str
    message_id: str
    conversation_id: str


class WireUnanswered(msgspec.Struct, frozen=True):
    """Unanswered prompts that ask much the same; `id` is that of the first, `prompt` what it says."""

    id: str
    chatbot_id: str
    state: UnansweredState
    prompt: str
    count: int
    examples: Annotated[list[WireExample], Meta(description=f"The newest, {EXAMPLES} at most.")]
    suggested_answer: WireSuggestion | None
    oldest_at: wire.Moment
    newest_at: wire.Moment


class WireFixedAnswer(msgspec.Struct, frozen=True):
    """An answer given word for word to everyone who asks one of its prompts, or the same in other words."""

    id: str
    chatbot_id: str
    user_id: str
    prompts: list[str]
    answer: str
    is_enabled: bool
    use_count: int
    created_at: wire.Moment
    updated_at: wire.Moment


class WireSettled(msgspec.Struct, frozen=True):
    """What became of a group of `count` prompts, and what was made of it."""

    id: str
    state: UnansweredState
    count: int
    fixed_answer: WireFixedAnswer | None
    document: wire.WireDocument | None


class WireReplaySource(msgspec.Struct, frozen=True):
    """A passage that a reply was made from, with its relevance then and now; null: not of that reply."""

    name: str
    document_id: str
    old_score: float | None
    new_score: float | None


class WireReplaySources(msgspec.Struct, frozen=True):
    added: list[WireReplaySource]
    removed: list[WireReplaySource]
    kept: list[WireReplaySource]


class WireReplayText(msgspec.Struct, frozen=True):
    """Sentences that one of the two replies says and the other does not."""

    added: list[str]
    removed: list[str]


class WireReplayReply(msgspec.Struct, frozen=True):
    """`message_id` is null for a reply that is not stored."""

    message_id: str | None
    content: str
    is_unanswered: bool
    finish_reason: str | None
    fixed_answer_id: str | None


class WireReplayError(msgspec.Struct, frozen=True):
    code: str
    detail: str


class WireReplayedTurn(msgspec.Struct, frozen=True):
    """A prompt asked again: `old` is what was replied, `new` what would be. Nothing of `new` is stored."""

    prompt_id: str
    conversation_id: str
    prompt: str
    changed: Changed
    would_answer: bool
    old: WireReplayReply | None
    new: WireReplayReply | None
    sources: WireReplaySources
    text: WireReplayText
    model_calls: int
    error: WireReplayError | None


class WireReplaySummary(msgspec.Struct, frozen=True):
    """How many turns, by what changed, and what asking them has cost."""

    turns: int
    same: int
    different: int
    now_answered: int
    now_unanswered: int
    failed: int
    model_calls: int
    prompt_tokens: int
    completion_tokens: int


class WireReplay(msgspec.Struct, frozen=True):
    """`error` is there, as a problem, if it broke off: then the turns are those until then."""

    turns: list[WireReplayedTurn]
    summary: WireReplaySummary
    error: wire.Problem | UnsetType = UNSET


def group(found: Group, suggestion: Suggestion | None) -> WireUnanswered:
    first, last = found.first, found.newest[-1]
    return WireUnanswered(
        id=found.id,
        chatbot_id=first.chatbot_id,
        state=first.state,
        prompt=first.content,
        count=len(found.ids),
        examples=[_example(row) for row in reversed(found.newest[-EXAMPLES:])],
        suggested_answer=None if suggestion is None else _suggestion(suggestion),
        oldest_at=wire_time(first.created_at),
        newest_at=wire_time(last.created_at),
    )


def fixed_answer(record: FixedAnswer, account_id: str) -> WireFixedAnswer:
    return WireFixedAnswer(
        id=record.id,
        chatbot_id=record.chatbot_id,
        user_id=account_id,
        prompts=list(record.prompts),
        answer=record.answer,
        is_enabled=record.is_enabled,
        use_count=record.use_count,
        created_at=wire_time(record.created_at),
        updated_at=wire_time(record.updated_at),
    )


def settled(record: GroupOutcome, account_id: str) -> WireSettled:
    return WireSettled(
        id=record.id,
        state=record.state,
        count=record.count,
        fixed_answer=None if record.fixed_answer is None else fixed_answer(record.fixed_answer, account_id),
        document=None if record.document is None else wire.document(record.document, account_id),
    )


def replayed(record: ReplayResult) -> WireReplayedTurn:
    compared, error = record.comparison, record.error
    return WireReplayedTurn(
        prompt_id=record.prompt.id,
        conversation_id=record.prompt.conversation_id,
        prompt=record.prompt.content,
        changed=compared.changed,
        would_answer=record.new is not None and not record.is_unanswered,
        old=None if record.old is None else _reply(record.old, record.old.id, is_unanswered=record.was_unanswered),
        new=None if record.new is None else _reply(record.new, None, is_unanswered=record.is_unanswered),
        sources=WireReplaySources(
            added=[_source(None, source) for source in compared.added],
            removed=[_source(source, None) for source in compared.removed],
            kept=[_source(kept.old, kept.new) for kept in compared.kept],
        ),
        text=WireReplayText(added=compared.only_new, removed=compared.only_old),
        model_calls=int(record.is_model_asked),
        error=None if error is None else WireReplayError(error.code, error.detail or error.message),
    )


def summary(records: Sequence[ReplayResult]) -> WireReplaySummary:
    count = Counter(record.comparison.changed for record in records)
    usages = [record.usage for record in records if record.usage is not None]
    return WireReplaySummary(
        turns=len(records),
        same=count["same"],
        different=count["different"],
        now_answered=count["now_answered"],
        now_unanswered=count["now_unanswered"],
        failed=count["failed"],
        model_calls=sum(record.is_model_asked for record in records),
        prompt_tokens=sum(usage.prompt_tokens for usage in usages),
        completion_tokens=sum(usage.completion_tokens for usage in usages),
    )


def _example(row: UnansweredPrompt) -> WireExample:
    return WireExample(row.prompt_id, row.conversation_id, row.content, row.reason, row.answered_by, wire_time(row.created_at))


def _suggestion(said: Suggestion) -> WireSuggestion:
    return WireSuggestion(said.content, said.operator, said.message_id, said.conversation_id)


def _reply(said: Message, message_id: str | None, *, is_unanswered: bool) -> WireReplayReply:
    return WireReplayReply(
        message_id=message_id,
        content=said.content,
        is_unanswered=is_unanswered,
        finish_reason=said.metadata.get("finish_reason"),
        fixed_answer_id=said.metadata.get("fixed_answer_id"),
    )


def _source(old: Source | None, new: Source | None) -> WireReplaySource:
    shown = new or old
    assert shown is not None, "of one of the two replies"
    return WireReplaySource(
        name=f"{shown.document_name}-{shown.number}",
        document_id=shown.document_id,
        old_score=None if old is None else round(old.score, 6),
        new_score=None if new is None else round(new.score, 6),
    )
