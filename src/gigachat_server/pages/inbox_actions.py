"""What the inbox's script has done: speak, write a note, take over, close, decide on a proposal, keep an answer, mark as read.

Idea: as on the page of a chat, a call only has something done, and what comes of it reaches every page by its stream. Invariant:
whoever acts here is an operator who is signed in, and acts as themselves, under the rules of the API.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from gigachat_server.access.speakers import CLIENT_PREFIX
from gigachat_server.chat.conversations import BOT
from gigachat_server.edge.answer import Answer
from gigachat_server.errors import AlreadyTakenOver, Forbidden, NotFound
from gigachat_server.ids import is_id
from gigachat_server.inbox.desk import DeskChange
from gigachat_server.inbox.presence import PresenceStatus
from gigachat_server.learning.groups import UnansweredSettled
from gigachat_server.pages.context import PageContext
from gigachat_server.pages.conversation import ConversationInput
from gigachat_server.pages.request import PageRequest
from gigachat_server.records import ConversationStatus, FixedAnswer
from gigachat_server.store import fixed_answers
from gigachat_server.store.database import Reader

_MOST_REPLIES = 1_000
_SIGN_IN = "Only operators answer here. Sign in as one: an owner or an admin invites you on the page Operators."

Text = Annotated[str, Meta(min_length=1, max_length=32_000)]


class SayInput(ConversationInput, frozen=True, kw_only=True, forbid_unknown_fields=True):
    content: Text


class NoteInput(ConversationInput, frozen=True, kw_only=True, forbid_unknown_fields=True):
    content: Annotated[str, Meta(min_length=1, max_length=10_000)]


class DeleteNoteInput(ConversationInput, frozen=True, kw_only=True, forbid_unknown_fields=True):
    note_id: str


class ReadInput(ConversationInput, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`seq`: of the last message that they have seen."""

    seq: Annotated[int, Meta(ge=0, le=2**53)]


class PresenceInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    status: PresenceStatus


