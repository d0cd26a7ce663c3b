"""SQL of messages. What was said is written once; later changes tell only what became of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Literal

import msgspec

from gigachat_server.records import Citation, Conversation, Feedback, Message, MessageStatus, Source, TurnState
from gigachat_server.store.database import Reader, Row, Tx
from gigachat_server.store.json_columns import JsonColumn

_COLUMNS = (
    "chatbot_id, conversation_id, seq, id, role, user_id, name, content, status, in_reply_to, alternative, "
    "replaced_by, turn, error, feedback, metadata, sources, created_at, updated_at, citations"
)
_INSERT = (
    f"INSERT INTO messages ({_COLUMNS}) VALUES (:chatbot_id, :conversation_id, :seq, :id, :role, :user_id, "
    ":name, :content, :status, :in_reply_to, :alternative, :replaced_by, :turn, :error, :feedback, :metadata, :sources, "
    ":created_at, :updated_at, :citations)"
)
_OPEN = "turn IN ('queued', 'running')"
_SPOKEN = "role IN ('user', 'assistant', 'operator', 'system')"  # a later version may store what no model is to see
_IN = "WHERE chatbot_id = :chatbot_id AND conversation_id = :conversation_id"

_SOURCES: JsonColumn[tuple[Source, ...]] = JsonColumn("messages.sources", tuple[Source, ...], otherwise=tuple, is_numbered=True)
_CITATIONS: JsonColumn[tuple[Citation, ...]] = JsonColumn("messages.citations", tuple[Citation, ...], otherwise=tuple)
_METADATA: JsonColumn[dict[str, Any]] = JsonColumn("messages.metadata", dict[str, Any], otherwise=dict)
_FEEDBACK: JsonColumn[Feedback | None] = JsonColumn("messages.feedback", Feedback, otherwise=lambda: None)


class MemoryRow(msgspec.Struct, frozen=True):
    """What a model is told of an earlier message, what it answers, and the vector it keeps if it was a prompt."""

    seq: int
    id: str
    role: str
    name: str
    content: str
    embedding: bytes | None
    embedding_model: str | None
    in_reply_to: str | None
    turn: TurnState | None
    metadata: str

    @property
    def is_abstained(self) -> bool:
        """Whether it is a reply that says that the documents hold no answer."""
        return self.role == "assistant" and _METADATA.read(self.metadata, self.id).get("abstained") is True


async def insert(tx: Tx, message: Message) -> None:
    """Store a message under the seq and time that `conversations.advance` gave in the same transaction."""
    await tx.add(
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
        turn=message.turn,
        error=message.error,
        feedback=None if message.feedback is None else _FEEDBACK.write(message.feedback),
        metadata=_METADATA.write(message.metadata) if message.metadata else "{}",
        sources=_SOURCES.write(message.sources),
        created_at=message.created_at,
        updated_at=message.updated_at,
        citations=_CITATIONS.write(message.citations),
    )


async def finish_prompt(
    tx: Tx,
    chatbot_id: str,
    message_id: str,
    *,
    vector: bytes | None,
    embedding_model: str,
    at: int,
    turn: Literal["done", "proposed"] = "done",
) -> None:
    """It was answered; later prompts that lean on it need its vector."""
    await tx.add(
        "UPDATE messages SET turn = :turn, embedding = :vector, embedding_model = :embedding_model, updated_at = :at "
        "WHERE chatbot_id = :chatbot_id AND id = :id",
        chatbot_id=chatbot_id,
        id=message_id,
        turn=turn,
        vector=vector,
        embedding_model=None if vector is None else embedding_model,
        at=at,
    )


async def set_turn(
    tx: Tx,
    chatbot_id: str,
    message_id: str,
    turn: TurnState,
    *,
    at: int,
    status: MessageStatus = "completed",
    error: str | None = None,
) -> bool:
    """What became of a prompt. A `failed` status keeps it out of the model's later context. False if it was deleted."""
    return bool(
        await tx.run(
            "UPDATE messages SET turn = :turn, status = :status, error = :error, updated_at = :at "
            "WHERE chatbot_id = :chatbot_id AND id = :id",
            chatbot_id=chatbot_id,
            id=message_id,
            turn=turn,
            status=status,
            error=error,
            at=at,
        )
    )


async def find_newest_prompt(reader: Reader, chatbot_id: str, conversation_id: str) -> Message | None:
    """What an end user said last."""
    row = await reader.one(
        f"SELECT {_COLUMNS} FROM messages {_IN} AND role = 'user' ORDER BY seq DESC LIMIT 1",
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
    )
    return _message(row) if row else None


