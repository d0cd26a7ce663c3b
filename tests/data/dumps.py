"""What a store holds, as text that is the same for the same data: read past gigachat, by each database's own means."""

from __future__ import annotations

import asyncio
import json
import struct
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import asyncpg

TABLES = {
    "accounts": "id",
    "api_keys": "id",
    "chatbots": "id",
    "documents": "chatbot_id, id",
    "chunks": "chatbot_id, document_id, number",
    "units": "chatbot_id, document_id, number",
    "uploads": "chatbot_id, id, number",
    "made_embeddings": "chatbot_id, document_id, text_sha256",
    "conversations": "chatbot_id, conversation_id",
    "messages": "chatbot_id, conversation_id, seq",
    "drafts": "chatbot_id, conversation_id, prompt_id, alternative",
    "events": "chatbot_id, conversation_id, seq",
    "idempotency": "chatbot_id, principal, route, key",
    "sites": "chatbot_id, id",
    "site_pages": "chatbot_id, site_id, url",
    "unanswered": "chatbot_id, prompt_id",
    "fixed_answers": "chatbot_id, id",
    "fixed_answer_prompts": "chatbot_id, fixed_answer_id, number",
    "identity_keys": "chatbot_id, id",
    "widget_keys": "chatbot_id, id",
    "user_sessions": "chatbot_id, id",
    "end_users": "chatbot_id, user_id",
    "rates": "chatbot_id, policy, subject",
    "budgets": "chatbot_id, day, kind",
    "operators": "id",
    "memberships": "chatbot_id, operator_id",
    "operator_sessions": "id_sha256",
    "one_time_tokens": "token_sha256",
    "oidc_logins": "state_sha256",
    "audit": "account_id, id",
    "notes": "chatbot_id, conversation_id, id",
    "proposals": "chatbot_id, conversation_id, id",
    "canned_replies": "chatbot_id, id",
    "presence": "account_id, operator_id",
    "mails": "chatbot_id, id",
    "figures": "chatbot_id, day, name, dimension",
    "figure_days": "chatbot_id",
    "read_marks": "chatbot_id, conversation_id, reader",
    "typing": "chatbot_id, conversation_id, who",
    "ratings": "chatbot_id, conversation_id, closed_seq",
    "secret_checks": "name",
}
# What tells up to where something derived was made.
DERIVED = "indexed_seq"


def dump(store: Path | str) -> list[str]:
    """A line a row; in whatever order. `store` is a folder, a backup, or a URL."""
    rows = asyncio.run(_of_postgres(store)) if isinstance(store, str) else _of_sqlite(store)
    return sorted(json.dumps([table, row], sort_keys=True) for table, row in rows)


def _of_sqlite(store: Path) -> list[tuple[str, dict[str, Any]]]:
    file = store / "gigachat.sqlite3" if store.is_dir() else store
    found = []
    with closing(apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
        there = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema")}
        for table in TABLES.keys() & there:  # a store of an earlier version has fewer
            cursor = connection.execute(f"SELECT * FROM {table}")
            for row in cursor:
                names = [column[0] for column in cursor.description]
                found.append(
                    (table, {name: _plain(name, value) for name, value in zip(names, row, strict=True) if name != DERIVED})
                )
    return found


def _plain(name: str, value: Any) -> Any:
    if name == "embedding" and value is not None:
        return [_bits(number) for number in struct.unpack(f"<{len(value) // 4}f", value)]
    return value.hex() if isinstance(value, bytes) else value


def _bits(number: float) -> str:
    return struct.pack(">f", number).hex()


async def _of_postgres(url: str) -> list[tuple[str, dict[str, Any]]]:
    connection = await asyncpg.connect(url)
    found = []
    for table in TABLES:
        columns = await connection.fetch(
            "SELECT attname, format_type(atttypid, NULL) AS type FROM pg_attribute "
            "WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''",
            table,
        )
        wanted = ", ".join(f"{name}::real[]" if type_ == "vector" else name for name, type_ in columns)
        for row in await connection.fetch(f"SELECT {wanted} FROM {table}"):
            found.append((table, {name: _plain_of_postgres(name, value) for name, value in row.items() if name != DERIVED}))
    await connection.close()
    return found


def _plain_of_postgres(name: str, value: Any) -> Any:
    return [_bits(number) for number in value] if isinstance(value, list) else _plain(name, value)
