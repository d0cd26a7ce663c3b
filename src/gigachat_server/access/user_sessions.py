"""Sessions of end users: bearers of our own, for those whose server signs no tokens, and for visitors without a name.

Idea: the bearer is `gcu_` and what `bearers.py` says; a row tells whose it is. An anonymous visitor is a user like any other,
by an id of 128 random bits, until they sign in and claim what they said (`chat/conversations.py`).
Invariants: a session never outlives the token that it was opened with; none is opened for a user who is blocked, or with a
token from before the user was revoked, since opening one and revoking take the user's row.
"""

from __future__ import annotations

import secrets

import msgspec

from gigachat_server.access.bearers import SESSION
from gigachat_server.access.end_users import may_enter, user_target
from gigachat_server.access.limits import Limits
from gigachat_server.access.one_way import digest
from gigachat_server.access.principal import Principal, PrincipalKind, UserAccess
from gigachat_server.access.scopes import Scope
from gigachat_server.access.speakers import ANONYMOUS_PREFIX, client_defined_id, end_user_id
from gigachat_server.access.standings import Standing
from gigachat_server.clock import Clock
from gigachat_server.errors import FieldError, Forbidden, InvalidRequest, NotFound, Unauthenticated
from gigachat_server.records import Chatbot, SourceView, UserSession
from gigachat_server.store import audit, end_users, user_sessions
from gigachat_server.store.database import Database, Tx

_SECOND = 1_000_000
ANONYMOUS_LIFE_US = 30 * 24 * 3600 * _SECOND
NAMED_LIFE_S = 24 * 3600
_PROLONG_EVERY_US = 24 * 3600 * _SECOND
_KEPT_US = 7 * 24 * 3600 * _SECOND  # after their end, for those who look into the store


class NewSession(msgspec.Struct, frozen=True):
    """A session and, for this once, its bearer."""

    session: UserSession
    bearer: str
    standings: tuple[Standing, ...] = ()  # what is left of the limits that it was charged to


