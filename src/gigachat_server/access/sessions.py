"""Who is signed in to the pages: sessions and the links that open them, as rows that every node sees.

Invariant: nothing in the store can be turned back into a credential. Ids and tokens are 256 random bits and only their SHA-256
is kept; what a page's forms carry is derived from the id, which only its browser has. A token opens one session. A session is
worth what its operator, or its key, is worth at each request; it ends after 12 hours without one, and after 7 days at last.
"""

from __future__ import annotations

import re
from contextlib import suppress

import msgspec

from gigachat_server.access.keys import KeyRing
from gigachat_server.access.one_way import csrf_token_of, digest, new_secret
from gigachat_server.access.operators import principal_of
from gigachat_server.access.principal import Principal, PrincipalKind, local_operator
from gigachat_server.clock import Clock
from gigachat_server.errors import StorageUnavailable
from gigachat_server.records import OneTimeToken, Operator, OperatorSession
from gigachat_server.store import audit, operator_sessions, operators
from gigachat_server.store.database import Database, Reader, Tx

IDLE_S = 12 * 3600
LONGEST_S = 7 * 24 * 3600
LINK_S = 24 * 3600
MOST_SESSIONS = 1_000  # of an account
SEEN_EVERY_S = 600  # how exactly it is known when a session was last used

SIGN_IN = "sign_in"
INVITE_PATH = "/invite?token="
_SECOND = 1_000_000
_FORM = re.compile(r"[\w-]{43}", re.ASCII)


class Session(msgspec.Struct, frozen=True):
    """Somebody signed in, for one request: the `principal` they are now; the `operator` they are, if one."""

    id: str
    principal: Principal
    csrf_token: str
    operator: Operator | None
    expires_at: int

    @property
    def digest(self) -> bytes:
        """What the store knows it by."""
        return digest(self.id)


