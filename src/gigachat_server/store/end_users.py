"""SQL of end users: what is known of them, and whether their tokens still count."""

from __future__ import annotations

from typing import Any

from gigachat_server.records import EndUser
from gigachat_server.store.database import Database, Reader, Row, Tx
from gigachat_server.store.json_columns import JsonColumn

_METADATA: JsonColumn[dict[str, Any]] = JsonColumn("end_users.metadata", dict[str, Any], otherwise=dict)
_COLUMNS = (
    "chatbot_id, user_id, name, email, metadata, is_verified, tokens_valid_from, blocked_at, profile_at, seen_at, created_at"
)
_WHICH = "WHERE chatbot_id = :chatbot_id AND user_id = :user_id"


async def find(reader: Reader, chatbot_id: str, user_id: str) -> EndUser | None:
    row = await reader.one(f"SELECT {_COLUMNS} FROM end_users {_WHICH}", chatbot_id=chatbot_id, user_id=user_id)
    return _end_user(row) if row else None


async def find_remembered(database: Database, chatbot_id: str, user_id: str) -> EndUser | None:
    """Without a query while nothing of it changes. Changed elsewhere, it may be so for a moment."""

    async def read(reader: Reader) -> EndUser | None:
        return await find(reader, chatbot_id, user_id)

    return await database.lookup(_remembered(chatbot_id, user_id), read, exactly=False)


async def lock(tx: Tx, chatbot_id: str, user_id: str, *, now_us: int) -> EndUser:
    """The user's row, made if missing, as it is and will be until this transaction changes it or ends."""
    tx.forget(_remembered(chatbot_id, user_id))
    row = await tx.one(
        "INSERT INTO end_users (chatbot_id, user_id, seen_at, created_at) "
        "SELECT :chatbot_id, :user_id, :now_us, :now_us FROM chatbots WHERE id = :chatbot_id FOR KEY SHARE "
        "ON CONFLICT (chatbot_id, user_id) DO UPDATE SET seen_at = greatest(end_users.seen_at, :now_us) "
        f"RETURNING {_COLUMNS}",
        chatbot_id=chatbot_id,
        user_id=user_id,
        now_us=now_us,
    )
    if row is None:
        return EndUser(chatbot_id=chatbot_id, user_id=user_id, blocked_at=now_us)  # the chatbot is gone
    return _end_user(row)


async def set_profile(tx: Tx, user: EndUser) -> None:
    """Store its name, email, metadata, is_verified and profile_at. For a row that this transaction has locked."""
    tx.forget(_remembered(user.chatbot_id, user.user_id))
    await tx.run(
        "UPDATE end_users SET name = :name, email = :email, metadata = :metadata, is_verified = :is_verified, "
        f"profile_at = :profile_at {_WHICH}",
        chatbot_id=user.chatbot_id,
        user_id=user.user_id,
        name=user.name,
        email=user.email,
        metadata=None if user.metadata is None else _METADATA.write(user.metadata),
        is_verified=int(user.is_verified),
        profile_at=user.profile_at,
    )


async def refuse_tokens(tx: Tx, chatbot_id: str, user_id: str, *, before_us: int, blocked_at: int | None) -> None:
    """Tokens that were issued before then count no more; with `blocked_at`, neither do later ones."""
    tx.forget(_remembered(chatbot_id, user_id))
    await tx.run(
        "UPDATE end_users SET tokens_valid_from = greatest(tokens_valid_from, :before_us), blocked_at = :blocked_at " + _WHICH,
        chatbot_id=chatbot_id,
        user_id=user_id,
        before_us=before_us,
        blocked_at=blocked_at,
    )


async def delete(tx: Tx, chatbot_id: str, user_id: str) -> None:
    tx.forget(_remembered(chatbot_id, user_id))
    await tx.run(f"DELETE FROM end_users {_WHICH}", chatbot_id=chatbot_id, user_id=user_id)


def _remembered(chatbot_id: str, user_id: str) -> str:
    return f"end-user {chatbot_id} {user_id}"


def _end_user(row: Row) -> EndUser:
    return EndUser(
        chatbot_id=row[0],
        user_id=row[1],
        name=row[2],
        email=row[3],
        metadata=None if row[4] is None else _METADATA.read(row[4], row[1]),
        is_verified=bool(row[5]),
        tokens_valid_from=row[6],
        blocked_at=row[7],
        profile_at=row[8],
        seen_at=row[9],
        created_at=row[10],
    )
