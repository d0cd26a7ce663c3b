"""DOCX: what a person sees of it, in the order in which it is read: also what is in boxes, fields, controls and notes.

Idea: one walk through the document's elements. What only wraps others (content controls, insertions, smart tags) is gone
through; what was deleted, or is hidden, is not. A note stands behind the paragraph that refers to it. Invariant: every text
element is either written, or of a kind that is named here as not to be seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from gigachat_server.knowledge.extraction import inline
from gigachat_server.knowledge.extraction.decoding import decode
from gigachat_server.knowledge.extraction.extracted import FileText, TextWriter
from gigachat_server.knowledge.extraction.numbering import Numbering
from gigachat_server.knowledge.extraction.ooxml import (
    Package,
    attribute,
    child,
    chosen,
    descendants,
    is_on,
    local,
    write_chart,
    write_diagram,
)
from gigachat_server.knowledge.extraction.rows import Whole, write_table

_HEADING = re.compile(r"heading (\d)", re.I)
_DEEPEST_HEADING = 6
_DEEPEST = 60  # elements that hold blocks within each other
_WRAPPERS = frozenset(
    ("ins", "moveTo", "smartTag", "customXml", "hyperlink", "sdtContent", "dir", "bdo", "subDoc", "Choice", "Fallback", "body",
     "txbxContent", "oMathPara")
)  # fmt: skip
_UNSEEN = frozenset(("del", "moveFrom", "delText", "instrText", "delInstrText", "rPr", "pPr", "sdtPr", "sdtEndPr"))
_PAGE_FIELDS = re.compile(r"\s*(?:PAGE|NUMPAGES|SECTIONPAGES|SECTION)\b", re.I)
_PAGE_WORDS = re.compile(r"\b(?:page|pages|of|seite|seiten|von|página|pagina|de|di|strona|z|stránka|sur|av|van)\b|[\W\d_]+", re.I)


def read_docx(data: bytes, most: int) -> FileText:
    writer = TextWriter(most)
    with Package(data, writer.warnings) as package:
        return _Document(package, package.main("word/document.xml"), writer).read()


class _Style(msgspec.Struct):
    name: str = ""
    level: int | None = None  # of a heading
    numbering: tuple[str, int] | None = None
    based_on: str = ""
    is_list: bool = False


class _Document:
    def __init__(self, package: Package, part: str, writer: TextWriter) -> None:
        self._package = package
        self._part = part  # whose relationships count
        self._writer = writer
        self._title = package.title
        self._styles = _styles(package.xml(package.first(part, "styles")))
        self._numbering = Numbering(package.xml(package.first(part, "numbering")))
        self._notes = {
            kind: (package.first(part, f"{kind}s"), _notes(package.xml(package.first(part, f"{kind}s"))))
            for kind in ("footnote", "endnote")
        }
        self._numbers: dict[tuple[str, str], int] = {}  # of the notes that were met
        self._depth = 0

    def read(self) -> FileText:
        root = self._package.xml(self._part)
        body = None if root is None else child(root, "body")
        around = {kind: self._around(kind) for kind in ("header", "footer")} if root is not None else {}
        for part, element in around.get("header", []):
            self._in_part(part, element)
        if body is not None:
            self._blocks(body)
        for part, element in around.get("footer", []):
            self._in_part(part, element)
        return self._writer.done(self._title)

    def _around(self, kind: str) -> list[tuple[str, Any]]:
        """Headers or footers, each once, however many sections have it."""
        found: dict[str, tuple[str, Any]] = {}
        for related in self._package.related(self._part).values():
            if related.kind == kind and (root := self._package.xml(related.target)) is not None:
                text = "".join(each.text or "" for each in descendants(root, "t")).strip()
                if text:
                    found.setdefault(text, (related.target, root))
        return list(found.values())

    def _in_part(self, part: str, element: Any) -> None:
        before, self._part = self._part, part
        self._blocks(element)
        self._part = before

    # --- blocks ---

    def _blocks(self, element: Any) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            self._writer.warnings.add("parts_skipped", "elements nested too deep")
        else:
            for each in element:
                self._block(each)
        self._depth -= 1

    def _block(self, element: Any) -> None:
        name = local(element)
        if name == "p":
            self._paragraph(element)
        elif name == "tbl":
            self._table(element)
        elif name == "sdt":
            self._blocks(child(element, "sdtContent") if child(element, "sdtContent") is not None else ())
        elif name == "AlternateContent":
            self._blocks(chosen(element) if chosen(element) is not None else ())
        elif name == "altChunk":
            self._foreign(element)
        elif name in _WRAPPERS:
            self._blocks(element)

    def _paragraph(self, element: Any) -> None:
        properties = child(element, "pPr")
        line = _Line(self)
        line.add(element)
        text = line.text.strip()
        style = self._style(properties)
        label = self._label(properties, style) if text else ""
        if style.level is not None and text:
            self._title = self._title or (text if style.level <= 1 else None)
            self._writer.heading(
                min(max(style.level, 1), _DEEPEST_HEADING), f"{label} {text}" if label not in ("", "-") else text
            )
        elif label or style.is_list:
            self._writer.item(f"{label or '-'} {text}" if text else "")
        else:
            self._writer.block(text)
        self._behind(line)

    def _behind(self, line: _Line) -> None:
        """Notes that a line refers to, and boxes that hang on it."""
        for kind, number, identity in line.notes:
            part, notes = self._notes[kind]
            note = notes.get(identity)
            if note is not None and part is not None:
                before, self._part = self._part, part
                text = " ".join(self._text_of(block) for block in note)
                self._part = before
                self._writer.block(f"{inline.raised(str(number))} {text.strip()}")
        for box in line.boxes:
            self._blocks(box)
        for drawing in line.drawings:
            self._drawing(drawing)

    def _style(self, properties: Any) -> _Style:
        named = child(properties, "pStyle") if properties is not None else None
        style = self._styles.get(attribute(named, "val") if named is not None else "", _Style())
        outline = child(properties, "outlineLvl") if properties is not None else None
        if outline is not None and attribute(outline, "val").isdigit() and int(attribute(outline, "val")) < 9:
            return msgspec.structs.replace(style, level=int(attribute(outline, "val")) + 1)
        return style

    def _label(self, properties: Any, style: _Style) -> str:
        """What a list's entry, or a numbered heading, begins with."""
        given = _numbering_of(properties)
        number = given if given is not None else style.numbering
        return self._numbering.label(*number) if number is not None else ""

    def _foreign(self, element: Any) -> None:
        """A document of another kind within this one."""
        from gigachat_server.knowledge.extraction.html import write_page

        related = self._package.related(self._part).get(attribute(element, "id"))
        data = None if related is None else self._package.bytes_of(related.target)
        if related is None or data is None or not related.target.lower().endswith((".html", ".htm", ".xhtml", ".mht", ".txt")):
            self._writer.warnings.add("parts_skipped", "" if related is None else related.target)
            return
        if related.target.lower().endswith(".txt"):
            self._writer.block(decode(data, warnings=self._writer.warnings))
        else:
            write_page(self._writer, decode(data, warnings=self._writer.warnings))

    # --- tables ---

    def _table(self, element: Any) -> None:
        rows = [row for row in self._rows(element) if child(row, "trPr", "del") is None]
        cells = [list(self._cells(row)) for row in rows]
        if self._is_layout(element, cells):
            for each in cells:
                for cell in each:
                    self._blocks(cell)
            return
        lines: list[_Line] = []
        texts: list[list[str]] = []
        for row, each in zip(rows, cells, strict=True):
            texts.append(self._row(row, each, texts[-1] if texts else [], lines))
        write_table(self._writer, texts, header_rows=self._header_rows(rows))
        for line in lines:
            self._behind(line)

    def _rows(self, element: Any) -> Iterator[Any]:
        for each in element:
            if local(each) == "tr":
                yield each
            elif local(each) == "sdt":
                yield from self._rows(child(each, "sdtContent") if child(each, "sdtContent") is not None else ())
            elif local(each) in _WRAPPERS:
                yield from self._rows(each)

    def _cells(self, row: Any) -> Iterator[Any]:
        for each in row:
            if local(each) == "tc":
                yield each
            elif local(each) == "sdt":
                yield from self._cells(child(each, "sdtContent") if child(each, "sdtContent") is not None else ())
            elif local(each) in _WRAPPERS:
                yield from self._cells(each)

    def _row(self, row: Any, cells: list[Any], above: list[str], lines: list[_Line]) -> list[str]:
        """The texts of a row; what goes over several columns or rows is said in each."""
        before = child(row, "trPr", "gridBefore")
        texts = [""] * (_number(before) if before is not None else 0)
        for cell in cells:
            merged = child(cell, "tcPr", "vMerge")
            if merged is not None and attribute(merged, "val") != "restart" and len(texts) < len(above):
                text = above[len(texts)]
            else:
                text = self._text_of(cell, lines)
            span = child(cell, "tcPr", "gridSpan")
            if len(cells) == 1 and span is not None:
                return Whole([text])
            texts += [text] * max(_number(span) if span is not None else 1, 1)
        return texts

    def _text_of(self, element: Any, lines: list[_Line] | None = None) -> str:
        """All that an element says, on one line."""
        parts = []
        for paragraph in _paragraphs(element):
            line = _Line(self)
            line.add(paragraph)
            if lines is not None:
                lines.append(line)
            properties = child(paragraph, "pPr")
            text = line.text.strip()
            label = self._label(properties, self._style(properties)) if text else ""
            parts.append(f"{label} {text}" if label not in ("", "-") else text)
        return " ".join(part for part in parts if part)

    def _is_layout(self, element: Any, cells: list[list[Any]]) -> bool:
        """Whether it only places blocks on the page."""
        if max(map(len, cells), default=0) <= 1:
            return True
        for each in cells:
            for cell in each:
                if any(True for _ in descendants(cell, "tbl")):
                    return True
                if any(self._style(child(paragraph, "pPr")).level is not None for paragraph in _paragraphs(cell)):
                    return True
        return False

    def _header_rows(self, rows: list[Any]) -> int | None:
        """How many rows are said to be repeated on each page, or alone are bold; None if none is."""
        count = 0
        while count < len(rows) and is_on(child(rows[count], "trPr"), "tblHeader"):
            count += 1
        if count:
            return count
        bold = [_is_bold(row) for row in rows[:3]]
        return 1 if len(bold) > 1 and bold[0] and not any(bold[1:]) else None

    # --- what hangs on a paragraph ---

    def note(self, kind: str, identity: str) -> int:
        return self._numbers.setdefault((kind, identity), len(self._numbers) + 1)

    def _drawing(self, element: Any) -> None:
        relationships = self._package.related(self._part)
        for each in element.iter():
            name = local(each)
            if name == "chart" and (related := relationships.get(attribute(each, "id"))) is not None:
                write_chart(self._package, related.target, self._writer)
            elif name == "relIds" and (related := relationships.get(attribute(each, "dm"))) is not None:
                write_diagram(self._package, related.target, self._writer)
            elif name in ("blip", "imagedata") and not _described(element):
                self._writer.warnings.add("images_without_text")
            elif name == "OLEObject":
                self._writer.warnings.add("objects_skipped", attribute(each, "ProgID"))


