"""Messages as end users see them: who spoke, what became of it, and, as far as their key says, what it is based on."""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec

from gigachat_server.language.invisible import without_misleading
from gigachat_server.language.markup import readable
from gigachat_server.pages.links import Link, is_safe_link
from gigachat_server.pages.views import SourceView, view
from gigachat_server.records import Message, Source
from gigachat_server.records import SourceView as SourcesShown
from gigachat_server.widget.strings import Strings

_AROUND = 240  # characters of a source that are shown on both sides of what is cited
_UNCITED = 600
_NOTES = {"stopped": "note_stopped", "incomplete": "note_incomplete"}
_PROMPT_NOTES = ("queued", "interrupted", "coalesced")  # that a human answers, the top of the chat says


class WidgetSource(msgspec.Struct, frozen=True):
    """`quoted`: what its text is shown of; None where only its title is."""

    anchor: str
    title: str
    part: str
    href: str
    quoted: SourceView | None

    @property
    def pieces(self) -> list[tuple[str, str]]:
        """Of its text, each with the anchor of what is cited."""
        return [] if self.quoted is None else quoted(self.quoted.excerpt)


class WidgetMessage(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    seq: int
    role: str
    speaker: str
    initial: str
    content: str
    is_markdown: bool
    is_failed: bool
    is_replaced: bool
    may_be_retried: bool
    note: str  # the key of what is said about it
    turn: str
    rating: str
    created_at: int
    sources: list[WidgetSource]
    links: list[Link]


def widget_view(message: Message, shown: SourcesShown, strings: Strings) -> WidgetMessage:
    """Ready for `message.html`."""
    full = view(message)
    speaker = without_misleading(message.name).strip() or "?"
    sources = (
        [] if shown == "none" else [_source(*each, shown, strings) for each in zip(full.sources, message.sources, strict=True)]
    )
    links = [] if shown == "none" else [_to_whole(link, message.id) if shown == "titles" else link for link in full.links]
    return WidgetMessage(
        id=message.id,
        seq=message.seq,
        role=message.role,
        speaker=speaker,
        initial=speaker[0].upper(),
        content=message.content,
        is_markdown=full.is_markdown,
        is_failed=message.error is not None,
        is_replaced=full.is_replaced,
        may_be_retried=full.may_be_retried and message.role != "assistant" and message.turn != "intercepted",
        note=_note(message),
        turn=full.turn,
        rating=full.rating,
        created_at=message.created_at,
        sources=sources,
        links=links,
    )


def _note(message: Message) -> str:
    if message.error is not None:
        return "note_failed"
    if message.turn in _PROMPT_NOTES:
        return f"note_{message.turn}"
    return _NOTES.get(message.status, "")


def _to_whole(link: Link, message_id: str) -> Link:
    """To the source instead of the span in it, which is not shown."""
    prefix = f"#source-{message_id}-"
    return Link(link.start, link.end, prefix + link.href.removeprefix(prefix).partition("-")[0])


def _source(seen: SourceView, source: Source, shown: SourcesShown, strings: Strings) -> WidgetSource:
    name = source.document_name
    page = strings.words["page"].replace("{n}", str(source.page)) if source.page is not None else ""
    return WidgetSource(
        anchor=seen.anchor,
        title=title_of(name),
        part=" · ".join(part for part in (page, without_misleading(source.heading or "")) if part),
        href=name if is_safe_link(name) else "",
        quoted=seen if shown == "full" else None,
    )


def title_of(name: str) -> str:
    """What a document is called: of an address, what people read of it."""
    shown = without_misleading(name)
    if not is_safe_link(name):
        return shown
    parts = urlsplit(shown)
    return (parts.hostname or "").removeprefix("www.") + parts.path.rstrip("/")


def quoted(pieces: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """What is cited with what stands around it."""
    cited = [place for place, (_, anchor) in enumerate(pieces) if anchor]
    if not cited:
        whole = "".join(text for text, _ in pieces)
        return [(_start_of(whole, _UNCITED), "")]
    chosen = []
    for place in range(max(0, cited[0] - 1), min(len(pieces), cited[-1] + 2)):
        text, anchor = pieces[place]
        if not anchor and place < cited[0]:
            text = _end_of(text, _AROUND)
        elif not anchor and place > cited[-1]:
            text = _start_of(text, _AROUND)
        chosen.append((text, anchor))
    return chosen


def _start_of(text: str, most: int) -> str:
    return text if len(text) <= most else text[:most].rpartition(" ")[0] + " …"


def _end_of(text: str, most: int) -> str:
    return text if len(text) <= most else "… " + text[-most:].partition(" ")[2]


def plain_line(text: str, most: int) -> str:
    """The start of what was said, in one line."""
    line = " ".join(readable(without_misleading(text))[0].split())
    return line if len(line) <= most else line[:most].rpartition(" ")[0] + "…"
