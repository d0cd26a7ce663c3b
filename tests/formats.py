"""Small files of every format, made where a test needs them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence

_PAGE = (
    "<!doctype html><html><head><title>Returns - Shop</title></head><body>"
    '<header><a href="/">Shop</a><nav><ul><li><a href="/a">Home</a></li><li><a href="/b">Contact us</a></li></ul></nav></header>'
    '<div class="sidebar"><p>Popular topics of the week</p></div>'
    "{main}"
    "<footer><p>Imprint and privacy</p></footer><script>var tracking = 1;</script></body></html>"
)
MAIN = (
    "<main><h1>Returns</h1><p>You can return a parcel within <b>30 days</b>\nof delivery.</p>"
    "<h2>Fees</h2><ul><li>Letters are free.</li><li>Parcels cost money.</li></ul>"
    "<table><tr><th>Country</th><th>Fee</th></tr><tr><td>Norway</td><td>9 EUR</td></tr></table>"
    "<pre><code>curl -X POST \\\n  /returns</code></pre></main>"
)


def page(main: str = MAIN) -> bytes:
    return _PAGE.format(main=main).encode()


def docx(*, title: str = "Returns", paragraphs: Sequence[str] = ("You can return a parcel within 30 days.",)) -> bytes:
    import docx as library

    document = library.Document()
    document.add_heading(title, 1)
    for text in paragraphs:
        document.add_paragraph(text)
    document.add_paragraph("Letters are free.", style="List Bullet")
    table = document.add_table(2, 2)
    for (row, column), text in {(0, 0): "Country", (0, 1): "Fee", (1, 0): "Norway", (1, 1): "9 EUR"}.items():
        table.cell(row, column).text = text
    document.add_heading("Contact", 2)
    document.add_paragraph("Write to the desk.")
    return _saved(document)


def pptx() -> bytes:
    import pptx as library

    presentation = library.Presentation()
    for title, text in (("Returns", "Parcels come back within 30 days.\nLetters do not."), ("Fees", "Norway costs 9 EUR.")):
        slide = presentation.slides.add_slide(presentation.slide_layouts[1])
        slide.shapes.title.text = title
        slide.placeholders[1].text = text
    return _saved(presentation)


def xlsx() -> bytes:
    import openpyxl

    workbook = openpyxl.Workbook()
    fees, rooms = workbook.active, workbook.create_sheet("Rooms")
    fees.title = "Fees"
    for row in (("Country", "Fee", "Free"), ("Norway", 9.0, False), ("Chile", 12.5, True)):
        fees.append(row)
    rooms.append(("Blue room",))
    return _saved(workbook)


def pdf(pages: Sequence[Sequence[str]], *, outline: bool = False, title: str = "Handbook") -> bytes:
    """Lines of ASCII text on pages, as a PDF that was written by hand."""
    objects: list[bytes] = []

    def add(body: bytes) -> int:
        objects.append(body)
        return len(objects)

    add(b"")  # the catalogue, once it is known what it names
    add(b"")
    font = add(b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
    info = add(b"<< /Title (" + title.encode() + b") >>")
    kids = []
    for lines in pages:
        text = b"BT /F1 12 Tf 50 750 Td 14 TL " + b" ".join(b"(" + _escaped(line) + b") Tj T*" for line in lines) + b" ET"
        content = add(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(text), text))
        kids.append(
            add(
                b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents %d 0 R "
                b"/Resources << /Font << /F1 %d 0 R >> >> >>" % (content, font)
            )
        )
    objects[1] = b"<< /Type /Pages /Kids [%s] /Count %d >>" % (b" ".join(b"%d 0 R" % kid for kid in kids), len(kids))
    objects[0] = b"<< /Type /Catalog /Pages 2 0 R >>"
    if outline:
        root = len(objects) + 1
        items = [root + 1 + place for place in range(len(kids))]
        add(b"<< /Type /Outlines /First %d 0 R /Last %d 0 R /Count %d >>" % (items[0], items[-1], len(items)))
        for place, (kid, lines) in enumerate(zip(kids, pages, strict=True)):
            following = b" /Next %d 0 R" % items[place + 1] if place + 1 < len(items) else b""
            add(b"<< /Title (%s) /Parent %d 0 R /Dest [%d 0 R /Fit]%s >>" % (_escaped(lines[0]), root, kid, following))
        objects[0] = b"<< /Type /Catalog /Pages 2 0 R /Outlines %d 0 R >>" % root
    return pdf_of(objects, trailer=b"/Root 1 0 R /Info %d 0 R" % info)


def pdf_of(objects: Sequence[bytes], *, trailer: bytes = b"/Root 1 0 R") -> bytes:
    """A PDF with these objects, numbered from 1."""
    out = bytearray(b"%PDF-1.7\n")
    places = []
    for number, body in enumerate(objects, start=1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer\n<< /Size %d %s >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, trailer, start)
    return bytes(out)


def epub(chapters: Mapping[str, str] | None = None) -> bytes:
    chapters = chapters or {
        "one": "<h1>Returns</h1><p>Parcels come back within 30 days.</p>",
        "two": "<h1>Fees</h1><p>Norway costs 9 EUR.</p>",
    }
    spine = "".join(f'<itemref idref="{name}"/>' for name in chapters)
    items = "".join(f'<item id="{name}" href="{name}.xhtml" media-type="application/xhtml+xml"/>' for name in chapters)
    package = (
        '<?xml version="1.0"?><package xmlns="http://www.idpf.org/2007/opf" version="3.0"><metadata '
        'xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>The book of parcels</dc:title></metadata><manifest>'
        f"{items}</manifest><spine>{spine}</spine></package>"
    )
    container = (
        '<?xml version="1.0"?><container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
        '<rootfile full-path="OEBPS/content.opf" media-type="application/oebps-package+xml"/></rootfiles></container>'
    )
    page = '<?xml version="1.0"?><!DOCTYPE html><html xmlns="http://www.w3.org/1999/xhtml"><body>{}</body></html>'
    parts = {f"OEBPS/{name}.xhtml": page.format(body).encode() for name, body in chapters.items()}
    return archive(
        {
            "mimetype": b"application/epub+zip",
            "META-INF/container.xml": container.encode(),
            "OEBPS/content.opf": package.encode(),
        }
        | parts
    )


def archive(parts: Mapping[str, bytes], *, level: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", level) as written:
        for name, content in parts.items():
            written.writestr(name, content)
    return file.getvalue()


def replaced(document: bytes, part: str, content: bytes) -> bytes:
    """An office document with another content in one of its parts."""
    with zipfile.ZipFile(io.BytesIO(document)) as source:
        return archive({entry.filename: source.read(entry) for entry in source.infolist()} | {part: content})


def part(document: bytes, name: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(document)) as source:
        return source.read(name)


def _saved(document: object) -> bytes:
    file = io.BytesIO()
    document.save(file)  # type: ignore[attr-defined]
    return file.getvalue()


def _escaped(text: str) -> bytes:
    return text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)").encode("latin-1")
