"""SQL of units: the stretches of a document that are embedded, each with its direction and the chunks that it belongs to."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import msgspec

from gigachat_server.store.database import Reader, Tx


class UnitRow(msgspec.Struct, frozen=True):
    """A unit as it is stored. `vector` has a signed byte for each number."""

    number: int
    first_chunk: int
    last_chunk: int
    text_sha256: str
    vector: bytes


class IndexUnit(msgspec.Struct, frozen=True):
    """What an index needs of a unit."""

    document_id: str
    first_chunk: int
    last_chunk: int
    vector: bytes


def text_hash(text: str) -> str:
    """By which a text is found that was embedded before."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


async def list_for_index(reader: Reader, chatbot_id: str, document_ids: Sequence[str]) -> list[IndexUnit]:
    """Of whole documents, each document's units together and in order."""
    rows = await reader.all(
        "SELECT document_id, first_chunk, last_chunk, vector FROM units "
        "WHERE chatbot_id = :chatbot_id AND document_id = ANY(:document_ids) ORDER BY document_id, number",
        chatbot_id=chatbot_id,
        document_ids=list(document_ids),
    )
    return [IndexUnit(*row) for row in rows]


async def list_vectors_by_text(
    reader: Reader, chatbot_id: str, text_hashes: Sequence[str], *, embedding_model: str
) -> dict[str, bytes]:
    """For each of those texts that a document of the chatbot, built with that, has: its vector."""
    rows = await reader.all(
        "SELECT DISTINCT u.text_sha256, u.vector FROM units u "
        "JOIN documents d ON d.chatbot_id = u.chatbot_id AND d.id = u.document_id "
        "WHERE u.chatbot_id = :chatbot_id AND u.text_sha256 = ANY(:hashes) AND d.embedding_model = :embedding_model",
        chatbot_id=chatbot_id,
        hashes=list(text_hashes),
        embedding_model=embedding_model,
    )
    return {row[0]: row[1] for row in rows}


async def replace(tx: Tx, chatbot_id: str, document_id: str, rows: Iterable[UnitRow]) -> None:
    """Put these units in place of all that the document has."""
    await delete_of_document(tx, chatbot_id, document_id)
    await tx.run_many(
        "INSERT INTO units (chatbot_id, document_id, number, first_chunk, last_chunk, text_sha256, vector) "
        "VALUES (:chatbot_id, :document_id, :number, :first_chunk, :last_chunk, :text_sha256, :vector)",
        (
            {
                "chatbot_id": chatbot_id,
                "document_id": document_id,
                "number": row.number,
                "first_chunk": row.first_chunk,
                "last_chunk": row.last_chunk,
                "text_sha256": row.text_sha256,
                "vector": row.vector,
            }
            for row in rows
        ),
    )


async def delete_of_document(tx: Tx, chatbot_id: str, document_id: str) -> None:
    await tx.run(
        "DELETE FROM units WHERE chatbot_id = :chatbot_id AND document_id = :document_id",
        chatbot_id=chatbot_id,
        document_id=document_id,
    )
