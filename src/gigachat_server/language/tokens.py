"""Words: what a text consists of. Those of scripts without spaces between words become bigrams of characters."""

from __future__ import annotations

import re

from gigachat_server.language.characters import MARKS, UNSPACED
from gigachat_server.language.stop_words import stop_words

LONGEST_WORD = 64  # what follows is cut: no word is longer, and normalising one stays cheap

# Hyphen, full stop and underscore join what they stand within: `1.1.1.1`, `pay-as-you-go`, `max_tokens` are one word each.
_ASCII_WORD = re.compile(r"[a-z0-9]++(?:[-_.][a-z0-9]++|'[a-z]++)*+")
_LETTERS = rf"(?:[^\W_{UNSPACED}]++[{MARKS}]*+)++"
_WORD = re.compile(rf"(?P<unspaced>[{UNSPACED}]++)|{_LETTERS}(?:[-_.'’‐‑]{_LETTERS})*+")


def words(text: str) -> list[str]:
    """The lower-case words of a text, stop words included; of unspaced scripts, the character bigrams."""
    text = text.lower()
    if text.isascii():
        return [word[:LONGEST_WORD] for word in _ASCII_WORD.findall(text)]
    found: list[str] = []
    for match in _WORD.finditer(text):
        if match.lastgroup is None:
            found.append(match.group()[:LONGEST_WORD])
        else:
            found.extend(bigrams(match.group()))
    return found


def bigrams(run: str) -> list[str]:
    """The pairs of neighbouring characters; a lone character is itself."""
    return [run] if len(run) == 1 else [run[at : at + 2] for at in range(len(run) - 1)]


def content_words(text: str) -> list[str]:
    """The words of a text that are no English stop words."""
    return [word for word in words(text) if word.replace("’", "'") not in stop_words("en")]
