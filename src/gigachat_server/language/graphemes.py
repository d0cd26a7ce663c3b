"""Where a text may be cut between characters as people see them: not within an emoji, nor before an accent, pure."""

from __future__ import annotations

import unicodedata

_JOINER = "\u200d"
_FIRST_FLAG, _LAST_FLAG = "\U0001f1e6", "\U0001f1ff"  # letters of which two make a flag
_MOST_BACK = 32  # characters: what is joined to more is no emoji


def cut(text: str, most: int) -> str:
    """The beginning of a text, of at most so many characters."""
    return text if len(text) <= most else text[: boundary(text, most)]


def boundary(text: str, at: int) -> int:
    """The last place up to `at` at which a character begins; `at` itself where none is near."""
    for place in range(at, max(at - _MOST_BACK, -1), -1):
        if not _is_joined(text, place):
            return place
    return at


def _is_joined(text: str, at: int) -> bool:
    """Whether what stands there belongs to what stands before it."""
    if at <= 0 or at >= len(text):
        return False
    before, character = text[at - 1], text[at]
    if character == _JOINER or before == _JOINER or before + character == "\r\n":
        return True
    if _FIRST_FLAG <= character <= _LAST_FLAG:
        count = 0
        while count < at and count < _MOST_BACK and _FIRST_FLAG <= text[at - 1 - count] <= _LAST_FLAG:
            count += 1
        return count % 2 == 1
    is_mark = unicodedata.category(character)[0] == "M"
    return is_mark or "\U0001f3fb" <= character <= "\U0001f3ff" or "\U000e0020" <= character <= "\U000e007f"
