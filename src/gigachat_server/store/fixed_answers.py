"""SQL of fixed answers and their prompts. A prompt without an `embedding_model` waits to be embedded."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gigachat_server.records import FixedAnswer
from gigachat_server.store.database import Reader, Tx

_COLUMNS = "id, answer, is_enabled, use_count, created_at, updated_at"
_WHICH = "WHERE chatbot_id = :chatbot_id AND id = :id"


class FixedPrompt(msgspec.Struct, frozen=True):
    """A phrasing of what a fixed answer answers, and its vector where it was embedded."""

    fixed_answer_id: str
    content: str
    embedding: bytes | None


Place = tuple[str, str, int]  # among all phrasings
START: Place = ("", "", -1)


class Waiting(msgspec.Struct, frozen=True):
    """A phrasing that has no vector."""

    chatbot_id: str
    fixed_answer_id: str
    number: int
    content: str

    @property
    def place(self) -> Place:
        return self.chatbot_id, self.fixed_answer_id, self.number


async def put(tx: Tx, answer: FixedAnswer, vectors: Sequence[bytes] | None, *, embedding_model: str) -> None:
    """Store it in place of the one with its id, if there is one, with its use count. Without vectors it waits for them."""
    await tx.run(
        "INSERT INTO fixed_answers (chatbot_id, id, answer, is_enabled, use_count, created_at, updated_at) "
        "VALUES (:chatbot_id, :id, :answer, :is_enabled, 0, :created_at, :updated_at) "
        "ON CONFLICT (chatbot_id, id) DO UPDATE SET answer = :answer, is_enabled = :is_enabled, updated_at = :updated_at",
        chatbot_id=answer.chatbot_id,
        id=answer.id,
        answer=answer.answer,
        is_enabled=int(answer.is_enabled),
        created_at=answer.created_at,
        updated_at=answer.updated_at,
    )
    await _delete_prompts(tx, answer.chatbot_id, answer.id)
    await tx.run_many(
        "INSERT INTO fixed_answer_prompts (chatbot_id, fixed_answer_id, number, content, embedding, embedding_model) "
        "VALUES (:chatbot_id, :fixed_answer_id, :number, :content, :embedding, :embedding_model)",
        [
            {
                "chatbot_id": answer.chatbot_id,
                "fixed_answer_id": answer.id,
                "number": number,
                "content": content,
                "embedding": None if vectors is None else vectors[number],
                "embedding_model": None if vectors is None else embedding_model,
            }
            for number, content in enumerate(answer.prompts)
        ],
    )


async def find(reader: Reader, chatbot_id: str, fixed_answer_id: str) -> FixedAnswer | None:
    found = await _list(reader, chatbot_id, _WHICH, id=fixed_answer_id)
    return found[0] if found else None


async def list_answers(reader: Reader, chatbot_id: str, *, after: str | None, limit: int) -> list[FixedAnswer]:
    """Newest first."""
    where = "WHERE chatbot_id = :chatbot_id AND (CAST(:after AS TEXT) IS NULL OR id < :after) ORDER BY id DESC LIMIT :limit"
    return await _list(reader, chatbot_id, where, after=after, limit=limit)


async def count(reader: Reader, chatbot_id: str) -> int:
    row = await reader.one("SELECT count(*) FROM fixed_answers WHERE chatbot_id = :chatbot_id", chatbot_id=chatbot_id)
    return int(row[0]) if row else 0


async def list_for_matching(reader: Reader, chatbot_id: str, *, embedding_model: str) -> list[FixedPrompt]:
    """All prompts of enabled fixed answers, the newest answer first, with their vectors of that model."""
    rows = await reader.all(
        "SELECT p.fixed_answer_id, p.content, CASE WHEN p.embedding_model = :embedding_model THEN p.embedding END "
        "FROM fixed_answers a JOIN fixed_answer_prompts p ON p.chatbot_id = a.chatbot_id AND p.fixed_answer_id = a.id "
        "WHERE a.chatbot_id = :chatbot_id AND a.is_enabled = 1 ORDER BY p.fixed_answer_id DESC, p.number",
        chatbot_id=chatbot_id,
        embedding_model=embedding_model,
    )
    return [FixedPrompt(*row) for row in rows]


async def count_use(tx: Tx, chatbot_id: str, fixed_answer_id: str) -> None:
    """Count one more use, if it still exists."""
    await tx.run(
        f"UPDATE fixed_answers SET use_count = use_count + 1 {_WHICH}",
        chatbot_id=chatbot_id,
        id=fixed_answer_id,
    )


async def delete(tx: Tx, chatbot_id: str, fixed_answer_id: str) -> bool:
    """Remove it and its prompts; False if there is none."""
    tx.erases()
    if not await tx.run(f"DELETE FROM fixed_answers {_WHICH}", chatbot_id=chatbot_id, id=fixed_answer_id):
        return False
    await _delete_prompts(tx, chatbot_id, fixed_answer_id)
    return True


async def have_embedded_anew(tx: Tx, *, embedding_model: str) -> int:
    """Those whose vectors are of another embedding model wait for new ones; how many."""
    return await tx.run(
        "UPDATE fixed_answer_prompts SET embedding = NULL, embedding_model = NULL WHERE embedding_model <> :embedding_model",
        embedding_model=embedding_model,
    )


async def list_waiting(reader: Reader, *, after: Place, limit: int) -> list[Waiting]:
    """Prompts of any chatbot that wait to be embedded, behind that place."""
    chatbot_id, fixed_answer_id, number = after
    rows = await reader.all(
        "SELECT chatbot_id, fixed_answer_id, number, content FROM fixed_answer_prompts WHERE embedding_model IS NULL "
        "AND (chatbot_id, fixed_answer_id, number) > (:chatbot_id, :fixed_answer_id, :number) "
        "ORDER BY chatbot_id, fixed_answer_id, number LIMIT :limit",
        chatbot_id=chatbot_id,
        fixed_answer_id=fixed_answer_id,
        number=number,
        limit=limit,
    )
    return [Waiting(*row) for row in rows]


async def set_vector(tx: Tx, waiting: Waiting, vector: bytes, *, embedding_model: str) -> None:
    """If it still says the same, and waits."""
    await tx.run(
        "UPDATE fixed_answer_prompts SET embedding = :vector, embedding_model = :embedding_model "
        "WHERE chatbot_id = :chatbot_id AND fixed_answer_id = :fixed_answer_id AND number = :number "
        "AND content = :content AND embedding_model IS NULL",
        chatbot_id=waiting.chatbot_id,
        fixed_answer_id=waiting.fixed_answer_id,
        number=waiting.number,
        content=waiting.content,
        vector=vector,
        embedding_model=embedding_model,
    )


async def _delete_prompts(tx: Tx, chatbot_id: str, fixed_answer_id: str) -> None:
    await tx.run(
        "DELETE FROM fixed_answer_prompts WHERE chatbot_id = :chatbot_id AND fixed_answer_id = :fixed_answer_id",
        chatbot_id=chatbot_id,
        fixed_answer_id=fixed_answer_id,
    )


async def _list(reader: Reader, chatbot_id: str, where: str, **parameters: object) -> list[FixedAnswer]:
    rows = await reader.all(f"SELECT {_COLUMNS} FROM fixed_answers {where}", chatbot_id=chatbot_id, **parameters)
    prompts: dict[str, list[str]] = {row[0]: [] for row in rows}
    if rows:
        for fixed_answer_id, content in await reader.all(
            "SELECT fixed_answer_id, content FROM fixed_answer_prompts WHERE chatbot_id = :chatbot_id "
            "AND fixed_answer_id = ANY(:ids) ORDER BY fixed_answer_id, number",
            chatbot_id=chatbot_id,
            ids=list(prompts),
        ):
            prompts[fixed_answer_id].append(content)
    return [
        FixedAnswer(
            chatbot_id=chatbot_id,
            id=row[0],
            prompts=tuple(prompts[row[0]]),
            answer=row[1],
            is_enabled=bool(row[2]),
            use_count=row[3],
            created_at=row[4],
            updated_at=row[5],
        )
        for row in rows
    ]
