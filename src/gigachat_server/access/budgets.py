"""What a chatbot's end users may use on a day (UTC), all together: reserved before a turn, given back after it.

Idea: every turn changes the same row, which in the turn's own transaction would have each wait for the disk of the one before.
So it is changed apart from it, in transactions that do not wait for the disk, and for all who wait at once: while one
transaction is on its way, those who come meanwhile gather for the next, with whatever is to be given back.

Invariants: what is reserved on all nodes together is never more than a budget; a process that ends has used what it had
reserved; and what is given back goes to the day that it was taken from.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Mapping, Sequence

import msgspec

from gigachat_server.access.standings import Standing, rate_limited, seconds
from gigachat_server.clock import Clock
from gigachat_server.errors import BudgetSpent, GigachatError, RateLimited, StorageUnavailable
from gigachat_server.records import BudgetConfig, Spending
from gigachat_server.store import budgets
from gigachat_server.store.budgets import DAY_US
from gigachat_server.store.database import Database, Reader, Tx
from gigachat_server.work.tasks import observed

ANONYMOUS, USERS = "anonymous", "users"  # sorted, as every transaction locks them

_DAY_S = 86_400
_Used = dict[tuple[int, str], Spending]  # by day and kind


class Reservation:
    """What one turn may use, until it is settled."""

    def __init__(self, change: Callable[[_Used], None], day: int, kinds: Sequence[str], tokens: int) -> None:
        self.day = day
        self.tokens = tokens
        self._kinds = kinds
        self._change = change
        self._is_settled = False

    def settle(self, *, turns: int = 1, tokens: int | None) -> None:
        """Give back what was not used, or charge what was used besides; None: all may have been. Only the first time counts."""
        if self._is_settled:
            return
        self._is_settled = True
        change = Spending(turns - 1, 0 if tokens is None else tokens - self.tokens)
        if change != Spending():
            self._change({(self.day, kind): change for kind in self._kinds})


class _Wanted(msgspec.Struct, frozen=True):
    """A reservation that waits for its transaction."""

    limits: Mapping[str, BudgetConfig]
    tokens: int
    granted: asyncio.Future[tuple[int, RateLimited | None]]


class _Purse:
    """The budgets of one chatbot, as far as this process is about to change them."""

    def __init__(self, database: Database, clock: Clock, chatbot_id: str) -> None:
        self._database = database
        self._clock = clock
        self._chatbot_id = chatbot_id
        self._wanted: list[_Wanted] = []
        self._changes: _Used = {}
        self.emptying: asyncio.Task[None] | None = None

    @property
    def is_idle(self) -> bool:
        return self.emptying is None and not self._wanted and not self._changes

    def ask(self, wanted: _Wanted) -> None:
        """Have it granted or refused with the next transaction."""
        self._wanted.append(wanted)
        self.empty()

    def change(self, used: _Used) -> None:
        self._changes = _sum(self._changes, used)
        self.empty()

    def empty(self) -> None:
        """Have the store changed, now or after what is on its way."""
        if self.emptying is None:
            self.emptying = observed(self._empty(), name="budgets")

    async def _empty(self) -> None:
        try:
            while self._wanted or self._changes:
                wanted, self._wanted = self._wanted, []
                changes, self._changes = self._changes, {}
                try:
                    granted = await self._store(wanted, changes)
                except GigachatError as error:
                    self._changes = _sum(self._changes, changes)
                    for each in wanted:
                        _fail(each, error)
                    if isinstance(error, StorageUnavailable) and not self._wanted:
                        return  # the next who comes, or the upkeep, tries again
                    continue
                except BaseException:
                    for each in wanted:
                        _fail(each, GigachatError())
                    raise
                for each, outcome in zip(wanted, granted, strict=True):
                    if not each.granted.done():
                        each.granted.set_result(outcome)
        finally:
            self.emptying = None

    async def _store(self, wanted: Sequence[_Wanted], changes: _Used) -> list[tuple[int, RateLimited | None]]:
        """For each that waits, the day from which it was granted, or why not."""

        async def body(tx: Tx) -> list[tuple[int, RateLimited | None]]:
            now_us = self._clock()
            day, used = now_us // DAY_US, dict(changes)
            outcomes: list[tuple[int, RateLimited | None]] = []
            if wanted:
                kinds = sorted({kind for each in wanted for kind in each.limits})
                spent = await budgets.lock(tx, self._chatbot_id, day, kinds)
                spent = {kind: _plus(spent[kind], used.get((day, kind), Spending())) for kind in kinds}
                for each in wanted:
                    refusal = _refusal(spent, each, now_us)
                    if refusal is None:
                        taken = {kind: Spending(1, each.tokens) for kind in each.limits}
                        spent |= {kind: _plus(spent[kind], taken[kind]) for kind in taken}
                        used = _sum(used, {(day, kind): spending for kind, spending in taken.items()})
                    outcomes.append((day, refusal))
            await budgets.add(tx, self._chatbot_id, used)
            return outcomes

        return await self._database.transaction("budget.change", body, may_be_lost=True)


class Budgets:
    """The budgets of all chatbots."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._purses: dict[str, _Purse] = {}

    async def reserve(self, chatbot_id: str, limits: Mapping[str, BudgetConfig], tokens: int) -> Reservation:
        """Take a turn of so many tokens from each of these budgets, or from none. Raises `BudgetSpent`."""
        wanted = _Wanted(limits, tokens, asyncio.get_running_loop().create_future())
        self._purse_of(chatbot_id).ask(wanted)
        try:
            day, refusal = await asyncio.shield(wanted.granted)
        except asyncio.CancelledError:
            wanted.granted.add_done_callback(functools.partial(self._return, chatbot_id, wanted))
            raise
        if refusal is not None:
            raise refusal
        return self._reservation(chatbot_id, wanted, day)

    def _return(self, chatbot_id: str, wanted: _Wanted, granted: asyncio.Future[tuple[int, RateLimited | None]]) -> None:
        """Its caller went away before it was granted."""
        if not granted.cancelled() and granted.exception() is None and granted.result()[1] is None:
            self._reservation(chatbot_id, wanted, granted.result()[0]).settle(turns=0, tokens=0)

    def _reservation(self, chatbot_id: str, wanted: _Wanted, day: int) -> Reservation:
        return Reservation(functools.partial(self._change, chatbot_id), day, tuple(wanted.limits), wanted.tokens)

    def _change(self, chatbot_id: str, used: _Used) -> None:
        self._purse_of(chatbot_id).change(used)

    def _purse_of(self, chatbot_id: str) -> _Purse:
        purse = self._purses.get(chatbot_id)
        if purse is None:
            self._purses = {known: each for known, each in self._purses.items() if not each.is_idle}
            purse = self._purses[chatbot_id] = _Purse(self._database, self._clock, chatbot_id)
        return purse

    async def spent_today(self, chatbot_id: str) -> dict[str, Spending]:
        """By kind; what running turns have reserved counts."""
        day = self._clock() // DAY_US

        async def read(reader: Reader) -> dict[str, Spending]:
            return await budgets.list_of_day(reader, chatbot_id, day)

        found = await self._database.read(read)
        return {kind: found.get(kind, Spending()) for kind in (ANONYMOUS, USERS)}

    async def settle(self) -> None:
        """Store what was given back and could not be stored, as far as that is possible now."""
        for purse in self._purses.values():
            if not purse.is_idle:
                purse.empty()
        while emptying := [purse.emptying for purse in self._purses.values() if purse.emptying is not None]:
            await asyncio.wait(emptying)


