"""Decodes the bytes of a text, in any encoding.

Idea: proof in the bytes comes first (a byte order mark, UTF-8 apart from a few errors), then what the file or the server
declares, then what the bytes look like (`guessing.py`). Invariant: every sequence of bytes decodes; bytes without meaning in
the encoding become U+FFFD, with a warning, and so does a guess get one.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from typing import TYPE_CHECKING

from gigachat_server.knowledge.extraction.guessing import looks_like

if TYPE_CHECKING:
    from gigachat_server.knowledge.extraction.extracted import Warnings

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_DECLARED = re.compile(
    rb"""<meta[^>]{0,500}?charset\s*=\s*["']?\s*([\w.:-]{1,40})|<\?xml[^>]{0,200}?encoding\s*=\s*["']([\w.:-]{1,40})""", re.I
)
_DECLARED_WITHIN = 4096
_SAMPLE = 64 * 1024
_ASCII = re.compile(r"[\x00-\x7f]")
_CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_FEWEST_CONTROLS = 0.02
# What the web means by these names (WHATWG Encoding), where Python knows them as something smaller.
_MEANT = {"iso-8859-1": "cp1252", "latin-1": "cp1252", "latin1": "cp1252", "ascii": "cp1252", "us-ascii": "cp1252",
          "gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "ks_c_5601-1987": "cp949", "euc-kr": "cp949",
          "iso-8859-9": "cp1254", "big5": "big5hkscs", "x-sjis": "cp932"}  # fmt: skip


def decode(data: bytes, *, declared: str | None = None, warnings: Warnings | None = None) -> str:
    """The text. `declared` is the sender's encoding. `warnings` collects guesses and bytes without meaning."""
    encoding, is_guessed = _encoding_of(data, declared)
    mark = next((mark for mark, of_mark in _MARKS if of_mark == encoding and data.startswith(mark)), b"")
    text = data[len(mark) :].decode(encoding, "replace")
    if warnings is not None:
        if is_guessed:
            warnings.add("encoding_guessed", encoding)
        _warn_of_replaced(data, text, encoding, warnings)
    return text


def _warn_of_replaced(data: bytes, text: str, encoding: str, warnings: Warnings) -> None:
    """Says how many characters mean nothing, and on which lines; those that the source itself has as U+FFFD do not count."""
    if "\ufffd" not in text or (encoding == "utf-8" and _is_utf8(data)):
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if count := line.count("\ufffd"):
            warnings.add("characters_replaced", f"line {number}", count=count)


def _encoding_of(data: bytes, declared: str | None) -> tuple[str, bool]:
    """And whether it was told from how the bytes look alone."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return encoding, False
    if (wide := _wide(data[:_SAMPLE])) is not None:
        return wide, False
    if _is_utf8(data):
        return "utf-8", False
    names = [known_charset(name) for name in (declared, _declared_within(data)) if name is not None]
    right, wrong = _utf8_sequences(data)
    if right > 2 * wrong or ("utf-8" in names and right >= wrong):
        return "utf-8", False
    for name in names:
        if name is not None and name != "utf-8":
            return name, False
    return looks_like(data[:_SAMPLE]), True


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _utf8_sequences(data: bytes) -> tuple[int, int]:
    """How many characters beyond ASCII are there as UTF-8 has them, and how many places mean nothing in it."""
    text = data.decode("utf-8", "replace")
    wrong = text.count("\ufffd") - data.count(b"\xef\xbf\xbd")
    return len(text) - len(_ASCII.findall(text)) - text.count("\ufffd"), wrong


def charset_of(media_type: str | None) -> str | None:
    """Of `text/html; charset=windows-1251`."""
    found = re.search(r"""charset\s*=\s*["']?([\w.:-]{1,40})""", media_type or "", re.I)
    return found[1] if found else None


def is_wide(data: bytes) -> bool:
    """Whether it is a text of which every character takes two bytes or more, and so may hold zeros."""
    return any(data.startswith(mark) for mark, _ in _MARKS[1:]) or _wide(data[:_SAMPLE]) is not None


# Python knows them, no text on the web is in them, and one takes the square of a text's length.
_NO_CHARSETS = frozenset(("punycode", "idna", "unicode-escape", "raw-unicode-escape", "utf-7", "undefined", "mbcs", "oem"))


def _wide(sample: bytes) -> str | None:
    """UTF-16 without a mark. What proves it are bytes that no other encoding of a text has: half of many a character is one
    of ASCII's control characters."""
    pairs = sample[: len(sample) // 2 * 2]
    if len(pairs) < 8 or len(_CONTROLS.findall(pairs)) < len(pairs) * _FEWEST_CONTROLS:
        return None
    found = [(_likeness(pairs, encoding), encoding) for encoding in ("utf-16-le", "utf-16-be")]
    likeness, encoding = max(found, key=lambda each: each[0])
    return encoding if likeness > 0 else None


def _likeness(pairs: bytes, encoding: str) -> float:
    """How much it looks like a text: characters that texts have, of few blocks; 0 if it is none."""
    try:
        text = pairs.decode(encoding)
    except UnicodeDecodeError as error:
        if error.start < len(pairs) - 2:  # else the sample ends within a character
            return 0.0
        text = pairs[: error.start].decode(encoding)
    usual = sum(character in "\t\r\n" or unicodedata.category(character)[0] in "LMNPSZ" for character in text)
    if usual < len(text) * 0.97:
        return 0.0
    blocks = len({ord(character) >> 8 for character in text if not "\u3040" <= character <= "\u9fff"})
    wide = sum("\u3400" <= character <= "\u4dbf" for character in text)  # rare characters: the bytes are the other way round
    return max(2.0 - blocks / max(len(text) / 4, 4) - wide / len(text), 0.0)


def _declared_within(data: bytes) -> str | None:
    found = _DECLARED.search(data[:_DECLARED_WITHIN])
    return (found[1] or found[2]).decode("ascii") if found else None


def known_charset(name: str) -> str | None:
    """Python's name of it; None if it is not a charset of texts on the web."""
    name = name.strip().lower()
    try:
        found = codecs.lookup(_MEANT.get(name, name)).name
        b"a".decode(found, "replace")  # what makes no text of bytes says so
    except (LookupError, ValueError):
        return None
    return None if found in _NO_CHARSETS else found
