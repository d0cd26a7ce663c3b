"""SQL of identity keys: what verifies the tokens that a client's server signs for its users."""

from __future__ import annotations

from gigachat_server.records import IdentityKey
from gigachat_server.store.database import Database, Reader, Row, Tx

_COLUMNS = "chatbot_id, id, algorithm, public_key, version, name, sources, created_at, revoked_at"
_WHICH = "WHERE chatbot_id = :chatbot_id AND id = :id"


async def insert(tx: Tx, key: IdentityKey) -> None:
    tx.forget(_remembered(key.chatbot_id))
    await tx.run(
        f"INSERT INTO identity_keys ({_COLUMNS}) VALUES "
        "(:chatbot_id, :id, :algorithm, :public_key, :version, :name, :sources, :created_at, :revoked_at)",
        chatbot_id=key.chatbot_id,
        id=key.id,
        algorithm=key.algorithm,
        public_key=key.public_key,
        version=key.version,
        name=key.name,
        sources=key.sources,
        created_at=key.created_at,
        revoked_at=key.revoked_at,
    )


async def list_live(reader: Reader, chatbot_id: str) -> tuple[IdentityKey, ...]:
    """Newest first; there are five at most."""
    rows = await reader.all(
        f"SELECT {_COLUMNS} FROM identity_keys WHERE chatbot_id = :chatbot_id AND revoked_at IS NULL "
        "ORDER BY created_at DESC, id DESC",
        chatbot_id=chatbot_id,
    )
    return tuple(map(_key, rows))


async def find_live_remembered(database: Database, chatbot_id: str, key_id: str) -> IdentityKey | None:
    """The key of that id, without a query while none of the chatbot's changes. Revoked elsewhere, it may be so for a moment."""

    async def read(reader: Reader) -> tuple[IdentityKey, ...]:
        return await list_live(reader, chatbot_id)

    live = await database.lookup(_remembered(chatbot_id), read, exactly=False)
    return next((key for key in live if key.id == key_id), None)


async def revoke(tx: Tx, chatbot_id: str, key_id: str, *, now_us: int) -> bool:
    """Whether it was live until now."""
    tx.forget(_remembered(chatbot_id))
    revoked = await tx.run(
        f"UPDATE identity_keys SET revoked_at = :now_us {_WHICH} AND revoked_at IS NULL",
        chatbot_id=chatbot_id,
        id=key_id,
        now_us=now_us,
    )
    return bool(revoked)


def _remembered(chatbot_id: str) -> str:
    return f"identity-keys {chatbot_id}"


def _key(row: Row) -> IdentityKey:
    return IdentityKey(*row)
