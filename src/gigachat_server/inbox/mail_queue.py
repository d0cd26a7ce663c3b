"""Mail that waits to be sent, as background work; `work/leased.py` has the policy.

Invariant: a mail is sent once, however long the mail server is away: waiting for it counts as no try, and what was sent is
deleted. Only a process that is killed between the two sends it twice, with the Message-ID that mail servers know by then.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Collection
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr

from gigachat_server.access.invitations import INVITE, Invitations
from gigachat_server.access.sessions import INVITE_PATH
from gigachat_server.clock import Clock
from gigachat_server.errors import SetupError
from gigachat_server.inbox.mail_messages import Letter, write_invitation, write_letter
from gigachat_server.inbox.mail_server import MailRefused, MailServer, MailServerAway
from gigachat_server.records import Operator
from gigachat_server.store import mails
from gigachat_server.store.database import Database, Reader, Tx
from gigachat_server.store.mails import Mail, MailRef
from gigachat_server.work.background import Background
from gigachat_server.work.leased import PutOff

AWAY_S = 60.0  # how long the mail server is left alone when it was away
_KEPT_US = 3 * 86_400 * 1_000_000  # how long a mail is tried for
_LOOK_EVERY_S = 30.0
_AT_ONCE = 2
_LONGEST_REASON = 500


class Sender:
    """Who mail comes from, and what takes it. Raises `SetupError` for settings that are none."""

    def __init__(self, smtp_url: str, mail_from: str) -> None:
        self._server = MailServer.parse(smtp_url)
        name, self._address = parseaddr(mail_from)
        local, at, domain = self._address.rpartition("@")
        if not (local and at and domain) or any(not each.isprintable() for each in mail_from):
            raise SetupError("GIGACHAT_MAIL_FROM must be an address, such as Support <support@example.com>.")
        self._from = Address(name, local, domain)
        self._domain = domain

    def message(self, mail: Mail, letter: Letter, *, now_us: int) -> EmailMessage:
        message = EmailMessage(policy=SMTP)
        message["From"] = self._from
        message["To"] = letter.recipient
        message["Subject"] = letter.subject
        message["Date"] = format_datetime(datetime.fromtimestamp(now_us / 1_000_000, UTC))
        message["Message-ID"] = f"<{mail.id}@{self._domain}>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(letter.text)
        return message

    async def send(self, message: EmailMessage, recipient: str) -> None:
        """Raises `MailRefused`, `MailServerAway`."""
        loop, send = asyncio.get_running_loop(), functools.partial(self._server.send, sender=self._address, recipient=recipient)
        sending = loop.run_in_executor(None, send, message)
        try:
            await asyncio.shield(sending)
        except asyncio.CancelledError:
            # The thread goes on: whether the mail was sent has to be known before another worker may take it.
            await sending
            raise


class MailQueue:
    """The mail that is due."""

    def __init__(self, database: Database, sender: Sender, clock: Clock, *, invitations: Invitations, public_url: str) -> None:
        self._database = database
        self._invitations = invitations
        self._sender = sender
        self._clock = clock
        self._public_url = public_url.rstrip("/")

    async def find_next(self, running: Collection[MailRef], without: Collection[MailRef]) -> MailRef | None:
        async def read(reader: Reader) -> list[MailRef]:
            return await mails.list_due(reader, now_us=self._clock(), limit=1 + len(without))

        return next((each for each in await self._database.read(read) if each not in without), None)

    async def claim(self, entry: MailRef, lease: str, *, now_us: int, until_us: int) -> int | None:
        async def body(tx: Tx) -> int | None:
            return await mails.claim(tx, entry, lease=lease, now_us=now_us, until_us=until_us)

        return await self._database.transaction("mail.claim", body)

    async def renew(self, entry: MailRef, lease: str, *, until_us: int) -> None:
        async def body(tx: Tx) -> None:
            await mails.renew(tx, entry, lease=lease, until_us=until_us)

        await self._database.transaction("mail.renew", body)

    async def work_off(self, entry: MailRef, lease: str) -> None:
        mail = await self._database.read(lambda reader: mails.find_held(reader, entry, lease=lease))
        if mail is None:
            return
        if mail.kind == INVITE:
            await self._send_invitation(mail)
        else:
            letter = await self._database.read(lambda reader: write_letter(reader, mail, public_url=self._public_url))
            if letter is not None:
                await self._send(mail, letter)

        async def done(tx: Tx) -> None:
            await mails.delete(tx, entry, lease=lease)

        # Waiting for the store is better than sending it again.
        await self._database.transaction("mail.sent", done, patience_s=20)

    async def _send_invitation(self, mail: Mail) -> None:
        async def make(tx: Tx) -> tuple[Operator, str] | None:
            operator = await self._invitations.find_invited(tx, mail)
            return None if operator is None else (operator, await self._invitations.make_link(tx, operator))

        async def void(tx: Tx) -> None:
            await self._invitations.void_link(tx, secret)

        made = await self._database.transaction("mail.invite", make)
        if made is None:
            return
        operator, secret = made
        try:
            await self._send(mail, write_invitation(operator, self._public_url + INVITE_PATH + secret))
        except (MailRefused, MailServerAway, PutOff):
            await self._database.transaction("mail.void", void)
            raise

    async def _send(self, mail: Mail, letter: Letter) -> None:
        now_us = self._clock()
        try:
            await self._sender.send(self._sender.message(mail, letter, now_us=now_us), letter.recipient)
        except MailServerAway as error:
            if now_us - mail.created_at < _KEPT_US:
                raise PutOff(AWAY_S, str(error)[:_LONGEST_REASON]) from error
            raise

    async def release(self, entry: MailRef, lease: str, *, at_us: int, reason: str | None, is_counted: bool) -> None:
        async def body(tx: Tx) -> None:
            await mails.release(tx, entry, lease=lease, at_us=at_us, reason=reason, is_counted=is_counted)

        await self._database.transaction("mail.release", body)

    async def park(self, entry: MailRef, lease: str, *, tries: int, now_us: int, reason: str) -> bool:
        async def body(tx: Tx) -> bool:
            return await mails.park(tx, entry, lease=lease, now_us=now_us, reason=reason)

        return await self._database.transaction("mail.park", body)


class MailWorker:
    """Sends mail on every node, if there is a server to send it through."""

    def __init__(
        self,
        database: Database,
        sender: Sender | None,
        clock: Clock,
        background: Background,
        *,
        invitations: Invitations,
        wanted: asyncio.Event,
        public_url: str,
    ) -> None:
        """`wanted` wakes it."""
        self._sending = None
        if sender is not None:
            queue = MailQueue(database, sender, clock, invitations=invitations, public_url=public_url)
            self._sending = background.leased("mails", queue, at_once=_AT_ONCE, every_s=_LOOK_EVERY_S, wake=wanted)

    def start(self, *, is_dormant: bool = False) -> None:
        """`is_dormant`: this process is no node, and sends what it was given itself at most."""
        if self._sending is not None:
            self._sending.start(is_dormant=is_dormant)

    async def aclose(self) -> None:
        if self._sending is not None:
            await self._sending.aclose()
