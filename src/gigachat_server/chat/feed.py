"""What happens, for those who follow it live: one conversation with every word, or all of a chatbot's.

Idea: a follower is a place in what is stored. It reads from there, is woken when there may be more, and reads again; what
a running turn says in between comes from the turn itself, or, where another node runs it, from its drafts. Invariants:
nothing is skipped and, in a conversation, nothing comes twice, wherever it was left and taken up again; nothing is buffered
for a follower that is slow; and no word of a turn comes after an event that ended it.

Across conversations no sequence is a safe place to go on from, since their transactions complete in any order. So a
follower of a chatbot goes on from a time, some seconds earlier than it got to, and events may come to it twice.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import ExitStack, closing
from typing import Protocol

import msgspec

from gigachat_server.access.principal import Principal
from gigachat_server.access.speakers import CLIENT_PREFIX
from gigachat_server.chat.answers.speech import ReplyPiece, Speech
from gigachat_server.chat.events.recorder import Events
from gigachat_server.chat.turns.live import LiveTurns
from gigachat_server.chat.turns.outcome import vectors_of
from gigachat_server.clock import Clock
from gigachat_server.errors import NotFound, ShuttingDown, StorageUnavailable
from gigachat_server.records import Conversation, Event, Message
from gigachat_server.store import chatbots, conversations, drafts, events, messages, typing
from gigachat_server.store.database import Database, Reader
from gigachat_server.store.drafts import Draft
from gigachat_server.store.typing import Typing
from gigachat_server.work.waking import is_set_within

_PAGE = 4  # with their messages at once, since a follower may take them slowly
_LOOKED_UP = 100  # before they are sent
_OVERLAP_US = 10_000_000  # more than clocks differ and transactions take
_KEYS = 2_000
_GATHER_S = 0.05  # how long a busy chatbot's wake-ups are gathered
_REST = 4  # times as long as it took to look through them
_LOOK_AGAIN_S = 1.0


class FeedEvent(msgspec.Struct, frozen=True):
    """An event, with the messages it names as they are now; None if they were deleted.

    A follower who has seen it goes on behind `position` characters of the turn that runs then, or, of the chatbot, from
    `place`, in microseconds.
    """

    event: Event
    message: Message | None
    prompt: Message | None
    vectors: Mapping[str, bytes]
    place: int = 0
    position: int = 0


class FeedDelta(msgspec.Struct, frozen=True):
    """Words of a running turn, after the event `seq`."""

    seq: int
    said: ReplyPiece


class FeedTyping(msgspec.Struct, frozen=True):
    """Who is writing in the conversation now, besides the follower."""

    names: list[str]


class Place(msgspec.Struct, frozen=True):
    """Where a follower of a conversation is: behind event `seq`, and `position` characters of the turn that runs then."""

    seq: int = 0
    position: int = 0


class AudibleTurn(Protocol):
    """What a follower hears the words of."""

    @property
    def prompt_id(self) -> str: ...

    @property
    def start_seq(self) -> int: ...

    @property
    def is_running(self) -> bool: ...

    @property
    def speech(self) -> Speech: ...


class TurnElsewhere(msgspec.Struct, frozen=True):
    """A turn that another node runs, as far as its drafts tell of it."""

    prompt_id: str
    epoch: int
    start_seq: int
    speech: Speech

    @property
    def is_running(self) -> bool:
        return True


class _View(msgspec.Struct, frozen=True):
    """What a follower of a conversation reads at once. `drafts`: of the turn that another node runs."""

    conversation: Conversation
    happened: list[FeedEvent]
    drafts: list[Draft]
    typing: list[Typing]


class Feed:
    """Follows conversations for as long as there is a listener. A conversation of another account's chatbot is not found."""

    def __init__(self, database: Database, events: Events, live: LiveTurns, clock: Clock) -> None:
        self._database = database
        self._events = events
        self._live = live
        self._clock = clock
        self._looking = asyncio.Lock()  # followers of chatbots look one after the other: others read meanwhile
        self._is_closed = False

    @property
    def is_closed(self) -> bool:
        """This process stops: those who wait for events are to leave."""
        return self._is_closed

    def close(self) -> None:
        """Every follower ends with `ShuttingDown`."""
        self._is_closed = True
        self._events.wake_all_here()

    async def page(
        self, principal: Principal, chatbot_id: str, conversation_id: str, *, after: int, limit: int, with_vectors: bool = False
    ) -> list[FeedEvent]:
        """Events of a conversation, oldest first. Raises `NotFound`."""
        view = await self._read(principal, chatbot_id, conversation_id, after=after, limit=limit, with_vectors=with_vectors)
        return view.happened

    async def last_seq(self, principal: Principal, chatbot_id: str, conversation_id: str) -> int:
        """Of its newest event. Raises `NotFound`."""
        return (await self._read(principal, chatbot_id, conversation_id, after=0, limit=0)).conversation.last_seq

    async def _read(
        self,
        principal: Principal,
        chatbot_id: str,
        conversation_id: str,
        *,
        after: int,
        limit: int,
        with_vectors: bool = False,
        with_typing: bool = False,
    ) -> _View:
        async def read(reader: Reader) -> _View:
            conversation = await conversations.find_owned(reader, principal.account_id, chatbot_id, conversation_id)
            if conversation is None:
                raise NotFound
            principal.check_own(conversation_id, conversation)
            found = await events.list_events(reader, chatbot_id, conversation_id, after=after, limit=limit)
            kept: list[Draft] = []
            if self._is_answered_elsewhere(conversation) and not found:
                kept = await drafts.list_of(reader, chatbot_id, conversation_id)
            # While the chatbot answers nobody is shown as writing, so that the words of a reply cost no further statement.
            writing: list[Typing] = []
            if with_typing and conversation.controlled_by != conversations.BOT:
                writing = await typing.list_of(reader, chatbot_id, conversation_id, now_us=self._clock())
            return _View(
                conversation,
                await _with_messages(reader, chatbot_id, found, with_vectors=with_vectors),
                [draft for draft in kept if draft.prompt_id == conversation.answering],
                writing,
            )

        return await self._database.read(read)

    def _is_answered_elsewhere(self, conversation: Conversation) -> bool:
        if conversation.answering is None or not self._database.is_shared:
            return False
        return self._live.running(conversation.chatbot_id, conversation.conversation_id) is None

    async def _turn_elsewhere(
        self, conversation: Conversation, known: TurnElsewhere | None, kept: list[Draft]
    ) -> TurnElsewhere | None:
        """The turn that another node runs, as far as its drafts tell of it."""
        if not kept:
            return known if conversation.answering == (known and known.prompt_id) else None
        if known is None or (known.prompt_id, known.epoch) != (conversation.answering, conversation.control_epoch):
            known = await self._database.read(functools.partial(_begun_elsewhere, conversation=conversation))
        if known is not None:
            for draft in kept:
                known.speech.catch_up(draft.alternative, draft.message_id, draft.content)
        return known

    async def follow_conversation(
        self,
        principal: Principal,
        chatbot_id: str,
        conversation_id: str,
        place: Place,
        *,
        idle_s: float,
        with_vectors: bool = False,
        with_typing: bool = False,
    ) -> AsyncGenerator[FeedEvent | FeedDelta | FeedTyping | None, None]:
        """All that happens from that place on, without end; None whenever nothing did for `idle_s`.

        Raises `NotFound` once the conversation is deleted or another user's, `ShuttingDown` when this process stops.
        """
        created_at: int | None = None
        elsewhere: TurnElsewhere | None = None
        writers = _Writers(principal.speaks_as)
        with self._events.woken(chatbot_id, conversation_id) as woken, closing(_Listener(place, woken)) as listener:
            while True:
                self._check_open()
                woken.clear()
                try:
                    view = await self._read(
                        principal,
                        chatbot_id,
                        conversation_id,
                        after=listener.seq,
                        limit=_PAGE,
                        with_vectors=with_vectors,
                        with_typing=with_typing,
                    )
                    elsewhere = await self._turn_elsewhere(view.conversation, elsewhere, view.drafts)
                except StorageUnavailable:  # for now: a follower waits, as it does for anything else
                    yield None
                    await asyncio.sleep(_LOOK_AGAIN_S)
                    continue
                conversation = view.conversation
                if conversation.last_seq < listener.seq or created_at not in (None, conversation.created_at):
                    raise NotFound  # it was deleted, and is another one now
                created_at = conversation.created_at
                listener.listen([*self._live.of(chatbot_id, conversation_id), *((elsewhere,) if elsewhere else ())])
                for happened in view.happened:
                    listener.see(happened.event)
                    writers.hear(happened)
                    yield msgspec.structs.replace(happened, position=listener.position)
                if view.happened:
                    continue
                while (said := listener.hear()) is not None:
                    yield FeedDelta(listener.seq, said)
                if (changed := writers.changed(view.typing)) is not None:
                    yield changed
                wait_s = writers.wait_s(view.typing, now_us=self._clock(), at_most=idle_s)
                if not await is_set_within(woken, wait_s) and wait_s == idle_s:
                    yield None

    async def follow_chatbot(
        self, account_id: str, chatbot_id: str, since_us: int | None, *, idle_s: float, with_vectors: bool = False
    ) -> AsyncGenerator[FeedEvent | None, None]:
        """All events of all its conversations from about that time on; None when idle, as above.

        With `since_us` None: from now on, and that is from before this returns.
        """
        sent: dict[tuple[str, int], int] = {}
        if since_us is None:
            since_us = self._clock()
            sent = await self._keys(chatbot_id, since_us - 2 * _OVERLAP_US)
        return self._follow_chatbot(account_id, chatbot_id, since_us, sent, idle_s, with_vectors)

    async def _follow_chatbot(
        self,
        account_id: str,
        chatbot_id: str,
        seen_to: int,
        sent: dict[tuple[str, int], int],
        idle_s: float,
        with_vectors: bool,
    ) -> AsyncGenerator[FeedEvent | None, None]:
        loop = asyncio.get_running_loop()
        with self._events.woken(chatbot_id, None) as woken:
            while True:
                self._check_open()
                woken.clear()
                # Neither a cursor nor a conversation whose clock ran ahead must carry the others' place with it.
                seen_to = min(seen_to, self._clock())
                since = seen_to - _OVERLAP_US
                sent = {key: at for key, at in sent.items() if at >= since - _OVERLAP_US}
                after: events.Key | None = (since, "", 0)
                started_s = loop.time()
                while after is not None:
                    try:
                        wanted, following = await self._unsent(account_id, chatbot_id, after, sent)
                        for first in range(0, len(wanted), _PAGE):
                            keys = wanted[first : first + _PAGE]
                            for happened in await self._happened(chatbot_id, keys, with_vectors=with_vectors):
                                event = happened.event
                                sent[event.conversation_id, event.seq] = event.created_at
                                seen_to = max(seen_to, min(event.created_at, self._clock()))
                                yield msgspec.structs.replace(happened, place=seen_to)
                    except StorageUnavailable:
                        yield None
                        await asyncio.sleep(_LOOK_AGAIN_S)
                        continue
                    after = following
                took_s = loop.time() - started_s
                if not await is_set_within(woken, idle_s):
                    yield None
                else:
                    # What it takes to look through a busy chatbot's last seconds must not keep everyone else from reading.
                    await asyncio.sleep(max(_GATHER_S, _REST * took_s))

    async def _keys(self, chatbot_id: str, since: int) -> dict[tuple[str, int], int]:
        async def read(reader: Reader) -> dict[tuple[str, int], int]:
            found = await events.list_keys_of_chatbot(reader, chatbot_id, after=(since, "", 0))
            return {(conversation_id, seq): at for at, conversation_id, seq in found}

        return await self._database.read(read)

    async def _unsent(
        self, account_id: str, chatbot_id: str, after: events.Key, sent: Mapping[tuple[str, int], int]
    ) -> tuple[list[events.Key], events.Key | None]:
        """The oldest of what was not sent yet, and where to go on; None: that was all.

        Raises `NotFound` once the chatbot is deleted.
        """

        async def read(reader: Reader) -> tuple[list[events.Key], events.Key | None]:
            if not await chatbots.is_owned(reader, account_id, chatbot_id):
                raise NotFound
            keys = await events.list_keys_of_chatbot(reader, chatbot_id, after=after, limit=_KEYS)
            # A conversation that was deleted and made anew has the same seqs at other times.
            wanted = [key for key in keys if sent.get((key[1], key[2])) != key[0]][:_LOOKED_UP]
            following = wanted[-1] if len(wanted) == _LOOKED_UP else keys[-1] if len(keys) == _KEYS else None
            return wanted, following

        async with self._looking:
            return await self._database.read(read)

    async def _happened(self, chatbot_id: str, keys: list[events.Key], *, with_vectors: bool) -> list[FeedEvent]:
        """The events of those keys, but for those that were deleted since."""

        async def read(reader: Reader) -> list[FeedEvent]:
            found = []
            for _, conversation_id, seq in keys:
                listed = await events.list_events(reader, chatbot_id, conversation_id, after=seq - 1, limit=1)
                found += [event for event in listed if event.seq == seq]
            return await _with_messages(reader, chatbot_id, found, with_vectors=with_vectors)

        return await self._database.read(read)

    def _check_open(self) -> None:
        if self._is_closed:
            raise ShuttingDown(retry_after_s=1)


