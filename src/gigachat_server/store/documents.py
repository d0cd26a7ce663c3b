"""SQL of documents, but for the queue of those that are to be ingested: `ingest_queue.py`."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gigachat_server.language.codes import LANGUAGES, Language
from gigachat_server.records import Document, DocumentWarning
from gigachat_server.store import made_embeddings, units, uploads
from gigachat_server.store.database import Reader, Row, Tx
from gigachat_server.store.json_columns import AsStored, JsonColumn

_WARNINGS: JsonColumn[tuple[DocumentWarning, ...]] = JsonColumn(
    "documents.warnings", tuple[DocumentWarning, ...], otherwise=tuple
)
_COLUMNS = (
    "chatbot_id, id, name, content_sha256, state, error, chunk_count, characters, embedding_model, created_at, updated_at, "
    "reason, progress, title, media_type, origin, upload_id, file_sha256, chunks_sha256, language, warnings"
)


def _document(row: Row) -> Document:
    warnings = AsStored.of(_WARNINGS.read(row[-1], row[1]), row[-1]) if row[-1] else ()
    return Document(*(*row[:-2], known_language(row[-2]), warnings))


def known_language(stored: str | None) -> Language | None:
    """One that a later version added says here as much as none."""
    return stored if stored in LANGUAGES else None


def _dump_warnings(document: Document) -> str | None:
    dumped = _WARNINGS.write(document.warnings)
    return dumped if dumped != "[]" else None


async def find(reader: Reader, chatbot_id: str, document_id: str) -> Document | None:
    row = await reader.one(
        f"SELECT {_COLUMNS} FROM documents WHERE chatbot_id = :chatbot_id AND id = :id",
        chatbot_id=chatbot_id,
        id=document_id,
    )
    return _document(row) if row else None


async def find_by_name(reader: Reader, chatbot_id: str, name: str) -> Document | None:
    row = await reader.one(
        f"SELECT {_COLUMNS} FROM documents WHERE chatbot_id = :chatbot_id AND name = :name",
        chatbot_id=chatbot_id,
        name=name,
    )
    return _document(row) if row else None


async def get_content(reader: Reader, chatbot_id: str, document_id: str) -> str | None:
    """The text as pushed; None if the document is gone."""
    row = await reader.one(
        "SELECT content FROM documents WHERE chatbot_id = :chatbot_id AND id = :id",
        chatbot_id=chatbot_id,
        id=document_id,
    )
    return row[0] if row else None


async def get_places(reader: Reader, chatbot_id: str, document_id: str) -> str | None:
    """Where in the text pages and headings begin, as JSON; None if it has none."""
    row = await reader.one(
        "SELECT places FROM documents WHERE chatbot_id = :chatbot_id AND id = :id",
        chatbot_id=chatbot_id,
        id=document_id,
    )
    return row[0] if row else None


async def list_documents(
    reader: Reader,
    chatbot_id: str,
    *,
    states: Sequence[str] | None = None,
    is_warned: bool | None = None,
    after: str | None,
    limit: int,
) -> list[Document]:
    """Newest first. `is_warned`: only those with warnings, or only those without."""
    rows = await reader.all(
        f"SELECT {_COLUMNS} FROM documents WHERE chatbot_id = :chatbot_id "
        "AND (CAST(:after AS TEXT) IS NULL OR id < :after) AND (:is_any = 1 OR state = ANY(:states)) "
        "AND (:warned = 2 OR (:warned = 1) = (warnings IS NOT NULL)) "
        "ORDER BY id DESC LIMIT :limit",
        chatbot_id=chatbot_id,
        is_any=int(states is None),
        states=list(states or ()),
        warned=2 if is_warned is None else int(is_warned),
        after=after,
        limit=limit,
    )
    return [_document(row) for row in rows]


async def list_by_id(reader: Reader, chatbot_id: str, ids: Sequence[str]) -> list[Document]:
    """Those of these ids that there are."""
    rows = await reader.all(
        f"SELECT {_COLUMNS} FROM documents WHERE chatbot_id = :chatbot_id AND id = ANY(:ids)",
        chatbot_id=chatbot_id,
        ids=list(ids),
    )
    return [_document(row) for row in rows]


class Version(msgspec.Struct, frozen=True):
    """Which version of a document can be searched: the knowledge version its chunks are of; and in which language it is."""

    number: int
    language: Language | None


async def list_ready(
    reader: Reader, account_id: str, *, among: Sequence[str] | None, after: tuple[str, str], limit: int
) -> list[Document]:
    """Those of an account that can be searched, by chatbot and id, behind that place. `among`: of these chatbots alone."""
    columns = ", ".join(f"d.{name.strip()}" for name in _COLUMNS.split(","))
    only = "AND d.chatbot_id = ANY(:among) " if among is not None else ""
    rows = await reader.all(
        f"SELECT {columns} FROM documents d JOIN chatbots c ON c.id = d.chatbot_id WHERE c.account_id = :account_id "
        f"{only}AND d.state = 'ready' "
        "AND (d.chatbot_id, d.id) > (:after_chatbot, :after_id) ORDER BY d.chatbot_id, d.id LIMIT :limit",
        account_id=account_id,
        after_chatbot=after[0],
        after_id=after[1],
        limit=limit,
        **({"among": list(among)} if among is not None else {}),
    )
    return [_document(row) for row in rows]


async def list_versions(reader: Reader, chatbot_id: str, *, embedding_models: Sequence[str]) -> dict[str, Version]:
    """Of each document that can be searched in this vector space, which goes by these names."""
    rows = await reader.all(
        "SELECT id, version, language FROM documents WHERE chatbot_id = :chatbot_id AND embedding_model = ANY(:embedding_models)",
        chatbot_id=chatbot_id,
        embedding_models=list(embedding_models),
    )
    return {row[0]: Version(row[1], known_language(row[2])) for row in rows}


async def list_versions_of(
    reader: Reader, chatbot_id: str, ids: Sequence[str], *, embedding_models: Sequence[str]
) -> dict[str, Version]:
    """The same, of these documents alone."""
    rows = await reader.all(
        "SELECT id, version, language FROM documents "
        "WHERE chatbot_id = :chatbot_id AND id = ANY(:ids) AND embedding_model = ANY(:embedding_models)",
        chatbot_id=chatbot_id,
        ids=list(ids),
        embedding_models=list(embedding_models),
    )
    return {row[0]: Version(row[1], known_language(row[2])) for row in rows}


async def put(tx: Tx, document: Document, *, content: str, places: str | None = None, version: int) -> None:
    """Store the searchable document, in place of the one with its id if there is one."""
    await tx.run(
        "INSERT INTO documents (chatbot_id, id, name, content, content_sha256, state, error, chunk_count, characters, "
        "embedding_model, version, created_at, updated_at, progress, title, media_type, origin, file_sha256, chunks_sha256, "
        "places, language, warnings) VALUES (:chatbot_id, :id, :name, :content, :content_sha256, 'ready', NULL, :chunk_count, "
        ":characters, :embedding_model, :version, :created_at, :updated_at, 100, :title, :media_type, :origin, :file_sha256, "
        ":content_sha256, :places, :language, :warnings) "
        "ON CONFLICT (chatbot_id, id) DO UPDATE SET name = :name, content = :content, content_sha256 = :content_sha256, "
        "state = 'ready', error = NULL, reason = NULL, chunk_count = :chunk_count, characters = :characters, "
        "embedding_model = :embedding_model, version = :version, lease = NULL, lease_until = 0, tries = 0, "
        "updated_at = :updated_at, progress = 100, "
        "title = :title, media_type = :media_type, origin = :origin, upload_id = NULL, file_sha256 = :file_sha256, "
        "chunks_sha256 = :content_sha256, places = :places, language = :language, warnings = :warnings",
        chatbot_id=document.chatbot_id,
        id=document.id,
        name=document.name,
        content=content,
        content_sha256=document.content_sha256,
        chunk_count=document.chunk_count,
        characters=document.characters,
        embedding_model=document.embedding_model,
        version=version,
        created_at=document.created_at,
        updated_at=document.updated_at,
        title=document.title,
        media_type=document.media_type,
        origin=document.origin,
        file_sha256=document.file_sha256,
        places=places,
        language=document.language,
        warnings=_dump_warnings(document),
    )


async def put_text(tx: Tx, document: Document, *, content: str) -> None:
    """Accept a pushed text for later: the chunks of an earlier version stay as they are until it is ready."""
    await tx.run(
        "INSERT INTO documents (chatbot_id, id, name, content, content_sha256, state, error, chunk_count, characters, "
        "embedding_model, version, created_at, updated_at, size) VALUES (:chatbot_id, :id, :name, :content, :content_sha256, "
        "'pending', NULL, 0, :characters, NULL, 0, :created_at, :updated_at, :characters) "
        "ON CONFLICT (chatbot_id, id) DO UPDATE SET name = :name, content = :content, content_sha256 = :content_sha256, "
        "state = 'pending', error = NULL, reason = NULL, characters = :characters, size = :characters, "
        "lease = NULL, lease_until = 0, tries = 0, updated_at = :updated_at, "
        "progress = 0, title = NULL, media_type = NULL, origin = NULL, upload_id = NULL, file_sha256 = NULL, places = NULL, "
        "warnings = NULL",
        chatbot_id=document.chatbot_id,
        id=document.id,
        name=document.name,
        content=content,
        content_sha256=document.content_sha256,
        characters=document.characters,
        created_at=document.created_at,
        updated_at=document.updated_at,
    )


async def put_file(tx: Tx, document: Document, *, size: int) -> None:
    """Accept a file for later, whose bytes are stored as `upload_id`: text and chunks of an earlier version stay until then.

    Nodes of the version before do not know the state, so they leave it alone: they would embed the earlier text again.
    """
    await tx.run(
        "INSERT INTO documents (chatbot_id, id, name, content, content_sha256, state, error, chunk_count, characters, "
        "embedding_model, version, created_at, updated_at, media_type, origin, upload_id, file_sha256, size) VALUES "
        "(:chatbot_id, :id, :name, '', :content_sha256, 'uploaded', NULL, 0, 0, NULL, 0, :created_at, :updated_at, :media_type, "
        ":origin, :upload_id, :file_sha256, :size) "
        "ON CONFLICT (chatbot_id, id) DO UPDATE SET name = :name, state = 'uploaded', error = NULL, reason = NULL, "
        "lease = NULL, lease_until = 0, tries = 0, updated_at = :updated_at, progress = 0, media_type = :media_type, "
        "origin = :origin, "
        "upload_id = :upload_id, file_sha256 = :file_sha256, size = :size",
        chatbot_id=document.chatbot_id,
        id=document.id,
        name=document.name,
        content_sha256=document.content_sha256,
        created_at=document.created_at,
        updated_at=document.updated_at,
        media_type=document.media_type,
        origin=document.origin,
        upload_id=document.upload_id,
        file_sha256=document.file_sha256,
        size=size,
    )


async def put_extracted(tx: Tx, document: Document, *, content: str, places: str | None) -> None:
    """The file was read: this is its text, which is to be embedded."""
    await tx.run(
        "UPDATE documents SET content = :content, content_sha256 = :content_sha256, characters = :characters, title = :title, "
        "places = :places, warnings = :warnings, state = 'embedding', upload_id = NULL, progress = :progress, "
        "tries = 0, updated_at = :updated_at WHERE chatbot_id = :chatbot_id AND id = :id",
        chatbot_id=document.chatbot_id,
        id=document.id,
        content=content,
        content_sha256=document.content_sha256,
        characters=document.characters,
        title=document.title,
        places=places,
        warnings=_dump_warnings(document),
        progress=document.progress,
        updated_at=document.updated_at,
    )


async def put_unchanged(tx: Tx, document: Document, *, places: str | None) -> None:
    """The file was read, and its text is the one whose chunks are there."""
    await tx.run(
        "UPDATE documents SET title = :title, places = :places, warnings = :warnings, state = 'ready', error = NULL, "
        "reason = NULL, upload_id = NULL, progress = 100, lease = NULL, lease_until = 0, tries = 0, updated_at = :updated_at "
        "WHERE chatbot_id = :chatbot_id AND id = :id",
        chatbot_id=document.chatbot_id,
        id=document.id,
        title=document.title,
        places=places,
        warnings=_dump_warnings(document),
        updated_at=document.updated_at,
    )


async def delete(tx: Tx, chatbot_id: str, document_id: str) -> bool:
    """Remove it, its chunks and its units; False if there is none."""
    tx.erases()
    await units.delete_of_document(tx, chatbot_id, document_id)
    await tx.run("DELETE FROM chunks WHERE chatbot_id = :chatbot_id AND document_id = :id", chatbot_id=chatbot_id, id=document_id)
    row = await tx.one(
        "DELETE FROM documents WHERE chatbot_id = :chatbot_id AND id = :id RETURNING id, upload_id",
        chatbot_id=chatbot_id,
        id=document_id,
    )
    # Only now: a worker that is storing some holds the document's row until they are there.
    await made_embeddings.delete(tx, chatbot_id, document_id)
    if row is not None and row[1] is not None:
        await uploads.delete(tx, chatbot_id, row[1])
    return row is not None
