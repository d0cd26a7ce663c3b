"""Plain text and Markdown: the text is handed on as it is; headings are told of, not touched."""

from __future__ import annotations

import re

from gigachat_server.knowledge.extraction.decoding import charset_of, decode
from gigachat_server.knowledge.extraction.extracted import MOST_PLACES, Extracted, Place, clean, one_line, too_long

_HEADING = re.compile(r"^ {0,3}(#{1,6})[ \t]+(\S.*?)[ \t]*#*[ \t]*\r?$|^ {0,3}(`{3,}|~{3,})", re.M)


def read_text(data: bytes, media_type: str | None, most: int) -> Extracted:
    return Extracted(None, _decoded(data, media_type, most))


def read_markdown(data: bytes, media_type: str | None, most: int) -> Extracted:
    text = _decoded(data, media_type, most)
    places: list[Place] = []
    fence = ""
    title = None
    for match in _HEADING.finditer(text):
        if mark := match[3]:
            if not fence:
                fence = mark
            elif mark[0] == fence[0] and len(mark) >= len(fence):
                fence = ""
        elif not fence and len(places) < MOST_PLACES:
            heading = one_line(match[2])
            places.append(Place(match.start(), None, heading))
            title = title or (heading if len(match[1]) == 1 else None)
    return Extracted(title, text, places)


def _decoded(data: bytes, media_type: str | None, most: int) -> str:
    text = clean(decode(data, declared=charset_of(media_type)))
    if len(text) > most:
        raise too_long(most)
    return text
