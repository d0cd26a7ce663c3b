"""The store fits Citus: every key and every statement of a turn names the chatbot; and `gigachat migrate --citus`.

There is no Citus here. A stand-in records in which order its functions are called, and with what.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from gigachat_server.models.fake import ScriptedModel
from gigachat_server.store.copies.citus import REFERENCE
from gigachat_server.store.database import Database, Tx
from tests.cli.commands import Gigachat
from tests.data.dumps import TABLES
from tests.data.test_move import Databases, refused
from tests.fetching.canaries import SITE, Response, serving
from tests.harness import Api, gigachat

BELOW = sorted(set(TABLES) - set(REFERENCE))

# What does not name one chatbot, all of it work in the background, and why that is right on Citus.
OVER_ALL = (
    # Reads all shards; each document, and each conversation, is then taken by a statement that names its chatbot. The join is
    # of shards that lie together.
    "SELECT chatbot_id, id FROM documents WHERE state IN (",
    "SELECT chatbot_id, conversation_id FROM conversations WHERE release_at",
    "SELECT DISTINCT c.chatbot_id, c.conversation_id",
    # The same for sites to crawl.
    "SELECT chatbot_id, id FROM sites WHERE due_at <=",
    # Writes to all shards, at the start and every ten minutes; nothing in them is volatile, so Citus sends them everywhere.
    "UPDATE documents SET state = 'pending', error = NULL, reason = NULL, progress = 0, lease_until = 0 WHERE state = 'ready'",
    # The join is of shards that lie together.
    "DELETE FROM uploads WHERE created_at <",
    "DELETE FROM idempotency WHERE created_at <=",
    # Reads all shards; each conversation, or proposal, is then taken by a statement that names its chatbot.
    "SELECT chatbot_id, conversation_id, indexed_seq, last_message_seq FROM conversations WHERE indexed_seq <",
    "SELECT chatbot_id, conversation_id FROM conversations WHERE snoozed_until IS NOT NULL",
    "SELECT chatbot_id, conversation_id, id FROM proposals WHERE state = 'wanted'",
    # Reads the chatbots, which every machine has, and one row of each; the day is then claimed for one chatbot.
    "SELECT c.id FROM chatbots c LEFT JOIN figure_days f ON f.chatbot_id = c.id",
    # Likewise; the join is of shards that lie together.
    "SELECT p.chatbot_id, p.conversation_id, min(p.created_at) FROM proposals p JOIN conversations c",
    "UPDATE fixed_answer_prompts SET embedding = NULL, embedding_model = NULL WHERE embedding_model <>",
    # Reads all shards; each prompt is then written by a statement that names its chatbot.
    "SELECT chatbot_id, fixed_answer_id, number, content FROM fixed_answer_prompts WHERE embedding_model IS NULL",
)


# --- keys ---


async def _rows(url: str, sql: str, *arguments: Any) -> list[Any]:
    connection = await asyncpg.connect(url)
    try:
        return list(await connection.fetch(sql, *arguments))
    finally:
        await connection.close()


@pytest.mark.sqlite_only
def test_every_key_below_a_chatbot_begins_with_it(tmp_path: Path, fresh_database: Databases) -> None:
    url = fresh_database()
    Gigachat(tmp_path, database_url=url).output("migrate")
    keys = asyncio.run(
        _rows(
            url,
            "SELECT i.indrelid::regclass::text AS table, i.indexrelid::regclass::text AS key, i.indisprimary, a.attname AS first "
            "FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid AND c.relnamespace = 'public'::regnamespace "
            "JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] WHERE i.indisunique",
        )
    )
    of_chatbots = [key for key in keys if key["table"] not in (*REFERENCE, "schema_migrations")]
    assert {key["table"] for key in of_chatbots if key["indisprimary"]} >= set(BELOW)
    assert [key["key"] for key in of_chatbots if key["first"] != "chatbot_id"] == []
    defaults = asyncio.run(_rows(url, "SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef d JOIN pg_attribute a "
                                      "ON (a.attrelid, a.attnum) = (d.adrelid, d.adnum) AND a.attgenerated = ''"))  # fmt: skip
    assert [row[0] for row in defaults if "(" in row[0]] == [], "a default that is computed would be computed anew on each copy"


# --- statements ---


class Recorder:
    """What a store is asked, statement by statement."""

    def __init__(self, database: Database) -> None:
        self.statements: set[str] = set()
        for name in ("read", "transaction", "lookup"):
            setattr(database, name, self._recording(getattr(database, name)))

    def _recording(self, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        def recorded(*arguments: Any, **options: Any) -> Awaitable[Any]:
            *first, body = arguments

            async def told(tx: Tx) -> Any:
                return await body(_Told(tx, self.statements))

            return method(*first, told, **options)

        return recorded


class _Told:
    def __init__(self, tx: Tx, statements: set[str]) -> None:
        self._tx = tx
        self._statements = statements

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._tx, name)
        if name not in ("all", "one", "run", "run_many", "add"):
            return method

        def asked(sql: str, *arguments: Any, **parameters: Any) -> Any:
            self._statements.add(sql)
            return method(sql, *arguments, **parameters)

        return asked


def names_its_chatbot(sql: str) -> bool:
    """Whether it concerns the rows of one chatbot alone, if it concerns any of a distributed table."""
    concerned = [table for table in BELOW if re.search(rf"\b(FROM|JOIN|INTO|UPDATE) {table}\b", sql)]
    if not concerned:
        return True
    inserted = re.match(r"INSERT INTO \w+ \(chatbot_id, .*?(?:VALUES \(|SELECT ):chatbot_id, ", sql, re.DOTALL)
    return bool(inserted) or bool(re.search(r"WHERE (?:\w+ = .+? AND )?(?:\w+\.)?chatbot_id = :\w+", sql))


async def _everything(api: Api) -> None:
    """All that can be done in a conversation, and around it."""
    chatbot = await api.chatbot()
    await api.push(chatbot, "d", "Parcels ship on Monday.")
    (document,) = (await api.get(f"{chatbot}/documents")).body
    key = {"Idempotency-Key": "k1"}
    body = {"conversation_id": "c1", "user_id": "ann", "prompt": "Hello"}
    for _ in range(2):
        assert (await api.post(f"{chatbot}/conversations", body, headers=key)).status == 201
    (prompt, reply, *_) = await api.messages(chatbot)
    message = f"{chatbot}/conversations/c1/messages"
    assert (await api.post(f"{message}/{prompt['id']}/retry")).status == 201
    assert (await api.call("PUT", f"{message}/{reply['id']}/feedback", {"rating": "up"})).status == 200
    for action, sent in (("takeover", {"operator": "bob"}), ("release", None)):
        assert (await api.post(f"{chatbot}/conversations/c1/{action}", sent)).status == 200
    await api.say(chatbot, "I am here", user="client:eve")
    for path in ("", "/c1", "/c1/events", "/c1/messages"):
        assert (await api.get(f"{chatbot}/conversations{path}")).status in (200, 404)
    await api.say(chatbot, "again", conversation="c2", user="ann")
    fixed = {"prompts": ["Where is it?"], "answer": "Here."}
    made = (await api.post(f"{chatbot}/fixed-answers", fixed)).body["id"]
    await api.say(chatbot, "Where is it?", conversation="c2")
    for method in ("GET", "PUT", "DELETE"):
        assert (await api.call(method, f"{chatbot}/fixed-answers/{made}", fixed)).status in (200, 204)
    await api.services.fixed_answers.embed_waiting()
    for unknown, sent in (("Do you sell llamas?", {"answer": "No.", "as": "fixed_answer"}), ("And boats?", None)):
        await api.say(chatbot, unknown, conversation="c2")
        (group, *_) = (await api.get(f"{chatbot}/unanswered")).body
        path = f"{chatbot}/unanswered/{group['id']}/{'answer' if sent else 'dismiss'}"
        assert (await api.post(path, sent)).status in (200, 201)
    for wanted in ({}, {"unanswered": True}, {"conversation_ids": ["c2"]}):
        assert (await api.post(f"{chatbot}/replay", wanted)).status == 200
    for path in (f"{chatbot}/conversations/c1", f"{chatbot}/users/ann", f"{chatbot}/documents/{document['id']}"):
        assert (await api.call("DELETE", path)).status in (200, 204)


async def test_every_statement_of_a_turn_names_its_chatbot(tmp_path: Path) -> None:
    async with gigachat(tmp_path, model=ScriptedModel(["Hel", "lo."])) as api:
        recorder = Recorder(api.services.database)
        await _everything(api)
    assert len(recorder.statements) > 40
    over_all = sorted(sql for sql in recorder.statements if not names_its_chatbot(sql))
    assert [sql for sql in over_all if not sql.startswith(OVER_ALL)] == []


async def test_every_statement_of_a_crawl_names_its_chatbot(tmp_path: Path) -> None:
    pages = {
        "/": '<a href="/a"></a><a href="/b"></a>',
        "/a": "Parcels ship on Monday.",
        "/b": '<meta name=robots content="noindex">',
    }
    async with (
        serving(lambda request: Response(pages[request.path]) if request.path in pages else None) as site,
        gigachat(tmp_path, fetch_allow=SITE, fetch_ports="1-65535") as api,
    ):
        recorder = Recorder(api.services.database)
        chatbot = await api.chatbot()
        made = await api.post(f"{chatbot}/sites", {"url": site.url, "kind": "site"})
        path = made.headers["Location"]
        for _ in range(2):
            await api.get(path, headers={"Accept": "text/event-stream"})
            pages.pop("/a", None)
            assert (await api.post(f"{path}/crawl")).status == 202
        for below in (path, f"{path}/pages", f"{chatbot}/sites"):
            assert (await api.get(below)).status == 200
        assert (await api.call("PATCH", path, {"depth": 3})).status == 200
        assert (await api.call("DELETE", path)).status == 204
    assert sum(" site" in sql for sql in recorder.statements) > 20
    over_all = sorted(sql for sql in recorder.statements if not names_its_chatbot(sql))
    assert [sql for sql in over_all if not sql.startswith(OVER_ALL)] == []


async def test_what_runs_over_all_chatbots_is_known(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        recorder = Recorder(api.services.database)
        await api.services.lifecycle.recover()
        await api.services.lifecycle.forget()
        await api.services.control.release_due()
    over_all = {sql for sql in recorder.statements if not names_its_chatbot(sql)}
    assert over_all, "the check notices"
    assert [sql for sql in over_all if not sql.startswith(OVER_ALL)] == []


@pytest.mark.sqlite_only
def test_no_statement_does_what_citus_refuses() -> None:
    """A volatile function in an UPDATE; rows of several shards locked at once."""
    folder = Path(__file__).parents[2] / "src/gigachat_server/store"
    names = (
        "chatbots",
        "chunks",
        "conversations",
        "documents",
        "drafts",
        "events",
        "fixed_answers",
        "idempotency",
        "ingest_queue",
        "keys",
        "made_embeddings",
        "messages",
        "site_pages",
        "sites",
        "unanswered",
        "units",
        "uploads",
    )
    texts = {name: (folder / f"{name}.py").read_text() for name in names}
    assert [name for name, text in texts.items() if re.search(r"now\(\)|random\(\)|clock_timestamp|gen_random", text)] == []
    locking = [name for name, text in texts.items() if "SKIP LOCKED" in text]
    assert locking == ["drafts"], "and that one names its chatbot and conversation"


# --- the command ---

_STAND_IN = """
CREATE TABLE pg_dist_partition (logicalrelid regclass, partmethod "char");
CREATE TABLE called (number serial, call text);
CREATE FUNCTION create_reference_table(table_name regclass) RETURNS void LANGUAGE sql AS $$
    INSERT INTO called (call) VALUES (format('reference %s', table_name));
    INSERT INTO pg_dist_partition VALUES (table_name, 'n') $$;
