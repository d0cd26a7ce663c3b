"""A document as units: the stretches whose vectors say what it is about.

The idea: a vector tells one thought well and five badly, so what is embedded is smaller than what is handed on. A unit is a
run of sentences of one section, at most 300 characters, with the section's heading in front, since "Within 30 days." means
nothing without "Returns". A chunk is as near to a prompt as the nearest of its units.

Invariants: units lie in order and never overlap; none crosses a heading; every character that is neither blank nor part of
a heading is in exactly one; a heading with nothing below it is one itself; and each belongs to at least one chunk. Linear in
the length of the text.

On the development sets units of 300 characters with headings took recall@3 from .74 to .84 (e5, support questions) and cost
3.0 to 3.5 vectors a chunk; 150 characters, or the document's title in front, were no better.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from gigachat_server.knowledge.documents.chunk import TextChunk
from gigachat_server.language.words import sentences

CHARACTERS = 300
DENSE_CHARACTERS = 135  # where most words are one or two characters long, and no blanks part them
_LONGEST = 1.5  # times as long a sentence may be before it is cut
_BELONGS = 0.6  # share of a unit that a chunk must hold
_LONGEST_HEADING = 200  # characters of its line: a longer one is text

_DENSE = re.compile("[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]")
_DENSE_SHARE = 0.3
_HEADING = re.compile(r"[ \t]{0,3}(#{1,6})[ \t]+(\S.*?)[ \t]*#*\Z")
_FENCE = re.compile(r"[ \t]{0,3}(?:```|~~~)")


class Unit(msgspec.Struct, frozen=True):
    """`start` to `end` of a document's text, and the text that is embedded for it: that stretch behind its heading."""

    start: int
    end: int
    text: str


def units(text: str) -> list[Unit]:
    """The units of a document, in order."""
    limit = CHARACTERS if len(_DENSE.findall(text)) < len(text) * _DENSE_SHARE else DENSE_CHARACTERS
    return [
        Unit(start, end, f"{section.heading}: {stretch}" if section.heading else stretch)
        for section in _sections(text)
        for start, end in _joined(text, section.start, section.end, limit)
        if (stretch := " ".join(text[start:end].split()))
    ]


def placed(found: Sequence[Unit], chunks: Sequence[TextChunk]) -> list[tuple[int, int]]:
    """For each unit the numbers of the first and the last chunk that it belongs to: those that hold most of it.

    Chunks overlap, so a unit may belong to several, which lie side by side.
    """
    places: list[tuple[int, int]] = []
    first = 0
    for unit in found:
        # Chunks rise by both ends, so what one unit has left behind no later one needs.
        while first + 1 < len(chunks) and _end(chunks[first]) <= unit.start:
            first += 1
        held: list[int] = []
        best, most = first, -1
        for number in range(first, len(chunks)):
            if number > first and chunks[number].start >= unit.end:
                break
            shared = min(unit.end, _end(chunks[number])) - max(unit.start, chunks[number].start)
            if shared > most:
                best, most = number, shared
            if shared >= _BELONGS * (unit.end - unit.start):
                held.append(number)
        places.append((held[0], held[-1]) if held else (best, best))
    return places


def _end(chunk: TextChunk) -> int:
    return chunk.start + len(chunk.text)


class _Section(NamedTuple):
    """What stands between two headings, and the text of the one above."""

    start: int
    end: int
    heading: str


def _sections(text: str) -> Iterator[_Section]:
    """In order. A heading that is followed by nothing, or at once by one of its own level or above, is a section itself."""
    above, level, heading_at = "", 0, 0
    start = at = 0
    is_code = False
    for line in text.splitlines(keepends=True):
        if _FENCE.match(line):
            is_code = not is_code
        match = None if is_code or len(line) > _LONGEST_HEADING else _HEADING.match(line.rstrip())
        if match is not None:
            if text[start:at].strip():
                yield _Section(start, at, above)
            elif above and len(match.group(1)) <= level:
                yield _Section(heading_at, start, "")
            level, above = len(match.group(1)), " ".join(match.group(2).split())
            heading_at, start = at + match.start(2), at + len(line)
        at += len(line)
    if text[start:].strip():
        yield _Section(start, len(text), above)
    elif above:
        yield _Section(heading_at, start, "")


def _joined(text: str, first: int, last: int, limit: int) -> Iterator[tuple[int, int]]:
    """The section's sentences, joined while they fit."""
    start = end = -1
    for sentence_start, sentence_end in _bounded(text, first, last, limit):
        if start >= 0 and sentence_end - start > limit:
            yield start, end
            start = -1
        if start < 0:
            start = sentence_start
        end = sentence_end
    if start >= 0:
        yield start, end


def _bounded(text: str, first: int, last: int, limit: int) -> Iterator[tuple[int, int]]:
    """The sentences of a section, none much longer than a unit may be: a longer one is cut at a blank."""
    for sentence_start, sentence_end in sentences(text[first:last]):
        start, end = first + sentence_start, first + sentence_end
        while end - start > limit * _LONGEST:
            blank = text.rfind(" ", start + limit // 2, start + limit)
            cut = blank if blank > 0 else start + limit
            yield start, cut
            start = cut
        if text[start:end].strip():
            yield start, end
