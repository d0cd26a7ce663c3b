"""Named places in a turn where a drill or a test can step in: one hook for both, and it ships.

Idea: code that must survive anything names its position, `await trigger("S5")`; nothing happens there unless an operator's
drill (`GIGACHAT_FAILPOINT=S5:kill`) or a test that holds a race open (`with acting("S8", pause.hold)`) asks for it.
Invariant: without either, passing a trigger costs one lookup in an empty table.

The steps of a turn: S0 the request is read, S1 the caller is authorised, S2 the prompt is written but not yet committed,
S3 it is committed and the turn is this one's to run, S4 retrieve, S5 call the model, S6 its first text has arrived, S7 its
last, S8 the reply is written but not yet committed, S9 it is committed and about to be answered.

The steps of an ingest: I0 all bytes of the file but the last are stored, I1 the document that names them is written but not
yet committed, I2 a worker has it, I3 its text is written but not yet committed, I4 so are some embeddings, I5 so are its
chunks, I6 they are committed. A pushed text passes I5 and I6.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from gigachat_server.errors import SetupError

STEPS = ("S0", "S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9")
INGEST_STEPS = ("I0", "I1", "I2", "I3", "I4", "I5", "I6")

Action = Callable[[], Awaitable[None]]

_FAILPOINT = re.compile(r"(?P<step>[SI]\d)(@(?P<pass>[1-9]\d{0,6}))?:(?P<action>kill|raise|sleep:(?P<ms>\d{1,6}))")
_log = logging.getLogger("gigachat.failpoint")
_actions: dict[str, Action] = {}


class FailpointReached(RuntimeError):
    """What `raise` raises: as unexpected as a bug."""


async def trigger(step: str) -> None:
    """This step is reached. Inside a transaction the action may not suspend; those of a failpoint never do there."""
    if _actions and (action := _actions.get(step)) is not None:
        await action()


@contextmanager
def acting(step: str, action: Action) -> Iterator[None]:
    """Every pass of the step within this block awaits the action first."""
    if step in _actions:
        raise ValueError(f"{step} is taken")
    _actions[step] = action
    try:
        yield
    finally:
        del _actions[step]


@contextmanager
def failpoint(text: str) -> Iterator[None]:
    """What `GIGACHAT_FAILPOINT` asks for happens within this block. Empty: nothing does. Raises `SetupError`."""
    if not text:
        yield
        return
    step, action = _parsed(text)
    with acting(step, action):
        yield


def check(text: str) -> None:
    """Raises `SetupError` unless `failpoint` would understand it."""
    if text:
        _parsed(text)


def _parsed(text: str) -> tuple[str, Action]:
    match = _FAILPOINT.fullmatch(text)
    if match is None or match["step"] not in (*STEPS, *INGEST_STEPS):
        raise SetupError(
            f"GIGACHAT_FAILPOINT cannot be {text!r}: it is a step from S0 to S9, or from I0 to I6, and what happens "
            "there, such as S5:kill, S8:raise or S6:sleep:200 (milliseconds); S8@3:kill waits for the third pass."
        )
    step, wanted_pass = match["step"], int(match["pass"] or 0)
    passed = 0

    async def act() -> None:
        nonlocal passed
        passed += 1
        if wanted_pass and passed != wanted_pass:
            return
        _log.warning("failpoint %s", text)
        if match["action"] == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif match["action"] == "raise":
            raise FailpointReached(text)
        else:
            await _sleep(int(match["ms"]) / 1000)

    return step, act


async def _sleep(seconds: float) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        time.sleep(seconds)  # noqa: ASYNC251 - the writer's thread, where a slow disk would block just so
    else:
        await asyncio.sleep(seconds)
