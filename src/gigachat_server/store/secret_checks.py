"""SQL of the check value: which secret the derived keys of this store come from."""

from __future__ import annotations

from gigachat_server.store.database import Reader, Tx

_NAME = "GIGACHAT_SECRET"


async def find(reader: Reader) -> str | None:
    row = await reader.one("SELECT check_value FROM secret_checks WHERE name = :name", name=_NAME)
    return row[0] if row else None


async def keep(tx: Tx, check_value: str, *, now_us: int) -> str:
    """The first one stays: the check value that the store has from now on."""
    await tx.run(
        "INSERT INTO secret_checks (name, check_value, created_at) VALUES (:name, :check_value, :now_us) "
        "ON CONFLICT (name) DO NOTHING",
        name=_NAME,
        check_value=check_value,
        now_us=now_us,
    )
    return await find(tx) or check_value