async def set_feedback(tx: Tx, chatbot_id: str, message_id: str, feedback: Feedback | None, *, at: int) -> None:
    """For a message whose conversation this transaction has locked. None takes all of it back, also what this does not know."""
    written = None
    if feedback is not None:
        row = await tx.one(
            "SELECT feedback FROM messages WHERE chatbot_id = :chatbot_id AND id = :id", chatbot_id=chatbot_id, id=message_id
        )
        stored = row[0] if row else None
        written = _FEEDBACK.write(feedback) if stored is None else _FEEDBACK.rewrite(stored, feedback, message_id)
    await tx.run(
        "UPDATE messages SET feedback = :feedback, updated_at = :at WHERE chatbot_id = :chatbot_id AND id = :id",
        chatbot_id=chatbot_id,
        id=message_id,
        feedback=written,
        at=at,
    )


async def replace_replies(tx: Tx, prompt: Message, *, by: Message) -> list[str]:
    """Of the replies to a prompt, those from before this one give way to it; their ids."""
    rows = await tx.all(
        f"UPDATE messages SET replaced_by = :by, updated_at = :at {_IN} AND seq > :prompt_seq AND seq < :before_seq "
        "AND in_reply_to = :prompt_id AND replaced_by IS NULL RETURNING id",
        chatbot_id=prompt.chatbot_id,
        conversation_id=prompt.conversation_id,
        prompt_id=prompt.id,
        prompt_seq=prompt.seq,
        by=by.id,
        before_seq=by.seq,
        at=by.created_at,
    )
    return [row[0] for row in rows]


async def find(reader: Reader, chatbot_id: str, message_id: str) -> Message | None:
    row = await reader.one(
        f"SELECT {_COLUMNS} FROM messages WHERE chatbot_id = :chatbot_id AND id = :id", chatbot_id=chatbot_id, id=message_id
    )
    return _message(row) if row else None


async def list_by_id(reader: Reader, chatbot_id: str, ids: list[str]) -> dict[str, Message]:
    """Those of them that exist."""
    rows = await reader.all(
        f"SELECT {_COLUMNS} FROM messages WHERE chatbot_id = :chatbot_id AND id = ANY(:ids)", chatbot_id=chatbot_id, ids=ids
    )
    return {row[3]: _message(row) for row in rows}


async def list_of_chatbots(reader: Reader, chatbot_ids: Collection[str], ids: Collection[str]) -> dict[tuple[str, str], Message]:
    """Those of them that exist, by chatbot and id."""
    rows = await reader.all(
        f"SELECT {_COLUMNS} FROM messages WHERE chatbot_id = ANY(:chatbot_ids) AND id = ANY(:ids)",
        chatbot_ids=list(chatbot_ids),
        ids=list(ids),
    )
    return {(row[0], row[3]): _message(row) for row in rows}


async def find_first_queued(reader: Reader, chatbot_id: str, conversation_id: str) -> Message | None:
    row = await reader.one(
        f"SELECT {_COLUMNS} FROM messages {_IN} AND {_OPEN} AND turn = 'queued' ORDER BY seq LIMIT 1",
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
    )
    return _message(row) if row else None


async def list_open(reader: Reader, chatbot_id: str, conversation_id: str) -> list[Message]:
    """The prompts that wait or are being answered, oldest first."""
    rows = await reader.all(
        f"SELECT {_COLUMNS} FROM messages {_IN} AND {_OPEN} ORDER BY seq",
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
    )
    return [_message(row) for row in rows]


async def list_open_ids(reader: Reader, chatbot_id: str, conversation_id: str) -> list[tuple[str, int]]:
    """The same prompts as (id, seq), whatever they say."""
    rows = await reader.all(
        f"SELECT id, seq FROM messages {_IN} AND {_OPEN} ORDER BY seq", chatbot_id=chatbot_id, conversation_id=conversation_id
    )
    return [(row[0], row[1]) for row in rows]


async def list_replies(reader: Reader, prompt: Message) -> list[Message]:
    """The replies to a prompt that no retry replaced, by alternative."""
    rows = await reader.all(
        f"SELECT {_COLUMNS} FROM messages {_IN} AND seq > :seq AND in_reply_to = :id AND replaced_by IS NULL "
        "ORDER BY alternative",
        chatbot_id=prompt.chatbot_id,
        conversation_id=prompt.conversation_id,
        seq=prompt.seq,
        id=prompt.id,
    )
    return [_message(row) for row in rows]


