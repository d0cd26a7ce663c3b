"""Messages and conversations as the pages show them: who spoke, what became of it, what it is based on, who answers."""

from __future__ import annotations

import msgspec

from gigachat_server.chat.conversations import BOT, RELEASED
from gigachat_server.errors import error_with_code
from gigachat_server.language.markup import readable
from gigachat_server.pages.links import Link
from gigachat_server.records import UNSETTLED, Conversation, Event, Message, Source

_BADGES = {"user": "User", "assistant": "Assistant", "operator": "Operator", "system": "System"}
# Notes on the state of a reply, and of a prompt. What went well has none.
_REPLIES = {
    "stopped": "Stopped here.",
    "incomplete": "Broken off here; the text so far is kept.",
}
_PROMPTS = {
    "queued": "Waiting for the previous reply.",
    "stopped": "Stopped.",
    "interrupted": "Interrupted by a newer prompt.",
    "intercepted": "Left to the operator.",
    "coalesced": "Answered together with the next prompt.",
}
# From which relevance on: 0.78 is where "the documents can answer this" is decided, whatever a chatbot's threshold.
_RELEVANCE = ((0.78, "high", "answers this"), (0.5, "middle", "may answer this"), (0.0, "low", "related"))
_RETRIED = ("failed", "stopped", "interrupted", "intercepted")  # prompts that may still want a reply


class SourceView(msgspec.Struct, frozen=True):
    """`cited`: from where to where, and the anchor.

    `relevance` is in words, "quoted" where that says more; `degree` one of them for the style sheet, `score` the number.
    """

    anchor: str
    document: str
    lines: str
    relevance: str
    degree: str
    score: str
    content: str
    cited: list[tuple[int, int, str]]

    @property
    def excerpt(self) -> list[tuple[str, str]]:
        """The content as people read it, piece by piece, each that is cited with its anchor.

        It takes a while, so templates ask for it, which are filled in away from the event loop.
        """
        text, moved = readable(self.content, [place for start, end, _ in self.cited for place in (start, end)])
        pieces, at = [], 0
        for number, (_, _, anchor) in enumerate(self.cited):
            start, end = moved[2 * number : 2 * number + 2]
            if at < start:
                pieces.append((text[at:start], ""))
            pieces.append((text[start:end], anchor))
            at = end
        return [*pieces, (text[at:], "")] if at < len(text) or not pieces else pieces


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
    links: list[Link]  # of its markers


class LineView(msgspec.Struct, frozen=True, kw_only=True):
    """A change of control, as a line between messages: who did it, and what that means."""

    id: str
    seq: int
    operator: str
    text: str
    is_release: bool
    created_at: int


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
        badge=_BADGES.get(message.role, message.role.capitalize()),
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
        sources=[_source(message, number, source) for number, source in enumerate(message.sources, 1)],
        links=_links(message),
    )


def view_line(event: Event) -> LineView:
    """Ready for `line.html`."""
    operator, text = str(event.data.get("operator") or ""), "took over. The chatbot is silent."
    is_release = event.type == RELEASED
    if is_release:
        text = "released the conversation. The chatbot answers again."
        if not operator:
            silence = event.data.get("reason") == "silence"
            text = "No operator wrote for a while. " * silence + "The chatbot answers again."
    return LineView(
        id=f"event-{event.seq}",
        seq=event.seq,
        operator=operator,
        text=text,
        is_release=is_release,
        created_at=event.created_at,
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


def _source(message: Message, number: int, source: Source) -> SourceView:
    one_line = source.line_from == source.line_to
    cited = [(start, end, _anchor(message, number, start)) for start, end in _cited(message, number)]
    degree, relevance = ("high", "quoted") if cited else _in_words(source.score)
    return SourceView(
        anchor=f"source-{message.id}-{number}",
        document=source.document_name,
        lines=f"line {source.line_from}" if one_line else f"lines {source.line_from}–{source.line_to}",
        relevance=relevance,
        degree=degree,
        score=shown_score(source.score),
        content=source.content,
        cited=cited,
    )


def shown_score(score: float) -> str:
    """With two digits, or as many as tell it from 1."""
    digits = next((digits for digits in range(2, 6) if f"{score:.{digits}f}" != f"{1:.{digits}f}"), 2)
    return f"{score:.{digits}f}"


def _in_words(score: float) -> tuple[str, str]:
    """What a relevance says, and how much that is."""
    return next((degree, words) for least, degree, words in _RELEVANCE if score >= least)


def _cited(message: Message, number: int) -> list[tuple[int, int]]:
    """The spans of that source that are cited, in order; those that overlap are one."""
    spans = [(each.start, each.end) for each in message.citations if each.number == number]
    merged: list[tuple[int, int]] = []
    for start, end in sorted((start, end) for start, end in spans if start is not None and end is not None):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _links(message: Message) -> list[Link]:
    """One for each marker: it leads to the first span that it stands for, or else to the source."""
    links: dict[int, Link] = {}
    for each in message.citations:
        goal = f"source-{message.id}-{each.number}"
        for start, end in _cited(message, each.number):
            if each.start is not None and start <= each.start < end:
                goal = _anchor(message, each.number, start)
        links.setdefault(each.marker_start, Link(each.marker_start, each.marker_end, f"#{goal}"))
    return [links[start] for start in sorted(links)]


def _anchor(message: Message, number: int, start: int) -> str:
    return f"source-{message.id}-{number}-{start}"
