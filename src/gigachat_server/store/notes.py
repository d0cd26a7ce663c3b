"""SQL of notes: what operators write beside a conversation, in a table that no reader of messages looks into."""

from __future__ import annotations

from gigachat_server.records import Note
from gigachat_server.store.database import Reader, Tx

_NOTE = "chatbot_id, conversation_id, id, after_seq, operator, content, created_at, updated_at"


async def insert(tx: Tx, note: Note) -> None:
    await tx.run(
        f"INSERT INTO notes ({_NOTE}) VALUES "
        "(:chatbot_id, :conversation_id, :id, :after_seq, :operator, :content, :created_at, :updated_at)",
        chatbot_id=note.chatbot_id,
        conversation_id=note.conversation_id,
        id=note.id,
        after_seq=note.after_seq,
        operator=note.operator,
        content=note.content,
        created_at=note.created_at,
        updated_at=note.updated_at,
    )


async def list_notes(reader: Reader, chatbot_id: str, conversation_id: str, *, after: str, limit: int) -> list[Note]:
    """Oldest first, from behind that id."""
    rows = await reader.all(
        f"SELECT {_NOTE} FROM notes WHERE chatbot_id = :chatbot_id AND conversation_id = :conversation_id AND id > :after "
        "ORDER BY id LIMIT :limit",
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
        after=after,
        limit=limit,
    )
    return [Note(*row) for row in rows]


async def find(reader: Reader, chatbot_id: str, conversation_id: str, note_id: str) -> Note | None:
    row = await reader.one(
        f"SELECT {_NOTE} FROM notes WHERE chatbot_id = :chatbot_id AND conversation_id = :conversation_id AND id = :id",
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
        id=note_id,
    )
    return Note(*row) if row else None


async def delete(tx: Tx, chatbot_id: str, conversation_id: str, note_id: str) -> bool:
    """Whether there was one."""
    tx.erases()
    return bool(
        await tx.run(
            "DELETE FROM notes WHERE chatbot_id = :chatbot_id AND conversation_id = :conversation_id AND id = :id",
            chatbot_id=chatbot_id,
            conversation_id=conversation_id,
            id=note_id,
        )
    )
