"""Reads robots.txt (RFC 9309), for one agent. Pure.

Idea: a stranger wrote the rules, so there are no regular expressions, whose time a pattern could blow up. A pattern is cut at
its stars, and its pieces are looked for from left to right: a look takes time in proportion to rules and address.

Invariant: of the patterns that match an address the longest decides, and `Allow` where two are as long. Both are compared in one
form: what has to be percent-encoded is, in capitals, and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import quote

import msgspec

_AGENT = re.compile(r"[a-z_-]*")
_ESCAPED = re.compile(r"%([0-9a-fA-F]{2})")
_SAFE = "/%:@!&'()+,;=~-._?[]"  # but for `*` and `$`, which mean something in a pattern
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


class _Rule(msgspec.Struct, frozen=True):
    """Whether what this pattern matches may be read. The first piece is where the address starts."""

    is_allowed: bool
    pieces: list[str]
    is_whole: bool  # the last piece is where the address ends

    def matches(self, target: str) -> bool:
        first, *middle = self.pieces
        if not target.startswith(first):
            return False
        if not middle:
            return not self.is_whole or len(target) == len(first)
        position, end, last = len(first), len(target), ""
        if self.is_whole:
            last = middle.pop()
            end -= len(last)
        for piece in middle:
            found = target.find(piece, position, end)
            if found < 0:
                return False
            position = found + len(piece)
        return position <= end and target.endswith(last)


class RobotRules(msgspec.Struct, frozen=True):
    """What one agent may read of a site, and how fast."""

    rules: list[_Rule]  # the one that decides first
    delay_s: float = 0.0

    def allows(self, target: str) -> bool:
        """`target` is path and query."""
        plain = _encoded(target).replace("*", "%2A").replace("$", "%24")
        return next((rule.is_allowed for rule in self.rules if rule.matches(plain)), True)


def read(text: str, agent: str) -> RobotRules:
    """The rules for the agent by its name; those for everybody if there are none for it."""
    found: dict[str, list[tuple[str, str]]] = {}
    naming: set[str] = set()  # us, or everybody
    is_named = False  # the lines before were names of agents
    for field, value in _lines(text):
        if field == "user-agent":
            naming = naming if is_named else set()
            is_named = True
            if (name := _name(value)) in ("*", agent):
                naming.add(name)
                found.setdefault(name, [])
        elif field in ("allow", "disallow", "crawl-delay"):
            is_named = False
            for name in naming:
                found[name].append((field, value))
    return _rules(found.get(agent, found.get("*", [])))


def _name(value: str) -> str:
    if value.startswith("*"):
        return "*"
    found = _AGENT.match(value.lower())
    return found[0] if found else ""


def _lines(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        field, colon, value = line.partition("#")[0].partition(":")
        if colon:
            yield field.strip().lower(), value.strip()


def _rules(lines: list[tuple[str, str]]) -> RobotRules:
    delays = [float(value) for field, value in lines if field == "crawl-delay" and re.fullmatch(r"\d{1,6}(\.\d{0,6})?", value)]
    patterns: dict[str, bool] = {}
    for field, value in lines:
        if field != "crawl-delay" and value:
            pattern = re.sub(r"\*+", "*", _encoded(value))
            patterns[pattern] = patterns.get(pattern, False) or field == "allow"
    by_length = sorted(patterns.items(), key=lambda each: (-len(each[0]), not each[1]))
    return RobotRules([_rule(pattern, is_allowed) for pattern, is_allowed in by_length], max(delays, default=0.0))


def _rule(pattern: str, is_allowed: bool) -> _Rule:
    is_whole = pattern.endswith("$")
    pieces = pattern.removesuffix("$").replace("$", "%24").split("*")
    return _Rule(is_allowed, pieces, is_whole)


def _encoded(text: str) -> str:
    return _ESCAPED.sub(_escape, quote(text, safe=_SAFE + "*$"))


def _escape(found: re.Match[str]) -> str:
    character = chr(int(found[1], 16))
    return character if character in _UNRESERVED else found[0].upper()
