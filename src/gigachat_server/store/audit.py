"""SQL of the audit log: who did what to what.

Invariant: an entry is written in the transaction of the act that it tells of, so neither is there without the other.
"""

from __future__ import annotations

from typing import Any

from gigachat_server.ids import new_id
from gigachat_server.records import AuditEntry
from gigachat_server.store.database import Reader, Tx
from gigachat_server.store.json_columns import JsonColumn

_DETAIL: JsonColumn[dict[str, Any]] = JsonColumn("audit.detail", dict[str, Any], otherwise=dict)
_ERASED = "erased"
_ENTRY = "account_id, id, at, actor, action, target, detail"


async def add(
    tx: Tx, account_id: str, *, actor: str, action: str, target: str, now_us: int, detail: dict[str, Any] | None = None
) -> None:
    """`actor` is `Principal.actor`; `action` is a noun and a participle, such as `widget_key.created`; `target` names whose id
    it is, such as `chatbot:8fb2...`. `detail` holds no secret and no words of end users."""
    await tx.run(
        f"INSERT INTO audit ({_ENTRY}) VALUES (:account_id, :id, :at, :actor, :action, :target, :detail)",
        account_id=account_id,
        id=new_id(),
        at=now_us,
        actor=actor,
        action=action,
        target=target,
        detail=None if detail is None else _DETAIL.write(detail),
    )


async def list_entries(reader: Reader, account_id: str, *, before: tuple[int, str] | None, limit: int) -> list[AuditEntry]:
    """The newest first. `before`: the time and the id of the last entry that the caller has."""
    at, entry_id = before or (2**62, "")
    rows = await reader.all(
        f"SELECT {_ENTRY} FROM audit WHERE account_id = :account_id AND (at, id) < (:at, :entry_id) "
        "ORDER BY at DESC, id DESC LIMIT :limit",
        account_id=account_id,
        at=at,
        entry_id=entry_id,
        limit=limit,
    )
    return [AuditEntry(*(*row[:6], _DETAIL.read(row[6], row[1]) if row[6] is not None else None)) for row in rows]


async def forget_target(tx: Tx, account_id: str, target: str) -> None:
    """What was done stays, but not to whom: the target was erased."""
    await tx.run(
        "UPDATE audit SET target = :erased WHERE account_id = :account_id AND target = :target",
        account_id=account_id,
        target=target,
        erased=f"{target.partition(' ')[0]} {_ERASED}",
    )


async def forget_targets(tx: Tx, account_id: str, prefix: str) -> None:
    """The same for all whose name begins so: up to and with a space, behind which an id stands."""
    await tx.run(
        "UPDATE audit SET target = :erased WHERE account_id = :account_id AND target > :prefix AND target < :behind",
        account_id=account_id,
        prefix=prefix,
        behind=prefix[:-1] + chr(ord(prefix[-1]) + 1),
        erased=f"{prefix}{_ERASED}",
    )


async def delete_before(tx: Tx, before_us: int) -> int:
    """What is older is forgotten; how many entries that were."""
    return await tx.run("DELETE FROM audit WHERE at < :before_us", before_us=before_us)
