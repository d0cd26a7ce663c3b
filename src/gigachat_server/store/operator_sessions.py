"""SQL of who is signed in to the pages, and of the links that sign in. Only the SHA-256 of what opens them is here."""

from __future__ import annotations

from gigachat_server.records import OneTimeToken, OperatorSession
from gigachat_server.store.database import Database, Reader, Row, Tx

_SESSION = "id_sha256, account_id, operator_id, key_id, created_at, seen_at, expires_at, peer"
_LINK = "token_sha256, account_id, operator_id, purpose, expires_at"


async def insert(tx: Tx, session: OperatorSession) -> None:
    tx.forget(_remembered(session.id_sha256))
    await tx.run(
        f"INSERT INTO operator_sessions ({_SESSION}) VALUES "
        "(:id_sha256, :account_id, :operator_id, :key_id, :created_at, :seen_at, :expires_at, :peer)",
        id_sha256=session.id_sha256,
        account_id=session.account_id,
        operator_id=session.operator_id,
        key_id=session.key_id,
        created_at=session.created_at,
        seen_at=session.seen_at,
        expires_at=session.expires_at,
        peer=session.peer,
    )


async def find_remembered(database: Database, id_sha256: bytes) -> OperatorSession | None:
    """Without a query while it does not change; ended elsewhere, it may be there for a moment."""

    async def read(reader: Reader) -> OperatorSession | None:
        row = await reader.one(f"SELECT {_SESSION} FROM operator_sessions WHERE id_sha256 = :id_sha256", id_sha256=id_sha256)
        return _session(row) if row else None

    return await database.lookup(_remembered(id_sha256), read, exactly=False)


async def list_of_operator(reader: Reader, operator_id: str) -> list[OperatorSession]:
    """The newest first."""
    rows = await reader.all(
        f"SELECT {_SESSION} FROM operator_sessions WHERE operator_id = :operator_id ORDER BY created_at DESC",
        operator_id=operator_id,
    )
    return [_session(row) for row in rows]


async def note_seen(tx: Tx, id_sha256: bytes, *, now_us: int) -> None:
    tx.forget(_remembered(id_sha256))
    await tx.run(
        "UPDATE operator_sessions SET seen_at = greatest(seen_at, :now_us) WHERE id_sha256 = :id_sha256",
        id_sha256=id_sha256,
        now_us=now_us,
    )


async def delete(tx: Tx, id_sha256: bytes) -> None:
    tx.forget(_remembered(id_sha256))
    await tx.run("DELETE FROM operator_sessions WHERE id_sha256 = :id_sha256", id_sha256=id_sha256)


async def delete_of_operator(tx: Tx, operator_id: str, *, but: bytes = b"") -> None:
    """All of theirs, but for the one of that digest."""
    rows = await tx.all(
        "SELECT id_sha256 FROM operator_sessions WHERE operator_id = :operator_id AND id_sha256 <> :but",
        operator_id=operator_id,
        but=but,
    )
    for row in rows:
        await delete(tx, bytes(row[0]))


async def delete_oldest(tx: Tx, account_id: str, *, but: int) -> None:
    """Of an account, all but so many of the newest."""
    rows = await tx.all(
        "SELECT id_sha256 FROM operator_sessions WHERE account_id = :account_id "
        "ORDER BY created_at DESC, id_sha256 LIMIT 100 OFFSET :but",
        account_id=account_id,
        but=but,
    )
    for row in rows:
        await delete(tx, bytes(row[0]))


async def delete_ended(tx: Tx, *, now_us: int, idle_since_us: int) -> None:
    """Those that cannot be used any more; so nothing of them need be forgotten."""
    await tx.run(
        "DELETE FROM operator_sessions WHERE expires_at <= :now_us OR seen_at <= :idle_since_us",
        now_us=now_us,
        idle_since_us=idle_since_us,
    )


# --- links ---


async def insert_token(tx: Tx, token: OneTimeToken) -> None:
    await tx.run(
        f"INSERT INTO one_time_tokens ({_LINK}) VALUES (:token_sha256, :account_id, :operator_id, :purpose, :expires_at)",
        token_sha256=token.token_sha256,
        account_id=token.account_id,
        operator_id=token.operator_id,
        purpose=token.purpose,
        expires_at=token.expires_at,
    )


async def find_token(reader: Reader, token_sha256: bytes, *, now_us: int) -> OneTimeToken | None:
    """What it is good for, which looking does not use up."""
    row = await reader.one(
        f"SELECT {_LINK} FROM one_time_tokens WHERE token_sha256 = :token_sha256 AND expires_at > :now_us",
        token_sha256=token_sha256,
        now_us=now_us,
    )
    return _token(row) if row else None


async def claim_token(tx: Tx, token_sha256: bytes, *, now_us: int) -> OneTimeToken | None:
    """What it is good for, for one caller alone."""
    row = await tx.one(
        f"DELETE FROM one_time_tokens WHERE token_sha256 = :token_sha256 AND expires_at > :now_us RETURNING {_LINK}",
        token_sha256=token_sha256,
        now_us=now_us,
    )
    return _token(row) if row else None


async def delete_tokens_of_operator(tx: Tx, operator_id: str) -> None:
    await tx.run("DELETE FROM one_time_tokens WHERE operator_id = :operator_id", operator_id=operator_id)


async def delete_ended_tokens(tx: Tx, *, now_us: int) -> None:
    await tx.run("DELETE FROM one_time_tokens WHERE expires_at <= :now_us", now_us=now_us)


def _remembered(id_sha256: bytes) -> str:
    return f"session {id_sha256.hex()}"


def _session(row: Row) -> OperatorSession:
    return OperatorSession(
        id_sha256=bytes(row[0]),
        account_id=row[1],
        operator_id=row[2],
        key_id=row[3],
        created_at=row[4],
        seen_at=row[5],
        expires_at=row[6],
        peer=row[7],
    )


def _token(row: Row) -> OneTimeToken:
    return OneTimeToken(token_sha256=bytes(row[0]), account_id=row[1], operator_id=row[2], purpose=row[3], expires_at=row[4])
