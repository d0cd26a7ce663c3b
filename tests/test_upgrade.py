"""A store that an earlier version wrote: everything said in it is still there, and goes on."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gigachat_server.errors import SetupError
from gigachat_server.ids import new_id
from gigachat_server.models.embedders.hashing_embedder import HashingEmbedder
from gigachat_server.records import Source
from gigachat_server.store.engines.migrate import migrations
from tests.harness import gigachat
from tests.turns import answering, ask, assert_at_rest, contents, rows, told

AT = 1_700_000_000_000_000


def _insert(store: sqlite3.Connection, table: str, **columns: Any) -> None:
    names = ", ".join(columns)
    store.execute(f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(columns))})", list(columns.values()))


def first_schema(folder: Path) -> str:
    """A store of the first schema, with rows in every table; the path of its chatbot."""
    folder.mkdir(parents=True)
    store = sqlite3.connect(folder / "gigachat.sqlite3")
    store.execute("PRAGMA journal_mode = WAL")
    sql = resources.files("gigachat_server.store").joinpath("sql/sqlite/0001_start.sql").read_text(encoding="utf-8")
    store.executescript(sql)
    store.execute("CREATE TABLE schema_migrations (number BIGINT PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL)")
    _insert(store, "schema_migrations", number=1, name="0001_start.sql", applied_at=AT)
    account, chatbot, document, chunk = (new_id() for _ in range(4))
    _insert(store, "accounts", id=account, name="default", created_at=AT)
    _insert(
        store, "api_keys", id="abcdefgh", account_id=account, name="old", secret_sha256=bytes(32), last4="xxxx",
        scopes='["chatbots:read"]', created_at=AT,
    )  # fmt: skip
    _insert(
        store, "chatbots", id=chatbot, account_id=account, name="old bot", config='{"response": {"n": 2}}',
        knowledge_version=1, created_at=AT, updated_at=AT,
    )  # fmt: skip
    _insert(
        store, "documents", chatbot_id=chatbot, id=document, name="doc", content="Parcels ship on Monday.", content_sha256="x",
        state="ready", chunk_count=1, characters=23, embedding_model=HashingEmbedder().name, version=1, created_at=AT,
        updated_at=AT,
    )  # fmt: skip
    vector = asyncio.run(HashingEmbedder().embed_passages(["Parcels ship on Monday."]))[0].astype("<f4").tobytes()
    _insert(
        store, "chunks", chatbot_id=chatbot, document_id=document, number=0, id=chunk, content="Parcels ship on Monday.",
        line_from=1, line_to=1, stems="{}", embedding=vector, created_at=AT, updated_at=AT,
    )  # fmt: skip
    _insert(
        store, "conversations", chatbot_id=chatbot, conversation_id="c1", user_id="ann", last_seq=6, last_at=AT + 6,
        control_epoch=0, created_at=AT,
    )  # fmt: skip
    source = Source(
        id=chunk, document_id=document, document_name="doc", number=0, content="Parcels ship on Monday.", line_from=1, line_to=1,
        score=0.9, created_at=AT, updated_at=AT,
    )  # fmt: skip
    _messages(store, chatbot, source)
    _insert(store, "drafts", chatbot_id=chatbot, conversation_id="c1", message_id=new_id(), control_epoch=0, content="half")
    _insert(
        store, "idempotency", chatbot_id=chatbot, principal="p", route="r", key="k", fingerprint="f", state="done", created_at=AT
    )
    store.commit()
    store.close()
    return f"/chatbots/{chatbot}"


def _messages(store: sqlite3.Connection, chatbot: str, source: Source) -> None:
    prompt = new_id()
    said = [
        ("user", "When do parcels ship?", "completed", None, 0, prompt),
        ("assistant", "On Monday.", "completed", prompt, 0, None),
        ("assistant", "Mondays.", "completed", prompt, 1, None),
        ("operator", "I am here.", "completed", None, 0, None),
        ("user", "poison", "failed", None, 0, None),
        ("user", "unanswered", "completed", None, 0, None),
    ]
    for seq, (role, content, status, in_reply_to, alternative, message_id) in enumerate(said, start=1):
        sources = msgspec.json.encode([source]).decode() if role == "assistant" else "[]"
        _insert(
            store, "messages", chatbot_id=chatbot, conversation_id="c1", seq=seq, id=message_id or new_id(), role=role,
            user_id="client:eve" if role == "operator" else "ann", name={"operator": "eve", "assistant": "old bot"}.get(role, ""),
            content=content, status=status, in_reply_to=in_reply_to, alternative=alternative,
            metadata=json.dumps({"page": seq}), embedding=bytes(4 * 384) if role == "user" else None, created_at=AT + seq,
            updated_at=AT + seq, sources=sources,
        )  # fmt: skip
        _insert(
            store, "events", chatbot_id=chatbot, conversation_id="c1", seq=seq, type="message.created",
            data='{"message_id": "x"}', created_at=AT + seq,
        )  # fmt: skip


@pytest.mark.sqlite_only
def test_the_upgraded_store_keeps_every_message(tmp_path: Path) -> None:
    chatbot = first_schema(tmp_path / "store")

    async def upgraded() -> None:
        model = answering({})
        async with gigachat(tmp_path / "store", model=model) as api:
            stored = (await api.get(f"{chatbot}/conversations/c1/messages?limit=100&embedding=true")).body
            assert [(m["seq"], m["role"], m["content"], m["status"], m["turn"], m["alternative"]) for m in stored] == [
                (1, "user", "When do parcels ship?", "completed", "done", 0),
                (2, "assistant", "On Monday.", "completed", None, 0),
                (3, "assistant", "Mondays.", "completed", None, 1),
                (4, "operator", "I am here.", "completed", None, 0),
                (5, "user", "poison", "failed", "failed", 0),
                (6, "user", "unanswered", "completed", "done", 0),
            ]
            assert [m["metadata"]["page"] for m in stored] == [1, 2, 3, 4, 5, 6]
            assert stored[1]["in_reply_to"] == stored[0]["id"]
            assert stored[1]["sources"][0]["content"].endswith("Parcels ship on Monday.")
            assert stored[1]["sources"][0]["embedding"] is not None
            assert stored[0]["created_at"] == "2023-11-14T22:13:20.000001+00:00"
            assert (await api.get(chatbot)).body["response"]["n"] == 2
            kept = await rows(api, "SELECT length(embedding) FROM messages WHERE embedding IS NOT NULL")
            assert kept == [(4 * 384,)] * 3
            assert contents(await ask(api, chatbot, "and now?")) == ["re: and now?"] * 2
            assert told(model.calls[0])[:2] == ["When do parcels ship?", "On Monday."]
            failed = stored[4]
            retried = await api.post(f"{chatbot}/conversations/c1/messages/{failed['id']}/retry")
            assert contents(retried) == ["re: poison"] * 2
            await assert_at_rest(api, chatbot)
            assert [row[0] for row in await rows(api, "SELECT number FROM schema_migrations ORDER BY number")] == [
                migration.number for migration in migrations("sqlite")
            ]
        async with gigachat(tmp_path / "store") as api:
            assert len(await api.messages(chatbot)) == 11

    asyncio.run(asyncio.wait_for(upgraded(), 60))


async def test_a_store_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:

        async def body(tx: Any) -> None:
            await tx.run("INSERT INTO schema_migrations (number, name, applied_at) VALUES (9999, 'later', 0)")

        await api.services.database.transaction("test", body)
    with pytest.raises(SetupError, match="newer gigachat"):
        async with gigachat(tmp_path):
            pass
