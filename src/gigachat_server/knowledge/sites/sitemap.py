"""Reads sitemaps: XML, an index of more of them, or a list of addresses; compressed or not.

Idea: a stranger wrote it, so there are no entities and no document types, nothing is kept but addresses, of which there
are at most as many as the protocol allows, and what comes out of a compressed one is bounded.
"""

from __future__ import annotations

import zlib
from xml.etree.ElementTree import ParseError

import msgspec
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

MOST_BYTES = 50 * 1024 * 1024  # by the protocol, as many as addresses
MOST_ADDRESSES = 50_000  # of one sitemap, by the protocol

_LONGEST_ADDRESS = 4_000
_PIECE = 1024 * 1024


class SitemapRefused(ValueError):
    """Not a sitemap, or one that is not read. The text says why, to a person."""


class Sitemap(msgspec.Struct, frozen=True):
    """Addresses as they are written there: of further sitemaps, and of pages."""

    sitemaps: list[str]
    pages: list[str]


def read(body: bytes) -> Sitemap:
    """Raises `SitemapRefused`."""
    if body.startswith(b"\x1f\x8b"):
        body = _decompressed(body)
    body = body.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not body.startswith(b"<"):
        return _list_of(body)
    target = _Addresses()
    parser = DefusedXMLParser(target=target, forbid_dtd=True)
    try:
        for start in range(0, len(body), _PIECE):
            parser.feed(body[start : start + _PIECE])
        parser.close()
    except DefusedXmlException:
        raise SitemapRefused("It has a document type or entities, which are not read.") from None
    except (ParseError, ValueError, LookupError):
        raise SitemapRefused("It is not well-formed XML.") from None
    if target.root not in ("urlset", "sitemapindex"):
        raise SitemapRefused("It is XML, but not a sitemap.")
    return Sitemap(target.found, []) if target.root == "sitemapindex" else Sitemap([], target.found)


def _list_of(body: bytes) -> Sitemap:
    """A sitemap may be a plain list, a line each."""
    lines = [line.strip() for line in body.decode("utf-8-sig", "replace").splitlines()]
    pages = [line for line in lines if line.startswith(("http://", "https://"))][:MOST_ADDRESSES]
    if not pages:
        raise SitemapRefused("It is neither XML nor a list of addresses.")
    return Sitemap([], pages)


def _decompressed(body: bytes) -> bytes:
    decompress = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        plain = decompress.decompress(body, MOST_BYTES)
    except zlib.error:
        raise SitemapRefused("It is compressed, and damaged.") from None
    if decompress.unconsumed_tail or not decompress.eof:
        raise SitemapRefused(f"It has more than {MOST_BYTES} bytes, or breaks off.")
    return plain


class _Addresses:
    """Keeps what is in `<loc>` directly below `<url>` or `<sitemap>`, and nothing else of the tree."""

    def __init__(self) -> None:
        self.root = ""
        self.found: list[str] = []
        self._depth = 0
        self._text: list[str] | None = None
        self._length = 0

    def start(self, tag: str, _attributes: dict[str, str]) -> None:
        self._depth += 1
        name = tag.rpartition("}")[2]
        if self._depth == 1:
            self.root = name
        elif self._depth == 3 and name == "loc" and len(self.found) < MOST_ADDRESSES:
            self._text, self._length = [], 0

    def data(self, text: str) -> None:
        if self._text is not None and (length := self._length + len(text)) <= _LONGEST_ADDRESS:
            self._text.append(text)
            self._length = length

    def end(self, _tag: str) -> None:
        self._depth -= 1
        if self._text is not None:
            self.found.append("".join(self._text).strip())
            self._text = None

    def close(self) -> None:
        pass
