"""SQL of unanswered prompts. A row says that a prompt got no answer, and what became of that; what was said is the message.

Invariant: a row is written in the transaction that stores the reply, so it is there for each prompt that went unanswered, once,
and for no turn whose reply was not stored; and it goes with its prompt. What a retry answered is open again
if another retry does not answer it.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gigachat_server.records import UnansweredPrompt, UnansweredReason, UnansweredState
from gigachat_server.store.database import Reader, Tx

_COLUMNS = (
    "u.chatbot_id, u.prompt_id, u.conversation_id, u.seq, u.reason, u.state, u.answered_by, u.created_at, u.updated_at, "
    "m.content, m.embedding, m.embedding_model"
)
_PROMPT = "JOIN messages m ON m.chatbot_id = u.chatbot_id AND m.id = u.prompt_id"
_NEXT = "(SELECT min(m.seq) FROM messages m WHERE m.chatbot_id = :chatbot_id AND m.conversation_id = u.conversation_id "


class Suggestion(msgspec.Struct, frozen=True):
    """What an operator said after an unanswered prompt, before its end user said anything more."""

    prompt_id: str
    message_id: str
    conversation_id: str
    operator: str
    content: str


class Place(msgspec.Struct, frozen=True, order=True):
    """An unanswered prompt's place in the order of all."""

    created_at: int
    prompt_id: str


class Version(msgspec.Struct, frozen=True):
    """Changes with whatever changes the prompts of a state."""

    count: int
    created_at: int | None
    updated_at: int | None


async def insert(tx: Tx, row: UnansweredPrompt) -> bool:
    """False if that prompt is open, or was dismissed. One that was answered meanwhile is open again."""
    return bool(
        await tx.run(
            "INSERT INTO unanswered (chatbot_id, prompt_id, conversation_id, seq, reason, state, answered_by, created_at, "
            "updated_at) VALUES (:chatbot_id, :prompt_id, :conversation_id, :seq, :reason, 'open', NULL, :created_at, "
            ":created_at) ON CONFLICT (chatbot_id, prompt_id) DO UPDATE SET state = 'open', answered_by = NULL, "
            "reason = excluded.reason, updated_at = excluded.updated_at WHERE unanswered.state = 'answered'",
            chatbot_id=row.chatbot_id,
            prompt_id=row.prompt_id,
            conversation_id=row.conversation_id,
            seq=row.seq,
            reason=row.reason,
            created_at=row.created_at,
        )
    )


async def settle(
    tx: Tx, chatbot_id: str, prompt_ids: Sequence[str], state: UnansweredState, *, answered_by: str | None, at: int
) -> int:
    """Those of them that are open are so no more; how many that were."""
    return await tx.run(
        "UPDATE unanswered SET state = :state, answered_by = :answered_by, updated_at = :at "
        "WHERE chatbot_id = :chatbot_id AND prompt_id = ANY(:prompt_ids) AND state = 'open'",
        chatbot_id=chatbot_id,
        prompt_ids=list(prompt_ids),
        state=state,
        answered_by=answered_by,
        at=at,
    )


async def find(reader: Reader, chatbot_id: str, prompt_id: str) -> UnansweredPrompt | None:
    row = await reader.one(
        f"SELECT {_COLUMNS} FROM unanswered u {_PROMPT} WHERE u.chatbot_id = :chatbot_id AND u.prompt_id = :prompt_id",
        chatbot_id=chatbot_id,
        prompt_id=prompt_id,
    )
    return UnansweredPrompt(*row) if row else None


async def list_newest(reader: Reader, chatbot_id: str, state: UnansweredState, *, limit: int) -> list[UnansweredPrompt]:
    """In that state, the newest first."""
    rows = await reader.all(
        f"SELECT {_COLUMNS} FROM unanswered u {_PROMPT} WHERE u.chatbot_id = :chatbot_id AND u.state = :state "
        "ORDER BY u.created_at DESC, u.prompt_id DESC LIMIT :limit",
        chatbot_id=chatbot_id,
        state=state,
        limit=limit,
    )
    return [UnansweredPrompt(*row) for row in rows]


async def get_version(reader: Reader, chatbot_id: str, state: UnansweredState) -> Version:
    row = await reader.one(
        "SELECT count(*), max(created_at), max(updated_at) FROM unanswered WHERE chatbot_id = :chatbot_id AND state = :state",
        chatbot_id=chatbot_id,
        state=state,
    )
    assert row is not None, "an aggregate has one row"
    return Version(*row)


async def list_places(reader: Reader, chatbot_id: str, state: UnansweredState, *, limit: int) -> list[Place]:
    """Of those in that state, the newest first."""
    rows = await reader.all(
        "SELECT created_at, prompt_id FROM unanswered WHERE chatbot_id = :chatbot_id AND state = :state "
        "ORDER BY created_at DESC, prompt_id DESC LIMIT :limit",
        chatbot_id=chatbot_id,
        state=state,
        limit=limit,
    )
    return [Place(*row) for row in rows]


async def list_of_prompts(reader: Reader, chatbot_id: str, prompt_ids: Sequence[str]) -> list[UnansweredPrompt]:
    """Oldest first."""
    rows = await reader.all(
        f"SELECT {_COLUMNS} FROM unanswered u {_PROMPT} WHERE u.chatbot_id = :chatbot_id AND u.prompt_id = ANY(:prompt_ids) "
        "ORDER BY u.created_at, u.prompt_id",
        chatbot_id=chatbot_id,
        prompt_ids=list(prompt_ids),
    )
    return [UnansweredPrompt(*row) for row in rows]


async def list_reasons(
    reader: Reader, chatbot_id: str, prompt_ids: Sequence[str], *, but_answered_by: str
) -> dict[str, UnansweredReason]:
    """Of those prompts that went unanswered, why, whatever became of that since but for an answer by that."""
    rows = await reader.all(
        "SELECT prompt_id, reason FROM unanswered WHERE chatbot_id = :chatbot_id AND prompt_id = ANY(:prompt_ids) "
        "AND (answered_by IS NULL OR answered_by <> :but_answered_by)",
        chatbot_id=chatbot_id,
        prompt_ids=list(prompt_ids),
        but_answered_by=but_answered_by,
    )
    return {row[0]: row[1] for row in rows}


async def list_suggestions(reader: Reader, chatbot_id: str, prompt_ids: Sequence[str]) -> list[Suggestion]:
    """For those of the prompts that an operator said something to."""
    rows = await reader.all(
        "SELECT u.prompt_id, o.id, o.conversation_id, o.name, o.content FROM unanswered u "
        "JOIN messages o ON o.chatbot_id = u.chatbot_id AND o.conversation_id = u.conversation_id "
        f"AND o.seq = {_NEXT} AND m.seq > u.seq AND m.role = 'operator') "
        "WHERE u.chatbot_id = :chatbot_id AND u.prompt_id = ANY(:prompt_ids) "
        f"AND o.seq < coalesce({_NEXT} AND m.seq > u.seq AND m.role = 'user'), o.seq + 1)",
        chatbot_id=chatbot_id,
        prompt_ids=list(prompt_ids),
    )
    return [Suggestion(*row) for row in rows]


async def delete_of_prompts(tx: Tx, chatbot_id: str, prompt_ids: Sequence[str]) -> None:
    """With the prompts themselves."""
    await tx.run(
        "DELETE FROM unanswered WHERE chatbot_id = :chatbot_id AND prompt_id = ANY(:prompt_ids)",
        chatbot_id=chatbot_id,
        prompt_ids=list(prompt_ids),
    )