async def list_reply_statuses(
    reader: Reader, chatbot_id: str, conversation_id: str, prompt_id: str, *, after: int
) -> list[MessageStatus]:
    """Of the replies to a prompt, whose seq is `after`, that no retry replaced."""
    rows = await reader.all(
        f"SELECT status FROM messages {_IN} AND seq > :seq AND in_reply_to = :id AND replaced_by IS NULL",
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
        seq=after,
        id=prompt_id,
    )
    return [row[0] for row in rows]


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


async def is_last_replied(reader: Reader, chatbot_id: str, conversation_id: str, *, prompt_id: str) -> bool:
    """Whether no reply to another prompt is newer than this prompt and the replies to it."""
    row = await reader.one(
        f"SELECT in_reply_to, seq FROM messages {_IN} AND role = 'assistant' ORDER BY seq DESC LIMIT 1",
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
    )
    if row is None or row[0] == prompt_id:
        return True
    prompt = await find(reader, chatbot_id, prompt_id)
    return prompt is not None and prompt.seq > row[1]


async def list_current(
    reader: Reader, chatbot_id: str, conversation_id: str, *, behind: int | None, is_newest_first: bool, limit: int
) -> list[Message]:
    """What the conversation consists of: of several replies to a prompt the first alternative that no retry replaced.

    From behind the seq `behind` on, in that direction.
    """
    order, side = ("DESC", "<") if is_newest_first else ("ASC", ">")
    where = f"AND seq {side} :behind " if behind is not None else ""
    rows = await reader.all(
        f"SELECT {_COLUMNS} FROM messages {_IN} {where}AND replaced_by IS NULL AND alternative = 0 "
        f"ORDER BY seq {order} LIMIT :limit",
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
        limit=limit,
        **({"behind": behind} if behind is not None else {}),
    )
    return [_message(row) for row in rows]


async def find_chatbot_id(reader: Reader, account_id: str, message_id: str) -> str | None:
    """In which of the account's chatbots the message is, or a draft of it."""
    row = await reader.one(
        "SELECT c.id FROM chatbots c WHERE c.account_id = :account_id AND ("
        "EXISTS (SELECT 1 FROM messages m WHERE m.chatbot_id = c.id AND m.id = :id) "
        "OR EXISTS (SELECT 1 FROM drafts d WHERE d.chatbot_id = c.id AND d.message_id = :id)) LIMIT 1",
        account_id=account_id,
        id=message_id,
    )
    return row[0] if row else None


async def list_newest_before(reader: Reader, chatbot_id: str, conversation_id: str, *, before: int, limit: int) -> list[Message]:
    """The newest of those before that seq, oldest first."""
    rows = await reader.all(
        f"SELECT {_COLUMNS} FROM messages {_IN} AND seq < :before ORDER BY seq DESC LIMIT :limit",
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
        before=before,
        limit=limit,
    )
    return [_message(row) for row in reversed(rows)]


async def list_shown(reader: Reader, conversation: Conversation, *, before: int, limit: int) -> list[Message]:
    """The newest of a conversation before that seq, oldest first, as one reads it: of replies the first alternative, none that
    another one replaced, and none to the prompt that is being answered anew."""
    rows = await reader.all(
        f"SELECT {_COLUMNS} FROM messages {_IN} AND seq < :before AND alternative = 0 AND replaced_by IS NULL "
        "AND (in_reply_to IS NULL OR in_reply_to <> :answering) ORDER BY seq DESC LIMIT :limit",
        chatbot_id=conversation.chatbot_id,
        conversation_id=conversation.conversation_id,
        before=before,
        answering=conversation.answering or "",
        limit=limit,
    )
    return [_message(row) for row in reversed(rows)]


async def list_last_said(reader: Reader, chatbot_id: str, conversation_ids: Sequence[str]) -> dict[str, str]:
    """What was said last in each of these conversations."""
    rows = await reader.all(
        "SELECT conversation_id, content FROM messages WHERE chatbot_id = :chatbot_id AND (conversation_id, seq) IN "
        "(SELECT conversation_id, max(seq) FROM messages WHERE chatbot_id = :chatbot_id "
        "AND conversation_id = ANY(:conversation_ids) GROUP BY conversation_id)",
        chatbot_id=chatbot_id,
        conversation_ids=[*conversation_ids],
    )
    return {row[0]: row[1] for row in rows}


