"""Fetches URLs that strangers may have chosen, only from the public internet.

Idea: one parser (`web_urls.py`) reads a URL; its host is resolved once per connection, every resulting address must pass
`address_rule.py`, and the connection goes to one of exactly those: a socket is only made for an address that passed, and its
peer is checked again. Each redirect is a new URL and takes the same path.

Invariant: no packet goes to an address that is neither public nor allowed. Proxies from the environment, cookies and
credentials are never used. The body is bounded in bytes, as sent and as decompressed, and the whole request in time.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from gigachat_server import __version__
from gigachat_server.fetching import web_urls
from gigachat_server.fetching.address_rule import Address, Network, may_be_reached
from gigachat_server.fetching.web_urls import UrlRefused, WebUrl

MOST_BYTES = 10 * 1024 * 1024
MOST_SECONDS = 20.0
MOST_REDIRECTS = 3
USER_AGENT = f"gigachat/{__version__} (robots: gigachat)"

_PIECE = 64 * 1024
_REDIRECTS = (301, 302, 303, 307, 308)
_HEADERS = {"User-Agent": USER_AGENT, "Accept-Encoding": "gzip", "Accept": "*/*"}

FetchReason = Literal[
    "url_refused",  # the URL, or what it redirects to, cannot be one of the web
    "address_refused",  # the host's address is not public
    "port_refused",
    "name_unknown",
    "unreachable",
    "tls_failed",
    "timeout",
    "too_large",
    "encoding_refused",
    "too_many_redirects",
    "malformed",  # what came is not HTTP
]
# Of these another try may come to something else.
TRANSIENT: tuple[FetchReason, ...] = ("name_unknown", "unreachable", "timeout", "malformed")

Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]


class FetchFailed(Exception):
    """Nothing was fetched; `reason` says why, the text says it to a person."""

    def __init__(self, reason: FetchReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class FetchResult(msgspec.Struct, frozen=True):
    """An answer, of whatever status. `url` is where it came from in the end; names of headers are in lower case."""

    url: WebUrl
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def media_type(self) -> str:
        return _media_type(self.headers.get("content-type", ""))


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


class _AddressRefused(OSError):
    """Raised where aiohttp expects that a connection fails."""

    def __init__(self, reason: FetchReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class SafeFetch:
    """`allowed`: networks that may be reached although they are not public. `resolve` stands for the system's resolver."""

    def __init__(
        self,
        *,
        allowed: Sequence[Network] = (),
        ports: Sequence[range] = (range(80, 81), range(443, 444)),
        resolve: Resolve | None = None,
        most_seconds: float = MOST_SECONDS,
    ) -> None:
        self._allowed = allowed
        self._ports = ports
        self._most_seconds = most_seconds
        # Of their own: a resolver that hangs must not hold up the threads that everybody uses.
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="resolve")
        self._resolver = _Resolver(resolve or self._resolve_by_system, self._may_reach)
        self._session: aiohttp.ClientSession | None = None

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def fetch(
        self,
        url: WebUrl,
        *,
        headers: Mapping[str, str] = {},
        most_bytes: int = MOST_BYTES,
        most_redirects: int = MOST_REDIRECTS,
        wants: Callable[[int, str], bool] = lambda _status, _media_type: True,
    ) -> FetchResult:
        """The answer, behind at most so many redirects. Of what is not wanted, by status and media type, no body is read.

        With `most_redirects=0` a redirect is an answer like any other. Raises `FetchFailed`.
        """
        try:
            async with asyncio.timeout(self._most_seconds):
                for _ in range(most_redirects + 1):
                    fetched = await self._fetch_one(url, headers, most_bytes, wants)
                    target = redirect_of(fetched)
                    if target is None or not most_redirects:
                        return fetched
                    url = target
        except TimeoutError:
            raise FetchFailed("timeout", f"It took longer than {self._most_seconds:g} seconds.") from None
        raise FetchFailed("too_many_redirects", f"It redirects more than {most_redirects} times.")

    def check(self, url: WebUrl) -> None:
        """Raises `FetchFailed` for what can be told without asking anybody."""
        if not any(url.port in ports for ports in self._ports):
            raise FetchFailed("port_refused", f"Port {url.port} is not fetched from; GIGACHAT_FETCH_PORTS lists those that are.")
        if url.address is not None and not self._may_reach(url.address):
            raise FetchFailed("address_refused", _refusal(url.host))

    def _may_reach(self, address: Address) -> bool:
        return may_be_reached(address, self._allowed)

    async def _fetch_one(
        self, url: WebUrl, headers: Mapping[str, str], most_bytes: int, wants: Callable[[int, str], bool]
    ) -> FetchResult:
        self.check(url)
        requested = URL(url.text, encoded=True)
        # aiohttp connects to what its own parser makes of the text; that has to be what ours did.
        if (requested.raw_host, requested.port) != (url.host, url.port) or requested.raw_path_qs != url.target:
            raise FetchFailed("url_refused", "The URL can be understood in two ways.")
        try:
            async with self._opened().get(requested, headers=dict(headers), allow_redirects=False) as response:
                self._check_peer(response)
                # `response.content_type` takes a third of a second for 8 KB that somebody chose.
                media_type = _media_type(response.headers.get("Content-Type", ""))
                is_wanted = response.status not in _REDIRECTS and wants(response.status, media_type)
                body = await _body_of(response, most_bytes) if is_wanted else b""
                found = {name.lower(): _as_text(value) for name, value in response.headers.items()}
                if not is_wanted:
                    response.close()  # cheaper than reading an unwanted body to reuse the connection
                return FetchResult(url, response.status, found, body)
        except aiohttp.ClientConnectorCertificateError:
            raise FetchFailed("tls_failed", "Its certificate is not valid for that host.") from None
        except aiohttp.ClientConnectorSSLError:
            raise FetchFailed("tls_failed", "No secure connection could be made.") from None
        except aiohttp.ClientConnectorError as error:
            raise _connection_failure(error) from None
        except (aiohttp.ClientPayloadError, aiohttp.ClientResponseError, zlib.error) as error:
            raise FetchFailed("malformed", f"Its answer is not HTTP as it should be ({type(error).__name__}).") from None
        except (aiohttp.ClientError, OSError) as error:
            raise FetchFailed("unreachable", f"The connection was lost ({type(error).__name__}).") from None

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=32, use_dns_cache=False, resolver=self._resolver, socket_factory=self._make_socket, keepalive_timeout=5
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=_HEADERS,
                trust_env=False,
                auto_decompress=False,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._most_seconds / 2),
            )
        return self._session

    def _make_socket(self, info: tuple[int, int, int, str, tuple[object, ...]]) -> socket.socket:
        """The last look before anything is sent: no socket without an address that passes."""
        family, kind, protocol, _, address = info
        if not self._may_reach(ipaddress.ip_address(str(address[0]))):
            raise _AddressRefused("address_refused", _refusal(str(address[0])))
        return socket.socket(family, kind, protocol)

    def _check_peer(self, response: aiohttp.ClientResponse) -> None:
        transport = response.connection.transport if response.connection is not None else None
        peer = transport.get_extra_info("peername") if transport is not None else None
        if peer is not None and not self._may_reach(ipaddress.ip_address(peer[0])):
            response.close()
            raise FetchFailed("address_refused", _refusal(peer[0]))

    async def _resolve_by_system(self, host: str, port: int) -> Sequence[Address]:
        def look_up() -> list[Address]:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            return [ipaddress.ip_address(str(entry[4][0])) for entry in found]

        return await asyncio.get_running_loop().run_in_executor(self._threads, look_up)


