"""The messages that a turn's replies become: whole at its end, or as far as they were said when it was ended.

Invariants: no empty reply is ever made; what is stored of a reply is what was said of it, and its citations are those of
that text; and only replies of a turn that came to its own end tell of a handoff, since no other asks for one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from gigachat_server.chat.answers.citations import checked, look_up
from gigachat_server.chat.turns.progress import Turn
from gigachat_server.models.base import HandoffRequest, LeftOut, Passage, ReplyEnd, UsageReport
from gigachat_server.records import Chunk, Citation, Message, MessageStatus, Source
from gigachat_server.store.drafts import Draft


def replies(turn: Turn, *, unfinished: MessageStatus, is_cut: bool = False) -> list[Message]:
    """The replies said so far, but for their place in the order. Those not at their end get the status `unfinished`.

    `is_cut`: as far as they had been said when the turn was frozen; what came after that was never shown.
    """
    return [
        msgspec.structs.replace(each, citations=_citations(_said_cited(turn, each), each))
        for each in _replies(turn, unfinished=unfinished, is_cut=is_cut)
    ]


def drafts(turn: Turn, *, is_cut: bool = False) -> list[Draft]:
    """The same, as it is kept while the turn goes on: of citations, no more than what the model itself says."""
    return [
        Draft(
            chatbot_id=turn.chatbot.id,
            conversation_id=turn.conversation_id,
            prompt_id=turn.prompt_id,
            alternative=reply.alternative,
            message_id=reply.id,
            metadata=reply.metadata,
            content=reply.content,
            sources=reply.sources,
            citations=_said_cited(turn, reply),
        )
        for reply in _replies(turn, unfinished="incomplete", is_cut=is_cut)
    ]


def _replies(turn: Turn, *, unfinished: MessageStatus, is_cut: bool) -> Iterator[Message]:
    ends = turn.frozen_ends if is_cut else turn.heard.ends
    handoff = turn.heard.handoff if unfinished == "completed" else None
    for alternative, message_id in enumerate(turn.message_ids):
        text, end = turn.text(alternative, is_cut=is_cut), ends.get(alternative)
        if not text.strip():
            continue
        yield _message(
            turn.prompt,
            chatbot_name=turn.chatbot.name,
            message_id=message_id,
            alternative=alternative,
            content=text,
            status=unfinished if end is None else "completed",
            metadata=_metadata(turn, end, handoff),
            sources=() if end is not None and end.abstained else turn.sources,
        )


def _said_cited(turn: Turn, reply: Message) -> tuple[Citation, ...] | None:
    """What the model itself says that the reply cites, as far as it holds; None if it says nothing of it."""
    said = turn.heard.cited.get(reply.alternative)
    return None if said is None else checked(said, reply.content, reply.sources)


def _citations(said: tuple[Citation, ...] | None, reply: Message) -> tuple[Citation, ...]:
    return look_up(reply.content, reply.sources) if said is None else said


def from_draft(draft: Draft, prompt: Message, *, chatbot_name: str, status: MessageStatus) -> Message:
    """The reply to that prompt as far as its draft holds it."""
    reply = _message(
        prompt,
        chatbot_name=chatbot_name,
        message_id=draft.message_id,
        alternative=draft.alternative,
        content=draft.content,
        status=status,
        metadata=draft.metadata,
        sources=draft.sources,
    )
    return msgspec.structs.replace(reply, citations=_citations(draft.citations, reply))


def placed(reply: Message, *, seq: int, at: int, behind: Sequence[Message] = ()) -> Message:
    """The reply in its place; readable, but out of the conversation, if it stays `behind` others to the same prompt."""
    replaced_by = behind[0].id if behind else None
    return msgspec.structs.replace(reply, seq=seq, created_at=at, updated_at=at, replaced_by=replaced_by)


def source(passage: Passage, chunk: Chunk) -> Source:
    """A chunk as it stands now, with what it was worth to the prompt."""
    return Source(
        id=chunk.id,
        document_id=chunk.document_id,
        document_name=chunk.document_name,
        number=chunk.number,
        content=chunk.content,
        line_from=chunk.line_from,
        line_to=chunk.line_to,
        score=passage.score,
        created_at=chunk.created_at,
        updated_at=chunk.updated_at,
        page=chunk.page,
        heading=chunk.heading,
    )


def _metadata(turn: Turn, end: ReplyEnd | None, handoff: HandoffRequest | None) -> dict[str, object]:
    usage = turn.heard.usage
    metadata: dict[str, object] = {
        "model": usage.model if usage else turn.model_name,
        "usage": _tokens(usage),
        "finish_reason": end.finish_reason if end else None,
    }
    if turn.rewrite is not None:
        metadata["rewrite"] = {"text": turn.rewrite.text, "usage": _tokens(turn.rewrite.usage)}
    if end is not None and end.abstained is not None:
        metadata["abstained"] = end.abstained
    if turn.fixed_answer_id is not None:
        metadata["fixed_answer_id"] = turn.fixed_answer_id
    if turn.heard.attempts:
        metadata["attempts"] = [{"model": each.model, "code": each.code} for each in turn.heard.attempts]
    if turn.heard.left_out not in (None, LeftOut()):
        metadata["left_out"] = {"messages": turn.heard.left_out.messages, "passages": turn.heard.left_out.passages}
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
        created_at=0,
        updated_at=0,
    )
