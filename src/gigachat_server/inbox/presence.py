"""Presence: who of an account's operators is there, as their colleagues see it, and as handoffs count on.

Invariant: an operator is available as long as they want to be and a page of theirs shows that it is open; nothing has to be told
when they leave. That somebody is there now is not worth waiting for the disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractContextManager
from typing import Literal

import msgspec

from gigachat_server.access.principal import Principal, PrincipalKind
from gigachat_server.access.scopes import Scope
from gigachat_server.chat.attendance import SEEN_FOR_US
from gigachat_server.chat.events.recorder import Events
from gigachat_server.clock import Clock
from gigachat_server.errors import Forbidden
from gigachat_server.store import presence
from gigachat_server.store.database import Database, Reader, Tx
from gigachat_server.work.waking import is_set_within

PresenceStatus = Literal["available", "away"]
SEEN_EVERY_S = 20.0  # how often a page that is open calls `seen`


class Colleague(msgspec.Struct, frozen=True):
    """An operator as the others see them. `status` is what they chose; `is_available`, whether they are there besides."""

    operator: str
    name: str
    status: PresenceStatus
    is_available: bool
    seen_at: int | None


class Presence:
    def __init__(self, database: Database, events: Events, clock: Clock) -> None:
        self._database = database
        self._events = events
        self._clock = clock

    async def seen(self, principal: Principal) -> None:
        """A page of theirs is open. Of others than operators nothing is noted."""
        if principal.kind is PrincipalKind.OPERATOR:
            await self._see(principal, None)

    async def attend(self, who: Callable[[], Principal]) -> AsyncGenerator[Sequence[Colleague], None]:
        """They are there for as long as this is read; it tells who else is, at once and whenever that has changed.

        `who`: the principal as they are by now. Raises `Forbidden` for those who may not answer, or not any more.
        """
        told: Sequence[Colleague] | None = None
        with self.woken(who()) as woken:
            while True:
                woken.clear()
                principal = who()
                principal.require(Scope.MESSAGES_INJECT)
                await self.seen(principal)
                found = await self.list(principal)
                if told is None or _as_seen(found) != _as_seen(told):
                    yield found
                told = found
                await is_set_within(woken, SEEN_EVERY_S)

    async def choose(self, principal: Principal, status: PresenceStatus) -> Colleague:
        """Be available, or away. Raises `Forbidden` for others than operators."""
        principal.require(Scope.MESSAGES_INJECT)
        if principal.kind is not PrincipalKind.OPERATOR:
            raise Forbidden("Only an operator who is signed in is available or away.")
        await self._see(principal, status)
        return next(each for each in await self.list(principal) if each.operator == principal.operator)

    async def list(self, principal: Principal) -> Sequence[Colleague]:
        """Every operator of the account, by name. Raises `Forbidden`."""
        principal.require(Scope.MESSAGES_INJECT)

        async def read(reader: Reader) -> list[presence.OperatorPresence]:
            return await presence.list_operators(reader, principal.account_id)

        since = self._clock() - SEEN_FOR_US
        return [_colleague(each, since) for each in await self._database.read(read)]

    def woken(self, principal: Principal) -> AbstractContextManager[asyncio.Event]:
        """Set whenever somebody of the account chooses another status, or comes."""
        return self._events.woken(principal.account_id, None)

    async def _see(self, principal: Principal, status: PresenceStatus | None) -> None:
        account_id, now_us = principal.account_id, self._clock()

        async def body(tx: Tx) -> None:
            if await presence.see(tx, account_id, principal.id, now_us=now_us, gone_us=now_us - SEEN_FOR_US, status=status):
                # The followers of an account are woken as those of a chatbot are: no id is both.
                tx.after_commit(lambda: self._events.wake_chatbot(account_id))

        await self._database.transaction("presence.see", body, may_be_lost=status is None)


def _as_seen(colleagues: Sequence[Colleague]) -> list[tuple[str, str, bool]]:
    return [(each.operator, each.status, each.is_available) for each in colleagues]


def _colleague(stored: presence.OperatorPresence, since: int) -> Colleague:
    status: PresenceStatus = "available" if stored.status == "available" else "away"
    is_available = status == "available" and stored.seen_at is not None and stored.seen_at > since
    return Colleague(stored.handle, stored.name, status, is_available, stored.seen_at)