class _Writers:
    """Who was last told to be writing. What one had been writing when they said something was that."""

    def __init__(self, own: str | None) -> None:
        self._own = own
        self._told: list[str] = []
        self._said: dict[str, int] = {}

    def hear(self, happened: FeedEvent) -> None:
        if (message := happened.message) is not None:
            self._said[message.user_id] = max(message.created_at, self._said.get(message.user_id, 0))
            self._told = [name for name in self._told if name != message.user_id]

    def changed(self, writing: Sequence[Typing]) -> FeedTyping | None:
        names = [each.who for each in writing if each.who != self._own and each.typed_at > self._said.get(each.who, 0)]
        if names == self._told:
            return None
        self._told = names
        return FeedTyping([name.removeprefix(CLIENT_PREFIX) for name in names])

    def wait_s(self, writing: Sequence[Typing], *, now_us: int, at_most: float) -> float:
        """Until somebody may have stopped."""
        soonest = min((each.until for each in writing), default=None)
        return at_most if soonest is None else min(at_most, max((soonest - now_us) / 1_000_000, _LOOK_AGAIN_S / 4))


class _Listener:
    """Which turn of a conversation a follower hears, and how far it has got.

    A turn is heard from the event it begins with to the one that ends it, as the follower sees them: the store may be
    ahead of what this process knows of its turns.
    """

    def __init__(self, place: Place, woken: asyncio.Event) -> None:
        self.seq = place.seq
        self.position = 0
        self._left_at = place
        self._woken = woken
        self._turn: AudibleTurn | None = None
        self._over: set[str] = set()  # prompts of turns of which the end was seen
        self._waking = ExitStack()

    def close(self) -> None:
        self._hear(None)

    def listen(self, turns: Sequence[AudibleTurn]) -> None:
        """Hear the one that is being answered, of all those of the conversation."""
        self._over.intersection_update(turn.prompt_id for turn in turns)
        self._hear(next((t for t in turns if t.is_running and t.start_seq <= self.seq and t.prompt_id not in self._over), None))

    def see(self, event: Event) -> None:
        """This event comes next."""
        self.seq = event.seq
        if event.type in ("turn.started", "turn.queued"):
            self._over.discard(_named(event, "prompt_id"))
            return
        self._over |= {_named(event, "prompt_id"), *event.data.get("message_ids", ())}
        if self._turn is not None and self._turn.prompt_id in self._over:
            self._hear(None)

    def hear(self) -> ReplyPiece | None:
        """The words that come next, if there are any yet."""
        said = self._turn.speech.after(self.position) if self._turn is not None and self._turn.is_running else None
        if said is not None:
            self.position = said.end
        return said

    def _hear(self, turn: AudibleTurn | None) -> None:
        if turn is self._turn:
            return
        self._waking.close()
        self._turn, self.position = turn, 0
        if turn is None:
            return
        # The place to go on from lies within this very turn if that had begun when the follower left.
        if turn.start_seq <= self._left_at.seq and self._left_at.position <= turn.speech.length:
            self.position = self._left_at.position
        self._left_at = Place()
        self._waking.enter_context(turn.speech.waking(self._woken))


