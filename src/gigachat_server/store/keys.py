"""SQL of accounts and API keys."""

from __future__ import annotations

from gigachat_server.records import Account, ApiKey
from gigachat_server.store.database import Database, Reader, Row, Tx
from gigachat_server.store.json_columns import JsonColumn

_SCOPES: JsonColumn[tuple[str, ...]] = JsonColumn("api_keys.scopes", tuple[str, ...], otherwise=tuple)
_KEY = "id, account_id, name, secret_sha256, last4, scopes, created_at, expires_at, revoked_at"


async def ensure_account(tx: Tx, name: str, *, new_id: str, now_us: int) -> Account:
    """The account of that name, made if missing."""
    await tx.run(
        "INSERT INTO accounts (id, name, created_at) VALUES (:id, :name, :now_us) ON CONFLICT (name) DO NOTHING",
        id=new_id,
        name=name,
        now_us=now_us,
    )
    row = await tx.one("SELECT id, name, created_at FROM accounts WHERE name = :name", name=name)
    assert row is not None
    return Account(*row)


async def find_account(reader: Reader, account_id: str) -> Account | None:
    row = await reader.one("SELECT id, name, created_at FROM accounts WHERE id = :id", id=account_id)
    return Account(*row) if row else None


async def lock_account(tx: Tx, account_id: str) -> None:
    """Until this transaction ends, no other transaction changes who belongs to the account."""
    await tx.one("SELECT 1 FROM accounts WHERE id = :account_id FOR UPDATE", account_id=account_id)


async def insert(tx: Tx, key: ApiKey) -> None:
    tx.forget(f"key {key.id}")
    await tx.run(
        f"INSERT INTO api_keys ({_KEY}) VALUES "
        "(:id, :account_id, :name, :secret_sha256, :last4, :scopes, :created_at, :expires_at, :revoked_at)",
        id=key.id,
        account_id=key.account_id,
        name=key.name,
        secret_sha256=key.secret_sha256,
        last4=key.last4,
        scopes=_SCOPES.write(key.scopes),
        created_at=key.created_at,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
    )


async def find_remembered(database: Database, key_id: str) -> ApiKey | None:
    """The same as `find_by_id`, without a query while the key does not change. Revoked elsewhere, it may be so for a moment."""

    async def read(reader: Reader) -> ApiKey | None:
        return await find_by_id(reader, key_id)

    return await database.lookup(f"key {key_id}", read, exactly=False)


async def find_by_id(reader: Reader, key_id: str) -> ApiKey | None:
    """By the public part of a key, before it is known whose it is."""
    row = await reader.one(f"SELECT {_KEY} FROM api_keys WHERE id = :id", id=key_id)
    return _key(row) if row else None


async def list_keys(reader: Reader, account_id: str, *, before: tuple[int, str] | None, limit: int) -> list[ApiKey]:
    """Newest first; `before` is (created_at, id) of the last one already seen."""
    at, key_id = before or (2**62, "")
    rows = await reader.all(
        f"SELECT {_KEY} FROM api_keys WHERE account_id = :account_id "
        "AND (created_at, id) < (:at, :id) ORDER BY created_at DESC, id DESC LIMIT :limit",
        account_id=account_id,
        at=at,
        id=key_id,
        limit=limit,
    )
    return [_key(row) for row in rows]


async def revoke(tx: Tx, account_id: str, key_id: str, *, now_us: int) -> bool:
    """Whether there was such a key. Revoking twice keeps the first time."""
    tx.forget(f"key {key_id}")
    return bool(
        await tx.run(
            "UPDATE api_keys SET revoked_at = coalesce(revoked_at, :now_us) WHERE id = :id AND account_id = :account_id",
            id=key_id,
            account_id=account_id,
            now_us=now_us,
        )
    )


def _key(row: Row) -> ApiKey:
    return ApiKey(*(*row[:5], _SCOPES.read(row[5], row[0]), *row[6:]))
