"""What happens, for those who follow it live: one conversation with every word, or all of a chatbot's.

Idea: a follower is a place in what is stored. It reads from there, is woken when there may be more, and reads again; what
a running turn says in between comes from the turn itself. Invariants: nothing is skipped and, in a conversation, nothing
comes twice, wherever it was left and taken up again; nothing is buffered for a follower that is slow; and no word of a
turn comes after an event that ended it.

Across conversations no sequence is a safe place to go on from, since their transactions complete in any order. So a
follower of a chatbot goes on from a time, some seconds earlier than it got to, and events may come to it twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import ExitStack

import msgspec

from gigachat_server.chat.events import Events
from gigachat_server.chat.live import LiveTurns
from gigachat_server.chat.outcome import vectors_of
from gigachat_server.chat.progress import Said, Turn
from gigachat_server.clock import Clock
from gigachat_server.errors import NotFound, ShuttingDown
from gigachat_server.records import Event, Message
from gigachat_server.store import conversations, events, messages
from gigachat_server.store.database import Database, Reader

_PAGE = 100
_OVERLAP_US = 10_000_000  # more than clocks differ and transactions take
_GATHER_S = 0.05  # how long a busy chatbot's wake-ups are gathered


class Happened(msgspec.Struct, frozen=True):
    """An event, with the messages it names as they are now; None if they were deleted.

    `place`, in microseconds, is where a follower of the chatbot goes on from who has seen it.
    """

    event: Event
    message: Message | None
    prompt: Message | None
    vectors: Mapping[str, bytes]
    place: int = 0


class Spoken(msgspec.Struct, frozen=True):
    """Words of a running turn, after the event `seq`."""

    seq: int
    said: Said


class Place(msgspec.Struct, frozen=True):
    """Where a follower of a conversation is: behind event `seq`, and `position` characters of the turn that runs then."""

    seq: int = 0
    position: int = 0


class Feed:
    """Follows conversations for as long as somebody listens."""

    def __init__(self, database: Database, events: Events, live: LiveTurns, clock: Clock) -> None:
        self._database = database
        self._events = events
        self._live = live
        self._clock = clock
        self._is_closed = False

    def close(self) -> None:
        """Every follower ends with `ShuttingDown`."""
        self._is_closed = True
        self._events.wake_all()

    async def page(self, chatbot_id: str, conversation_id: str, *, after: int, limit: int) -> list[Happened]:
        """Events of a conversation, oldest first. Raises `NotFound`."""

        async def read(reader: Reader) -> list[Happened]:
            if await conversations.find(reader, chatbot_id, conversation_id) is None:
                raise NotFound
            found = await events.list_events(reader, chatbot_id, conversation_id, after=after, limit=limit)
            return await _with_messages(reader, chatbot_id, found)

        return await self._database.read(read)

    async def follow_conversation(
        self, chatbot_id: str, conversation_id: str, place: Place, *, idle_s: float
    ) -> AsyncGenerator[Happened | Spoken | None, None]:
        """All that happens from that place on, for ever; None whenever nothing did for `idle_s`.

        Raises `NotFound` once the conversation is deleted, `ShuttingDown` when this process stops.
        """
        seq, position = place.seq, 0
        heard: Turn | None = None
        with self._events.woken(chatbot_id, conversation_id) as woken, ExitStack() as hearing:
            while True:
                self._check_open()
                woken.clear()
                found = await self.page(chatbot_id, conversation_id, after=seq, limit=_PAGE)
                for happened in found:
                    seq = happened.event.seq
                    yield happened
                if found:
                    continue
                turn = self._live.running(chatbot_id, conversation_id)
                if turn is not heard:
                    hearing.close()
                    heard = None
                if turn is not None and heard is None and seq >= turn.start_seq:
                    # The place to go on from lies within this very turn if that had begun when the follower left.
                    position = place.position if place.seq >= turn.start_seq else 0
                    place, heard = Place(), turn
                    hearing.enter_context(turn.waking(woken))
                if turn is not None and turn is heard:
                    while (said := turn.after(position)) is not None and turn.is_running:
                        position = said.end
                        yield Spoken(seq, said)
                if not await _is_set(woken, idle_s):
                    yield None

    async def follow_chatbot(
        self, chatbot_id: str, since_us: int | None, *, idle_s: float
    ) -> AsyncGenerator[Happened | None, None]:
        """All events of all its conversations from about that time on (None: from now on); None when idle, as above."""
        now_us = self._clock()
        seen_to = now_us if since_us is None else min(since_us, now_us)
        since = seen_to - _OVERLAP_US
        sent: dict[tuple[str, int], int] = {}
        if since_us is None:
            sent = await self._keys(chatbot_id, since)
        with self._events.woken(chatbot_id, None) as woken:
            while True:
                self._check_open()
                woken.clear()
                while found := await self._unsent(chatbot_id, since, sent):
                    for happened in found:
                        event = happened.event
                        sent[event.conversation_id, event.seq] = event.created_at
                        # A conversation whose clock ran ahead must not carry the others' place with it.
                        seen_to = max(seen_to, min(event.created_at, self._clock()))
                        yield msgspec.structs.replace(happened, place=seen_to)
                since = max(since, seen_to - _OVERLAP_US)
                sent = {key: at for key, at in sent.items() if at >= since}
                if not await _is_set(woken, idle_s):
                    yield None
                else:
                    await asyncio.sleep(_GATHER_S)

    async def _keys(self, chatbot_id: str, since: int) -> dict[tuple[str, int], int]:
        async def read(reader: Reader) -> dict[tuple[str, int], int]:
            found = await events.list_keys_of_chatbot(reader, chatbot_id, since=since)
            return {(conversation_id, seq): at for conversation_id, seq, at in found}

        return await self._database.read(read)

    async def _unsent(self, chatbot_id: str, since: int, sent: Mapping[tuple[str, int], int]) -> list[Happened]:
        """The oldest of what was not sent yet."""

        async def read(reader: Reader) -> list[Happened]:
            keys = await events.list_keys_of_chatbot(reader, chatbot_id, since=since)
            wanted = [key for key in keys if (key[0], key[1]) not in sent][:_PAGE]
            found = [await events.get(reader, chatbot_id, conversation_id, seq) for conversation_id, seq, _ in wanted]
            return await _with_messages(reader, chatbot_id, found)

        return await self._database.read(read)

    def _check_open(self) -> None:
        if self._is_closed:
            raise ShuttingDown(retry_after_s=1)


async def _with_messages(reader: Reader, chatbot_id: str, found: list[Event]) -> list[Happened]:
    ids = {name for event in found for name in (_named(event, "message_id"), _named(event, "prompt_id")) if name}
    named = await messages.list_by_id(reader, chatbot_id, sorted(ids)) if ids else {}
    vectors = await vectors_of(reader, chatbot_id, named.values())
    return [
        Happened(event, named.get(_named(event, "message_id")), named.get(_named(event, "prompt_id")), vectors) for event in found
    ]


def _named(event: Event, what: str) -> str:
    return str(event.data.get(what, ""))


async def _is_set(woken: asyncio.Event, timeout_s: float) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            await woken.wait()
    except TimeoutError:
        return False
    return True
