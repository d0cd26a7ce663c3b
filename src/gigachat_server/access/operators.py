"""Operators: the people of an account, what each may do, and the links that let them in.

Invariant: an account that has an owner who can sign in keeps one; only owners, and this machine's operator, make, change or
remove owners; and a handle belongs to one person for good, since it is the name under which they spoke.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import msgspec

from gigachat_server.access.invitations import Invitations
from gigachat_server.access.one_way import new_secret
from gigachat_server.access.principal import SCOPES_OF, Principal, PrincipalKind, Role
from gigachat_server.access.scopes import Scope
from gigachat_server.access.speakers import operator_name, shown_name
from gigachat_server.clock import Clock
from gigachat_server.errors import Conflict, FieldError, Forbidden, InvalidRequest, NotFound
from gigachat_server.ids import new_id
from gigachat_server.records import AuditEntry, Chatbot, Membership, Operator
from gigachat_server.store import audit, chatbots, keys, operator_sessions, operators
from gigachat_server.store.database import Database, Reader, Tx

MOST_MEMBERSHIPS = 100
_MOST_COLLEAGUES = 500

_SECOND = 1_000_000
_HANDLE = re.compile(r"[a-z0-9_.-]{1,64}")
_EMAIL = re.compile(r"[^\s@\"<>(),;:\\\[\]]{1,64}@[^\s@\"<>(),;:\\\[\]]{1,189}")
_ROLES = {role.value: role for role in (Role.OWNER, Role.ADMIN, Role.MEMBER)}
_ROLES_IN_CHATBOT = {role.value: role for role in (Role.OPERATOR, Role.VIEWER)}
_OWNERS = "Only owners, and `gigachat operators` on the server's machine, make, change or remove owners."


class OperatorExists(Conflict):
    code = "operator_exists"
    message = "Another operator of the account has this e-mail address or handle, or had the handle before."


class LastOwner(Conflict):
    code = "last_owner"
    message = "This is the account's last owner: make another operator an owner first."


class HandleFixed(Conflict):
    code = "handle_fixed"
    message = "An operator who has signed in keeps their handle: it is the name under which they spoke."


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of an operator by those who manage them."""

    email: str
    name: str
    handle: str
    role: str
    memberships: tuple[Membership, ...] = ()
    is_disabled: bool = False


def principal_of(operator: Operator) -> Principal | None:
    """Who an operator is now; None once they are disabled. A role of a later version may do nothing."""
    if operator.disabled_at is not None:
        return None
    role = _ROLES.get(operator.role)
    memberships, scopes = None, frozenset[Scope]() if role is None else SCOPES_OF[role]
    if role is None or role is Role.MEMBER:
        known = ((each.chatbot_id, _ROLES_IN_CHATBOT.get(each.role)) for each in operator.memberships)
        memberships = {chatbot_id: its for chatbot_id, its in known if its is not None} if role is not None else {}
        scopes = scopes.union(*(SCOPES_OF[its] for its in memberships.values()))
    return Principal(
        kind=PrincipalKind.OPERATOR,
        account_id=operator.account_id,
        id=operator.id,
        scopes=scopes,
        is_owner=role in (Role.OWNER, Role.ADMIN),
        operator=operator.handle,
        role=role,
        memberships=memberships,
    )


def canonical_email(text: str) -> str:
    """In the one form that addresses are compared in."""
    return text.strip().casefold()


def suggested_handle(email: str) -> str:
    """Made of what stands before the @, as far as a handle may hold it."""
    return re.sub(r"[^a-z0-9_.-]+", "-", canonical_email(email).partition("@")[0]).strip("-.")[:64]


