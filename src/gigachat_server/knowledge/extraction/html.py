"""HTML: the content of a page, with headings, lists, tables and code, without menus, banners and footers.

Idea: the elements say what is what, and `html_parts.py` decides what does not belong. The result is Markdown, which people,
models and the chunker all understand. Invariant: leaving parts out never empties a page; text that is seen on one line stays
together, whatever its elements.
"""

from __future__ import annotations

import functools
from typing import Any

from gigachat_server.errors import FileTooComplex
from gigachat_server.knowledge.extraction import inline
from gigachat_server.knowledge.extraction.decoding import charset_of, decode
from gigachat_server.knowledge.extraction.extracted import FileText, TextWriter
from gigachat_server.knowledge.extraction.html_parts import PageFilter, are_line_numbers, controlled_ids, is_robbed, main_part
from gigachat_server.knowledge.extraction.numbering import numeral
from gigachat_server.knowledge.extraction.rows import Whole, write_table
from gigachat_server.knowledge.extraction.structured_data import questions

_DEEPEST = 250  # elements within elements; a page has some 30
_BLOCKS = frozenset(
    """address article blockquote body center dd details div dl dt fieldset figcaption figure form header footer hgroup html li
    main ol p section summary ul caption legend aside nav table tbody thead tfoot tr td th template slot noscript dialog
    menu""".split()  # noqa: SIM905
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_PERMALINKS = "¶#§🔗"  # what a page puts behind a heading, to link to it
_STRUCK = ("s", "del", "strike")
_NUMERALS = {"a": "lowerLetter", "A": "upperLetter", "i": "lowerRoman", "I": "upperRoman"}
_MOST_SPAN = 1_000
_MOST_CELLS = 2_000_000  # of a table, with those that are covered
_LONG_CELL = 500  # characters on average: then it is not a table
_TINY = ("0", "1", "2")  # pixels: a picture that counts visitors


def read_html(data: bytes, media_type: str | None, most: int) -> FileText:
    writer = TextWriter(most)
    return writer.done(write_page(writer, decode(data, declared=charset_of(media_type), warnings=writer.warnings)))


def write_page(writer: TextWriter, text: str) -> str | None:
    """Have it written; the page's title. Raises `FileTooComplex`, `TextTooLong`."""
    body = _parsed(text)
    if body is None:
        return None
    titles = body.getroottree().iter("title")
    title = next((" ".join(each.itertext()) for each in titles if not _is_within(each, "svg")), None)
    kept_of = functools.partial(PageFilter, controlled=controlled_ids(body))
    root = main_part(body, kept_of)
    kept = kept_of(root)
    if is_robbed(root, kept):
        root, kept = body, kept_of(body, is_all=True)
    page = _PageWriter(writer, kept)
    page.write(root)
    said = page.said
    for question, answer in questions(body):
        if " ".join(answer.split()) not in said:
            writer.heading(3, question)
            writer.block(answer)
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


def _is_within(element: Any, tag: str) -> bool:
    return any(True for _ in element.iterancestors(tag))


class _PageWriter:
    """Goes through the elements in their order; what is not a block is put on the line that is being written."""

    def __init__(self, writer: TextWriter, kept: PageFilter) -> None:
        self._writer = writer
        self._kept = kept
        self._line: list[str] = []
        self._item = ""  # what the line begins with, in a list
        self._said: list[str] = []

    @property
    def said(self) -> str:
        """All that was written, its blanks made one."""
        return " ".join(self._said)

    def write(self, root: Any) -> None:
        self._visit(root)
        self._end_line()

    def _visit(self, element: Any) -> None:
        if element not in self._kept:
            if element.tag in ("iframe", "object", "embed", "frame") and (source := element.get("src") or element.get("data")):
                self._writer.warnings.add("objects_skipped", element.get("title") or source)
            return
        tag = element.tag
        if tag in _HEADINGS:
            self._end_line()
            self._writer.heading(_HEADINGS[tag], _without_permalink(self._inner(element)))
        elif tag == "pre":
            self._end_line()
            code = _code(element).strip("\n")
            self._writer.block(f"```\n{code}\n```" if code.strip() else "")
        elif tag == "table" and not self._is_layout(element):
            self._end_line()
            self._table(element)
        elif tag in _BLOCKS or (tag == "button" and element.get("role") != "tab"):
            self._block(element)
        else:
            self._inline(element)

    def _inline(self, element: Any) -> None:
        tag = element.tag
        if tag == "br":
            self._line.append("\n")
        elif tag == "img":
            self._picture(element)
        elif tag == "math":
            self._line.append(inline.formula(element))
        elif tag == "select":
            options = (" ".join("".join(option.itertext()).split()) for option in element.iter("option"))
            self._line.append(" " + ", ".join(option for option in options if option) + " ")
        elif tag in ("sup", *_STRUCK, "q"):
            before, self._line = self._line, []
            self._children(element)
            text = "".join(self._line)
            text = inline.raised(text) if tag == "sup" else f"“{text}”" if tag == "q" else inline.struck(text)
            self._line = [*before, text]
        else:
            self._children(element)
            if tag in ("option", "button"):
                self._line.append(" ")

    def _block(self, element: Any) -> None:
        tag = element.tag
        self._end_line()
        if tag == "li":
            self._item = _marker(element)
        self._children(element)
        self._end_line()
        if tag in ("ul", "ol", "li"):
            self._item = ""
        if tag in ("ul", "ol") and not _is_within(element, "li"):
            self._writer.end_items()

    def _children(self, element: Any) -> None:
        self._line.append(_spaced(element.text))
        for child in element:
            self._visit(child)
            self._line.append(_spaced(child.tail))

    def _picture(self, element: Any) -> None:
        described = " ".join(element.get("alt", "").split())
        if described:
            self._line.append(f" {described} ")
        elif _may_say_something(element):
            self._writer.warnings.add("images_without_text", element.get("src", "").rpartition("/")[2].partition("?")[0])

    def _inner(self, element: Any) -> str:
        """All that an element says, on one line."""
        before, self._line = self._line, []
        inner = _PageWriter(_Sink(self._line, self._writer), self._kept)  # type: ignore[arg-type]
        inner._children(element)
        inner._end_line()
        text = " ".join(" ".join(self._line).split())
        self._line = before
        return text

    # --- tables ---

    def _table(self, table: Any) -> None:
        for caption in table.iter("caption"):
            self._writer.block(self._inner(caption))
        rows, header_rows = self._rows(table)
        for cells in rows:
            self._said += cells
        write_table(self._writer, rows, header_rows=header_rows)

    def _rows(self, table: Any) -> tuple[list[list[str]], int | None]:
        """What goes over several columns or rows is said in each; and how many rows are said to name the columns."""
        rows: list[list[str]] = []
        held: dict[int, tuple[int, str]] = {}  # of columns that a cell above covers: for how many rows yet, and its text
        header_rows, is_head, has_names, count = 0, True, False, 0
        for row in table.iter("tr"):
            if row not in self._kept or _is_within_other(row, table):
                continue
            cells = [cell for cell in row if cell.tag in ("td", "th")]
            texts: list[str] = []
            for cell in cells:
                self._cover(texts, held)
                text = self._inner(cell)
                width, height = _span(cell, "colspan"), _span(cell, "rowspan")
                for _ in range(width):
                    if height > 1:
                        held[len(texts)] = (height - 1, text)
                    texts.append(text)
                count += width
                if count > _MOST_CELLS:
                    raise FileTooComplex("Its table has more cells than a document may have.")
            self._cover(texts, held, is_end=True)
            names = [cell.tag == "th" for cell in cells]
            is_named = bool(names) and (all(names) or (row.getparent().tag == "thead"))
            has_names = has_names or any(names)
            is_head = is_head and is_named
            header_rows += is_head
            if len(cells) == 2 and names == [True, False] and not is_head and header_rows == 0 and len(texts) == 2:
                texts = [f"{texts[0].rstrip(':')}: {texts[1]}"] if all(texts) else texts
            rows.append(Whole(texts[:1]) if len(cells) == 1 and len(texts) > 1 else texts)
        return rows, header_rows if header_rows or has_names else None

    def _cover(self, texts: list[str], held: dict[int, tuple[int, str]], *, is_end: bool = False) -> None:
        """The cells of rows above that reach down to here."""
        while len(texts) in held or (is_end and any(column > len(texts) for column in held)):
            left, text = held.get(len(texts), (0, ""))
            if left > 1:
                held[len(texts)] = (left - 1, text)
            else:
                held.pop(len(texts), None)
            texts.append(text)

    def _is_layout(self, table: Any) -> bool:
        """Whether it places things on the page rather than telling something in rows and columns."""
        if table.get("role") in ("presentation", "none"):
            return True
        if any(True for _ in table.iter("table", *_HEADINGS, "pre", "ul", "ol") if _ is not table) and not _has_names(table):
            return True
        rows = [[cell for cell in row if cell.tag in ("td", "th")] for row in table.iter("tr")]
        cells = sum(map(len, rows))
        if max(map(len, rows), default=0) <= 1 or (len(rows) == 1 and not _has_names(table)):
            return True
        return sum(map(len, table.itertext())) > _LONG_CELL * cells

    def _end_line(self) -> None:
        lines = (" ".join(line.split()) for line in "".join(self._line).split("\n"))
        self._line = []
        if text := "\n".join(line for line in lines if line):
            self._said.append(text.replace("\n", " "))
            if self._item:
                self._writer.item(self._item + text)
                self._item = ""
            else:
                self._writer.block(text)


class _Sink:
    """Collects what would be written, to put it on one line."""

    def __init__(self, parts: list[str], writer: TextWriter) -> None:
        self._parts = parts
        self.warnings = writer.warnings

    def heading(self, _: int, text: str) -> None:
        self._parts.append(text)

    def block(self, text: str) -> None:
        self._parts.append(text)

    def item(self, text: str, *, repeated: int = 0) -> None:
        self._parts.append(text.removeprefix("- "))

    def end_items(self) -> None:
        pass


def _may_say_something(picture: Any) -> bool:
    """Whether it is neither said to be decoration, nor explained, nor too small to be seen."""
    if "alt" in picture.attrib or picture.get("role") == "presentation" or _is_within(picture, "figure"):
        return False
    return picture.get("width") not in _TINY and picture.get("height") not in _TINY


def _marker(element: Any) -> str:
    """What an entry of a list begins with."""
    parent = element.getparent()
    if parent is None or parent.tag != "ol":
        return "- "
    siblings = [each for each in parent if each.tag == "li"] if parent.get("reversed") is not None else None
    number = _integer(element.get("value"))
    if number is None:
        before = element.getprevious()
        while before is not None and before.tag != "li":
            before = before.getprevious()
        if before is None:
            start = _integer(parent.get("start"))
            number = start if start is not None else len(siblings) if siblings is not None else 1
        else:
            number = int(before.get("data-number", "0")) + (1 if siblings is None else -1)
    element.set("data-number", str(number))
    return f"{numeral(number, _NUMERALS.get(parent.get('type', '1'), 'decimal')) if number > 0 else number}. "


def _integer(text: str | None) -> int | None:
    text = (text or "").strip()
    return int(text) if text.lstrip("-").isdigit() and len(text) < 8 else None


def _span(cell: Any, name: str) -> int:
    text = cell.get(name, "1").strip()
    return min(max(int(text), 1), _MOST_SPAN) if text.isdigit() and len(text) < 6 else 1


def _has_names(table: Any) -> bool:
    return any(True for _ in table.iter("th"))


def _is_within_other(row: Any, table: Any) -> bool:
    return next(row.iterancestors("table"), None) is not table


def _code(element: Any) -> str:
    """Text as it is, without the numbers of its lines."""
    if not isinstance(element.tag, str) or element.tag in ("button", "script", "style"):
        return ""
    if element.tag == "br":
        return "\n"
    if are_line_numbers(element):
        return ""
    parts = [element.text or ""]
    for child in element:
        parts += (_code(child), child.tail or "")
    if element.tag in ("div", "tr", "p", "li") and not "".join(parts).endswith("\n"):
        parts.append("\n")
    return "".join(parts)


def _without_permalink(heading: str) -> str:
    text = heading.rstrip()
    return text.rstrip(_PERMALINKS).rstrip() if text.endswith(tuple(_PERMALINKS)) else heading


def _spaced(text: str | None) -> str:
    """Lines of the source are not lines of the page."""
    return "" if not text else text.replace("\n", " ")
