"""SQL of typing: who is writing in a conversation just now. A row counts until its time, and is nothing that happened."""

from __future__ import annotations

from typing import Final

import msgspec

from gigachat_server.store.database import Reader, Tx

_IN = "WHERE chatbot_id = :chatbot_id AND conversation_id = :conversation_id"


LASTS_US: Final = 6_000_000  # unless it is told again


class Typing(msgspec.Struct, frozen=True):
    who: str
    until: int

    @property
    def typed_at(self) -> int:
        return self.until - LASTS_US


async def note(tx: Tx, chatbot_id: str, conversation_id: str, who: str, *, now_us: int) -> None:
    await tx.run(
        "INSERT INTO typing (chatbot_id, conversation_id, who, until) VALUES (:chatbot_id, :conversation_id, :who, :until) "
        "ON CONFLICT (chatbot_id, conversation_id, who) DO UPDATE SET until = :until",
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
        who=who,
        until=now_us + LASTS_US,
    )


async def list_of(reader: Reader, chatbot_id: str, conversation_id: str, *, now_us: int) -> list[Typing]:
    rows = await reader.all(
        f"SELECT who, until FROM typing {_IN} AND until > :now_us ORDER BY who",
        chatbot_id=chatbot_id,
        conversation_id=conversation_id,
        now_us=now_us,
    )
    return [Typing(*row) for row in rows]


async def end(tx: Tx, chatbot_id: str, conversation_id: str, who: str) -> None:
    """What they wrote was sent."""
    await tx.run(f"DELETE FROM typing {_IN} AND who = :who", chatbot_id=chatbot_id, conversation_id=conversation_id, who=who)
