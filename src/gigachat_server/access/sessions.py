"""Who is signed in to the pages: sessions, one-time links and the limit on attempts, in this process's memory.

Invariant: nothing here can be turned back into a credential. Ids and tokens are 256 random bits and only their SHA-256
is kept; a one-time token opens one session; a session made with an API key ends with that key, which the pages check at
every request (`KeyRing.renewed`). A restart signs everybody out.
"""

from __future__ import annotations

import hashlib
import ipaddress
import math
import secrets

import msgspec

from gigachat_server.access.principal import Principal, local_operator
from gigachat_server.clock import Clock

SESSION_S = 12 * 3600
LINK_S = 24 * 3600
MOST_SESSIONS = 1_000
MOST_TOKENS = 100

ATTEMPTS = 10
ATTEMPTS_PER_S = 60
MOST_PEERS = 10_000

_SECOND = 1_000_000


class Session(msgspec.Struct, frozen=True):
    """Someone signed in, as the `principal` they were then: by an API key, or by a link of this machine's operator."""

    principal: Principal
    csrf_token: str
    expires_at: int


class Sessions:
    """Opens, finds and ends sessions. Past the bound the oldest one ends."""

    def __init__(self, clock: Clock, *, account_id: str) -> None:
        self._clock = clock
        self._account_id = account_id
        self._sessions: dict[bytes, Session] = {}
        self._tokens: dict[bytes, int] = {}  # when each stops working

    def open(self, principal: Principal) -> tuple[str, Session]:
        """A new session and, for the cookie, its id."""
        session_id = secrets.token_urlsafe(32)
        session = Session(
            principal=principal,
            csrf_token=secrets.token_urlsafe(32),
            expires_at=self._clock() + SESSION_S * _SECOND,
        )
        while len(self._sessions) >= MOST_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        self._sessions[_digest(session_id)] = session
        return session_id, session

    def find(self, session_id: str) -> Session | None:
        """The session, unless it has ended."""
        session = self._sessions.get(_digest(session_id))
        if session is not None and session.expires_at <= self._clock():
            self.close(session_id)
            return None
        return session

    def close(self, session_id: str) -> None:
        """From now on the id opens nothing."""
        self._sessions.pop(_digest(session_id), None)

    def mint_login_token(self, *, lifetime_s: int = LINK_S) -> str:
        """A token that signs one browser in, once, for the server's own account."""
        token = secrets.token_urlsafe(32)
        while len(self._tokens) >= MOST_TOKENS:
            del self._tokens[next(iter(self._tokens))]
        self._tokens[_digest(token)] = self._clock() + lifetime_s * _SECOND
        return token

    def is_redeemable(self, token: str) -> bool:
        """Whether the token would still sign somebody in. Asking does not use it up: link previews ask too."""
        return self._tokens.get(_digest(token), 0) > self._clock()

    def redeem(self, token: str) -> tuple[str, Session] | None:
        """The session that the token is good for; None from the second time on, or when it has expired."""
        expires_at = self._tokens.pop(_digest(token), 0)
        return self.open(local_operator(self._account_id)) if expires_at > self._clock() else None


class AttemptLimit:
    """Lets each peer try to sign in `ATTEMPTS` times in `ATTEMPTS_PER_S` seconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._attempts: dict[str, list[int]] = {}

    def count(self, peer: str | None) -> int:
        """0 if the attempt may go on, which counts it; else in how many seconds the next one may."""
        name, now = _network(peer), self._clock()
        recent = [at for at in self._attempts.pop(name, []) if now - at < ATTEMPTS_PER_S * _SECOND]
        wait_s = 0
        if len(recent) >= ATTEMPTS:
            wait_s = max(1, math.ceil((recent[0] - now) / _SECOND) + ATTEMPTS_PER_S)
        else:
            recent.append(now)
        while len(self._attempts) >= MOST_PEERS:
            del self._attempts[next(iter(self._attempts))]
        self._attempts[name] = recent
        return wait_s


def _network(peer: str | None) -> str:
    """What counts as one peer: an IPv4 address, or the /64 that one IPv6 host can choose its addresses from."""
    if peer is None or ":" not in peer:
        return peer or ""
    return str(ipaddress.ip_network((peer, 64), strict=False))


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