class Sessions:
    """Opens, recognises and ends sessions. `with_keys`: a shared key signs in even where an owner exists."""

    def __init__(self, database: Database, clock: Clock, key_ring: KeyRing, *, account_id: str, with_keys: bool) -> None:
        self._database = database
        self._clock = clock
        self._key_ring = key_ring
        self._account_id = account_id
        self._with_keys = with_keys

    async def recognise(self, session_id: str) -> Session | None:
        """Who the holder of that id is by now; None once the session, its operator or its key does not hold any more."""
        if not _FORM.fullmatch(session_id):
            return None
        kept = await operator_sessions.find_remembered(self._database, digest(session_id))
        if kept is None or _is_over(kept, self._clock()):
            return None
        operator = None
        principal: Principal | None
        if kept.operator_id is not None:
            operator = await operators.find_remembered(self._database, kept.operator_id)
            principal = None if operator is None else principal_of(operator)
        elif kept.key_id is not None:
            principal = await self._by_key(kept)
        else:
            principal = local_operator(kept.account_id)
        if principal is None:
            return None
        return Session(session_id, principal, csrf_token_of(session_id), operator, kept.expires_at)

    async def _by_key(self, kept: OperatorSession) -> Principal | None:
        assert kept.key_id is not None
        if not await self.keys_sign_in(kept.account_id):
            return None
        return await self._key_ring.holder(kept.key_id)

    async def keys_sign_in(self, account_id: str) -> bool:
        """Whether a key of that account signs its holder in: until it has an owner, unless the settings say otherwise."""
        return self._with_keys or not await operators.has_owner_remembered(self._database, account_id)

    async def note_use(self, session_id: str) -> None:
        """It was used now, by a person. A store that cannot write is no reason to refuse them."""
        kept = await operator_sessions.find_remembered(self._database, digest(session_id))
        now = self._clock()
        if kept is None or now - kept.seen_at < SEEN_EVERY_S * _SECOND:
            return

        async def body(tx: Tx) -> None:
            await operator_sessions.note_seen(tx, digest(session_id), now_us=now)

        with suppress(StorageUnavailable):
            await self._database.transaction("session.seen", body)

    async def open(self, principal: Principal, *, peer: str | None) -> str:
        """A new session of the machine's operator or a key's holder; for the cookie, its id."""
        session_id = new_secret()
        key_id = principal.id if principal.kind is PrincipalKind.KEY else None
        kept = self.row(session_id, principal.account_id, key_id=key_id, peer=peer)

        async def body(tx: Tx) -> None:
            await self.insert(tx, kept)
            await audit.add(
                tx,
                kept.account_id,
                actor=principal.actor,
                action="session.opened",
                target=principal.actor,
                now_us=kept.created_at,
            )

        await self._database.transaction("session.open", body)
        return session_id

    def row(
        self,
        session_id: str,
        account_id: str,
        *,
        operator_id: str | None = None,
        key_id: str | None = None,
        peer: str | None,
        longest_s: int = LONGEST_S,
    ) -> OperatorSession:
        """A session that begins now."""
        now = self._clock()
        return OperatorSession(
            id_sha256=digest(session_id),
            account_id=account_id,
            operator_id=operator_id,
            key_id=key_id,
            created_at=now,
            seen_at=now,
            expires_at=now + longest_s * _SECOND,
            peer=peer,
        )

    @staticmethod
    async def insert(tx: Tx, kept: OperatorSession) -> None:
        """Past the bound the oldest of the account end."""
        await operator_sessions.insert(tx, kept)
        await operator_sessions.delete_oldest(tx, kept.account_id, but=MOST_SESSIONS)

    async def close(self, session_id: str) -> None:
        """From now on the id opens nothing."""

        async def body(tx: Tx) -> None:
            await operator_sessions.delete(tx, digest(session_id))

        await self._database.transaction("session.close", body)

    async def others(self, session: Session) -> list[OperatorSession]:
        """Where else the same operator is signed in, the newest first; of anybody else that is not known."""
        operator, now = session.operator, self._clock()
        if operator is None:
            return []

        async def read(reader: Reader) -> list[OperatorSession]:
            return await operator_sessions.list_of_operator(reader, operator.id)

        found = await self._database.read(read)
        return [each for each in found if each.id_sha256 != session.digest and not _is_over(each, now)]

    async def close_others(self, session: Session) -> None:
        """From now on the same operator is signed in here alone."""
        operator = session.operator
        if operator is None:
            return

        async def body(tx: Tx) -> None:
            await operator_sessions.delete_of_operator(tx, operator.id, but=session.digest)

        await self._database.transaction("session.close", body)

    # --- the links of this machine's operator ---

    async def mint_login_token(self, *, lifetime_s: int = LINK_S) -> str:
        """A token that signs one browser in, once, for the server's own account."""
        token = new_secret()
        kept = OneTimeToken(
            token_sha256=digest(token),
            account_id=self._account_id,
            operator_id=None,
            purpose=SIGN_IN,
            expires_at=self._clock() + lifetime_s * _SECOND,
        )

        async def body(tx: Tx) -> None:
            await operator_sessions.insert_token(tx, kept)

        await self._database.transaction("link.create", body)
        return token

    async def is_redeemable(self, token: str) -> bool:
        """Whether the token would still sign somebody in. Asking does not use it up: link previews ask too."""

        async def read(reader: Reader) -> bool:
            found = await operator_sessions.find_token(reader, digest(token), now_us=self._clock())
            return found is not None and found.purpose == SIGN_IN

        return await self._database.read(read)

    async def redeem(self, token: str, *, peer: str | None) -> str | None:
        """The id of the session that the token is good for; None from the second time on, or when it has expired."""
        session_id = new_secret()

        async def body(tx: Tx) -> bool:
            found = await operator_sessions.find_token(tx, digest(token), now_us=self._clock())
            if found is None or found.purpose != SIGN_IN:
                return False
            if await operator_sessions.claim_token(tx, digest(token), now_us=self._clock()) is None:
                return False
            await self.insert(tx, self.row(session_id, found.account_id, peer=peer))
            who = local_operator(found.account_id).actor
            await audit.add(tx, found.account_id, actor=who, action="session.opened", target=who, now_us=self._clock())
            return True

        return session_id if await self._database.transaction("link.redeem", body) else None


def _is_over(kept: OperatorSession, now_us: int) -> bool:
    return kept.expires_at <= now_us or kept.seen_at + IDLE_S * _SECOND <= now_us
