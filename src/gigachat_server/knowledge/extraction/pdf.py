"""PDF: the text of each page in reading order, column by column and table by table, with form values.

Idea: PDFium gives the position of each character. Words are assembled into lines, columns and tables (`page_layout.py`), and
what most pages repeat at the top or bottom is left out (`running_heads.py`). Invariant: an unreadable page gives a warning and
does not affect the others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from gigachat_server.errors import FileDamaged, FileEncrypted, FileWithoutText
from gigachat_server.knowledge.extraction import page_layout, pdf_page
from gigachat_server.knowledge.extraction.extracted import FileText, TextWriter, one_line
from gigachat_server.knowledge.extraction.hyphens import HYPHENS, Hyphens
from gigachat_server.knowledge.extraction.page_layout import Row, Table
from gigachat_server.knowledge.extraction.rows import write_table
from gigachat_server.knowledge.extraction.running_heads import Page, running

_PASSWORD = 4  # FPDF_ERR_PASSWORD
_WORDS = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_FEW = 60  # characters beside a picture of the page: it was scanned, and has no more than a stamp or a number


def read_pdf(data: bytes, most: int) -> FileText:
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        if getattr(error, "err_code", None) == _PASSWORD or "password" in str(error).lower():
            raise FileEncrypted("It is a PDF with a password: remove the password, and push it again.") from None
        raise FileDamaged("It is a PDF that cannot be read: open it, save it again as PDF, and push that.") from None
    writer = TextWriter(most)
    form = pdf_page.open_form(document)
    if form.is_unread:
        writer.warnings.add("forms_unread")
    pages, pictures = [], []
    size = 0
    for number in range(len(document)):
        try:
            page, has_picture = pdf_page.read(document, number, form)
        except pypdfium2.PdfiumError:
            page, has_picture = Page([], 0), False  # one damaged page does not take the others with it
            writer.warnings.add_page("pages_unreadable", number + 1)
        size += page.characters
        pages.append(page)
        pictures.append(has_picture)
        if size > 2 * most:
            break
    heads = running(pages)
    texts = [[row for place, row in enumerate(page.rows) if place not in taken] for page, taken in zip(pages, heads, strict=True)]
    for number, (rows, has_picture) in enumerate(zip(texts, pictures, strict=True), start=1):
        if has_picture and sum(len(row.text) for row in rows) < _FEW:
            writer.warnings.add_page("pages_without_text", number)
    if not any(texts):
        raise FileWithoutText
    headings = _headings(document)
    hyphens = Hyphens(word for page in texts for row in page for piece in row.pieces for word in _whole_words(piece.text))
    for number, rows in enumerate(texts, start=1):
        _write_page(writer, number, rows, headings.get(number, []), hyphens)
    return writer.done(document.get_metadata_value("Title"))


def _whole_words(text: str) -> list[str]:
    """But for the first and the last one, of which a line may have cut something off."""
    return _WORDS.findall(text)[1 : -1 if text[-1:] in HYPHENS else None]


def _write_page(writer: TextWriter, number: int, rows: Sequence[Row], headings: Sequence[str], hyphens: Hyphens) -> None:
    writer.begin_page(number)
    wanted = {one_line(heading).casefold(): one_line(heading) for heading in headings}
    for block in page_layout.blocks_of(rows):
        if isinstance(block, Table):
            write_table(writer, block.rows)
        else:
            _write_paragraph(writer, hyphens.joined(block.lines), wanted)


def _write_paragraph(writer: TextWriter, lines: Sequence[str], wanted: dict[str, str]) -> None:
    paragraph: list[str] = []
    for line in lines:
        if (heading := wanted.pop(one_line(line).casefold(), None)) is not None:
            writer.block("\n".join(paragraph))
            paragraph = []
            writer.heading(2, heading)
        else:
            paragraph.append(line)
    writer.block("\n".join(paragraph))


def _headings(document: Any) -> dict[int, list[str]]:
    """What the outline says begins on each page."""
    found: dict[int, list[str]] = {}
    for number, bookmark in enumerate(_bookmarks(document)):
        destination = bookmark.get_dest()
        page = destination.get_index() if destination is not None else None
        if page is not None:
            found.setdefault(page + 1, []).append(bookmark.get_title())
        if number >= 5_000:
            break
    return found


def _bookmarks(document: Any) -> Iterator[Any]:
    yield from document.get_toc(max_depth=4)
