"""PDF: the text of each page in reading order, without what stands at the top or bottom of most pages."""

from __future__ import annotations

import re
from collections import Counter

from gigachat_server.errors import FileDamaged, FileEncrypted, FileWithoutText
from gigachat_server.knowledge.extraction.extracted import Extracted, TextWriter, one_line

_DIGITS = re.compile(r"\d+")
_HYPHEN = re.compile("[\ufffe\x02]\n?|\u00ad\n")  # where PDFium joins a word that a line had broken
_FEWEST_PAGES = 3
_PASSWORD = 4  # FPDF_ERR_PASSWORD


def read_pdf(data: bytes, most: int) -> Extracted:
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        if getattr(error, "err_code", None) == _PASSWORD or "password" in str(error).lower():
            raise FileEncrypted("It is a PDF with a password: remove the password, and push it again.") from None
        raise FileDamaged("It is a PDF that cannot be read: open it, save it again as PDF, and push that.") from None
    pages: list[list[str]] = []
    size = 0
    for number in range(len(document)):
        try:
            page = document[number]
            textpage = page.get_textpage()
            text = textpage.get_text_range()
            textpage.close()
            page.close()
        except pypdfium2.PdfiumError:
            text = ""  # one damaged page does not take the others with it
        size += len(text)
        pages.append(_lines(text) if size <= 2 * most else [])
        if size > 2 * most:
            break
    if not any(pages):
        raise FileWithoutText
    headings = _headings(document)
    repeated = _repeated(pages)
    writer = TextWriter(most)
    for number, lines in enumerate(pages, start=1):
        _write_page(writer, number, [line for line in lines if _shape(line) not in repeated], headings.get(number, []))
    title = document.get_metadata_value("Title")
    return writer.done(title)


def _lines(text: str) -> list[str]:
    text = _HYPHEN.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    return [line.rstrip() for line in text.split("\n") if line.strip()]


def _write_page(writer: TextWriter, number: int, lines: list[str], headings: list[str]) -> None:
    writer.begin_page(number)
    wanted = {one_line(heading).casefold(): one_line(heading) for heading in headings}
    paragraph: list[str] = []
    for line in lines:
        if (heading := wanted.pop(one_line(line).casefold(), None)) is not None:
            writer.block("\n".join(paragraph))
            paragraph = []
            writer.heading(2, heading)
        else:
            paragraph.append(line)
    writer.block("\n".join(paragraph))


def _headings(document: object) -> dict[int, list[str]]:
    """What the outline says begins on each page."""
    found: dict[int, list[str]] = {}
    for number, bookmark in enumerate(document.get_toc(max_depth=4)):  # type: ignore[attr-defined]
        destination = bookmark.get_dest()
        page = destination.get_index() if destination is not None else None
        if page is not None:
            found.setdefault(page + 1, []).append(bookmark.get_title())
        if number >= 5_000:
            break
    return found


def _repeated(pages: list[list[str]]) -> set[str]:
    """The first and last lines that most pages share, but for their numbers."""
    filled = [lines for lines in pages if lines]
    if len(filled) < _FEWEST_PAGES:
        return set()
    outer = Counter(shape for lines in filled for shape in {_shape(line) for line in (*lines[:2], *lines[-2:])})
    return {shape for shape, count in outer.items() if count >= max(_FEWEST_PAGES, len(filled) * 0.6)}


def _shape(line: str) -> str:
    return _DIGITS.sub("0", " ".join(line.split()))
