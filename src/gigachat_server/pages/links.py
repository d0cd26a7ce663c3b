"""Links: within the page, from a place in a text; and which may leave it. Apart, so that views need not load a renderer."""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec


class Link(msgspec.Struct, frozen=True):
    """Characters `start` to `end` of a text lead to `href`, which is of our own making. They stand in brackets."""

    start: int
    end: int
    href: str


def is_safe_link(url: str) -> bool:
    """Whether a link may go there: to another page over http(s), named whole."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)
