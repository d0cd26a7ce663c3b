"""A conversation as one of its people sees it, and what they tell each other in it without words.

Idea: besides what is said there is how far each has read, who is writing just now, and what a visitor thought of a human's help.
None but the last is an event: a mark that has moved, or words that never came, are no fact to keep. `Conversations` has these
as its `threads`; they are part of the front door. Invariants: an end user sees and marks their own conversations alone; a read
mark only rises, to what there is; and each closing by a human who had helped is rated once, the last rating counting.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import msgspec

from gigachat_server.access.principal import Principal
from gigachat_server.access.scopes import Scope
from gigachat_server.access.speakers import client_defined_id, speaker_id
from gigachat_server.chat.events.recorder import CLOSED, RELEASED, TAKEN_OVER, Events
from gigachat_server.clock import Clock
from gigachat_server.errors import FieldError, InvalidRequest, NotFound
from gigachat_server.records import Chatbot, Conversation, ConversationRated, Event, EventType, Message
from gigachat_server.store import conversations, events, messages, ratings, read_marks, typing
from gigachat_server.store.conversations import ConversationFilter
from gigachat_server.store.database import Database, Reader, Tx

_COMINGS: tuple[EventType, ...] = (TAKEN_OVER, RELEASED, CLOSED)
_KINDS = {TAKEN_OVER: "taken_over", RELEASED: "released", CLOSED: "closed"}


class Coming(msgspec.Struct, frozen=True):
    """An operator came, went, or closed the conversation; `is_rated`: after having helped in it."""

    seq: int
    kind: str
    operator: str
    is_rated: bool = False


class ThreadPage(msgspec.Struct, frozen=True):
    """Messages behind `first_seq`, oldest first, as they were at one moment; `unrated`: a closing that is still to be rated."""

    conversation: Conversation
    messages: list[Message]
    lines: list[Coming]
    first_seq: int
    read_seq: int
    unread: int
    unrated: Coming | None


class Overview(msgspec.Struct, frozen=True):
    """A conversation in a list: what was said last, and how much of it is unread."""

    conversation: Conversation
    said_last: str
    unread: int


class Threads:
    """Each method raises `Forbidden` and `NotFound`, besides what it names."""

    def __init__(self, database: Database, *, events: Events, clock: Clock) -> None:
        self._database = database
        self._events = events
        self._clock = clock

    # --- seeing ---

    async def page(
        self, principal: Principal, chatbot: Chatbot, conversation_id: str, *, before: int | None, limit: int
    ) -> ThreadPage:
        """The newest messages, or the newest of those before that seq."""
        _admit(principal, Scope.CONVERSATIONS_READ, chatbot)
        conversation_id = _id(conversation_id)

        async def read(reader: Reader) -> ThreadPage:
            conversation = await _get(reader, principal, chatbot, conversation_id)
            end = conversation.last_seq + 1 if before is None else before
            found = await messages.list_newest_before(reader, chatbot.id, conversation_id, before=end, limit=limit + 1)
            is_whole, shown = len(found) <= limit, found[-limit:]
            first_seq = 0 if is_whole else shown[0].seq - 1
            happened = await events.list_of_types(reader, chatbot.id, conversation_id, _COMINGS, after=0)
            comings = _comings(happened)
            who = _reader_of(principal)
            return ThreadPage(
                conversation=conversation,
                messages=shown,
                lines=[each for each in comings if first_seq < each.seq < end],
                first_seq=first_seq,
                read_seq=await read_marks.find(reader, chatbot.id, conversation_id, who),
                unread=(await read_marks.count_unread(reader, chatbot.id, [conversation_id], who)).get(conversation_id, 0),
                unrated=await _unrated(reader, chatbot.id, conversation_id, comings, shown),
            )

        return await self._database.read(read)

    async def overview(self, principal: Principal, chatbot: Chatbot, *, limit: int) -> list[Overview]:
        """An end user's own, the one that spoke last first."""
        _admit(principal, Scope.CONVERSATIONS_READ, chatbot)

        async def read(reader: Reader) -> list[Overview]:
            found = await conversations.list_conversations(
                reader,
                principal.account_id,
                chatbot.id,
                before=None,
                limit=limit,
                which=ConversationFilter(owned_by=principal.user_id, among=principal.conversation_ids),
            )
            ids = [each.conversation_id for each in found]
            said = await messages.list_last_said(reader, chatbot.id, ids)
            unread = await read_marks.count_unread(reader, chatbot.id, ids, _reader_of(principal))
            return [Overview(each, said.get(each.conversation_id, ""), unread.get(each.conversation_id, 0)) for each in found]

        return await self._database.read(read)

    # --- telling ---

    async def mark_read(self, principal: Principal, chatbot: Chatbot, conversation_id: str, reader: str | None, seq: int) -> None:
        """They have read up to there. `reader` names an operator where the principal is none."""
        _admit(principal, Scope.CONVERSATIONS_WRITE, chatbot)
        conversation_id, who = _id(conversation_id), _who(principal, reader)

        async def body(tx: Tx) -> None:
            conversation = await _lock(tx, principal, chatbot, conversation_id)
            await read_marks.raise_to(tx, chatbot.id, conversation_id, who, min(seq, conversation.last_seq))

        await self._database.transaction("conversation.read", body)

    async def note_typing(self, principal: Principal, chatbot: Chatbot, conversation_id: str, writer: str | None) -> None:
        """They are writing, for some seconds from now; those who follow are told."""
        _admit(principal, Scope.CONVERSATIONS_WRITE, chatbot)
        conversation_id, who = _id(conversation_id), _who(principal, writer)

        async def body(tx: Tx) -> None:
            await _lock(tx, principal, chatbot, conversation_id)
            await typing.note(tx, chatbot.id, conversation_id, who, now_us=self._clock())
            tx.after_commit(functools.partial(self._events.wake, chatbot.id, conversation_id))

        await self._database.transaction("conversation.typing", body)

    async def rate(
        self, principal: Principal, chatbot: Chatbot, conversation_id: str, *, closed_seq: int, score: int, comment: str
    ) -> None:
        """What the end user thought of a human's part, which ended with that event. Raises `InvalidRequest`."""
        _admit(principal, Scope.CONVERSATIONS_WRITE, chatbot)
        conversation_id = _id(conversation_id)

        async def body(tx: Tx) -> None:
            await _lock(tx, principal, chatbot, conversation_id)
            happened = await events.list_of_types(tx, chatbot.id, conversation_id, _COMINGS, after=0)
            closing = next((each for each in _comings(happened) if each.seq == closed_seq and each.is_rated), None)
            if closing is None:
                raise InvalidRequest(errors=(FieldError("seq", "Must be that of a closing by a human."),))
            known = await ratings.find(tx, chatbot.id, conversation_id, closed_seq)
            if known is not None and (known.score, known.comment) == (score, comment):
                return
            place = await self._events.add(tx, chatbot.id, conversation_id, ConversationRated(closed_seq=closed_seq, score=score))
            rating = ratings.Rating(
                chatbot.id, conversation_id, closed_seq, score, comment, closing.operator, created_at=place.at
            )
            await ratings.put(tx, rating)

        await self._database.transaction("conversation.rate", body)


