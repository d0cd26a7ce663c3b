"""From where a request comes, and whether the chatbot lets it in.

Invariant: the peer is the connection's own address unless that is a trusted proxy, and then the right-most hop that is
not one; a hostname is compared whole, label by label, never by a pattern. `hostnames` bind browsers alone: any other
program can claim any Origin.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from gigachat_server.errors import AddressRefused, FieldError, HostnameRefused
from gigachat_server.records import RestrictionsConfig

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_MOST_HOPS = 32  # more proxies in a row are a caller's invention
_LONGEST_HOSTNAME = 253


def parse_address(text: str) -> Address | None:
    """An address as peers and proxies write it: with a port, in brackets, with a zone; IPv4 mapped into IPv6 is IPv4."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def parse_network(text: str) -> Network:
    """Raises ValueError. A network of IPv4 addresses mapped into IPv6 is one of IPv4, as its peers are."""
    network = ipaddress.ip_network(text.strip(), strict=False)
    if isinstance(network, ipaddress.IPv6Network) and network.network_address.ipv4_mapped and network.prefixlen >= 96:
        return ipaddress.ip_network((network.network_address.ipv4_mapped, network.prefixlen - 96))
    return network


def peer_address(client: str | None, forwarded_for: str | None, trusted: Sequence[Network]) -> str | None:
    """Who is really there. An unreadable hop ends the search: nothing left of it can be believed."""
    peer = parse_address(client or "")
    if peer is None:
        return None
    hops = forwarded_for.rsplit(",", _MOST_HOPS)[-_MOST_HOPS:] if forwarded_for else []
    while hops and any(peer in network for network in trusted):
        hop = parse_address(hops.pop())
        if hop is None:
            break
        peer = hop
    return str(peer)


def check_restrictions(restrictions: RestrictionsConfig, *, peer: str | None, headers: Mapping[str, str], has_key: bool) -> None:
    """Raises `HostnameRefused` or `AddressRefused`."""
    check_address(restrictions, peer)
    if restrictions.hostnames:
        page = headers.get("origin") or headers.get("referer")
        if page is None and has_key:
            return  # servers send neither
        if not is_listed(page, restrictions.hostnames):
            raise HostnameRefused


def check_page(origin: str, hostnames: Sequence[str]) -> None:
    """The page of an end user is on one of these: with none, it is refused. Raises `HostnameRefused`."""
    if not is_listed(origin, hostnames):
        raise HostnameRefused


def check_address(restrictions: RestrictionsConfig, peer: str | None) -> None:
    """Raises `AddressRefused`."""
    if restrictions.ip_addresses:
        address = parse_address(peer or "")
        if address is None or not any(_is_in(address, listed) for listed in restrictions.ip_addresses):
            raise AddressRefused


def _is_in(address: Address, listed: str) -> bool:
    """What a later version may have listed in another form matches no address."""
    try:
        return address in parse_network(listed)
    except ValueError:
        return False


def is_listed(page: str | None, hostnames: Sequence[str]) -> bool:
    """Whether the page, a URL as in Origin or Referer, is on one of these hosts."""
    host = hostname_of(page or "")
    if not host:
        return False
    for listed in hostnames:
        wanted = canonical_hostname(listed.removeprefix("*."))
        if host == wanted and not listed.startswith("*."):
            return True
        if listed.startswith("*.") and wanted and host.endswith("." + wanted):
            return True
    return False


def hostname_of(url: str) -> str:
    """The host of an http(s) URL in canonical form; empty if there is none."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return ""
    return canonical_hostname(host) if parts.scheme in ("http", "https") else ""


def canonical_hostname(name: str) -> str:
    """Lower case, in ASCII (IDNA), without the root's dot; empty if it cannot be a hostname."""
    name = name.strip().lower().removesuffix(".")
    if len(name) > _LONGEST_HOSTNAME:
        return ""  # to convert it takes quadratic time
    try:
        return name if name.isascii() else name.encode("idna").decode()
    except UnicodeError:
        return ""


def restriction_errors(restrictions: RestrictionsConfig) -> list[FieldError]:
    """What cannot be compared with anything, told when it is set rather than when a user is refused."""
    errors = []
    for i, text in enumerate(restrictions.ip_addresses):
        try:
            parse_network(text)
        except ValueError:
            errors.append(FieldError(f"restrictions.ip_addresses[{i}]", "Must be an IP address or a network such as 10.0.0.0/8."))
    return errors + hostname_errors(restrictions.hostnames, "restrictions.hostnames")


def hostname_errors(hostnames: Sequence[str], field: str) -> list[FieldError]:
    """Which of them no page can be on."""
    errors = []
    for i, text in enumerate(hostnames):
        name = canonical_hostname(text.removeprefix("*."))
        if not name or any(character in name for character in "*/:@?# "):
            message = "Must be a hostname such as www.example.com or *.example.com, without scheme and port."
            errors.append(FieldError(f"{field}[{i}]", message))
    return errors
