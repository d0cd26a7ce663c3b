"""SQL of embeddings that were made for a document whose chunks do not have them yet: a crash makes none of them twice."""

from __future__ import annotations

from collections.abc import Iterable

from gigachat_server.store.database import Reader, Tx


async def insert(
    tx: Tx, chatbot_id: str, document_id: str, embeddings: Iterable[tuple[str, bytes]], *, embedding_model: str
) -> None:
    """Each with the hash of its text; one that is there already is replaced."""
    await tx.run_many(
        "INSERT INTO made_embeddings (chatbot_id, document_id, text_sha256, embedding_model, embedding) "
        "VALUES (:chatbot_id, :document_id, :text_sha256, :embedding_model, :embedding) "
        "ON CONFLICT (chatbot_id, document_id, text_sha256) DO UPDATE SET embedding_model = excluded.embedding_model, "
        "embedding = excluded.embedding",
        (
            {
                "chatbot_id": chatbot_id,
                "document_id": document_id,
                "text_sha256": text_sha256,
                "embedding_model": embedding_model,
                "embedding": embedding,
            }
            for text_sha256, embedding in embeddings
        ),
    )


async def list_of(reader: Reader, chatbot_id: str, document_id: str, *, embedding_model: str) -> dict[str, bytes]:
    """By the hash of their text."""
    rows = await reader.all(
        "SELECT text_sha256, embedding FROM made_embeddings WHERE chatbot_id = :chatbot_id AND document_id = :document_id "
        "AND embedding_model = :embedding_model",
        chatbot_id=chatbot_id,
        document_id=document_id,
        embedding_model=embedding_model,
    )
    return {row[0]: bytes(row[1]) for row in rows}


async def delete(tx: Tx, chatbot_id: str, document_id: str) -> None:
    await tx.run(
        "DELETE FROM made_embeddings WHERE chatbot_id = :chatbot_id AND document_id = :document_id",
        chatbot_id=chatbot_id,
        document_id=document_id,
    )
