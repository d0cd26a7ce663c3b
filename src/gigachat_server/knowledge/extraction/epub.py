"""EPUB: the chapters of a book, in the order in which it is read."""

from __future__ import annotations

import posixpath
import zipfile
from typing import Any
from urllib.parse import unquote

from gigachat_server.errors import FileDamaged, FileEncrypted
from gigachat_server.knowledge.extraction import archive
from gigachat_server.knowledge.extraction.decoding import decode
from gigachat_server.knowledge.extraction.extracted import FileText, TextWriter
from gigachat_server.knowledge.extraction.html import write_page

_CONTAINER = "{urn:oasis:names:tc:opendocument:xmlns:container}"
_PACKAGE = "{http://www.idpf.org/2007/opf}"
_TITLE = "{http://purl.org/dc/elements/1.1/}title"
_CHAPTERS = ("application/xhtml+xml", "text/html")
_FONTS_ALONE = (b"http://www.idpf.org/2008/embedding", b"http://ns.adobe.com/pdf/enc#RC")


def read_epub(data: bytes, most: int) -> FileText:
    with archive.opened(data) as book:
        _refuse_encrypted(book)
        container = _xml(archive.member(book, "META-INF/container.xml"))
        root = next(container.iter(_CONTAINER + "rootfile"), None)
        if root is None:
            raise FileDamaged("It is an EPUB that does not say where its contents are.")
        path = root.get("full-path", "")
        package = _xml(archive.member(book, path))
        folder = posixpath.dirname(path)
        items = {each.get("id"): each for each in package.iter(_PACKAGE + "item")}
        writer = TextWriter(most)
        for entry in package.iter(_PACKAGE + "itemref"):
            item = items.get(entry.get("idref"))
            if item is None or item.get("media-type") not in _CHAPTERS:
                writer.warnings.add("parts_skipped", entry.get("idref", ""))
                continue
            if "nav" in item.get("properties", "").split():
                continue
            name = posixpath.normpath(posixpath.join(folder, unquote(item.get("href", ""))))
            if name not in book.namelist():
                writer.warnings.add("parts_skipped", name)
                continue
            write_page(writer, decode(archive.member(book, name), warnings=writer.warnings))
        return writer.done(next((each.text for each in package.iter(_TITLE)), None))


def _xml(data: bytes) -> Any:
    from lxml import etree

    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        return etree.fromstring(data, parser)
    except etree.XMLSyntaxError:
        raise FileDamaged("It is an EPUB whose table of contents cannot be read.") from None


def _refuse_encrypted(book: zipfile.ZipFile) -> None:
    """Fonts may be: they are not read."""
    name = "META-INF/encryption.xml"
    if name not in book.namelist():
        return
    told = archive.member(book, name)
    if told.count(b"EncryptionMethod Algorithm") > sum(told.count(b'"' + each + b'"') for each in _FONTS_ALONE):
        raise FileEncrypted("It is a book with copy protection, which cannot be read.")
