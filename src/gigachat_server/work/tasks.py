"""Tasks that run beside everything else: none fails unnoticed, and closing waits until they have ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

T = TypeVar("T")

_CANCEL_AGAIN_S = 5.0

_log = logging.getLogger("gigachat.work")


def observed(work: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
    """A task that logs what it fails with, even if nothing ever awaits it."""
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_log_failure)
    return task


def _log_failure(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("%s has ended", task.get_name(), exc_info=error)


def is_being_cancelled() -> bool:
    """Whether this task itself was told to end. If not, a `CancelledError` comes from what it waits for: an ordinary failure."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def cancel_all(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """They have ended on return. A task that swallows its cancellation is cancelled again."""
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_CANCEL_AGAIN_S)
