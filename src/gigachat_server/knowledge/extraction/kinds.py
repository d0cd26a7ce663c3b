"""Detects a file's format: from its content first, then from its name and declared media type.

Invariant: a wrong extension or media type does no harm if the content is clear; they only decide between formats that are all
text, such as Markdown and CSV.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import PurePosixPath
from typing import Literal

from gigachat_server.errors import FileEmpty, FileEncrypted, FileUnknown
from gigachat_server.knowledge.extraction.archive import opened
from gigachat_server.knowledge.extraction.decoding import is_wide

Kind = Literal[
    "text",
    "markdown",
    "html",
    "csv",
    "pdf",
    "docx",
    "pptx",
    "xlsx",
    "epub",
    "opendocument",
    "rtf",
    "mail",
    "json",
    "xml",
    "subtitles",
]

_PARTS: tuple[tuple[str, Kind], ...] = (
    ("word/document.xml", "docx"),
    ("ppt/presentation.xml", "pptx"),
    ("xl/workbook.xml", "xlsx"),
    ("META-INF/container.xml", "epub"),
)
# What the table of contents of an office document says its main part is, whatever that is called.
_MAIN_TYPES: tuple[tuple[re.Pattern[bytes], Kind], ...] = (
    (re.compile(rb"(?:wordprocessingml\.|ms-word\.)(?:document|template)[\w.]*\.main\+xml"), "docx"),
    (re.compile(rb"(?:presentationml\.|ms-powerpoint\.)(?:presentation|template|slideshow|addin)[\w.]*\.main\+xml"), "pptx"),
    (re.compile(rb"(?:spreadsheetml\.|ms-excel\.)(?:sheet|template|addin)[\w.]*\.main\+xml"), "xlsx"),
)
_SUFFIXES: dict[str, Kind] = {
    ".md": "markdown", ".markdown": "markdown", ".mdx": "markdown", ".html": "html", ".htm": "html", ".xhtml": "html",
    ".csv": "csv", ".tsv": "csv", ".json": "json", ".jsonl": "json", ".ndjson": "json", ".geojson": "json", ".ipynb": "json",
    ".xml": "xml", ".rss": "xml", ".atom": "xml", ".vtt": "subtitles", ".srt": "subtitles", ".eml": "mail", ".mht": "mail",
    ".mhtml": "mail",
}  # fmt: skip
_MEDIA_TYPES: dict[str, Kind] = {
    "text/markdown": "markdown", "text/x-markdown": "markdown", "text/html": "html", "application/xhtml+xml": "html",
    "text/csv": "csv", "text/tab-separated-values": "csv", "application/json": "json", "application/x-ndjson": "json",
    "application/jsonl": "json", "application/x-ipynb+json": "json", "application/xml": "xml", "text/xml": "xml",
    "application/rss+xml": "xml", "application/atom+xml": "xml", "text/vtt": "subtitles", "application/x-subrip": "subtitles",
    "message/rfc822": "mail", "multipart/related": "mail",
}  # fmt: skip
# Atomic and possessive: a comment is never looked at twice, however many there are.
_HTML = re.compile(
    rb"\A\s*+(?:<\?xml[^>]*+>\s*+)?(?>(?:<!--(?:(?!-->).)*+-->\s*+)*+)<(?:!doctype\s+html|html|head|body)\b", re.I | re.S
)
_TAG = re.compile(rb"</?[a-z][a-z0-9]*[\s/>]", re.I)
_OLD_OFFICE = bytes.fromhex("d0cf11e0a1b11ae1")
_ENCRYPTED_PACKAGE = "EncryptedPackage".encode("utf-16-le")
_FOREIGN: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG", "a picture"), (b"\xff\xd8\xff", "a picture"), (b"GIF8", "a picture"), (b"BM", "a picture"),
    (b"II*\0", "a picture"), (b"MM\0*", "a picture"), (b"RIFF", "a picture, a sound or a film"), (b"ID3", "a sound"),
    (b"OggS", "a sound or a film"), (b"\x1a\x45\xdf\xa3", "a film"), (b"\x1f\x8b", "a compressed file"),
    (b"BZh", "a compressed file"), (b"\xfd7zXZ", "a compressed file"), (b"7z\xbc\xaf", "a compressed file"),
    (b"Rar!", "a compressed file"), (b"\x28\xb5\x2f\xfd", "a compressed file"), (b"\x7fELF", "a program"),
)  # fmt: skip
_NO_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_PDF_ENDS = re.compile(rb"startxref|%%EOF")
_HEADER = re.compile(rb"(?:^|\n)(?:MIME-Version|Message-ID|Received|Return-Path|Delivered-To):[ \t]", re.I)
_FIRST_HEADERS = re.compile(
    rb"\A(?:From [^\n]{1,200}\n)?(?:[A-Za-z][A-Za-z0-9-]{1,40}:[^\n]{0,1000}\n(?:[ \t][^\n]{0,1000}\n){0,20}){2}"
)
_SUBTITLES = re.compile(rb"\A(?:\xef\xbb\xbf)?\s*(?:WEBVTT\b|\d+\r?\n\d\d:\d\d:\d\d,\d{3} -->)")
_LOOK_WITHIN = 1024


def kind_of(data: bytes, *, name: str, media_type: str | None) -> Kind:
    """Raises `FileEmpty`, `FileUnknown`, `FileEncrypted`, and what opening an archive raises."""
    if not data.strip(b" \t\r\n\0\xef\xbb\xbf\xfe\xff"):
        raise FileEmpty
    if _is_pdf(data):
        return "pdf"
    if data.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        with opened(data) as archive:
            return _kind_of_archive(archive)
    if data.startswith(_OLD_OFFICE):
        if _ENCRYPTED_PACKAGE in data:
            raise FileEncrypted("It is an office document with a password: remove the password, and push it again.")
        raise FileUnknown("It is an old office file (.doc, .xls, .ppt, .msg): save it as DOCX, XLSX, PPTX, PDF or EML.")
    for mark, what in _FOREIGN:
        if data.startswith(mark) and not (mark.isascii() and _NO_TEXT.search(data[:_LOOK_WITHIN]) is None):
            raise FileUnknown(f"It is {what}: {FileUnknown.wanted}")
    if data.startswith(b"{\\rtf"):
        return "rtf"
    if b"\0" in data[: 64 * 1024] and not is_wide(data):
        raise FileUnknown
    return _kind_of_text(data, name, media_type)


def _is_pdf(data: bytes) -> bool:
    """Whether it begins as one; a text may speak of how they begin, and something may stand before that."""
    place = data.find(b"%PDF-", 0, _LOOK_WITHIN)
    if place < 0:
        return False
    if not data[:place].strip(b" \t\r\n\xef\xbb\xbf"):
        return b" obj" in data or not _is_utf8(data)
    return _PDF_ENDS.search(data[-2 * _LOOK_WITHIN :]) is not None and b" obj" in data


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _kind_of_archive(archive: zipfile.ZipFile) -> Kind:
    names = {name.lower(): name for name in archive.namelist()}
    if (listed := names.get("[content_types].xml")) is not None:
        types = archive.read(listed)
        for mark, of_mark in _MAIN_TYPES:
            if mark.search(types):
                return of_mark
        if b"sheet.binary" in types:
            raise FileUnknown("It is a binary workbook (.xlsb): save it as XLSX, and push that.")
    for part, kind in _PARTS:
        if part.lower() in names:
            return kind
    if "content.xml" in names and ("meta-inf/manifest.xml" in names or "mimetype" in names):
        return "opendocument"
    raise FileUnknown(f"It is a zip file, not a document: unpack it, and push its contents. {FileUnknown.wanted}")


def _kind_of_text(data: bytes, name: str, media_type: str | None) -> Kind:
    start = data[:_LOOK_WITHIN]
    narrow = start.replace(b"\0", b"").removeprefix(b"\xef\xbb\xbf").removeprefix(b"\xff\xfe").removeprefix(b"\xfe\xff")
    if _HTML.match(narrow):
        return "html"
    if _SUBTITLES.match(narrow):
        return "subtitles"
    suffix = PurePosixPath(name.partition("?")[0]).suffix.lower()
    if (
        suffix not in (".txt", ".md")
        and _FIRST_HEADERS.match(data[: 8 * _LOOK_WITHIN])
        and _HEADER.search(data[: 8 * _LOOK_WITHIN])
    ):
        return "mail"
    said = (
        _SUFFIXES.get(suffix),
        _MEDIA_TYPES.get((media_type or "").partition(";")[0].strip().lower()),
    )
    for kind in said:
        if kind == "html" and not _TAG.search(data.replace(b"\0", b"") if is_wide(data) else data):
            continue
        if kind is not None:
            return kind
    return "xml" if narrow.lstrip().startswith(b"<?xml version") else "text"
