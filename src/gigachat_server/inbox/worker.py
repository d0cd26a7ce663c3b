"""What the inbox has done in the background.

Conversations that were snoozed come back when their time is up, suggestions are made, a human is asked for where a proposal
lies unseen, and messages become searchable. Invariant: each is a row that any node may take up, and one does.
"""

from __future__ import annotations

import asyncio

from gigachat_server.chat.answers.answer import Answerer
from gigachat_server.chat.events.recorder import Events
from gigachat_server.clock import Clock
from gigachat_server.inbox.desk import Desk
from gigachat_server.inbox.message_index import MessageIndex
from gigachat_server.inbox.proposals import Proposals
from gigachat_server.inbox.suggestions import SuggestionQueue
from gigachat_server.records import Chatbot
from gigachat_server.store import chatbots
from gigachat_server.store.database import Database, Reader
from gigachat_server.work.background import Background

_LOOK_EVERY_S = 5.0
_INDEX_EVERY_S = 2.0
_SUGGESTIONS_AT_ONCE = 4


class InboxWorker:
    """Runs on every node."""

    def __init__(
        self,
        database: Database,
        *,
        desk: Desk,
        proposals: Proposals,
        answerer: Answerer,
        events: Events,
        clock: Clock,
        background: Background,
        suggestions_wanted: asyncio.Event,
    ) -> None:
        """`suggestions_wanted` wakes those who make them."""
        self._database = database
        self._proposals = proposals
        queue = SuggestionQueue(database, answerer, events, clock)
        self._suggestions = background.leased(
            "suggestions", queue, at_once=_SUGGESTIONS_AT_ONCE, every_s=_LOOK_EVERY_S, wake=suggestions_wanted
        )
        self._loops = (
            background.loop("message-index", MessageIndex(database).index_all, every_s=_INDEX_EVERY_S, rests_first=True),
            background.loop("snoozes", desk.wake_snoozed, every_s=_LOOK_EVERY_S, rests_first=True),
            background.loop("unseen-proposals", self._hand_off_unseen, every_s=_LOOK_EVERY_S, rests_first=True),
        )

    def start(self, *, is_dormant: bool = False) -> None:
        """`is_dormant`: this process is no node, and leaves this to the others."""
        if is_dormant:
            return
        self._suggestions.start()
        for loop in self._loops:
            loop.start()

    async def aclose(self) -> None:
        await self._suggestions.aclose()
        for loop in self._loops:
            await loop.aclose()

    async def _hand_off_unseen(self) -> None:
        await self._proposals.hand_off_unseen(self._chatbot)

    async def _chatbot(self, chatbot_id: str) -> Chatbot | None:
        async def read(reader: Reader) -> Chatbot | None:
            return await chatbots.find_of_any_account(reader, chatbot_id)

        return await self._database.read(read)
