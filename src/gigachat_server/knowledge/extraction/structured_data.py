"""Questions and answers that a page tells search engines (JSON-LD `FAQPage`), which it may show to people by a script alone."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any

import msgspec

_MOST = 500
_DEEPEST = 8
_TAGS = re.compile(r"<(?:br|/p|/li|/div)[^<>]*>", re.I), re.compile(r"<[^<>]*>")


def questions(body: Any) -> Iterator[tuple[str, str]]:
    """In their order, each with its answer."""
    found = 0
    for script in body.getroottree().iter("script"):
        if "ld+json" not in script.get("type", ""):
            continue
        try:
            data = msgspec.json.decode(script.text or "")
        except (msgspec.DecodeError, RecursionError):
            continue
        for question, answer in _questions(data, _DEEPEST):
            if found == _MOST:
                return
            found += 1
            yield question, answer


def _questions(data: Any, depth: int) -> Iterator[tuple[str, str]]:
    if depth == 0:
        return
    if isinstance(data, list):
        for each in data:
            yield from _questions(each, depth - 1)
    elif isinstance(data, dict):
        answer = data.get("acceptedAnswer") or data.get("suggestedAnswer")
        if _is_a(data, "Question") and answer is not None:
            answers = [each.get("text") for each in (answer if isinstance(answer, list) else [answer]) if isinstance(each, dict)]
            text = "\n".join(_plain(each) for each in answers if isinstance(each, str))
            name = data.get("name") or data.get("text")
            if isinstance(name, str) and name.strip() and text.strip():
                yield _plain(name), text
            return
        for each in data.values():
            yield from _questions(each, depth - 1)


def _is_a(data: dict[str, Any], kind: str) -> bool:
    told = data.get("@type")
    return told == kind or (isinstance(told, list) and kind in told)


def _plain(text: str) -> str:
    """An answer may be HTML."""
    breaks, tags = _TAGS
    lines = tags.sub("", breaks.sub("\n", text)).split("\n")
    return "\n".join(line for line in (" ".join(html.unescape(each).split()) for each in lines) if line)
