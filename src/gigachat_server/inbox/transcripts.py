"""Transcripts by mail: what was said in a conversation, sent to whom it belongs or to whom an operator sends it.

Invariant: an end user gets a transcript of their own conversations alone, and at no other address than the one that their
client's server verified: so none has another person's conversation sent to themselves, or mail to a stranger.
"""

from __future__ import annotations

import asyncio
import re

from gigachat_server.access.principal import Principal
from gigachat_server.access.scopes import Scope
from gigachat_server.chat.conversations import Conversations
from gigachat_server.clock import Clock
from gigachat_server.errors import Conflict, FieldError, GigachatError, InvalidRequest
from gigachat_server.ids import new_id
from gigachat_server.inbox.mail_messages import OWN_TRANSCRIPT, TRANSCRIPT
from gigachat_server.records import Chatbot, EndUser
from gigachat_server.store import conversations, end_users, idempotency, mails
from gigachat_server.store.database import Database, Reader, Tx
from gigachat_server.store.mails import Mail

_ADDRESS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63}){0,8}", re.ASCII)


class MailMissing(GigachatError):
    status = 503
    code = "mail_missing"
    message = "This server sends no mail: its administrator sets GIGACHAT_SMTP_URL and GIGACHAT_MAIL_FROM."


class EmailUnverified(Conflict):
    code = "email_unverified"
    message = "There is no verified e-mail address of this end user: your server's tokens tell it."


class Transcripts:
    def __init__(self, database: Database, asked: Conversations, clock: Clock, *, are_sent: bool, wanted: asyncio.Event) -> None:
        """`asked` says who may read which conversation; `wanted` wakes the worker that sends mail."""
        self._database = database
        self._asked = asked
        self._clock = clock
        self._are_sent = are_sent
        self._wanted = wanted

    async def send(
        self,
        principal: Principal,
        chatbot: Chatbot,
        conversation_id: str,
        email: str | None,
        *,
        key: idempotency.Key | None,
    ) -> None:
        """To that address, or to the verified one of the conversation's end user. One that waits to be sent is not sent twice.

        Raises `Forbidden`, `NotFound`, `InvalidRequest`, `EmailUnverified`, `MailMissing`.
        """
        if not principal.is_end_user:
            principal.require(Scope.MESSAGES_INJECT)
        conversation = await self._asked.read(principal, chatbot, conversation_id)
        user_id = principal.user_id if principal.is_end_user else conversation.user_id
        kind, recipient = await self._recipient(principal, chatbot, user_id, email)
        if not self._are_sent:
            raise MailMissing(retry_after_s=3600)
        mail = Mail(chatbot.id, new_id(), kind, recipient, conversation.conversation_id, self._clock())

        async def body(tx: Tx) -> None:
            # Its row first, so that of two who ask at once the second one sees the first one's mail.
            await conversations.lock(tx, chatbot.id, conversation.conversation_id)
            await idempotency.give_way(tx, key, now_us=self._clock())
            if not await mails.is_waiting(tx, chatbot.id, kind=kind, recipient=recipient, ref=mail.ref):
                await mails.insert(tx, [mail])
                tx.after_commit(self._wanted.set)
            await idempotency.keep_result(tx, key, [mail.id], now_us=self._clock())

        await self._database.transaction("transcript.send", body)

    async def _recipient(self, principal: Principal, chatbot: Chatbot, user_id: str | None, email: str | None) -> tuple[str, str]:
        """The kind of mail, and for whom it is."""
        if not principal.is_end_user and email is not None:
            if not _ADDRESS.fullmatch(email):
                raise InvalidRequest(errors=(FieldError("email", "Must be an e-mail address."),))
            return TRANSCRIPT, email

        async def read(reader: Reader) -> EndUser | None:
            return None if user_id is None else await end_users.find(reader, chatbot.id, user_id)

        user = await self._database.read(read)
        if user is None or user.email is None or not user.is_verified:
            raise EmailUnverified
        if email is not None and email != user.email:
            raise InvalidRequest(errors=(FieldError("email", "Must be your verified address, or left out."),))
        return OWN_TRANSCRIPT, user.user_id
