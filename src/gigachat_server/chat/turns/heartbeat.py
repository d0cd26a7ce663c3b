"""Whether this node may show words of its turns at all.

Invariant: a node that stood still, or does not hear the others, shows nothing: another may have ended its turns meanwhile.
"""

from __future__ import annotations

import asyncio

from gigachat_server.store.database import Database

_STALE_S = 1.0


class Heartbeat:
    """Beats while the event loop runs. A node that is alone on its store needs none, and never begins one."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._beat_at_s: float | None = None

    def beat(self) -> None:
        self._beat_at_s = asyncio.get_running_loop().time()

    def may_show(self) -> bool:
        """Whether the event loop has run within the last `_STALE_S`, and the other nodes are heard."""
        if self._beat_at_s is None:
            return True
        return asyncio.get_running_loop().time() - self._beat_at_s < _STALE_S and self._database.hears
