"""SQL of logins that are on their way to a provider of identities and back: each comes back once."""

from __future__ import annotations

from gigachat_server.store.database import Tx


async def insert(tx: Tx, state_sha256: bytes, *, next_page: str, expires_at: int) -> None:
    await tx.run(
        "INSERT INTO oidc_logins (state_sha256, next, expires_at) VALUES (:state_sha256, :next_page, :expires_at)",
        state_sha256=state_sha256,
        next_page=next_page,
        expires_at=expires_at,
    )


async def claim(tx: Tx, state_sha256: bytes, *, now_us: int) -> str | None:
    """The page to open afterwards, for one caller alone; None if there is no such login, or no more."""
    row = await tx.one(
        "DELETE FROM oidc_logins WHERE state_sha256 = :state_sha256 AND expires_at > :now_us RETURNING next",
        state_sha256=state_sha256,
        now_us=now_us,
    )
    return None if row is None else str(row[0])


async def delete_ended(tx: Tx, *, now_us: int) -> None:
    await tx.run("DELETE FROM oidc_logins WHERE expires_at <= :now_us", now_us=now_us)
