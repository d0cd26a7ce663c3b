"""Mail to the operators of a chatbot that somebody waits for a human while none is there.

Invariant: it is asked for in the transaction that asks for the human, so one handoff is one mail to each operator; and it is made
when it is sent, so it does not tell of what was answered meanwhile (`inbox/mail_messages.py`).
"""

from __future__ import annotations

import asyncio

from gigachat_server.clock import Clock
from gigachat_server.ids import new_id
from gigachat_server.records import Chatbot
from gigachat_server.store import mails, presence
from gigachat_server.store.database import Tx

ALERT = "alert"


class Alerts:
    """`are_sent`: whether this server sends mail at all. `wanted` wakes the worker that sends it."""

    def __init__(self, clock: Clock, *, are_sent: bool, wanted: asyncio.Event) -> None:
        self.are_sent = are_sent
        self._clock = clock
        self._wanted = wanted

    async def add_in(self, tx: Tx, chatbot: Chatbot, conversation_id: str) -> None:
        """Within a transaction: tell everyone who may answer there."""
        if not self.are_sent:
            return
        now_us = self._clock()
        operator_ids = await presence.list_who_answer(tx, chatbot.account_id, chatbot.id)
        await mails.insert(
            tx, [mails.Mail(chatbot.id, new_id(), ALERT, operator_id, conversation_id, now_us) for operator_id in operator_ids]
        )
        tx.after_commit(self._wanted.set)