class _Resolver(AbstractResolver):
    """All addresses of a name, if each of them may be reached: a name that also leads inside is not to be trusted."""

    def __init__(self, resolve: Resolve, may_reach: Callable[[Address], bool]) -> None:
        self._resolve = resolve
        self._may_reach = may_reach

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        try:
            addresses = list(dict.fromkeys(await self._resolve(host, port)))
        except (OSError, UnicodeError):
            addresses = []
        if not addresses:
            raise _AddressRefused("name_unknown", f"The name {host} is not known.")
        for address in addresses:
            if not self._may_reach(address):
                raise _AddressRefused("address_refused", _refusal(host))
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        pass


def redirect_of(fetched: FetchResult) -> WebUrl | None:
    """The target of a redirect. Raises `FetchFailed` if it is not a web address."""
    if fetched.status not in _REDIRECTS or "location" not in fetched.headers:
        return None
    try:
        return web_urls.join(fetched.url, fetched.headers["location"])
    except UrlRefused:
        raise FetchFailed("url_refused", "It redirects to something that is not on the web.") from None


async def _body_of(response: aiohttp.ClientResponse, most_bytes: int) -> bytes:
    """Decompressed as it comes, so that no more is ever held than what may come of it."""
    decompress = _decompressor(response.headers.get("Content-Encoding", ""))
    too_large = FetchFailed("too_large", f"It has more than {most_bytes} bytes.")
    body, received = bytearray(), 0
    async for piece in response.content.iter_chunked(_PIECE):
        received += len(piece)
        if decompress is None:
            body += piece
        else:
            while piece and len(body) <= most_bytes:
                body += decompress.decompress(piece, most_bytes + 1 - len(body))
                piece = decompress.unconsumed_tail
        if len(body) > most_bytes or received > most_bytes:
            response.close()
            raise too_large
    if decompress is not None and received and not decompress.eof:
        raise FetchFailed("malformed", "Its compressed body breaks off.")
    return bytes(body)


def _decompressor(encoding: str) -> zlib._Decompress | None:
    match encoding.strip().lower():
        case "" | "identity":
            return None
        case "gzip" | "x-gzip":
            return zlib.decompressobj(zlib.MAX_WBITS | 16)
        case "deflate":
            return zlib.decompressobj(zlib.MAX_WBITS)
    raise FetchFailed("encoding_refused", "It is compressed in a way that was not asked for.")


def _connection_failure(error: aiohttp.ClientConnectorError) -> FetchFailed:
    cause: BaseException | None = error.os_error
    while cause is not None:
        if isinstance(cause, _AddressRefused):
            return FetchFailed(cause.reason, str(cause))
        cause = cause.__cause__
    return FetchFailed("unreachable", "No connection could be made.")


def _refusal(host: str) -> str:
    return f"{host} is not on the public internet; GIGACHAT_FETCH_ALLOW lists the networks that may be reached besides."


def _as_text(value: str) -> str:
    """A header without the surrogates that stand for bytes which are no UTF-8: nothing that is stored has any."""
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
