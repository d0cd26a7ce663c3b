"""SQL of what was given up for failing each time: what waits for a person, over all queues."""

from __future__ import annotations

import msgspec

from gigachat_server.store.database import Reader


class Parked(msgspec.Struct, frozen=True):
    """A row that is not tried again by itself. `reason`: what it failed with last."""

    kind: str
    name: str
    chatbot_id: str
    parked_at: int
    reason: str


async def list_parked(reader: Reader, *, limit: int) -> list[Parked]:
    """Those of any account, newest first."""
    rows = await reader.all(
        "SELECT kind, name, chatbot_id, parked_at, parked_reason FROM ("
        "SELECT 'document' AS kind, name, chatbot_id, parked_at, parked_reason FROM documents "
        "WHERE state = 'failed' AND parked_at IS NOT NULL "
        "UNION ALL SELECT 'site', url, chatbot_id, parked_at, parked_reason FROM sites WHERE parked_at IS NOT NULL "
        "UNION ALL SELECT 'mail', kind || ' ' || id, chatbot_id, due_at, coalesce(reason, '') FROM mails WHERE state = 'failed'"
        ") AS parked "
        "ORDER BY parked_at DESC, name LIMIT :limit",
        limit=limit,
    )
    return [Parked(*row) for row in rows]
