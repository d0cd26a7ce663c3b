"""Brings a store to the schema this version needs: numbered SQL files, each applied once, in one transaction.

Invariant: a migration that was released is never edited; a store that a newer version has migrated is refused.
"""

from __future__ import annotations

import re
from importlib import resources

from gigachat_server.clock import Clock
from gigachat_server.errors import SetupError
from gigachat_server.store.database import Database, Dialect, Tx

_FILE = re.compile(r"(\d{4})_\w+\.sql")


def migrations(dialect: Dialect) -> list[tuple[int, str, str]]:
    """Number, name and SQL of every migration of such a store, in order."""
    found = []
    for entry in resources.files("gigachat_server.store").joinpath("sql", dialect).iterdir():
        if match := _FILE.fullmatch(entry.name):
            found.append((int(match[1]), entry.name, entry.read_text(encoding="utf-8")))
    return sorted(found)


async def migrate(database: Database, clock: Clock) -> None:
    """Apply what is missing. Raises `SetupError` if the store is of a newer version."""
    known = migrations(database.dialect)

    async def prepare(tx: Tx) -> set[int]:
        await tx.run(
            "CREATE TABLE IF NOT EXISTS schema_migrations "
            "(number BIGINT PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL)"
        )
        return {row[0] for row in await tx.all("SELECT number FROM schema_migrations")}

    done = await database.transaction("migrate.prepare", prepare)
    if newer := done - {number for number, _, _ in known}:
        raise SetupError(
            f"The message store was last used by a newer gigachat (schema {max(newer)}; this knows {known[-1][0]}). "
            "Upgrade gigachat, or restore a backup."
        )
    for number, name, sql in known:
        if number in done:
            continue

        async def apply(tx: Tx, number: int = number, name: str = name, sql: str = sql) -> None:
            for statement in _statements(sql):
                await tx.run(statement)
            await tx.run(
                "INSERT INTO schema_migrations (number, name, applied_at) VALUES (:number, :name, :now_us)",
                number=number,
                name=name,
                now_us=clock(),
            )

        await database.transaction(f"migrate.{name}", apply)


def _statements(sql: str) -> list[str]:
    without_comments = "\n".join(line for line in sql.splitlines() if not line.lstrip().startswith("--"))
    return [part.strip() for part in without_comments.split(";\n") if part.strip(" ;\n")]
