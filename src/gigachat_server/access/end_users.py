"""End users: what is known of them, and turning them out.

Invariants: what a token says of its user counts until a newer one says otherwise; a user who was revoked is refused with every
token and session from before, on each node within seconds, and one who is blocked with all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from gigachat_server.access.principal import Principal
from gigachat_server.access.scopes import Scope
from gigachat_server.access.speakers import CLIENT_PREFIX, client_defined_id, shown_name, speaker_id
from gigachat_server.access.user_tokens import TokenClaims, checked_metadata
from gigachat_server.clock import Clock
from gigachat_server.errors import FieldError, InvalidRequest, NotFound
from gigachat_server.records import Chatbot, EndUser
from gigachat_server.store import audit, end_users, idempotency, user_sessions
from gigachat_server.store.database import Database, Reader, Tx

_SEEN_EVERY_US = 24 * 3600 * 1_000_000


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """What is told of a user."""

    name: str | None = None
    email: str | None = None
    metadata: dict[str, Any] | None = None


class EndUsers:
    """The end users of chatbots."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def get(self, principal: Principal, chatbot: Chatbot, user_id: str) -> EndUser:
        """Raises `NotFound` for one of whom nothing is known."""
        _admit(principal, Scope.CONVERSATIONS_READ, chatbot)
        user_id = client_defined_id(user_id, "user_id")

        async def read(reader: Reader) -> EndUser | None:
            return await end_users.find(reader, chatbot.id, user_id)

        found = await self._database.read(read)
        if found is None:
            raise NotFound
        return found

    async def change(self, principal: Principal, chatbot: Chatbot, user_id: str, merge: Callable[[EndUser], Profile]) -> EndUser:
        """`merge`, pure, says what becomes of the profile: verified, unless the user tells it. Raises what `merge` raises."""
        _admit(principal, Scope.CONVERSATIONS_WRITE, chatbot)
        if principal.is_end_user and user_id != principal.user_id:
            raise NotFound
        user_id, now_us = _user_id(user_id), self._clock()

        async def body(tx: Tx) -> EndUser:
            held = await end_users.lock(tx, chatbot.id, user_id, now_us=now_us)
            return await _tell(tx, held, _checked(merge(held)), is_verified=not principal.is_end_user, at=now_us)

        return await self._database.transaction("user.change", body)

    async def revoke(
        self, principal: Principal, chatbot: Chatbot, user_id: str, *, block: bool, key: idempotency.Key | None
    ) -> EndUser:
        """Every token and session that the user has is refused from now on; with `block`, those to come, too."""
        _admit(principal, Scope.ACCESS_WRITE, chatbot)
        user_id, now_us = _user_id(user_id), self._clock()

        async def body(tx: Tx) -> EndUser:
            held = await end_users.lock(tx, chatbot.id, user_id, now_us=now_us)
            blocked_at = (held.blocked_at or now_us) if block else None
            await end_users.refuse_tokens(tx, chatbot.id, user_id, before_us=now_us, blocked_at=blocked_at)
            ended = await user_sessions.revoke_of_user(tx, chatbot.id, user_id, now_us=now_us)
            await audit.add(
                tx,
                principal.account_id,
                actor=principal.actor,
                action="user.blocked" if block else "user.revoked",
                target=user_target(chatbot.id, user_id),
                detail={"sessions": ended},
                now_us=now_us,
            )
            valid_from = max(held.tokens_valid_from, now_us)
            revoked = msgspec.structs.replace(held, tokens_valid_from=valid_from, blocked_at=blocked_at)
            await idempotency.keep_result(tx, key, revoked, now_us=now_us)
            return revoked

        return await self._database.transaction("user.revoke", body)

    def is_news(self, known: EndUser | None, claims: TokenClaims) -> bool:
        """Whether a token says what is not known yet: that there is such a user, who they are, that they were here today."""
        if known is None or self._clock() - known.seen_at >= _SEEN_EVERY_US:
            return True
        return claims.issued_at > known.profile_at and _told_by(claims) != _profile_of(known)

    async def note(self, chatbot_id: str, claims: TokenClaims) -> EndUser:
        """Keep what the token says; the user as they are then."""
        now_us = self._clock()

        async def body(tx: Tx) -> EndUser:
            held = await end_users.lock(tx, chatbot_id, claims.user_id, now_us=now_us)
            told = _told_by(claims)
            if claims.issued_at <= held.profile_at or told == _profile_of(held):
                return held
            return await _tell(tx, held, told, is_verified=True, at=claims.issued_at)

        return await self._database.transaction("user.note", body)


def user_target(chatbot_id: str, user_id: str) -> str:
    """How the audit log names a user."""
    return f"user:{chatbot_id} {user_id}"


def may_enter(user: EndUser | None, *, issued_at: int) -> bool:
    """Whether tokens of the user that were issued then still count."""
    return user is None or (user.blocked_at is None and issued_at >= user.tokens_valid_from)


async def _tell(tx: Tx, held: EndUser, told: Profile, *, is_verified: bool, at: int) -> EndUser:
    changed = msgspec.structs.replace(
        held, name=told.name, email=told.email, metadata=told.metadata, is_verified=is_verified, profile_at=at
    )
    await end_users.set_profile(tx, changed)
    return changed


def _told_by(claims: TokenClaims) -> Profile:
    return Profile(name=claims.name, email=claims.email, metadata=claims.metadata)


def _profile_of(user: EndUser) -> Profile:
    return Profile(name=user.name, email=user.email, metadata=user.metadata)


def _admit(principal: Principal, scope: Scope, chatbot: Chatbot) -> None:
    principal.require(scope)
    principal.check_reach(chatbot)


def _user_id(text: str) -> str:
    """Of an end user, be it an anonymous one. Raises `InvalidRequest`."""
    user_id = speaker_id(text, "user_id")
    if user_id.startswith(CLIENT_PREFIX):
        raise InvalidRequest(errors=(FieldError("user_id", "Must name an end user: client: stands for your staff."),))
    return user_id


def _checked(told: Profile) -> Profile:
    """Raises `InvalidRequest`."""
    for field, text in (("name", told.name), ("email", told.email)):
        if text is not None:
            client_defined_id(shown_name(text, field), field)
    try:
        metadata = checked_metadata(told.metadata)
    except ValueError:
        raise InvalidRequest(
            errors=(FieldError("metadata", "Must have at most 4096 bytes as JSON, 32 deep, without NUL."),)
        ) from None
    return msgspec.structs.replace(told, metadata=metadata)
