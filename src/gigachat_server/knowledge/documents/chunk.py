"""Cut a document into chunks at the best places that fit: between paragraphs, lines, sentences, words, characters.

The idea: at each level the text is a row of pieces that start at a separator. Pieces that fit are joined up to the
chunk size, each chunk repeating the last pieces of the one before up to the overlap; a piece that does not fit alone is
cut at the next finer level. The piece boundaries are looked for in the window where a chunk may end, never
listed, so time is linear in the text and its content does not matter.

Invariants: a chunk's text is an exact substring of the source; together the chunks hold everything that is not blank;
starts never go back, so line numbers are counted once.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

from gigachat_server.language.graphemes import boundary


class TextChunk(msgspec.Struct, frozen=True):
    """A piece of a document, the lines, from 1, of the pushed text that it covers, and the character at which it starts."""

    text: str
    line_from: int
    line_to: int
    start: int


class _Level(NamedTuple):
    separators: tuple[str, ...]
    offset: int  # where within its separator a piece starts: sentences keep their full stop
    forward: re.Pattern[str]


def _level(*separators: str, offset: int = 0) -> _Level:
    return _Level(separators, offset, re.compile("|".join(map(re.escape, separators))))


_HEADING = 120  # characters that are no chunk by themselves where text follows them

_LEVELS = (
    _level("\n\n", "\r\n\r\n"),
    _level("\n"),
    _level(". ", "! ", "? ", "。", "！", "？", offset=1),
    _level(" ", "\t"),
)


def split(text: str, *, size: int, overlap: int) -> list[TextChunk]:
    """The chunks of a text, none longer than `size` characters nor blank; blank text has none.

    Overlap counts up to three quarters of the size: beyond that the chunks would repeat the text more than fourfold
    (at one character less than the size, a thousandfold).
    """
    if size < 1 or overlap < 0:
        raise ValueError("a chunk holds at least one character, and the overlap cannot be negative")
    overlap = min(overlap, size * 3 // 4)
    spans: list[tuple[int, int]] = []
    _cut(text, 0, len(text), spans=spans, level=0, size=size, overlap=overlap)
    chunks: list[TextChunk] = []
    line, counted_to = 1, 0
    for start, end in spans:
        piece = text[start:end]
        stripped = piece.strip()
        if not stripped:
            continue
        start += piece.index(stripped[0])
        line += text.count("\n", counted_to, start)
        counted_to = start
        chunks.append(TextChunk(stripped, line, line + stripped.count("\n"), start))
    return chunks


def _cut(text: str, start: int, end: int, *, spans: list[tuple[int, int]], level: int, size: int, overlap: int) -> None:
    """Append the spans of text[start:end], cut at this level and, where pieces are too long, at finer ones."""
    if end - start <= size:
        spans.append((start, end))
        return
    if level == len(_LEVELS):
        _cut_characters(text, start, end, spans=spans, size=size, overlap=overlap)
        return
    at = _LEVELS[level]
    while start < end:
        chunk_end = end if end - start <= size else _last_boundary(text, start, start + size, at)
        if chunk_end is None:  # the first piece is too long for a chunk
            piece_end = _next_boundary(text, start, end, at)
            _cut(text, start, piece_end, spans=spans, level=level + 1, size=size, overlap=overlap)
            start = piece_end
            continue
        if chunk_end < end and chunk_end - start <= min(_HEADING, size // 4) and text[start:chunk_end].strip():
            # What little there is before a piece too long to join it is most often its heading: it leads into it.
            piece_end = _next_boundary(text, chunk_end, end, at)
            _cut(text, start, piece_end, spans=spans, level=level + 1, size=size, overlap=overlap)
            start = piece_end
            continue
        spans.append((start, chunk_end))
        if chunk_end == end:
            return
        start = _next_start(text, start, chunk_end, end, at=at, size=size, overlap=overlap)


def _next_start(text: str, start: int, chunk_end: int, end: int, *, at: _Level, size: int, overlap: int) -> int:
    """Where the chunk after text[start:chunk_end] starts: the first boundary within the overlap that leaves room for
    the next piece; `chunk_end` when that piece fits no chunk."""
    if overlap == 0:
        return chunk_end
    limit = min(end, chunk_end + size)
    following = _next_boundary(text, chunk_end, limit, at)
    if following == limit < end and not _is_boundary(text, limit, at):
        return chunk_end
    earliest = max(start + 1, chunk_end - overlap, following - size)
    match = at.forward.search(text, max(earliest - at.offset, 0), chunk_end + 4)
    return min(match.start() + at.offset, chunk_end) if match else chunk_end


def _last_boundary(text: str, start: int, latest: int, at: _Level) -> int | None:
    """The last place in (start, latest] where a piece starts."""
    found = max(text.rfind(s, start + 1 - at.offset, latest - at.offset + len(s)) for s in at.separators) + at.offset
    return found if found > start else None


def _next_boundary(text: str, start: int, end: int, at: _Level) -> int:
    """The first place in (start, end) where a piece starts, or `end`."""
    match = at.forward.search(text, start + 1 - at.offset, end)
    return min(match.start() + at.offset, end) if match else end


def _is_boundary(text: str, position: int, at: _Level) -> bool:
    return any(text.startswith(s, position - at.offset) for s in at.separators)


def _cut_characters(text: str, start: int, end: int, *, spans: list[tuple[int, int]], size: int, overlap: int) -> None:
    while end - start > size:
        chunk_end = boundary(text, start + size)
        chunk_end = chunk_end if chunk_end > start else start + size
        spans.append((start, chunk_end))
        following = boundary(text, chunk_end - overlap)
        start = following if following > start else chunk_end
    spans.append((start, end))