class _Line:
    """The text of one paragraph, as it grows, and what hangs on it."""

    def __init__(self, document: _Document) -> None:
        self._document = document
        self._parts: list[str] = []
        self.notes: list[tuple[str, int, str]] = []
        self.boxes: list[Any] = []
        self.drawings: list[Any] = []
        self._fields: list[str] = []  # what the fields that are open are to show
        self._is_in_result = True
        self._has_page_number = False

    @property
    def text(self) -> str:
        text = "".join(self._parts)
        if self._has_page_number and not _PAGE_WORDS.sub("", text):
            return ""
        return text

    def add(self, element: Any) -> None:
        for each in element:
            self._add(each)

    def _add(self, element: Any) -> None:
        name = local(element)
        if name == "r":
            self._run(element)
        elif name in _UNSEEN:
            return
        elif name == "fldSimple":
            if _PAGE_FIELDS.match(attribute(element, "instr")):
                self._has_page_number = True
            else:
                self.add(element)
        elif name == "sdt":
            self.add(child(element, "sdtContent") if child(element, "sdtContent") is not None else ())
        elif name == "AlternateContent":
            self.add(chosen(element) if chosen(element) is not None else ())
        elif name in ("oMath", "oMathPara"):
            self._parts.append(inline.formula(element))
        elif name in _WRAPPERS or name == "p":
            self.add(element)

    def _run(self, run: Any) -> None:
        properties = child(run, "rPr")
        if properties is not None and (is_on(properties, "vanish") or is_on(properties, "webHidden")):
            return
        raised = _is_raised(properties)
        before = len(self._parts)
        for each in run:
            self._piece(each)
        text = "".join(self._parts[before:])
        if text and raised:
            text = inline.raised(text)
        if text.strip() and properties is not None and (is_on(properties, "strike") or is_on(properties, "dstrike")):
            text = inline.struck(text)
        self._parts[before:] = [text]

    def _piece(self, element: Any) -> None:
        name = local(element)
        if name == "fldChar":
            self._field(element)
        elif name == "instrText":
            if self._fields and not self._is_in_result:
                self._fields[-1] += element.text or ""
        elif name in ("drawing", "pict", "object"):
            self._hanging(element)
        elif name == "AlternateContent":
            for each in chosen(element) if chosen(element) is not None else ():
                self._piece(each)
        elif name in ("footnoteReference", "endnoteReference"):
            kind, identity = name.removesuffix("Reference"), attribute(element, "id")
            number = self._document.note(kind, identity)
            self.notes.append((kind, number, identity))
            self._parts.append(inline.raised(str(number)))
        elif self._is_page_number():
            self._has_page_number = True
        elif name == "t":
            self._parts.append(element.text or "")
        elif name == "ruby":
            self._ruby(element)
        elif name == "sym":
            self._parts.append(inline.symbol(attribute(element, "char")))
        else:
            self._parts.append(_SIGNS.get(name, ""))

    def _is_page_number(self) -> bool:
        return bool(self._fields) and self._is_in_result and _PAGE_FIELDS.match(self._fields[-1]) is not None

    def _field(self, element: Any) -> None:
        match attribute(element, "fldCharType"):
            case "begin":
                self._fields.append("")
                self._is_in_result = False
                self._form_field(element)
            case "separate":
                self._is_in_result = True
            case "end":
                if self._fields:
                    self._fields.pop()
                self._is_in_result = True

    def _form_field(self, element: Any) -> None:
        """What was chosen in a form: those fields have no text that shows it."""
        data = child(element, "ffData")
        box = child(data, "checkBox") if data is not None else None
        listed = child(data, "ddList") if data is not None else None
        if box is not None:
            given = child(box, "checked") if child(box, "checked") is not None else child(box, "default")
            is_checked = given is not None and attribute(given, "val", "1") not in ("0", "false")
            self._parts.append("☒" if is_checked else "☐")
        elif listed is not None:
            entries = [attribute(each, "val") for each in listed if local(each) == "listEntry"]
            place = _number(child(listed, "result")) if child(listed, "result") is not None else 0
            if place < len(entries):
                self._parts.append(entries[place])

    def _hanging(self, element: Any) -> None:
        boxes = list(_outermost(element, "txbxContent"))
        self.boxes += boxes
        if not boxes:
            if described := _described(element):
                self._parts.append(f" {described} ")
            self.drawings.append(element)

    def _ruby(self, element: Any) -> None:
        for name, frame in (("rubyBase", "{}"), ("rt", "({})")):
            part = child(element, name)
            if part is not None:
                self._parts.append(frame.format("".join(each.text or "" for each in descendants(part, "t"))))


