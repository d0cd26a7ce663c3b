"""Whose conversation it is, proven within the transaction that writes into it.

Invariant: an end user writes into conversations of their own alone, also while one changes hands: the row is held from the
proof to the commit. An account's key or an operator is not held up by it.
"""

from __future__ import annotations

import msgspec

from gigachat_server.access.principal import Principal
from gigachat_server.errors import Unauthenticated
from gigachat_server.store import conversations, user_sessions
from gigachat_server.store.database import Tx


class Entry(msgspec.Struct, frozen=True):
    """An end user's way into a conversation. `is_new`: into one of theirs that is not there yet, by an id that was just made."""

    principal: Principal
    is_new: bool = False

    async def prove(self, tx: Tx, chatbot_id: str, conversation_id: str) -> None:
        """Raises `NotFound` for one that is not theirs, `Unauthenticated` for a new one once their session was revoked."""
        if not self.is_new:
            held = await conversations.lock(tx, chatbot_id, conversation_id)
            self.principal.check_own(conversation_id, held)
            return
        access = self.principal.user_access
        session_id = access.session_id if access else None
        # What a visitor begins while they sign in elsewhere would be left to a user who is gone.
        if session_id is not None and not await user_sessions.hold(tx, chatbot_id, session_id):
            raise Unauthenticated


def conversation_target(chatbot_id: str, conversation_id: str) -> str:
    """How the audit log names a conversation."""
    return f"conversation:{chatbot_id} {conversation_id}"


def entry_of(principal: Principal, *, is_new: bool = False) -> Entry | None:
    """None for those who may enter any conversation of the chatbot."""
    return Entry(principal, is_new) if principal.is_end_user else None
