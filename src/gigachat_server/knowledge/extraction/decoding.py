"""From the bytes of a text to its characters, whatever encoding they are in.

Idea: what the bytes themselves prove counts first (a byte order mark, being valid UTF-8), then what the file or the server
says about it, then what the bytes look like. Invariant: every sequence of bytes has a text; what means nothing in the
encoding becomes U+FFFD.
"""

from __future__ import annotations

import codecs
import re

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
_ENOUGH = 24  # of fewer bytes beyond ASCII nothing can be told from how they look
# What the web means by these names (WHATWG Encoding), where Python knows them as something smaller.
_MEANT = {"iso-8859-1": "cp1252", "latin-1": "cp1252", "latin1": "cp1252", "ascii": "cp1252", "us-ascii": "cp1252",
          "gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "ks_c_5601-1987": "cp949", "euc-kr": "cp949",
          "iso-8859-9": "cp1254", "big5": "big5hkscs", "x-sjis": "cp932"}  # fmt: skip


def decode(data: bytes, *, declared: str | None = None) -> str:
    """The text. `declared`: the encoding that whoever sent it named."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace")
    if (wide := _wide(data[:_SAMPLE])) is not None:
        return data.decode(wide, "replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        pass
    for name in (declared, _declared_within(data)):
        known = None if name is None else known_charset(name)
        if known is not None and known != "utf-8":
            return data.decode(known, "replace")
    return data.decode(_looks_like(data), "replace")


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
    """UTF-16 without a mark: of Latin text every second byte is zero."""
    pairs = len(sample) // 2
    if pairs < 4 or b"\0" not in sample:
        return None
    low, high = sample[0 : pairs * 2 : 2].count(0), sample[1 : pairs * 2 : 2].count(0)
    if high > pairs * 0.7 and low < pairs * 0.05:
        return "utf-16-le"
    if low > pairs * 0.7 and high < pairs * 0.05:
        return "utf-16-be"
    return None


def _declared_within(data: bytes) -> str | None:
    found = _DECLARED.search(data[:_DECLARED_WITHIN])
    return (found[1] or found[2]).decode("ascii") if found else None


def known_charset(name: str) -> str | None:
    """Python's name of it; None of one that is no charset of texts on the web."""
    name = name.strip().lower()
    try:
        found = codecs.lookup(_MEANT.get(name, name)).name
        b"a".decode(found, "replace")  # what makes no text of bytes says so
    except (LookupError, ValueError):
        return None
    return None if found in _NO_CHARSETS else found


def _looks_like(data: bytes) -> str:
    sample = data[:_SAMPLE]
    if sum(byte > 0x7F for byte in sample) < _ENOUGH:
        return "cp1252"
    from charset_normalizer import from_bytes

    best = from_bytes(sample).best()
    return best.encoding if best is not None else "cp1252"
