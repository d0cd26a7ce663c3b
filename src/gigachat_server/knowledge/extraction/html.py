"""HTML: what a page says, with its headings, lists, tables and code, without its menus, banners and footers.

Idea: a page says itself what is what. Its `main` part is taken if it has one, else its one large `article`, else its body;
and what is navigation by its element, its role or its class is left out wherever it is. Written as Markdown, which people,
models and the cutting of chunks understand alike. Invariant: a page is never empty because of what was left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from gigachat_server.errors import FileTooComplex
from gigachat_server.knowledge.extraction.decoding import charset_of, decode
from gigachat_server.knowledge.extraction.extracted import Extracted, TextWriter, row


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_DEEPEST = 250  # elements within elements; a page has some 30
_SILENT = _names(
    """script style noscript template svg math iframe object embed canvas audio video map head title meta link base button
    select option datalist input textarea dialog frame frameset"""
)
_AROUND = _names("nav footer aside menu")
_AROUND_ROLES = _names("navigation banner contentinfo search complementary dialog alert menu menubar toolbar")
_AROUND_WORDS = _names(
    """nav navbar navigation menu sidebar breadcrumb breadcrumbs footer cookie cookies toc pagination pager skip share sharing
    social newsletter advert advertisement ads banner"""
)
_BLOCKS = _names(
    """address article blockquote body center dd details div dl dt fieldset figcaption figure form header hgroup html li main ol
    p section summary ul caption legend"""
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_WORDS = re.compile(r"[a-z]+")
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.I)
_PERMALINKS = "¶#§🔗"  # what a page puts behind a heading, to link to it
_FEW = 25  # characters: a page that has no more left was robbed


def read_html(data: bytes, media_type: str | None, most: int) -> Extracted:
    return read_page(decode(data, declared=charset_of(media_type)), most)


def read_page(text: str, most: int) -> Extracted:
    """Raises `FileTooComplex`, `TextTooLong`."""
    writer = TextWriter(most)
    title = write_page(writer, text)
    return writer.done(title)


def write_page(writer: TextWriter, text: str) -> str | None:
    """Have it written; the page's title."""
    body = _parsed(text)
    if body is None:
        return None
    titles = body.getroottree().iter("title")
    title = next((" ".join(each.itertext()) for each in titles if not _is_within(each, "svg")), None)
    root = _main_part(body)
    kept = _Kept(root)
    if sum(len(part) for part in _texts(root, kept)) < _FEW:
        root, kept = body, _Kept(body, is_all=True)
    _PageWriter(writer, kept).write(root)
    return title


def _parsed(text: str) -> Any:
    """The body of the page, or what stands for one."""
    from lxml import etree

    parser = etree.HTMLParser(encoding="utf-8", no_network=True, remove_comments=True, remove_pis=True, huge_tree=True)
    try:
        root = etree.fromstring(text.encode("utf-8", "replace"), parser)
    except etree.ParserError:
        return None
    if root is None:
        return None
    _refuse_deep(root)
    body = root.find("body")
    return root if body is None else body


def _refuse_deep(root: Any) -> None:
    from lxml import etree

    depth = 0
    for event, _ in etree.iterwalk(root, events=("start", "end")):
        depth += 1 if event == "start" else -1
        if depth > _DEEPEST:
            raise FileTooComplex(f"Its elements are nested more than {_DEEPEST} deep, which no page is.")


class _Kept:
    """Which elements belong to what the page says."""

    def __init__(self, root: Any, *, is_all: bool = False) -> None:
        self._root = root
        self._is_all = is_all

    def __contains__(self, element: Any) -> bool:
        tag = element.tag
        if not isinstance(tag, str) or tag in _SILENT:
            return False
        if element is self._root or self._is_all:
            return True
        if "hidden" in element.attrib or element.get("aria-hidden") == "true" or _HIDDEN.search(element.get("style", "")):
            return False
        if tag in _AROUND or element.get("role", "") in _AROUND_ROLES:
            return False
        if tag == "header":
            return _holds_title(element)
        if tag in ("div", "section", "ul", "ol", "p", "span", "a", "table"):
            said = _WORDS.findall(f"{element.get('class', '')} {element.get('id', '')}".lower())
            return _AROUND_WORDS.isdisjoint(said) or _holds_title(element)
        return True


