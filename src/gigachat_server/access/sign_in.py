"""How operators sign in: by password, by the link of an invitation, by an identity that a provider vouches for.

Invariant: what was checked before the transaction, a password or an identity, is compared with the row once more in it, so that
no account gets in that was disabled, deleted or given another password meanwhile; and a link lets in one browser.
"""

from __future__ import annotations

import msgspec

from gigachat_server.access.invitations import INVITE
from gigachat_server.access.one_way import digest, new_secret
from gigachat_server.access.operators import Draft, Operators, canonical_email, checked
from gigachat_server.access.passwords import Passwords, is_outdated
from gigachat_server.access.principal import Role, local_operator
from gigachat_server.access.sessions import IDLE_S, LONGEST_S, Session, Sessions
from gigachat_server.clock import Clock
from gigachat_server.errors import Forbidden
from gigachat_server.ids import new_id
from gigachat_server.records import OneTimeToken, Operator
from gigachat_server.store import audit, keys, operator_sessions, operators
from gigachat_server.store.database import Database, Reader, Tx

_NOTHING = "none"
_MOST_ACCOUNTS = 3  # in which one address is tried: each costs a hash


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a provider vouches for. `email` is only there if the provider says that it is verified."""

    issuer: str
    subject: str
    email: str | None
    name: str


class SignIn:
    """Opens sessions for operators. Each method that does returns the session's id, or None where the person is not let in."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        sessions: Sessions,
        people: Operators,
        account_id: str,
        role_of_strangers: str,
    ) -> None:
        """`role_of_strangers`: what people whom the provider knows, and who were not invited, become; `none`: nothing."""
        self._database = database
        self._clock = clock
        self._sessions = sessions
        self._people = people
        self._account_id = account_id
        self._role_of_strangers = role_of_strangers
        self.passwords = Passwords()

    # --- by password ---

    async def with_password(self, email: str, password: str, *, peer: str | None) -> str | None:
        """An unknown address takes as long as a wrong password. Raises `RateLimited`."""

        async def read(reader: Reader) -> list[Operator]:
            return await operators.list_by_email(reader, canonical_email(email), first_account_id=self._account_id)

        able = [each for each in await self._database.read(read) if each.password and each.disabled_at is None]
        for operator in able[:_MOST_ACCOUNTS]:
            if await self.passwords.matches(operator.password, password):
                assert operator.password is not None
                renewed = await self.passwords.hashed(password) if is_outdated(operator.password) else operator.password
                return await self._open(operator, peer=peer, how="password", password=renewed)
        if not able:
            await self.passwords.matches(None, password)
        return None

    async def change_password(self, session: Session, old: str, new: str) -> bool:
        """Whether the old one was right. All other sessions of the operator end. Raises `InvalidRequest`, `RateLimited`."""
        operator = session.operator
        assert operator is not None, "who has no password changes none"
        if operator.password is not None and not await self.passwords.matches(operator.password, old):
            return False
        hashed = await self.passwords.hashed(new)

        async def body(tx: Tx) -> bool:
            held = await _still(tx, operator)
            if held is None or held.password != operator.password:
                return False
            await operators.update(tx, msgspec.structs.replace(held, password=hashed))
            await operator_sessions.delete_of_operator(tx, held.id, but=session.digest)
            await operator_sessions.delete_tokens_of_operator(tx, held.id)
            await self._note(tx, held, "operator.password_changed")
            return True

        return await self._database.transaction("operator.password", body)

    # --- by the link of an invitation ---

    async def invited(self, token: str) -> Operator | None:
        """Whom the link is for, as long as it is good. Asking does not use it up: link previews ask too."""

        async def read(reader: Reader) -> Operator | None:
            found = await operator_sessions.find_token(reader, digest(token), now_us=self._clock())
            return None if found is None else await _of_invitation(reader, found)

        return await self._database.read(read)

    async def accept(self, token: str, password: str, *, peer: str | None) -> str | None:
        """The operator has this password, and a session; whatever sessions they had have ended.

        Raises `InvalidRequest`, `RateLimited`, which leave the link as it is.
        """
        if await self.invited(token) is None:
            return None
        hashed, session_id = await self.passwords.hashed(password), new_secret()

        async def body(tx: Tx) -> bool:
            found = await operator_sessions.claim_token(tx, digest(token), now_us=self._clock())
            operator = None if found is None else await _of_invitation(tx, found)
            if operator is None:
                return False
            await keys.lock_account(tx, operator.account_id)
            held = await _still(tx, operator)
            if held is None:
                return False
            await operators.update(tx, msgspec.structs.replace(held, password=hashed))
            await operator_sessions.delete_of_operator(tx, held.id)
            await operator_sessions.delete_tokens_of_operator(tx, held.id)
            await self._begin(tx, held, session_id, peer=peer, how="invitation")
            return True

        return session_id if await self._database.transaction("operator.accept", body) else None

    # --- the first owner ---

    async def create_first_owner(self, session: Session, draft: Draft, password: str, *, peer: str | None) -> str:
        """The account's first owner, signed in in place of the session that made them.

        Raises `Forbidden` where there is an owner already, `InvalidRequest`, `OperatorExists`, `RateLimited`.
        """
        who = session.principal
        who.require_owner("Only somebody who may do everything makes the first owner.")
        draft = checked(msgspec.structs.replace(draft, role=Role.OWNER.value))
        hashed, session_id, now = await self.passwords.hashed(password), new_secret(), self._clock()
        owner = Operator(
            id=new_id(),
            account_id=who.account_id,
            handle=draft.handle,
            email=draft.email,
            name=draft.name,
            role=draft.role,
            password=hashed,
            oidc_issuer=None,
            oidc_subject=None,
            created_at=now,
            seen_at=None,
            disabled_at=None,
        )

        async def body(tx: Tx) -> None:
            await keys.lock_account(tx, owner.account_id)
            if await operators.count_owners(tx, owner.account_id):
                raise Forbidden("There is an owner already, who can invite you.")
            await self._people.insert_in(tx, who, owner)
            await operator_sessions.delete(tx, session.digest)
            await self._begin(tx, owner, session_id, peer=peer, how="password")

        await self._database.transaction("operator.first", body)
        return session_id

    # --- by an identity ---

    async def with_identity(self, identity: Identity, *, peer: str | None) -> str | None:
        """Whom the provider knows: by the identity that was linked, or once by the verified address of their invitation.

        A session that a provider vouched for ends after 12 hours, so that those who leave the provider leave here as well.
        """
        session_id = new_secret()

        async def body(tx: Tx) -> bool:
            await keys.lock_account(tx, self._account_id)
            operator = await self._linked(tx, identity)
            if operator is None or operator.disabled_at is not None:
                return False
            await operator_sessions.delete_tokens_of_operator(tx, operator.id)
            await self._begin(tx, operator, session_id, peer=peer, how="oidc", longest_s=IDLE_S)
            return True

        return session_id if await self._database.transaction("operator.identify", body) else None

    async def _linked(self, tx: Tx, identity: Identity) -> Operator | None:
        known = await operators.find_by_identity(tx, self._account_id, issuer=identity.issuer, subject=identity.subject)
        if known is not None or identity.email is None:
            return known
        email = canonical_email(identity.email)
        invited = await operators.find_by_email(tx, self._account_id, email)
        if invited is not None:
            if invited.oidc_issuer is not None or invited.disabled_at is not None:
                return None  # somebody else at the provider has this address now
            operator = msgspec.structs.replace(invited, oidc_issuer=identity.issuer, oidc_subject=identity.subject)
            await operators.update(tx, operator)
            await self._note(tx, operator, "operator.linked")
            return operator
        if self._role_of_strangers == _NOTHING:
            return None
        return await self._stranger(tx, identity, email)

    async def _stranger(self, tx: Tx, identity: Identity, email: str) -> Operator:
        draft = await self._free_draft(tx, identity, email)
        made = Operator(
            id=new_id(),
            account_id=self._account_id,
            handle=draft.handle,
            email=draft.email,
            name=draft.name,
            role=draft.role,
            password=None,
            oidc_issuer=identity.issuer,
            oidc_subject=identity.subject,
            created_at=self._clock(),
            seen_at=None,
            disabled_at=None,
        )
        await self._people.insert_in(tx, local_operator(self._account_id), made)
        return made

    async def _free_draft(self, tx: Tx, identity: Identity, email: str) -> Draft:
        """With a handle that is free: the address's, or that with a number."""
        wanted = checked(Draft(email=email, name=identity.name[:255], handle="", role=self._role_of_strangers))
        for number in range(2, 100):
            is_taken, _ = await operators.taken(tx, self._account_id, but="", handle=wanted.handle, email="")
            if not is_taken:
                break
            wanted = checked(msgspec.structs.replace(wanted, handle=f"{wanted.handle[:60].rstrip('0123456789')}{number}"))
        return wanted

    # --- what is common to all ---

    async def _open(self, operator: Operator, *, peer: str | None, how: str, password: str) -> str | None:
        session_id = new_secret()

        async def body(tx: Tx) -> bool:
            held = await _still(tx, operator)
            if held is None or held.password != operator.password:
                return False
            if password != held.password:
                await operators.update(tx, msgspec.structs.replace(held, password=password))
            await self._begin(tx, held, session_id, peer=peer, how=how)
            return True

        return session_id if await self._database.transaction("operator.sign_in", body) else None

    async def _begin(
        self, tx: Tx, operator: Operator, session_id: str, *, peer: str | None, how: str, longest_s: int = LONGEST_S
    ) -> None:
        row = self._sessions.row(session_id, operator.account_id, operator_id=operator.id, peer=peer, longest_s=longest_s)
        await self._sessions.insert(tx, row)
        await operators.note_seen(tx, operator.id, now_us=self._clock())
        await self._note(tx, operator, "session.opened", how=how)

    async def _note(self, tx: Tx, operator: Operator, action: str, **detail: str) -> None:
        who = f"operator:{operator.handle}"
        await audit.add(
            tx, operator.account_id, actor=who, action=action, target=who, now_us=self._clock(), detail=dict(detail) or None
        )


async def _still(tx: Tx, operator: Operator) -> Operator | None:
    """The operator as they are in this transaction, if they can sign in; no other transaction changes them before it ends."""
    await keys.lock_account(tx, operator.account_id)
    held = await operators.find(tx, operator.account_id, operator.id)
    return held if held is not None and held.disabled_at is None else None


async def _of_invitation(reader: Reader, token: OneTimeToken) -> Operator | None:
    if token.purpose != INVITE or token.operator_id is None:
        return None
    found = await operators.find(reader, token.account_id, token.operator_id)
    return found if found is not None and found.disabled_at is None else None
