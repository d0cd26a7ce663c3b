"""DOCX and PPTX: paragraphs, lists and tables in the order in which they are read."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any

from gigachat_server.knowledge.extraction import archive
from gigachat_server.knowledge.extraction.extracted import Extracted, TextWriter, row

_HEADING = re.compile(r"heading (\d)", re.I)
_WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_DEEPEST = 6
_DEEPEST_GROUP = 20


def read_docx(data: bytes, most: int) -> Extracted:
    import docx
    from docx.table import Table

    _check(data)
    document = docx.Document(io.BytesIO(data))
    levels, lists = _heading_levels(document), _list_styles(document)
    writer = TextWriter(most)
    title = document.core_properties.title or ""
    for block in document.iter_inner_content():
        if isinstance(block, Table):
            _write_table(writer, block)
            continue
        text = block.text.strip()
        level = levels.get(block._p.style or "")
        if level is not None and text:
            title = title or (text if level <= 1 else "")
            writer.heading(max(level, 1), text)
        elif block._p.style in lists or (block._p.pPr is not None and block._p.pPr.numPr is not None):
            writer.item(f"- {text}" if text else "")
        else:
            writer.block(text)
    return writer.done(title)


def read_pptx(data: bytes, most: int) -> Extracted:
    import pptx

    _check(data)
    presentation = pptx.Presentation(io.BytesIO(data))
    writer = TextWriter(most)
    for number, slide in enumerate(presentation.slides, start=1):
        writer.begin_page(number)
        title = slide.shapes.title
        if title is not None and title.has_text_frame:
            writer.heading(2, title.text_frame.text)
        for shape in _shapes(slide.shapes, _DEEPEST_GROUP):
            if title is not None and shape.shape_id == title.shape_id:
                continue
            if shape.has_text_frame:
                for paragraph in shape.text_frame.paragraphs:
                    writer.item(paragraph.text.replace("\v", "\n").strip())
            if getattr(shape, "has_table", False):
                for cells in shape.table.rows:
                    writer.item(row(cell.text_frame.text for cell in cells.cells))
    return writer.done(presentation.core_properties.title)


def _check(data: bytes) -> None:
    with archive.opened(data) as checked:
        archive.refuse_type_declarations(checked)


def _heading_levels(document: Any) -> dict[str, int]:
    """The level of each style that is one of a heading: its id is in the language of the program, its name is not."""
    levels = {}
    for style in document.styles:
        if (name := style.name) is None:
            continue
        if found := _HEADING.match(name):
            levels[style.style_id] = min(int(found[1]), _DEEPEST)
        elif name.lower() == "title":
            levels[style.style_id] = 0
    return levels


def _list_styles(document: Any) -> set[str]:
    return {style.style_id for style in document.styles if (style.name or "").lower().startswith("list ")}


def _write_table(writer: TextWriter, table: Any) -> None:
    writer.end_items()
    for each in table._tbl.tr_lst:
        writer.item(row(_cell_text(cell) for cell in each.tc_lst))
    writer.end_items()


def _cell_text(cell: Any) -> str:
    """Also of tables within the cell."""
    paragraphs = (paragraph.iter(_WORD + "t") for paragraph in cell.iter(_WORD + "p"))
    return " ".join("".join(node.text or "" for node in texts) for texts in paragraphs)


def _shapes(shapes: Any, depth: int) -> Iterator[Any]:
    """Those in groups, too, from top to bottom."""
    for shape in sorted(shapes, key=lambda each: (each.top or 0, each.left or 0)):
        inner = getattr(shape, "shapes", None)
        if inner is None:
            yield shape
        elif depth:
            yield from _shapes(inner, depth - 1)
