"""SQL of drafts: unfinished replies, kept so that what was shown survives the process that showed it.

Invariant: a draft is only written by the turn that holds its conversation's lease under the present `control_epoch`, and
is gone once its turn has ended, however it did.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gigachat_server.records import Citation, Source
from gigachat_server.store.database import Reader, Row, Tx
from gigachat_server.store.json_columns import AsStored, JsonColumn
from gigachat_server.store.messages import pointing_into

# A transaction that holds the conversation's row may be storing the reply or ending its turn: most drafts do not wait for it.
_HELD = (
    "SELECT 1 FROM conversations WHERE chatbot_id = :chatbot_id AND conversation_id = :conversation_id "
    "AND control_epoch = :control_epoch AND answering = :prompt_id FOR UPDATE"
)
_WHICH = "WHERE chatbot_id = :chatbot_id AND conversation_id = :conversation_id AND prompt_id = :prompt_id"

_SOURCES: JsonColumn[tuple[Source, ...]] = JsonColumn("drafts.sources", tuple[Source, ...], otherwise=tuple, is_numbered=True)
_CITATIONS: JsonColumn[tuple[Citation, ...]] = JsonColumn("drafts.citations", tuple[Citation, ...], otherwise=tuple)
_METADATA: JsonColumn[dict[str, Any]] = JsonColumn("drafts.metadata", dict[str, Any], otherwise=dict)


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """Alternative `alternative` of the reply to a prompt, as far as it had been said."""

    chatbot_id: str
    conversation_id: str
    prompt_id: str
    alternative: int
    message_id: str
    metadata: dict[str, Any]
    content: str
    sources: tuple[Source, ...]
    citations: tuple[Citation, ...] | None  # None: the model does not say itself what it cites


async def find_prompt_id(reader: Reader, chatbot_id: str, message_id: str) -> str | None:
    """The prompt to which that reply is in the making."""
    row = await reader.one(
        "SELECT prompt_id FROM drafts WHERE chatbot_id = :chatbot_id AND message_id = :id", chatbot_id=chatbot_id, id=message_id
    )
    return row[0] if row else None


async def put(tx: Tx, draft: Draft, *, control_epoch: int, must_wait: bool = False) -> bool:
    """Keep what has been said so far; False if this turn has ended, or, unless `must_wait`, if it may be ending now.

    Sources are written the first time.
    """
    which = {"chatbot_id": draft.chatbot_id, "conversation_id": draft.conversation_id, "prompt_id": draft.prompt_id}
    held = _HELD if must_wait else f"{_HELD} SKIP LOCKED"
    if await tx.one(held, **which, control_epoch=control_epoch) is None:
        return False
    citations = None if draft.citations is None else _CITATIONS.write(draft.citations)
    said = {**which, "alternative": draft.alternative, "content": draft.content, "citations": citations}
    if not await tx.run(
        f"UPDATE drafts SET content = :content, citations = :citations {_WHICH} AND alternative = :alternative", **said
    ):
        await tx.run(
            "INSERT INTO drafts (chatbot_id, conversation_id, prompt_id, alternative, message_id, metadata, content, sources, "
            "citations) VALUES (:chatbot_id, :conversation_id, :prompt_id, :alternative, :message_id, :metadata, :content, "
            ":sources, :citations)",
            **said,
            message_id=draft.message_id,
            metadata=_METADATA.write(draft.metadata),
            sources=_SOURCES.write(draft.sources),
        )
    return True


async def list_of(reader: Reader, chatbot_id: str, conversation_id: str) -> list[Draft]:
    rows = await reader.all(
        "SELECT prompt_id, alternative, message_id, metadata, content, sources, citations FROM drafts "
        "WHERE chatbot_id = :chatbot_id AND conversation_id = :conversation_id ORDER BY prompt_id, alternative",
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
    )
    return [_draft(chatbot_id, conversation_id, row) for row in rows]


async def delete(tx: Tx, chatbot_id: str, conversation_id: str, prompt_id: str) -> None:
    await tx.run(f"DELETE FROM drafts {_WHICH}", chatbot_id=chatbot_id, conversation_id=conversation_id, prompt_id=prompt_id)


def _draft(chatbot_id: str, conversation_id: str, row: Row) -> Draft:
    """It becomes a message, which is to hold all that is stored here of sources and citations."""
    sources = AsStored.of(_SOURCES.read(row[5], row[2]), row[5])
    citations = None
    if row[6] is not None:
        citations = AsStored.of(pointing_into(sources, _CITATIONS.read(row[6], row[2])), row[6])
    return Draft(
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
        prompt_id=row[0],
        alternative=row[1],
        message_id=row[2],
        metadata=_METADATA.read(row[3], row[2]),
        content=row[4],
        sources=sources,
        citations=citations,
    )
