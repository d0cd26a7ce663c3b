"""SQL of chunks. A chunk never changes: another text, or another cut, is other chunks with other ids."""

from __future__ import annotations

import hashlib
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
    """What an index needs of a chunk."""

    document_id: str
    id: str
    stems: str
    embedding: bytes


def text_hash(text: str) -> str:
    """By which a text is found that was embedded before."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


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


async def list_ids_by_text(reader: Reader, chatbot_id: str, text_hashes: Sequence[str]) -> dict[str, str]:
    """For each of those texts that a chunk of the chatbot has: the id of one."""
    rows = await reader.all(
        "SELECT text_sha256, MIN(id) FROM chunks WHERE chatbot_id = :chatbot_id AND text_sha256 IS NOT NULL "
        "AND text_sha256 = ANY(:hashes) GROUP BY text_sha256",
        chatbot_id=chatbot_id,
        hashes=list(text_hashes),
    )
    return {row[0]: row[1] for row in rows}


async def list_vectors_of_model(reader: Reader, chatbot_id: str, ids: Sequence[str], *, embedding_model: str) -> dict[str, bytes]:
    """The vectors of those that are in that vector space."""
    rows = await reader.all(
        "SELECT c.id, c.embedding FROM chunks c JOIN documents d ON d.chatbot_id = c.chatbot_id AND d.id = c.document_id "
        "WHERE c.chatbot_id = :chatbot_id AND c.id = ANY(:ids) AND d.embedding_model = :embedding_model",
        chatbot_id=chatbot_id,
        ids=list(ids),
        embedding_model=embedding_model,
    )
    return {row[0]: row[1] for row in rows}


async def list_for_index(reader: Reader, chatbot_id: str, document_ids: Sequence[str]) -> list[IndexRow]:
    """Of whole documents, each document's chunks together and in order."""
    rows = await reader.all(
        "SELECT document_id, id, stems, embedding FROM chunks "
        "WHERE chatbot_id = :chatbot_id AND document_id = ANY(:document_ids) ORDER BY document_id, number",
        chatbot_id=chatbot_id,
        document_ids=list(document_ids),
    )
    return [IndexRow(*row) for row in rows]


async def replace(tx: Tx, chatbot_id: str, document_id: str, rows: Iterable[tuple[Chunk, str]]) -> None:
    """Put these chunks, each with its stems, in place of all that the document has."""
    await tx.run(
        "DELETE FROM chunks WHERE chatbot_id = :chatbot_id AND document_id = :document_id",
        chatbot_id=chatbot_id,
        document_id=document_id,
    )
    await tx.run_many(
        "INSERT INTO chunks (chatbot_id, document_id, number, id, content, line_from, line_to, stems, embedding, "
        "created_at, updated_at, page, heading, text_sha256) VALUES (:chatbot_id, :document_id, :number, :id, :content, "
        ":line_from, :line_to, :stems, :embedding, :created_at, :updated_at, :page, :heading, :text_sha256)",
        (
            {
                "chatbot_id": chatbot_id,
                "document_id": document_id,
                "number": chunk.number,
                "id": chunk.id,
                "content": chunk.content,
                "line_from": chunk.line_from,
                "line_to": chunk.line_to,
                "stems": stems,
                "embedding": chunk.embedding,
                "created_at": chunk.created_at,
                "updated_at": chunk.updated_at,
                "page": chunk.page,
                "heading": chunk.heading,
                "text_sha256": text_hash(chunk.content),
            }
            for chunk, stems in rows
        ),
    )
