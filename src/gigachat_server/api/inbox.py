"""What a support team does beside speaking, over HTTP: status and assignment, notes, canned replies."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType
from starlette.responses import Response

from gigachat_server.api import wire
from gigachat_server.clock import wire_time
from gigachat_server.edge.answer import Answer
from gigachat_server.edge.request import Request, next_link, query_limit
from gigachat_server.errors import NotFound
from gigachat_server.ids import is_id
from gigachat_server.inbox.desk import DeskChange
from gigachat_server.records import CannedReply, ConversationStatus, Note
from gigachat_server.services import Services

Text = Annotated[str, Meta(min_length=1, max_length=10_000)]


class ConversationChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is to change; what is left out stays."""

    status: Annotated[
        ConversationStatus | UnsetType,
        Meta(description="A closed or snoozed conversation is open again as soon as its end user speaks."),
    ] = UNSET
    snoozed_until: Annotated[
        Annotated[datetime, Meta(tz=True)] | None, Meta(description="With status snoozed: in the next year.")
    ] = None
    assigned_to: Annotated[
        Annotated[str, Meta(min_length=1, max_length=255)] | UnsetType | None,
        Meta(description="The operator who looks after it, or null."),
    ] = UNSET


class NoteInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an operator tells the others; end users never see it."""

    content: Text
    operator: Annotated[
        Annotated[str, Meta(min_length=1, max_length=255)] | None,
        Meta(description="Who writes; an operator who is signed in writes as themselves."),
    ] = None


class WireNote(msgspec.Struct, frozen=True):
    id: str
    conversation_id: str
    after_seq: Annotated[int, Meta(description="The `seq` of the conversation when it was written.")]
    operator: str
    content: str
    created_at: wire.Moment
    updated_at: wire.Moment


class CannedReplyInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    shortcut: Annotated[str, Meta(min_length=1, max_length=65, description="One word, such as `refund-status`.")]
    content: Text


class WireCannedReply(msgspec.Struct, frozen=True):
    id: str
    chatbot_id: str
    shortcut: str
    content: str
    updated_at: wire.Moment


async def change(request: Request[ConversationChange], services: Services) -> Answer:
    """Opens, snoozes, closes or assigns a conversation. Closing gives control back to the chatbot."""
    wanted = request.body
    until = None if wanted.snoozed_until is None else _microseconds(wanted.snoozed_until)
    change = DeskChange(status=wanted.status, snoozed_until=until, assigned_to=wanted.assigned_to)
    changed = await services.desk.change(request.principal, request.chatbot, request.named["conversation_id"], change)
    return Answer(wire.conversation(changed))


async def add_note(request: Request[NoteInput], services: Services) -> Answer | Response:
    wanted = request.body
    note = request.earlier(Note) or await services.desk.add_note(
        request.principal,
        request.chatbot,
        request.named["conversation_id"],
        wanted.content,
        operator=wanted.operator,
        key=request.key,
    )
    return Answer(_note(note), 201)


async def list_notes(request: Request[None], services: Services) -> Answer:
    limit, after = query_limit(request.query), request.query.get("after", "")
    found = await services.desk.list_notes(
        request.principal, request.chatbot, request.named["conversation_id"], after=after, limit=limit + 1
    )
    headers = next_link(request, found[limit - 1].id) if len(found) > limit else {}
    return Answer([_note(each) for each in found[:limit]], headers=headers)


async def delete_note(request: Request[None], services: Services) -> Answer:
    note_id = _id(request, "note_id")
    await services.desk.delete_note(request.principal, request.chatbot, request.named["conversation_id"], note_id)
    return Answer(None, 204)


async def list_canned_replies(request: Request[None], services: Services) -> Answer:
    limit, after = query_limit(request.query), request.query.get("after", "")
    found = await services.canned_replies.list(request.principal, request.chatbot, after=after, limit=limit + 1)
    headers = next_link(request, found[limit - 1].shortcut) if len(found) > limit else {}
    return Answer([_canned_reply(each) for each in found[:limit]], headers=headers)


async def create_canned_reply(request: Request[CannedReplyInput], services: Services) -> Answer:
    wanted = request.body
    stored = request.earlier(CannedReply) or await services.canned_replies.put(
        request.principal, request.chatbot, None, shortcut=wanted.shortcut, content=wanted.content, key=request.key
    )
    return Answer(_canned_reply(stored), 201)


async def put_canned_reply(request: Request[CannedReplyInput], services: Services) -> Answer:
    wanted = request.body
    stored = await services.canned_replies.put(
        request.principal, request.chatbot, _id(request, "canned_reply_id"), shortcut=wanted.shortcut, content=wanted.content
    )
    return Answer(_canned_reply(stored))


async def delete_canned_reply(request: Request[None], services: Services) -> Answer:
    await services.canned_replies.delete(request.principal, request.chatbot, _id(request, "canned_reply_id"))
    return Answer(None, 204)


def _note(record: Note) -> WireNote:
    return WireNote(
        id=record.id,
        conversation_id=record.conversation_id,
        after_seq=record.after_seq,
        operator=record.operator,
        content=record.content,
        created_at=wire_time(record.created_at),
        updated_at=wire_time(record.updated_at),
    )


def _canned_reply(record: CannedReply) -> WireCannedReply:
    return WireCannedReply(
        id=record.id,
        chatbot_id=record.chatbot_id,
        shortcut=record.shortcut,
        content=record.content,
        updated_at=wire_time(record.updated_at),
    )


def _id(request: Request[Any], name: str) -> str:
    named = request.named[name]
    if not is_id(named):
        raise NotFound
    return named


def _microseconds(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000 + moment.microsecond
