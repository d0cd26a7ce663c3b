"""One pass of background work, again and again: the only way in which gigachat repeats anything by itself.

Invariants: whatever a pass raises, the next one comes. A pass that fails is logged and followed by a pause that doubles with
each failure in a row and that no wake-up shortens, so no failure makes a loop spin. Closing ends it at any point.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from gigachat_server.errors import StorageUnavailable
from gigachat_server.work.pace import Backoff, Pace
from gigachat_server.work.tasks import cancel_all, is_being_cancelled, observed

_log = logging.getLogger("gigachat.work")


class Loop:
    """Calls `body`, waits until it is woken or `every_s` have passed, and calls it again. `Background.loop` makes them."""

    def __init__(
        self,
        name: str,
        body: Callable[[], Awaitable[object]],
        *,
        every_s: float,
        pace: Pace,
        backoff: Backoff,
        wake: asyncio.Event,
        rests_first: bool,
    ) -> None:
        self.name = name
        self.body = body
        self.failures = 0  # in a row
        self._every_s = every_s
        self._pace = pace
        self._backoff = backoff
        self._wake = wake
        self._rests_first = rests_first
        self._is_closed = False
        self._task: asyncio.Task[None] | None = None

    @property
    def is_running(self) -> bool:
        return self._task is not None and not self._task.done()

    def start(self, *, is_dormant: bool = False) -> None:
        """`is_dormant`: nothing happens before the first wake-up."""
        if self._task is None and not self._is_closed:
            self._task = observed(self._run(is_dormant=is_dormant), name=self.name)

    def wake_up(self) -> None:
        """There may be something to do."""
        self._wake.set()

    async def aclose(self) -> None:
        """It has ended on return, for good."""
        self._is_closed = True
        if self._task is not None:
            await cancel_all([self._task])

    async def _run(self, *, is_dormant: bool) -> None:
        if is_dormant:
            await self._wake.wait()
        elif self._rests_first:
            await self._pace.rest(self._every_s, self._wake)
        while not self._is_closed:
            self._wake.clear()
            failure = await self._pass()
            if failure is None:
                self._note_success()
                await self._pace.rest(self._every_s, self._wake)
            else:
                self.failures += 1
                wait_s = self._backoff.after(self.failures, self._pace)
                self._note_failure(failure, wait_s)
                await self._pace.rest(wait_s)

    async def _pass(self) -> BaseException | None:
        """What the pass failed with, if it did."""
        try:
            await self.body()
        except asyncio.CancelledError as error:
            if is_being_cancelled():
                raise
            return error
        except Exception as error:  # noqa: BLE001 - the one loop of all background work: no failure may end it
            return error
        return None

    def _note_success(self) -> None:
        if self.failures:
            _log.info("%s works again", self.name)
        self.failures = 0

    def _note_failure(self, error: BaseException, wait_s: float) -> None:
        """Log it after the first, second, fourth, eighth failure in a row, and so on."""
        if self.failures & (self.failures - 1):
            return
        # Of its own failures the store has told already.
        trace = None if isinstance(error, StorageUnavailable) else error
        _log.log(
            logging.WARNING if trace is None else logging.ERROR,
            "%s failed (%d in a row) and goes on in %.1f s: %s",
            self.name, self.failures, wait_s, error or type(error).__name__, exc_info=trace,
        )  # fmt: skip
