"""What the entries of numbered lists begin with, counted as office programs count: `1.`, `2.1`, `c)`, `iv.`, pure."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from gigachat_server.knowledge.extraction.ooxml import attribute, child, local

_PLACE = re.compile(r"%(\d)")
_ROMAN = ((1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"), (10, "x"), (9, "ix"),
          (5, "v"), (4, "iv"), (1, "i"))  # fmt: skip
_LARGEST_ROMAN = 3999


class Level(msgspec.Struct, frozen=True):
    kind: str = "bullet"
    text: str = ""
    start: int = 1


class Numbering:
    """The lists of a document, and how far each has come."""

    def __init__(self, root: Any) -> None:
        self._lists: dict[str, tuple[str, dict[int, Level]]] = {}
        self._counts: dict[str, dict[int, int]] = {}
        if root is None:
            return
        abstract = {attribute(each, "abstractNumId"): _levels(each) for each in root if local(each) == "abstractNum"}
        for each in root:
            named = child(each, "abstractNumId") if local(each) == "num" else None
            if named is None:
                continue
            key = attribute(named, "val")
            levels = abstract.get(key, {})
            overrides = {_level_of(override): override for override in each if local(override) == "lvlOverride"}
            if overrides:  # then it counts for itself
                key = f"{key} {attribute(each, 'numId')}"
                levels = levels | _levels(each)
            self._lists[attribute(each, "numId")] = (key, levels)

    def label(self, identity: str, depth: int) -> str:
        """Of the next entry: `-` where the list has bullets, nothing where it is none."""
        if identity == "0":
            return ""
        key, levels = self._lists.get(identity, ("", {}))
        level = levels.get(depth, Level())
        if level.kind == "none":
            return ""
        if level.kind == "bullet":
            return "-"
        counts = self._counts.setdefault(key, {})
        counts[depth] = counts.get(depth, level.start - 1) + 1
        for deeper in [each for each in counts if each > depth]:
            del counts[deeper]

        def number(match: re.Match[str]) -> str:
            place = int(match[1]) - 1
            of = levels.get(place, Level("decimal"))
            return numeral(counts.setdefault(place, of.start), of.kind)

        return _PLACE.sub(number, level.text).strip() or "-"


def numeral(number: int, kind: str) -> str:
    match kind:
        case "lowerLetter" | "upperLetter":
            text = chr(ord("a") + (number - 1) % 26) * ((number - 1) // 26 % 20 + 1)
        case "lowerRoman" | "upperRoman" if 0 < number <= _LARGEST_ROMAN:
            text, left = "", number
            for value, sign in _ROMAN:
                text += sign * (left // value)
                left %= value
        case "decimalZero":
            text = f"{number:02}"
        case _:
            text = str(number)
    return text.upper() if kind.startswith("upper") else text


def _levels(element: Any) -> dict[int, Level]:
    found = {}
    for each in element:
        level = child(each, "lvl") if local(each) == "lvlOverride" else each if local(each) == "lvl" else None
        start = child(each, "startOverride") if local(each) == "lvlOverride" else None
        if level is None and start is None:
            continue
        found[_level_of(each)] = Level(
            _value(level, "numFmt", "decimal") if level is not None else "decimal",
            _value(level, "lvlText", "") if level is not None else f"%{_level_of(each) + 1}.",
            _integer(attribute(start, "val") if start is not None else _value(level, "start", "1"), 1),
        )
    return found


def _level_of(element: Any) -> int:
    return _integer(attribute(element, "ilvl"), 0)


def _value(element: Any, name: str, default: str) -> str:
    found = child(element, name)
    return default if found is None else attribute(found, "val", default)


def _integer(text: str, default: int) -> int:
    return int(text) if text.isdigit() and len(text) < 6 else default
