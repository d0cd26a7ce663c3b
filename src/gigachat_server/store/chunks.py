"""SQL of chunks. A chunk never changes: another text, or another cut, is other chunks with other ids."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from gigachat_server.records import Chunk
from gigachat_server.store.database import Reader, Tx

_SELECT = (
    "SELECT c.chatbot_id, c.document_id, d.name, c.id, c.number, c.content, c.line_from, c.line_to, c.embedding, "
    "c.created_at, c.updated_at, c.page, c.heading "
    "FROM chunks c JOIN documents d ON d.chatbot_id = c.chatbot_id AND d.id = c.document_id "
)


class IndexRow(msgspec.Struct, frozen=True):
    """What an index needs of a chunk. `embedding` only of one that has no units: by that it was embedded as a whole."""

    document_id: str
    id: str
    stems: str
    embedding: bytes | None


class StoredChunk(msgspec.Struct, frozen=True):
    """A chunk as it is stored: with its terms, and between which numbers all of its units are."""

    chunk: Chunk
    stems: str
    first_unit: int
    last_unit: int


async def list_of_document(reader: Reader, chatbot_id: str, document_id: str) -> list[Chunk]:
    """In the order of the text."""
    rows = await reader.all(
        _SELECT + "WHERE c.chatbot_id = :chatbot_id AND c.document_id = :document_id ORDER BY c.number",
        chatbot_id=chatbot_id,
        document_id=document_id,
    )
    return [Chunk(*row) for row in rows]


async def list_by_id(reader: Reader, chatbot_id: str, ids: Sequence[str]) -> list[Chunk]:
    """Those that still exist, in no particular order."""
    rows = await reader.all(
        _SELECT + "WHERE c.chatbot_id = :chatbot_id AND c.id = ANY(:ids)", chatbot_id=chatbot_id, ids=list(ids)
    )
    return [Chunk(*row) for row in rows]


async def list_vectors(reader: Reader, chatbot_id: str, ids: Sequence[str]) -> dict[str, bytes]:
    """The vectors of those that still exist."""
    rows = await reader.all(
        "SELECT id, embedding FROM chunks WHERE chatbot_id = :chatbot_id AND id = ANY(:ids)",
        chatbot_id=chatbot_id,
        ids=list(ids),
    )
    return {row[0]: row[1] for row in rows}


async def list_for_index(reader: Reader, chatbot_id: str, document_ids: Sequence[str]) -> list[IndexRow]:
    """Of whole documents, each document's chunks together and in order."""
    rows = await reader.all(
        "SELECT document_id, id, stems, CASE WHEN first_unit IS NULL THEN embedding END FROM chunks "
        "WHERE chatbot_id = :chatbot_id AND document_id = ANY(:document_ids) ORDER BY document_id, number",
        chatbot_id=chatbot_id,
        document_ids=list(document_ids),
    )
    return [IndexRow(*row) for row in rows]


async def replace(tx: Tx, chatbot_id: str, document_id: str, rows: Iterable[StoredChunk]) -> None:
    """Put these chunks in place of all that the document has."""
    await tx.run(
        "DELETE FROM chunks WHERE chatbot_id = :chatbot_id AND document_id = :document_id",
        chatbot_id=chatbot_id,
        document_id=document_id,
    )
    await tx.run_many(
        "INSERT INTO chunks (chatbot_id, document_id, number, id, content, line_from, line_to, stems, embedding, "
        "created_at, updated_at, page, heading, first_unit, last_unit) "
        "VALUES (:chatbot_id, :document_id, :number, :id, :content, "
        ":line_from, :line_to, :stems, :embedding, :created_at, :updated_at, :page, :heading, :first_unit, :last_unit)",
        (
            {
                "chatbot_id": chatbot_id,
                "document_id": document_id,
                "number": row.chunk.number,
                "id": row.chunk.id,
                "content": row.chunk.content,
                "line_from": row.chunk.line_from,
                "line_to": row.chunk.line_to,
                "stems": row.stems,
                "embedding": row.chunk.embedding,
                "created_at": row.chunk.created_at,
                "updated_at": row.chunk.updated_at,
                "page": row.chunk.page,
                "heading": row.chunk.heading,
                "first_unit": row.first_unit,
                "last_unit": row.last_unit,
            }
            for row in rows
        ),
    )
