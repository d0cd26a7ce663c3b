"""Text as it is said: without emphasis, with links as their text, code as it is, blanks single. Pure, and linear in the text.

Invariant: nothing is added. Every word of what comes out stood in what went in.
"""

from __future__ import annotations

import re

_CODE = re.compile(r"(`{1,3}+)([^`\n]{1,500}+)\1")
_IMAGE = re.compile(r"!\[([^\[\]\n]{0,300}+)\]\([^()\n]{0,1000}+(?:\([^()\n]{0,300}+\)[^()\n]{0,300}+)?\)")
_LINK = re.compile(
    r"\[(?!\d{1,3}\])([^\[\]\n]{1,300}+)\](?:\([^()\n]{0,1000}+(?:\([^()\n]{0,300}+\)[^()\n]{0,300}+)?\)|\[[^\[\]\n]{0,100}+\])"
)
_ADDRESS = re.compile(r"<((?:https?://|mailto:)?[^<>\s]{3,500}+)>")
_TAG = re.compile(r"</?(?:br|b|i|u|em|strong|sub|sup|span|p|div|small|mark|code|kbd)\b[^<>]{0,200}+>", re.IGNORECASE)
_STRONG = re.compile(r"(?<!\\)(?:\*\*\*?|__|~~)")
_EMPHASIS = re.compile(r"(?<![\w\\])[*_]++(?=[^\s*_])|(?<=[^\s*_\\])[*_]++(?!\w)")
_ESCAPE = re.compile(r"\\([\\`*_{}\[\]()#+\-.!|<>~])")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufeff\u200b]+")


def plain(text: str) -> str:
    """The text as a person would write it in a message."""
    if not text.isalnum():
        pieces, at = [], 0
        for match in _CODE.finditer(text):
            pieces += [_unmarked(text[at : match.start()]), match.group()]
            at = match.end()
        text = "".join(pieces) + _unmarked(text[at:])
        text = _CONTROL.sub(" ", text)
    return " ".join(text.split())


def _unmarked(text: str) -> str:
    if "[" in text:
        text = _LINK.sub(r"\1", _IMAGE.sub(" ", text))
    if "<" in text:
        text = _TAG.sub(" ", _ADDRESS.sub(r"\1", text))
    if "*" in text or "_" in text or "~" in text:
        text = _EMPHASIS.sub("", _STRONG.sub("", text))
    return _ESCAPE.sub(r"\1", text) if "\\" in text else text
