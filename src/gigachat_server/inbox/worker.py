"""What the inbox has done in the background: conversations that were snoozed come back when their time is up."""

from __future__ import annotations

from gigachat_server.inbox.desk import Desk
from gigachat_server.work.background import Background

_LOOK_EVERY_S = 5.0


class InboxWorker:
    """Runs on every node; each conversation is brought back by one of them."""

    def __init__(self, desk: Desk, background: Background) -> None:
        self._loops = (background.loop("snoozes", desk.wake_snoozed, every_s=_LOOK_EVERY_S, rests_first=True),)

    def start(self, *, is_dormant: bool = False) -> None:
        """`is_dormant`: this process is no node, and leaves this to the others."""
        for loop in () if is_dormant else self._loops:
            loop.start()

    async def aclose(self) -> None:
        for loop in self._loops:
            await loop.aclose()