class Operators:
    """The operators of all accounts. Each method raises `Forbidden` for a principal without its scope."""

    def __init__(self, database: Database, invitations: Invitations, clock: Clock) -> None:
        self._database = database
        self._invitations = invitations
        self._clock = clock

    async def list(self, principal: Principal, *, after: str | None, limit: int) -> list[Operator]:
        """Those of the principal's account, the one that was made first comes first."""
        principal.require(Scope.OPERATORS_WRITE)

        async def read(reader: Reader) -> list[Operator]:
            return await operators.list_operators(reader, principal.account_id, after=after, limit=limit)

        return await self._database.read(read)

    async def colleagues(self, principal: Principal, chatbot: Chatbot) -> Sequence[Operator]:
        """Whom a conversation of that chatbot can be given to: those who may answer there, the principal among them."""
        principal.within(chatbot).require(Scope.MESSAGES_INJECT)

        async def read(reader: Reader) -> list[Operator]:
            return await operators.list_operators(reader, principal.account_id, after=None, limit=_MOST_COLLEAGUES)

        return [each for each in await self._database.read(read) if _may_answer(each, chatbot)]

    async def audit(self, principal: Principal, *, before: tuple[int, str] | None, limit: int) -> Sequence[AuditEntry]:
        """What was done in the principal's account, the newest first. Raises `Forbidden` without `audit:read`."""
        principal.require(Scope.AUDIT_READ)

        async def read(reader: Reader) -> Sequence[AuditEntry]:
            return await audit.list_entries(reader, principal.account_id, before=before, limit=limit)

        return await self._database.read(read)

    async def has_owner(self, account_id: str) -> bool:
        return await operators.has_owner_remembered(self._database, account_id)

    async def create(self, principal: Principal, draft: Draft) -> tuple[Operator, str]:
        """A new operator and the token of their invitation. Raises `InvalidRequest`, `OperatorExists`."""
        principal.require(Scope.OPERATORS_WRITE)
        draft, token, now = checked(draft), new_secret(), self._clock()
        made = _drafted(
            Operator(
                id=new_id(),
                account_id=principal.account_id,
                handle="",
                email="",
                name="",
                role="",
                password=None,
                oidc_issuer=None,
                oidc_subject=None,
                created_at=now,
                seen_at=None,
                disabled_at=None,
            ),
            draft,
            now,
        )
        _check_may_manage(principal, made)

        async def body(tx: Tx) -> None:
            await self.insert_in(tx, principal, made)
            await operator_sessions.insert_token(tx, self._invitations.token(made, token))
            await self._invitations.send_in(tx, made)

        await self._database.transaction("operator.create", body)
        return made, token

    async def insert_in(self, tx: Tx, principal: Principal, made: Operator) -> None:
        """Within a transaction. Raises `InvalidRequest`, `OperatorExists`."""
        await keys.lock_account(tx, made.account_id)
        await _check_free(tx, made)
        await _check_chatbots(tx, made)
        await operators.insert(tx, made)
        await self._note(tx, principal, made, "created", role=made.role)

    async def change(self, principal: Principal, operator_id: str, merge: Callable[[Draft], Draft]) -> Operator:
        """`merge`, pure, says what becomes of what is said of them now.

        Raises `NotFound`, `LastOwner`, `HandleFixed`, `OperatorExists`, `InvalidRequest`.
        """
        principal.require(Scope.OPERATORS_WRITE)

        async def body(tx: Tx) -> Operator:
            await keys.lock_account(tx, principal.account_id)
            held = await operators.find(tx, principal.account_id, operator_id)
            if held is None:
                raise NotFound
            changed = _drafted(held, checked(merge(_draft_of(held))), self._clock())
            if changed == held:
                return held
            _check_may_manage(principal, held, changed)
            if changed.handle != held.handle and held.seen_at is not None:
                raise HandleFixed
            await _check_free(tx, changed)
            await _check_chatbots(tx, changed)
            await operators.update(tx, changed)
            await operators.put_memberships(tx, changed.id, changed.memberships)
            await self._check_owners(tx, held)
            if changed.disabled_at is not None:
                await self._shut_out(tx, changed)
            await self._note(tx, principal, changed, "changed", **_differences(held, changed))
            return changed

        return await self._database.transaction("operator.change", body)

    async def delete(self, principal: Principal, operator_id: str) -> None:
        """Nothing is kept of them but the handle under which they spoke. Raises `NotFound`, `LastOwner`."""
        principal.require(Scope.OPERATORS_WRITE)

        async def body(tx: Tx) -> None:
            await keys.lock_account(tx, principal.account_id)
            held = await operators.find(tx, principal.account_id, operator_id)
            if held is None:
                raise NotFound
            _check_may_manage(principal, held)
            await operators.delete(tx, held.account_id, held.id, now_us=self._clock())
            await self._check_owners(tx, held)
            await self._shut_out(tx, held)
            await self._note(tx, principal, held, "deleted")

        await self._database.transaction("operator.delete", body)

    async def invite(self, principal: Principal, operator_id: str) -> tuple[Operator, str]:
        """A new link for them to choose a password with; earlier ones are void. Raises `NotFound`, `Conflict`."""
        principal.require(Scope.OPERATORS_WRITE)
        token = new_secret()

        async def body(tx: Tx) -> Operator:
            await keys.lock_account(tx, principal.account_id)
            held = await operators.find(tx, principal.account_id, operator_id)
            if held is None:
                raise NotFound
            _check_may_manage(principal, held)
            if held.disabled_at is not None:
                raise Conflict("This operator is disabled: enable them first.")
            await operator_sessions.delete_tokens_of_operator(tx, held.id)
            await operator_sessions.insert_token(tx, self._invitations.token(held, token))
            await self._invitations.send_in(tx, held)
            await self._note(tx, principal, held, "invited")
            return held

        return await self._database.transaction("operator.invite", body), token

    async def _check_owners(self, tx: Tx, before: Operator) -> None:
        """Raises `LastOwner` where there was an owner and is none any more. The account is locked, so no other removes one."""
        was_owner = before.role == Role.OWNER and before.disabled_at is None
        if was_owner and not await operators.count_owners(tx, before.account_id):
            raise LastOwner

    @staticmethod
    async def _shut_out(tx: Tx, operator: Operator) -> None:
        """Nothing that they hold opens anything any more."""
        await operator_sessions.delete_of_operator(tx, operator.id)
        await operator_sessions.delete_tokens_of_operator(tx, operator.id)

    async def _note(self, tx: Tx, principal: Principal, operator: Operator, what: str, **detail: object) -> None:
        await audit.add(
            tx,
            operator.account_id,
            actor=principal.actor,
            action=f"operator.{what}",
            target=f"operator:{operator.handle}",
            now_us=self._clock(),
            detail=dict(detail) or None,
        )


