"""Plain text and Markdown: the text is handed on as it is; headings are told of, not touched."""

from __future__ import annotations

import re

from gigachat_server.knowledge.extraction.decoding import charset_of, decode
from gigachat_server.knowledge.extraction.extracted import MOST_PLACES, Extracted, Place, Warnings, clean, one_line, too_long
from gigachat_server.knowledge.extraction.kinds import kind_of

SMALL_BYTES = 256 * 1024
_HEADING = re.compile(r"^ {0,3}(#{1,6})[ \t]++(\S[^\n]*+)$|^ {0,3}(`{3,}|~{3,})", re.M)


def read_text(data: bytes, media_type: str | None, most: int) -> Extracted:
    warnings = Warnings()
    return Extracted(None, _decoded(data, media_type, most, warnings), warnings=warnings.done())


def read_markdown(data: bytes, media_type: str | None, most: int) -> Extracted:
    warnings = Warnings()
    text = _decoded(data, media_type, most, warnings)
    places: list[Place] = []
    fence = ""
    title = None
    for match in _HEADING.finditer(text):
        if mark := match[3]:
            if not fence:
                fence = mark
            elif mark[0] == fence[0] and len(mark) >= len(fence):
                fence = ""
        elif not fence and len(places) < MOST_PLACES and (heading := one_line(_without_closing(match[2]))):
            places.append(Place(match.start(), None, heading))
            title = title or (heading if len(match[1]) == 1 else None)
    return Extracted(title, text, places, warnings.done())


def _without_closing(heading: str) -> str:
    """Without the run of `#` that may close a heading behind a blank."""
    heading = heading.rstrip()
    text = heading.rstrip("#")
    return text if not text or text[-1] in " \t" else heading


def read_small_text(data: bytes, name: str, media_type: str | None, most: int) -> Extracted | None:
    """The text, if there is nothing to it but to decode UTF-8: no parser sees it, so any process may do it.

    Raises a `DocumentFailed` where its own process would.
    """
    if len(data) > SMALL_BYTES or b"\0" in data or b"%PDF-" in data or data.startswith(b"PK"):
        return None
    try:
        data.decode()
    except UnicodeDecodeError:
        return None
    match kind_of(data, name=name, media_type=media_type):
        case "markdown":
            return read_markdown(data, media_type, most)
        case "text":
            return read_text(data, media_type, most)
        case _:
            return None


def _decoded(data: bytes, media_type: str | None, most: int, warnings: Warnings) -> str:
    text = clean(decode(data, declared=charset_of(media_type), warnings=warnings))
    if len(text) > most:
        raise too_long(most)
    return text
