"""What a model wrote, as HTML that can do nothing.

Invariant: the HTML holds only tags that the markdown renderer makes. Raw HTML is shown as text; an image becomes a link,
so nothing is fetched unless somebody clicks; a link goes to http(s) alone, tells its host, and passes nothing on.
"""

from __future__ import annotations

import functools
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from markupsafe import Markup, escape

# Some constructs take time that grows with the square of the text, and missing cells of tables are filled in. What is
# past these bounds is shown as it is, so that no text takes more than a fraction of a second.
LONGEST = 10_000
MOST_CELLS = 4_000


def markdown(text: str) -> Markup:
    """The text rendered, safe to put into a page."""
    lines = text.splitlines()
    if len(text) > LONGEST or len(lines) * max((line.count("|") for line in lines), default=0) > MOST_CELLS:
        return Markup('<p class="plain">') + escape(text) + Markup("</p>")
    return Markup(_renderer().render(text))  # noqa: S704 - the one place that makes HTML of data; see the invariant


@functools.cache
def _renderer() -> MarkdownIt:
    renderer = MarkdownIt("js-default", {"html": False, "linkify": False, "maxNesting": 20}).disable("image")
    renderer.validateLink = is_safe_link  # type: ignore[method-assign]
    renderer.core.ruler.push("harmless", _make_harmless)
    return renderer


def is_safe_link(url: str) -> bool:
    """Whether a link may go there: to another page over http(s), named whole."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _make_harmless(state: StateCore) -> None:
    for token in state.tokens:
        _style_to_class(token)
        if token.children:
            token.children = _with_hosts(token.children)


def _style_to_class(token: Token) -> None:
    """Alignment in tables comes as a style attribute, which the pages' policy forbids."""
    style = token.attrs.pop("style", None)
    if style is not None:
        token.attrs["class"] = str(style).replace("text-align:", "align-")


def _with_hosts(tokens: list[Token]) -> list[Token]:
    """Links tell where they go: a text that names another host deceives nobody. Those that go nowhere are none."""
    found: list[Token] = []
    host = ""
    for token in tokens:
        if token.type == "link_open":
            href = str(token.attrs["href"])
            host = urlsplit(href).netloc.rpartition("@")[2] if is_safe_link(href) else ""
            token.attrs = {"href": href, "rel": "noopener noreferrer nofollow", "target": "_blank"}
        if host or token.type not in ("link_open", "link_close"):
            found.append(token)
        if token.type == "link_close" and host:
            found.append(Token("text", "", 0, content=f" ({host})"))
    return found
