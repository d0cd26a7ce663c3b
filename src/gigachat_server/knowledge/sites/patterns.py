"""Which addresses of a site are wanted: globs, in which `*` is any run of characters and all else is itself.

Idea: no regular expressions, whose time a pattern could blow up: a glob is cut at its stars, and its pieces are looked for
from left to right, each as early as possible, so a look takes time in proportion to the address.
"""

from __future__ import annotations

from collections.abc import Sequence

from gigachat_server.fetching.web_urls import WebUrl


def is_wanted(url: WebUrl, include: Sequence[str], exclude: Sequence[str]) -> bool:
    """Whether some pattern includes it (none given: all are) and none excludes it."""
    if any(matches(pattern, url) for pattern in exclude):
        return False
    return not include or any(matches(pattern, url) for pattern in include)


def matches(pattern: str, url: WebUrl) -> bool:
    """A pattern that starts with a slash is about path and query, any other about the whole address."""
    text = url.target if pattern.startswith("/") else url.text
    first, *middle = pattern.split("*")
    if not middle:
        return text == pattern
    last = middle.pop()
    if not text.startswith(first) or len(text) < len(first) + len(last) or not text.endswith(last):
        return False
    position, end = len(first), len(text) - len(last)
    for piece in middle:
        found = text.find(piece, position, end)
        if found < 0:
            return False
        position = found + len(piece)
    return True
