"""Plain text and Markdown: the text as it is, with its headings noted; rows of tables name their columns."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gigachat_server.knowledge.extraction.decoding import charset_of, decode
from gigachat_server.knowledge.extraction.extracted import (
    MOST_PLACES,
    FileText,
    Place,
    TextWriter,
    Warnings,
    clean,
    one_line,
    too_long,
)
from gigachat_server.knowledge.extraction.kinds import kind_of
from gigachat_server.knowledge.extraction.rows import named

SMALL_BYTES = 256 * 1024
_HEADING = re.compile(r"^ {0,3}(#{1,6})[ \t]++(\S[^\n]*+)$|^ {0,3}(`{3,}|~{3,})", re.M)
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_SEPARATOR = re.compile(r"[ \t]{0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*+\|?[ \t]*")
_MOST_REPEATED = 3  # times as long as it was, a text may become by names of columns


def read_text(data: bytes, media_type: str | None, most: int) -> FileText:
    warnings = Warnings()
    return FileText(None, _decoded(data, media_type, most, warnings), warnings=warnings.done())


def read_markdown(data: bytes, media_type: str | None, most: int) -> FileText:
    warnings = Warnings()
    text = _with_named_rows(_decoded(data, media_type, most, warnings), (1 + _MOST_REPEATED) * most)
    places: list[Place] = []
    title = None
    for at, level, heading in _headings(text):
        if len(places) < MOST_PLACES:
            places.append(Place(at, None, heading))
            title = title or (heading if level == 1 else None)
    return FileText(title, text, places, warnings.done())


def write_markdown(writer: TextWriter, text: str) -> None:
    """A part of a document that is Markdown."""
    text = _with_named_rows(text, 4 * len(text))
    start = 0
    for at, level, heading in _headings(text):
        writer.block(text[start:at].rstrip())
        writer.heading(level, heading)
        end = text.find("\n", at)
        start = len(text) if end < 0 else end
    writer.block(text[start:].rstrip())


def _headings(text: str) -> Iterator[tuple[int, int, str]]:
    """Where each begins, its level, and what it says; none of those within code."""
    fence = ""
    for match in _HEADING.finditer(text):
        if mark := match[3]:
            if not fence:
                fence = mark
            elif mark[0] == fence[0] and len(mark) >= len(fence):
                fence = ""
        elif not fence and (heading := one_line(_without_closing(match[2]))):
            yield match.start(), len(match[1]), heading


def _with_named_rows(text: str, most: int) -> str:
    """Each row of a table says what its columns are, instead of a head that says it for all of them."""
    if "|" not in text:
        return text
    lines = text.split("\n")
    done: list[str] = []
    room = most - len(text)
    fence, place = "", 0
    while place < len(lines):
        line = lines[place]
        if (mark := _FENCE.match(line)) is not None and (not fence or (mark[1][0] == fence[0] and len(mark[1]) >= len(fence))):
            fence = "" if fence else mark[1]
        names = [] if fence or place + 2 >= len(lines) or "|" not in line else _names(line, lines[place + 1])
        rows = _rows(lines, place + 2) if names else 0
        made = [named(names, _cells(row)) or row for row in lines[place + 2 : place + 2 + rows]]
        grown = sum(map(len, made))
        if not rows or grown > room:
            done.append(line)
            place += 1
            continue
        room -= grown
        done += made
        place += 2 + rows
    return "\n".join(done)


def _names(line: str, below: str) -> list[str]:
    """What a line says of columns, if the one below it makes it the head of a table."""
    names = _cells(line)
    is_head = "-" in below and len(below) < 2_000 and _SEPARATOR.fullmatch(below.rstrip("\r")) is not None
    return names if is_head and len(_cells(below)) == len(names) else []


def _rows(lines: list[str], start: int) -> int:
    end = start
    while end < len(lines) and "|" in lines[end] and lines[end].strip():
        end += 1
    return end - start


def _cells(line: str) -> list[str]:
    parts = line.strip().replace("\\|", "\0").removeprefix("|").removesuffix("|").split("|")
    return [" ".join(part.replace("\0", "|").split()) for part in parts]


def _without_closing(heading: str) -> str:
    """Without the run of `#` that may close a heading behind a blank."""
    heading = heading.rstrip()
    text = heading.rstrip("#")
    return text if not text or text[-1] in " \t" else heading


def read_small_text(data: bytes, name: str, media_type: str | None, most: int) -> FileText | None:
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
