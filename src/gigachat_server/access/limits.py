"""How much a caller may use of a chatbot: which limits apply to whom, and what a prompt is charged.

Idea: a prompt is admitted in two steps. What its turn may cost is reserved from the day's budgets beforehand, in a transaction
of its own (`access/budgets.py`); its rates are taken in the transaction that stores it, once it is known to be no repetition.
Invariants: a prompt that is refused leaves nothing behind, neither a row nor a charge; one that was sent before, with the same
`Idempotency-Key`, is never refused and never charged; and callers without limits cost no statement.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from gigachat_server.access.budgets import ANONYMOUS, USERS, Budgets, Reservation
from gigachat_server.access.principal import Principal, PrincipalKind
from gigachat_server.access.standings import Standing, rate_limited
from gigachat_server.clock import Clock
from gigachat_server.errors import RateLimited
from gigachat_server.records import BudgetConfig, Chatbot, RateConfig
from gigachat_server.store import idempotency, rates
from gigachat_server.store.database import Database, Reader, Tx
from gigachat_server.store.rates import MOST_SKEW_US, Rate

# Sorted, as every transaction takes them. Their names are those of a chatbot's `limits`.
ADDRESS, KEY, SESSIONS, USER = "address", "key", "sessions", "user"

ANONYMOUS_PREFIX = "anon:"
_MOST_REMEMBERED = 10_000
_UNKNOWN = "unknown"  # the subject of end users whose address is not known


def network_of(peer: str | None) -> str:
    """What counts as one address: an IPv4 address, or the /64 that one IPv6 host can choose its addresses from."""
    if peer is None or ":" not in peer:
        return peer or _UNKNOWN
    return str(ipaddress.ip_network((peer, 64), strict=False))


class Admission:
    """That a prompt may be stored and answered, as far as is known before that."""

    def __init__(
        self,
        limits: Limits,
        chatbot: Chatbot,
        wanted: Sequence[Rate],
        *,
        reservation: Reservation | None = None,
        refusal: RateLimited | None = None,
    ) -> None:
        """`refusal`: why it may not, unless it turns out to be stored already."""
        self.reservation = reservation
        self.standings: tuple[Standing, ...] = ()
        self._limits = limits
        self._chatbot = chatbot
        self._wanted = wanted
        self._refusal = refusal

    async def charge(self, tx: Tx) -> None:
        """Take its rates, for a prompt that was not stored before. Raises `RateLimited`."""
        if self._refusal is not None:
            raise self._refusal.again()
        if self._wanted:
            self.standings = await self._limits.take(tx, self._chatbot.id, self._wanted)

    def give_back(self) -> None:
        """Nothing came of it: what was reserved is given back whole."""
        if self.reservation is not None:
            self.reservation.settle(turns=0, tokens=0)


class Limits:
    """Admits prompts and anonymous sessions, store-wide."""

    def __init__(self, database: Database, budgets: Budgets, clock: Clock) -> None:
        self._database = database
        self._budgets = budgets
        self._clock = clock
        # By chatbot, policy and subject: when the quota will be whole again, or later. Enough to refuse most of a flood with.
        self._remembered: dict[tuple[str, str, str], int] = {}

    async def admit(
        self, principal: Principal, chatbot: Chatbot, most_tokens: int, key: idempotency.Key | None
    ) -> Admission | None:
        """Whether the caller may have a prompt answered that may cost so many tokens; None where nothing limits that.

        Raises `RateLimited`, `BudgetSpent`; with a key that was used before, neither.
        """
        wanted, kinds = _rates_of(principal, chatbot), _budgets_of(principal, chatbot)
        if not wanted and not kinds:
            return None
        try:
            self._refuse_soon(chatbot.id, wanted)
            reservation = await self._budgets.reserve(chatbot.id, kinds, most_tokens) if kinds else None
        except RateLimited as refusal:
            if key is None or not await self._is_kept(key):
                raise
            return Admission(self, chatbot, wanted, refusal=refusal)
        return Admission(self, chatbot, wanted, reservation=reservation)

    async def take_session(self, tx: Tx, chatbot: Chatbot, address: str) -> tuple[Standing, ...]:
        """Charge an anonymous session to its address, in the transaction that stores it. Raises `RateLimited`.

        `address` is that of a principal: see `network_of`.
        """
        config = chatbot.config.limits.sessions
        return () if config is None else await self.take(tx, chatbot.id, (_rate(SESSIONS, address, config),))

    async def take(self, tx: Tx, chatbot_id: str, wanted: Sequence[Rate]) -> tuple[Standing, ...]:
        """Use each rate once, or none: what is left of them. Raises `RateLimited`."""
        now_us = self._clock()
        taken = await rates.take(tx, chatbot_id, wanted, now_us=now_us)
        spent = [rate for rate in wanted if rate.policy not in taken]
        for rate in spent:
            taken[rate.policy] = await rates.find(tx, chatbot_id, rate) or now_us
        standings = tuple(Standing.of(rate, taken[rate.policy], now_us=now_us) for rate in wanted)
        if spent:
            for rate in spent:
                self._remember((chatbot_id, rate.policy, rate.subject), taken[rate.policy])
            raise rate_limited([rate.policy for rate in spent], standings)
        return standings

    def _refuse_soon(self, chatbot_id: str, wanted: Sequence[Rate]) -> None:
        """Refuse what the store would, as far as it is known here. Raises `RateLimited`."""
        now_us = self._clock()
        known = [(rate, self._remembered.get((chatbot_id, rate.policy, rate.subject))) for rate in wanted]
        spent = [
            (rate, full_at)
            for rate, full_at in known
            if full_at is not None and rate.window_us - rate.step_us < full_at - now_us <= rate.window_us + MOST_SKEW_US
        ]
        if spent:
            standings = tuple(Standing.of(rate, full_at, now_us=now_us) for rate, full_at in spent)
            raise rate_limited([rate.policy for rate, _ in spent], standings)

    def _remember(self, subject: tuple[str, str, str], full_at: int) -> None:
        self._remembered.pop(subject, None)
        while len(self._remembered) >= _MOST_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[subject] = full_at

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
