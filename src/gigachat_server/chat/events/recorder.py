"""Events: every change of a conversation is one, with its place in the order; and those who follow are woken.

Invariant: an event is written in the same transaction as what it tells of. A wake-up comes after that is durable and
carries no data: it may be missed or come twice, since who is woken reads the store from where they were.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from gigachat_server.clock import Clock
from gigachat_server.errors import NotFound
from gigachat_server.records import EventData, Message, MessageCreated
from gigachat_server.store import conversations, events, messages
from gigachat_server.store.conversations import Place
from gigachat_server.store.database import Database, Tx

TAKEN_OVER: Final = "conversation.taken_over"
RELEASED: Final = "conversation.released"
CLOSED: Final = "conversation.closed"


class Events:
    """Writes events and wakes followers."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._followers: dict[tuple[str, str | None], set[asyncio.Event]] = {}

    def now_us(self) -> int:
        return self._clock()

    async def store_message(self, tx: Tx, message: Message) -> None:
        """Store a message that has its place, and the event that says so, with the same seq. A reply names its prompt."""
        await messages.insert(tx, message)
        created = MessageCreated(message_id=message.id, prompt_id=message.in_reply_to)
        chatbot_id, conversation_id, at = message.chatbot_id, message.conversation_id, message.created_at
        await events.insert(tx, chatbot_id, conversation_id, seq=message.seq, data=created, created_at=at)
        tx.after_commit(functools.partial(self.wake, chatbot_id, conversation_id))

    async def add(self, tx: Tx, chatbot_id: str, conversation_id: str, happened: EventData) -> Place:
        """An event that is no message, at the conversation's next place. Raises `NotFound` if the chatbot is gone."""
        place = await conversations.open_and_advance(tx, chatbot_id, conversation_id, now_us=self._clock())
        if place is None:
            raise NotFound
        await self.add_at(tx, place, chatbot_id, conversation_id, happened)
        return place

    async def add_at(self, tx: Tx, place: Place, chatbot_id: str, conversation_id: str, happened: EventData) -> None:
        """The same at a place that was taken before in this transaction."""
        await events.insert(tx, chatbot_id, conversation_id, seq=place.seq, data=happened, created_at=place.at)
        tx.after_commit(functools.partial(self.wake, chatbot_id, conversation_id))

    def wake(self, chatbot_id: str, conversation_id: str) -> None:
        """Something happened there: here and on other nodes, who follow it are woken."""
        self.wake_elsewhere(chatbot_id, conversation_id)
        self.wake_here(chatbot_id, conversation_id)

    def wake_elsewhere(self, chatbot_id: str, conversation_id: str) -> None:
        """Other nodes have something new to read there."""
        self._database.tell(f"conversation {chatbot_id} {conversation_id}")

    def wake_chatbot(self, chatbot_id: str) -> None:
        """Something happened in all its conversations."""
        self._database.tell(f"chatbot {chatbot_id}")
        self.wake_all_here(chatbot_id)

    def wake_here(self, chatbot_id: str, conversation_id: str) -> None:
        """Wake those that follow it in this process."""
        if not self._followers:
            return
        for follower in (
            *self._followers.get((chatbot_id, conversation_id), ()),
            *self._followers.get((chatbot_id, None), ()),
        ):
            follower.set()

    def wake_all_here(self, chatbot_id: str | None = None) -> None:
        """The same for all conversations, or for all of that chatbot."""
        for followed, followers in self._followers.items():
            for follower in followers if chatbot_id in (None, followed[0]) else ():
                follower.set()

    @contextmanager
    def woken(
        self, chatbot_id: str, conversation_id: str | None, follower: asyncio.Event | None = None
    ) -> Iterator[asyncio.Event]:
        """Set whenever something happened in that conversation, or (None) in any of the chatbot's; `follower`: this one."""
        follower = asyncio.Event() if follower is None else follower
        followed = (chatbot_id, conversation_id)
        self._followers.setdefault(followed, set()).add(follower)
        try:
            yield follower
        finally:
            self._followers[followed].discard(follower)
            if not self._followers[followed]:
                del self._followers[followed]
