"""Where prompts are charged to what limits them: the rates of their callers and the day's budgets of their chatbot.

Idea: every prompt from one address, or of one chatbot, changes the same row, which in the transaction that stores the prompt
would have each wait for the disk of the one before. So prompts are charged before, in transactions of their own that do not
wait for the disk, and all that wait at once: while one is on its way, those who come meanwhile gather for the next, with
whatever is to be given back. A prompt that is not stored, or not answered, has its charge given back.

Invariants: what is charged on all nodes together is never more than a limit; a prompt is charged to all of its limits, or to
none; a process that ends has used what it had reserved; and what is given back goes to the day that it was taken from.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Mapping, Sequence

import msgspec

from gigachat_server.access.standings import Standing, rate_limited, seconds
from gigachat_server.clock import Clock
from gigachat_server.errors import BudgetSpent, GigachatError, RateLimited
from gigachat_server.records import BudgetConfig, Spending
from gigachat_server.store import budgets, rates
from gigachat_server.store.budgets import DAY_US
from gigachat_server.store.database import Database, Reader, Tx
from gigachat_server.store.rates import Rate, Subject
from gigachat_server.work.tasks import observed

ANONYMOUS, USERS = "anonymous", "users"  # kinds of budgets, as a chatbot's `limits` name them

_DAY_S = 86_400

BudgetLimits = Mapping[str, BudgetConfig]  # by kind
_Day = tuple[int, str]  # and kind


class Charge:
    """What one prompt was charged, until it is settled."""

    def __init__(
        self, change: Callable[[_Changes], None], wanted: _Wanted, day: int, standings: tuple[Standing, ...] = ()
    ) -> None:
        self.standings = standings
        self._change = change
        self._wanted = wanted
        self._day = day
        self._is_settled = False

    def settle(self, *, turns: int = 1, tokens: int | None) -> None:
        """Give back what was not used of budgets, or charge what was used besides; `tokens` None: all may have been.

        Only the first time counts.
        """
        self._settle(Spending(turns - 1, 0 if tokens is None else tokens - self._wanted.tokens), {})

    def give_back(self) -> None:
        """All of it: nothing came of the prompt."""
        self._settle(Spending(-1, -self._wanted.tokens), {rate.key: -rate.step_us for rate in self._wanted.rates})

    def _settle(self, spending: Spending, steps: Mapping[Subject, int]) -> None:
        if self._is_settled:
            return
        self._is_settled = True
        used = {(self._day, kind): spending for kind in self._wanted.budgets} if spending != Spending() else {}
        if used or steps:
            self._change(_Changes({**used}, {**steps}))


class _Wanted(msgspec.Struct, frozen=True):
    """A charge that waits for its transaction."""

    rates: Sequence[Rate]
    budgets: BudgetLimits
    tokens: int
    outcome: asyncio.Future[_Granted | RateLimited]


class _Granted(msgspec.Struct, frozen=True):
    day: int
    standings: tuple[Standing, ...]


class _Changes(msgspec.Struct):
    """What is given back, or charged besides."""

    used: dict[_Day, Spending] = {}
    steps: dict[Subject, int] = {}

    def add(self, other: _Changes) -> None:
        for day, more in other.used.items():
            before = self.used.get(day, Spending())
            self.used[day] = Spending(before.turns + more.turns, before.tokens + more.tokens)
        for subject, step in other.steps.items():
            self.steps[subject] = self.steps.get(subject, 0) + step

    def __bool__(self) -> bool:
        return bool(self.used or self.steps)


class _Book:
    """All that one transaction reads and writes of a chatbot's limits."""

    def __init__(self, full_at: dict[Subject, int], day: int, spent: dict[str, Spending], changes: _Changes, now_us: int) -> None:
        # What was forgotten since is whole: nothing can be given back to it.
        self.full_at = {subject: at + changes.steps.get(subject, 0) if at > 0 else at for subject, at in full_at.items()}
        self.used = dict(changes.used)
        self._day = day
        self._spent = {kind: _plus(before, changes.used.get((day, kind), Spending())) for kind, before in spent.items()}
        self._now_us = now_us

    def charge(self, wanted: _Wanted) -> _Granted | RateLimited:
        moved = {rate.key: rate.used_once(self.full_at[rate.key], now_us=self._now_us) for rate in wanted.rates}
        if None in moved.values():
            violated = [rate.policy for rate in wanted.rates if moved[rate.key] is None]
            return rate_limited(violated, self._standings(wanted))
        if (refusal := self._overspent(wanted)) is not None:
            return refusal
        self.full_at |= {subject: at for subject, at in moved.items() if at is not None}
        spending = Spending(1, wanted.tokens)
        for kind in wanted.budgets:
            self._spent[kind] = _plus(self._spent[kind], spending)
            before = self.used.get((self._day, kind), Spending())
            self.used[self._day, kind] = Spending(before.turns + 1, before.tokens + wanted.tokens)
        return _Granted(self._day, self._standings(wanted))

    def _standings(self, wanted: _Wanted) -> tuple[Standing, ...]:
        return tuple([Standing.of(rate, self.full_at[rate.key], now_us=self._now_us) for rate in wanted.rates])

    def _overspent(self, wanted: _Wanted) -> RateLimited | None:
        """Which budgets have no room for it."""
        standings = []
        for kind, limit in wanted.budgets.items():
            spent = self._spent[kind]
            for name, most, before, more in (
                (kind, limit.turns, spent.turns, 1),
                (f"{kind}-tokens", limit.tokens, spent.tokens, wanted.tokens),
            ):
                if most is not None and before + more > most:
                    tomorrow_s = seconds(DAY_US - self._now_us % DAY_US)
                    standings.append(Standing(name, most, _DAY_S, max(0, most - before), tomorrow_s, tomorrow_s))
        return rate_limited([each.policy for each in standings], standings, BudgetSpent) if standings else None