class UserSessions:
    """Opens and ends sessions of end users."""

    def __init__(self, database: Database, limits: Limits, clock: Clock) -> None:
        self._database = database
        self._limits = limits
        self._clock = clock

    async def open_anonymous(self, principal: Principal, chatbot: Chatbot) -> NewSession:
        """For a visitor with a widget key, as a user of its own. Raises `RateLimited`."""
        self._admit(principal, chatbot)
        if principal.kind is not PrincipalKind.WIDGET:
            raise Forbidden("An anonymous session is opened with a widget key.")
        now_us, access = self._clock(), principal.user_access or UserAccess()
        made = self._made(
            chatbot,
            f"{ANONYMOUS_PREFIX}{secrets.token_hex(16)}",
            ends_at=now_us + ANONYMOUS_LIFE_US,
            widget_key_id=access.widget_key_id,
        )

        async def body(tx: Tx) -> tuple[Standing, ...]:
            standings = await self._limits.take_session(tx, chatbot, principal.address)
            await user_sessions.insert(tx, made.session)
            return standings

        standings = await self._database.transaction("session.open", body)
        return msgspec.structs.replace(made, standings=standings)

    async def open_for(
        self,
        principal: Principal,
        chatbot: Chatbot,
        user_id: str,
        *,
        expires_in_s: int,
        conversation_ids: tuple[str, ...] | None,
        sources: SourceView,
    ) -> NewSession:
        """For a user whom the client's server names. Raises `InvalidRequest`, and `Forbidden` for one who is blocked."""
        self._admit(principal, chatbot)
        if principal.is_end_user:
            raise Forbidden("A session for a user whom you name takes an API key.")
        user_id, now_us = end_user_id(user_id, "user_id"), self._clock()
        if conversation_ids is not None:
            conversation_ids = tuple(client_defined_id(each, "conversation_ids") for each in conversation_ids)
        made = self._made(
            chatbot, user_id, ends_at=now_us + expires_in_s * _SECOND, conversation_ids=conversation_ids, sources=sources
        )

        async def body(tx: Tx) -> None:
            user = await end_users.lock(tx, chatbot.id, user_id, now_us=now_us)
            if user.blocked_at is not None:
                raise Forbidden("This user is blocked; POST .../users/{user_id}/revoke with block: false lets them in again.")
            await user_sessions.insert(tx, made.session)
            await audit.add(
                tx,
                principal.account_id,
                actor=principal.actor,
                action="session.opened",
                target=user_target(chatbot.id, user_id),
                detail={"session": made.session.id},
                now_us=now_us,
            )

        await self._database.transaction("session.open", body)
        return made

    async def open_own(self, principal: Principal, chatbot: Chatbot) -> NewSession:
        """For the holder of a token, until it expires."""
        made = self.made_for(principal, chatbot)

        async def body(tx: Tx) -> None:
            await self.open_in(tx, principal, made)

        await self._database.transaction("session.open", body)
        return made

    def made_for(self, principal: Principal, chatbot: Chatbot) -> NewSession:
        """One that the holder of a token may open, not stored yet. Raises `InvalidRequest` for anyone else."""
        self._admit(principal, chatbot)
        access = principal.user_access or UserAccess()
        if principal.user_id is None or access.issued_at is None or access.expires_at is None:
            raise InvalidRequest(errors=(FieldError("claim", "Only the user can claim, with a token that your server signed."),))
        narrowed = principal.conversation_ids
        return self._made(
            chatbot,
            principal.user_id,
            ends_at=access.expires_at,
            conversation_ids=None if narrowed is None else tuple(sorted(narrowed)),
            sources=access.sources,
        )

    async def open_in(self, tx: Tx, principal: Principal, made: NewSession) -> None:
        """Within a transaction. Raises `Unauthenticated` once the user was revoked after the token was issued."""
        session = made.session
        user = await end_users.lock(tx, session.chatbot_id, session.user_id, now_us=session.created_at)
        if not may_enter(user, issued_at=(principal.user_access or UserAccess()).issued_at or 0):
            raise Unauthenticated
        await user_sessions.insert(tx, session)

    async def close(self, principal: Principal, chatbot: Chatbot) -> None:
        """The session that the principal came with is refused from now on. Raises `NotFound` for one who came without."""
        principal.check_reach(chatbot)
        session_id = principal.user_access.session_id if principal.user_access else None
        if session_id is None:
            raise NotFound("There is no session here: this was sent with another credential than a gcu_ bearer.")

        async def body(tx: Tx) -> None:
            await user_sessions.revoke(tx, chatbot.id, session_id, now_us=self._clock())

        await self._database.transaction("session.close", body)

    async def prolong(self, session: UserSession) -> None:
        """An anonymous session that is used goes on, at most one write a day."""
        now_us = self._clock()
        if not session.user_id.startswith(ANONYMOUS_PREFIX) or now_us - session.seen_at < _PROLONG_EVERY_US:
            return

        async def body(tx: Tx) -> None:
            await user_sessions.prolong(tx, session.chatbot_id, session.id, seen_at=now_us, expires_at=now_us + ANONYMOUS_LIFE_US)

        await self._database.transaction("session.prolong", body)

    async def forget_ended(self) -> None:
        """Rows of sessions that ended a week ago go."""

        async def body(tx: Tx) -> None:
            await user_sessions.delete_ended(tx, before_us=self._clock() - _KEPT_US)

        await self._database.transaction("session.forget", body)

    def _admit(self, principal: Principal, chatbot: Chatbot) -> None:
        principal.require(Scope.TOKENS_WRITE)
        principal.check_reach(chatbot)

    def _made(
        self,
        chatbot: Chatbot,
        user_id: str,
        *,
        ends_at: int,
        widget_key_id: str | None = None,
        conversation_ids: tuple[str, ...] | None = None,
        sources: SourceView | None = None,
    ) -> NewSession:
        bearer, now_us = SESSION.mint(), self._clock()
        session = UserSession(
            chatbot_id=chatbot.id,
            id=SESSION.id_of(bearer),
            secret_sha256=digest(bearer),
            user_id=user_id,
            widget_key_id=widget_key_id,
            conversation_ids=conversation_ids,
            sources=sources,
            created_at=now_us,
            seen_at=now_us,
            expires_at=ends_at,
            revoked_at=None,
        )
        return NewSession(session, bearer)


def claimed_id(bearer: str) -> str:
    """Of the session that is to be claimed. Raises `InvalidRequest`."""
    if not SESSION.is_well_formed(bearer):
        raise InvalidRequest(errors=(FieldError("claim", "Must be the bearer of an anonymous session: gcu_..."),))
    return SESSION.id_of(bearer)