class ControlInput(ConversationInput, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`force`: also from another operator."""

    force: bool = False


class ChangeInput(ConversationInput, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is left out stays."""

    status: ConversationStatus | UnsetType = UNSET
    snoozed_until: Annotated[datetime, Meta(tz=True)] | None = None
    assigned_to: Annotated[str, Meta(min_length=1, max_length=255)] | UnsetType | None = UNSET


class ProposalInput(ConversationInput, frozen=True, kw_only=True, forbid_unknown_fields=True):
    proposal_id: str


class SendInput(ProposalInput, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`content`: as the operator has edited it."""

    content: Text | None = None


class FixInput(ConversationInput, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`prompt_id`: of the prompt that this answers, whose group of unanswered ones is settled with it."""

    prompt_id: str | None = None
    prompt: Annotated[str, Meta(min_length=1, max_length=2_000)]
    answer: Text


class Reply(msgspec.Struct, frozen=True):
    """What the composer can put in."""

    kind: Literal["canned", "fixed"]
    name: str
    content: str


# --- speaking ---


async def say(request: PageRequest[SayInput], context: PageContext) -> Answer:
    """As the operator, who takes over first where nobody has. Sent again with its key, it is not said again."""
    wanted, door, me = request.body, context.services.conversations, _me(request)
    held = await door.read(request.principal, request.chatbot, wanted.conversation_id)
    if held.controlled_by == BOT:
        await door.take_over(request.principal, request.chatbot, wanted.conversation_id, me, may_take_from=False, key=None)
    elif held.controlled_by != me:
        raise AlreadyTakenOver
    said = await door.speak(
        request.principal,
        request.chatbot,
        conversation_id=wanted.conversation_id,
        user_id=CLIENT_PREFIX + me,
        text=wanted.content,
        metadata={},
        key=request.key,
    )
    return Answer({"message_id": said.prompt.id}, 201)


async def note(request: PageRequest[NoteInput], context: PageContext) -> Answer:
    wanted = request.body
    written = await context.services.desk.add_note(
        request.principal, request.chatbot, wanted.conversation_id, wanted.content, operator=_me(request), key=None
    )
    return Answer({"note_id": written.id}, 201)


async def delete_note(request: PageRequest[DeleteNoteInput], context: PageContext) -> Answer:
    _me(request)
    note_id = _checked_id(request.body.note_id)
    await context.services.desk.delete_note(request.principal, request.chatbot, request.body.conversation_id, note_id)
    return Answer(None, 204)


# --- who is at it ---


async def mark_read(request: PageRequest[ReadInput], context: PageContext) -> Answer:
    _me(request)
    wanted, threads = request.body, context.services.conversations.threads
    await threads.mark_read(request.principal, request.chatbot, wanted.conversation_id, None, wanted.seq)
    return Answer(None, 204)


async def note_typing(request: PageRequest[ConversationInput], context: PageContext) -> Answer:
    _me(request)
    threads = context.services.conversations.threads
    await threads.note_typing(request.principal, request.chatbot, request.body.conversation_id, None)
    return Answer(None, 204)


async def choose_presence(request: PageRequest[PresenceInput], context: PageContext) -> Answer:
    await context.services.presence.choose(request.principal, request.body.status)
    return Answer(None, 204)


# --- who answers, and whether it is done ---


async def take_over(request: PageRequest[ControlInput], context: PageContext) -> Answer:
    wanted = request.body
    await context.services.conversations.take_over(
        request.principal,
        request.chatbot,
        wanted.conversation_id,
        _me(request),
        may_take_from=wanted.force,
        key=None,
    )
    return Answer(None, 204)


async def release(request: PageRequest[ControlInput], context: PageContext) -> Answer:
    wanted = request.body
    await context.services.conversations.release(
        request.principal,
        request.chatbot,
        wanted.conversation_id,
        operator=_me(request),
        may_take_from=wanted.force,
        key=None,
    )
    return Answer(None, 204)


async def change(request: PageRequest[ChangeInput], context: PageContext) -> Answer:
    _me(request)
    wanted = request.body
    until = None if wanted.snoozed_until is None else int(wanted.snoozed_until.timestamp()) * 1_000_000
    await context.services.desk.change(
        request.principal,
        request.chatbot,
        wanted.conversation_id,
        DeskChange(status=wanted.status, snoozed_until=until, assigned_to=wanted.assigned_to),
    )
    return Answer(None, 204)


# --- proposals ---


async def suggest(request: PageRequest[ConversationInput], context: PageContext) -> Answer:
    _me(request)
    wanted = await context.services.proposals.suggest(request.principal, request.chatbot, request.body.conversation_id, key=None)
    return Answer({"proposal_id": wanted.id}, 202)


async def send(request: PageRequest[SendInput], context: PageContext) -> Answer:
    wanted = request.body
    said = await context.services.proposals.send(
        request.principal,
        request.chatbot,
        wanted.conversation_id,
        _checked_id(wanted.proposal_id),
        content=wanted.content,
        operator=_me(request),
        key=None,
    )
    return Answer({"message_id": said.id}, 201)


async def discard(request: PageRequest[ProposalInput], context: PageContext) -> Answer:
    wanted = request.body
    await context.services.proposals.discard(
        request.principal,
        request.chatbot,
        wanted.conversation_id,
        _checked_id(wanted.proposal_id),
        operator=_me(request),
        key=None,
    )
    return Answer(None, 204)


# --- what is said again and again ---


async def fix(request: PageRequest[FixInput], context: PageContext) -> Answer:
    """Keep an answer, word for word. It settles the group of unanswered prompts that the prompt is in, if it is in one."""
    wanted, services = request.body, context.services
    if wanted.prompt_id is not None and is_id(wanted.prompt_id):
        try:
            outcome = await services.learning.answer(
                request.chatbot, wanted.prompt_id, wanted.answer, prompts=[wanted.prompt], key=None
            )
            return Answer({"count": outcome.count}, 201)
        except (NotFound, UnansweredSettled):
            pass  # it was answered; to keep the answer for the next who ask is another matter
    await services.fixed_answers.put(request.chatbot, None, prompts=[wanted.prompt], answer=wanted.answer, is_enabled=True)
    return Answer({"count": 0}, 201)


async def replies(request: PageRequest[None], context: PageContext) -> Answer:
    """What the composer offers for `/`: canned replies by their shortcut, then fixed answers by their first wording."""
    services, chatbot = context.services, request.chatbot
    canned = await services.canned_replies.list(request.principal, chatbot, after="", limit=_MOST_REPLIES)

    async def read(reader: Reader) -> list[FixedAnswer]:
        return await fixed_answers.list_answers(reader, chatbot.id, after=None, limit=_MOST_REPLIES)

    fixed = await services.database.read(read)
    return Answer(
        [
            *(Reply("canned", each.shortcut, each.content) for each in canned),
            *(Reply("fixed", each.prompts[0], each.answer) for each in fixed if each.is_enabled),
        ]
    )


def _me(request: PageRequest[Any]) -> str:
    """The handle of whoever acts. Raises `Forbidden` for a key or a machine: an end user is answered by a person."""
    if request.principal.operator is None:
        raise Forbidden(_SIGN_IN)
    return request.principal.operator


def _checked_id(given: str) -> str:
    if not is_id(given):
        raise NotFound
    return given