class _Queue:
    """The charges of one chatbot that wait for a transaction, and the one that is on its way."""

    def __init__(self, database: Database, clock: Clock, chatbot_id: str) -> None:
        self._database = database
        self._clock = clock
        self._chatbot_id = chatbot_id
        self._wanted: list[_Wanted] = []
        self._changes = _Changes()
        self.emptying: asyncio.Task[None] | None = None

    @property
    def is_idle(self) -> bool:
        return self.emptying is None and not self._wanted and not self._changes

    def ask(self, wanted: _Wanted) -> None:
        """Have it charged or refused with the next transaction."""
        self._wanted.append(wanted)
        self.empty()

    def change(self, changes: _Changes) -> None:
        self._changes.add(changes)
        self.empty()

    def empty(self) -> None:
        """Have all that waits stored, now or after what is on its way."""
        if self.emptying is None:
            self.emptying = observed(self._empty(), name="limits")

    async def _empty(self) -> None:
        try:
            while self._wanted or self._changes:
                wanted, self._wanted = self._wanted, []
                changes, self._changes = self._changes, _Changes()
                try:
                    outcomes = await self._store(wanted, changes)
                except GigachatError as error:
                    self._changes.add(changes)
                    _fail(wanted, error)
                    if not self._wanted:
                        return  # the next who comes, or the upkeep, tries again
                except BaseException:
                    _fail(wanted, GigachatError())
                    raise
                else:
                    for each, outcome in zip(wanted, outcomes, strict=True):
                        if not each.outcome.done():
                            each.outcome.set_result(outcome)
        finally:
            self.emptying = None

    async def _store(self, wanted: Sequence[_Wanted], changes: _Changes) -> list[_Granted | RateLimited]:
        subjects = {rate.key for each in wanted for rate in each.rates} | changes.steps.keys()
        kinds = {kind for each in wanted for kind in each.budgets}

        async def body(tx: Tx) -> list[_Granted | RateLimited]:
            now_us = self._clock()
            day = now_us // DAY_US
            full_at = await rates.lock(tx, self._chatbot_id, [*subjects]) if subjects else {}
            spent = await budgets.lock(tx, self._chatbot_id, day, sorted(kinds)) if kinds else {}
            book = _Book(full_at, day, spent, changes, now_us)
            outcomes = [book.charge(each) for each in wanted]
            if moved := {subject: at for subject, at in book.full_at.items() if at != full_at[subject]}:
                await rates.put(tx, self._chatbot_id, moved)
            if unused := [subject for subject, at in full_at.items() if at == rates.NEVER_USED and subject not in moved]:
                await rates.delete(tx, self._chatbot_id, unused)  # refused for another limit
            await budgets.add(tx, self._chatbot_id, book.used)
            return outcomes

        return await self._database.transaction("limits.charge", body, may_be_lost=True)


