"""Where the sentences of a text end."""

from __future__ import annotations

import re

LONGEST_SENTENCE = 600


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


# The lookbehind lets a run of full stops be tried from its first one alone: "...." without a space stays linear.
_END = re.compile(r"(?<![.!?…])[.!?…]++[\"'”’)\]]*+(?=\s)|[。！？]++[」』”）]*+|\n")
_ABBREVIATIONS = _set(
    """al approx art ave ca cf ch co corp dept dr e.g eq est etc ex fig gen gov hon i.e inc jr lt ltd maj mr mrs ms mt
    no nos p pp prof rep rev sec sen sgt sr st vol vs viz"""
)
_LAST_WORD = re.compile(r"[\w.]*\Z")
_LIST_ITEM = re.compile(r"[ \t]{0,8}(?:[-*+•‣–—|>#]|\d{1,3}[.)]|[a-zA-Z][.)])")
_WRAPPED = 45  # a line at least this long may have been broken by width; a shorter one is a heading or an item


def sentences(text: str) -> list[tuple[int, int]]:
    """The spans of the sentences, in order, none blank or longer than `LONGEST_SENTENCE`.

    A sentence ends at its punctuation, at a blank line, and at the end of a line unless that line was only wrapped.
    """
    spans: list[tuple[int, int]] = []
    start = 0
    for match in _END.finditer(text):
        end = match.end()
        is_end = _line_ends_sentence(text, match.start()) if match.group() == "\n" else _ends_sentence(text, match)
        if is_end:
            _append_bounded(spans, text, start, end)
            start = end
    _append_bounded(spans, text, start, len(text))
    return spans


def _ends_sentence(text: str, match: re.Match[str]) -> bool:
    mark, at, end = match.group()[0], match.start(), match.end()
    if mark in "。！？":
        return True
    following = text[end : end + 8].lstrip()[:1]
    if following.islower():
        return False
    if mark != ".":
        return True
    word = _LAST_WORD.search(text[max(0, at - 12) : at])
    last = word.group() if word else ""
    if last.lower() in _ABBREVIATIONS or (len(last) == 1 and last.isalpha() and last != "I"):
        return False
    line_so_far = text[max(0, at - 12) : at].rpartition("\n")[2]
    return not (last.isdigit() and line_so_far.strip() == last and len(last) <= 3)  # "3. " numbers an item


def _line_ends_sentence(text: str, at: int) -> bool:
    line_from = text.rfind("\n", max(0, at - _WRAPPED), at)
    if line_from >= 0 or at < _WRAPPED:
        return True  # a short line, or a blank one
    if _LIST_ITEM.match(text, at + 1):
        return True
    return not text[at + 1 : at + 10].lstrip(" \t")[:1].islower()


def _append_bounded(spans: list[tuple[int, int]], text: str, start: int, end: int) -> None:
    """Add the span without its outer blanks, cut at spaces where it is too long."""
    while start < end:
        cut = end
        if end - start > LONGEST_SENTENCE:
            space = text.rfind(" ", start + LONGEST_SENTENCE // 2, start + LONGEST_SENTENCE)
            cut = space if space > 0 else start + LONGEST_SENTENCE
        piece = text[start:cut]
        left = len(piece) - len(piece.lstrip())
        if left < len(piece):
            spans.append((start + left, start + len(piece.rstrip())))
        start = cut
