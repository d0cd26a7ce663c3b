"""What an operator sees of the inbox: lists over all chatbots that are theirs, who waits, and one conversation in full.

Invariant: as at the front door to conversations, every method takes the principal first and shows what they may read alone: notes
and proposals are read by those who may answer. Each answer is read at one moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import ExitStack

import msgspec

from gigachat_server.access.principal import Principal
from gigachat_server.access.scopes import Scope
from gigachat_server.access.speakers import client_defined_id
from gigachat_server.chat.events.recorder import Events
from gigachat_server.chat.feed import Feed
from gigachat_server.errors import NotFound, ShuttingDown
from gigachat_server.inbox.search import MessageSearch
from gigachat_server.records import Chatbot, Conversation, EndUser, Event, Message, Note, Proposal, UnansweredPrompt
from gigachat_server.records.events import EventType
from gigachat_server.store import conversations, end_users, events, inbox_lists, messages, notes, proposals, unanswered
from gigachat_server.store.conversations import ConversationFilter
from gigachat_server.store.database import Database, Reader
from gigachat_server.store.inbox_lists import MOST_CHATBOTS as MOST_CHATBOTS
from gigachat_server.store.inbox_lists import MOST_COUNTED as MOST_COUNTED
from gigachat_server.store.inbox_lists import VIEWS as VIEWS
from gigachat_server.store.inbox_lists import Listed as Listed
from gigachat_server.store.inbox_lists import View as View
from gigachat_server.store.inbox_lists import Wait as Wait
from gigachat_server.work.waking import is_set_within

# What a thread tells between messages.
LINES: tuple[EventType, ...] = (
    "conversation.taken_over",
    "conversation.released",
    "conversation.assigned",
    "conversation.closed",
    "conversation.reopened",
    "conversation.snoozed",
    "conversation.identified",
    "handoff.requested",
)
_MOST_NOTES = 500
_MOST_OTHERS = 5


class Rows(msgspec.Struct, frozen=True):
    """A list as it stands, and what is counted beside it."""

    listed: Sequence[Listed]
    waits: Sequence[Wait]
    mine: int


class Desk(msgspec.Struct, frozen=True):
    """How a conversation stands, and what is proposed in it, to those who may answer."""

    conversation: Conversation
    proposals: Sequence[Proposal]
    handoff: Event | None  # the newest request for a human, while none has come


class Person(msgspec.Struct, frozen=True):
    """The end user of a conversation as far as they are known, what else they spoke of, and what of it went unanswered."""

    user: EndUser | None
    others: Sequence[Conversation]
    unanswered: UnansweredPrompt | None  # the newest prompt, if it is open


class Thread(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation in full, but for what has a seq up to `first_seq`."""

    desk: Desk
    person: Person
    messages: Sequence[Message]
    lines: Sequence[Event]
    notes: Sequence[Note]
    first_seq: int


class Overview:
    """Each method raises `Forbidden` and `NotFound`, besides what it names."""

    def __init__(self, database: Database, *, search: MessageSearch, events: Events, feed: Feed) -> None:
        self._database = database
        self._search = search
        self._events = events
        self._feed = feed

    async def changes(self, principal: Principal, chatbots: Sequence[Chatbot], *, idle_s: float) -> AsyncGenerator[bool, None]:
        """True at once, and whenever something happened in these since; False whenever nothing did for `idle_s`.

        Raises `ShuttingDown` when this process stops.
        """
        woken = asyncio.Event()
        with ExitStack() as followed:
            for each in readable(principal, chatbots):
                followed.enter_context(self._events.woken(each.id, None, woken))
            woken.set()
            while True:
                is_woken = await is_set_within(woken, idle_s)
                if self._feed.is_closed:
                    raise ShuttingDown(retry_after_s=1)
                woken.clear()
                yield is_woken

    async def rows(self, principal: Principal, chatbots: Sequence[Chatbot], view: View, *, limit: int) -> Rows:
        """Of these chatbots, as far as the principal may read in them."""
        admitted, me = readable(principal, chatbots), principal.operator or ""
        ids = [each.id for each in admitted]

        async def read(reader: Reader) -> Rows:
            listed = await inbox_lists.list_view(reader, ids, view, me=me, limit=limit, marks_of=principal.speaks_as or "")
            return Rows(
                _marked(principal, admitted, listed),
                await inbox_lists.list_waits(reader, ids),
                await inbox_lists.count_mine(reader, ids, me),
            )

        return await self._database.read(read)

    async def found(self, principal: Principal, chatbots: Sequence[Chatbot], text: str, *, limit: int) -> Rows:
        """Conversations in which something was said with these words, the newest such message first. Raises `SearchBusy`."""
        admitted = readable(principal, chatbots)
        found = await self._search.newest_of_each(principal, admitted, text, limit=limit)

        async def read(reader: Reader) -> Rows:
            ids, me = [each.id for each in admitted], principal.operator or ""
            named = await inbox_lists.list_named(reader, list(found), marks_of=principal.speaks_as or "")
            listed = {_key(each.conversation): each for each in _marked(principal, admitted, named)}
            hits = [
                msgspec.structs.replace(listed[key], said=hit.content[:200], said_by=hit.role)
                for key, hit in found.items()
                if key in listed
            ]
            waits = await inbox_lists.list_waits(reader, ids)
            return Rows(hits, waits, await inbox_lists.count_mine(reader, ids, me))

        return await self._database.read(read)

    async def thread(self, principal: Principal, chatbot: Chatbot, conversation_id: str, *, limit: int) -> Thread:
        """With its newest messages, at most about so many."""
        conversation_id = _admit(principal, chatbot, conversation_id)

        async def read(reader: Reader) -> Thread:
            desk = await _desk(reader, principal, chatbot, conversation_id)
            first_seq = max(0, desk.conversation.last_seq - limit)
            found = await messages.list_messages(reader, chatbot.id, conversation_id, after=first_seq, limit=limit)
            lines = await events.list_of_types(reader, chatbot.id, conversation_id, types=LINES, after=first_seq)
            written = list[Note]()
            if _answers(principal, chatbot):
                written = await notes.list_notes(reader, chatbot.id, conversation_id, after="", limit=_MOST_NOTES)
            return Thread(
                desk=desk,
                person=await _person(reader, principal, chatbot, desk.conversation),
                messages=found,
                lines=lines,
                notes=[note for note in written if note.after_seq >= first_seq],
                first_seq=first_seq,
            )

        return await self._database.read(read)

    async def now(
        self, principal: Principal, chatbot: Chatbot, conversation_id: str, *, note_id: str | None
    ) -> tuple[Desk, Person, Note | None]:
        """How it stands, whose it is, and that note, if it is there."""
        conversation_id = _admit(principal, chatbot, conversation_id)

        async def read(reader: Reader) -> tuple[Desk, Person, Note | None]:
            desk = await _desk(reader, principal, chatbot, conversation_id)
            note = None
            if note_id and _answers(principal, chatbot):
                note = await notes.find(reader, chatbot.id, conversation_id, note_id)
            return desk, await _person(reader, principal, chatbot, desk.conversation), note

        return await self._database.read(read)


