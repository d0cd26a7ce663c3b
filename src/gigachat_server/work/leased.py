"""Work that waits in rows: claimed by lease, tried again after failures, parked when it fails for good.

Idea: a row is the queue's entry, and everything about its next try is in the row: who holds it until when, how often it was
tried, when it may be tried again. A `Queue` says how one kind of row is found, claimed and worked on; the policy is here.

Invariants: a row is worked on by one worker at a time, and one that dies loses its lease within `LEASE_S`. A try counts from
its claim, in the claim's transaction, so a row that kills its process is counted as well. A row that fails `MOST_TRIES` times is
parked with its reason; none is tried again before its pause is over. What is not the row's fault (`PutOff`, a store that is
away, a worker that closes) gives the try back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from gigachat_server.clock import Clock
from gigachat_server.errors import StorageUnavailable
from gigachat_server.ids import random_text
from gigachat_server.work.loop import Loop
from gigachat_server.work.pace import Backoff, Pace
from gigachat_server.work.tasks import cancel_all, is_being_cancelled, observed

LEASE_S = 30
RENEW_EVERY_S = 10.0
MOST_TRIES = 8
TRIES = Backoff(first_s=1.0, longest_s=600.0)  # between the tries of one row
STORE_AWAY_S = 5.0
LOST = "the process ended while it worked on this, each time"  # why a row is parked that no try gave back
_RENEWING = Backoff(first_s=0.5, longest_s=4.0)  # several times before the lease runs out
_UNCLAIMABLE = Backoff(first_s=10.0, longest_s=600.0)
_MOST_UNCLAIMABLE = 3  # in one look: more means that the store is away
_LONGEST_REASON = 500  # characters

_log = logging.getLogger("gigachat.work")

K = TypeVar("K")


class PutOff(Exception):
    """It is tried again after so many seconds, and this try does not count: something else has to change first.

    `reason` is for those who wait for the row.
    """

    def __init__(self, after_s: float, reason: str | None = None) -> None:
        super().__init__(reason or f"put off for {after_s:.0f} s")
        self.after_s = after_s
        self.reason = reason


class Queue(Protocol[K]):
    """One kind of rows. Each method is one short transaction, but for `work_off`; all but `work_off` decode nothing."""

    async def find_next(self, running: Collection[K], without: Collection[K]) -> K | None:
        """The row to take next; never one of `without`, which all that are `running` belong to."""

    async def claim(self, entry: K, lease: str, *, now_us: int, until_us: int) -> int | None:
        """Hold it under this lease, and count the try: the number of this one. None if another worker was faster."""

    async def renew(self, entry: K, lease: str, *, until_us: int) -> None: ...

    async def work_off(self, entry: K, lease: str) -> None:
        """Do what the row asks for, and store that it is done. Raises `PutOff`."""

    async def release(self, entry: K, lease: str, *, at_us: int, reason: str | None, is_counted: bool) -> None:
        """It may be claimed again from then on, if it is still held under this lease."""

    async def park(self, entry: K, lease: str, *, tries: int, now_us: int, reason: str) -> bool:
        """Give it up until something changes. False if it is not held under this lease, or has made progress since the claim."""


class _Job(msgspec.Struct, frozen=True):
    lease: str
    task: asyncio.Task[None]


class _Rest(msgspec.Struct, frozen=True):
    """Of a row that could not even be claimed."""

    failures: int
    until_us: int


class Leased(Generic[K]):
    """Works on the rows of a queue, some at a time. `Background.leased` makes them."""

    def __init__(
        self,
        name: str,
        queue: Queue[K],
        *,
        at_once: int,
        every_s: float,
        wake: asyncio.Event | None,
        make_loop: Callable[..., Loop],
        clock: Clock,
        pace: Pace,
    ) -> None:
        self.name = name
        self.queue = queue
        self._at_once = at_once
        self._clock = clock
        self._pace = pace
        self._running: dict[K, _Job] = {}
        self._resting: dict[K, _Rest] = {}
        self._takes_more = True
        self._looking = make_loop(name, self._look, every_s=every_s, wake=wake)
        self._renewing = make_loop(f"{name}-leases", self._renew, every_s=RENEW_EVERY_S, backoff=_RENEWING)

    @property
    def running(self) -> Collection[K]:
        """What is being worked on."""
        return self._running.keys()

    def start(self, *, is_dormant: bool = False) -> None:
        """`is_dormant`: nothing is claimed before the first wake-up."""
        self._looking.start(is_dormant=is_dormant)
        self._renewing.start()

    def wake_up(self) -> None:
        """There may be something to do."""
        self._looking.wake_up()

    def drain(self) -> None:
        """Take nothing more; what is being worked on may end until this is closed."""
        self._takes_more = False

    async def aclose(self) -> None:
        """What is still being worked on waits again, for another worker."""
        self.drain()
        await self._looking.aclose()
        await cancel_all([job.task for job in self._running.values()])
        await self._renewing.aclose()

    async def _look(self) -> None:
        """Start as many as fit; each that ends wakes the loop up."""
        passed: set[K] = set()
        failures: list[Exception] = []
        while self._takes_more and len(self._running) < self._at_once and len(failures) < _MOST_UNCLAIMABLE:
            entry = await self.queue.find_next(self._running.keys(), {*passed, *self._running, *self._tired()})
            if entry is None:
                break
            passed.add(entry)  # whatever becomes of it, it is taken once in this look
            try:
                await self._take(entry)
            except Exception as error:  # noqa: BLE001 - a row that cannot be claimed must not keep the others waiting
                self._let_rest(entry)
                failures.append(error)
        if failures:
            raise failures[0]

    async def _take(self, entry: K) -> None:
        lease, now_us = random_text(8), self._clock()
        try:
            tries = await self.queue.claim(entry, lease, now_us=now_us, until_us=self._after(LEASE_S))
        except asyncio.CancelledError:
            await self._give_back(entry, lease)  # the claim may have been stored all the same
            raise
        self._resting.pop(entry, None)
        if tries is None:
            return
        if tries > MOST_TRIES:
            _log.error("%s: %s is parked: %s", self.name, entry, LOST)
            await self.queue.park(entry, lease, tries=tries, now_us=now_us, reason=LOST)
            return
        task = observed(self._work_off(entry, lease, tries), name=f"{self.name} {entry}")
        self._running[entry] = _Job(lease, task)
        task.add_done_callback(lambda _: self._ended(entry))

    def _tired(self) -> list[K]:
        return [entry for entry, rest in self._resting.items() if rest.until_us > self._clock()]

    def _let_rest(self, entry: K) -> None:
        """Go past it for longer than the loop backs off, or it would be the first one again."""
        rest = self._resting.get(entry)
        failures = 1 + (rest.failures if rest is not None else 0)
        forgotten_us = self._after(-2 * _UNCLAIMABLE.longest_s)
        self._resting = {each: rest for each, rest in self._resting.items() if rest.until_us > forgotten_us}
        self._resting[entry] = _Rest(failures, self._after(_UNCLAIMABLE.after(failures, self._pace)))

    def _ended(self, entry: K) -> None:
        del self._running[entry]
        self._looking.wake_up()

    async def _work_off(self, entry: K, lease: str, tries: int) -> None:
        try:
            await self.queue.work_off(entry, lease)
        except asyncio.CancelledError as error:
            if is_being_cancelled():
                await self._give_back(entry, lease)
                raise
            await self._note_failure(entry, lease, tries, error)
        except PutOff as error:
            _log.warning("%s: %s has to wait: %s", self.name, entry, error)
            await self._give_back(entry, lease, after_s=error.after_s, reason=error.reason)
        except StorageUnavailable as error:
            _log.warning("%s: %s has to wait: %s", self.name, entry, error)
            await self._give_back(entry, lease, after_s=STORE_AWAY_S)
        except Exception as error:  # noqa: BLE001 - the edge of a job: a row that fails must not stop the others
            await self._note_failure(entry, lease, tries, error)

    async def _note_failure(self, entry: K, lease: str, tries: int, error: BaseException) -> None:
        """Try it again after a pause, unless that was the last time."""
        if tries >= MOST_TRIES:
            reason = f"{type(error).__name__}: {error}"[:_LONGEST_REASON]
            _log.error("%s: %s failed %d times", self.name, entry, tries, exc_info=error)
            parking = self.queue.park(entry, lease, tries=tries, now_us=self._clock(), reason=reason)
            if await self._settled(entry, parking) is not False:
                return
            tries = 1  # it has made progress since it was claimed
        wait_s = TRIES.after(tries, self._pace)
        _log.error("%s: %s failed (try %d) and waits %.1f s", self.name, entry, tries, wait_s, exc_info=error)
        at_us = self._after(wait_s)
        await self._settled(entry, self.queue.release(entry, lease, at_us=at_us, reason=None, is_counted=True))

    async def _give_back(self, entry: K, lease: str, *, after_s: float = 0.0, reason: str | None = None) -> None:
        wait_s = after_s * (0.8 + 0.4 * self._pace.random())
        at_us = self._after(wait_s)
        await self._settled(entry, self.queue.release(entry, lease, at_us=at_us, reason=reason, is_counted=False))

    async def _settled(self, entry: K, writing: Coroutine[Any, Any, Any]) -> Any:
        """What it returns; None if it could not be stored, and then the lease runs out by itself."""
        try:
            return await writing
        except Exception as error:  # noqa: BLE001 - whatever cannot be stored about a row, its lease ends
            is_known = isinstance(error, StorageUnavailable)
            _log.warning("%s: %s is held until its lease ends: %s", self.name, entry, error, exc_info=None if is_known else error)
            return None

    async def _renew(self) -> None:
        """All of them, whichever fails."""
        until_us = self._after(LEASE_S)
        renewing: list[Awaitable[None]] = [
            self.queue.renew(entry, job.lease, until_us=until_us) for entry, job in self._running.items()
        ]
        for outcome in await asyncio.gather(*renewing, return_exceptions=True):
            if outcome is not None:
                raise outcome

    def _after(self, seconds: float) -> int:
        return self._clock() + int(seconds * 1_000_000)
