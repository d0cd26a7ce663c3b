"""Figures of a chatbot by day (UTC): what came in, what became of it, how long people waited, what it cost.

Idea: a day that is over is counted once, by one worker, and its figures replace whatever stood there in one transaction. What is
not counted yet, today above all, is counted while it is asked for, by the same code. Invariant: so a worker that is killed at any
point counts nothing twice and leaves nothing out, and what is shown of a day does not depend on when it is looked at.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from gigachat_server.access.principal import Principal
from gigachat_server.access.scopes import Scope
from gigachat_server.clock import Clock
from gigachat_server.inbox.counting import DayCount, Figure
from gigachat_server.records import Chatbot, PricesConfig
from gigachat_server.store import chatbots, figures
from gigachat_server.store.database import Database, Reader, Tx
from gigachat_server.store.figures import DAY_US
from gigachat_server.work.background import Background

MOST_DAYS = 400  # that can be asked for at once
_PAGE = 5_000
_COUNT_EVERY_S = 60.0
_AT_ONCE = 1
# A day is counted some time after its end: turns that began before midnight have ended, on whichever node's clock.
_SETTLED_US = 10 * 60 * 1_000_000


class DayFigures(msgspec.Struct, frozen=True):
    """`day` is its number since 1970. What is missing is 0, or was not measured."""

    day: int
    figures: Sequence[Figure]


class Figures:
    """Reads them. Raises `Forbidden` and `NotFound`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def today(self) -> int:
        return self._clock() // DAY_US

    async def list(self, principal: Principal, chatbot: Chatbot, *, from_day: int, to_day: int) -> Sequence[DayFigures]:
        """Each of these days, the last one included; those to come are left out."""
        principal.require(Scope.CONVERSATIONS_READ)
        principal.check_reach(chatbot)
        until_day = min(to_day, self.today()) + 1

        async def read(reader: Reader) -> Sequence[DayFigures]:
            next_day = await figures.find_next_day(reader, chatbot.id)
            counted_until = min(until_day, max(from_day, from_day if next_day is None else next_day))
            found: dict[int, list[Figure]] = {day: [] for day in range(from_day, until_day)}
            for day, name, dimension, value in await figures.list_figures(
                reader, chatbot.id, from_day=from_day, until_day=counted_until
            ):
                found[day].append((name, dimension, value))
            live = await _first_day(reader, chatbot.id, counted_until)
            while live is not None and live < until_day:
                found[live] += await count_day(reader, chatbot.id, live, chatbot.config.prices)
                live = await _first_day(reader, chatbot.id, live + 1)
            return [DayFigures(each, those) for each, those in found.items()]

        return await self._database.read(read)


async def count_day(reader: Reader, chatbot_id: str, day: int, prices: PricesConfig) -> list[Figure]:
    """What the day came to, as the store tells it now."""
    count, after = DayCount(prices), (0, "", 0)
    while True:
        page = await figures.list_happened(
            reader, chatbot_id, from_us=day * DAY_US, until_us=(day + 1) * DAY_US, after=after, limit=_PAGE
        )
        count.add(page)
        if len(page) < _PAGE:
            break
        after = (page[-1].at, page[-1].conversation_id, page[-1].seq)
    rated = sorted(count.rated_messages)
    for start in range(0, len(rated), _PAGE):
        count.add_thumbs(await figures.list_thumbs(reader, chatbot_id, rated[start : start + _PAGE]))
    return count.figures()


async def _first_day(reader: Reader, chatbot_id: str, day: int) -> int | None:
    """The first day on which anything happened, from this one on."""
    first = await figures.find_first_time(reader, chatbot_id, since_us=day * DAY_US)
    return None if first is None else first // DAY_US


class FigureQueue:
    """The chatbots of which whole days are still to be counted."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def _today(self) -> int:
        """The day that is not over yet, or was a moment ago."""
        return (self._clock() - _SETTLED_US) // DAY_US

    async def find_next(self, running: Collection[str], without: Collection[str]) -> str | None:
        async def read(reader: Reader) -> list[str]:
            return await figures.list_due(reader, today=self._today(), now_us=self._clock(), limit=1 + len(without))

        return next((each for each in await self._database.read(read) if each not in without), None)

    async def claim(self, entry: str, lease: str, *, now_us: int, until_us: int) -> int | None:
        today = self._today()

        async def body(tx: Tx) -> int | None:
            first = await _first_day(tx, entry, 0)
            first_day = today if first is None else min(first, today)
            return await figures.claim(tx, entry, first_day=first_day, lease=lease, today=today, now_us=now_us, until_us=until_us)

        return await self._database.transaction("figures.claim", body)

    async def renew(self, entry: str, lease: str, *, until_us: int) -> None:
        async def body(tx: Tx) -> None:
            await figures.renew(tx, entry, lease=lease, until_us=until_us)

        await self._database.transaction("figures.renew", body)

    async def work_off(self, entry: str, lease: str) -> None:
        while await self._count_next(entry, lease):
            pass
        await self.release(entry, lease, at_us=0, reason=None, is_counted=True)

    async def _count_next(self, chatbot_id: str, lease: str) -> bool:
        """Count one day; whether there may be another one. It is read first, and written if it is still to be."""

        async def read(reader: Reader) -> tuple[int, list[Figure], int] | None:
            day, chatbot = await figures.find_held(reader, chatbot_id, lease=lease), None
            if day is not None and day < self._today():
                chatbot = await chatbots.find_of_any_account(reader, chatbot_id)
            if day is None or chatbot is None:
                return None
            following = await _first_day(reader, chatbot_id, day + 1)
            next_day = self._today() if following is None else min(following, self._today())
            return day, await count_day(reader, chatbot_id, day, chatbot.config.prices), next_day

        counted = await self._database.read(read)
        if counted is None:
            return False
        day, those, next_day = counted

        async def body(tx: Tx) -> bool:
            # Its row first: until the transaction ends, no other worker counts a day of this chatbot.
            if not await figures.move_on(tx, chatbot_id, lease=lease, day=day, next_day=next_day):
                return False
            await figures.replace(tx, chatbot_id, day, those)
            return True

        return await self._database.transaction("figures.count", body)

    async def release(self, entry: str, lease: str, *, at_us: int, reason: str | None, is_counted: bool) -> None:
        async def body(tx: Tx) -> None:
            await figures.release(tx, entry, lease=lease, at_us=at_us, is_counted=is_counted)

        await self._database.transaction("figures.release", body)

    async def park(self, entry: str, lease: str, *, tries: int, now_us: int, reason: str) -> bool:
        """It is tried again the next day: until then, its days are counted while they are asked for."""

        async def body(tx: Tx) -> bool:
            return await figures.rest(tx, entry, lease=lease, until_us=now_us + DAY_US)

        return await self._database.transaction("figures.rest", body)


class FiguresWorker:
    """Counts the days that are over, on whichever node is first."""

    def __init__(self, database: Database, clock: Clock, background: Background) -> None:
        self._counting = background.leased("figures", FigureQueue(database, clock), at_once=_AT_ONCE, every_s=_COUNT_EVERY_S)

    def start(self, *, is_dormant: bool = False) -> None:
        """`is_dormant`: this process is no node, and leaves this to the others."""
        if not is_dormant:
            self._counting.start()

    async def aclose(self) -> None:
        await self._counting.aclose()
