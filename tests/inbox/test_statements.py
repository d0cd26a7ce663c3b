"""What the inbox asks of the store: an index serves it, and it costs as many statements for many chatbots as for one.

And what it costs those who do not use it: nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gigachat_server.access.operators import principal_of
from gigachat_server.access.principal import Principal, local_operator
from gigachat_server.ids import new_id
from gigachat_server.inbox.message_index import MessageIndex, chatbot_hash, hashes_of
from gigachat_server.inbox.overview import VIEWS, Rows
from gigachat_server.language.terms import terms
from gigachat_server.models.fake import ScriptedModel
from gigachat_server.records import Chatbot
from gigachat_server.store import message_texts
from gigachat_server.store.database import Statements, Tx
from gigachat_server.store.message_texts import IndexedMessage
from tests.harness import Api, gigachat
from tests.operators import add_operator
from tests.statements import Statement, recorded, scanned, used_indexes
from tests.turns import rows

ME = "eve"
TABLES = {"conversations", "messages", "message_texts"}  # which grow with what is said
INDEXES = {
    "conversations_assigned",
    "conversations_by_status",
    "conversations_by_time",
    "conversations_by_user",
    "conversations_of_operator",
    "conversations_snoozed",
    "conversations_unindexed",
    "conversations_waiting",
}
LOOPS = {"message-index", "snoozes", "unseen-proposals"}
FILTERS = (
    "", "status=open", "status=closed", "status=snoozed", "waiting=true", "assigned_to=eve", "assigned_to=", "user_id=u7",
    "controlled_by=human", "operator=eve", "handoff_requested=true", "sort=waiting", "sort=waiting&assigned_to=eve",
)  # fmt: skip


async def _eve(api: Api) -> Principal:
    found = principal_of(await add_operator(api.services, ME, "owner", chatbots={}))
    assert found is not None
    return found


async def _chatbots(api: Api) -> list[Chatbot]:
    return await api.services.chatbots.list(local_operator(api.services.account.id), after=None, limit=100)


# --- what a prompt costs ---


async def _cost(api: Api, chatbot: str) -> list[int]:
    """Of the first and the second prompt of a conversation, without what other work happens to be done meanwhile."""
    found = []
    for number in range(4):
        for _ in range(2):
            with recorded() as statements:
                await api.say(chatbot, "Hello", conversation=f"c{number}")
            found.append(len([each for each in statements if each.parameters.get("chatbot_id") == chatbot.rpartition("/")[2]]))
    return [min(found[::2]), min(found[1::2])]


async def test_a_prompt_costs_no_statement_for_an_inbox_that_is_not_used(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        await api.services.inbox_worker.aclose()
        assert await _cost(api, await api.chatbot()) == [7, 8], "and 8, as it recalls what was said"
        releasing = await api.chatbot(interception={"release_after_minutes": 5})
        assert await _cost(api, releasing) == [8, 9], "an operator may have fallen silent"


# --- what many chatbots cost ---


def _of_conversations(statements: list[Statement]) -> list[Statement]:
    return [each for each in statements if any(table in each.sql for table in TABLES)]


async def _least(work: Callable[[], Awaitable[Rows]]) -> int:
    """How many statements it is, without what other work happens to be done meanwhile."""
    counts = []
    for _ in range(4):
        with recorded() as statements:
            assert (await work()) is not None
        counts.append(len(_of_conversations(statements)))
    return min(counts)


async def test_lists_and_searches_cost_no_more_statements_for_more_chatbots(tmp_path: Path) -> None:
    async with gigachat(tmp_path, model=ScriptedModel(lambda _: ["Hi."])) as api:
        await api.services.inbox_worker.aclose()
        eve, costs = await _eve(api), list[list[int]]()
        for count in (2, 28):
            for number in range(count):
                path = await api.chatbot()
                await api.say(path, f"A zebra {number}", conversation=f"c{number}")
                await api.post(f"{path}/conversations/c{number}/handoff", {"note": ""})
            await MessageIndex(api.services.database).index_all()
            chatbots = await _chatbots(api)
            found = functools.partial(api.services.overview.found, eve, chatbots, "zebra", limit=50)
            assert len((await found()).listed) == len(chatbots)
            lists = [functools.partial(api.services.overview.rows, eve, chatbots, view, limit=50) for view in VIEWS]
            costs.append([await _least(each) for each in (found, *lists)])
        assert costs[0] == costs[1]


# --- how the store goes about it ---


async def _fill(api: Api, chatbots: list[str]) -> None:
    """Each with a thousand conversations, in every state."""
    conversations, messages = list[dict[str, object]](), list[dict[str, object]]()
    indexed = list[IndexedMessage]()
    for path in chatbots:
        chatbot_id = path.rpartition("/")[2]
        for number in range(1_000):
            at, name = 1_700_000_000_000_000 + number, f"c{number:04}"
            key: dict[str, Any] = {"chatbot_id": chatbot_id, "conversation_id": name}
            conversations.append(
                key
                | {
                    "user_id": f"u{number % 300}",
                    "at": at,
                    "controlled_by": (ME if number % 40 else "ben") if number % 20 == 0 else "bot",
                    "handoff": at if number % 25 == 0 else None,
                    "waiting": at if number % 25 == 0 else None,
                    "status": ("closed", "snoozed")[number % 2] if number % 3 else "open",
                    "snoozed": 2**52 if number % 3 and number % 2 else None,
                    "assigned": ME if number % 30 == 0 else None,
                    "indexed": 2 if number % 100 else 0,
                }
            )
            for seq, role in ((1, "user"), (2, "assistant")):
                message_id, text = new_id(), f"parcel {number % 50}"
                messages.append(key | {"seq": seq, "id": message_id, "role": role, "user": f"u{number % 300}", "text": text})
                words = (*hashes_of(terms(text, None)), chatbot_hash(chatbot_id))
                indexed.append(IndexedMessage(chatbot_id, message_id, name, role, f"u{number % 300}", at * 2 + seq, words))

    async def body(tx: Tx) -> None:
        await tx.run_many(
            "INSERT INTO conversations (chatbot_id, conversation_id, user_id, last_seq, last_at, controlled_by, created_at, "
            "handoff_requested_at, waiting_since, status, snoozed_until, assigned_to, last_message_seq, indexed_seq) VALUES "
            "(:chatbot_id, :conversation_id, :user_id, 2, :at, :controlled_by, :at, :handoff, :waiting, :status, :snoozed, "
            ":assigned, 2, :indexed)",
            conversations,
        )
        await tx.run_many(
            "INSERT INTO messages (chatbot_id, conversation_id, seq, id, role, user_id, name, content, status, metadata, "
            "sources, turn, created_at, updated_at) VALUES (:chatbot_id, :conversation_id, :seq, :id, :role, :user, '', :text, "
            "'completed', '{}', '[]', NULL, :seq, :seq)",
            messages,
        )
        for each in indexed[::3]:
            await message_texts.insert(tx, api.services.database.dialect, each)

    await api.services.database.transaction("test.fill", body)
    if api.services.database.dialect == "postgres":

        async def vacuum(statements: Statements) -> None:
            await statements.run("VACUUM ANALYZE")

        await api.services.database.apart(vacuum)


async def _use(api: Api, eve: Principal, path: str) -> list[Statement]:
    """All that is listed, searched, shown and waited for."""
    chatbots, overview = await _chatbots(api), api.services.overview
    chatbot = next(each for each in chatbots if each.id == path.rpartition("/")[2])
    with recorded() as statements:
        for each in FILTERS:
            reply = await api.get(f"{path}/conversations?limit=50&{each}")
            assert (reply.status, each, bool(reply.body)) == (200, each, True), reply.text
        for q in ("7", "parcel+7", "%22parcel+7%22", "7&role=user", "7&user_id=u7"):
            reply = await api.get(f"{path}/search?q={q}")
            assert reply.status == 200 and reply.body, reply.text
        for view in VIEWS:
            assert (await overview.rows(eve, chatbots, view, limit=50)).listed, view
        assert (await overview.found(eve, chatbots, "parcel 7", limit=50)).listed
        await overview.thread(eve, chatbot, "c0000", limit=50)
        await overview.now(eve, chatbot, "c0000", note_id=new_id())
        await api.get(f"{path}/conversations/c0000/proposals")
        await api.get(f"{path}/conversations/c0000/notes")
        assert (await api.call("PUT", f"{path}/conversations/c0000/read", {"seq": 1, "user_id": "u0"})).status < 300
        for loop in api.services.background.loops:
            if loop.name in LOOPS:
                await loop.body()
        await api.services.control.release_due()
        assert (await api.call("DELETE", f"{path}/conversations/c0001")).status == 204
        assert (await api.call("DELETE", f"{path}/users/u2")).status == 204
        await api.say(path, "Hello", conversation="c0000")
        await api.post(f"{path}/conversations/c0000/stop")
    return _of_conversations(statements)


@pytest.mark.slow
async def test_an_index_serves_all_that_the_inbox_asks(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        await api.services.inbox_worker.aclose()
        paths = [await api.chatbot() for _ in range(4)]
        await _fill(api, paths)
        used = {each.sql: each for each in await _use(api, await _eve(api), paths[0])}
        assert len(used) > 30
        read_whole = {sql: tables for sql, each in used.items() if (tables := await scanned(api, each) & TABLES)}
        assert read_whole == {}
        indexes = {sql: await used_indexes(api, each) for sql, each in used.items()}
        mine = [indexes[sql] for sql in used if "controlled_by = :me" in sql]
        assert len(mine) == 2
        assert all(each >= {"conversations_of_operator", "conversations_assigned"} for each in mine), mine
        every = set[str]().union(*indexes.values())
        if api.services.database.dialect == "sqlite":
            assert every >= INDEXES
            kept = await rows(api, "SELECT tbl_name, name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL")
            assert {name for table, name in kept if table in TABLES} <= every, "each costs every turn"
        else:
            assert every >= INDEXES | {"message_texts_by_word"}
        everything: dict[str, Any] = {"chatbot_id": paths[0].rpartition("/")[2]}
        assert await scanned(api, Statement("SELECT * FROM messages WHERE content <> :chatbot_id", everything)) == {"messages"}
