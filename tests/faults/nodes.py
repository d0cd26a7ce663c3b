"""Another node beside the one under test, on the same store; and what makes races between them happen on purpose.

SQLite lets one process write, so the other node is one more set of the parts that run turns, without the first one's
memory of what runs: what they know of each other is what the store says.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from gigachat_server.chat.alerts import Alerts
from gigachat_server.chat.answers.answer import Answerer
from gigachat_server.chat.attendance import Attendance
from gigachat_server.chat.turns.control import Control
from gigachat_server.chat.turns.heartbeat import Heartbeat
from gigachat_server.chat.turns.lifecycle import Lifecycle
from gigachat_server.chat.turns.live import LiveTurns
from gigachat_server.chat.turns.nodes import Nodes
from gigachat_server.chat.turns.turn import Turns
from gigachat_server.clock import system_clock
from gigachat_server.models.base import ChatModel
from gigachat_server.services import Services
from gigachat_server.store.database import Database, Tx
from gigachat_server.work.background import Background
from tests.harness import until

PATIENCE_S = 30


class OtherNode:
    """It takes up what it finds abandoned when it is told to look, and has its own model answer it."""

    def __init__(self, services: Services, model: ChatModel) -> None:
        database, events, live, clock = services.database, services.events, LiveTurns(), services.clock
        background, prompts_wait = Background(clock), asyncio.Event()
        nodes = Nodes(database, events, live, clock, background, heartbeat=Heartbeat(database), prompts_wait=prompts_wait)
        attendance, alerts = Attendance(database, clock), Alerts(clock, are_sent=False, wanted=asyncio.Event())
        control = Control(database, events=events, live=live, nodes=nodes, attendance=attendance, alerts=alerts, clock=clock)
        answerer = Answerer(
            model=model,
            embedder=services.embedder,
            searcher=services.searcher,
            fixed_answers=services.fixed_answers,
            attendance=attendance,
        )
        self.turns = Turns(
            database,
            answerer=answerer,
            control=control,
            events=events,
            live=live,
            nodes=nodes,
            clock=clock,
            suggestions_wanted=asyncio.Event(),
        )
        self._lifecycle = Lifecycle(
            database,
            turns=self.turns,
            control=control,
            events=events,
            live=live,
            clock=clock,
            background=background,
            prompts_wait=prompts_wait,
        )

    async def recover(self, *, is_only_process: bool = False) -> None:
        await self._lifecycle.recover(is_only_process=is_only_process)


@asynccontextmanager
async def other_node(services: Services, model: ChatModel) -> AsyncIterator[OtherNode]:
    node = OtherNode(services, model)
    try:
        yield node
    finally:
        await node.turns.drain(0)


class JumpingClock:
    """The machine's clock, which a test can set forward or back."""

    def __init__(self) -> None:
        self.ahead_us = 0

    def __call__(self) -> int:
        return system_clock() + self.ahead_us

    def jump(self, seconds: float) -> None:
        self.ahead_us += int(seconds * 1_000_000)


class Disk:
    """The one that writes into the store. `asked` names all that it was asked to write, in order."""

    def __init__(self, database: Database) -> None:
        self.asked: list[str] = []
        self._transaction = database.transaction

        def noting(name: str, body: Callable[[Tx], Awaitable[Any]], **options: Any) -> Awaitable[Any]:
            self.asked.append(name)
            return self._transaction(name, body, **options)

        database.transaction = noting  # type: ignore[method-assign, assignment]

    async def hold(self) -> Held:
        """Be busy once all is done that was asked before; what is asked from then on waits, and is written as one group."""
        held = Held(self._transaction)
        await asyncio.sleep(0)  # it stands in the queue
        return held

    async def was_asked(self, name: str, times: int = 1) -> None:
        """Returns once it was asked so often to write that."""

        async def holds() -> bool:
            return self.asked.count(name) >= times

        await until(holds)


class Held:
    """A stretch of time for which nothing is written."""

    def __init__(self, transaction: Callable[..., Awaitable[None]]) -> None:
        self._is_busy, self._may_go_on = threading.Event(), threading.Event()
        self._holding = asyncio.ensure_future(transaction("test.hold", self._body))

    async def _body(self, tx: Tx) -> None:
        self._is_busy.set()
        assert self._may_go_on.wait(PATIENCE_S)  # blocks the writer's thread, not the event loop

    async def is_busy(self) -> None:
        assert await asyncio.to_thread(self._is_busy.wait, PATIENCE_S)

    def go_on(self) -> None:
        self._may_go_on.set()

    async def over(self) -> None:
        self.go_on()
        await self._holding
