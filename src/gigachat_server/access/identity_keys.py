"""Identity keys: what a client's server signs the tokens of its users with, and what verifies them here.

Invariants: a key has one algorithm, and a token is verified by that alone; a chatbot has `MOST_LIVE` of them at most, so that
a new one can be brought in before the old one goes; a shared secret is shown once and stored nowhere (`secrets.py`).
"""

from __future__ import annotations

import asyncio

import msgspec

from gigachat_server.access.bearers import random_characters
from gigachat_server.access.principal import Principal
from gigachat_server.access.public_keys import canonical_public_key
from gigachat_server.access.scopes import Scope
from gigachat_server.access.secrets import Secrets, text_of
from gigachat_server.access.speakers import shown_name
from gigachat_server.clock import Clock
from gigachat_server.errors import Conflict, FieldError, InvalidRequest, NotFound
from gigachat_server.records import Algorithm, Chatbot, IdentityKey, SourceView
from gigachat_server.store import audit, chatbots, identity_keys
from gigachat_server.store.database import Database, Reader, Tx

MOST_LIVE = 5
_SHOWN_AS = "gcs_"
_PURPOSE = "identity-key"
_ID_LENGTH = 12


class TooManyIdentityKeys(Conflict):
    code = "too_many_identity_keys"
    message = f"A chatbot has {MOST_LIVE} identity keys at most: delete one that no server signs with any more."


class NewIdentityKey(msgspec.Struct, frozen=True):
    """A key and, for this once, its shared secret; None if the client holds a private key."""

    key: IdentityKey
    secret: str | None


class IdentityKeys:
    """Makes, lists and revokes the identity keys of chatbots."""

    def __init__(self, database: Database, secrets: Secrets, clock: Clock) -> None:
        self._database = database
        self._secrets = secrets
        self._clock = clock

    async def create(
        self, principal: Principal, chatbot: Chatbot, name: str, algorithm: Algorithm, public_key: str | None, sources: SourceView
    ) -> NewIdentityKey:
        """Raises `Forbidden`, `InvalidRequest`, `SecretMissing`, `TooManyIdentityKeys`."""
        _admit(principal, chatbot)
        key = IdentityKey(
            chatbot_id=chatbot.id,
            id=random_characters(_ID_LENGTH),
            algorithm=algorithm,
            public_key=await _checked(public_key, algorithm),
            version=1,
            name=shown_name(name, "name"),
            sources=sources,
            created_at=self._clock(),
            revoked_at=None,
        )
        secret = await self.secret_of(key) if algorithm == "HS256" else None

        async def body(tx: Tx) -> None:
            if await chatbots.lock(tx, principal.account_id, chatbot.id) is None:
                raise NotFound
            if len(await identity_keys.list_live(tx, chatbot.id)) >= MOST_LIVE:
                raise TooManyIdentityKeys
            await identity_keys.insert(tx, key)
            await self._record(tx, principal, chatbot, "created", key.id)

        await self._database.transaction("identity_key.create", body)
        return NewIdentityKey(key, secret)

    async def list(self, principal: Principal, chatbot: Chatbot) -> list[IdentityKey]:
        """Those that tokens are verified with, newest first."""
        _admit(principal, chatbot)

        async def read(reader: Reader) -> list[IdentityKey]:
            return [*await identity_keys.list_live(reader, chatbot.id)]

        return await self._database.read(read)

    async def revoke(self, principal: Principal, chatbot: Chatbot, key_id: str) -> None:
        """From now on its tokens are refused. Raises `NotFound`."""
        _admit(principal, chatbot)

        async def body(tx: Tx) -> None:
            if not await identity_keys.revoke(tx, chatbot.id, key_id, now_us=self._clock()):
                raise NotFound
            await self._record(tx, principal, chatbot, "revoked", key_id)

        await self._database.transaction("identity_key.revoke", body)

    async def secret_of(self, key: IdentityKey) -> str:
        """What both sides sign with. Raises `SecretMissing`."""
        derived = await self._secrets.derive(_PURPOSE, key.chatbot_id, key.id, key.version)
        return text_of(derived, _SHOWN_AS)

    async def _record(self, tx: Tx, principal: Principal, chatbot: Chatbot, act: str, key_id: str) -> None:
        await audit.add(
            tx,
            principal.account_id,
            actor=principal.actor,
            action=f"identity_key.{act}",
            target=f"chatbot:{chatbot.id}",
            detail={"identity_key": key_id},
            now_us=self._clock(),
        )


def _admit(principal: Principal, chatbot: Chatbot) -> None:
    principal.require(Scope.ACCESS_WRITE)
    principal.check_reach(chatbot)


async def _checked(public_key: str | None, algorithm: Algorithm) -> str | None:
    """Raises `InvalidRequest`."""
    if algorithm == "HS256":
        if public_key is not None:
            raise InvalidRequest(
                errors=(FieldError("public_key", "HS256 has a shared secret, which is made here: leave it out."),)
            )
        return None
    if public_key is None:
        raise InvalidRequest(errors=(FieldError("public_key", f"Required with {algorithm}: the public key in PEM."),))
    return await asyncio.to_thread(canonical_public_key, public_key, algorithm)
