"""SQL of how chatbots are doing, for a page of them: one statement for each kind of thing that is counted."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gigachat_server.store.database import Reader


class DocumentCounts(msgspec.Struct, frozen=True):
    """`working`: those that cannot be found yet, or not in their newest version; `warned` ones are among the `ready`."""

    ready: int = 0
    working: int = 0
    failed: int = 0
    warned: int = 0

    @property
    def total(self) -> int:
        return self.ready + self.working + self.failed


async def count_documents(reader: Reader, chatbot_ids: Sequence[str]) -> dict[str, DocumentCounts]:
    """By chatbot; one without documents is not among them."""
    rows = await reader.all(
        "SELECT chatbot_id, sum(CASE WHEN state = 'ready' THEN 1 ELSE 0 END), "
        "sum(CASE WHEN state NOT IN ('ready', 'failed') THEN 1 ELSE 0 END), "
        "sum(CASE WHEN state = 'failed' THEN 1 ELSE 0 END), "
        "sum(CASE WHEN state = 'ready' AND warnings IS NOT NULL THEN 1 ELSE 0 END) "
        "FROM documents WHERE chatbot_id = ANY(:ids) GROUP BY chatbot_id",
        ids=list(chatbot_ids),
    )
    return {row[0]: DocumentCounts(*(int(count) for count in row[1:])) for row in rows}


async def count_waiting(reader: Reader, chatbot_ids: Sequence[str]) -> dict[str, int]:
    """Conversations in which an end user waits for a human, by chatbot."""
    rows = await reader.all(
        "SELECT chatbot_id, count(*) FROM conversations WHERE chatbot_id = ANY(:ids) AND waiting_since IS NOT NULL "
        "GROUP BY chatbot_id",
        ids=list(chatbot_ids),
    )
    return {row[0]: int(row[1]) for row in rows}


async def has_conversations(reader: Reader, chatbot_id: str) -> bool:
    row = await reader.one("SELECT 1 FROM conversations WHERE chatbot_id = :chatbot_id LIMIT 1", chatbot_id=chatbot_id)
    return row is not None
