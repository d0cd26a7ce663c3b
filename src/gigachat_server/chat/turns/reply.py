"""The messages that a turn's replies become: whole at its end, or as far as they were said when it was ended.

Invariants: no empty reply is ever made; what is stored of a reply is what was said of it, and its citations are those of
that text; and only replies of a turn that came to its own end tell of a handoff, since no other asks for one.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gigachat_server.chat.answers.citations import checked, look_up
from gigachat_server.chat.answers.speech import Answer, ReplyFacts, SpokenReply
from gigachat_server.models.base import HandoffRequest, LeftOut, ReplyEnd, UsageReport
from gigachat_server.records import Citation, Message, MessageStatus, Source
from gigachat_server.store.drafts import Draft


def replies(answer: Answer, prompt: Message, *, chatbot_name: str, unfinished: MessageStatus) -> list[Message]:
    """The replies to that prompt, but for their place in the order. Those not at their end get the status `unfinished`."""
    facts = answer.facts
    handoff = facts.handoff if unfinished == "completed" else None
    made = []
    for spoken in answer.replies:
        sources = _sources(spoken, facts)
        cited = _model_citations(spoken, sources)
        made.append(
            _message(
                prompt,
                chatbot_name=chatbot_name,
                message_id=spoken.message_id,
                alternative=spoken.alternative,
                content=spoken.text,
                status=unfinished if spoken.end is None else "completed",
                metadata=_metadata(facts, spoken.end, handoff),
                sources=sources,
                citations=look_up(spoken.text, sources) if cited is None else cited,
            )
        )
    return made


def drafts(answer: Answer, prompt: Message) -> list[Draft]:
    """The same, as it is kept while the turn goes on: of citations, no more than what the model itself says."""
    return [
        Draft(
            chatbot_id=prompt.chatbot_id,
            conversation_id=prompt.conversation_id,
            prompt_id=prompt.id,
            alternative=spoken.alternative,
            message_id=spoken.message_id,
            metadata=_metadata(answer.facts, spoken.end, None),
            content=spoken.text,
            sources=(sources := _sources(spoken, answer.facts)),
            citations=_model_citations(spoken, sources),
        )
        for spoken in answer.replies
    ]


def _sources(spoken: SpokenReply, facts: ReplyFacts) -> tuple[Source, ...]:
    return () if spoken.end is not None and spoken.end.abstained else facts.sources


def _model_citations(spoken: SpokenReply, sources: Sequence[Source]) -> tuple[Citation, ...] | None:
    """What the model itself says that the reply cites, as far as it holds; None if it says nothing of it."""
    return None if spoken.cited is None else checked(spoken.cited, spoken.text, sources)


def from_draft(draft: Draft, prompt: Message, *, chatbot_name: str, status: MessageStatus) -> Message:
    """The reply to that prompt as far as its draft holds it."""
    found = look_up(draft.content, draft.sources) if draft.citations is None else draft.citations
    return _message(
        prompt,
        chatbot_name=chatbot_name,
        message_id=draft.message_id,
        alternative=draft.alternative,
        content=draft.content,
        status=status,
        metadata=draft.metadata,
        sources=draft.sources,
        citations=found,
    )


def placed(reply: Message, *, seq: int, at: int, behind: Sequence[Message] = ()) -> Message:
    """The reply in its place; readable, but out of the conversation, if it stays `behind` others to the same prompt."""
    replaced_by = behind[0].id if behind else None
    return msgspec.structs.replace(reply, seq=seq, created_at=at, updated_at=at, replaced_by=replaced_by)


def _metadata(facts: ReplyFacts, end: ReplyEnd | None, handoff: HandoffRequest | None) -> dict[str, object]:
    usage, rewrite, left_out = facts.usage, facts.rewrite, facts.left_out
    metadata: dict[str, object] = {
        "model": usage.model if usage else facts.model_name,
        "usage": _tokens(usage),
        "finish_reason": end.finish_reason if end else None,
    }
    if rewrite is not None:
        metadata["rewrite"] = {"text": rewrite.text, "usage": _tokens(rewrite.usage)}
    if end is not None and end.abstained is not None:
        metadata["abstained"] = end.abstained
    if facts.fixed_answer_id is not None:
        metadata["fixed_answer_id"] = facts.fixed_answer_id
    if facts.first_word_ms is not None:
        metadata["first_word_ms"] = facts.first_word_ms
    if facts.attempts:
        metadata["attempts"] = [{"model": each.model, "code": each.code} for each in facts.attempts]
    if left_out is not None and left_out != LeftOut():
        metadata["left_out"] = {"messages": left_out.messages, "passages": left_out.passages}
    if handoff is not None:
        metadata["handoff"] = {"reason": handoff.reason, "note": handoff.note}
    return metadata


def _tokens(usage: UsageReport | None) -> dict[str, int]:
    if usage is None:
        return {}
    tokens = {"prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens}
    return tokens | {"reasoning_tokens": usage.reasoning_tokens} if usage.reasoning_tokens else tokens


def _message(
    prompt: Message,
    *,
    chatbot_name: str,
    message_id: str,
    alternative: int,
    content: str,
    status: MessageStatus,
    metadata: dict[str, object],
    sources: tuple[Source, ...],
    citations: tuple[Citation, ...],
) -> Message:
    return Message(
        chatbot_id=prompt.chatbot_id,
        conversation_id=prompt.conversation_id,
        seq=0,
        id=message_id,
        role="assistant",
        user_id=prompt.user_id,
        name=chatbot_name,
        content=content,
        status=status,
        in_reply_to=prompt.id,
        alternative=alternative,
        replaced_by=None,
        metadata=metadata,
        sources=sources,
        citations=citations,
        created_at=0,
        updated_at=0,
    )
