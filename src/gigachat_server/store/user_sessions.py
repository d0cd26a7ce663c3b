"""SQL of end users' sessions. A session that was revoked, or has ended, never holds again."""

from __future__ import annotations

from gigachat_server.records import UserSession
from gigachat_server.store.database import Database, Reader, Row, Tx
from gigachat_server.store.json_columns import JsonColumn

_IDS: JsonColumn[tuple[str, ...]] = JsonColumn("user_sessions.conversation_ids", tuple[str, ...], otherwise=tuple)
_COLUMNS = (
    "chatbot_id, id, secret_sha256, user_id, widget_key_id, conversation_ids, sources, "
    "created_at, seen_at, expires_at, revoked_at"
)
_WHICH = "WHERE chatbot_id = :chatbot_id AND id = :id"


async def insert(tx: Tx, session: UserSession) -> None:
    tx.forget(_remembered(session.chatbot_id, session.id))
    await tx.run(
        f"INSERT INTO user_sessions ({_COLUMNS}) VALUES (:chatbot_id, :id, :secret_sha256, :user_id, :widget_key_id, "
        ":conversation_ids, :sources, :created_at, :seen_at, :expires_at, :revoked_at)",
        chatbot_id=session.chatbot_id,
        id=session.id,
        secret_sha256=session.secret_sha256,
        user_id=session.user_id,
        widget_key_id=session.widget_key_id,
        conversation_ids=None if session.conversation_ids is None else _IDS.write(session.conversation_ids),
        sources=session.sources,
        created_at=session.created_at,
        seen_at=session.seen_at,
        expires_at=session.expires_at,
        revoked_at=session.revoked_at,
    )


async def find_remembered(database: Database, chatbot_id: str, session_id: str) -> UserSession | None:
    """Without a query while it does not change. Revoked elsewhere, it may be so for a moment."""

    async def read(reader: Reader) -> UserSession | None:
        row = await reader.one(f"SELECT {_COLUMNS} FROM user_sessions {_WHICH}", chatbot_id=chatbot_id, id=session_id)
        return _session(row) if row else None

    return await database.lookup(_remembered(chatbot_id, session_id), read, exactly=False)


async def hold(tx: Tx, chatbot_id: str, session_id: str) -> bool:
    """Whether it was not revoked; until this transaction ends, it is not."""
    row = await tx.one(
        f"SELECT 1 FROM user_sessions {_WHICH} AND revoked_at IS NULL FOR UPDATE", chatbot_id=chatbot_id, id=session_id
    )
    return row is not None


async def prolong(tx: Tx, chatbot_id: str, session_id: str, *, seen_at: int, expires_at: int) -> None:
    """It was used, so it ends later."""
    tx.forget(_remembered(chatbot_id, session_id))
    await tx.run(
        f"UPDATE user_sessions SET seen_at = :seen_at, expires_at = :expires_at {_WHICH} AND revoked_at IS NULL",
        chatbot_id=chatbot_id,
        id=session_id,
        seen_at=seen_at,
        expires_at=expires_at,
    )


async def claim(tx: Tx, chatbot_id: str, session_id: str, *, secret_sha256: bytes, now_us: int) -> str | None:
    """Revoke an anonymous session by its secret; whose it was. None if it is none, has ended, or was claimed before."""
    tx.forget(_remembered(chatbot_id, session_id))
    row = await tx.one(
        f"UPDATE user_sessions SET revoked_at = :now_us {_WHICH} AND secret_sha256 = :secret_sha256 "
        "AND user_id LIKE 'anon:%' AND revoked_at IS NULL AND expires_at > :now_us RETURNING user_id",
        chatbot_id=chatbot_id,
        id=session_id,
        secret_sha256=secret_sha256,
        now_us=now_us,
    )
    return row[0] if row else None


async def revoke(tx: Tx, chatbot_id: str, session_id: str, *, now_us: int) -> bool:
    """Whether it was not revoked before."""
    tx.forget(_remembered(chatbot_id, session_id))
    revoked = await tx.run(
        f"UPDATE user_sessions SET revoked_at = :now_us {_WHICH} AND revoked_at IS NULL",
        chatbot_id=chatbot_id,
        id=session_id,
        now_us=now_us,
    )
    return bool(revoked)


async def revoke_of_user(tx: Tx, chatbot_id: str, user_id: str, *, now_us: int) -> int:
    """All that the user has; how many that were."""
    rows = await tx.all(
        "UPDATE user_sessions SET revoked_at = :now_us WHERE chatbot_id = :chatbot_id AND user_id = :user_id "
        "AND revoked_at IS NULL RETURNING id",
        chatbot_id=chatbot_id,
        user_id=user_id,
        now_us=now_us,
    )
    for (session_id,) in rows:
        tx.forget(_remembered(chatbot_id, session_id))
    return len(rows)


async def delete_of_user(tx: Tx, chatbot_id: str, user_id: str) -> None:
    rows = await tx.all(
        "DELETE FROM user_sessions WHERE chatbot_id = :chatbot_id AND user_id = :user_id RETURNING id",
        chatbot_id=chatbot_id,
        user_id=user_id,
    )
    for (session_id,) in rows:
        tx.forget(_remembered(chatbot_id, session_id))


async def delete_ended(tx: Tx, *, before_us: int) -> int:
    """Those that ended before then; how many that were."""
    return await tx.run("DELETE FROM user_sessions WHERE expires_at < :before_us", before_us=before_us)


def _remembered(chatbot_id: str, session_id: str) -> str:
    return f"session {chatbot_id} {session_id}"


def _session(row: Row) -> UserSession:
    return UserSession(
        chatbot_id=row[0],
        id=row[1],
        secret_sha256=row[2],
        user_id=row[3],
        widget_key_id=row[4],
        conversation_ids=None if row[5] is None else _IDS.read(row[5], row[1]),
        sources=row[6],
        created_at=row[7],
        seen_at=row[8],
        expires_at=row[9],
        revoked_at=row[10],
    )
