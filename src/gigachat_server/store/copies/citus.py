"""Spreads the store over the machines of a Citus cluster: every table below `chatbots` by its `chatbot_id`.

Idea: a turn touches one chatbot, and all rows of a chatbot have the same `chatbot_id`, which is in every key. So the tables
are distributed by it, colocated, and each statement of a turn goes to one machine. Accounts, keys, operators and chatbots are
few and wanted everywhere: each machine has them all.

Invariant: each table is seen to by one statement of its own, and what was seen to is left alone: an interrupted run is
repeated. Nothing here was tried on a real Citus: it is written against its documented functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gigachat_server.errors import SetupError
from gigachat_server.store.copies.copying import Table
from gigachat_server.store.copies.postgres_rows import PostgresRows

REFERENCE = (
    "accounts",
    "api_keys",
    "audit",
    "chatbots",
    "oidc_logins",
    "one_time_tokens",
    "operator_sessions",
    "operators",
    "presence",
    "secret_checks",
)
FIRST = "conversations"  # the one with which the others are colocated
_COLUMN = "chatbot_id"

_VERSION = "SELECT extversion FROM pg_extension WHERE extname = 'citus'"
# partmethod: h for one that is distributed by a hash, n for one that every machine has.
_DONE = "SELECT CAST(logicalrelid AS TEXT), CAST(partmethod AS TEXT) FROM pg_dist_partition"
# What every transaction relies on to see one row of its chatbot on one machine.
_KEYS = """
SELECT i.indrelid::regclass::text, i.indexrelid::regclass::text, a.attname
FROM pg_index i
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
WHERE i.indisunique AND i.indrelid = ANY(SELECT to_regclass(name) FROM unnest($1::text[]) AS name)
"""


def below_chatbots(tables: dict[str, Table]) -> list[str]:
    """The tables that are distributed, the one first with which the others go."""
    return sorted((name for name, table in tables.items() if _COLUMN in table.columns), key=lambda name: (name != FIRST, name))


async def distribute(connection: Any, tell: Callable[[str], None]) -> None:
    """Have every table in its place; says what was done. Raises `SetupError` where there is no Citus."""
    version = await connection.fetchval(_VERSION)
    if version is None:
        raise SetupError(
            "The extension citus is not in this database, so nothing was distributed: have an administrator install it on "
            "every machine, `CREATE EXTENSION citus` here, and add the workers with citus_add_node."
        )
    tables = await PostgresRows(connection).tables()
    distributed = below_chatbots(tables)
    await _refuse_other_keys(connection, distributed)
    done = {name.rpartition(".")[2].strip('"'): method for name, method in await connection.fetch(_DONE)}
    tell(f"Citus {version}")
    for name in REFERENCE:
        await _place(connection, tell, name, done.get(name), "n", "SELECT create_reference_table($1::text::regclass)", name)
    for name in distributed:
        how = "SELECT create_distributed_table($1::text::regclass, $2::text, colocate_with => $3::text)"
        await _place(connection, tell, name, done.get(name), "h", how, name, _COLUMN, "none" if name == FIRST else FIRST)


async def _place(
    connection: Any, tell: Callable[[str], None], name: str, is_so: str | None, wanted: str, how: str, *arguments: str
) -> None:
    if is_so == wanted:
        tell(f"{name}: {'distributed' if wanted == 'h' else 'on every machine'} already")
        return
    if is_so is not None:
        raise SetupError(f"The table {name} is known to Citus as something else (partmethod {is_so}): undistribute it first.")
    await connection.execute(how, *arguments)
    tell(f"{name}: {'distributed by ' + _COLUMN if wanted == 'h' else 'on every machine'}")


async def _refuse_other_keys(connection: Any, names: list[str]) -> None:
    """A key that does not begin with the chatbot could not be held by one machine."""
    wrong = [key for _, key, column in await connection.fetch(_KEYS, names) if column != _COLUMN]
    if wrong:
        raise SetupError(f"These keys do not begin with {_COLUMN}, so their tables cannot be distributed: {', '.join(wrong)}.")