_SIGNS = {"tab": "\t", "ptab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}


def _paragraphs(element: Any) -> Iterator[Any]:
    """Those of a cell or a note; what is in boxes hangs on one of them."""
    for each in element:
        name = local(each)
        if name == "p":
            yield each
        elif name == "AlternateContent":
            yield from _paragraphs(chosen(each) if chosen(each) is not None else ())
        elif name in _WRAPPERS or name in ("sdt", "tbl", "tr", "tc", "footnote", "endnote"):
            yield from _paragraphs(each)


def _outermost(element: Any, name: str) -> Iterator[Any]:
    """Elements of that name that are in no other of that name; of what is said in two ways the one."""
    for each in element:
        if local(each) == name:
            yield each
        elif local(each) == "AlternateContent":
            if chosen(each) is not None:
                yield from _outermost(chosen(each), name)
        else:
            yield from _outermost(each, name)


def _described(element: Any) -> str:
    """What a picture is said to show."""
    for each in element.iter():
        if local(each) == "docPr" and (text := attribute(each, "descr") or attribute(each, "title")):
            return " ".join(text.split())
        if local(each) == "shape" and (text := attribute(each, "alt")):
            return " ".join(text.split())
    return ""


def _is_raised(properties: Any) -> bool:
    if properties is None:
        return False
    aligned, position = child(properties, "vertAlign"), child(properties, "position")
    if aligned is not None and attribute(aligned, "val") == "superscript":
        return True
    return position is not None and attribute(position, "val", "0").isdigit() and attribute(position, "val") != "0"


def _is_bold(row: Any) -> bool:
    runs = [run for run in descendants(row, "r") if any((each.text or "").strip() for each in descendants(run, "t"))]
    return bool(runs) and all(is_on(child(run, "rPr"), "b") for run in runs)


def _notes(root: Any) -> dict[str, Any]:
    """By their ids; what only draws a line between text and notes is none."""
    if root is None:
        return {}
    notes = (each for each in root if attribute(each, "type", "normal") == "normal")
    return {attribute(each, "id"): [each] for each in notes}


def _numbering_of(properties: Any) -> tuple[str, int] | None:
    number = child(properties, "numPr") if properties is not None else None
    identity = child(number, "numId") if number is not None else None
    if identity is None:
        return None
    level = child(number, "ilvl")
    return attribute(identity, "val"), _number(level) if level is not None else 0


def _number(element: Any) -> int:
    text = attribute(element, "val")
    return min(int(text), 200) if text.isdigit() and len(text) < 9 else 0


def _styles(root: Any) -> dict[str, _Style]:
    """By their ids, which are in the language of the program; their names are not."""
    styles: dict[str, _Style] = {}
    for each in root if root is not None else ():
        if local(each) != "style":
            continue
        name = child(each, "name")
        named = attribute(name, "val") if name is not None else ""
        based_on, properties = child(each, "basedOn"), child(each, "pPr")
        style = _Style(named, based_on=attribute(based_on, "val") if based_on is not None else "")
        style.is_list = named.lower().startswith("list ")
        if found := _HEADING.match(named):
            style.level = int(found[1])
        elif named.lower() == "title":
            style.level = 0
        elif properties is not None and (outline := child(properties, "outlineLvl")) is not None and _number(outline) < 9:
            style.level = _number(outline) + 1
        style.numbering = _numbering_of(properties)
        styles[attribute(each, "styleId")] = style
    return {identity: _inherited(style, styles) for identity, style in styles.items()}


def _inherited(style: _Style, styles: dict[str, _Style]) -> _Style:
    level, numbering, is_list, base = style.level, style.numbering, style.is_list, style.based_on
    for _ in range(10):
        above = styles.get(base)
        if above is None:
            break
        level = above.level if level is None else level
        numbering = above.numbering if numbering is None else numbering
        is_list, base = is_list or above.is_list, above.based_on
    return _Style(style.name, level, numbering, "", is_list)
