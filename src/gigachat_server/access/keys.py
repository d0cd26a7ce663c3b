"""API keys: how they look, how they are made, and who a request speaks for.

A key is `gca_` and what `bearers.py` says. The store holds only its id and the SHA-256 of the whole.

Invariant: `KeyRing.authenticate` is the one place that turns an API key into a `Principal`; unknown, revoked and
expired keys raise the same error, and a revoked key is refused from the moment its revocation is answered.
"""

from __future__ import annotations

import hashlib
import hmac

from gigachat_server.access.bearers import API_KEY
from gigachat_server.access.one_way import digest
from gigachat_server.access.principal import Principal, PrincipalKind
from gigachat_server.access.scopes import DEFAULT_SCOPES as DEFAULT_SCOPES
from gigachat_server.access.scopes import SCOPES as SCOPES
from gigachat_server.access.scopes import known_scopes, unknown_scopes
from gigachat_server.access.speakers import shown_name
from gigachat_server.clock import Clock
from gigachat_server.errors import FieldError, InvalidRequest, NotFound, Unauthenticated
from gigachat_server.ids import new_id
from gigachat_server.records import Account, ApiKey
from gigachat_server.store import audit, keys
from gigachat_server.store.database import Database, Reader, Tx

_DAY_US = 86_400_000_000


def _configured_id(key: str) -> str:
    """The id of a key that an operator chose: it has no id of its own, so one is derived."""
    return "env-" + hashlib.sha256(b"gigachat key id\0" + key.encode()).hexdigest()[:16]


class KeyRing:
    """Makes, lists, revokes and checks the keys of all accounts."""

    def __init__(self, database: Database, clock: Clock, *, configured_key: str = "") -> None:
        self._database = database
        self._clock = clock
        self._configured_key = configured_key

    async def ensure_account(self, name: str) -> Account:
        async def body(tx: Tx) -> Account:
            return await keys.ensure_account(tx, name, new_id=new_id(), now_us=self._clock())

        return await self._database.transaction("account.ensure", body)

    async def grant(
        self, principal: Principal, name: str, *, scopes: tuple[str, ...] = DEFAULT_SCOPES, expires_in_days: int | None = None
    ) -> tuple[ApiKey, str]:
        """A new key of the principal's account, with scopes that the principal has. Raises `Forbidden`, `InvalidRequest`."""
        if unknown := unknown_scopes(scopes):
            message = f"Unknown: {unknown[0]!r}. Choose from {', '.join(SCOPES)}."
            raise InvalidRequest(errors=(FieldError("scopes", message),))
        name, wanted = shown_name(name, "name"), tuple(dict.fromkeys(scopes))
        principal.require_grantable(wanted)
        expires_at = None if expires_in_days is None else self._clock() + expires_in_days * _DAY_US
        return await self.create(principal.account_id, name, scopes=wanted, expires_at=expires_at, actor=principal.actor)

    async def list_keys(self, principal: Principal, *, before: tuple[int, str] | None, limit: int) -> list[ApiKey]:
        """The keys of the principal's account, newest first."""

        async def read(reader: Reader) -> list[ApiKey]:
            return await keys.list_keys(reader, principal.account_id, before=before, limit=limit)

        return await self._database.read(read)

    async def create(
        self,
        account_id: str,
        name: str,
        *,
        scopes: tuple[str, ...] = DEFAULT_SCOPES,
        expires_at: int | None = None,
        actor: str = PrincipalKind.LOCAL,
    ) -> tuple[ApiKey, str]:
        """A new key and, for this once, its secret."""
        secret = API_KEY.mint()
        made = await self._insert(
            account_id, name, secret, key_id=API_KEY.id_of(secret), scopes=scopes, expires_at=expires_at, actor=actor
        )
        return made, secret

    async def ensure_configured(self, account_id: str) -> None:
        """Have GIGACHAT_API_KEY work, unless it was revoked."""
        secret = self._configured_key
        if not secret:
            return
        key_id = API_KEY.id_of(secret) if API_KEY.is_well_formed(secret) else _configured_id(secret)

        if await keys.find_remembered(self._database, key_id) is None:
            await self._insert(
                account_id,
                "GIGACHAT_API_KEY",
                secret,
                key_id=key_id,
                scopes=DEFAULT_SCOPES,
                expires_at=None,
                actor=PrincipalKind.LOCAL,
                is_own=False,
            )

    async def revoke(self, account_id: str, key_id: str, *, actor: str = PrincipalKind.LOCAL) -> None:
        """From now on the key is refused. Raises `NotFound`."""

        async def body(tx: Tx) -> bool:
            if not await keys.revoke(tx, account_id, key_id, now_us=self._clock()):
                return False
            await self._note(tx, account_id, key_id, actor, "revoked")
            return True

        if not await self._database.transaction("key.revoke", body):
            raise NotFound

    async def authenticate(self, secret: str) -> Principal:
        """Whose key this is. Raises `Unauthenticated`, the same for every reason."""
        if API_KEY.is_well_formed(secret):
            key_id = API_KEY.id_of(secret)
        elif self._configured_key and len(secret) <= 255:
            key_id = _configured_id(secret)
        else:
            raise Unauthenticated

        key = await keys.find_remembered(self._database, key_id)
        matches = hmac.compare_digest(key.secret_sha256 if key else bytes(32), digest(secret))
        principal = self._principal(key) if key is not None and matches else None
        if principal is None:
            raise Unauthenticated
        return principal

    async def holder(self, key_id: str) -> Principal | None:
        """Who that key speaks for now, for a session that it opened; None once it does not hold any more."""
        key = await keys.find_remembered(self._database, key_id)
        return self._principal(key) if key is not None else None

    def _principal(self, key: ApiKey) -> Principal | None:
        """None once the key is revoked or has expired."""
        if key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= self._clock()):
            return None
        scopes = known_scopes(key.scopes)
        is_owner = key.expires_at is None and scopes.issuperset(DEFAULT_SCOPES)
        return Principal(kind=PrincipalKind.KEY, account_id=key.account_id, id=key.id, scopes=scopes, is_owner=is_owner)

    async def _insert(
        self,
        account_id: str,
        name: str,
        secret: str,
        *,
        key_id: str,
        scopes: tuple[str, ...],
        expires_at: int | None,
        actor: str,
        is_own: bool = True,
    ) -> ApiKey:
        """`is_own`: the id was made for it, so no other node can have made a key of that id."""
        key = ApiKey(
            id=key_id,
            account_id=account_id,
            name=name,
            secret_sha256=digest(secret),
            last4=secret[-4:],
            scopes=scopes,
            created_at=self._clock(),
            expires_at=expires_at,
            revoked_at=None,
        )

        async def body(tx: Tx) -> None:
            if not is_own:
                tx.forget(f"key {key.id}")  # that there was none: another node may have been faster
            if is_own or await keys.find_by_id(tx, key.id) is None:
                await keys.insert(tx, key)
                await self._note(tx, account_id, key.id, actor, "created")

        await self._database.transaction("key.create", body)
        return key

    async def _note(self, tx: Tx, account_id: str, key_id: str, actor: str, what: str) -> None:
        await audit.add(tx, account_id, actor=actor, action=f"key.{what}", target=f"key:{key_id}", now_us=self._clock())