def _holds_title(element: Any) -> bool:
    return any(True for _ in element.iter("h1", "main", "article"))


def _main_part(body: Any) -> Any:
    mains = [each for each in body.iter("main", "div", "section") if each.tag == "main" or each.get("role") == "main"]
    if mains:
        return max(mains, key=_length)
    articles = list(body.iter("article"))
    if len(articles) == 1 and _length(articles[0]) > 0.3 * _length(body):
        return articles[0]
    return body


def _length(element: Any) -> int:
    return sum(len(part.strip()) for part in element.itertext())


def _texts(root: Any, kept: _Kept) -> Iterator[str]:
    if root in kept:
        yield (root.text or "").strip()
        for child in root:
            yield from _texts(child, kept)
            yield (child.tail or "").strip()


def _is_within(element: Any, tag: str) -> bool:
    return any(True for _ in element.iterancestors(tag))


class _PageWriter:
    """Goes through the elements in their order; what is not a block is put on the line that is being written."""

    def __init__(self, writer: TextWriter, kept: _Kept) -> None:
        self._writer = writer
        self._kept = kept
        self._line: list[str] = []
        self._item = ""  # what the line begins with, in a list

    def write(self, root: Any) -> None:
        self._visit(root)
        self._end_line()

    def _visit(self, element: Any) -> None:
        if element not in self._kept:
            return
        tag = element.tag
        if tag in _HEADINGS:
            self._end_line()
            self._writer.heading(_HEADINGS[tag], _without_permalink(self._inner(element)))
        elif tag == "pre":
            self._end_line()
            code = "".join(element.itertext()).strip("\n")
            self._writer.block(f"```\n{code}\n```" if code.strip() else "")
        elif tag == "table" and not self._is_layout(element):
            self._end_line()
            self._writer.end_items()
            for each in element.iter("tr", "caption"):
                cells = each.iter("td", "th") if each.tag == "tr" else [each]
                self._writer.item(row(self._inner(cell) for cell in cells))
            self._writer.end_items()
        elif tag == "br":
            self._line.append("\n")
        else:
            self._visit_inside(element, is_block=tag in _BLOCKS or tag in ("table", "tbody", "tr", "td", "th"))

    def _visit_inside(self, element: Any, *, is_block: bool) -> None:
        if is_block:
            self._end_line()
            if element.tag == "li":
                self._item = "- "
        self._line.append(_spaced(element.text))
        for child in element:
            self._visit(child)
            self._line.append(_spaced(child.tail))
        if is_block:
            self._end_line()
            if element.tag in ("ul", "ol", "li"):
                self._item = ""
            if element.tag in ("ul", "ol") and not _is_within(element, "li"):
                self._writer.end_items()

    def _is_layout(self, table: Any) -> bool:
        """Whether it places things on the page rather than telling something in rows and columns."""
        return any(True for _ in table.iter("table", "h1", "h2", "h3", "pre", "p") if _ is not table)

    def _inner(self, element: Any) -> str:
        return " ".join(" ".join(_texts(element, self._kept)).split())

    def _end_line(self) -> None:
        lines = (" ".join(line.split()) for line in "".join(self._line).split("\n"))
        self._line = []
        if text := "\n".join(line for line in lines if line):
            if self._item:
                self._writer.item(self._item + text)
                self._item = ""
            else:
                self._writer.block(text)


def _without_permalink(heading: str) -> str:
    text = heading.rstrip()
    return text.rstrip(_PERMALINKS).rstrip() if text.endswith(tuple(_PERMALINKS)) else heading


def _spaced(text: str | None) -> str:
    """Lines of the source are no lines of the page."""
    return "" if not text else text.replace("\n", " ")
