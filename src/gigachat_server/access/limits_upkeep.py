"""What limits leave behind is cleaned up, so that their tables hold no more than the last hour's callers."""

from __future__ import annotations

from gigachat_server.access.till import Till
from gigachat_server.clock import Clock
from gigachat_server.store import budgets, rates
from gigachat_server.store.database import Database, Tx
from gigachat_server.work.background import Background

_SETTLE_EVERY_S = 10.0
_FORGET_EVERY_S = 600.0


class LimitsUpkeep:
    """The background work of limits."""

    def __init__(self, database: Database, till: Till, clock: Clock, background: Background) -> None:
        self._database = database
        self._till = till
        self._clock = clock
        self._settling = background.loop("limits-till", self.flush, every_s=_SETTLE_EVERY_S, rests_first=True)
        self._forgetting = background.loop("limits-rows", self.forget, every_s=_FORGET_EVERY_S, rests_first=True)

    def start(self, *, is_dormant: bool = False) -> None:
        """`is_dormant`: this process is no node, and only settles what it charged itself."""
        self._settling.start()
        if not is_dormant:
            self._forgetting.start()

    async def aclose(self) -> None:
        await self._settling.aclose()
        await self._forgetting.aclose()

    async def flush(self) -> None:
        """What could not be given back while the store was away."""
        self._till.flush()

    async def forget(self) -> None:
        """Callers whose quota is long whole again, and budgets of days long past."""

        async def forget_rates(tx: Tx) -> bool:
            return await rates.delete_old(tx, now_us=self._clock())

        async def forget_budgets(tx: Tx) -> None:
            await budgets.delete_old(tx, now_us=self._clock())

        while await self._database.transaction("limits.forget", forget_rates):
            pass
        await self._database.transaction("budgets.forget", forget_budgets)
