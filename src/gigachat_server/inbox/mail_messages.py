"""What mail says, made when it is sent from what the store holds then.

Invariant: a transcript is made from messages alone, so no note or proposal can be in one; and what was deleted or answered before
it is sent is not told. What people call themselves stands on one line.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

import msgspec

from gigachat_server.chat.alerts import ALERT
from gigachat_server.clock import wire_time
from gigachat_server.records import Chatbot, Message, Operator
from gigachat_server.store import chatbots, conversations, end_users, messages, presence
from gigachat_server.store.conversations import BOT
from gigachat_server.store.database import Reader
from gigachat_server.store.mails import Mail

TRANSCRIPT: Final = "transcript"  # to an address that an operator gave
OWN_TRANSCRIPT: Final = "own_transcript"  # to the end user themselves, wherever their verified address is then
KINDS = (ALERT, TRANSCRIPT, OWN_TRANSCRIPT)

_LONGEST_NAME = 100
_LONGEST_TRANSCRIPT = 2_000_000  # characters
_AT_ONCE = 100
_LEFT_OUT = "\n[The rest is left out: this conversation is too long for a mail.]\n"


class Letter(msgspec.Struct, frozen=True):
    """A mail as it is now; what it says is plain text."""

    recipient: str
    subject: str
    text: str


async def write_letter(reader: Reader, mail: Mail, *, public_url: str) -> Letter | None:
    """None if there is nothing to tell any more, or no address to tell it to."""
    chatbot = await chatbots.find_of_any_account(reader, mail.chatbot_id)
    if chatbot is None:
        return None
    match mail.kind:
        case "alert":
            return await _alert(reader, mail, chatbot, public_url)
        case "transcript":
            return await _transcript(reader, mail, chatbot, mail.recipient)
        case "own_transcript":
            user = await end_users.find(reader, chatbot.id, mail.recipient)
            if user is None or not user.is_verified or user.email is None or user.blocked_at is not None:
                return None
            return await _transcript(reader, mail, chatbot, user.email)
    return None


def write_invitation(operator: Operator, link: str) -> Letter:
    text = f"You are invited to answer and to teach the chatbots here. Choose a password within 7 days:\n\n{link}\n"
    return Letter(operator.email, "Your invitation to gigachat", text)


async def _alert(reader: Reader, mail: Mail, chatbot: Chatbot, public_url: str) -> Letter | None:
    conversation = await conversations.find(reader, chatbot.id, mail.ref)
    if conversation is None or conversation.handoff_requested_at is None or conversation.controlled_by != BOT:
        return None
    address = await presence.find_address(reader, chatbot.account_id, mail.recipient)
    if address is None:
        return None
    since = wire_time(conversation.handoff_requested_at)[:16].replace("T", " ")
    page = f"/inbox/{chatbot.id}/{quote(conversation.conversation_id, safe='')}"
    where = f"\n{public_url.rstrip('/')}{page}\n" if public_url else ""
    text = f"Somebody asked {one_line(chatbot.name)} for a human at {since} UTC, when none was there, and still waits.\n{where}"
    return Letter(address, f"Somebody waits for you in {one_line(chatbot.name)}", text)


async def _transcript(reader: Reader, mail: Mail, chatbot: Chatbot, recipient: str) -> Letter | None:
    if await conversations.find(reader, chatbot.id, mail.ref) is None:
        return None
    said: list[str] = []
    length, after = 0, 0
    while page := await messages.list_messages(reader, chatbot.id, mail.ref, after=after, limit=_AT_ONCE):
        parts = _told(page)
        said += parts
        length, after = length + sum(map(len, parts)), page[-1].seq
        if length > _LONGEST_TRANSCRIPT:
            said.append(_LEFT_OUT)
            break
    return Letter(recipient, f"Your conversation with {one_line(chatbot.name)}", "\n".join(said))


def _told(said: Sequence[Message]) -> list[str]:
    """Who spoke, when, and what; replies that gave way to others are left out."""
    return [
        f"{_speaker(each)}, {wire_time(each.created_at)[:16].replace('T', ' ')} UTC\n{each.content}\n"
        for each in said
        if each.replaced_by is None
    ]


def _speaker(said: Message) -> str:
    return "You" if said.role == "user" else one_line(said.name)


def one_line(text: str) -> str:
    """As it can stand in a header, whatever it holds."""
    return "".join(each if each.isprintable() else " " for each in text)[:_LONGEST_NAME].strip() or "-"
