"""SQL of ratings: what an end user thought of a conversation that a human had closed, by the seq of that event."""

from __future__ import annotations

import msgspec

from gigachat_server.store.database import Reader, Tx

_COLUMNS = "chatbot_id, conversation_id, closed_seq, score, comment, operator, created_at"
_IN = "WHERE chatbot_id = :chatbot_id AND conversation_id = :conversation_id"


class Rating(msgspec.Struct, frozen=True):
    chatbot_id: str
    conversation_id: str
    closed_seq: int
    score: int
    comment: str
    operator: str
    created_at: int


async def put(tx: Tx, rating: Rating) -> None:
    """One for each closing: a later one takes the place of an earlier one."""
    await tx.run(
        f"INSERT INTO ratings ({_COLUMNS}) VALUES "
        "(:chatbot_id, :conversation_id, :closed_seq, :score, :comment, :operator, :created_at) "
        "ON CONFLICT (chatbot_id, conversation_id, closed_seq) DO UPDATE SET score = :score, comment = :comment",
        **msgspec.structs.asdict(rating),
    )


async def find(reader: Reader, chatbot_id: str, conversation_id: str, closed_seq: int) -> Rating | None:
    row = await reader.one(
        f"SELECT {_COLUMNS} FROM ratings {_IN} AND closed_seq = :closed_seq",
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
        closed_seq=closed_seq,
    )
    return Rating(*row) if row else None


async def delete_of(tx: Tx, chatbot_id: str, conversation_id: str) -> None:
    await tx.run(f"DELETE FROM ratings {_IN}", chatbot_id=chatbot_id, conversation_id=conversation_id)
