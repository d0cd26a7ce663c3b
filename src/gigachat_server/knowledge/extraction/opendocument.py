"""ODT, ODS and ODP: paragraphs, lists, tables, notes and boxes in their order, each cell as it is shown.

Idea: one walk through the elements of the body; what was deleted stands apart from it and is not looked at. Invariant: rows and
columns that are only said to be repeated are repeated within bounds, and what is hidden is read and warned of.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import Any

import msgspec

from gigachat_server.errors import FileDamaged, FileEncrypted
from gigachat_server.knowledge.extraction import archive, inline
from gigachat_server.knowledge.extraction.extracted import FileText, TextWriter
from gigachat_server.knowledge.extraction.numbering import numeral
from gigachat_server.knowledge.extraction.ooxml import attribute, child, descendants, local, parser
from gigachat_server.knowledge.extraction.rows import Whole, write_table

_UNSEEN = frozenset(
    ("tracked-changes", "annotation", "annotation-end", "notes", "forms", "sequence-decls", "variable-decls", "user-field-decls",
     "dde-connection-decls", "page-number", "page-count", "soft-page-break", "bibliography-mark-source", "change", "ruby-text",
     "change-start", "change-end", "title", "desc", "event-listeners")
)  # fmt: skip
_MOST_REPEATED = 1_000
_DEEPEST_HEADING = 6
_DEEPEST = 60
_NUMERALS = {"1": "decimal", "a": "lowerLetter", "A": "upperLetter", "i": "lowerRoman", "I": "upperRoman"}


class _ListLevel(msgspec.Struct, frozen=True):
    numeral: str = ""  # none: a bullet
    prefix: str = ""
    suffix: str = ""
    start: int = 1


def read_opendocument(data: bytes, most: int) -> FileText:
    writer = TextWriter(most)
    with archive.opened(data) as file:
        archive.refuse_type_declarations(file)
        if "encryption-data" in _text(file, "META-INF/manifest.xml"):
            raise FileEncrypted("It has a password: remove the password, and push it again.")
        content, styles, meta = (_xml(file, name) for name in ("content.xml", "styles.xml", "meta.xml"))
    body = child(content, "body") if content is not None else None
    if body is None:
        raise FileDamaged("It lacks the part with its text: save it again, and push that.")
    document = _Document(writer, [root for root in (styles, content) if root is not None])
    around = [] if styles is None or child(body, "text") is None else list(descendants(styles, "master-page"))
    for kind in ("header", "footer"):
        if kind == "footer":
            document.blocks(body)
        for text in dict.fromkeys(document.around(page, kind) for page in around):
            writer.block(text)
    title = None if meta is None else next((each.text for each in descendants(meta, "title")), None)
    return writer.done(title)


def _text(file: Any, name: str) -> str:
    return file.read(name).decode("utf-8", "replace") if name in file.namelist() else ""


def _xml(file: Any, name: str) -> Any:
    from lxml import etree

    if name not in file.namelist():
        return None
    try:
        return etree.fromstring(file.read(name), parser())
    except etree.XMLSyntaxError:
        return None


class _Document:
    def __init__(self, writer: TextWriter, roots: list[Any]) -> None:
        self._writer = writer
        self._lists = {attribute(each, "name"): _levels(each) for root in roots for each in descendants(root, "list-style")}
        self._styles = {attribute(each, "name"): each for root in roots for each in descendants(root, "style")}
        self._notes = 0
        self._behind: list[str] = []  # notes to the paragraph that is being read
        self._boxes: list[Any] = []
        self._depth = 0
        self._page = 0

    def around(self, page: Any, kind: str) -> str:
        part = child(page, kind)
        if part is None or not any(True for _ in descendants(part, "p", "h")):
            return ""
        return "\n".join(text for each in descendants(part, "p", "h") if (text := self._inline(each).strip(" /0123456789")))

    def blocks(self, element: Any) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            self._writer.warnings.add("parts_skipped", "elements nested too deep")
        else:
            for each in element:
                self._block(each)
        self._depth -= 1

    def _block(self, element: Any) -> None:
        match local(element):
            case "h":
                level = attribute(element, "outline-level", "1")
                self._writer.heading(min(int(level) if level.isdigit() else 1, _DEEPEST_HEADING), self._inline(element))
                self._write_behind()
            case "p":
                self._writer.block(self._inline(element).strip())
                self._write_behind()
            case "list":
                self._list(element, attribute(element, "style-name"), 1)
                self._writer.end_items()
            case "table":
                self._table(element)
            case "page":
                self._page += 1
                self._writer.begin_page(self._page)
                for each in sorted(element, key=_place):
                    self._block(each)
            case "frame" | "custom-shape" | "rect" | "ellipse" | "text-box":
                self._shape(element)
            case name if name not in _UNSEEN:
                self.blocks(element)

    def _shape(self, element: Any) -> None:
        described = next((each.text or "" for each in descendants(element, "desc", "title") if each.text), "")
        inner = [each for each in element if local(each) not in ("image", "object", "object-ole", "plugin")]
        if any(local(each) == "image" for each in element) and not any(local(each) == "object" for each in element):
            if described:
                self._writer.block(described)
            elif not any(local(each) in ("text-box", "table") for each in inner):
                self._writer.warnings.add("images_without_text")
        elif any(local(each) in ("object", "object-ole", "plugin") for each in element):
            self._writer.warnings.add("objects_skipped", attribute(element, "name"))
        is_title = attribute(element, "class") == "title"
        for each in inner:
            if is_title:
                self._writer.heading(2, " ".join(self._inline(part) for part in descendants(each, "p", "h")))
            elif local(each) == "text-box":
                self.blocks(each)
            else:
                self._block(each)

    def _list(self, element: Any, style: str, depth: int) -> None:
        level = self._lists.get(style, {}).get(depth, _ListLevel())
        number = level.start - 1
        for entry in element:
            if local(entry) not in ("list-item", "list-header"):
                continue
            told = attribute(entry, "start-value")
            number = int(told) if told.isdigit() and len(told) < 7 else number + 1
            is_first = True
            for each in entry:
                if local(each) == "list" and depth < _DEEPEST:
                    self._list(each, attribute(each, "style-name") or style, depth + 1)
                elif local(each) == "h" and depth < _DEEPEST:
                    self._block(each)
                elif text := self._inline(each).strip():
                    marker = f"{level.prefix}{numeral(number, level.numeral)}{level.suffix}" if level.numeral else "-"
                    self._writer.item(f"{marker} {text}" if is_first else text)
                    is_first = False
                    self._write_behind()

    # --- tables ---

    def _table(self, table: Any) -> None:
        name, style = attribute(table, "name"), self._styles.get(attribute(table, "style-name"))
        is_sheet = local(table.getparent()) == "spreadsheet"
        properties = child(style, "table-properties") if style is not None else None
        if properties is not None and attribute(properties, "display") == "false":
            self._writer.warnings.add("hidden_sheets", name)
        if is_sheet and any(True for _ in descendants(table, "p")):
            several = sum(local(each) == "table" for each in table.getparent()) > 1
            self._writer.heading(2, name) if several else self._writer.begin_section(name)
        heads = sum(len(list(descendants(each, "table-row"))) for each in table if local(each) == "table-header-rows")
        rows = list(self._rows(table))
        if max(map(len, rows), default=0) <= 1 and not is_sheet:
            for cell in descendants(table, "table-cell"):
                self.blocks(cell)
        else:
            write_table(self._writer, rows, header_rows=heads or None, is_data=is_sheet)
        self._write_behind()

    def _rows(self, table: Any) -> Iterator[list[str]]:
        held: dict[int, tuple[int, str]] = {}
        for row in table.iter():
            if local(row) != "table-row" or next(each for each in row.iterancestors() if local(each) == "table") is not table:
                continue
            texts: list[str] = []
            cells = [each for each in row if local(each) in ("table-cell", "covered-table-cell")]
            filled = 0
            for cell in cells:
                text = " ".join(self._inline(each) for each in cell if local(each) in ("p", "h", "list", "table")).strip()
                width, height = _count(cell, "number-columns-spanned"), _count(cell, "number-rows-spanned")
                repeated = min(_count(cell, "number-columns-repeated"), _MOST_REPEATED if text else 100)
                filled += bool(text)
                for _ in range(repeated):
                    place = len(texts)
                    if local(cell) == "covered-table-cell" and place in held:
                        texts.append(held[place][1])
                        continue
                    texts.append(text)
                    for column in range(place, place + width) if text and (width > 1 or height > 1) else ():
                        held[column] = (height, text)
            held = {column: (left - 1, text) for column, (left, text) in held.items() if left > 1}
            is_whole = filled == 1 and cells and _count(cells[0], "number-columns-spanned") > 1 and not held
            for _ in range(min(_count(row, "number-rows-repeated"), _MOST_REPEATED) if any(texts) else 0):
                yield Whole(texts[:1]) if is_whole else texts

    # --- lines ---

    def _inline(self, element: Any) -> str:
        parts = [element.text or ""]
        for each in element:
            parts += (self._piece(each), each.tail or "")
        return "".join(parts)

    def _piece(self, element: Any) -> str:
        name = local(element)
        match name:
            case "s":
                return " " * min(_count(element, "c"), 100)
            case "tab":
                return "\t"
            case "line-break":
                return "\n"
            case "note":
                self._notes += 1
                mark = inline.raised(str(self._notes))
                note = child(element, "note-body")
                if note is not None:
                    self._behind.append(f"{mark} {' '.join(self._inline(each) for each in note).strip()}")
                return mark
            case "frame" | "custom-shape":
                self._boxes.append(element)
                return ""
            case "span":
                return self._span(element)
            case "ruby":
                return "".join(self._inline(each) for each in element if local(each) == "ruby-base")
        return "" if name in _UNSEEN else self._inline(element)

    def _span(self, element: Any) -> str:
        text = self._inline(element)
        style = self._styles.get(attribute(element, "style-name"))
        properties = child(style, "text-properties") if style is not None else None
        if properties is None:
            return text
        if attribute(properties, "display") == "none":
            return ""
        position = attribute(properties, "text-position").partition(" ")[0]
        if position == "super" or (position.endswith("%") and position.rstrip("%").isdigit() and position != "0%"):
            text = inline.raised(text)
        return inline.struck(text) if attribute(properties, "text-line-through-style", "none") != "none" else text

    def _write_behind(self) -> None:
        notes, self._behind = self._behind, []
        boxes, self._boxes = self._boxes, []
        for note in notes:
            self._writer.block(note)
        for box in boxes:
            self._shape(box)


def _place(shape: Any) -> tuple[float, float]:
    """Where a slide has it, from the top."""
    is_title = attribute(shape, "class") == "title"
    return (-1.0, 0.0) if is_title else (_length(attribute(shape, "y")), _length(attribute(shape, "x")))


def _length(text: str) -> float:
    """In centimetres, as far as it says."""
    factor = 2.54 if text.endswith("in") else 0.1 if text.endswith("mm") else 1.0
    try:
        return float(text.rstrip("cinmpt")) * factor
    except ValueError:
        return 0.0


def _count(element: Any, name: str) -> int:
    text = attribute(element, name, "1")
    return max(int(text), 1) if text.isdigit() and len(text) < 9 else 1


def _levels(style: Any) -> dict[int, _ListLevel]:
    found = {}
    for each in style:
        if local(each) == "list-level-style-number":
            kind = _NUMERALS.get(attribute(each, "num-format"), "")
            start = _count(each, "start-value")
            found[_count(each, "level")] = _ListLevel(kind, attribute(each, "num-prefix"), attribute(each, "num-suffix"), start)
    return found


def kind_of_mimetype(text: str) -> str:
    """`text`, `spreadsheet` or `presentation` of `application/vnd.oasis.opendocument.text-template`, and the like."""
    return posixpath.basename(text.strip()).rpartition("opendocument.")[2].partition("-")[0]
