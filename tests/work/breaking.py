"""Fails a piece of work at any place where it waits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import Any


class Breaking:
    """Called, it does the work, but throws the error into it where it waits for the `at`-th time; at 0 it does not even begin.

    It fails once: later calls do the work as it is.
    """

    def __init__(self, work: Callable[..., Awaitable[Any]], *, at: int, error: BaseException) -> None:
        self._work = work
        self._at = at
        self._error = error
        self.calls = 0
        self.has_broken = False

    async def __call__(self, *arguments: Any, **named: Any) -> Any:
        self.calls += 1
        if self.calls > 1:
            return await self._work(*arguments, **named)
        if self._at == 0:
            self.has_broken = True
            raise self._error
        return await _Steps(self, self._work(*arguments, **named), self._at, self._error)


class _Steps:
    def __init__(self, breaking: Breaking, work: Awaitable[Any], at: int, error: BaseException) -> None:
        self._breaking = breaking
        self._work = work
        self._at = at
        self._error = error

    def __await__(self) -> Generator[Any, Any, Any]:
        steps: Any = self._work.__await__()
        waits = 0
        try:
            waited_for = next(steps)
            while True:
                waits += 1
                if waits == self._at:
                    self._breaking.has_broken = True
                    waited_for = steps.throw(self._error)
                    continue
                try:
                    sent = yield waited_for
                except BaseException as error:  # noqa: BLE001 - whatever the task throws in belongs to the work
                    waited_for = steps.throw(error)
                else:
                    waited_for = steps.send(sent)
        except StopIteration as ended:
            return ended.value
