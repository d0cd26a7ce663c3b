"""Joins words that a line break has split; pure.

Idea: a hyphen at the end of a line belongs to the word (`E-1042`, `well-known`) or to the line (`deliv-ery`). It is the word's
next to a digit, a capital or a sign; between small letters what the document says elsewhere decides: the whole word, the word
with its hyphen, or its halves as words of their own. Invariant: no character but a hyphen is ever left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

HYPHENS = "-\u2010\u00ad\ufffe\x02"  # the last two are what PDFium makes of one at the end of a line
_LAST = re.compile(r"([^\W\d_]+)$")
_FIRST = re.compile(r"([^\W\d_]+)")
# Before these nothing is cut that was whole.
_KEEPS = frozenset(
    ("all", "anti", "cross", "ex", "far", "first", "full", "half", "hard", "heavy", "high", "ill", "know", "long", "low", "mid",
     "multi", "near", "non", "old", "one", "open", "part", "post", "pre", "pro", "real", "second", "self", "semi", "short",
     "single", "state", "step", "third", "three", "top", "twenty", "two", "ultra", "user", "well", "wide", "zero")
)  # fmt: skip
_SHORTEST = 3  # letters of a word that can stand alone


class Hyphens:
    """Knows the words of a document."""

    def __init__(self, words: Iterable[str]) -> None:
        self._words = {word.casefold() for word in words}

    def joined(self, lines: Sequence[str]) -> list[str]:
        """The lines, where one ends within a word with the rest of that word, too."""
        done: list[str] = []
        for line in lines:
            before = done[-1] if done else ""
            if len(before) > 1 and before[-1] in HYPHENS and not before[-2].isspace() and line:
                word, _, rest = line.partition(" ")
                done[-1] = before[:-1] + self._hyphen(before, word) + word
                if rest:
                    done.append(rest)
            else:
                done.append(line)
        return [line.replace("\ufffe", "-").replace("\x02", "-") for line in done]

    def _hyphen(self, before: str, word: str) -> str:
        """What stands between the halves: a hyphen, or nothing."""
        if before[-1] == "\u00ad":
            return ""
        last, first = _LAST.search(before[:-1]), _FIRST.match(word)
        if last is None or first is None or not first[1][0].islower():
            return "-"
        left, right = last[1].casefold(), first[1].casefold()
        if left + right in self._words:
            return ""
        is_whole = left in _KEEPS or f"{left}-{right}" in self._words
        is_two = min(len(left), len(right)) >= _SHORTEST and left in self._words and right in self._words
        return "-" if is_whole or is_two else ""
