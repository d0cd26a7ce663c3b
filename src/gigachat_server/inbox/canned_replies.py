"""Canned replies: words that operators often need, found by a shortcut.

Invariant: a shortcut stands for one reply of its chatbot, in lower case; two that are written at once wait for each other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from gigachat_server.access.principal import Principal
from gigachat_server.access.scopes import Scope
from gigachat_server.clock import Clock
from gigachat_server.errors import Conflict, FieldError, InvalidRequest, NotFound
from gigachat_server.ids import new_id
from gigachat_server.language.words import is_blank
from gigachat_server.records import CannedReply, Chatbot
from gigachat_server.store import canned_replies, idempotency
from gigachat_server.store.database import Database, Reader, Tx

MOST_REPLIES = 1_000  # of one chatbot
_SHORTCUT = re.compile(r"[^\W_A-Z][\w-]{0,63}")


class TooManyCannedReplies(Conflict):
    code = "too_many_canned_replies"
    message = f"A chatbot has at most {MOST_REPLIES} canned replies."


class ShortcutTaken(Conflict):
    code = "shortcut_taken"
    message = "Another canned reply of this chatbot has this shortcut."


class CannedReplies:
    """The canned replies of all chatbots. Each method raises `Forbidden` and `NotFound`, besides what it names."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def put(
        self,
        principal: Principal,
        chatbot: Chatbot,
        reply_id: str | None,
        *,
        shortcut: str,
        content: str,
        key: idempotency.Key | None = None,
    ) -> CannedReply:
        """Store a new one (`reply_id` None), or replace one. Raises `InvalidRequest`, `ShortcutTaken`."""
        _admit(principal, chatbot)
        shortcut = shortcut.removeprefix("/").lower()
        if not _SHORTCUT.fullmatch(shortcut):
            message = "Must be one word of up to 64 letters, digits, - or _, such as refund-status."
            raise InvalidRequest(errors=(FieldError("shortcut", message),))
        if is_blank(content):
            raise InvalidRequest(errors=(FieldError("content", "Must contain some text."),))

        async def body(tx: Tx) -> CannedReply:
            known = await canned_replies.lock_all(tx, chatbot.id)
            await idempotency.give_way(tx, key, now_us=self._clock())
            if reply_id is not None and all(each.id != reply_id for each in known):
                raise NotFound
            if any(each.shortcut == shortcut and each.id != reply_id for each in known):
                raise ShortcutTaken
            if reply_id is None and len(known) >= MOST_REPLIES:
                raise TooManyCannedReplies
            reply = CannedReply(chatbot.id, reply_id or new_id(), shortcut, content, self._clock())
            await canned_replies.put(tx, reply)
            await idempotency.keep_result(tx, key, reply, now_us=self._clock())
            return reply

        return await self._database.transaction("canned_reply.put", body)

    async def list(self, principal: Principal, chatbot: Chatbot, *, after: str, limit: int) -> Sequence[CannedReply]:
        """By shortcut, from behind that one."""
        _admit(principal, chatbot)

        async def read(reader: Reader) -> Sequence[CannedReply]:
            return await canned_replies.list_replies(reader, chatbot.id, after=after, limit=limit)

        return await self._database.read(read)

    async def delete(self, principal: Principal, chatbot: Chatbot, reply_id: str) -> None:
        _admit(principal, chatbot)

        async def body(tx: Tx) -> bool:
            return await canned_replies.delete(tx, chatbot.id, reply_id)

        if not await self._database.transaction("canned_reply.delete", body):
            raise NotFound


def _admit(principal: Principal, chatbot: Chatbot) -> None:
    principal.require(Scope.MESSAGES_INJECT)
    principal.check_reach(chatbot)
