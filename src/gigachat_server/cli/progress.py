"""Progress of a long command: a bar on a terminal, a line for each tenth in a log; and many calls at once."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, Protocol, TypeVar

T = TypeVar("T")

# What is counted: things, each for itself, rows by the thousand, bytes, or hundredths of the whole.
Unit = Literal["", "rows", "bytes", "percent"]


class ProgressLine(Protocol):
    """How far something is, as it is being shown."""

    def begin(self, label: str) -> None:
        """From now on it is about that."""

    def advance(self, amount: int = 1) -> None: ...

    def reach(self, done: int, total: int) -> None:
        """So much is done, of what may have become more or less than it was."""


async def for_each(items: Sequence[T], work: Callable[[T], Awaitable[None]], *, at_once: int, label: str) -> None:
    """Do the work for every item, some at a time. The first error ends it, and is raised as it is."""
    waiting = iter(items)
    with shown(label, len(items)) as progress:
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(at_once, len(items))):
                    group.create_task(_work_off(waiting, work, progress.advance))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None


async def _work_off(waiting: Iterator[T], work: Callable[[T], Awaitable[None]], advance: Callable[[], None]) -> None:
    for item in waiting:
        await work(item)
        advance()


async def for_each_staged(
    items: Sequence[T],
    work: Callable[[T, Callable[[int], None]], Awaitable[None]],
    *,
    at_once: int,
    stages: Sequence[str],
) -> None:
    """The same for work in stages, each with its own bar: `work` reports how many stages it has completed."""
    with _staged(stages, len(items)) as bars:

        async def one(item: T) -> None:
            reached = 0

            def reach(count: int) -> None:
                nonlocal reached
                while reached < count:
                    bars[reached].advance()
                    reached += 1

            await work(item, reach)
            reach(len(stages))

        waiting = iter(items)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(at_once, len(items))):
                    group.create_task(_work_off(waiting, one, lambda: None))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None


@contextmanager
def _staged(stages: Sequence[str], total: int) -> Iterator[Sequence[ProgressLine]]:
    """In a log, the last stage alone is told of."""
    if not sys.stderr.isatty():
        yield [_Nothing() for _ in stages[1:]] + [_Lines(stages[-1], total, "")]
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), *_columns(""), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield [_Bar(progress, progress.add_task(stage, total=total)) for stage in stages]


@contextmanager
def shown(label: str, total: int, *, unit: Unit = "", is_quiet: bool = False) -> Iterator[ProgressLine]:
    if is_quiet:
        yield _Nothing()
        return
    if not sys.stderr.isatty():
        yield _Lines(label, total, unit)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), *_columns(unit), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield _Bar(progress, progress.add_task(label, total=total))


def _columns(unit: Unit) -> tuple[Any, ...]:
    from rich.progress import DownloadColumn, MofNCompleteColumn, ProgressColumn, Task, TaskProgressColumn, TransferSpeedColumn
    from rich.text import Text

    class RowsPerSecond(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.finished_speed or task.speed or 0:,.0f} rows/s")

    if unit == "bytes":
        return (DownloadColumn(), TransferSpeedColumn())
    if unit == "percent":
        return (TaskProgressColumn(),)
    return (MofNCompleteColumn(), RowsPerSecond()) if unit == "rows" else (MofNCompleteColumn(),)


class _Nothing:
    def begin(self, label: str) -> None:
        pass

    def advance(self, amount: int = 1) -> None:
        pass

    def reach(self, done: int, total: int) -> None:
        pass


class _Bar:
    def __init__(self, progress: Any, task: Any) -> None:
        self._progress = progress
        self._task = task

    def begin(self, label: str) -> None:
        self._progress.update(self._task, description=label)

    def advance(self, amount: int = 1) -> None:
        self._progress.advance(self._task, amount)

    def reach(self, done: int, total: int) -> None:
        self._progress.update(self._task, completed=done, total=total)


class _Lines:
    def __init__(self, label: str, total: int, unit: Unit) -> None:
        self._label = label
        self._total = total
        self._done = 0
        self._unit = unit
        self._began = time.monotonic()

    def begin(self, label: str) -> None:
        self._label = label

    def advance(self, amount: int = 1) -> None:
        self.reach(self._done + amount, self._total)

    def reach(self, done: int, total: int) -> None:
        before, self._done, self._total = self._done, done, max(total, 1)
        if done * 10 // self._total > before * 10 // self._total:
            seconds = time.monotonic() - self._began
            print(f"{self._label}: {self._amount(done)} of {self._amount(total)}, {seconds:.0f} s", file=sys.stderr, flush=True)

    def _amount(self, number: int) -> str:
        if self._unit == "bytes":
            return f"{number / 1e6:.1f} MB"
        if self._unit == "percent":
            return f"{number} %"
        return f"{number:,} rows" if self._unit == "rows" else str(number)
