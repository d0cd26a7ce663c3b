"""A store that a later version has written into: everything in it is served, and nothing of it is lost by what this one writes.

A later version's rows are those of this one with more: fields at every depth, values of enumerations that this one does not
know, and values beyond its limits. The tests put them there with SQL, as another node on the same store would.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from gigachat_server.clock import system_clock
from gigachat_server.ids import new_id
from gigachat_server.models.fake import Pause, ScriptedModel
from gigachat_server.pages.views import view
from gigachat_server.records import Message
from gigachat_server.store.database import Reader, Tx
from gigachat_server.store.keys import list_keys
from tests.cli.commands import Gigachat
from tests.data.dumps import dump
from tests.data.filled import fill_folder
from tests.harness import Api, gigachat
from tests.streams import streaming
from tests.test_recovery import keep_drafts, killed
from tests.test_recovery import later as later_clock
from tests.turns import answering, ask, asking_held, assert_at_rest, contents, rows, told, until_settled

ASKED = "When does the shop open?"
MORE = {"kept": [1, 2.50, None, {"deep": "ä"}], "by": "a later version"}
KEYS = {
    "chatbots": ("id",),
    "api_keys": ("id",),
    "documents": ("chatbot_id", "id"),
    "messages": ("chatbot_id", "id"),
    "drafts": ("chatbot_id", "message_id"),
    "events": ("chatbot_id", "conversation_id", "seq"),
    "sites": ("chatbot_id", "id"),
}
COLUMNS = [
    ("chatbots", "config"),
    ("messages", "metadata"),
    ("messages", "sources"),
    ("messages", "citations"),
    ("messages", "feedback"),
    ("events", "data"),
    ("documents", "warnings"),
]
Snapshot = dict[tuple[Any, ...], Any]


async def write(api: Api, sql: str, **parameters: Any) -> None:
    """As another node would."""
    found = await rows(api, "SELECT id FROM chatbots")

    async def body(tx: Tx) -> None:
        await tx.run(sql, **parameters)
        for (chatbot_id,) in found:
            tx.forget(f"chatbot {chatbot_id}")

    await api.services.database.transaction("test.write", body)


async def snapshot(api: Api, columns: list[tuple[str, str]] = COLUMNS) -> Snapshot:
    """What each JSON column of each row holds."""
    found: Snapshot = {}
    for table, column in columns:
        names = ", ".join(KEYS[table])
        for *key, text in await rows(api, f"SELECT {names}, {column} FROM {table} WHERE {column} IS NOT NULL"):
            found[table, column, *key] = json.loads(text)
    return found


async def grow(api: Api, columns: list[tuple[str, str]] = COLUMNS) -> Snapshot:
    """Have every object in these columns hold a field that this version does not know; what they hold then."""
    for (table, column, *key), value in (await snapshot(api, columns)).items():
        which = " AND ".join(f"{name} = :{name}" for name in KEYS[table])
        named = dict(zip(KEYS[table], key, strict=True))
        await write(api, f"UPDATE {table} SET {column} = :value WHERE {which}", value=json.dumps(with_more(value)), **named)
    return await snapshot(api, columns)


def with_more(value: Any) -> Any:
    if isinstance(value, list):
        return [with_more(each) for each in value]
    if isinstance(value, dict):
        return {**{name: with_more(each) for name, each in value.items()}, "later": MORE}
    return value


def holds(after: Any, before: Any) -> bool:
    """Whether all of it is there; in objects there may be more."""
    if isinstance(before, dict):
        return isinstance(after, dict) and all(name in after and holds(after[name], each) for name, each in before.items())
    return bool(after == before)


def lost(before: Snapshot, after: Snapshot) -> list[tuple[Any, ...]]:
    return [key for key, value in before.items() if not holds(after.get(key), value)]


OPENS = "The shop opens at nine [1]."


@asynccontextmanager
async def filled(folder: Path) -> AsyncIterator[tuple[Api, str]]:
    """A server with a chatbot that has documents and a conversation, in which a rated reply cites its source."""
    async with gigachat(folder, model=answering({ASKED: [OPENS]})) as api:
        yield api, await fill(api)


async def fill(api: Api) -> str:
    chatbot = await api.chatbot(documents={"results": {"match_threshold": 0.0}}, restrictions={"hostnames": ["www.example.com"]})
    await api.push(chatbot, "hours", "The shop opens at nine.")
    await api.push(chatbot, "dates", "31.12.2025 Ä")
    await write(api, "UPDATE documents SET warnings = :text", text='[{"code": "truncated", "count": 1, "where": "page 2"}]')
    (reply,) = await api.say(chatbot, ASKED)
    assert reply["citations"] and reply["sources"]
    await rate(api, chatbot, reply["id"], {"rating": "up", "text": "good"})
    return chatbot


async def rate(api: Api, chatbot: str, message_id: str, feedback: dict[str, Any], status: int = 200) -> None:
    given = await api.call("PUT", f"{chatbot}/conversations/c1/messages/{message_id}/feedback", feedback)
    assert given.status == status, given.text


async def everything(api: Api, chatbot: str) -> dict[str, Any]:
    """What the lists show, each whole, two items a page."""
    found = {"chatbots": await pages(api, "/chatbots")}
    for name in ("documents", "sites", "conversations", "unanswered", "fixed-answers"):
        found[name] = await pages(api, f"{chatbot}/{name}")
    for name in ("messages", "events"):
        found[name] = await pages(api, f"{chatbot}/conversations/c1/{name}")
    return found


async def pages(api: Api, path: str) -> list[Any]:
    found, following = [], f"{path}?limit=2"
    while following:
        reply = await api.get(following)
        assert reply.status == 200, reply.text
        found += reply.body
        following = reply.headers["Link"].partition(">")[0][1:].removeprefix(api.url) if "Link" in reply.headers else ""
    return found


async def test_a_chatbot_with_one_more_field_is_listed_and_answers(tmp_path: Path) -> None:
    async with filled(tmp_path) as (api, chatbot):
        before = (await api.get(chatbot)).body
        await write(
            api, "UPDATE chatbots SET config = :config", config=json.dumps({"voice": True, **_config(before), "later": MORE})
        )
        assert (await api.get("/chatbots")).body == [before]
        assert (await api.get(chatbot)).body == before
        assert contents(await ask(api, chatbot, "and now?")) == ["re: and now?"]


def _config(shown: dict[str, Any]) -> dict[str, Any]:
    return {name: shown[name] for name in ("response", "restrictions", "documents", "interception")}


async def test_a_store_with_more_in_every_column_is_served_changed_and_loses_nothing(tmp_path: Path) -> None:
    async with filled(tmp_path) as (api, chatbot):
        shown = await everything(api, chatbot)
        before = await grow(api)
        assert {key[:2] for key in before} == set(COLUMNS)
        await assert_shown(api, chatbot, shown)
        first = shown["messages"][1]
        assert (await api.call("PATCH", chatbot, {"name": "New", "response": {"temperature": 0.25}})).status == 200
        assert (await api.call("PATCH", chatbot, {"documents": {"results": {"match_count": 1}}})).body["name"] == "New"
        await rate(api, chatbot, first["id"], {"rating": "down"})
        assert contents(await ask(api, chatbot, ASKED)) == [OPENS]
        assert contents(await api.post(f"{chatbot}/conversations/c1/messages/{first['id']}/retry")) == [
            "The shop opens at nine [1]."
        ]
        assert (await api.post(f"{chatbot}/conversations/c1/takeover", {"operator": "eve"})).status == 200
        assert (await api.post(f"{chatbot}/conversations/c1/release")).status == 200
        await api.push(chatbot, "more", "It closes at six.")
        await assert_at_rest(api, chatbot)
        for key, value in before.items():  # what was changed on purpose
            if key[1] == "config":
                value["response"]["temperature"], value["documents"]["results"]["match_count"] = 0.25, 1
            if key[1] == "feedback":
                value["rating"], value["text"] = "down", ""
        assert lost(before, await snapshot(api)) == []
        assert (await api.get(chatbot)).body["response"]["temperature"] == 0.25


async def assert_shown(api: Api, chatbot: str, shown: dict[str, Any]) -> None:
    """The same as before; and no more of it than what the contract leaves open, which is metadata and data."""
    now = await everything(api, chatbot)
    for each in (*now["messages"], *(event[name] for event in now["events"] for name in ("message", "prompt"))):
        if each is not None:
            assert each["metadata"].pop("later") == MORE
            each["metadata"] = {name: without_more(value) for name, value in each["metadata"].items()}
    for event in now["events"]:
        assert event["data"].pop("later") == MORE
    assert now == shown


def without_more(value: Any) -> Any:
    return {name: without_more(each) for name, each in value.items() if name != "later"} if isinstance(value, dict) else value


async def test_what_a_later_version_stored_is_no_field_of_a_request(tmp_path: Path) -> None:
    async with filled(tmp_path) as (api, chatbot):
        await grow(api)
        for patch, field in [
            ({"later": MORE}, "later"),
            ({"response": {"later": MORE}}, "response.later"),
            ({"documents": {"results": {"later": MORE}}}, "documents.results.later"),
            ({"response": {"n": 9}}, "response.n"),
            ({"response": {"overlap": "steer"}}, "response.overlap"),
            ({"response": None}, "response"),
        ]:
            refused = await api.call("PATCH", chatbot, patch)
            assert (refused.status, refused.code, refused.fields) == (422, "invalid_request", {field})
        (_, reply, *_) = await api.messages(chatbot)
        await rate(api, chatbot, reply["id"], {"rating": "up", "later": MORE}, status=422)
        assert (await api.post("/chatbots", {"name": "b", "later": MORE})).fields == {"later"}


async def test_what_stands_beyond_todays_limits_stays_and_does_not_stand_in_the_way(tmp_path: Path) -> None:
    beyond = {
        "response": {"memory_size": 5000, "overlap": "steer", "omit": ["seed", "temperature"], "system_persona": "x" * 40_000},
        "restrictions": {"hostnames": [f"{number}.example" for number in range(150)]},
        "documents": {"text_splitter": {"chunk_size": 50_000, "chunk_overlap": 20_000}, "results": {"match_count": 500}},
        "interception": {"mode": "observe"},
    }
    async with filled(tmp_path) as (api, chatbot):
        await write(api, "UPDATE chatbots SET config = :config", config=json.dumps(beyond))
        (shown,) = (await api.get("/chatbots")).body
        response = shown["response"]
        assert (response["memory_size"], response["overlap"], response["omit"]) == (5000, "queue", ["temperature"])
        assert len(shown["restrictions"]["hostnames"]) == 150
        assert (await api.call("PATCH", chatbot, {"response": {"temperature": 0.4}})).status == 200
        assert (await api.call("PATCH", chatbot, {"name": "New"})).status == 200
        # As a form does that sends all it was shown, with something changed.
        response |= {"temperature": 0.5, "memory_size": 7, "system_persona": "Be kind."}
        form = {"response": response, "interception": shown["interception"]}
        assert (await api.call("PATCH", chatbot, form)).status == 200
        ((text,),) = await rows(api, "SELECT config FROM chatbots")
        stored = json.loads(text)
        assert (stored["response"]["overlap"], stored["response"]["omit"]) == ("steer", ["seed", "temperature"])
        assert (stored["response"]["memory_size"], stored["response"]["temperature"]) == (7, 0.5)
        assert stored["interception"]["mode"] == "observe"
        assert holds(stored, {name: beyond[name] for name in ("restrictions", "documents")})
        await api.push(chatbot, "long", "A word. " * 2000)
        assert contents(await ask(api, chatbot, ASKED)) == [OPENS]


@pytest.mark.parametrize(
    ("config", "is_closed"),
    [
        ("no json", True),
        ("[]", True),
        ("null", True),
        ('{"restrictions": ["www.example.com"]}', True),
        ('{"restrictions": {"hostnames": [{"name": "www.example.com"}]}}', True),
        ('{"restrictions": {"ip_addresses": ["country:DE"]}}', True),
        ('{"restrictions": {"countries": ["DE"]}}', False),
        ('{"response": {"n": "many", "fallback_models": {"a": 1}}, "documents": 7}', False),
    ],
)
async def test_a_chatbot_that_cannot_be_read_hides_no_other_and_lets_nobody_in_by_mistake(
    tmp_path: Path, config: str, is_closed: bool
) -> None:
    async with gigachat(tmp_path) as api:
        paths = [await api.chatbot(name=f"bot {number}") for number in range(5)]
        await write(api, "UPDATE chatbots SET config = :config WHERE id = :id", config=config, id=paths[2].rpartition("/")[2])
        assert [each["name"] for each in await pages(api, "/chatbots")] == [f"bot {number}" for number in (4, 3, 2, 1, 0)]
        assert [(await ask(api, path, ASKED)).status for path in paths] == [201, 201, 403 if is_closed else 201, 201, 201]
        assert (await api.get(paths[2])).status == 200
        assert (await api.call("PATCH", paths[2], {"restrictions": {"hostnames": [], "ip_addresses": []}})).status == 200
        assert (await ask(api, paths[2], ASKED)).status == 201
        assert (await api.call("DELETE", paths[2])).status == 204


# By table: what a later version may write there.
UNKNOWN = {
    "messages": [
        "turn = 'paused' WHERE role = 'user'",
        "status = 'redacted' WHERE role = 'assistant'",
        "role = 'program' WHERE role = 'assistant'",
        "turn = 'failed', error = 'budget_spent' WHERE role = 'user'",
        'feedback = \'{"rating": "five"}\' WHERE feedback IS NOT NULL',
        "feedback = '[5]' WHERE feedback IS NOT NULL",
        "metadata = '[]'",
        'metadata = \'{"abstained": "partly", "usage": 3}\'',
        "sources = '[{\"url\": \"https://a.example\"}]' WHERE role = 'assistant'",
        "sources = '{}' WHERE role = 'assistant'",
        "citations = '[{\"url\": \"https://a.example\"}]' WHERE role = 'assistant'",
        'citations = \'[{"number": 0, "start": 0, "end": 1, "marker_start": 0, "marker_end": 1}]\' WHERE role = \'assistant\'',
        'citations = \'[{"number": 9, "start": 0, "end": 1, "marker_start": 0, "marker_end": 1}]\' WHERE role = \'assistant\'',
    ],
    "events": [
        "type = 'message.translated' WHERE seq = 1",
        "type = 'turn.coalesced', data = '{}' WHERE seq = 2",
        "data = '[\"x\"]'",
    ],
    "documents": [
        "state = 'transcribing', progress = 40",
        "state = 'failed', error = 'too_quiet', reason = 'It cannot be heard.'",
        "language = 'tlh'",
        "language = 'tlh' WHERE name = 'dates'",
        'warnings = \'[{"code": "blurred", "count": 1, "where": ""}, "x"]\'',
        "warnings = '{}'",
    ],
    "sites": [
        "state = 'archived'",
        "kind = 'feed', depth = 99",
        'include = \'[{"pattern": "/a"}, "/b"]\', exclude = \'"/c"\'',
    ],
    "site_pages": [
        "state = 'delegated', kind = 'page'",
        "kind = 'feed'",
    ],
    "unanswered": [
        "state = 'assigned'",
        "reason = 'outdated'",
    ],
    "conversations": [
        "controlled_by = 'program:triage'",
    ],
}


@pytest.mark.parametrize("table", UNKNOWN)
async def test_values_that_this_version_does_not_know_break_no_list(tmp_path: Path, table: str) -> None:
    refusal = "Sorry, I don't know how to help with that."
    async with gigachat(tmp_path, model=answering({ASKED: [OPENS], "Is there life on Mars?": [refusal]})) as api:
        for changes in UNKNOWN[table]:
            chatbot = await fill(api)
            site_id = await crawled(api, chatbot)
            await api.say(chatbot, "Is there life on Mars?")
            before = await lengths(api, chatbot, site_id)
            assert before["unanswered"] == 1
            await write(api, f"UPDATE {table} SET {changes}")
            stored = await snapshot(api)
            now = await lengths(api, chatbot, site_id)
            # Of prompts that went unanswered the open ones are listed, and of a site its pages.
            for name in {"unanswered": ["unanswered"], "site_pages": ["pages"]}.get(table, []):
                now[name] = before[name]
            assert now == before, changes
            assert (await api.call("PATCH", f"{chatbot}/sites/{site_id}", {"recrawl_hours": 7})).status == 200
            for query in ("query=When%20does%20it%20open", "query=Wann&conversation_id=c1"):
                assert (await api.get(f"{chatbot}/retrieve?{query}")).status == 200, changes
            assert (await ask(api, chatbot, "and now?")).status == 201, changes
            if table == "events":  # which a retry looks through
                prompt, *_ = await api.messages(chatbot)
                assert (await api.post(f"{chatbot}/conversations/c1/messages/{prompt['id']}/retry")).status == 201, changes
            assert lost(stored, await snapshot(api)) == [], changes


async def lengths(api: Api, chatbot: str, site_id: str) -> dict[str, int]:
    listed = await everything(api, chatbot)
    return {
        **{name: len(items) for name, items in listed.items()},
        "pages": len(await pages(api, f"{chatbot}/sites/{site_id}/pages")),
    }


async def crawled(api: Api, chatbot: str) -> str:
    """A site with two pages, and nothing due; its id."""
    chatbot_id, site_id = chatbot.rpartition("/")[2], new_id()
    await write(
        api,
        "INSERT INTO sites (chatbot_id, id, url, kind, depth, max_pages, include, exclude, state, crawl, found, crawled_at, "
        "created_at, updated_at) VALUES (:chatbot_id, :id, 'https://a.example/', 'site', 2, 9, '[\"/a*\"]', '[]', 'ready', 1, 2, "
        "1, 1, 1)",
        chatbot_id=chatbot_id,
        id=site_id,
    )
    for number in range(2):
        await write(
            api,
            "INSERT INTO site_pages (chatbot_id, site_id, url, kind, crawl, depth, hops, place, state) VALUES "
            "(:chatbot_id, :site_id, :url, 'page', 1, 1, 0, 1, 'skipped')",
            chatbot_id=chatbot_id,
            site_id=site_id,
            url=f"https://a.example/{number}",
        )
    return site_id


def test_a_message_of_a_role_that_is_not_known_has_a_badge() -> None:
    message = Message(
        chatbot_id="b", conversation_id="c", seq=1, id="m", role="program", user_id="", name="Triage",  # type: ignore[arg-type]
        content="Hi", status="completed", in_reply_to=None, alternative=0, replaced_by=None, metadata={}, sources=(),
        created_at=1, updated_at=1,
    )  # fmt: skip
    assert (view(message).badge, view(message).speaker) == ("Program", "Triage")


async def test_patterns_of_a_site_that_cannot_be_read_stay(tmp_path: Path) -> None:
    async with filled(tmp_path) as (api, chatbot):
        await crawled(api, chatbot)
        include = '[{"pattern": "/a"}, "/b"]'
        await write(api, "UPDATE sites SET include = :include, depth = 99", include=include)
        (site,) = (await api.get(f"{chatbot}/sites")).body
        assert (site["include"], site["depth"]) == (["/b"], 99)
        assert (await api.call("PATCH", f"{chatbot}/sites/{site['id']}", {"recrawl_hours": 7, "exclude": ["/x"]})).status == 200
        assert await rows(api, "SELECT include, exclude, depth FROM sites") == [(include, '["/x"]', 99)]


async def test_what_no_model_may_see_yet_is_not_told_to_it(tmp_path: Path) -> None:
    """Such as notes among operators, which a later version may store as messages of a role of their own."""
    model = ScriptedModel(["Hi."])
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot()
        await api.say(chatbot, "one")
        await api.post(f"{chatbot}/conversations", {"conversation_id": "c1", "user_id": "client:eve", "prompt": "He is odd."})
        await write(api, "UPDATE messages SET role = 'note' WHERE role = 'operator'")
        await api.say(chatbot, "two")
        assert told(model.calls[-1]) == ["one", "Hi.", "two"]


async def test_scopes_of_a_later_version_are_kept_and_grant_nothing_else(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        _, secret = await api.services.key_ring.create(api.services.account.id, "other", scopes=("chatbots:read",))
        for stored, status in [('["inbox:read", "chatbots:read"]', 200), ('[{"scope": "chatbots:write"}]', 403), ("{}", 403)]:
            await write_key(api, secret[4:12], stored)
            assert (await api.get("/chatbots", key=secret)).status == status
            assert (await api.post("/chatbots", {"name": "b"}, key=secret)).status == 403

            async def read(reader: Reader) -> list[Any]:
                return list(await list_keys(reader, api.services.account.id, before=None, limit=10))

            assert len(await api.services.database.read(read)) == 2
            assert await rows(api, "SELECT scopes FROM api_keys WHERE name = 'other'") == [(stored,)]


async def write_key(api: Api, key_id: str, scopes: str) -> None:
    async def body(tx: Tx) -> None:
        await tx.run("UPDATE api_keys SET scopes = :scopes WHERE id = :id", scopes=scopes, id=key_id)
        tx.forget(f"key {key_id}")

    await api.services.database.transaction("test.write", body)


async def test_a_draft_of_a_later_version_becomes_a_message_with_all_it_holds(tmp_path: Path) -> None:
    pause, folder = Pause(), tmp_path / "first"
    async with gigachat(folder, model=answering({ASKED: [OPENS, " ", pause]})) as api:
        chatbot = await api.chatbot(documents={"results": {"match_threshold": 0.0}})
        await api.push(chatbot, "hours", "The shop opens at nine.")
        asked = await asking_held(api, chatbot, pause, ASKED)
        assert await keep_drafts(api) == 1
        cited = '[{"number": 1, "start": 0, "end": 5, "marker_start": 24, "marker_end": 27}, {"url": "https://a.example"}]'
        await write(api, "UPDATE drafts SET citations = :cited", cited=cited)
        before = await grow(api, [("drafts", "metadata"), ("drafts", "sources"), ("drafts", "citations")])
        key, left = api.key, killed(folder, "second")
        pause.resume()
        await asked
    async with gigachat(left, clock=later_clock(minutes=1)) as api:
        api.key = key
        await until_settled(api, chatbot)
        _, partial = await api.messages(chatbot)
        assert (partial["status"], len(partial["citations"]), len(partial["sources"])) == ("incomplete", 1, 1)
        after = await snapshot(api)
        for (_, column, chatbot_id, message_id), value in before.items():
            assert after["messages", column, chatbot_id, message_id] == value


async def test_warnings_of_a_later_version_outlast_building_the_document_anew(tmp_path: Path) -> None:
    """One node reads a file, another one embeds it."""
    async with filled(tmp_path) as (api, chatbot):
        await write(api, 'UPDATE documents SET places = \'[[0, 1, "Hours", "a later version"], {"at": 3}, [8, "ii"]]\'')
        before = await grow(api, [("documents", "warnings")])
        ((places,), _) = await rows(api, "SELECT places FROM documents ORDER BY id")
        splitter = {"documents": {"text_splitter": {"chunk_size": 60, "chunk_overlap": 0}}}
        assert (await api.call("PATCH", chatbot, splitter)).status == 200
        for document in (await api.get(f"{chatbot}/documents")).body:
            followed = await api.get(f"{chatbot}/documents/{document['id']}", headers={"Accept": "text/event-stream"})
            assert followed.events[-1][1]["state"] == "ready", followed.text
        assert await snapshot(api, [("documents", "warnings")]) == before
        assert [row[0] for row in await rows(api, "SELECT places FROM documents")] == [places] * 2


async def test_a_kept_answer_of_a_kind_that_is_not_known_is_not_done_twice(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot, headers = await api.chatbot(), {"Idempotency-Key": "k"}
        assert (await api.post(f"{chatbot}/documents", {"name": "a", "content": "x"}, headers=headers)).status == 201
        assert (await api.post("/chatbots", {"name": "b"}, headers=headers)).status == 201
        await grow_results(api)
        again = await api.post("/chatbots", {"name": "b"}, headers=headers)
        assert (again.status, again.body["name"]) == (201, "b")
        await write(api, "UPDATE idempotency SET kind = 'receipt', response = '{}'")
        for path, body in [(f"{chatbot}/documents", {"name": "a", "content": "x"}), ("/chatbots", {"name": "b"})]:
            assert 400 <= (await api.post(path, body, headers=headers)).status < 500
        assert (len(await pages(api, "/chatbots")), len(await pages(api, f"{chatbot}/documents"))) == (2, 1)


async def grow_results(api: Api) -> None:
    """A later version keeps more of what a request resulted in."""
    for route, response in await rows(api, "SELECT route, response FROM idempotency WHERE kind = 'result'"):
        grown = json.dumps(with_more(json.loads(response)))
        await write(api, "UPDATE idempotency SET response = :grown WHERE route = :route", grown=grown, route=route)


# --- copies ---

ODD = '{"later" : [1.50, 12345678901234567890123], "restrictions": 7}'


@pytest.mark.sqlite_only
def test_moves_and_backups_carry_what_this_version_does_not_know(tmp_path: Path, fresh_database: Callable[[], str]) -> None:
    there, url, back, file = tmp_path / "there", fresh_database(), tmp_path / "back", tmp_path / "backup.sqlite3"
    asyncio.run(fill_folder(there, messages=20, chunks=5))
    with closing(apsw.Connection(str(there / "gigachat.sqlite3"))) as connection:
        for table, column in (*COLUMNS, ("drafts", "sources"), ("sites", "include"), ("documents", "places")):
            connection.execute(f"UPDATE {table} SET {column} = ?", (ODD,))
        connection.execute("UPDATE messages SET turn = 'paused', role = 'program'")
        connection.execute("UPDATE documents SET state = 'transcribing', language = 'tlh'")
    before = dump(there)
    assert sum(json.dumps(ODD) in line for line in before) > 20
    command = Gigachat(tmp_path / "unused")
    command.output("move", there, url)
    command.output("move", url, f"sqlite://{back}")
    Gigachat(back).output("backup", file)
    assert (dump(url), dump(back), dump(file)) == (before, before, before)


# --- a cluster of two versions ---


@pytest.mark.postgres_only
async def test_nodes_of_two_versions_change_one_chatbot_and_nothing_is_lost(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as a, gigachat(tmp_path) as b:
        b.key = a.key
        chatbot = await a.chatbot(documents={"results": {"match_threshold": 0.0}})

        async def as_later_version(number: int) -> None:
            async def body(tx: Tx) -> None:
                row = await tx.one("SELECT config FROM chatbots FOR NO KEY UPDATE")
                assert row is not None
                config = json.loads(row[0])
                config["later"] = config.get("later", 0) + 1
                config["documents"]["results"].setdefault("boosts", {})[str(number)] = MORE
                await tx.run("UPDATE chatbots SET config = :config", config=json.dumps(config))

            await a.services.database.transaction("test.later", body)

        def patching(node: Api, patch: dict[str, Any]) -> Any:
            return node.call("PATCH", chatbot, patch)

        for number in range(8):
            results = await asyncio.gather(
                as_later_version(number),
                patching(a, {"response": {"temperature": number / 10}}),
                patching(b, {"documents": {"results": {"match_count": number + 1}}}),
                as_later_version(100 + number),
                patching(b, {"response": {"top_p": number / 10}}),
            )
            assert [each.status for each in results if each is not None] == [200] * 3
        ((text,),) = await rows(b, "SELECT config FROM chatbots")
        stored = json.loads(text)
        assert stored["later"] == 16
        assert stored["documents"]["results"]["boosts"] == {str(base + number): MORE for base in (0, 100) for number in range(8)}
        assert (stored["response"]["temperature"], stored["response"]["top_p"]) == (0.7, 0.7)
        assert stored["documents"]["results"]["match_count"] == 8
        assert (await a.get(chatbot)).body["documents"]["results"].keys().isdisjoint({"boosts"})


@pytest.mark.postgres_only
async def test_a_follower_gets_events_of_a_later_version_in_their_places(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as a, gigachat(tmp_path) as b:
        b.key = a.key
        chatbot = await a.chatbot()
        async with following_a_note(a, b, chatbot) as stream:
            await a.say(chatbot, "two")
            seen = await stream.read_until(lambda event: event.seq == 5)
            assert [event.seq for event in seen if event.name != "delta"] == [3, 4, 5]
            assert [(event.name, event.data["data"]) for event in seen if event.seq == 3] == [("note.created", {"note": MORE})]


@asynccontextmanager
async def following_a_note(a: Api, b: Api, chatbot: str) -> AsyncIterator[Any]:
    await a.say(chatbot, "one")
    async with streaming(b, f"{chatbot}/conversations/c1/events") as stream:
        await stream.read_until(lambda event: event.seq == 2)
        now_us = system_clock()

        async def body(tx: Tx) -> None:
            await tx.run("UPDATE conversations SET last_seq = 3, last_at = :now_us", now_us=now_us)
            await tx.run(
                "INSERT INTO events (chatbot_id, conversation_id, seq, type, data, created_at) "
                "VALUES (:chatbot_id, 'c1', 3, 'note.created', :data, :now_us)",
                chatbot_id=chatbot.rpartition("/")[2],
                data=json.dumps({"note": MORE}),
                now_us=now_us,
            )

        await a.services.database.transaction("test.later", body)
        a.services.database.tell(f"conversation {chatbot.rpartition('/')[2]} c1")
        yield stream
