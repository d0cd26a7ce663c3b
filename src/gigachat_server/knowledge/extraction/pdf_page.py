"""One page of a PDF from PDFium: its words with positions, its form values, and whether it is a picture.

Invariant: a page is read in its unrotated form. PDFium is only asked for the positions of the first and last character of each
word, so time is linear in the words.
"""

from __future__ import annotations

import bisect
import ctypes
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from gigachat_server.knowledge.extraction.page_layout import Piece, Row, rows_of
from gigachat_server.knowledge.extraction.running_heads import Page

_WORD = re.compile(r"[^\s\ufffe\x02]+[\ufffe\x02]?|[\ufffe\x02]")
_LINE_HYPHENS = "\ufffe\x02"  # what PDFium makes of a hyphen at the end of a line
_MOSTLY_BLANKS = 0.5  # of the words have a written blank before them
_MOST_OBJECTS = 20_000  # of a page, of which it is looked whether they are pictures
_DEEPEST = 3
_MOST_ANNOTATIONS = 5_000
_LONGEST_VALUE = 20_000  # characters
_LARGE = 0.5  # of a page's area: a picture of the page
_XFA = 2  # FORMTYPE_XFA_FULL


class Form(msgspec.Struct, frozen=True):
    """The form of a document; None if it has none. `is_unread`: it is of a kind whose values PDFium does not know."""

    handle: Any
    is_unread: bool


def open_form(document: Any) -> Form:
    kind = document.get_formtype()
    if not kind:
        return Form(None, False)
    document.init_forms()
    return Form(document.formenv, kind == _XFA)


def read(document: Any, number: int, form: Form) -> tuple[Page, bool]:
    """The page, and whether most of it is a picture, or it shows something and says nothing. Raises `PdfiumError`."""
    import pypdfium2.raw as pdfium

    page = document[number]
    try:
        pdfium.FPDFPage_SetRotation(page.raw, 0)
        textpage = page.get_textpage()
        try:
            words = _words(pdfium, textpage)
        finally:
            textpage.close()
        width, height = page.get_size()
        rows = _with_annotations(rows_of(words), list(_annotations(pdfium, page, form)))
        has_picture = _has_picture(pdfium, page, width * height, is_empty=not rows)
        return Page(rows, height), has_picture
    finally:
        page.close()


def _words(pdfium: Any, textpage: Any) -> list[Piece]:
    text, places = _text(pdfium, textpage)
    box, other = pdfium.FS_RECTF(), pdfium.FS_RECTF()
    words: list[Piece] = []
    blanks = 0
    for found in _WORD.finditer(text):
        first, last = places(found.start()), places(found.end() - 1)
        if last > first and found[0][-1] in _LINE_HYPHENS:
            last -= 1  # it has no position
        pdfium.FPDFText_GetLooseCharBox(textpage.raw, first, box)
        pdfium.FPDFText_GetLooseCharBox(textpage.raw, last, other)
        is_apart = first > 0 and pdfium.FPDFText_IsGenerated(textpage.raw, first - 1) == 1
        blanks += first > 0 and not is_apart
        turned = _turn(pdfium.FPDFText_GetCharAngle(textpage.raw, first))
        words.append(_piece(found[0], box, other, turned, is_apart))
    if blanks < _MOSTLY_BLANKS * len(words):  # this file writes none at all, but places its words
        return [msgspec.structs.replace(word, is_apart=False) if word.is_apart else word for word in words]
    return words


def _text(pdfium: Any, textpage: Any) -> tuple[str, Callable[[int], int]]:
    """The characters of a page, and what PDFium calls the place of each."""
    text = textpage.get_text_range()
    count = pdfium.FPDFText_CountChars(textpage.raw)
    if len(text) == count:
        return text, lambda place: place
    wide = [place for place, character in enumerate(text) if character > "\uffff"]
    if len(text) + len(wide) == count:  # PDFium counts what takes two units twice
        return text, lambda place: place + bisect.bisect_left(wide, place)
    return "".join(chr(pdfium.FPDFText_GetUnicode(textpage.raw, place)) for place in range(count)), lambda place: place


def _turn(angle: float) -> int:
    """Quarters of a turn, clockwise as PDFium counts them."""
    return round(angle / (math.pi / 2)) % 4 if angle > 0 else 0


def _piece(text: str, start: Any, end: Any, turned: int, is_apart: bool) -> Piece:
    """As if it were written from left to right."""
    left, right = min(start.left, end.left), max(start.right, end.right)
    bottom, top = min(start.bottom, end.bottom), max(start.top, end.top)
    match turned:
        case 1:
            return Piece(text, -top, -bottom, left, right, is_apart)
        case 2:
            return Piece(text, -right, -left, -top, -bottom, is_apart)
        case 3:
            return Piece(text, bottom, top, -right, -left, is_apart)
        case _:
            return Piece(text, left, right, bottom, top, is_apart)


