"""Addresses of web pages: one parser for all that is fetched, strict where others guess.

Idea: what a person, a page or a redirect says is read once, here, into parts, and only `WebUrl.text`, made from those parts
again, is ever requested: there is no second parser that could understand it otherwise. What two parsers are known to
disagree about (userinfo, backslashes, tabs, numbers that stand for an address) is refused, not repaired.

Invariant: `host` is a lower-case ASCII name without a final dot, or the canonical form of an IP address; equal URLs have
equal `text`, and none has a fragment.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import quote, urljoin

import msgspec

MOST_CHARACTERS = 2000

_FORM = re.compile(r"(https?)://([^/?#]*)([^?#]*)(?:\?([^#]*))?(?:#.*)?", re.IGNORECASE)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_PORT = re.compile(r"[0-9]{1,5}")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_REFUSED = re.compile(r"[\x00-\x20\x7f-\xa0\\<>\"`{}|^\ud800-\udfff]")
_ESCAPED = re.compile(r"%[0-9a-fA-F]{2}")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_PATH_SAFE = "/%:@!$&'()*+,;=~-._"
_QUERY_SAFE = _PATH_SAFE + "?[]"


class UrlRefused(ValueError):
    """Not a valid web URL. The text says why, as a sentence for the person who gave it."""


class WebUrl(msgspec.Struct, frozen=True):
    """Where something on the web is."""

    scheme: str
    host: str
    port: int
    path: str  # percent-encoded, from the first slash on
    query: str | None

    @property
    def netloc(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def target(self) -> str:
        """Path and query, as they are requested."""
        return self.path if self.query is None else f"{self.path}?{self.query}"

    @property
    def text(self) -> str:
        return f"{self.scheme}://{self.netloc}{self.target}"

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{self.netloc}"

    @property
    def site(self) -> str:
        """What pages of one site have in common: http or https, with or without `www.`, it is the same."""
        port = "" if self.port in _DEFAULT_PORTS.values() else f":{self.port}"
        return self.host.removeprefix("www.") + port

    @property
    def address(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        """The IP address, if the host is one."""
        try:
            return ipaddress.ip_address(self.host)
        except ValueError:
            return None


def parse(text: str) -> WebUrl:
    """Raises `UrlRefused`."""
    if len(text) > MOST_CHARACTERS:
        raise UrlRefused(f"Must have at most {MOST_CHARACTERS} characters.")
    if _REFUSED.search(text):
        raise UrlRefused("Must not contain spaces, control characters, backslashes, quotes or brackets.")
    match = _FORM.fullmatch(text)
    if match is None:
        raise UrlRefused("Must start with http:// or https:// and a host.")
    scheme = match[1].lower()
    if "@" in match[2]:
        raise UrlRefused("Must not contain a user name or password.")
    host, port = _host_and_port(match[2])
    query = match[4]
    url = WebUrl(
        scheme,
        host,
        _DEFAULT_PORTS[scheme] if port is None else port,
        _without_dots(_encoded(match[3], _PATH_SAFE)),
        None if query is None else _encoded(query, _QUERY_SAFE),
    )
    if len(url.text) > MOST_CHARACTERS:
        raise UrlRefused(f"Must have at most {MOST_CHARACTERS} characters, percent-encoded.")
    return url


def join(base: WebUrl, reference: str) -> WebUrl:
    """What a page at `base` means by a reference: of what browsers repair, spaces and line ends are repaired here, too.

    Raises `UrlRefused`.
    """
    if len(reference) > 2 * MOST_CHARACTERS:
        raise UrlRefused(f"Must have at most {MOST_CHARACTERS} characters.")
    plain = "".join(reference.split("\n")).replace("\r", "").replace("\t", "").strip(" \x0c").replace(" ", "%20")
    if _SCHEME.match(plain):
        return parse(plain)  # `urljoin` would take some of these for paths
    try:
        joined = urljoin(base.text, plain)
    except ValueError:
        raise UrlRefused("Is not a URL.") from None
    return parse(joined)


def _host_and_port(authority: str) -> tuple[str, int | None]:
    if authority.startswith("["):
        inner, bracket, rest = authority[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise UrlRefused("Must contain a whole IPv6 address in brackets.")
        return _ipv6(inner), _port(rest[1:])
    name, _, port = authority.partition(":")
    return _name_or_ipv4(name), _port(port)


def _port(text: str) -> int | None:
    if not text:
        return None
    if not _PORT.fullmatch(text) or not 1 <= int(text) <= 65535:
        raise UrlRefused("Must have a port from 1 to 65535.")
    return int(text)


def _ipv6(text: str) -> str:
    try:
        return str(ipaddress.IPv6Address(text if "%" not in text else ""))
    except ValueError:
        raise UrlRefused("Must contain a whole IPv6 address in brackets.") from None


def _name_or_ipv4(given: str) -> str:
    name = (given if given.isascii() else _to_ascii(given)).lower().removesuffix(".")
    labels = name.split(".")
    # Some resolvers take any host that ends in a number for an address: only the canonical form is accepted.
    if _NUMBER.fullmatch(labels[-1]):
        try:
            return str(ipaddress.IPv4Address(name))
        except ValueError:
            raise UrlRefused("Must name its host, or have an address of four plain numbers.") from None
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise UrlRefused("Must start with http:// or https:// and the name of a host.")
    return name


def _to_ascii(name: str) -> str:
    import idna  # a tenth of a second that most never need

    try:
        return idna.encode(name, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        # Digits alone are no label to it; as what they look like, they are judged with the other numbers.
        try:
            return idna.uts46_remap(name).encode("ascii").decode("ascii")
        except (idna.IDNAError, UnicodeError):
            raise UrlRefused("Must have a host whose name can be one.") from None


def _encoded(text: str, safe: str) -> str:
    """Percent-encoded where it has to be; what was encoded before stays, in capitals."""
    return _ESCAPED.sub(lambda found: found[0].upper(), quote(text, safe=safe))


def _without_dots(path: str) -> str:
    """RFC 3986, 5.2.4."""
    kept: list[str] = []
    parts = path.split("/")[1:] or [""]
    for part in parts:
        plain = part.replace("%2E", ".")
        if plain == "..":
            del kept[-1:]
        elif plain != ".":
            kept.append(part)
    if parts[-1].replace("%2E", ".") in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)
