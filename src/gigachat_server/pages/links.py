"""A link within the page, from a place in a text. Apart, so that `views.py` need not load the renderer of `markdown.py`."""

from __future__ import annotations

import msgspec


class Link(msgspec.Struct, frozen=True):
    """Characters `start` to `end` of a text lead to `href`, which is of our own making. They stand in brackets."""

    start: int
    end: int
    href: str
