"""SQL of uploads: the bytes of files that are still to be read, in pieces, where every node finds them."""

from __future__ import annotations

from gigachat_server.store.database import Reader, Tx

KEPT_US = 24 * 3600 * 1_000_000  # what no document names after that belongs to a push that broke off


async def insert_piece(tx: Tx, chatbot_id: str, upload_id: str, *, number: int, content: bytes, now_us: int) -> None:
    """Nothing changes if it is there: the id was made for this one file."""
    await tx.run(
        "INSERT INTO uploads (chatbot_id, id, number, content, created_at) VALUES (:chatbot_id, :id, :number, :content, :now_us) "
        "ON CONFLICT (chatbot_id, id, number) DO NOTHING",
        chatbot_id=chatbot_id,
        id=upload_id,
        number=number,
        content=content,
        now_us=now_us,
    )


async def find_piece(reader: Reader, chatbot_id: str, upload_id: str, *, number: int) -> bytes | None:
    """None behind the last one."""
    row = await reader.one(
        "SELECT content FROM uploads WHERE chatbot_id = :chatbot_id AND id = :id AND number = :number",
        chatbot_id=chatbot_id,
        id=upload_id,
        number=number,
    )
    return row[0] if row else None


async def delete(tx: Tx, chatbot_id: str, upload_id: str) -> None:
    await tx.run("DELETE FROM uploads WHERE chatbot_id = :chatbot_id AND id = :id", chatbot_id=chatbot_id, id=upload_id)


async def delete_forgotten(tx: Tx, *, now_us: int) -> None:
    """Those that no document names, and that are too old to belong to a push under way."""
    await tx.run(
        "DELETE FROM uploads WHERE created_at < :oldest AND NOT EXISTS (SELECT 1 FROM documents d "
        "WHERE d.chatbot_id = uploads.chatbot_id AND d.upload_id = uploads.id)",
        oldest=now_us - KEPT_US,
    )
