"""Characters that a person cannot see, and that make one name look like another: marks of direction, and what is ignored.

Invariant: two names without such characters that differ, differ in something that is drawn. Where a script needs one to be
written right (a joiner in Persian or Hindi, a variation selector behind an emoji or a Han character) it is allowed, in that
place alone.
"""

from __future__ import annotations

import re
import unicodedata

# Unicode's Bidi_Control and Default_Ignorable_Code_Point, ends of lines and paragraphs, and anchors of annotations.
_MISLEADING = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
# Arabic, Syriac and their like; the scripts of India; Tibetan and Burmese; Khmer; Mongolian.
_JOINED = re.compile("[\u0600-\u08ff\u0900-\u0dff\u0f00-\u109f\u1780-\u17ff\u1800-\u18af\ufb50-\ufdff\ufe70-\ufefc]")
_MONGOLIAN = re.compile("[\u1800-\u18af]")
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_JOINERS = "\u200c\u200d"
_KEYCAP = "\u20e3"


def has_misleading(text: str) -> bool:
    """Whether it holds a character that is not seen and that its script does not need where it stands."""
    return not text.isascii() and any(not _is_needed(text, found.start()) for found in _MISLEADING.finditer(text))


def without_misleading(text: str) -> str:
    """The text without them, for places that show names as they were once stored."""
    if text.isascii():
        return text
    return _MISLEADING.sub(lambda found: found[0] if _is_needed(text, found.start()) else "", text)


def _is_needed(text: str, at: int) -> bool:
    character, before, after = text[at], text[at - 1 : at], text[at + 1 : at + 2]
    if not before:
        return False
    if character in _JOINERS and _JOINED.match(before):
        return bool(_JOINED.match(after))
    if character == "\u200d":  # emoji that are joined to one
        return _is_symbol(before) and _is_symbol(after)
    if "\u180b" <= character <= "\u180d" or character == "\u180f":
        return bool(_MONGOLIAN.match(before))
    if character in "\ufe0e\ufe0f":
        return (_is_symbol(before) and before != "\ufe0f") or before in "\u203c\u2049" or after == _KEYCAP
    if "\ufe00" <= character <= "\ufe02" or "\U000e0100" <= character <= "\U000e01ef":
        return bool(_HAN.match(before))
    return False


def _is_symbol(character: str) -> bool:
    return character == "\ufe0f" or unicodedata.category(character or " ") in ("So", "Sk", "Sm")
