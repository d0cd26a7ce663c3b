"""The limit on attempts to sign in: of each peer, and on each e-mail address, in this process's memory."""

from __future__ import annotations

import ipaddress
import math

from gigachat_server.clock import Clock

ATTEMPTS = 10
ATTEMPTS_ON_ONE = 30
ATTEMPTS_PER_S = 60
MOST_REMEMBERED = 10_000

_SECOND = 1_000_000


class AttemptLimit:
    """Lets each name try so many times in `ATTEMPTS_PER_S` seconds."""

    def __init__(self, clock: Clock, attempts: int = ATTEMPTS) -> None:
        self._clock = clock
        self._most = attempts
        self._attempts: dict[str, list[int]] = {}

    def count(self, name: str) -> int:
        """0 if the attempt may go on, which counts it; else in how many seconds the next one may."""
        now = self._clock()
        recent = [at for at in self._attempts.pop(name, []) if now - at < ATTEMPTS_PER_S * _SECOND]
        wait_s = 0
        if len(recent) >= self._most:
            wait_s = max(1, math.ceil((recent[0] - now) / _SECOND) + ATTEMPTS_PER_S)
        else:
            recent.append(now)
        while len(self._attempts) >= MOST_REMEMBERED:
            del self._attempts[next(iter(self._attempts))]
        self._attempts[name] = recent
        return wait_s


def network_of(peer: str | None) -> str:
    """What counts as one peer: an IPv4 address, or the /64 that one IPv6 host can choose its addresses from."""
    if peer is None or ":" not in peer:
        return peer or ""
    return str(ipaddress.ip_network((peer, 64), strict=False))
