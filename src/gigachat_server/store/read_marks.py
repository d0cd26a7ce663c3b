"""SQL of read marks: how far somebody has read a conversation."""

from __future__ import annotations

from collections.abc import Collection

from gigachat_server.store.database import Reader, Tx

_IN = "WHERE chatbot_id = :chatbot_id AND conversation_id = :conversation_id"


async def raise_to(tx: Tx, chatbot_id: str, conversation_id: str, reader: str, seq: int) -> bool:
    """A mark only rises; whether it did."""
    return bool(
        await tx.run(
            "INSERT INTO read_marks (chatbot_id, conversation_id, reader, seq) "
            "VALUES (:chatbot_id, :conversation_id, :reader, :seq) ON CONFLICT (chatbot_id, conversation_id, reader) "
            "DO UPDATE SET seq = :seq WHERE read_marks.seq < :seq",
            chatbot_id=chatbot_id,
            conversation_id=conversation_id,
            reader=reader,
            seq=seq,
        )
    )


async def find(reader: Reader, chatbot_id: str, conversation_id: str, who: str) -> int:
    """0 for one who has read nothing yet."""
    row = await reader.one(
        f"SELECT seq FROM read_marks {_IN} AND reader = :who", chatbot_id=chatbot_id, conversation_id=conversation_id, who=who
    )
    return row[0] if row else 0


async def count_unread(reader: Reader, chatbot_id: str, conversation_ids: Collection[str], end_user: str) -> dict[str, int]:
    """How many messages that are not an end user's lie behind the mark of this one, by conversation; none: it is left out."""
    rows = await reader.all(
        "SELECT m.conversation_id, count(*) FROM messages m LEFT JOIN read_marks r ON r.chatbot_id = m.chatbot_id "
        "AND r.conversation_id = m.conversation_id AND r.reader = :end_user "
        "WHERE m.chatbot_id = :chatbot_id AND m.conversation_id = ANY(:conversation_ids) AND m.role <> 'user' "
        "AND m.seq > coalesce(r.seq, 0) AND m.replaced_by IS NULL GROUP BY m.conversation_id",
        chatbot_id=chatbot_id,
        conversation_ids=[*conversation_ids],
        end_user=end_user,
    )
    return {row[0]: row[1] for row in rows}


async def give_to(tx: Tx, chatbot_id: str, conversation_ids: Collection[str], was: str, reader: str) -> None:
    """How far one has read these conversations, another has, who has no marks there yet."""
    await tx.run(
        "UPDATE read_marks SET reader = :reader WHERE chatbot_id = :chatbot_id AND conversation_id = ANY(:conversation_ids) "
        "AND reader = :was AND NOT EXISTS (SELECT 1 FROM read_marks r WHERE r.chatbot_id = read_marks.chatbot_id "
        "AND r.conversation_id = read_marks.conversation_id AND r.reader = :reader)",
        chatbot_id=chatbot_id,
        conversation_ids=[*conversation_ids],
        reader=reader,
        was=was,
    )


async def delete_of(tx: Tx, chatbot_id: str, conversation_id: str, reader: str) -> None:
    await tx.run(
        f"DELETE FROM read_marks {_IN} AND reader = :reader",
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
        reader=reader,
    )
