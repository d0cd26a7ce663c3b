"""SQL of messages. A message is written once; afterwards only its status, metadata and vector may be added to."""

from __future__ import annotations

import msgspec

from gigachat_server.records import Message, Source
from gigachat_server.store.database import Reader, Row, Tx

_COLUMNS = (
    "chatbot_id, conversation_id, seq, id, role, user_id, name, content, status, in_reply_to, alternative, "
    "replaced_by, metadata, sources, created_at, updated_at"
)
_INSERT = (
    f"INSERT INTO messages ({_COLUMNS}, embedding) VALUES (:chatbot_id, :conversation_id, :seq, :id, :role, :user_id, "
    ":name, :content, :status, :in_reply_to, :alternative, :replaced_by, :metadata, :sources, :created_at, "
    ":updated_at, :embedding)"
)

_encode = msgspec.json.Encoder().encode
_decode_sources = msgspec.json.Decoder(tuple[Source, ...]).decode
_decode_metadata = msgspec.json.Decoder(dict[str, object]).decode


class Remembered(msgspec.Struct, frozen=True):
    """What a model is told of an earlier message, and the vector it keeps if it was a prompt."""

    role: str
    name: str
    content: str
    embedding: bytes | None


async def insert(tx: Tx, message: Message) -> None:
    """Store a message under the seq and time that `conversations.advance` gave in the same transaction."""
    await tx.run(
        _INSERT,
        chatbot_id=message.chatbot_id,
        conversation_id=message.conversation_id,
        seq=message.seq,
        id=message.id,
        role=message.role,
        user_id=message.user_id,
        name=message.name,
        content=message.content,
        status=message.status,
        in_reply_to=message.in_reply_to,
        alternative=message.alternative,
        replaced_by=message.replaced_by,
        metadata=_encode(message.metadata).decode() if message.metadata else "{}",
        sources=_encode(message.sources).decode() if message.sources else "[]",
        created_at=message.created_at,
        updated_at=message.updated_at,
        embedding=None,
    )


async def keep_vector(tx: Tx, chatbot_id: str, message_id: str, vector: bytes | None) -> bool:
    """Later prompts that lean on this one need its vector; False if it was deleted."""
    return bool(
        await tx.run(
            "UPDATE messages SET embedding = :vector WHERE chatbot_id = :chatbot_id AND id = :id",
            chatbot_id=chatbot_id,
            id=message_id,
            vector=vector,
        )
    )


async def mark_failed(tx: Tx, chatbot_id: str, message_id: str, *, metadata: dict[str, object], now_us: int) -> bool:
    """The prompt stays, out of the model's later context; False if it was deleted meanwhile."""
    return bool(
        await tx.run(
            "UPDATE messages SET status = 'failed', metadata = :metadata, updated_at = greatest(created_at, :now_us) "
            "WHERE chatbot_id = :chatbot_id AND id = :id",
            chatbot_id=chatbot_id,
            id=message_id,
            metadata=_encode(metadata).decode(),
            now_us=now_us,
        )
    )


async def find(reader: Reader, chatbot_id: str, message_id: str) -> Message | None:
    row = await reader.one(
        f"SELECT {_COLUMNS} FROM messages WHERE chatbot_id = :chatbot_id AND id = :id",
        chatbot_id=chatbot_id,
        id=message_id,
    )
    return _message(row) if row else None


async def list_messages(reader: Reader, chatbot_id: str, conversation_id: str, *, after: int, limit: int) -> list[Message]:
    """Oldest first, from the seq after `after`."""
    rows = await reader.all(
        f"SELECT {_COLUMNS} FROM messages WHERE chatbot_id = :chatbot_id AND conversation_id = :conversation_id "
        "AND seq > :after ORDER BY seq LIMIT :limit",
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
        after=after,
        limit=limit,
    )
    return [_message(row) for row in rows]


async def remember(reader: Reader, chatbot_id: str, conversation_id: str, *, before: int, limit: int) -> list[Remembered]:
    """The newest `limit` messages before seq `before` that a model may see, oldest first.

    Failed prompts are left out, so that one poisonous prompt cannot break a conversation, as are all alternatives of a
    reply but the first and replies that were replaced.
    """
    if limit == 0 or before <= 1:
        return []
    rows = await reader.all(
        "SELECT role, name, content, embedding FROM messages WHERE chatbot_id = :chatbot_id "
        "AND conversation_id = :conversation_id AND seq < :before AND status <> 'failed' AND alternative = 0 "
        "AND replaced_by IS NULL ORDER BY seq DESC LIMIT :limit",
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
        before=before,
        limit=limit,
    )
    return [Remembered(*row) for row in reversed(rows)]


async def delete_of_user(tx: Tx, chatbot_id: str, conversation_id: str, user_id: str) -> int:
    """Remove what this end user said in a conversation and the replies to it; how many messages that was."""
    replies = await tx.run(
        "DELETE FROM messages WHERE chatbot_id = :chatbot_id AND conversation_id = :conversation_id AND in_reply_to IN "
        "(SELECT id FROM messages WHERE chatbot_id = :chatbot_id AND conversation_id = :conversation_id "
        "AND role = 'user' AND user_id = :user_id)",
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
        user_id=user_id,
    )
    prompts = await tx.run(
        "DELETE FROM messages WHERE chatbot_id = :chatbot_id AND conversation_id = :conversation_id "
        "AND role = 'user' AND user_id = :user_id",
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
        user_id=user_id,
    )
    return replies + prompts


def _message(row: Row) -> Message:
    return Message(
        chatbot_id=row[0],
        conversation_id=row[1],
        seq=row[2],
        id=row[3],
        role=row[4],
        user_id=row[5],
        name=row[6],
        content=row[7],
        status=row[8],
        in_reply_to=row[9],
        alternative=row[10],
        replaced_by=row[11],
        metadata=_decode_metadata(row[12]) if row[12] != "{}" else {},
        sources=_decode_sources(row[13]) if row[13] != "[]" else (),
        created_at=row[14],
        updated_at=row[15],
    )
