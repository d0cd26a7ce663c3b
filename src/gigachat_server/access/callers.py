"""Who is calling: the one place that turns a bearer into a `Principal`, whatever the bearer is.

Idea: four kinds of bearer, told by their form: an API key (`gca_`), a widget key (`gcp_`), a session (`gcu_`), and a token that
the client's server signed (JWT). The last three belong to one chatbot, so the request has to say which.
Invariants: each raises the same error for every reason, but for a token that has expired; what is revoked on one node is refused
on each other within seconds; and an end user is let in from the pages that a widget key or the chatbot's restrictions list, and
from no others.
"""

from __future__ import annotations

import contextlib
import hmac
from collections.abc import Sequence

from gigachat_server.access.bearers import API_KEY, SESSION, WIDGET_KEY
from gigachat_server.access.end_users import EndUsers, may_enter
from gigachat_server.access.identity_keys import IdentityKeys
from gigachat_server.access.keys import KeyRing
from gigachat_server.access.one_way import digest
from gigachat_server.access.principal import Principal, PrincipalKind, UserAccess
from gigachat_server.access.restrictions import check_address, check_page, is_listed
from gigachat_server.access.scopes import Scope
from gigachat_server.access.user_sessions import UserSessions
from gigachat_server.access.user_tokens import TokenClaims, check_claims, looks_like_token, read_head, verified_payload
from gigachat_server.access.widget_keys import hostnames_of, live_key
from gigachat_server.clock import Clock
from gigachat_server.errors import HostnameRefused, StorageUnavailable, Unauthenticated
from gigachat_server.ids import is_id
from gigachat_server.records import Chatbot, WidgetKey
from gigachat_server.store import chatbots, end_users, identity_keys, user_sessions, widget_keys
from gigachat_server.store.database import Database

_OF_USERS = frozenset({Scope.CONVERSATIONS_READ, Scope.CONVERSATIONS_WRITE})
# Bound to one user, that is: open a session as oneself.
_OF_TOKENS = _OF_USERS | {Scope.TOKENS_WRITE}
_OF_WIDGETS = frozenset({Scope.TOKENS_WRITE})


