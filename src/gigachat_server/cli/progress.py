"""Many calls at once, and how far they are: a bar on a terminal, a line for each tenth in a log."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


async def for_each(items: Sequence[T], work: Callable[[T], Awaitable[None]], *, at_once: int, label: str) -> None:
    """Do the work for every item, some at a time. The first error ends it, and is raised as it is."""
    waiting = iter(items)
    with _shown(label, len(items)) as advance:
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(at_once, len(items))):
                    group.create_task(_work_off(waiting, work, advance))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None


async def _work_off(waiting: Iterator[T], work: Callable[[T], Awaitable[None]], advance: Callable[[], None]) -> None:
    for item in waiting:
        await work(item)
        advance()


@contextmanager
def _shown(label: str, total: int) -> Iterator[Callable[[], None]]:
    if not sys.stderr.isatty():
        yield _lines(label, total)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(label, total=total)
        yield lambda: progress.advance(task)


def _lines(label: str, total: int) -> Callable[[], None]:
    started, done = time.monotonic(), 0

    def advance() -> None:
        nonlocal done
        done += 1
        if done * 10 // total > (done - 1) * 10 // total:
            print(f"{label}: {done} of {total}, {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)

    return advance
