"""SQL of budgets: what a chatbot's end users have used on a day (UTC), by kind of budget.

A day is its number since 1970. A row is locked first and added to afterwards, so what is read of it holds until the commit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gigachat_server.records import Spending
from gigachat_server.store.database import Reader, Tx

DAY_US = 86_400_000_000
_KEPT_DAYS = 62  # this month and the one before


async def lock(tx: Tx, chatbot_id: str, day: int, kinds: Sequence[str]) -> dict[str, Spending]:
    """What was used so far, by kind. `kinds` are sorted everywhere: no two transactions wait for each other."""
    rows = ", ".join(f"(:chatbot_id, :day, :kind_{n}, 0, 0)" for n in range(len(kinds)))
    found = await tx.all(
        f"INSERT INTO budgets AS b (chatbot_id, day, kind, turns, tokens) VALUES {rows} "
        "ON CONFLICT (chatbot_id, day, kind) DO UPDATE SET turns = b.turns RETURNING kind, turns, tokens",
        chatbot_id=chatbot_id,
        day=day,
        **{f"kind_{n}": kind for n, kind in enumerate(kinds)},
    )
    return {kind: Spending(turns, tokens) for kind, turns, tokens in found}


async def add(tx: Tx, chatbot_id: str, used: Mapping[tuple[int, str], Spending]) -> None:
    """Add to what was used, by day and kind; less than nothing gives back. A day that was forgotten stays so."""
    for day, kind in sorted(used, key=lambda each: (-each[0], each[1])):  # today's may be locked already
        spending = used[day, kind]
        await tx.run(
            "UPDATE budgets SET turns = greatest(turns + :turns, 0), tokens = greatest(tokens + :tokens, 0) "
            "WHERE chatbot_id = :chatbot_id AND day = :day AND kind = :kind",
            chatbot_id=chatbot_id,
            day=day,
            kind=kind,
            turns=spending.turns,
            tokens=spending.tokens,
        )


async def list_of_day(reader: Reader, chatbot_id: str, day: int) -> dict[str, Spending]:
    rows = await reader.all(
        "SELECT kind, turns, tokens FROM budgets WHERE chatbot_id = :chatbot_id AND day = :day", chatbot_id=chatbot_id, day=day
    )
    return {kind: Spending(turns, tokens) for kind, turns, tokens in rows}


async def delete_old(tx: Tx, *, now_us: int) -> None:
    """Forget the days before last month."""
    await tx.run("DELETE FROM budgets WHERE day < :oldest", oldest=now_us // DAY_US - _KEPT_DAYS)