def _refusal(spent: Mapping[str, Spending], wanted: _Wanted, now_us: int) -> RateLimited | None:
    """Which budgets have no room for it."""
    standings = []
    for kind, limit in wanted.limits.items():
        used = spent[kind]
        for name, most, before, more in (
            (kind, limit.turns, used.turns, 1),
            (f"{kind}-tokens", limit.tokens, used.tokens, wanted.tokens),
        ):
            if most is not None and before + more > most:
                tomorrow_s = seconds(DAY_US - now_us % DAY_US)
                standings.append(Standing(name, most, _DAY_S, max(0, most - before), tomorrow_s, tomorrow_s))
    return rate_limited([each.policy for each in standings], standings, BudgetSpent) if standings else None


def _plus(one: Spending, other: Spending) -> Spending:
    return Spending(max(0, one.turns + other.turns), max(0, one.tokens + other.tokens))


def _sum(one: _Used, other: _Used) -> _Used:
    both = dict(one)
    for key, more in other.items():
        known = both.get(key, Spending())
        both[key] = Spending(known.turns + more.turns, known.tokens + more.tokens)
    return both


def _fail(wanted: _Wanted, error: GigachatError) -> None:
    if not wanted.granted.done():
        wanted.granted.set_exception(error.again())
        wanted.granted.exception()  # mark it as retrieved: its caller may be gone
