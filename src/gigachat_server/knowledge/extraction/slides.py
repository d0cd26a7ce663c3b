"""PPTX: titles, texts, tables, charts and diagrams of each slide, from top to bottom, without the speaker's notes.

Invariant: each slide is a page, in the order in which they are shown; one that is hidden is read, and warned of.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gigachat_server.knowledge.extraction import inline
from gigachat_server.knowledge.extraction.extracted import FileText, TextWriter
from gigachat_server.knowledge.extraction.numbering import numeral
from gigachat_server.knowledge.extraction.ooxml import (
    Package,
    attribute,
    child,
    chosen,
    descendants,
    local,
    write_chart,
    write_diagram,
)
from gigachat_server.knowledge.extraction.rows import Whole, write_table

_DEEPEST_GROUP = 20
_TITLES = ("title", "ctrTitle")
_AROUND = ("sldNum", "dt", "ftr", "hdr")
_NUMBERED = {"arabic": "decimal", "alphaLc": "lowerLetter", "alphaUc": "upperLetter", "romanLc": "lowerRoman",
             "romanUc": "upperRoman"}  # fmt: skip


def read_pptx(data: bytes, most: int) -> FileText:
    writer = TextWriter(most)
    with Package(data, writer.warnings) as package:
        part = package.main("ppt/presentation.xml")
        for number, slide in enumerate(_slides(package, part), start=1):
            writer.begin_page(number)
            root = package.xml(slide)
            if root is None:
                writer.warnings.add("parts_skipped", f"slide {number}")
                continue
            if attribute(root, "show", "1") in ("0", "false"):
                writer.warnings.add("hidden_sheets", f"slide {number}")
            _Slide(package, slide, root, writer).write()
        return writer.done(package.title)


def _slides(package: Package, part: str) -> Iterator[str]:
    root = package.xml(part)
    named = child(root, "sldIdLst") if root is not None else None
    relationships = package.related(part)
    for each in named if named is not None else ():
        # Its other attribute of that name, without a namespace, is a number.
        identities = [value for key, value in each.attrib.items() if key.endswith("}id")]
        related = relationships.get(identities[0]) if identities else None
        if related is not None:
            yield related.target


class _Slide:
    def __init__(self, package: Package, part: str, root: Any, writer: TextWriter) -> None:
        self._package = package
        self._part = part
        self._root = root
        self._writer = writer
        layout = package.first(part, "slideLayout")
        self._places = _places(package.xml(layout))

    def write(self) -> None:
        tree = child(self._root, "cSld", "spTree")
        shapes = list(self._shapes(tree, _DEEPEST_GROUP)) if tree is not None else []
        title = next((shape for shape in shapes if _placeholder(shape)[0] in _TITLES), None)
        if title is not None:
            self._writer.heading(2, " ".join(" ".join(_paragraphs(title)).split()))
        for shape in shapes:
            if shape is not title and _placeholder(shape)[0] not in _AROUND:
                self._shape(shape)

    def _shapes(self, tree: Any, depth: int) -> Iterator[Any]:
        """Those in groups, too, from top to bottom."""
        found = []
        for each in tree:
            if local(each) == "AlternateContent":
                found += list(chosen(each) if chosen(each) is not None else ())
            else:
                found.append(each)
        for shape in sorted(found, key=self._place):
            if local(shape) != "grpSp":
                yield shape
            elif depth:
                yield from self._shapes(shape, depth - 1)

    def _place(self, shape: Any) -> tuple[int, int]:
        at = _offset(shape)
        if at is None:
            kind, index = _placeholder(shape)
            at = self._places.get(index) or self._places.get(kind)
        return at or (0, 0)

    def _shape(self, shape: Any) -> None:
        match local(shape):
            case "sp" | "cxnSp":
                if child(shape, "txBody") is not None:
                    self._writer.end_items()
                    for text in _paragraphs(shape):
                        self._writer.item(text)
                    self._writer.end_items()
            case "pic":
                described = " ".join(_description(shape).split())
                if described:
                    self._writer.block(described)
                else:
                    self._writer.warnings.add("images_without_text")
            case "graphicFrame":
                self._frame(shape)

    def _frame(self, shape: Any) -> None:
        relationships = self._package.related(self._part)
        for each in shape.iter():
            match local(each):
                case "tbl":
                    first = attribute(child(each, "tblPr"), "firstRow") if child(each, "tblPr") is not None else ""
                    write_table(self._writer, _rows(each), header_rows=1 if first in ("1", "true") else None)
                case "chart" if attribute(each, "id") in relationships:
                    write_chart(self._package, relationships[attribute(each, "id")].target, self._writer)
                case "relIds" if attribute(each, "dm") in relationships:
                    write_diagram(self._package, relationships[attribute(each, "dm")].target, self._writer)
                case "oleObj":
                    self._writer.warnings.add("objects_skipped", attribute(each, "progId"))


def _placeholder(shape: Any) -> tuple[str, str]:
    """Its kind and its number, by which the layout knows it."""
    for each in shape:
        if local(each).startswith("nv") and (found := child(each, "nvPr", "ph")) is not None:
            return attribute(found, "type", "body"), attribute(found, "idx")
    return "", ""


def _places(layout: Any) -> dict[str, tuple[int, int]]:
    """Where the layout has its placeholders, by number and by kind."""
    found: dict[str, tuple[int, int]] = {}
    tree = child(layout, "cSld", "spTree") if layout is not None else None
    for shape in tree if tree is not None else ():
        kind, index = _placeholder(shape)
        at = _offset(shape)
        if kind and at is not None:
            found.setdefault(kind, at)
            if index:
                found[index] = at
    return found


def _offset(shape: Any) -> tuple[int, int] | None:
    for name in ("spPr", "grpSpPr"):
        at = child(shape, name, "xfrm", "off")
        if at is not None:
            break
    else:
        at = child(shape, "xfrm", "off")
    if at is None:
        return None
    try:
        return int(attribute(at, "y", "0")), int(attribute(at, "x", "0"))
    except ValueError:
        return None


def _description(shape: Any) -> str:
    return next((attribute(each, "descr") or attribute(each, "title") for each in descendants(shape, "cNvPr")), "")


def _paragraphs(element: Any) -> Iterator[str]:
    """Of a shape, or of a cell; those of numbered lists with their numbers."""
    counts: dict[int, int] = {}
    body = child(element, "txBody")
    for paragraph in descendants(body, "p") if body is not None else ():
        text = _text(paragraph).strip()
        properties = child(paragraph, "pPr")
        numbered = child(properties, "buAutoNum") if properties is not None else None
        if numbered is None:
            counts.clear()
        elif text:
            kind = attribute(numbered, "type", "arabicPeriod")
            level = int(attribute(properties, "lvl", "0") or 0) if attribute(properties, "lvl", "0").isdigit() else 0
            start = attribute(numbered, "startAt", "1")
            counts[level] = counts.get(level, int(start) - 1 if start.isdigit() and len(start) < 6 else 0) + 1
            form = next((form for name, form in _NUMBERED.items() if kind.startswith(name)), "decimal")
            number = numeral(counts[level], form)
            text = f"{number}{'.' if kind.endswith('Period') else ')' if 'Paren' in kind else ''} {text}"
        if text:
            yield text


def _text(paragraph: Any) -> str:
    parts = []
    for each in paragraph.iter():
        match local(each):
            case "t" if local(each.getparent()) in ("r", "fld"):
                text = each.text or ""
                properties = child(each.getparent(), "rPr")
                if properties is not None and attribute(properties, "strike", "noStrike") != "noStrike":
                    text = inline.struck(text)
                if properties is not None and attribute(properties, "baseline", "0").lstrip("+").isdigit():
                    text = inline.raised(text) if int(attribute(properties, "baseline", "0").lstrip("+")) > 0 else text
                parts.append(text)
            case "oMath":
                parts.append(inline.formula(each))
            case "br":
                parts.append("\n")
            case "tab" if local(each.getparent()) == "r":
                parts.append("\t")
    return "".join(parts).replace("\v", "\n")


def _rows(table: Any) -> Iterator[list[str]]:
    """What goes over several columns or rows is said in each."""
    above: list[str] = []
    for each in table:
        if local(each) != "tr":
            continue
        texts: list[str] = []
        for cell in each:
            if local(cell) != "tc":
                continue
            if attribute(cell, "hMerge") in ("1", "true") and texts:
                texts.append(texts[-1])
            elif attribute(cell, "vMerge") in ("1", "true") and len(texts) < len(above):
                texts.append(above[len(texts)])
            else:
                texts.append(" ".join(_paragraphs(cell)))
        above = texts
        is_whole = len(texts) > 1 and all(
            attribute(cell, "hMerge") in ("1", "true") for cell in list(each)[1:] if local(cell) == "tc"
        )
        yield Whole(texts[:1]) if is_whole else texts
