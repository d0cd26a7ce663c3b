"""SQL of presence: which operators are there, and which of them may answer in a chatbot."""

from __future__ import annotations

import msgspec

from gigachat_server.store.database import Reader, Tx

# Of an owner or an admin every chatbot; of a member those that they may answer in. Who was disabled or deleted answers nowhere.
_ANSWERS = (
    "o.account_id = :account_id AND o.disabled_at IS NULL AND (o.role IN ('owner', 'admin') OR (o.role = 'member' AND EXISTS "
    "(SELECT 1 FROM memberships m WHERE m.chatbot_id = :chatbot_id AND m.operator_id = o.id AND m.role = 'operator')))"
)
_WITH_PRESENCE = "FROM operators o LEFT JOIN presence p ON p.account_id = o.account_id AND p.operator_id = o.id"
_IS_THERE = "p.status = 'available' AND p.seen_at > :since"


class OperatorPresence(msgspec.Struct, frozen=True):
    """`status` and `seen_at` are None of an operator who never opened a page."""

    operator_id: str
    handle: str
    name: str
    status: str | None
    seen_at: int | None


async def see(tx: Tx, account_id: str, operator_id: str, *, now_us: int, gone_us: int, status: str | None = None) -> bool:
    """They are there now. Who chooses no `status` keeps theirs, and is available at first.

    Whether others see a difference: it is another status, or they were last seen at `gone_us` or before.
    """
    row = await tx.one(
        "SELECT status, seen_at FROM presence WHERE account_id = :account_id AND operator_id = :operator_id",
        account_id=account_id,
        operator_id=operator_id,
    )
    await tx.run(
        "INSERT INTO presence (account_id, operator_id, status, seen_at) "
        "VALUES (:account_id, :operator_id, coalesce(CAST(:status AS TEXT), 'available'), :now_us) "
        "ON CONFLICT (account_id, operator_id) DO UPDATE SET status = coalesce(CAST(:status AS TEXT), presence.status), "
        "seen_at = greatest(presence.seen_at, :now_us)",
        account_id=account_id,
        operator_id=operator_id,
        status=status,
        now_us=now_us,
    )
    return row is None or status not in (None, row[0]) or row[1] <= gone_us


async def list_operators(reader: Reader, account_id: str) -> list[OperatorPresence]:
    """Those of the account who can sign in, by handle."""
    rows = await reader.all(
        f"SELECT o.id, o.handle, o.name, p.status, p.seen_at {_WITH_PRESENCE} WHERE o.account_id = :account_id "
        "AND o.disabled_at IS NULL AND o.role <> 'deleted' ORDER BY o.handle",
        account_id=account_id,
    )
    return [OperatorPresence(*row) for row in rows]


async def count(reader: Reader, account_id: str, chatbot_id: str, *, since: int) -> tuple[int, int]:
    """How many operators may answer in the chatbot; and how many of them are available and were seen after `since`."""
    row = await reader.one(
        f"SELECT count(*), count(CASE WHEN {_IS_THERE} THEN 1 END) {_WITH_PRESENCE} WHERE {_ANSWERS}",
        account_id=account_id,
        chatbot_id=chatbot_id,
        since=since,
    )
    assert row is not None
    return row[0], row[1]


async def list_who_answer(reader: Reader, account_id: str, chatbot_id: str) -> list[str]:
    """The ids of those operators."""
    rows = await reader.all(
        f"SELECT o.id FROM operators o WHERE {_ANSWERS} ORDER BY o.id", account_id=account_id, chatbot_id=chatbot_id
    )
    return [row[0] for row in rows]


async def find_address(reader: Reader, account_id: str, operator_id: str) -> str | None:
    """Where mail reaches an operator who can sign in."""
    row = await reader.one(
        "SELECT email FROM operators WHERE account_id = :account_id AND id = :operator_id AND disabled_at IS NULL "
        "AND role <> 'deleted'",
        account_id=account_id,
        operator_id=operator_id,
    )
    return row[0] if row else None
