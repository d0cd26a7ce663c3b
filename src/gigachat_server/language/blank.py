"""Which texts show nothing at all, however many characters they have."""

from __future__ import annotations

import re

# Blanks and control characters, what Unicode says to show nothing for (Default_Ignorable_Code_Point), the marks around
# annotations, and the blank signs of Braille, music and hieroglyphs. Joiners are among them, but not the emoji that they join.
_NOTHING = re.compile(
    "[\\s\0-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U00013441\U00013442\U0001d159\U0001d173-\U0001d17a\U000e0000-\U000e0fff]*"
)


def is_blank(text: str) -> bool:
    """Whether there is nothing to see: it is empty, or nothing but blanks and invisible characters."""
    return _NOTHING.fullmatch(text) is not None