async def list_prompt_metadata(reader: Reader, chatbot_id: str, conversation_id: str, *, limit: int) -> dict[str, dict[str, Any]]:
    """What clients gave the prompts of a conversation, by prompt, the newest first."""
    rows = await reader.all(
        f"SELECT id, metadata FROM messages {_IN} AND role = 'user' ORDER BY seq DESC LIMIT :limit",
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
        limit=limit,
    )
    return {row[0]: _METADATA.read(row[1], row[0]) for row in rows}


async def list_newest_prompts(
    reader: Reader, chatbot_id: str, *, limit: int, conversation_ids: Sequence[str] = ()
) -> list[Message]:
    """Newest first, of these conversations, or of all; none that is still to be answered, or was answered with a later one."""
    where = "AND conversation_id = ANY(:conversation_ids) " if conversation_ids else ""
    rows = await reader.all(
        f"SELECT {_COLUMNS} FROM messages WHERE chatbot_id = :chatbot_id {where}AND role = 'user' "
        "AND turn NOT IN ('queued', 'running', 'coalesced') ORDER BY id DESC LIMIT :limit",
        chatbot_id=chatbot_id,
        limit=limit,
        **({"conversation_ids": list(conversation_ids)} if conversation_ids else {}),
    )
    return [_message(row) for row in rows]


async def remember(reader: Reader, chatbot_id: str, conversation_id: str, *, before: int, limit: int) -> list[MemoryRow]:
    """The newest `limit` messages before seq `before` that a model may see, newest first.

    Failed prompts are left out, so that one poisonous prompt cannot break a conversation, as are all alternatives of a
    reply but the first, replies that were replaced, and roles that this version does not know.
    """
    if limit == 0 or before <= 1:
        return []
    rows = await reader.all(
        f"SELECT seq, id, role, name, content, embedding, embedding_model, in_reply_to, turn, metadata FROM messages {_IN} "
        f"AND seq < :before AND status <> 'failed' AND alternative = 0 AND replaced_by IS NULL AND {_SPOKEN} "
        "ORDER BY seq DESC LIMIT :limit",
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
        before=before,
        limit=limit,
    )
    return [MemoryRow(*row) for row in rows]


async def delete_of_user(tx: Tx, chatbot_id: str, conversation_id: str, user_id: str) -> list[str]:
    """Remove what this end user said in a conversation and the replies to it; the ids of those messages."""
    tx.erases()
    replies = await tx.all(
        "DELETE FROM messages WHERE chatbot_id = :chatbot_id AND conversation_id = :conversation_id AND in_reply_to IN "
        "(SELECT id FROM messages WHERE chatbot_id = :chatbot_id AND conversation_id = :conversation_id "
        "AND role = 'user' AND user_id = :user_id) RETURNING id",
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
        user_id=user_id,
    )
    prompts = await tx.all(
        "DELETE FROM messages WHERE chatbot_id = :chatbot_id AND conversation_id = :conversation_id "
        "AND role = 'user' AND user_id = :user_id RETURNING id",
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
        user_id=user_id,
    )
    return [row[0] for row in (*prompts, *replies)]


def pointing_into(sources: Sequence[Source], citations: Sequence[Citation]) -> tuple[Citation, ...]:
    """Those whose source is there: of what a later version stored, it may not be readable."""
    last = len(sources)
    return tuple([each for each in citations if 1 <= each.number <= last])


def _message(row: Row) -> Message:
    sources = _SOURCES.read(row[16], row[3]) if row[16] != "[]" else ()
    citations = _CITATIONS.read(row[19], row[3]) if row[19] != "[]" else ()
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
        turn=row[12],
        error=row[13],
        feedback=None if row[14] is None else _FEEDBACK.read(row[14], row[3]),
        metadata=_METADATA.read(row[15], row[3]) if row[15] != "{}" else {},
        sources=sources,
        created_at=row[17],
        updated_at=row[18],
        citations=pointing_into(sources, citations) if citations else (),
    )


async def give_to(tx: Tx, chatbot_id: str, conversation_ids: list[str], was: str, user_id: str) -> None:
    """What one end user said in these conversations, and the replies to it, are another's."""
    await tx.run(
        "UPDATE messages SET user_id = :user_id WHERE chatbot_id = :chatbot_id AND conversation_id = ANY(:conversation_ids) "
        "AND user_id = :was",
        chatbot_id=chatbot_id,
        conversation_ids=conversation_ids,
        user_id=user_id,
        was=was,
    )
