"""SQL of documents. Rows in state `pending` are the ingest queue: a worker claims one with a lease."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gigachat_server.records import Document
from gigachat_server.store.database import Reader, Tx

_COLUMNS = "chatbot_id, id, name, content_sha256, state, error, chunk_count, characters, embedding_model, created_at, updated_at"


class Waiting(msgspec.Struct, frozen=True):
    """A document whose turn to be ingested has come."""

    chatbot_id: str
    id: str


async def find(reader: Reader, chatbot_id: str, document_id: str) -> Document | None:
    row = await reader.one(
        f"SELECT {_COLUMNS} FROM documents WHERE chatbot_id = :chatbot_id AND id = :id",
        chatbot_id=chatbot_id,
        id=document_id,
    )
    return Document(*row) if row else None


async def find_by_name(reader: Reader, chatbot_id: str, name: str) -> Document | None:
    row = await reader.one(
        f"SELECT {_COLUMNS} FROM documents WHERE chatbot_id = :chatbot_id AND name = :name",
        chatbot_id=chatbot_id,
        name=name,
    )
    return Document(*row) if row else None


async def get_content(reader: Reader, chatbot_id: str, document_id: str) -> str | None:
    """The text as pushed; None if the document is gone."""
    row = await reader.one(
        "SELECT content FROM documents WHERE chatbot_id = :chatbot_id AND id = :id",
        chatbot_id=chatbot_id,
        id=document_id,
    )
    return row[0] if row else None


async def list_documents(reader: Reader, chatbot_id: str, *, after: str | None, limit: int) -> list[Document]:
    """Newest first."""
    rows = await reader.all(
        f"SELECT {_COLUMNS} FROM documents WHERE chatbot_id = :chatbot_id "
        "AND (CAST(:after AS TEXT) IS NULL OR id < :after) ORDER BY id DESC LIMIT :limit",
        chatbot_id=chatbot_id,
        after=after,
        limit=limit,
    )
    return [Document(*row) for row in rows]


async def list_versions(reader: Reader, chatbot_id: str, *, embedding_model: str) -> dict[str, int]:
    """For each document that can be searched in this vector space: the knowledge version its chunks are of."""
    rows = await reader.all(
        "SELECT id, version FROM documents WHERE chatbot_id = :chatbot_id AND embedding_model = :embedding_model",
        chatbot_id=chatbot_id,
        embedding_model=embedding_model,
    )
    return {row[0]: row[1] for row in rows}


async def list_versions_of(reader: Reader, chatbot_id: str, ids: Sequence[str], *, embedding_model: str) -> dict[str, int]:
    """The same, of these documents alone."""
    rows = await reader.all(
        "SELECT id, version FROM documents "
        "WHERE chatbot_id = :chatbot_id AND id = ANY(:ids) AND embedding_model = :embedding_model",
        chatbot_id=chatbot_id,
        ids=list(ids),
        embedding_model=embedding_model,
    )
    return {row[0]: row[1] for row in rows}


async def put(tx: Tx, document: Document, *, content: str, version: int) -> None:
    """Store the document, in place of the one with its id if there is one."""
    await tx.run(
        "INSERT INTO documents (chatbot_id, id, name, content, content_sha256, state, error, chunk_count, characters, "
        "embedding_model, version, created_at, updated_at) VALUES (:chatbot_id, :id, :name, :content, :content_sha256, "
        ":state, :error, :chunk_count, :characters, :embedding_model, :version, :created_at, :updated_at) "
        "ON CONFLICT (chatbot_id, id) DO UPDATE SET name = :name, content = :content, content_sha256 = :content_sha256, "
        "state = :state, error = :error, chunk_count = :chunk_count, characters = :characters, "
        "embedding_model = :embedding_model, version = :version, lease_until = 0, updated_at = :updated_at",
        chatbot_id=document.chatbot_id,
        id=document.id,
        name=document.name,
        content=content,
        content_sha256=document.content_sha256,
        state=document.state,
        error=document.error,
        chunk_count=document.chunk_count,
        characters=document.characters,
        embedding_model=document.embedding_model,
        version=version,
        created_at=document.created_at,
        updated_at=document.updated_at,
    )


async def put_waiting(tx: Tx, document: Document, *, content: str) -> None:
    """Accept a text for later: the chunks and vector space of an earlier version stay as they are until it is ready."""
    await tx.run(
        "INSERT INTO documents (chatbot_id, id, name, content, content_sha256, state, error, chunk_count, characters, "
        "embedding_model, version, created_at, updated_at) VALUES (:chatbot_id, :id, :name, :content, :content_sha256, "
        "'pending', NULL, 0, :characters, NULL, 0, :created_at, :updated_at) "
        "ON CONFLICT (chatbot_id, id) DO UPDATE SET name = :name, content = :content, content_sha256 = :content_sha256, "
        "state = 'pending', error = NULL, characters = :characters, lease_until = 0, updated_at = :updated_at",
        chatbot_id=document.chatbot_id,
        id=document.id,
        name=document.name,
        content=content,
        content_sha256=document.content_sha256,
        characters=document.characters,
        created_at=document.created_at,
        updated_at=document.updated_at,
    )


async def mark_all_waiting(tx: Tx, chatbot_id: str) -> int:
    """Have every document of the chatbot cut and embedded anew."""
    return await tx.run(
        "UPDATE documents SET state = 'pending', error = NULL, lease_until = 0 WHERE chatbot_id = :chatbot_id",
        chatbot_id=chatbot_id,
    )


async def mark_foreign_vectors_waiting(tx: Tx, *, embedding_model: str) -> int:
    """Have every document embedded anew whose vectors are of another embedding model."""
    return await tx.run(
        "UPDATE documents SET state = 'pending', error = NULL, lease_until = 0 "
        "WHERE state = 'ready' AND embedding_model <> :embedding_model",
        embedding_model=embedding_model,
    )


async def list_waiting(reader: Reader, *, now_us: int, limit: int) -> list[Waiting]:
    """Documents to ingest that no worker holds, the longest waiting first."""
    rows = await reader.all(
        "SELECT chatbot_id, id FROM documents WHERE state = 'pending' AND lease_until <= :now_us "
        "ORDER BY lease_until, id LIMIT :limit",
        now_us=now_us,
        limit=limit,
    )
    return [Waiting(*row) for row in rows]


async def claim(tx: Tx, chatbot_id: str, document_id: str, *, now_us: int, until_us: int) -> bool:
    """Whether the document is now ours to ingest, until the lease ends."""
    return bool(
        await tx.run(
            "UPDATE documents SET lease_until = :until_us WHERE chatbot_id = :chatbot_id AND id = :id "
            "AND state = 'pending' AND lease_until <= :now_us",
            chatbot_id=chatbot_id,
            id=document_id,
            now_us=now_us,
            until_us=until_us,
        )
    )


async def hold(tx: Tx, chatbot_id: str, document_id: str, *, until_us: int) -> None:
    """Renew the lease; or, when giving up for now, say from when on the document may be claimed again."""
    await tx.run(
        "UPDATE documents SET lease_until = :until_us WHERE chatbot_id = :chatbot_id AND id = :id AND state = 'pending'",
        chatbot_id=chatbot_id,
        id=document_id,
        until_us=until_us,
    )


async def mark_failed(tx: Tx, chatbot_id: str, document_id: str, *, error: str, now_us: int) -> None:
    """Give up on this text; its earlier chunks, if any, still answer."""
    await tx.run(
        "UPDATE documents SET state = 'failed', error = :error, updated_at = :now_us "
        "WHERE chatbot_id = :chatbot_id AND id = :id AND state = 'pending'",
        chatbot_id=chatbot_id,
        id=document_id,
        error=error,
        now_us=now_us,
    )


async def delete(tx: Tx, chatbot_id: str, document_id: str) -> bool:
    """Remove it and its chunks; False if there is none."""
    await tx.run("DELETE FROM chunks WHERE chatbot_id = :chatbot_id AND document_id = :id", chatbot_id=chatbot_id, id=document_id)
    return bool(
        await tx.run("DELETE FROM documents WHERE chatbot_id = :chatbot_id AND id = :id", chatbot_id=chatbot_id, id=document_id)
    )
