"""One loop, and rows that are held by lease, by themselves: as strange as what they call may be."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import Counter
from collections.abc import Collection

import msgspec
import pytest

from gigachat_server.work import tasks
from gigachat_server.work.background import Background
from gigachat_server.work.leased import LOST, MOST_TRIES, PutOff
from gigachat_server.work.pace import Backoff, RealPace
from gigachat_server.work.tasks import observed
from tests.work.manual_time import ManualTime


class Half(RealPace):
    def random(self) -> float:
        return 0.5


def test_pauses_double_up_to_the_longest_and_vary() -> None:
    backoff = Backoff(first_s=1, longest_s=60)
    assert [backoff.after(failures, ManualTime()) for failures in (1, 2, 3, 6, 7, 8, 1000)] == [1, 2, 4, 32, 60, 60, 60]
    assert [backoff.after(failures, Half()) for failures in (1, 2, 7)] == [0.75, 1.5, 45]


async def test_a_loop_that_swallows_its_cancellation_is_closed_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "_CANCEL_AGAIN_S", 0.01)
    begun, cancelled = asyncio.Event(), 0

    async def stubborn() -> None:
        nonlocal cancelled
        begun.set()
        for _ in range(2):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled += 1

    loop = Background().loop("stubborn", stubborn, every_s=0)
    loop.start()
    await begun.wait()
    await loop.aclose()
    assert (loop.is_running, cancelled) == (False, 2)


async def test_closing_a_loop_that_never_began_keeps_it_from_beginning() -> None:
    async def never() -> None:
        raise AssertionError

    loop = Background().loop("never", never, every_s=0)
    await loop.aclose()
    loop.start()
    assert not loop.is_running


async def test_a_dormant_loop_begins_when_it_is_woken() -> None:
    passed = asyncio.Event()

    async def work() -> None:
        passed.set()

    time = ManualTime()
    loop = Background(time.clock, time).loop("dormant", work, every_s=1)
    loop.start(is_dormant=True)
    for _ in range(5):
        await asyncio.sleep(0)
    assert not passed.is_set()
    loop.wake_up()
    await passed.wait()
    await loop.aclose()


async def test_a_task_that_nobody_awaits_says_how_it_ended(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise ValueError("a bug")

    task = observed(fail(), name="the odd job")
    await asyncio.wait({task})
    await asyncio.sleep(0)
    assert "the odd job has ended" in caplog.text and "a bug" in caplog.text


async def test_a_loop_that_fails_on_and_on_is_logged_ever_more_rarely(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    time, is_broken = ManualTime(), True

    async def work() -> None:
        if is_broken:
            raise ValueError("a bug")

    time.background = Background(time.clock, time)
    loop = time.background.loop("broken", work, every_s=1)
    loop.start()
    await time.advance(900)
    assert 15 <= loop.failures <= 25
    assert len(caplog.records) == 5, "the first, the second, the 4th, the 8th, the 16th"
    is_broken = False
    await time.advance(60)
    assert caplog.records[-1].getMessage() == "broken works again"
    await loop.aclose()


# --- rows ---


class _Row(msgspec.Struct):
    lease: str | None = None
    until_us: int = 0
    tries: int = 0
    is_waiting: bool = True
    parked: str | None = None
    reason: str | None = None


class Rows:
    """A queue in memory. `fails` says what working on a row raises."""

    def __init__(self, time: ManualTime, **rows: list[BaseException]) -> None:
        self.time = time
        self.rows = {name: _Row() for name in rows}
        self.fails = rows
        self.unclaimable: set[str] = set()
        self.claims: list[tuple[str, float]] = []
        self.most_running = 0

    async def find_next(self, running: Collection[str], without: Collection[str]) -> str | None:
        self.most_running = max(self.most_running, len(running))
        now_us = self.time.clock()
        return next((n for n, row in self.rows.items() if row.is_waiting and row.until_us <= now_us and n not in without), None)

    async def claim(self, entry: str, lease: str, *, now_us: int, until_us: int) -> int | None:
        self.claims.append((entry, self.time.now_s))
        if entry in self.unclaimable:
            raise ValueError("it cannot even be claimed")
        row = self.rows[entry]
        row.lease, row.until_us, row.tries = lease, until_us, row.tries + 1
        return row.tries

    async def renew(self, entry: str, lease: str, *, until_us: int) -> None:
        if self.rows[entry].lease == lease:
            self.rows[entry].until_us = until_us

    async def work_off(self, entry: str, lease: str) -> None:
        if self.fails[entry]:
            raise self.fails[entry].pop(0)
        self.rows[entry].is_waiting = False

    async def release(self, entry: str, lease: str, *, at_us: int, reason: str | None, is_counted: bool) -> None:
        row = self.rows[entry]
        row.lease, row.until_us, row.reason, row.tries = None, at_us, reason, row.tries - (not is_counted)

    async def park(self, entry: str, lease: str, *, tries: int, now_us: int, reason: str) -> bool:
        row = self.rows[entry]
        if row.tries < tries:
            return False
        row.is_waiting, row.parked = False, reason
        return True


def working(queue: Rows, time: ManualTime, *, at_once: int = 2) -> Background:
    time.background = Background(time.clock, time)
    time.background.leased("rows", queue, at_once=at_once, every_s=1).start()
    return time.background


async def closed(background: Background) -> None:
    for worker in background.workers:
        await worker.aclose()


async def test_a_row_that_fails_is_tried_after_ever_longer_pauses_and_then_parked() -> None:
    time = ManualTime()
    queue = Rows(time, bad=[ValueError("a bug")] * 100, good=[], slow=[PutOff(30, "not yet")] * 3)
    background = working(queue, time)
    await time.advance(1000)
    assert [at for name, at in queue.claims if name == "bad"] == [0, 1, 3, 7, 15, 31, 63, 127]
    assert queue.rows["bad"].parked == "ValueError: a bug"
    assert [at for name, at in queue.claims if name == "good"] == [0]
    slow = [at for name, at in queue.claims if name == "slow"]
    assert len(slow) == 4 and all(24 <= later - at <= 37 for at, later in itertools.pairwise(slow))
    assert (queue.rows["slow"].tries, queue.rows["slow"].reason) == (1, "not yet")
    assert queue.most_running <= 2
    await closed(background)


async def test_a_row_that_makes_progress_is_not_parked() -> None:
    time = ManualTime()
    queue = Rows(time, row=[])

    async def progress(entry: str, lease: str) -> None:
        queue.rows[entry].tries = 0
        raise ValueError("a bug")

    queue.work_off = progress  # type: ignore[method-assign]
    background = working(queue, time)
    await time.advance(100)
    assert (queue.rows["row"].parked, len(queue.claims) > MOST_TRIES) == (None, True)
    await closed(background)


async def test_a_row_that_cannot_be_claimed_keeps_no_other_waiting_and_does_not_spin() -> None:
    time = ManualTime()
    queue = Rows(time, **{f"bad {number}": [] for number in range(5)}, good=[], more=[])
    queue.unclaimable = {f"bad {number}" for number in range(5)}
    background = working(queue, time)
    await time.advance(60)
    assert not queue.rows["good"].is_waiting and not queue.rows["more"].is_waiting
    assert max(Counter(name for name, _ in queue.claims).values()) <= 8
    queue.unclaimable = set()
    await time.advance(120)
    assert [name for name, row in queue.rows.items() if row.is_waiting] == []
    await closed(background)


async def test_a_row_whose_worker_died_each_time_is_parked_before_it_is_worked_on() -> None:
    time = ManualTime()
    queue = Rows(time, killer=[AssertionError("worked on")])
    queue.rows["killer"].tries = MOST_TRIES
    background = working(queue, time)
    await time.advance(100)
    assert (queue.rows["killer"].parked, len(queue.claims)) == (LOST, 1)
    await closed(background)


async def test_what_it_waits_for_being_cancelled_is_a_failure_like_any_other() -> None:
    time = ManualTime()
    queue = Rows(time, row=[asyncio.CancelledError()])
    background = working(queue, time)
    await time.advance(5)
    assert (queue.rows["row"].is_waiting, [at for _, at in queue.claims]) == (False, [0, 1])
    await closed(background)


@pytest.mark.parametrize("method", ["find_next", "claim", "work_off"])
async def test_closing_at_any_point_gives_the_row_back(method: str) -> None:
    time = ManualTime()
    queue = Rows(time, row=[])
    reached, work = asyncio.Event(), getattr(queue, method)

    async def slow(*arguments: object, **named: object) -> object:
        done = None if method == "work_off" else await work(*arguments, **named)
        reached.set()
        await asyncio.Event().wait()
        return done

    setattr(queue, method, slow)
    background = working(queue, time)
    await reached.wait()
    await closed(background)
    row = queue.rows["row"]
    assert (row.is_waiting, row.lease, row.tries, row.until_us <= time.clock()) == (True, None, 0, True)
    assert [loop.name for loop in background.loops if loop.is_running] == []


async def test_a_worker_that_drains_takes_nothing_more_but_ends_what_it_has() -> None:
    time = ManualTime()
    queue = Rows(time, first=[], second=[])
    reached, gate, work = asyncio.Event(), asyncio.Event(), queue.work_off

    async def slow(entry: str, lease: str) -> None:
        reached.set()
        await gate.wait()
        await work(entry, lease)

    queue.work_off = slow  # type: ignore[method-assign]
    background = working(queue, time, at_once=1)
    await reached.wait()
    background.workers[0].drain()
    gate.set()
    await time.advance(10)
    assert {name: row.is_waiting for name, row in queue.rows.items()} == {"first": False, "second": True}
    await closed(background)