def _admit(principal: Principal, scope: Scope, chatbot: Chatbot) -> None:
    principal.require(scope)
    principal.check_reach(chatbot)


def _id(conversation_id: str) -> str:
    return client_defined_id(conversation_id, "conversation_id")


async def _get(reader: Reader, principal: Principal, chatbot: Chatbot, conversation_id: str) -> Conversation:
    found = await conversations.find_owned(reader, principal.account_id, chatbot.id, conversation_id)
    if found is None:
        raise NotFound
    principal.check_own(conversation_id, found)
    return found


async def _lock(tx: Tx, principal: Principal, chatbot: Chatbot, conversation_id: str) -> Conversation:
    """Raises `NotFound` for one that is not theirs."""
    held = await conversations.lock(tx, chatbot.id, conversation_id)
    principal.check_own(conversation_id, held)
    if held is None:
        raise NotFound
    return held


def _reader_of(principal: Principal) -> str:
    """Whose marks they see as their own; the account's keys have none."""
    return principal.speaks_as or ""


def _who(principal: Principal, named: str | None) -> str:
    """Who reads or writes: an end user or an operator themselves; with an API key, the one named. Raises `InvalidRequest`."""
    who = _reader_of(principal) or speaker_id(named or "", "user_id")
    if named is not None and named != who:
        raise InvalidRequest(errors=(FieldError("user_id", "Must be yours: leave it out."),))
    return who


def _comings(happened: Sequence[Event]) -> list[Coming]:
    """A release names no person: it was the one who had taken over. A closing without a takeover before is housekeeping."""
    found, operator = [], ""
    for event in happened:
        if event.type == RELEASED and event.data.get("reason") == "closed":
            continue  # the closing is told already
        operator = str(event.data.get("operator", operator))
        found.append(Coming(event.seq, _KINDS[event.type], operator, event.type == CLOSED and bool(operator)))
        if event.type == CLOSED:
            operator = ""
    return found


async def _unrated(
    reader: Reader, chatbot_id: str, conversation_id: str, comings: Sequence[Coming], shown: Sequence[Message]
) -> Coming | None:
    """The last closing, unless it was rated, or the visitor has gone on since."""
    last = comings[-1] if comings else None
    if last is None or not last.is_rated:
        return None
    if any(message.role == "user" and message.seq > last.seq for message in shown):
        return None
    return last if await ratings.find(reader, chatbot_id, conversation_id, last.seq) is None else None