def readable(principal: Principal, chatbots: Sequence[Chatbot]) -> list[Chatbot]:
    """Those in which the principal may read conversations. Raises `NotFound` for a foreign one."""
    return [each for each in chatbots if principal.within(each).may(Scope.CONVERSATIONS_READ)][:MOST_CHATBOTS]


async def _desk(reader: Reader, principal: Principal, chatbot: Chatbot, conversation_id: str) -> Desk:
    conversation = await conversations.find_owned(reader, principal.account_id, chatbot.id, conversation_id)
    if conversation is None:
        raise NotFound
    handoff = None
    if conversation.handoff_requested_at is not None or conversation.controlled_by != conversations.BOT:
        asked = await events.list_of_types(reader, chatbot.id, conversation_id, types=("handoff.requested",), after=0)
        handoff = asked[-1] if asked else None
    if not _answers(principal, chatbot):
        return Desk(conversation, [], handoff)
    return Desk(conversation, await proposals.list_undecided(reader, chatbot.id, conversation_id), handoff)


async def _person(reader: Reader, principal: Principal, chatbot: Chatbot, conversation: Conversation) -> Person:
    user_id, conversation_id = conversation.user_id, conversation.conversation_id
    user, others = None, list[Conversation]()
    if user_id is not None:
        user = await end_users.find(reader, chatbot.id, user_id)
        others = await conversations.list_conversations(
            reader,
            principal.account_id,
            chatbot.id,
            before=None,
            limit=_MOST_OTHERS + 1,
            which=ConversationFilter(user_id=user_id),
        )
    prompt = await messages.find_newest_prompt(reader, chatbot.id, conversation_id)
    missed = None if prompt is None else await unanswered.find(reader, chatbot.id, prompt.id)
    is_open = missed is not None and missed.state == "open"
    others = [each for each in others if each.conversation_id != conversation_id][:_MOST_OTHERS]
    return Person(user, others, missed if is_open else None)


def _admit(principal: Principal, chatbot: Chatbot, conversation_id: str) -> str:
    principal.within(chatbot).require(Scope.CONVERSATIONS_READ)
    return client_defined_id(conversation_id, "conversation_id")


def _answers(principal: Principal, chatbot: Chatbot) -> bool:
    """Whether what operators tell each other is for them, as over the API."""
    return principal.within(chatbot).may(Scope.MESSAGES_INJECT)


def _marked(principal: Principal, chatbots: Sequence[Chatbot], listed: Sequence[Listed]) -> list[Listed]:
    """Who does not answer in a chatbot has no read marks there: nothing in it is unread to them."""
    answered = {each.id for each in chatbots if _answers(principal, each)}
    return [
        each
        if each.conversation.chatbot_id in answered
        else msgspec.structs.replace(each, read_seq=each.conversation.last_message_seq)
        for each in listed
    ]


def _key(conversation: Conversation) -> tuple[str, str]:
    return conversation.chatbot_id, conversation.conversation_id
