"""SQL of the index that finds messages by their words.

Idea: each word is a 64-bit hash (`inbox/message_index.py` makes them), so no text is stored a second time, both stores find the
same, and no parser of theirs has a say. One of the hashes names the chatbot, so that the index itself narrows to it. Invariant: a
row is only added under its conversation's row, for a message that is there, and goes in the transaction that deletes the message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from gigachat_server.store.database import Dialect, Reader, Tx

_MOST_WAITING = 50


class IndexedMessage(msgspec.Struct, frozen=True):
    """What is known of a message in the index. `words` are the hashes of its words, and of its chatbot."""

    chatbot_id: str
    message_id: str
    conversation_id: str
    role: str
    user_id: str
    created_at: int
    words: tuple[int, ...]


class UnindexedConversation(msgspec.Struct, frozen=True):
    """One with messages behind `indexed_seq` that the index does not know yet."""

    chatbot_id: str
    conversation_id: str
    indexed_seq: int
    last_message_seq: int

    @property
    def key(self) -> tuple[str, str]:
        return self.chatbot_id, self.conversation_id


class Hit(msgspec.Struct, frozen=True):
    chatbot_id: str
    message_id: str
    place: int

    @property
    def key(self) -> tuple[str, str]:
        return self.chatbot_id, self.message_id


async def list_unindexed(reader: Reader, *, after: tuple[str, str]) -> list[UnindexedConversation]:
    """Some, by their ids, from behind `after` on."""
    rows = await reader.all(
        "SELECT chatbot_id, conversation_id, indexed_seq, last_message_seq FROM conversations "
        "WHERE indexed_seq < last_message_seq AND (chatbot_id, conversation_id) > (:chatbot_id, :conversation_id) "
        "ORDER BY chatbot_id, conversation_id LIMIT :limit",
        chatbot_id=after[0],
        conversation_id=after[1],
        limit=_MOST_WAITING,
    )
    return [UnindexedConversation(*row) for row in rows]


async def advance(tx: Tx, conversation: UnindexedConversation, *, to_seq: int) -> bool:
    """Whether this is the one that indexes up to there: others were not faster, and it is there still."""
    return bool(
        await tx.run(
            "UPDATE conversations SET indexed_seq = :to_seq WHERE chatbot_id = :chatbot_id "
            "AND conversation_id = :conversation_id AND indexed_seq = :from_seq",
            chatbot_id=conversation.chatbot_id,
            conversation_id=conversation.conversation_id,
            from_seq=conversation.indexed_seq,
            to_seq=to_seq,
        )
    )


async def insert(tx: Tx, dialect: Dialect, message: IndexedMessage) -> None:
    """Have it found by its words; nothing happens if it is."""
    row = {
        "chatbot_id": message.chatbot_id,
        "message_id": message.message_id,
        "conversation_id": message.conversation_id,
        "role": message.role,
        "user_id": message.user_id,
    }
    if dialect == "postgres":
        await tx.run(
            "INSERT INTO message_texts (chatbot_id, message_id, place, conversation_id, role, user_id, words) "
            "VALUES (:chatbot_id, :message_id, :place, :conversation_id, :role, :user_id, :words) ON CONFLICT DO NOTHING",
            **row,
            place=message.created_at,
            words=list(message.words),
        )
        return
    known = "SELECT 1 FROM message_texts WHERE chatbot_id = :chatbot_id AND message_id = :message_id"
    if await tx.one(known, chatbot_id=message.chatbot_id, message_id=message.message_id) is not None:
        return
    place = message.created_at  # of two conversations whose messages have one time, the second takes the next place
    while not await tx.run(
        "INSERT INTO message_texts (place, chatbot_id, message_id, conversation_id, role, user_id) "
        "VALUES (:place, :chatbot_id, :message_id, :conversation_id, :role, :user_id) ON CONFLICT DO NOTHING",
        **row,
        place=place,
    ):
        place += 1
    words = " ".join(map(_token, message.words))
    await tx.run("INSERT INTO message_words (rowid, words) VALUES (:place, :words)", place=place, words=words)


async def find(
    reader: Reader,
    dialect: Dialect,
    chatbots: Mapping[str, int],
    words: Sequence[int],
    *,
    before: tuple[int, str] | None,
    limit: int,
    role: str | None,
    user_id: str | None,
) -> list[Hit]:
    """Messages of these chatbots (by id, each with its hash) that have all these words, newest first.

    `before` is the (place, message_id) of the last one seen.
    """
    place, message_id = before or (2**62, "")
    narrowed = {name: value for name, value in (("role", role), ("user_id", user_id)) if value is not None}
    conditions = "".join(f"AND t.{name} = :{name} " for name in narrowed)
    if dialect == "postgres":
        rows = await reader.all(
            # A part for each chatbot, which the index of words serves alone: the hash names the chatbot, too.
            "SELECT t.chatbot_id, t.message_id, t.place "
            "FROM unnest(CAST(:chatbot_ids AS TEXT[]), CAST(:chatbots AS BIGINT[])) AS b (id, hash) CROSS JOIN LATERAL "
            "(SELECT * FROM message_texts t WHERE t.chatbot_id || '' = b.id AND t.words @> (CAST(:words AS BIGINT[]) || b.hash) "
            f"AND (t.place, t.message_id) < (:place, :message_id) {conditions}"
            "ORDER BY t.place DESC, t.message_id DESC LIMIT :limit) AS t ORDER BY t.place DESC, t.message_id DESC LIMIT :limit",
            chatbot_ids=list(chatbots),
            chatbots=list(chatbots.values()),
            words=list(words),
            place=place,
            message_id=message_id,
            limit=limit,
            **narrowed,
        )
    else:
        rows = await reader.all(
            "SELECT t.chatbot_id, t.message_id, t.place FROM message_words w JOIN message_texts t ON t.place = w.rowid "
            f"WHERE message_words MATCH :words AND w.rowid < :place AND +t.chatbot_id = ANY(:chatbot_ids) {conditions}"
            "ORDER BY w.rowid DESC LIMIT :limit",
            chatbot_ids=list(chatbots),
            words=f"({' AND '.join(map(_token, words))}) AND ({' OR '.join(map(_token, chatbots.values()))})",
            place=place,
            limit=limit,
            **narrowed,
        )
    return [Hit(*row) for row in rows]


async def give_to(tx: Tx, chatbot_id: str, conversation_ids: Sequence[str], was: str, user_id: str) -> None:
    """What one end user said in these conversations, and the replies to it, are found as another's."""
    await tx.run(
        "UPDATE message_texts SET user_id = :user_id WHERE chatbot_id = :chatbot_id "
        "AND conversation_id = ANY(:conversation_ids) AND user_id = :was",
        chatbot_id=chatbot_id,
        conversation_ids=list(conversation_ids),
        user_id=user_id,
        was=was,
    )


async def delete_of_conversation(tx: Tx, chatbot_id: str, conversation_id: str) -> None:
    await tx.run(
        "DELETE FROM message_texts WHERE chatbot_id = :chatbot_id AND conversation_id = :conversation_id",
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
    )


async def delete_of_messages(tx: Tx, chatbot_id: str, message_ids: Sequence[str]) -> None:
    await tx.run(
        "DELETE FROM message_texts WHERE chatbot_id = :chatbot_id AND message_id = ANY(:message_ids)",
        chatbot_id=chatbot_id,
        message_ids=list(message_ids),
    )


async def delete_of_chatbot(tx: Tx, chatbot_id: str) -> None:
    await tx.run("DELETE FROM message_texts WHERE chatbot_id = :chatbot_id", chatbot_id=chatbot_id)


def _token(word: int) -> str:
    """As the full-text index of SQLite takes it: one token of letters and digits."""
    return f"h{word % 2**64:016x}"
