"""What a model wrote, as HTML that can do nothing.

Invariant: the HTML holds only tags that the markdown renderer makes. Raw HTML is shown as text; an image becomes a link,
so nothing is fetched unless somebody clicks; a link goes to http(s) alone, tells its host, and passes nothing on. Links
that the page itself makes of places in the text go to anchors of the page; within code or another link they are text.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Sequence
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from markupsafe import Markup, escape

from gigachat_server.language.invisible import without_misleading
from gigachat_server.pages.links import Link, is_safe_link

# Some constructs take time that grows with the square of the text, and missing cells of tables are filled in. What is
# past these bounds is shown as it is, so that no text takes more than a fraction of a second.
LONGEST = 10_000
MOST_CELLS = 4_000

# Blocks that run the way of their own first letter, whatever stands above them: so bullets are on the side where lines begin.
_DIRECTED = ("paragraph_open", "heading_open", "bullet_list_open", "ordered_list_open", "blockquote_open", "table_open")

# Characters of no meaning, from an area for private use: the number of a link, and its text.
_OPEN, _THEN, _CLOSE = "\uf8d1", "\uf8d2", "\uf8d3"
_NO_MARKS = {ord(mark): None for mark in (_OPEN, _THEN, _CLOSE)}
_LINKED = re.compile(rf"\[{_OPEN}([0-9]{{1,4}}){_THEN}([^{_CLOSE}]*){_CLOSE}\]")
# A name with dots that ends like a domain, an IPv4 address, or whatever stands behind a scheme.
_HOST_IN_LABEL = re.compile(r"(?<=://)[^\s/?#]+|(?:[\w-]+\.)+[^\W\d_]{2,}(?![\w-])|\b\d{1,3}(?:\.\d{1,3}){3}\b")
_UNLINKED = re.compile(f"{_OPEN}[0-9]+{_THEN}([^{_CLOSE}]*){_CLOSE}")


def markdown(text: str, links: Sequence[Link] = ()) -> Markup:
    """The text rendered, safe to put into a page; `links`, in order, are made where they stand."""
    text = _marked(text, links)
    lines = text.splitlines()
    if len(text) > LONGEST or len(lines) * max((line.count("|") for line in lines), default=0) > MOST_CELLS:
        return Markup('<p class="plain">') + escape(_UNLINKED.sub(r"\1", text)) + Markup("</p>")
    html = _renderer().render(text, {"links": links})
    return Markup(_UNLINKED.sub(r"\1", html))  # noqa: S704 - the one place that makes HTML of data; see the invariant


def _marked(text: str, links: Sequence[Link]) -> str:
    """Within the brackets of each link, marks that the renderer carries along; what the text itself has of them is dropped.

    The brackets stay outermost, so that what stands beside them means what it did.
    """
    pieces, at = [], 0
    for place, link in enumerate(links):
        pieces += [_strip(text[at : link.start]), f"[{_OPEN}{place}{_THEN}{text[link.start + 1 : link.end - 1]}{_CLOSE}]"]
        at = link.end
    return "".join([*pieces, _strip(text[at:])])


def _strip(text: str) -> str:
    return text.translate(_NO_MARKS)


@functools.cache
def _renderer() -> MarkdownIt:
    renderer = MarkdownIt("js-default", {"html": False, "linkify": False, "maxNesting": 20}).disable("image")
    renderer.validateLink = is_safe_link  # type: ignore[method-assign]
    renderer.core.ruler.push("harmless", _make_harmless)
    renderer.core.ruler.push("links", _link)
    return renderer


def _make_harmless(state: StateCore) -> None:
    for token in state.tokens:
        _style_to_class(token)
        if token.level == 0 and token.type in _DIRECTED:
            token.attrs["dir"] = "auto"
        if token.children:
            token.children = _with_hosts(token.children)


def _link(state: StateCore) -> None:
    """After what makes foreign links harmless: these are our own."""
    links = state.env.get("links", ())
    for token in state.tokens:
        if links and token.children:
            token.children = _with_links(token.children, links)


def _with_links(tokens: list[Token], links: Sequence[Link]) -> list[Token]:
    found: list[Token] = []
    depth = 0
    for token in tokens:
        depth += (token.type == "link_open") - (token.type == "link_close")
        if token.type != "text" or depth or _OPEN not in token.content:
            found.append(token)
            continue
        at = 0
        for match in _LINKED.finditer(token.content):
            if int(match[1]) >= len(links):
                continue  # a character reference of the text, such as `&#xf8d1;`, became a mark only here
            found.append(Token("text", "", 0, content=token.content[at : match.start()]))
            attributes: dict[str, str | int | float] = {"class": "cited", "href": links[int(match[1])].href}
            found.append(Token("link_open", "a", 1, attrs=attributes))
            found.append(Token("text", "", 0, content=f"[{match[2]}]"))
            found.append(Token("link_close", "a", -1))
            at = match.end()
        found.append(Token("text", "", 0, content=token.content[at:]))
    return found


def _style_to_class(token: Token) -> None:
    """Alignment in tables comes as a style attribute, which the pages' policy forbids."""
    style = token.attrs.pop("style", None)
    if style is not None:
        token.attrs["class"] = str(style).replace("text-align:", "align-")


def _with_hosts(tokens: list[Token]) -> list[Token]:
    """Links tell where they go, beside their label, which cannot turn that round. Those that go nowhere are none."""
    found: list[Token] = []
    link: list[Token] | None = None
    for token in tokens:
        if token.type == "link_open":
            link = [token]
        elif token.type == "link_close" and link is not None:
            found += _link_with_host(link[0], link[1:], token)
            link = None
        elif link is not None:
            link.append(token)
        else:
            found.append(token)
    return found


def _link_with_host(opened: Token, label: list[Token], closed: Token) -> list[Token]:
    """A label that names another host is no link: there, the host is."""
    href = str(opened.attrs["href"])
    if not is_safe_link(href):
        return label
    host = urlsplit(href).netloc.rpartition("@")[2]
    opened.attrs = {"href": href, "rel": "noopener noreferrer nofollow", "target": "_blank"}
    for token in label:
        token.content = without_misleading(token.content)
    isolated = [Token("bdi_open", "bdi", 1), *label, Token("bdi_close", "bdi", -1)]
    name = Token("text", "", 0, content=host)
    before, after = Token("text", "", 0, content=" ("), Token("text", "", 0, content=")")
    if names_another_host("".join(token.content for token in label), host):
        return [*isolated, before, opened, name, closed, after]
    return [opened, *isolated, closed, before, name, after]


def names_another_host(label: str, host: str) -> bool:
    """Whether the label looks like a host, or an address on one, other than that of its link."""
    named = _HOST_IN_LABEL.findall(unicodedata.normalize("NFKC", label).casefold().replace("\u3002", "."))
    own = _HOST_IN_LABEL.findall(host.casefold())
    return any(each.removeprefix("www.") not in [known.removeprefix("www.") for known in own] for each in named)
