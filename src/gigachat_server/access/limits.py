"""How much a caller may use of a chatbot: which limits apply to whom, and what a prompt is charged.

Invariants: a prompt that is refused leaves nothing behind, neither a row nor a charge; one that was sent before, with the same
`Idempotency-Key`, is never refused and never charged; and callers without limits cost no statement.
"""

from __future__ import annotations

import ipaddress

from gigachat_server.access.principal import Principal, PrincipalKind
from gigachat_server.access.speakers import ANONYMOUS_PREFIX
from gigachat_server.access.standings import Standing, rate_limited
from gigachat_server.access.till import ANONYMOUS, USERS, Charge, Till
from gigachat_server.clock import Clock
from gigachat_server.errors import RateLimited
from gigachat_server.records import BudgetConfig, Chatbot, RateConfig
from gigachat_server.store import idempotency, rates
from gigachat_server.store.database import Database, Reader, Tx
from gigachat_server.store.rates import Rate

# As a chatbot's `limits` name them.
ADDRESS, KEY, SESSIONS, USER = "address", "key", "sessions", "user"

_UNKNOWN = "unknown"  # the subject of end users whose address is not known


def network_of(peer: str | None) -> str:
    """What counts as one address: an IPv4 address, or the /64 that one IPv6 host can choose its addresses from."""
    if peer is None or ":" not in peer:
        return peer or _UNKNOWN
    return str(ipaddress.ip_network((peer, 64), strict=False))


class Admission:
    """That a prompt may be stored and answered, as far as is known before that: with what it was charged, if it was."""

    def __init__(self, charge: Charge | None = None, *, refusal: RateLimited | None = None) -> None:
        """`refusal`: why it may not, unless it turns out to be stored already."""
        self.charge = charge
        self._refusal = refusal

    @property
    def standings(self) -> tuple[Standing, ...]:
        return () if self.charge is None else self.charge.standings

    def check(self) -> None:
        """For a prompt that is not stored already. Raises `RateLimited`."""
        if self._refusal is not None:
            raise self._refusal.again()

    def give_back(self) -> None:
        """Nothing came of it."""
        if self.charge is not None:
            self.charge.give_back()


class Limits:
    """Admits prompts and anonymous sessions, store-wide."""

    def __init__(self, database: Database, till: Till, clock: Clock) -> None:
        self._database = database
        self._till = till
        self._clock = clock

    async def admit(
        self, principal: Principal, chatbot: Chatbot, most_tokens: int, key: idempotency.Key | None
    ) -> Admission | None:
        """Charge a prompt that may cost so many tokens; None where nothing limits the caller.

        Raises `RateLimited`, `BudgetSpent`; with a key that was used before, neither.
        """
        wanted, budgets = _rates_of(principal, chatbot), _budgets_of(principal, chatbot)
        if not wanted and not budgets:
            return None
        try:
            return Admission(await self._till.charge(chatbot.id, wanted, budgets, most_tokens))
        except RateLimited as refusal:
            if key is None or not await self._is_kept(key):
                raise
            return Admission(refusal=refusal)

    async def take_session(self, tx: Tx, chatbot: Chatbot, address: str | None) -> tuple[Standing, ...]:
        """Charge an anonymous session to its address, in the transaction that stores it. Raises `RateLimited`.

        `address` is that of a principal: see `network_of`.
        """
        config = chatbot.config.limits.sessions
        if config is None:
            return ()
        rate, now_us = _rate(SESSIONS, address or _UNKNOWN, config), self._clock()
        full_at = (await rates.lock(tx, chatbot.id, [rate.key]))[rate.key]
        moved = rate.used_once(full_at, now_us=now_us)
        if moved is None:
            raise rate_limited([SESSIONS], [Standing.of(rate, full_at, now_us=now_us)])
        await rates.put(tx, chatbot.id, {rate.key: moved})
        return (Standing.of(rate, moved, now_us=now_us),)

    async def _is_kept(self, key: idempotency.Key) -> bool:
        async def read(reader: Reader) -> bool:
            return await idempotency.find(reader, key, now_us=self._clock()) is not None

        return await self._database.read(read)


def _rates_of(principal: Principal, chatbot: Chatbot) -> tuple[Rate, ...]:
    """Those of a prompt."""
    limits = chatbot.config.limits
    if principal.kind is PrincipalKind.KEY:
        return () if limits.key is None else (_rate(KEY, principal.id, limits.key),)
    if principal.kind is not PrincipalKind.USER:
        return ()
    found = []
    if limits.address is not None:
        found.append(_rate(ADDRESS, principal.address or _UNKNOWN, limits.address))
    if limits.user is not None:
        found.append(_rate(USER, principal.user_id or "", limits.user))
    return tuple(found)


def _rate(policy: str, subject: str, config: RateConfig) -> Rate:
    return Rate(policy, subject, config.quota, config.window_s)


def _budgets_of(principal: Principal, chatbot: Chatbot) -> dict[str, BudgetConfig]:
    """Those that a prompt counts towards, by kind."""
    if principal.kind is not PrincipalKind.USER:
        return {}
    budgets = chatbot.config.limits.budgets
    found: dict[str, BudgetConfig] = {}
    if (principal.user_id or "").startswith(ANONYMOUS_PREFIX):
        found[ANONYMOUS] = budgets.anonymous
    found[USERS] = budgets.users
    return {kind: budget for kind, budget in found.items() if budget.turns is not None or budget.tokens is not None}