async def _begun_elsewhere(reader: Reader, *, conversation: Conversation) -> TurnElsewhere | None:
    """The turn that holds the conversation's lease, of which nothing is known here but that it has begun."""
    prompt = await messages.find(reader, conversation.chatbot_id, conversation.answering or "")
    if prompt is None:
        return None
    started = await events.list_of_types(reader, prompt.chatbot_id, prompt.conversation_id, ("turn.started",), after=prompt.seq)
    start_seq = max((event.seq for event in started if event.prompt_id == prompt.id), default=prompt.seq)
    return TurnElsewhere(prompt.id, conversation.control_epoch, start_seq, Speech())


async def _with_messages(reader: Reader, chatbot_id: str, found: list[Event], *, with_vectors: bool) -> list[FeedEvent]:
    ids = {name for event in found for name in (_named(event, "message_id"), _named(event, "prompt_id")) if name}
    named = await messages.list_by_id(reader, chatbot_id, sorted(ids)) if ids else {}
    vectors = await vectors_of(reader, chatbot_id, named.values()) if with_vectors else {}
    return [
        FeedEvent(event, named.get(_named(event, "message_id")), named.get(_named(event, "prompt_id")), vectors)
        for event in found
    ]


def _named(event: Event, what: str) -> str:
    return str(event.data.get(what, ""))
