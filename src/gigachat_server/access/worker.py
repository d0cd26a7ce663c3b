"""What access has done in the background: sessions that ended, and old entries of the audit log, are forgotten."""

from __future__ import annotations

from gigachat_server.access.user_sessions import UserSessions
from gigachat_server.clock import Clock
from gigachat_server.store import audit
from gigachat_server.store.database import Database, Tx
from gigachat_server.work.background import Background

_FORGET_EVERY_S = 600.0
AUDIT_KEPT_US = 365 * 24 * 3600 * 1_000_000


class AccessWorker:
    """Runs on every node; what one has forgotten, the others find gone."""

    def __init__(self, database: Database, sessions: UserSessions, clock: Clock, background: Background) -> None:
        self._database = database
        self._sessions = sessions
        self._clock = clock
        self._loops = (background.loop("ended-access", self.forget, every_s=_FORGET_EVERY_S, rests_first=True),)

    def start(self, *, is_dormant: bool = False) -> None:
        """`is_dormant`: this process is no node, and leaves this to the others."""
        for loop in () if is_dormant else self._loops:
            loop.start()

    async def aclose(self) -> None:
        for loop in self._loops:
            await loop.aclose()

    async def forget(self) -> None:
        await self._sessions.forget_ended()

        async def body(tx: Tx) -> None:
            await audit.delete_before(tx, self._clock() - AUDIT_KEPT_US)

        await self._database.transaction("audit.forget", body)
