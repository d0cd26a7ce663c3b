"""What becomes of access in time: sessions of the pages, links and logins that have ended go."""

from __future__ import annotations

from gigachat_server.access.sessions import IDLE_S
from gigachat_server.clock import Clock
from gigachat_server.store import oidc_logins, operator_sessions
from gigachat_server.store.database import Database, Tx
from gigachat_server.work.background import Background

_EVERY_S = 600.0
_SECOND = 1_000_000


class AccessUpkeep:
    """A worker of every node: deleting what another one has deleted does nothing."""

    def __init__(self, database: Database, clock: Clock, background: Background) -> None:
        self._database = database
        self._clock = clock
        self._loop = background.loop("access-upkeep", self.forget, every_s=_EVERY_S, rests_first=True)

    def start(self, *, is_dormant: bool = False) -> None:
        if not is_dormant:
            self._loop.start()

    async def aclose(self) -> None:
        await self._loop.aclose()

    async def forget(self) -> None:
        """Delete what cannot be used, or looked at, any more."""
        now = self._clock()

        async def body(tx: Tx) -> None:
            await operator_sessions.delete_ended(tx, now_us=now, idle_since_us=now - IDLE_S * _SECOND)
            await operator_sessions.delete_ended_tokens(tx, now_us=now)
            await oidc_logins.delete_ended(tx, now_us=now)

        await self._database.transaction("access.forget", body)
