"""How many connections a server has at once: in all, and from one address.

Idea: there is room for others whatever one address does, and the process keeps files for what is not a connection. Behind a
proxy that is trusted everyone has its address, so it is the proxy that has to count.
"""

from __future__ import annotations

import ipaddress
import resource
from collections import Counter

from gigachat_server.settings import Settings

_OWN_FILES = 64  # of the store, the log, the listeners
_FILES_EACH = 2  # the connection, and what its request needs: an upload's file, or the connection to a model
_FEWEST = 8
_MOST_REFUSED = 64  # at once: those who come on top of them are not even told


class Admission:
    """Who is in. `settings` say how many may be."""

    def __init__(self, settings: Settings) -> None:
        self._most = _fitting(settings.max_connections)
        self._most_of_one = min(settings.max_connections_per_address or self._most * 3 // 4, self._most)
        self._proxies = settings.proxy_networks
        self._from: Counter[str] = Counter()
        self._all = 0
        self._refused = 0

    def enter(self, address: str | None) -> str | None:
        """The place that has to be left again; None if there is none."""
        place, is_proxy = self._place_of(address)
        if self._all >= self._most or (not is_proxy and self._from[place] >= self._most_of_one):
            return None
        self._all += 1
        self._from[place] += 1
        return place

    def leave(self, place: str) -> None:
        self._all -= 1
        self._from[place] -= 1
        if not self._from[place]:
            del self._from[place]

    def begin_refusal(self) -> bool:
        """Whether there is time to say so. If there is, `end_refusal` has to follow."""
        if self._refused >= _MOST_REFUSED:
            return False
        self._refused += 1
        return True

    def end_refusal(self) -> None:
        self._refused -= 1

    def _place_of(self, address: str | None) -> tuple[str, bool]:
        """What counts as one address, and whether it is a trusted proxy: of IPv6 a household has a whole network."""
        try:
            parsed = ipaddress.ip_address((address or "").partition("%")[0])
        except ValueError:
            return "", True
        parsed = getattr(parsed, "ipv4_mapped", None) or parsed
        is_proxy = any(parsed in network for network in self._proxies)
        if parsed.version == 6:
            return str(ipaddress.ip_network((parsed, 64), strict=False)), is_proxy
        return str(parsed), is_proxy


def _fitting(wanted: int) -> int:
    """So many connections, or as many as there are files for."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return wanted
    return min(wanted, max(_FEWEST, (files - _OWN_FILES) // _FILES_EACH))
