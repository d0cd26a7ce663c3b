"""What is deleted leaves no row behind: in any table that there is, whoever added it, on either store.

Idea: the tables are read from the schema. What the API can put there, it puts there; every other table gets a row that names
what is to be deleted in each column that can. Invariant: a table without a row fails, so a new one is looked at, too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from gigachat_server.clock import system_clock
from gigachat_server.store.database import Tx
from tests.access.people import People, people
from tests.harness import Api, gigachat, until
from tests.turns import rows

CONVERSATION, USER, EMAIL = "case-of-ann", "customer-ann-42", "ann.archer@example.com"
OTHER = "customer-bob-43"
# What the server itself has put there by then; of every other table, `_fill` makes a row.
MADE = {"conversations", "messages", "events", "message_texts", "documents", "chunks", "end_users", "user_sessions",
        "identity_keys", "widget_keys"}  # fmt: skip
# Columns that can name an end user, a conversation, or a prompt of it.
NAMING = {
    "conversation_id": CONVERSATION,
    "user_id": USER,
    "reader": USER,
    "who": USER,
    "policy": "user",  # of which a rate is
    "subject": USER,
    "principal": f"user:{USER}",
    "recipient": EMAIL,
    "ref": CONVERSATION,
}


async def _columns(api: Api) -> dict[str, dict[str, tuple[str, bool]]]:
    """By table and name: the type, and whether a row has to give it. Of the tables with a `chatbot_id` alone."""
    if api.services.database.is_shared:
        found = await rows(
            api,
            "SELECT table_name, column_name, data_type, is_nullable = 'NO' AND column_default IS NULL "
            "FROM information_schema.columns WHERE table_schema = 'public' AND is_identity = 'NO' AND is_generated = 'NEVER'",
        )
    else:
        found = await rows(
            api,
            'SELECT t.name, c.name, c.type, c."notnull" AND c.dflt_value IS NULL '
            "FROM sqlite_schema t, pragma_table_info(t.name) c "
            "WHERE t.type = 'table'",
        )
    tables: dict[str, dict[str, tuple[str, bool]]] = {}
    for table, column, kind, is_needed in found:
        tables.setdefault(table, {})[column] = (kind.lower(), bool(is_needed))
    return {table: columns for table, columns in tables.items() if "chatbot_id" in columns}


def _value(column: str, kind: str, named: dict[str, str]) -> Any:
    if column in named:
        return named[column]
    if "int" in kind:
        return 1
    return b"\0" * 4 if kind in ("blob", "bytea", "user-defined") else f"{column} of nothing"


async def _fill(api: Api, named: dict[str, str]) -> None:
    """A row in each table that has none of the chatbot yet."""
    for table, columns in (await _columns(api)).items():
        if table in MADE:
            continue
        row = {name: _value(name, kind, named) for name, (kind, is_needed) in columns.items() if is_needed or name in named}

        async def body(tx: Tx, table: str = table, row: dict[str, Any] = row) -> None:
            given = ", ".join(f":{name}" for name in row)
            await tx.run(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({given}) ON CONFLICT DO NOTHING", **row)

        await api.services.database.transaction("test.fill", body)


async def _naming(api: Api, *names: str) -> dict[str, list[Any]]:
    """The rows that have one of these in them, by table."""
    found = {}
    for table in await _columns(api):
        held = [row for row in await rows(api, f"SELECT * FROM {table}") if any(name in str(row) for name in names)]
        if held:
            found[table] = held
    return found


async def _lived(shop: People, *, is_shared: bool) -> None:
    """A conversation with all that can be had of it."""
    api, here = shop.api, f"{shop.path}/conversations/{CONVERSATION}"
    await api.push(shop.path, "shipping", "Parcels ship on Monday.")
    for user in (USER, OTHER) if is_shared else (USER,):
        await api.say(shop.path, "Where is it?", conversation=CONVERSATION, user=user)
        await api.call("PATCH", f"{shop.path}/users/{user}", {"name": f"Name of {user}"}, key=shop.keeper)
    await api.call("PATCH", f"{shop.path}/users/{USER}", {"name": "Ann", "email": EMAIL}, key=shop.keeper)
    await shop.session(USER)
    await api.post(f"{here}/handoff", {"note": "n"})
    await api.post(f"{here}/takeover", {"operator": "eve"})
    await api.post(f"{here}/release")
    await api.say(shop.path, "And mine?", conversation="another", user=OTHER)

    async def is_indexed() -> bool:
        return len(await rows(api, "SELECT 1 FROM message_texts")) >= 4

    await until(is_indexed)
    (prompt, *_) = await rows(api, "SELECT id FROM messages WHERE user_id = :user ORDER BY seq", user=USER)
    await _fill(api, {**NAMING, "chatbot_id": shop.chatbot_id, "prompt_id": prompt[0]})


@pytest.mark.parametrize("what", ["a conversation", "an end user alone in it", "an end user among others", "a chatbot"])
async def test_what_is_deleted_is_named_by_no_row_of_any_table(tmp_path: Path, what: str) -> None:
    async with gigachat(tmp_path, clock=system_clock) as api:
        shop, other = await people(api), await people(api)
        await _lived(shop, is_shared=what == "an end user among others")
        tables = set(await _columns(api))
        before = await _naming(api, shop.chatbot_id)
        assert tables - before.keys() == set(), "each table has a row of the chatbot"
        assert len(tables) > 30 and tables >= MADE
        path = {"a conversation": f"/conversations/{quote(CONVERSATION)}", "a chatbot": ""}.get(what, f"/users/{USER}")
        assert (await shop.call("DELETE", path)).status == 204
        gone = {"a conversation": (CONVERSATION,), "a chatbot": (shop.chatbot_id, CONVERSATION, USER, EMAIL)}.get(
            what, (USER, EMAIL) if "others" in what else (USER, EMAIL, CONVERSATION)
        )
        assert await _naming(api, *gone) == {}
        audit = str(await rows(api, "SELECT * FROM audit"))
        assert [name for name in gone if name in audit and name != shop.chatbot_id] == []
        assert (await api.get(other.path)).status == 200
        if what != "a chatbot":
            assert len(await api.messages(shop.path, "another")) == 2, "what is another's stays"
