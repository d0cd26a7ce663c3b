"""Whether a human is there to answer when one is wanted.

None is outside the hours of a chatbot, nor while it has operators and none of them is available. A chatbot without operators of
its own is answered through the API, by people whom gigachat does not know. Invariant: the store is asked only when a handoff is
told, and then with one statement.
"""

from __future__ import annotations

from datetime import UTC, datetime

from gigachat_server.chat.hours import is_open
from gigachat_server.clock import Clock
from gigachat_server.records import Chatbot
from gigachat_server.store import presence
from gigachat_server.store.database import Database, Reader

SEEN_FOR_US = 45_000_000  # a page that streams shows every 20 s that its operator is there


class Attendance:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def is_away(self, chatbot: Chatbot) -> bool:
        """Whether none is there now."""
        if self._is_closed(chatbot):
            return True

        async def read(reader: Reader) -> bool:
            return await self._is_deserted(reader, chatbot)

        return await self._database.read(read)

    async def is_away_in(self, reader: Reader, chatbot: Chatbot) -> bool:
        """The same within a transaction."""
        return self._is_closed(chatbot) or await self._is_deserted(reader, chatbot)

    def _is_closed(self, chatbot: Chatbot) -> bool:
        hours = chatbot.config.interception.hours
        return hours is not None and not is_open(hours, datetime.fromtimestamp(self._clock() / 1_000_000, UTC))

    async def _is_deserted(self, reader: Reader, chatbot: Chatbot) -> bool:
        since = self._clock() - SEEN_FOR_US
        known, available = await presence.count(reader, chatbot.account_id, chatbot.id, since=since)
        return known > 0 and not available