class Till:
    """Charges the prompts of all chatbots."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._queues: dict[str, _Queue] = {}

    async def charge(self, chatbot_id: str, wanted_rates: Sequence[Rate], wanted_budgets: BudgetLimits, tokens: int) -> Charge:
        """Use each rate once, and a turn of so many tokens of each budget; or nothing.

        Raises `RateLimited`, `BudgetSpent`, `StorageUnavailable`.
        """
        wanted = _Wanted(wanted_rates, wanted_budgets, tokens, asyncio.get_running_loop().create_future())
        self._queue_of(chatbot_id).ask(wanted)
        try:
            outcome = await asyncio.shield(wanted.outcome)
        except asyncio.CancelledError:
            wanted.outcome.add_done_callback(functools.partial(self._return, chatbot_id, wanted))
            raise
        if isinstance(outcome, RateLimited):
            raise outcome
        return Charge(functools.partial(self._change, chatbot_id), wanted, outcome.day, outcome.standings)

    def _return(self, chatbot_id: str, wanted: _Wanted, asked: asyncio.Future[_Granted | RateLimited]) -> None:
        """Its caller went away before it was charged."""
        if not asked.cancelled() and asked.exception() is None and isinstance(granted := asked.result(), _Granted):
            Charge(functools.partial(self._change, chatbot_id), wanted, granted.day).give_back()

    async def spent_today(self, chatbot_id: str) -> dict[str, Spending]:
        """Of each kind of budget; what running turns have reserved counts."""
        day = self._clock() // DAY_US

        async def read(reader: Reader) -> dict[str, Spending]:
            return await budgets.list_of_day(reader, chatbot_id, day)

        found = await self._database.read(read)
        return {kind: found.get(kind, Spending()) for kind in (ANONYMOUS, USERS)}

    def flush(self) -> None:
        """Try again to store what was given back and could not be stored."""
        for queue in self._queues.values():
            if not queue.is_idle:
                queue.empty()

    async def settle(self) -> None:
        """Wait until all that was given back is stored, as far as that is possible now; for when no more prompts come."""
        self.flush()
        while emptying := [queue.emptying for queue in self._queues.values() if queue.emptying is not None]:
            await asyncio.wait(emptying)

    def _change(self, chatbot_id: str, changes: _Changes) -> None:
        self._queue_of(chatbot_id).change(changes)

    def _queue_of(self, chatbot_id: str) -> _Queue:
        queue = self._queues.get(chatbot_id)
        if queue is None:
            self._queues = {known: each for known, each in self._queues.items() if not each.is_idle}
            queue = self._queues[chatbot_id] = _Queue(self._database, self._clock, chatbot_id)
        return queue


def _plus(one: Spending, other: Spending) -> Spending:
    return Spending(max(0, one.turns + other.turns), max(0, one.tokens + other.tokens))


def _fail(wanted: Sequence[_Wanted], error: GigachatError) -> None:
    for each in wanted:
        if not each.outcome.done():
            each.outcome.set_exception(error.again())
            each.outcome.exception()  # mark it as retrieved: its caller may be gone
