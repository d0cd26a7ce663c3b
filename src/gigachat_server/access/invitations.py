"""Invitations by mail: an operator gets the link to choose a password with, as the one who invited them does.

Invariant: the mail is asked for in the transaction that invites, and its link is made when it is sent: the store never holds one.
"""

from __future__ import annotations

import asyncio

from gigachat_server.access.one_way import digest, new_secret
from gigachat_server.clock import Clock
from gigachat_server.ids import new_id
from gigachat_server.records import OneTimeToken, Operator
from gigachat_server.store import mails, operator_sessions, operators
from gigachat_server.store.database import Reader, Tx

INVITE = "invite"  # what its token is for, and the kind of its mail
INVITE_S = 7 * 24 * 3600
_SECOND = 1_000_000


class Invitations:
    """`are_sent`: whether this server sends mail, and knows its own address. `wanted` wakes the worker that sends it."""

    def __init__(self, clock: Clock, *, are_sent: bool, wanted: asyncio.Event) -> None:
        self._clock = clock
        self._are_sent = are_sent
        self._wanted = wanted

    def token(self, operator: Operator, secret: str) -> OneTimeToken:
        """What stands in the store for a link that ends with that secret."""
        return OneTimeToken(
            token_sha256=digest(secret),
            account_id=operator.account_id,
            operator_id=operator.id,
            purpose=INVITE,
            expires_at=self._clock() + INVITE_S * _SECOND,
        )

    async def send_in(self, tx: Tx, operator: Operator) -> None:
        """Within a transaction: have a mail with a link sent, too. An account is no chatbot, so the mail belongs to none."""
        if self._are_sent:
            await mails.insert(tx, [mails.Mail("", new_id(), INVITE, operator.id, operator.account_id, self._clock())])
            tx.after_commit(self._wanted.set)

    async def find_invited(self, reader: Reader, mail: mails.Mail) -> Operator | None:
        """Whom the mail is for; None if they were disabled or deleted, or have signed in since."""
        operator = await operators.find(reader, mail.ref, mail.recipient)
        if operator is None or operator.disabled_at is not None:
            return None
        return None if (operator.seen_at or 0) > mail.created_at else operator

    async def make_link(self, tx: Tx, operator: Operator) -> str:
        """The secret of a further link, good from the end of the transaction on."""
        secret = new_secret()
        await operator_sessions.insert_token(tx, self.token(operator, secret))
        return secret

    async def void_link(self, tx: Tx, secret: str) -> None:
        """It was never sent."""
        await operator_sessions.claim_token(tx, digest(secret), now_us=self._clock())
