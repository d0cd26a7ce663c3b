"""Markdown and HTML as people read it, where nothing renders it: links as their text, no emphasis, rows of tables as lines. Pure.

The idea: a text is rewritten rule by rule, and the places that a caller asks for move along; so what was cited in the original
can still be shown in what is read. Code is left as it is by every rule but the last, which takes away what marks it.

Invariants: no word is added, and every word of what comes out stood in what went in; and the time is linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

_CODE = r"(?P<quote>`{1,3}+)[^`\n]{1,500}+(?P=quote)"
_BLOCK = r"^[ \t]{0,8}(?P<wall>`{3,}+|~{3,}+)[^\n]*+(?:\n(?![ \t]{0,8}(?P=wall))[^\n]*+)*+(?:\n[ \t]{0,8}(?P=wall)[^\n]*+)?+"
_LABEL = r"(?:[^\[\]\n]++|\n(?=\S)|\[[^\[\]\n]{0,100}+\]){0,50}+"
_GOAL = r"\([^()\n]{0,1000}+(?:\([^()\n]{0,300}+\)[^()\n]{0,300}+)?\)"
_WITHIN_WORDS = (  # elements that part no words
    "a|abbr|b|big|cite|code|del|dfn|em|font|i|ins|kbd|mark|nobr|q|s|samp|small|span|strike|strong|sub|sup|tt|u|var"
)
_BETWEEN_WORDS = (
    "blockquote|br|center|dd|details|div|dl|dt|figcaption|figure|h[1-6]|hr|iframe|img|li|ol|p|picture|pre|script|section|style|"
    "summary|svg|table|tbody|td|tfoot|th|thead|tr|ul|video"
)
_CHARACTERS = {"&nbsp;": " ", "&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": '"', "&#39;": "'"}
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufeff\u200b]+")


class _Rule(NamedTuple):
    """Of what matches, its group `kept` is left, if there is one; and `instead` is put there."""

    sign: str  # without which the rule need not be tried
    pattern: re.Pattern[str]
    instead: str = ""


def _rule(sign: str, pattern: str, instead: str = "") -> _Rule:
    """Outside of code."""
    return _Rule(sign, re.compile(f"{_BLOCK}|{_CODE}|{pattern}", re.MULTILINE | re.IGNORECASE), instead)


# In the order in which they apply: an image may be the label of a link, and a cell may hold either.
_INLINE = (
    _rule("<!--", r"<!--[^<>]{0,500}+>", " "),
    _rule("![", rf"!\[[^\[\]\n]{{0,300}}+\]{_GOAL}", " "),
    _rule("[[", r"\[\[(?=[^\W\d])(?:[^\[\]|\n]{1,200}+\|)?(?P<kept>[^\[\]|\n]{1,200}+)\]\]"),
    _rule("](", rf"\[(?!\d{{1,3}}\])(?P<kept>{_LABEL})\]{_GOAL}"),
    _rule("][", r"\[(?!\d{1,3}\])(?P<kept>[^\[\]\n]{1,300}+)\]\[[^\[\]\n]{0,100}+\](?!\()"),
    _rule("](", rf"\A(?P<kept>[^\[\]\n]{{0,300}}+)\]{_GOAL}"),  # a link that the text begins in
    _rule("](", r"\[(?!\d{1,3}\])(?P<kept>[^\[\]\n]{1,300}+)\]\([^()\s]{0,1000}+\Z"),  # and that it ends in
    _rule("[^", r"\[\^[^\[\]\s]{1,40}+\](?::[ \t]*+)?"),
    _rule("<", r"<(?P<kept>(?:https?://|mailto:|[\w.+-]{1,64}+@)[^<>\s]{1,500}+)>"),
    _rule("<", rf"</?(?:{_WITHIN_WORDS})(?=[\s/>])[^<>]{{0,500}}+>"),
    _rule("<", rf"</?(?:{_BETWEEN_WORDS})(?=[\s/>])[^<>]{{0,500}}+>", " "),
    _rule("", r"(?<!\\)(?:(?<!\d)\*\*\*?|\*\*\*?(?!\d)|__|~~)"),
    _rule("", r"(?<![\w\\*_])[*_]++(?=[^\s*_])|(?<=[^\s*_\\])[*_]++(?!\w)"),
    _rule("\\", r"\\(?P<kept>[\\`*_{}\[\]()#+\-.!|<>~])"),
    *(_rule(name, name, character) for name, character in _CHARACTERS.items()),
)
_LINES = (
    _rule("", r"^[ \t]{0,3}(?:>[ \t]?)++"),
    _rule("", r"^[ \t]*+(?:\|?[ \t]*+:?-{2,}+[ \t:|-]*+|={3,}+|\*{3,}+|_{3,}+|:{3,}+[^\n]*+|\+[-=+]{3,}+)[ \t]*+(?:\n|\Z)"),
    _rule("]:", r"^[ \t]{0,3}\[(?!\^)[^\[\]\n]{1,200}+\]:[ \t]*+(?=[^\s]*?(?:[/#]|\.\w))\S++[^\n]*+(?:\n|\Z)"),
    _rule("#", r"^[ \t]{0,3}#{1,6}[ \t]++"),
    _rule("", r"^(?P<kept>[ \t]{0,12})[-*+][ \t]++(?:\[[ x]\][ \t]++)?(?=\S)", "• "),
    _rule("|", r"^[ \t]*+\|[ \t]*+(?=[^\n]*\|)|(?<=[^\n])[ \t]*+(?<!\\)\|[ \t]*+$"),
    _rule("|", r"[ \t]*+(?<!\\)\|(?![^\[\]|\n]{0,200}+\]\])[ \t]*+", " · "),
)
_UNMARKED = (
    _rule("", r"\\$"),
    _rule("", r"[ \t]++$"),
    _rule("  ", r"(?<=\S)[ \t]{2,}+(?=\S)", " "),
    _Rule("`", re.compile(rf"{_BLOCK}|`{{1,3}}+(?P<kept>[^`\n]{{1,500}}+)`{{1,3}}+", re.MULTILINE)),
    _Rule("", re.compile(r"^[ \t]{0,8}(?:`{3,}+|~{3,}+)[^\n]*+(?:\n|\Z)", re.MULTILINE)),
    _Rule("\n\n\n", re.compile(r"(?<=\n\n)\n+")),
)


def plain(text: str) -> str:
    """The text as a person would write it in a message: in one line, and code as it is."""
    if not text.isalnum():
        text = _CONTROL.sub(" ", _rewritten(" ".join(text.replace("\\\n", "\n").split()), _INLINE, ())[0])
    return " ".join(text.split())


def readable(text: str, places: Sequence[int] = ()) -> tuple[str, list[int]]:
    """The text line by line, as people read it, and where those places of it, in order, are then."""
    return _rewritten(_CONTROL.sub(lambda found: " " * len(found[0]), text), (*_LINES, *_INLINE, *_UNMARKED), places)


def _rewritten(text: str, rules: Sequence[_Rule], places: Sequence[int]) -> tuple[str, list[int]]:
    moved = list(places)
    for rule in rules:
        if rule.sign in text:
            text = _apply(rule, text, moved)
    return text, moved


def _apply(rule: _Rule, text: str, places: list[int]) -> str:
    """The text after that rule; the places, in order, are moved."""
    has_kept = "kept" in rule.pattern.groupindex
    pieces, at, length, following = [], 0, 0, 0
    for match in rule.pattern.finditer(text):
        if _is_code(match):
            continue
        start, end = match.span("kept") if has_kept and match["kept"] is not None else (-1, -1)
        left = text[start:end] + rule.instead if start >= 0 else rule.instead
        while following < len(places) and places[following] < match.end():
            place = places[following]
            if place > match.start():
                within = 0 if start < 0 else min(max(place - start, 0), end - start)
                places[following] = length + match.start() - at + within
            else:
                places[following] = length + place - at
            following += 1
        pieces += [text[at : match.start()], left]
        length += match.start() - at + len(left)
        at = match.end()
    for number in range(following, len(places)):
        places[number] += length - at
    return "".join([*pieces, text[at:]])


def _is_code(match: re.Match[str]) -> bool:
    return any(match.groupdict().get(group) is not None for group in ("wall", "quote"))