CREATE FUNCTION create_distributed_table(table_name regclass, distribution_column text, distribution_type text DEFAULT 'hash',
    colocate_with text DEFAULT 'default') RETURNS void LANGUAGE sql AS $$
    INSERT INTO called (call) VALUES (format('%s by %s with %s', table_name, distribution_column, colocate_with));
    INSERT INTO pg_dist_partition VALUES (table_name, 'h') $$;
INSERT INTO pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)
    VALUES (99999, 'citus', 10, 11, false, '13.0-stand-in');
"""


async def _execute(url: str, sql: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(sql)
    await connection.close()


@pytest.mark.sqlite_only
def test_without_citus_it_says_so(tmp_path: Path, fresh_database: Databases) -> None:
    gigachat = Gigachat(tmp_path / "data", database_url=fresh_database())
    ended = gigachat.run("migrate", "--citus")
    assert ended.returncode == 1
    assert "The extension citus is not in this database" in ended.stderr
    assert "--citus is for a store on PostgreSQL" in refused(Gigachat(tmp_path / "data"), "migrate", "--citus")


@pytest.mark.sqlite_only
def test_every_table_is_placed_once_with_its_chatbot(tmp_path: Path, fresh_database: Databases) -> None:
    url = fresh_database()
    gigachat = Gigachat(tmp_path / "data", database_url=url)
    asyncio.run(_execute(url, _STAND_IN))
    told = gigachat.output("migrate", "--citus")
    assert "Citus 13.0-stand-in" in told
    calls = [row[0] for row in asyncio.run(_rows(url, "SELECT call FROM called ORDER BY number"))]
    first = [*(f"reference {name}" for name in REFERENCE), "conversations by chatbot_id with none"]
    assert calls[: len(first)] == first
    others = [name for name in BELOW if name != "conversations"]
    assert {f"{name} by chatbot_id with conversations" for name in others} <= set(calls[len(first) :])
    assert all(call.endswith(" by chatbot_id with conversations") for call in calls[len(first) :])
    asyncio.run(_execute(url, "DELETE FROM called; DELETE FROM pg_dist_partition WHERE logicalrelid = 'messages'::regclass"))
    assert "events: distributed already" in gigachat.output("migrate", "--citus")
    again = [row[0] for row in asyncio.run(_rows(url, "SELECT call FROM called"))]
    assert again == ["messages by chatbot_id with conversations"], "an interrupted run goes on"
    with gigachat.serving():
        assert "stop every node" in gigachat.run("migrate", "--citus").stderr
