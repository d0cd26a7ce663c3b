"""How endpoints are reached: the HTTP session, with its key, headers, proxy and certificates.

Invariant: the environment's proxies are used only if the settings say so, and nothing here is in any message: a header or a
proxy's address may be a secret.
"""

from __future__ import annotations

import ssl
import zlib
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

import aiohttp
import msgspec

from gigachat_server.errors import SetupError

ENVIRONMENT = "environment"  # instead of a proxy's URL: HTTP_PROXY, HTTPS_PROXY and NO_PROXY
_MAGIC = b"\x1f\x8b"
_PIECE_BYTES = 1 << 18


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """`key_header`: the header that holds the key; under any other name than Authorization it is sent as it is."""

    key: str = ""
    key_header: str = "Authorization"
    headers: Mapping[str, str] = {}
    proxy: str = ""
    ca_file: str = ""

    def check(self, whose: str) -> None:
        """Raises `SetupError` in one line that repeats no secret."""
        for name, value in {"key": self.key, "key header": self.key_header, **self.headers}.items():
            if not (value.isascii() and value.isprintable() and name.isascii() and name.isprintable()):
                what = "key holds characters that no key has" if name == "key" else "headers hold characters that none may have"
                raise SetupError(f"The {whose} endpoint's {what}: set it again.")
        if self.proxy and self.proxy != ENVIRONMENT:
            try:
                parts = urlsplit(self.proxy)
                is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
            except ValueError:
                is_usable = False
            if not is_usable:
                raise SetupError("GIGACHAT_ENDPOINT_PROXY must be a URL such as http://proxy:3128, or `environment`.")
        self.ssl_context()

    def ssl_context(self) -> ssl.SSLContext | bool:
        """Which certificates are believed: the system's, or those of the file besides."""
        if not self.ca_file:
            return True
        context = ssl.create_default_context()
        try:
            context.load_verify_locations(cafile=self.ca_file)
        except (OSError, ssl.SSLError):
            raise SetupError(f"GIGACHAT_ENDPOINT_CA_FILE {self.ca_file} cannot be read as certificates in PEM form.") from None
        return context


def parse_headers(text: str) -> dict[str, str]:
    """`Name: value; Other: value`, or one a line. Raises `SetupError`."""
    headers = {}
    for part in text.replace("\n", ";").split(";"):
        if part.strip():
            name, colon, value = part.partition(":")
            if not colon or not name.strip() or not all(c.isalnum() or c in "-_" for c in name.strip()):
                raise SetupError("Headers of an endpoint must be listed as `Name: value; Other: value`.")
            headers[name.strip()] = value.strip()
    return headers


def open_session(access: Access, *, accept: str, connect_s: float) -> aiohttp.ClientSession:
    """A session that sends what `access` says with every request, keeps no cookies and does not decompress."""
    headers = {
        "Content-Type": "application/json",
        "Accept": accept,
        "Accept-Encoding": "identity",  # `Inflater` reads answers that are compressed anyway, within limits
        "User-Agent": "gigachat",
    }
    if access.key:
        is_bearer = access.key_header.lower() == "authorization" and " " not in access.key
        headers[access.key_header] = f"Bearer {access.key}" if is_bearer else access.key
    headers |= access.headers
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=access.ssl_context()),
        headers=headers,
        timeout=aiohttp.ClientTimeout(total=None, connect=connect_s),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=access.proxy == ENVIRONMENT,
        proxy=access.proxy if access.proxy not in ("", ENVIRONMENT) else None,
    )


class Inflater:
    """Bytes of a body that was compressed unasked, unpacked. Raises `zlib.error` where they are broken."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding.strip().lower()
        self._inflate: zlib._Decompress | None = None
        self._has_begun = False
        self._first = b""

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """What `data` brings, in pieces of bounded size: little may become much."""
        if not self._has_begun:
            data = self._first + data
            if len(data) < 2 and data[:1] in (b"", _MAGIC[:1]):
                self._first = data
                return
            self._begin(data)
        if self._inflate is None:
            yield data
        while data and self._inflate is not None:
            if piece := self._inflate.decompress(data, _PIECE_BYTES):
                yield piece
            data = self._inflate.unconsumed_tail

    @property
    def is_cut(self) -> bool:
        """What came so far is not all of what was compressed."""
        return self._inflate is not None and not self._inflate.eof

    def _begin(self, data: bytes) -> None:
        self._has_begun = True
        if self._encoding in ("gzip", "x-gzip", "deflate") or data[:2] == _MAGIC:
            self._inflate = zlib.decompressobj(_window(self._encoding, data))
        elif self._encoding in ("br", "zstd", "compress"):
            raise zlib.error("unknown encoding")


def inflated(data: bytes, encoding: str, *, most: int) -> bytes:
    """The first `most` bytes of a whole body, as far as they can be read."""
    out = bytearray()
    try:
        for piece in Inflater(encoding).pieces(data):
            out += piece
            if len(out) >= most:
                break
    except zlib.error:
        pass
    return bytes(out[:most])


def _window(encoding: str, data: bytes) -> int:
    if data[:2] == _MAGIC:
        return 16 + zlib.MAX_WBITS
    is_zlib = len(data) > 1 and data[0] & 0x0F == 8 and int.from_bytes(data[:2], "big") % 31 == 0
    if encoding == "deflate" and not is_zlib:
        return -zlib.MAX_WBITS  # what many servers call deflate
    return 32 + zlib.MAX_WBITS