def _annotations(pdfium: Any, page: Any, form: Form) -> Iterator[tuple[Piece, str]]:
    """What was filled into the page or written upon it, each with what the field is called."""
    if form.handle is not None:
        pdfium.FORM_OnAfterLoadPage(page.raw, form.handle.raw)
    for place in range(min(pdfium.FPDFPage_GetAnnotCount(page.raw), _MOST_ANNOTATIONS)):
        annotation = pdfium.FPDFPage_GetAnnot(page.raw, place)
        if not annotation:
            continue
        try:
            kind = pdfium.FPDFAnnot_GetSubtype(annotation)
            name, value = "", ""
            if kind == pdfium.FPDF_ANNOT_FREETEXT:
                value = _string(pdfium.FPDFAnnot_GetStringValue, annotation, b"Contents")
            elif kind == pdfium.FPDF_ANNOT_WIDGET and form.handle is not None:
                name, value = _field(pdfium, form.handle.raw, annotation)
            box = pdfium.FS_RECTF()
            if value.strip() and pdfium.FPDFAnnot_GetRect(annotation, box):
                text = " ".join(value.split())
                yield Piece(text, box.left, box.right, min(box.bottom, box.top), max(box.bottom, box.top)), name
        finally:
            pdfium.FPDFPage_CloseAnnot(annotation)


def _field(pdfium: Any, form: Any, annotation: Any) -> tuple[str, str]:
    kind = pdfium.FPDFAnnot_GetFormFieldType(form, annotation)
    if kind in (pdfium.FPDF_FORMFIELD_PUSHBUTTON, pdfium.FPDF_FORMFIELD_SIGNATURE):
        return "", ""
    name = _string(pdfium.FPDFAnnot_GetFormFieldAlternateName, form, annotation)
    name = name or _string(pdfium.FPDFAnnot_GetFormFieldName, form, annotation)
    if kind in (pdfium.FPDF_FORMFIELD_CHECKBOX, pdfium.FPDF_FORMFIELD_RADIOBUTTON):
        if not pdfium.FPDFAnnot_IsChecked(form, annotation):
            return "", ""
        return name, _string(pdfium.FPDFAnnot_GetFormFieldExportValue, form, annotation) or "yes"
    return name, _string(pdfium.FPDFAnnot_GetFormFieldValue, form, annotation)


def _string(call: Any, *arguments: Any) -> str:
    """What PDFium writes as UTF-16 into a buffer of the size that it says."""
    size = call(*arguments, None, 0)
    if size <= 2:
        return ""
    size = min(size, 2 * _LONGEST_VALUE)
    buffer = (ctypes.c_ushort * (size // 2 + 1))()
    call(*arguments, buffer, size)
    return bytes(buffer)[:size].decode("utf-16-le", "replace").rstrip("\0")


def _with_annotations(rows: list[Row], annotations: list[tuple[Piece, str]]) -> list[Row]:
    """Each after the line that it is on, else on a separate line at the end, after the name of its field."""
    behind: dict[int, list[Piece]] = {}
    own: list[Row] = []
    for piece, name in annotations:
        middle = (piece.bottom + piece.top) / 2
        beside = [place for place, row in enumerate(rows) if row.bottom <= middle <= row.top
                  and row.pieces[0].left <= piece.left] if len(rows) < _MOST_OBJECTS else []  # fmt: skip
        if beside:
            nearest = max(beside, key=lambda place: rows[place].pieces[0].left)
            behind.setdefault(nearest, []).append(piece)
        else:
            text = f"{name}: {piece.text}" if name and name not in piece.text else piece.text
            own.append(Row((msgspec.structs.replace(piece, text=text),)))
    placed = []
    for place, row in enumerate(rows):
        pieces = [*row.pieces]
        for piece in behind.get(place, ()):
            left = max((at for at, each in enumerate(pieces) if each.left <= piece.left), default=0)
            label = pieces[left]
            pieces[left] = Piece(f"{label.text} {piece.text}", label.left, max(label.right, piece.right), label.bottom, label.top)
        placed.append(Row(tuple(pieces)))
    return placed + own


def _has_picture(pdfium: Any, page: Any, area: float, *, is_empty: bool) -> bool:
    left = [_MOST_OBJECTS]
    count = pdfium.FPDFPage_CountObjects(page.raw)
    objects = (pdfium.FPDFPage_GetObject(page.raw, place) for place in range(count))
    return _shows(pdfium, objects, area, is_empty, left, _DEEPEST)


def _shows(pdfium: Any, objects: Iterator[Any], area: float, is_empty: bool, left: list[int], depth: int) -> bool:
    sides = [ctypes.c_float() for _ in range(4)]
    for each in objects:
        left[0] -= 1
        if left[0] < 0:
            return False
        kind = pdfium.FPDFPageObj_GetType(each)
        if kind == pdfium.FPDF_PAGEOBJ_TEXT:
            continue
        if is_empty and kind != pdfium.FPDF_PAGEOBJ_FORM:
            return True
        if kind == pdfium.FPDF_PAGEOBJ_IMAGE and pdfium.FPDFPageObj_GetBounds(each, *sides):
            x0, y0, x1, y1 = (side.value for side in sides)
            if (x1 - x0) * (y1 - y0) >= _LARGE * area:
                return True
        if kind == pdfium.FPDF_PAGEOBJ_FORM and depth:
            count = pdfium.FPDFFormObj_CountObjects(each)
            inner = (pdfium.FPDFFormObj_GetObject(each, place) for place in range(count))
            if _shows(pdfium, inner, area, is_empty, left, depth - 1):
                return True
    return False
