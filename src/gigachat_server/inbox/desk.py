"""The desk: which conversations are open, who looks after them, and what operators write beside them.

Invariant: as at the front door to conversations, every method takes the principal first and checks scope and reach once; and
each change is one transaction that takes the conversation's row first, so of two operators who do the same at once one does
it and the other finds it done: one closing is one event.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from gigachat_server.access.operators import check_may_answer
from gigachat_server.access.principal import Principal
from gigachat_server.access.scopes import Scope
from gigachat_server.access.speakers import client_defined_id, operator_name
from gigachat_server.chat.events.recorder import Events
from gigachat_server.chat.turns.control import Control
from gigachat_server.chat.turns.proposing import supersede
from gigachat_server.clock import Clock
from gigachat_server.errors import FieldError, InvalidRequest, NotFound
from gigachat_server.ids import new_id
from gigachat_server.language.words import is_blank
from gigachat_server.records import (
    Chatbot,
    Conversation,
    ConversationAssigned,
    ConversationClosed,
    ConversationSnoozed,
    Note,
    NoteCreated,
    NoteDeleted,
)
from gigachat_server.store import conversations, idempotency, notes
from gigachat_server.store.database import Database, Reader, Tx

_LONGEST_SNOOZE_US = 366 * 86_400 * 1_000_000


class DeskChange(msgspec.Struct, frozen=True, kw_only=True):
    """What is to change of a conversation; what is unset stays. `assigned_to` None: it is unassigned."""

    status: Literal["open", "snoozed", "closed"] | UnsetType = UNSET
    snoozed_until: int | None = None  # for `snoozed`
    assigned_to: str | UnsetType | None = UNSET


class Desk:
    """What operators do with conversations. Each method raises `Forbidden` and `NotFound`, besides what it names."""

    def __init__(self, database: Database, *, control: Control, events: Events, clock: Clock) -> None:
        self._database = database
        self._control = control
        self._events = events
        self._clock = clock

    async def change(self, principal: Principal, chatbot: Chatbot, conversation_id: str, wanted: DeskChange) -> Conversation:
        """Open, snooze, close or assign it; the conversation then. Raises `InvalidRequest`."""
        _admit(principal, chatbot)
        conversation_id, by = _id(conversation_id), author(principal)
        self._check_snooze(wanted)
        if isinstance(wanted.assigned_to, str):
            wanted = msgspec.structs.replace(wanted, assigned_to=operator_name(wanted.assigned_to, "assigned_to"))

        async def body(tx: Tx) -> Conversation:
            conversation = await conversations.lock(tx, chatbot.id, conversation_id)
            if conversation is None:
                raise NotFound
            await self._set_status(tx, conversation, wanted, by)
            if not isinstance(wanted.assigned_to, UnsetType) and wanted.assigned_to != conversation.assigned_to:
                if wanted.assigned_to is not None:
                    await check_may_answer(tx, chatbot, wanted.assigned_to, "assigned_to")
                await conversations.assign(tx, chatbot.id, conversation_id, operator=wanted.assigned_to)
                assigned = ConversationAssigned(operator=wanted.assigned_to, by=by)
                await self._events.add(tx, chatbot.id, conversation_id, assigned)
            return await conversations.find(tx, chatbot.id, conversation_id) or conversation

        return await self._database.transaction("desk.change", body)

    async def _set_status(self, tx: Tx, conversation: Conversation, wanted: DeskChange, by: str) -> None:
        chatbot_id, conversation_id = conversation.chatbot_id, conversation.conversation_id
        if wanted.status == "closed" and conversation.status != "closed":
            await conversations.close(tx, chatbot_id, conversation_id, at=self._clock())
            await self._events.add(tx, chatbot_id, conversation_id, ConversationClosed(by=by))
            await supersede(tx, self._events, chatbot_id, conversation_id, "intercepted")
            # An operator who is done does not stand in the way of the next prompt.
            await self._control.release_in(tx, chatbot_id, conversation_id, reason="closed")
        elif wanted.status == "snoozed" and wanted.snoozed_until != conversation.snoozed_until:
            assert wanted.snoozed_until is not None
            await conversations.snooze(tx, chatbot_id, conversation_id, until=wanted.snoozed_until)
            await self._events.add(tx, chatbot_id, conversation_id, ConversationSnoozed(by=by))
        elif wanted.status == "open":
            await self._control.reopen_in(tx, chatbot_id, conversation_id, reason="operator")

    def _check_snooze(self, wanted: DeskChange) -> None:
        until = wanted.snoozed_until
        if (until is not None) != (wanted.status == "snoozed"):
            message = "Belongs to status snoozed, which needs it: until when."
            raise InvalidRequest(errors=(FieldError("snoozed_until", message),))
        if until is not None and not 0 < until - self._clock() <= _LONGEST_SNOOZE_US:
            raise InvalidRequest(errors=(FieldError("snoozed_until", "Must be in the future, and at most a year away."),))

    async def wake_snoozed(self) -> None:
        """Open what was snoozed until now, on whichever node looks first."""

        async def read(reader: Reader) -> list[tuple[str, str]]:
            return await conversations.list_snoozed_until(reader, now_us=self._clock())

        for chatbot_id, conversation_id in await self._database.read(read):

            async def body(tx: Tx, chatbot_id: str = chatbot_id, conversation_id: str = conversation_id) -> bool:
                return await self._control.reopen_in(tx, chatbot_id, conversation_id, reason="snooze", due_at=self._clock())

            await self._database.transaction("desk.wake_snoozed", body)

    # --- notes ---

    async def add_note(
        self,
        principal: Principal,
        chatbot: Chatbot,
        conversation_id: str,
        content: str,
        *,
        operator: str | None,
        key: idempotency.Key | None,
    ) -> Note:
        """Store it behind what was said so far. `operator`: who writes, where the principal is not a person."""
        _admit(principal, chatbot)
        conversation_id, name = _id(conversation_id), author(principal, operator)
        if is_blank(content):
            raise InvalidRequest(errors=(FieldError("content", "Must contain some text."),))

        async def body(tx: Tx) -> Note:
            conversation = await conversations.lock(tx, chatbot.id, conversation_id)
            if conversation is None:
                raise NotFound
            note_id = new_id()
            place = await self._events.add(tx, chatbot.id, conversation_id, NoteCreated(note_id=note_id))
            note = Note(
                chatbot_id=chatbot.id,
                conversation_id=conversation_id,
                id=note_id,
                after_seq=conversation.last_seq,
                operator=name,
                content=content,
                created_at=place.at,
                updated_at=place.at,
            )
            await notes.insert(tx, note)
            await idempotency.keep_result(tx, key, note, now_us=self._clock())
            return note

        return await self._database.transaction("note.add", body)

    async def list_notes(
        self, principal: Principal, chatbot: Chatbot, conversation_id: str, *, after: str, limit: int
    ) -> Sequence[Note]:
        """Oldest first, from behind that id."""
        _admit(principal, chatbot)
        conversation_id = _id(conversation_id)

        async def read(reader: Reader) -> Sequence[Note]:
            if await conversations.find_owned(reader, principal.account_id, chatbot.id, conversation_id) is None:
                raise NotFound
            return await notes.list_notes(reader, chatbot.id, conversation_id, after=after, limit=limit)

        return await self._database.read(read)

    async def delete_note(self, principal: Principal, chatbot: Chatbot, conversation_id: str, note_id: str) -> None:
        """Take it away. A person may take away their own alone, unless they administer the account."""
        _admit(principal, chatbot)
        conversation_id = _id(conversation_id)

        async def body(tx: Tx) -> None:
            await conversations.lock(tx, chatbot.id, conversation_id)
            note = await notes.find(tx, chatbot.id, conversation_id, note_id)
            if note is None:
                raise NotFound
            if principal.operator not in (None, note.operator):
                principal.require(Scope.ACCESS_WRITE, "This is another operator's note.")
            await notes.delete(tx, chatbot.id, conversation_id, note_id)
            await self._events.add(tx, chatbot.id, conversation_id, NoteDeleted(note_id=note_id))

        await self._database.transaction("note.delete", body)


def author(principal: Principal, named: str | None = None) -> str:
    """Who writes: the operator who is signed in, whatever name was given; else that name; else the credential's."""
    if principal.operator is not None:
        return principal.operator
    return principal.actor if named is None else operator_name(named, "operator")


def _admit(principal: Principal, chatbot: Chatbot) -> None:
    principal.require(Scope.MESSAGES_INJECT)
    principal.check_reach(chatbot)


def _id(conversation_id: str) -> str:
    return client_defined_id(conversation_id, "conversation_id")