def checked(draft: Draft) -> Draft:
    """In the form that is stored. Raises `InvalidRequest`."""
    email = canonical_email(draft.email)
    handle = draft.handle or suggested_handle(email)
    name = shown_name(" ".join(draft.name.split()) or handle, "name")
    wrong = []
    if not _EMAIL.fullmatch(email) or not email.isprintable():
        wrong.append(FieldError("email", "Must be an e-mail address."))
    if not _HANDLE.fullmatch(handle):
        wrong.append(FieldError("handle", "Must be 1 to 64 of a-z, 0-9, dot, hyphen and underscore."))
    if draft.role not in _ROLES:
        wrong.append(FieldError("role", f"Must be one of {', '.join(_ROLES)}."))
    if len({each.chatbot_id for each in draft.memberships}) < len(draft.memberships):
        wrong.append(FieldError("chatbots", "Must name each chatbot once."))
    if len(draft.memberships) > MOST_MEMBERSHIPS:
        wrong.append(FieldError("chatbots", f"Must be at most {MOST_MEMBERSHIPS}."))
    if any(each.role not in _ROLES_IN_CHATBOT for each in draft.memberships):
        wrong.append(FieldError("chatbots", f"Must give each chatbot one of {', '.join(_ROLES_IN_CHATBOT)}."))
    if wrong:
        raise InvalidRequest(errors=tuple(wrong))
    operator_name(handle, "handle")
    shown_name(email, "email")
    is_member = draft.role == Role.MEMBER
    memberships = tuple(sorted(draft.memberships, key=lambda each: each.chatbot_id)) if is_member else ()
    return msgspec.structs.replace(draft, email=email, handle=handle, name=name, memberships=memberships)


def _draft_of(operator: Operator) -> Draft:
    return Draft(
        email=operator.email,
        name=operator.name,
        handle=operator.handle,
        role=operator.role,
        memberships=operator.memberships,
        is_disabled=operator.disabled_at is not None,
    )


def _drafted(held: Operator, draft: Draft, now_us: int) -> Operator:
    disabled_at = (held.disabled_at or now_us) if draft.is_disabled else None
    return msgspec.structs.replace(
        held,
        email=draft.email,
        name=draft.name,
        handle=draft.handle,
        role=draft.role,
        memberships=draft.memberships,
        disabled_at=disabled_at,
    )


def _check_may_manage(principal: Principal, *operators: Operator) -> None:
    if not principal.may_manage_owners and any(each.role == Role.OWNER for each in operators):
        raise Forbidden(_OWNERS)


async def _check_free(tx: Tx, wanted: Operator) -> None:
    handle, email = await operators.taken(tx, wanted.account_id, but=wanted.id, handle=wanted.handle, email=wanted.email)
    wrong = [FieldError("handle", "Is taken.")] * handle + [FieldError("email", "Is taken.")] * email
    if wrong:
        raise OperatorExists(errors=tuple(wrong))


async def _check_chatbots(tx: Tx, wanted: Operator) -> None:
    """Raises `InvalidRequest` for chatbots that are not the account's. Those that are stay until the transaction ends."""
    named: Sequence[str] = [each.chatbot_id for each in wanted.memberships]
    found = await chatbots.lock_those(tx, wanted.account_id, named) if named else set()
    missing = [name for name in named if name not in found]
    if missing:
        raise InvalidRequest(errors=(FieldError("chatbots", f"There is no chatbot {missing[0][:64]!r}."),))


def _differences(before: Operator, after: Operator) -> dict[str, object]:
    """What changed, without the personal data themselves."""
    told: dict[str, object] = {}
    if before.role != after.role:
        told["role"] = [before.role, after.role]
    if before.handle != after.handle:
        told["handle"] = [before.handle, after.handle]
    if (before.disabled_at is None) != (after.disabled_at is None):
        told["disabled"] = after.disabled_at is not None
    if before.memberships != after.memberships:
        told["chatbots"] = {each.chatbot_id: each.role for each in after.memberships}
    personal = [name for name in ("email", "name") if getattr(before, name) != getattr(after, name)]
    return {**told, "fields": personal} if personal else told


async def check_may_answer(tx: Tx, chatbot: Chatbot, handle: str, field: str) -> None:
    """Raises `InvalidRequest` unless a conversation of that chatbot can be given to them.

    An account without operators has its staff elsewhere, under names of its own.
    """
    named = await operators.find_by_handle(tx, chatbot.account_id, handle)
    if _may_answer(named, chatbot) if named else not await operators.are_there_any(tx, chatbot.account_id):
        return
    raise InvalidRequest(errors=(FieldError(field, "Must be the handle of an operator who may answer there."),))


def _may_answer(operator: Operator, chatbot: Chatbot) -> bool:
    principal = principal_of(operator)
    try:
        return principal is not None and principal.within(chatbot).may(Scope.MESSAGES_INJECT)
    except NotFound:
        return False
