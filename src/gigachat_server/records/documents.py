"""Documents, and the chunks they are cut into."""

from __future__ import annotations

from typing import Literal

import msgspec

from gigachat_server.language.codes import Language

# `uploaded`: a file that is still to be read; `pending`: a text that is still to be embedded.
DocumentState = Literal["uploaded", "pending", "extracting", "embedding", "ready", "failed"]
WAITING: tuple[DocumentState, ...] = ("uploaded", "pending", "extracting", "embedding")  # a worker still has to finish it
# What was not read of a document, or only by guessing; the guide to pushing documents explains each.
WarningCode = Literal[
    "pages_without_text",
    "pages_unreadable",
    "images_without_text",
    "objects_skipped",
    "parts_skipped",
    "attachments_skipped",
    "forms_unread",
    "hidden_sheets",
    "formulas_without_value",
    "rows_mended",
    "encoding_guessed",
    "characters_replaced",
    "not_as_declared",
    "truncated",
]


class DocumentWarning(msgspec.Struct, frozen=True):
    """A part of a document that could not be read in full, or only by guessing: how often, and where, in words for people.

    `code` is a `WarningCode`, or one that a later version added.
    """

    code: str
    count: int
    where: str


class Document(msgspec.Struct, frozen=True):
    """A pushed text or file. Until it is `ready`, the chunks of its last `ready` version, if any, still answer.

    A `failed` one has an `error`, the code of a `DocumentFailed`, and the `reason` in words. `upload_id` names the bytes that
    are still to be read, `chunks_sha256` is the hash of the text that its chunks were cut from. `embedding_model` names the
    vector space of its units, and how they were made.
    """

    chatbot_id: str
    id: str
    name: str
    content_sha256: str
    state: DocumentState
    error: str | None
    chunk_count: int
    characters: int
    embedding_model: str | None
    created_at: int
    updated_at: int
    reason: str | None = None
    progress: int = 0  # percent, of what is between `pending` and `ready`
    title: str | None = None  # what a file calls itself
    media_type: str | None = None
    origin: str | None = None  # what brought it, other than a push
    upload_id: str | None = None
    file_sha256: str | None = None
    chunks_sha256: str | None = None
    language: Language | None = None  # in which its text is; None where that cannot be told
    warnings: tuple[DocumentWarning, ...] = ()  # of the text that was read last; none: what a person sees of it was read


class Chunk(msgspec.Struct, frozen=True):
    """A piece of a document; `content` is its text as pushed, without the header the wire form puts before it."""

    chatbot_id: str
    document_id: str
    document_name: str
    id: str
    number: int
    content: str
    line_from: int
    line_to: int
    embedding: bytes  # float32, little-endian
    created_at: int
    updated_at: int
    page: int | None = None  # on which it begins, from 1
    heading: str | None = None  # under which it begins