class Callers:
    """Finds out who is calling, and whether they call from where they may."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        key_ring: KeyRing,
        identity_keys: IdentityKeys,
        users: EndUsers,
        sessions: UserSessions,
    ) -> None:
        self._database = database
        self._clock = clock
        self._key_ring = key_ring
        self._identity_keys = identity_keys
        self._users = users
        self._sessions = sessions

    async def authenticate(self, bearer: str, *, chatbot_id: str | None) -> Principal:
        """Whose bearer this is, where the request names that chatbot. Raises `Unauthenticated`, `TokenExpired`."""
        if bearer.startswith(API_KEY.prefix):
            return await self._key_ring.authenticate(bearer)
        if bearer.startswith(SESSION.prefix):
            return await self._of_session(bearer, _possible(chatbot_id))
        if bearer.startswith(WIDGET_KEY.prefix):
            return await self._of_widget_key(bearer, _possible(chatbot_id))
        if looks_like_token(bearer):
            return await self._of_token(bearer, _possible(chatbot_id))
        return await self._key_ring.authenticate(bearer)  # one that an operator chose

    async def _of_widget_key(self, bearer: str, chatbot_id: str) -> Principal:
        if not WIDGET_KEY.is_well_formed(bearer):
            raise Unauthenticated
        key = live_key(await widget_keys.list_live_remembered(self._database, chatbot_id), WIDGET_KEY.id_of(bearer))
        if key is None or not hmac.compare_digest(key.key, bearer):
            raise Unauthenticated
        return Principal(
            kind=PrincipalKind.WIDGET,
            account_id=(await self._chatbot(chatbot_id)).account_id,
            id=f"widget:{key.id}",
            scopes=_OF_WIDGETS,
            chatbot_id=chatbot_id,
            user_access=_through(key),
        )

    async def _of_session(self, bearer: str, chatbot_id: str) -> Principal:
        if not SESSION.is_well_formed(bearer):
            raise Unauthenticated
        session = await user_sessions.find_remembered(self._database, chatbot_id, SESSION.id_of(bearer))
        if session is None or not hmac.compare_digest(session.secret_sha256, digest(bearer)):
            raise Unauthenticated
        if session.revoked_at is not None or session.expires_at <= self._clock():
            raise Unauthenticated
        access = UserAccess(session_id=session.id, expires_at=session.expires_at, sources=session.sources or "titles")
        if session.widget_key_id is not None:
            key = live_key(await widget_keys.list_live_remembered(self._database, chatbot_id), session.widget_key_id)
            if key is None:
                raise Unauthenticated
            access = _through(key, session_id=session.id, expires_at=session.expires_at)
        account_id = (await self._chatbot(chatbot_id)).account_id
        with contextlib.suppress(StorageUnavailable):  # another time
            await self._sessions.prolong(session)
        narrowed = None if session.conversation_ids is None else frozenset(session.conversation_ids)
        return _end_user(account_id, chatbot_id, session.user_id, narrowed, _OF_USERS, access)

    async def _of_token(self, token: str, chatbot_id: str) -> Principal:
        head = read_head(token)
        key = await identity_keys.find_live_remembered(self._database, chatbot_id, head.key_id)
        if key is None or key.algorithm != head.algorithm:
            raise Unauthenticated
        payload = await verified_payload(token, key.algorithm, key.public_key or await self._identity_keys.secret_of(key))
        claims = check_claims(payload, chatbot_id=chatbot_id, now_us=self._clock())
        account_id = (await self._chatbot(chatbot_id)).account_id
        await self._check_user(chatbot_id, claims)
        access = UserAccess(issued_at=claims.issued_at, expires_at=claims.expires_at, sources=key.sources)
        narrowed = None if claims.conversation_ids is None else frozenset(claims.conversation_ids)
        return _end_user(account_id, chatbot_id, claims.user_id, narrowed, _OF_TOKENS, access)

    async def _check_user(self, chatbot_id: str, claims: TokenClaims) -> None:
        """Raises `Unauthenticated` for a user who was turned out. What the token says of them is kept."""
        user = await end_users.find_remembered(self._database, chatbot_id, claims.user_id)
        if not may_enter(user, issued_at=claims.issued_at):
            raise Unauthenticated
        if self._users.is_news(user, claims):
            with contextlib.suppress(StorageUnavailable):  # another time
                user = await self._users.note(chatbot_id, claims)
            if not may_enter(user, issued_at=claims.issued_at):
                raise Unauthenticated

    async def _chatbot(self, chatbot_id: str) -> Chatbot:
        found = await chatbots.find_remembered_of_any_account(self._database, chatbot_id)
        if found is None:
            raise Unauthenticated
        return found

    # --- from where ---

    async def check_from(self, principal: Principal, chatbot: Chatbot, *, origin: str | None, peer: str | None) -> None:
        """An end user is on a page that is listed, or in an app that is let in. Raises `HostnameRefused`, `AddressRefused`."""
        check_address(chatbot.config.restrictions, peer)
        access = principal.user_access or UserAccess(needs_page=True)
        if origin is not None:
            listed = hostnames_of(await self._keys_of(chatbot)) if access.hostnames is None else access.hostnames
            check_page(origin, [*listed, *chatbot.config.restrictions.hostnames])
        elif access.needs_page:
            raise HostnameRefused("This widget key is not for apps, whose requests have no Origin; its settings.allow_apps is.")

    async def may_read(self, chatbot: Chatbot, origin: str) -> bool:
        """Whether pages of that origin may read what the chatbot answers (CORS): all that lets anyone in counts."""
        listed = chatbot.config.restrictions.hostnames
        return is_listed(origin, listed) or is_listed(origin, hostnames_of(await self._keys_of(chatbot)))

    async def _keys_of(self, chatbot: Chatbot) -> Sequence[WidgetKey]:
        return await widget_keys.list_live_remembered(self._database, chatbot.id)


def _possible(chatbot_id: str | None) -> str:
    """Raises `Unauthenticated` where no chatbot can be meant."""
    if chatbot_id is None or not is_id(chatbot_id):
        raise Unauthenticated
    return chatbot_id


def _through(key: WidgetKey, *, session_id: str | None = None, expires_at: int | None = None) -> UserAccess:
    return UserAccess(
        session_id=session_id,
        widget_key_id=key.id,
        hostnames=key.hostnames,
        needs_page=not key.settings.allow_apps,
        expires_at=expires_at,
        sources=key.settings.sources,
    )


def _end_user(
    account_id: str,
    chatbot_id: str,
    user_id: str,
    conversation_ids: frozenset[str] | None,
    scopes: frozenset[Scope],
    access: UserAccess,
) -> Principal:
    return Principal(
        kind=PrincipalKind.USER,
        account_id=account_id,
        id=f"user:{user_id}",
        scopes=scopes,
        chatbot_id=chatbot_id,
        user_id=user_id,
        conversation_ids=conversation_ids,
        user_access=access,
    )
