"""Markers in a text, such as `[1]` or `[1, 2]`: what looks like a citation, told from code and from links. Pure.

Invariant: time is linear in the text, or nearly: models and documents may say anything.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence

import msgspec

# Not what a backslash escapes, nor the text of a link, nor its definition at the start of a line.
_MARKER = re.compile(r"(?<!\\)\[([0-9]{1,3}(?:[ \t]?[,;][ \t]?[0-9]{1,3}){0,15})\](?!\()")
_LONGEST_ADDRESS = 500
_NUMBER = re.compile(r"[0-9]+")
_FENCE = re.compile(r"^[ \t>]{0,16}(`{3,}|~{3,})([^\n]*)$", re.MULTILINE)
_BACKQUOTES = re.compile(r"`+|\n[ \t]*\n")


class Marker(msgspec.Struct, frozen=True):
    """Characters `start` to `end` of a text, which name these numbers."""

    start: int
    end: int
    numbers: tuple[int, ...]


def markers(text: str) -> Iterator[Marker]:
    """What looks like a citation, in order. Nothing in code is, and no link."""
    code = code_spans(text) if "`" in text or "~~~" in text else []
    starts = [start for start, _ in code]
    for match in _MARKER.finditer(text):
        at = bisect_right(starts, match.start()) - 1
        is_code = at >= 0 and match.start() < code[at][1]
        is_definition = text[match.end() : match.end() + 1] == ":" and text[match.start() - 1 : match.start()] in ("", "\n")
        if not is_code and not is_definition and not _is_in_address(text, match.start()):
            yield Marker(match.start(), match.end(), tuple(dict.fromkeys(map(int, _NUMBER.findall(match[1])))))


def _is_in_address(text: str, at: int) -> bool:
    """Whether it is a part of where a link goes to."""
    run = text[max(0, at - _LONGEST_ADDRESS) : at].rpartition("\n")[2].rpartition(" ")[2]
    is_open = run.rfind("<") > run.rfind(">") and "://" in run
    return is_open or run.rfind("](") > run.rfind(")")


def without_markers(text: str) -> str:
    """The text without what looks like a citation: it would point to the sources of another reply."""
    if "[" not in text:
        return text  # as nearly all are, and each turn asks of several
    kept, at = [], 0
    for marker in markers(text):
        kept.append(text[at : marker.start].rstrip(" ") if at < marker.start else "")
        at = marker.end
    return "".join(kept) + text[at:]


# --- code, in Markdown ---


def code_spans(text: str) -> list[tuple[int, int]]:
    """The spans of fenced blocks (the last may be open), and of the inline code between them; in order."""
    found: list[tuple[int, int]] = []
    opened, fence, outside = -1, "", 0
    for match in _FENCE.finditer(text):
        mark, rest = match[1], match[2]
        if opened < 0 and not (mark[0] == "`" and "`" in rest):
            opened, fence = match.start(), mark
            found += _inline_spans(text, outside, opened)
        elif opened >= 0 and mark.startswith(fence) and not rest.strip():
            found.append((opened, match.end()))
            opened, outside = -1, match.end()
    return found + ([(opened, len(text))] if opened >= 0 else _inline_spans(text, outside, len(text)))


def _inline_spans(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """From each run of backquotes to the next one of the same length in the same paragraph."""
    found: list[tuple[int, int]] = []
    runs: list[tuple[int, int]] = []
    for match in _BACKQUOTES.finditer(text, start, end):
        if match.group()[0] == "`":
            runs.append(match.span())
        else:
            found += _paired(runs)
            runs = []
    return found + _paired(runs)


def _paired(runs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    places: defaultdict[int, list[int]] = defaultdict(list)
    for place, (start, end) in enumerate(runs):
        places[end - start].append(place)
    found, place = [], 0
    while place < len(runs):
        start, end = runs[place]
        alike = places[end - start]
        following = bisect_right(alike, place)
        if following < len(alike):
            place = alike[following]
            found.append((start, runs[place][1]))
        place += 1
    return found
