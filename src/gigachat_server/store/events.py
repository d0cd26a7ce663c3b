"""SQL of events: the gap-free record of what happened in a conversation. Data holds ids, never copies."""

from __future__ import annotations

from typing import Any

from gigachat_server.records import Event, EventData, EventType
from gigachat_server.store.database import Reader, Row, Tx
from gigachat_server.store.json_columns import JsonColumn

_DATA: JsonColumn[dict[str, Any]] = JsonColumn("events.data", dict[str, Any], otherwise=dict)

Key = tuple[int, str, int]  # created_at, conversation_id, seq: the order of a chatbot's events


async def insert(tx: Tx, chatbot_id: str, conversation_id: str, *, seq: int, data: EventData, created_at: int) -> None:
    """Record one event under a `seq` that `conversations.advance` gave in the same transaction."""
    row = {
        "chatbot_id": chatbot_id,
        "conversation_id": conversation_id,
        "seq": seq,
        "type": data.type,
        "data": _DATA.write(data.fields()),
        "created_at": created_at,
    }
    await tx.add(
        "INSERT INTO events (chatbot_id, conversation_id, seq, type, data, created_at) "
        "VALUES (:chatbot_id, :conversation_id, :seq, :type, :data, :created_at)",
        **row,
    )
    # The ids in its data were made for it beforehand; and two clocks that agree to the microsecond are one.
    tx.proven_by(
        "SELECT 1 FROM events WHERE chatbot_id = :chatbot_id AND conversation_id = :conversation_id AND seq = :seq "
        "AND type = :type AND data = :data AND created_at = :created_at",
        **row,
    )


async def list_events(reader: Reader, chatbot_id: str, conversation_id: str, *, after: int, limit: int) -> list[Event]:
    """Oldest first, from the seq after `after`."""
    rows = await reader.all(
        "SELECT chatbot_id, conversation_id, seq, type, data, created_at FROM events "
        "WHERE chatbot_id = :chatbot_id AND conversation_id = :conversation_id AND seq > :after "
        "ORDER BY seq LIMIT :limit",
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
        after=after,
        limit=limit,
    )
    return [_event(row) for row in rows]


async def list_keys_of_chatbot(reader: Reader, chatbot_id: str, *, after: Key, limit: int = 1 << 31) -> list[Key]:
    """Of all its conversations, from behind that key on, in their order."""
    rows = await reader.all(
        "SELECT created_at, conversation_id, seq FROM events WHERE chatbot_id = :chatbot_id "
        "AND (created_at, conversation_id, seq) > (:at, :conversation_id, :seq) "
        "ORDER BY created_at, conversation_id, seq LIMIT :limit",
        chatbot_id=chatbot_id,
        at=after[0],
        conversation_id=after[1],
        seq=after[2],
        limit=limit,
    )
    return [(row[0], row[1], row[2]) for row in rows]


async def list_of_types(
    reader: Reader, chatbot_id: str, conversation_id: str, types: tuple[EventType, ...], *, after: int
) -> list[Event]:
    """Oldest first, from the seq after `after`."""
    rows = await reader.all(
        "SELECT chatbot_id, conversation_id, seq, type, data, created_at FROM events WHERE chatbot_id = :chatbot_id "
        "AND conversation_id = :conversation_id AND seq > :after AND type = ANY(:types) ORDER BY seq",
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
        after=after,
        types=types,
    )
    return [_event(row) for row in rows]


def _event(row: Row) -> Event:
    return Event(row[0], row[1], row[2], row[3], _DATA.read(row[4], f"{row[1]} {row[2]}"), row[5])
