"""XLSX: the rows of each sheet, each cell as it is shown, with the names of the columns.

Idea: a sheet is read as a stream of rows, of which none is kept. Cells are shown as their number formats have it
(`number_formats.py`). What is merged is said in each cell that it covers. Invariant: what is hidden is read and warned of, as
is a formula that was never calculated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from gigachat_server.errors import FileDamaged
from gigachat_server.knowledge.extraction.extracted import FileText, TextWriter
from gigachat_server.knowledge.extraction.number_formats import NumberFormats, shown
from gigachat_server.knowledge.extraction.ooxml import Package, attribute, child, descendants, local
from gigachat_server.knowledge.extraction.rows import Whole, write_table

_REFERENCE = re.compile(r"([A-Z]{1,3})(\d{1,7})")
_MOST_COLUMNS = 16_384
_MOST_MERGED = 20_000
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")


class _Sheet(msgspec.Struct, frozen=True):
    name: str
    part: str
    is_hidden: bool


def read_xlsx(data: bytes, most: int) -> FileText:
    writer = TextWriter(most)
    with Package(data, writer.warnings) as package:
        part = package.main("xl/workbook.xml")
        workbook = package.xml(part)
        if workbook is None:
            raise FileDamaged
        properties = child(workbook, "workbookPr")
        is_1904 = properties is not None and attribute(properties, "date1904", "0") in ("1", "true")
        strings = _strings(package.xml(package.first(part, "sharedStrings")))
        formats = NumberFormats(package.xml(package.first(part, "styles")), is_1904=is_1904)
        sheets = list(_sheets(package, part, workbook))
        for sheet in sheets:
            if sheet.is_hidden:
                writer.warnings.add("hidden_sheets", sheet.name)
            rows = _Rows(package, sheet, strings, formats, writer)
            first = next(rows.filled, None)
            if first is not None:
                writer.heading(2, sheet.name) if len(sheets) > 1 else writer.begin_section(sheet.name)
                write_table(writer, rows.all_from(first), is_data=True)
            _write_boxes(package, sheet.part, writer)
        return writer.done(package.title)


def _sheets(package: Package, part: str, workbook: Any) -> Iterator[_Sheet]:
    relationships = package.related(part)
    listed = child(workbook, "sheets")
    for each in listed if listed is not None else ():
        identities = [value for key, value in each.attrib.items() if key.endswith("}id")]
        related = relationships.get(identities[0]) if identities else None
        if related is not None and related.kind == "worksheet" and related.target in package:
            yield _Sheet(attribute(each, "name"), related.target, attribute(each, "state", "visible") != "visible")


def _strings(root: Any) -> list[str]:
    return [] if root is None else [_rich(each) for each in root if local(each) == "si"]


def _rich(element: Any) -> str:
    """A text, possibly of several runs, without its phonetic guide."""
    texts = (each.text or "" for each in descendants(element, "t") if local(each.getparent()) != "rPh")
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), "".join(texts))


class _Rows:
    """The rows of a sheet that say something, one at a time."""

    def __init__(self, package: Package, sheet: _Sheet, strings: list[str], formats: NumberFormats, writer: TextWriter) -> None:
        self._package = package
        self._sheet = sheet
        self._strings = strings
        self._formats = formats
        self._writer = writer
        self._merged = _merged(package, sheet.part)
        self._held: dict[int, tuple[int, str]] = {}  # of columns that a cell above covers: until which row, and its text
        self.filled = (cells for cells in self._rows() if any(cells))

    def all_from(self, first: list[str]) -> Iterator[list[str]]:
        yield first
        yield from self.filled

    def _rows(self) -> Iterator[list[str]]:
        from lxml import etree

        number = 0
        with self._package.stream(self._sheet.part) as stream:
            try:
                for _, element in etree.iterparse(
                    stream, events=("end",), tag="{*}row", resolve_entities=False, no_network=True, huge_tree=True
                ):
                    told = attribute(element, "r")
                    number = int(told) if told.isdigit() else number + 1
                    yield self._row(element, number)
                    element.clear()
                    while element.getprevious() is not None:
                        del element.getparent()[0]
            except etree.XMLSyntaxError:
                self._writer.warnings.add("truncated", self._sheet.name)

    def _row(self, element: Any, number: int) -> list[str]:
        texts: list[str] = []
        for cell in element:
            if local(cell) != "c":
                continue
            found = _REFERENCE.fullmatch(attribute(cell, "r"))
            column = _column(found[1]) if found else len(texts)
            if column >= _MOST_COLUMNS:
                continue
            texts += [""] * (column + 1 - len(texts))
            texts[column] = self._text(cell)
        is_alone = sum(map(bool, texts)) == 1
        for left, right, bottom in self._merged.get(number, ()):
            text = texts[left] if left < len(texts) else ""
            if text and is_alone and bottom == number:
                return Whole([text])
            if text:
                texts += [""] * (right + 1 - len(texts))
                for column in range(left, right + 1):
                    texts[column] = text
                    self._held[column] = (bottom, text)
        for column, (last, text) in list(self._held.items()):
            if number > last:
                del self._held[column]
            else:
                texts += [""] * (column + 1 - len(texts))
                texts[column] = texts[column] or text
        return texts

    def _text(self, cell: Any) -> str:
        kind, value = attribute(cell, "t", "n"), child(cell, "v")
        if kind == "inlineStr":
            inner = child(cell, "is")
            return "" if inner is None else _rich(inner)
        if value is None or value.text is None:
            if child(cell, "f") is not None:
                self._writer.warnings.add("formulas_without_value", f"{self._sheet.name} {attribute(cell, 'r')}")
            return ""
        text = str(value.text)
        match kind:
            case "s":
                return self._strings[int(text)] if text.isdigit() and int(text) < len(self._strings) else ""
            case "b":
                return "yes" if text == "1" else "no"
            case "str" | "e":
                return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text)
            case "d":
                return text.replace("T00:00:00", "").replace("T", " ")
            case _:
                return shown(text, self._formats.of(attribute(cell, "s")))


def _merged(package: Package, part: str) -> dict[int, list[tuple[int, int, int]]]:
    """What is merged, by the row in which it begins; within the columns and rows that a sheet may have."""
    from lxml import etree

    found: dict[int, list[tuple[int, int, int]]] = {}
    count = 0
    with package.stream(part) as stream:
        try:
            for _, element in etree.iterparse(
                stream, events=("end",), tag=("{*}mergeCell", "{*}row"), resolve_entities=False, no_network=True, huge_tree=True
            ):
                if local(element) == "mergeCell" and count < _MOST_MERGED:
                    first, _, last = attribute(element, "ref").partition(":")
                    one, other = _REFERENCE.fullmatch(first), _REFERENCE.fullmatch(last)
                    if one and other and _column(other[1]) - _column(one[1]) < 200:
                        count += 1
                        found.setdefault(int(one[2]), []).append((_column(one[1]), _column(other[1]), int(other[2])))
                element.clear()
                while element.getprevious() is not None:
                    del element.getparent()[0]
        except etree.XMLSyntaxError:
            pass  # told of when its rows are read
    return found


def _column(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number - 1


def _write_boxes(package: Package, part: str, writer: TextWriter) -> None:
    """What is written in boxes upon the sheet."""
    root = package.xml(package.first(part, "drawing"))
    for body in descendants(root, "txBody") if root is not None else ():
        text = "\n".join("".join(each.text or "" for each in descendants(paragraph, "t")) for paragraph in descendants(body, "p"))
        writer.block(text)
