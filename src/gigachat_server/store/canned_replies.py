"""SQL of canned replies."""

from __future__ import annotations

from gigachat_server.records import CannedReply
from gigachat_server.store.database import Reader, Tx

_REPLY = "chatbot_id, id, shortcut, content, updated_at"


async def put(tx: Tx, reply: CannedReply) -> None:
    """Store it, or replace the one of that id."""
    await tx.run(
        f"INSERT INTO canned_replies ({_REPLY}) VALUES (:chatbot_id, :id, :shortcut, :content, :updated_at) "
        "ON CONFLICT (chatbot_id, id) DO UPDATE SET shortcut = excluded.shortcut, content = excluded.content, "
        "updated_at = excluded.updated_at",
        chatbot_id=reply.chatbot_id,
        id=reply.id,
        shortcut=reply.shortcut,
        content=reply.content,
        updated_at=reply.updated_at,
    )


async def lock_all(tx: Tx, chatbot_id: str) -> list[CannedReply]:
    """All of the chatbot, as they will be until this transaction ends: the chatbot's row is what writers wait for."""
    await tx.one("SELECT 1 FROM chatbots WHERE id = :chatbot_id FOR UPDATE", chatbot_id=chatbot_id)
    return await list_replies(tx, chatbot_id, after="", limit=1 << 31)


async def list_replies(reader: Reader, chatbot_id: str, *, after: str, limit: int) -> list[CannedReply]:
    """By shortcut, from behind that one."""
    rows = await reader.all(
        f"SELECT {_REPLY} FROM canned_replies WHERE chatbot_id = :chatbot_id AND shortcut > :after "
        "ORDER BY shortcut LIMIT :limit",
        chatbot_id=chatbot_id,
        after=after,
        limit=limit,
    )
    return [CannedReply(*row) for row in rows]


async def delete(tx: Tx, chatbot_id: str, reply_id: str) -> bool:
    """Whether there was one."""
    tx.erases()
    return bool(
        await tx.run("DELETE FROM canned_replies WHERE chatbot_id = :chatbot_id AND id = :id", chatbot_id=chatbot_id, id=reply_id)
    )
