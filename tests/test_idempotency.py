"""`Idempotency-Key`: a request that is sent again does nothing again, and is answered as it was."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import aiohttp
import pytest

from gigachat_server.access import keys
from gigachat_server.api.routes import ROUTES
from gigachat_server.errors import GigachatError, ModelInterrupted, ModelUnreachable, error_with_code
from gigachat_server.models.embedders.hashing_embedder import HashingEmbedder
from gigachat_server.models.fake import Pause, ScriptedModel
from gigachat_server.triggers import acting
from tests.access.people import keeper
from tests.harness import Api, Reply, gigachat, until
from tests.streams import prompt, streaming
from tests.turns import Clock, answering, ask, asking, asking_held, assert_at_rest, contents, queueing, rows

REPLAYED = "Idempotent-Replayed"


def without_ids(reply: Reply) -> dict[str, Any]:
    return {name: value for name, value in reply.body.items() if name not in ("request_id", "instance")}


async def post(api: Api, path: str, body: Any, idempotency_key: str, **options: Any) -> Reply:
    headers = {"Idempotency-Key": idempotency_key, **options.pop("headers", {})}
    return await api.post(path, body, headers=headers, **options)


GOOD = (200, 201, 202)
MAILING: dict[str, Any] = {"smtp_url": "smtp://127.0.0.1:9", "mail_from": "support@shop.example"}  # where no server listens
FETCHING: dict[str, Any] = {"fetch_allow": "127.0.0.0/8", "fetch_ports": "9"}


async def every_post(api: Api, chatbot: str, suffix: str) -> dict[str, tuple[str, Any, Any]]:
    """By route: a path, a body, and another body. What is written to is there."""
    await api.services.inbox_worker.aclose()  # what it makes comes when it comes
    conversation = f"{chatbot}/conversations/of-{suffix}"
    (reply,) = await api.say(chatbot, "Hello", conversation=f"of-{suffix}")
    prompt = {"conversation_id": f"new-{suffix}", "user_id": "ann", "prompt": "Hello"}
    said = {"id": f"ui-{suffix}", "message": {"role": "user", "parts": [{"type": "text", "text": "Hello"}]}}
    document = {"name": f"doc-{suffix}", "content": "Parcels ship on Monday."}
    refusing = await api.chatbot(documents={"results": {"when_nothing_matches": "refuse"}})
    for unknown in ("Do you sell llamas?", "Where are your offices?"):
        await api.say(refusing, unknown)
    offices, llamas = (await api.get(f"{refusing}/unanswered")).body
    answer = {"answer": "No.", "as": "fixed_answer"}
    fixed = {"prompts": ["When do you open?"], "answer": "At nine."}
    widget = {"name": "shop", "hostnames": ["www.example.com"]}
    page = {"url": f"http://127.0.0.1:9/{suffix}", "kind": "page"}  # where nobody listens
    reviewed = await api.chatbot(interception={"review": "all"})
    sent, discarded = [f"{reviewed}/conversations/{name}/proposals" for name in ("sent", "discarded")]
    for name in ("sent", "discarded"):
        await api.say(reviewed, "Hello", conversation=name)
    proposed = {path: (await api.get(path)).body[0]["id"] for path in (sent, discarded)}
    proposal = "/chatbots/{chatbot_id}/conversations/{conversation_id}/proposals/{proposal_id}"
    canned = {"shortcut": "hello", "content": "Good day."}
    crawled = (await api.post(f"{refusing}/sites", page)).body
    return {
        "/chatbots/{chatbot_id}/sites": (f"{chatbot}/sites", page, {**page, "kind": "site"}),
        "/chatbots/{chatbot_id}/sites/{site_id}/crawl": (f"{refusing}/sites/{crawled['id']}/crawl", None, None),
        "/chatbots/{chatbot_id}/fixed-answers": (f"{refusing}/fixed-answers", fixed, {**fixed, "answer": "At ten."}),
        "/chatbots/{chatbot_id}/unanswered/{prompt_id}/answer": (
            f"{refusing}/unanswered/{llamas['id']}/answer",
            answer,
            {**answer, "answer": "Yes."},
        ),
        "/chatbots/{chatbot_id}/unanswered/{prompt_id}/dismiss": (f"{refusing}/unanswered/{offices['id']}/dismiss", None, None),
        "/chatbots/{chatbot_id}/widget-keys": (f"{chatbot}/widget-keys", widget, {**widget, "name": "other"}),
        "/chatbots/{chatbot_id}/users/{user_id}/revoke": (f"{chatbot}/users/bob/revoke", {}, {"block": True}),
        "/chatbots": ("/chatbots", {"name": suffix}, {"name": "other"}),
        "/chatbots/{chatbot_id}/documents": (f"{chatbot}/documents", document, {**document, "content": "Other."}),
        "/chatbots/{chatbot_id}/ui": (f"{chatbot}/ui", said, {**said, "id": f"other-{suffix}"}),
        "/chatbots/{chatbot_id}/conversations": (f"{chatbot}/conversations", prompt, {**prompt, "prompt": "Other"}),
        "/chatbots/{chatbot_id}/canned-replies": (f"{chatbot}/canned-replies", canned, {**canned, "content": "Hello."}),
        "/chatbots/{chatbot_id}/conversations/{conversation_id}/notes": (
            f"{conversation}/notes",
            {"content": "A regular."},
            {"content": "Not seen before."},
        ),
        "/chatbots/{chatbot_id}/conversations/{conversation_id}/suggest": (f"{conversation}/suggest", None, None),
        f"{proposal}/send": (f"{sent}/{proposed[sent]}/send", {}, {"content": "Other."}),
        f"{proposal}/discard": (f"{discarded}/{proposed[discarded]}/discard", {}, {"operator": "eve"}),
        "/chatbots/{chatbot_id}/conversations/{conversation_id}/transcript": (
            f"{conversation}/transcript",
            {"email": "ann@example.com"},
            {"email": "bob@example.com"},
        ),
        "/chatbots/{chatbot_id}/conversations/{conversation_id}/stop": (f"{conversation}/stop", None, None),
        "/chatbots/{chatbot_id}/conversations/{conversation_id}/takeover": (
            f"{conversation}/takeover",
            {"operator": "eve"},
            {"operator": "eve", "force": True},
        ),
        "/chatbots/{chatbot_id}/conversations/{conversation_id}/release": (f"{conversation}/release", None, None),
        "/chatbots/{chatbot_id}/conversations/{conversation_id}/handoff": (f"{conversation}/handoff", {}, {"note": "x"}),
        "/chatbots/{chatbot_id}/conversations/{conversation_id}/messages/{message_id}/retry": (
            f"{conversation}/messages/{reply['id']}/retry",
            {},
            None,
        ),
    }


async def test_every_post_is_answered_again_as_it_was(tmp_path: Path) -> None:
    async with gigachat(tmp_path, **FETCHING, **MAILING) as api:
        chatbot, api.key = await api.chatbot(), await keeper(api)
        # Stop, release and handoff come before takeover, so that each does something of its own.
        routes = await every_post(api, chatbot, "1")
        expected = {r.path for r in ROUTES if r.is_idempotent and not r.is_openai}  # those are in tests/openai
        assert set(routes) == expected, "no route without a case"
        order = sorted(routes, key=lambda path: path.endswith(("takeover", "release")))
        for number, route in enumerate(order):
            path, body, other = routes[route]
            first = await post(api, path, body, f"key {number}")
            assert first.status in (200, 201, 202), (route, first.text)
            assert REPLAYED not in first.headers
            seen = await counts(api)
            again = await post(api, path, body, f"key {number}")
            assert (again.status, again.text) == (first.status, first.text), route
            assert again.headers[REPLAYED] == "true"
            assert again.headers.get("Location") == first.headers.get("Location"), route
            assert await counts(api) == seen, "nothing was done again"
            if other is not None:
                reused = await post(api, path, other, f"key {number}")
                assert (reused.status, reused.code) == (422, "idempotency_key_reused"), route
                assert await counts(api) == seen
            unkeyed = await api.post(path, body)
            once = ("/unanswered/", "/sites", "/proposals/", "/canned-replies")
            statuses = (409,) if any(f"{each} " in f"{route} " or (each[-1] == "/" and each in route) for each in once) else GOOD
            assert unkeyed.status in statuses and REPLAYED not in unkeyed.headers


async def counts(api: Api) -> list[Any]:
    tables = ("chatbots", "documents", "messages", "events", "conversations", "idempotency", "fixed_answers")
    return [await rows(api, f"SELECT count(*) FROM {table}") for table in tables]


async def test_the_same_request_at_once_is_carried_out_once(tmp_path: Path) -> None:
    model = answering({})
    async with gigachat(tmp_path, model=model, **FETCHING, **MAILING) as api:
        chatbot, api.key = await api.chatbot(), await keeper(api)
        routes = await every_post(api, chatbot, "1")
        calls = len(model.calls)
        for route in sorted(routes, key=lambda path: path.endswith(("takeover", "release"))):
            path, body, _ = routes[route]
            replies = await asyncio.gather(*(post(api, path, body, "one key") for _ in range(5)))
            assert len({(reply.status, reply.text) for reply in replies}) == 1, route
            assert replies[0].status in (200, 201, 202)
            assert sum(REPLAYED in reply.headers for reply in replies) == 4, route
        assert len(model.calls) == calls + 3, "one for each prompt, one for the retry"
        assert [len(r) for r in await asyncio.gather(*(rows(api, "SELECT * FROM documents") for _ in "a"))] == [1]


async def test_creating_a_key_ignores_the_header_since_its_answer_must_not_be_kept(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        _, keeper = await api.services.key_ring.create(api.services.account.id, "keeper", scopes=keys.SCOPES)
        made = [await post(api, "/api-keys", {"name": "x"}, "k", key=keeper) for _ in range(2)]
        assert [reply.status for reply in made] == [201, 201]
        assert made[0].body["key"] != made[1].body["key"]
        assert await rows(api, "SELECT * FROM idempotency") == []


# --- while it is being answered ---


async def test_a_repeated_prompt_attaches_to_the_running_answer(tmp_path: Path) -> None:
    pause = Pause()
    model = answering({"a": ["first ", pause, "second"]})
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot()
        first = await asking_held(api, chatbot, pause, "a", idempotency_key="k")
        as_json = asking(api, chatbot, "a", idempotency_key="k")
        as_stream = asking(api, chatbot, "a", idempotency_key="k", stream=True)

        async def is_watched() -> bool:
            return any(turn.speech._watchers for turn in api.services.turns._live)

        await until(is_watched)
        pause.resume()
        replies = [await first, await as_json]
        assert replies[0].text == replies[1].text
        assert [REPLAYED in reply.headers for reply in replies] == [False, True]
        seen = await as_stream
        assert seen.headers[REPLAYED] == "true"
        assert "".join(data["text"] for name, data in seen.events if name == "delta") == "first second", "from its first word"
        assert seen.events[-2] == ("message", replies[0].body[0])
        assert seen.events[0][1]["message_ids"] == [replies[0].body[0]["id"]]
        later = (await ask(api, chatbot, "a", idempotency_key="k", stream=True)).events
        assert [name for name, _ in later] == ["start", "message", "done"]
        assert len(model.calls) == 1
        assert len(await api.messages(chatbot)) == 2


@pytest.mark.parametrize(
    ("left_at", "again"),
    [("the delta", "second"), ("1.2", "rst second"), (None, "first second"), ("1.999", "first second"), ("a/b", "first second")],
)
async def test_a_stream_that_is_sent_again_goes_on_behind_what_came_last(tmp_path: Path, left_at: str | None, again: str) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=answering({"a": ["first ", pause, "second"]})) as api:
        path = await api.chatbot() + "/conversations"
        async with streaming(api, path, prompt("a"), idempotency_key="k", after="1.3") as first:
            *_, said = await first.read_until(lambda event: event.name == "delta")
            assert said.data["text"] == "first ", "what is sent for the first time has no part that the caller has"
            place = said.id if left_at == "the delta" else left_at
            async with streaming(api, path, prompt("a"), idempotency_key="k", after=place) as second:
                assert (started := await second.next()) is not None
                assert started.data["message_ids"] == [said.data["message_id"]]
                pause.resume()
                await second.read_all()
        assert second.texts() == again
        assert [seen.name for seen in second.seen][-2:] == ["message", "done"]
        assert second.seen[-2].data["content"] == "first second"


async def test_a_reply_that_is_made_again_comes_from_its_first_word(tmp_path: Path) -> None:
    async with gigachat(tmp_path, model=ScriptedModel(["first ", ModelInterrupted()], ["first and last"])) as api:
        path = await api.chatbot() + "/conversations"
        async with streaming(api, path, prompt("a"), idempotency_key="k") as first:
            deltas = [seen for seen in await first.read_all() if seen.name == "delta"]
            assert first.seen[-1].name == "error"
        async with streaming(api, path, prompt("a"), idempotency_key="k", after=deltas[-1].id) as second:
            await second.read_all()
        assert second.texts() == "first and last"


async def test_a_repeated_prompt_attaches_while_it_waits(tmp_path: Path) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=answering({"slow": [pause, "re: slow"]})) as api:
        chatbot = await api.chatbot()
        await asking_held(api, chatbot, pause, "slow")
        (second,) = await queueing(api, chatbot, "b", idempotency_key="k")
        again = [asking(api, chatbot, "b", idempotency_key="k") for _ in range(10)]
        pause.resume()
        assert {(await each).text for each in (second, *again)} == {(await second).text}
        assert contents(await second) == ["re: b"]


@pytest.mark.parametrize("stage", ["S2", "S5", "S8", "S9"])
async def test_a_bug_at_any_step_leaves_one_prompt_that_the_same_key_has_answered(tmp_path: Path, stage: str) -> None:
    async def fail() -> None:
        raise RuntimeError("a bug")

    async with gigachat(tmp_path, model=answering({})) as api:
        chatbot = await api.chatbot()
        with acting(stage, fail):
            assert (await ask(api, chatbot, "a", idempotency_key="k")).code == "internal_error"
        if stage == "S2":
            assert await rows(api, "SELECT * FROM idempotency") == [], "the key and the prompt are one transaction"
            assert (await api.get(f"{chatbot}/conversations/c1")).status == 404
        assert contents(await ask(api, chatbot, "a", idempotency_key="k")) == ["re: a"]
        kept = [m["content"] for m in await api.messages(chatbot) if m["replaced_by"] is None]
        assert kept == ["a", "re: a"], "what the bug had left of a reply stays readable behind the whole one"
        await assert_at_rest(api, chatbot)


@pytest.mark.parametrize("script", [[ModelUnreachable()], ["Half", ModelInterrupted()]])
async def test_a_failed_turn_is_run_again_for_the_same_prompt(tmp_path: Path, script: list[Any]) -> None:
    model = ScriptedModel(script, script, ["Whole"])
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot()
        for _ in range(2):
            assert (await ask(api, chatbot, "a", idempotency_key="k")).status == 502
        replies = await asyncio.gather(*(ask(api, chatbot, "a", idempotency_key="k") for _ in range(4)))
        assert [contents(reply) for reply in replies] == [["Whole"]] * 4
        assert len(model.calls) == 3
        found = await api.messages(chatbot)
        assert [m["content"] for m in found if m["role"] == "user"] == ["a"], "no second prompt"
        assert (found[0]["turn"], found[0]["status"], found[0]["error"]) == ("done", "completed", None)
        assert [m["content"] for m in found if m["role"] == "assistant" and m["replaced_by"] is None] == ["Whole"]
        await assert_at_rest(api, chatbot)


async def test_a_failed_turn_is_run_again_behind_the_one_that_runs_now(tmp_path: Path) -> None:
    pause = Pause()
    failing = True

    def play(model_input: Any) -> list[Any]:
        prompt = model_input.messages[-1].content
        if prompt == "a" and failing:
            return [ModelUnreachable()]
        return [pause, "re: slow"] if prompt == "slow" else [f"re: {prompt}"]

    model = ScriptedModel(play)
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot()
        assert (await ask(api, chatbot, "a", idempotency_key="k")).status == 502
        failing = False
        first = await asking_held(api, chatbot, pause, "slow")
        (again,) = await queueing(api, chatbot, "a", idempotency_key="k")
        pause.resume()
        assert contents(await first) == ["re: slow"]
        assert contents(await again) == ["re: a"]
        assert [m["content"] for m in await api.messages(chatbot)] == ["a", "slow", "re: slow", "re: a"]
        await assert_at_rest(api, chatbot)


# --- after it was answered ---


@pytest.mark.parametrize("ending", ["stop", "takeover", "interrupt"])
async def test_a_reply_that_was_ended_is_replayed_as_it_was_stored(tmp_path: Path, ending: str) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=answering({"a": ["half", pause, " more"]})) as api:
        chatbot = await api.chatbot(response={"overlap": "interrupt"})
        await api.push(chatbot, "doc", "a parcel")
        first = await asking_held(api, chatbot, pause, "a", idempotency_key="k")
        if ending == "interrupt":
            await ask(api, chatbot, "b")
        else:
            body = {"operator": "eve"} if ending == "takeover" else None
            assert (await api.post(f"{chatbot}/conversations/c1/{ending}", body)).status == 200
        (partial,) = (await first).body
        assert (partial["content"], partial["status"]) == ("half", "stopped")
        again = await ask(api, chatbot, "a", idempotency_key="k")
        assert (again.text, again.headers[REPLAYED]) == ((await first).text, "true")


async def test_replays_survive_a_restart(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        key = api.key
        await api.push(chatbot, "doc", "Parcels ship on Monday.")
        first = await ask(api, chatbot, "When do parcels ship?", idempotency_key="k")
        assert first.body[0]["sources"][0]["embedding"] is not None
        made = await post(api, "/chatbots", {"name": "x"}, "k")
    model = ScriptedModel(["Something else."])
    async with gigachat(tmp_path, model=model) as api:
        again = await ask(api, chatbot, "When do parcels ship?", idempotency_key="k", key=key)
        assert (again.status, again.text) == (201, first.text)
        assert (await post(api, "/chatbots", {"name": "x"}, "k", key=key)).text == made.text
        assert model.calls == []


async def test_after_a_retry_the_key_stands_for_the_newest_replies(tmp_path: Path) -> None:
    model = ScriptedModel(["one"], ["two"])
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot()
        (reply,) = (await ask(api, chatbot, "a", idempotency_key="k")).body
        path = f"{chatbot}/conversations/c1/messages/{reply['id']}/retry"
        retried = await post(api, path, {}, "r")
        assert contents(retried) == ["two"]
        assert (await post(api, path, {"stream": False}, "r")).text == retried.text
        assert (await ask(api, chatbot, "a", idempotency_key="k")).text == retried.text
        assert len(model.calls) == 2


async def test_what_was_deleted_is_not_found_again(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        await ask(api, chatbot, "a", idempotency_key="k")
        assert (await api.call("DELETE", f"{chatbot}/conversations/c1")).status == 204
        for stream in (False, True):
            gone = await ask(api, chatbot, "a", idempotency_key="k", stream=stream)
            assert (gone.status, gone.code) == (404, "not_found")
        (chunk,) = (await post(api, f"{chatbot}/documents", {"name": "d", "content": "x y"}, "k")).body
        assert (await api.call("DELETE", f"{chatbot}/documents/{chunk['document_id']}")).status == 204
        assert (await post(api, f"{chatbot}/documents", {"name": "d", "content": "x y"}, "k")).code == "not_found"
        assert (await api.call("DELETE", chatbot)).status == 204
        assert (await ask(api, chatbot, "a", idempotency_key="k")).code == "not_found"
        assert await rows(api, "SELECT * FROM idempotency") == []


async def test_keys_are_kept_for_a_day(tmp_path: Path) -> None:
    clock = Clock()
    async with gigachat(tmp_path, clock=clock) as api:
        chatbot = await api.chatbot()
        first = await ask(api, chatbot, "a", idempotency_key="k")
        made = await post(api, "/chatbots", {"name": "x"}, "k")
        clock.move(minutes=24 * 60 - 1)
        assert (await ask(api, chatbot, "a", idempotency_key="k")).text == first.text
        assert (await post(api, "/chatbots", {"name": "x"}, "k")).text == made.text
        clock.move(minutes=2)
        assert (await ask(api, chatbot, "something else", idempotency_key="k")).headers.get(REPLAYED) is None
        assert (await post(api, "/chatbots", {"name": "y"}, "k")).body["name"] == "y"
        assert len(await api.messages(chatbot)) == 4
        clock.move(minutes=24 * 60 + 1)
        await api.services.lifecycle.forget()
        assert await rows(api, "SELECT * FROM idempotency") == []


# --- what is kept: results, not answers ---


async def test_a_result_is_replayed_as_it_was_whatever_became_of_it(tmp_path: Path) -> None:
    async with gigachat(tmp_path, **FETCHING, **MAILING) as api:
        chatbot = await api.chatbot()
        routes = await every_post(api, chatbot, "1")
        conversation = f"{chatbot}/conversations/of-1"

        def below(suffix: str) -> str:
            return next(path for path, _, _ in routes.values() if path.endswith(suffix))

        async def first(path: str) -> Reply:
            body = next(body for wanted, body, _ in routes.values() if wanted == path)
            return await post(api, path, body, "k")

        made = {path: await first(path) for path in ("/chatbots", below("/fixed-answers"), below("/answer"))}
        made |= {path: await first(path) for path in (below("/sites"), below("/crawl"), below("/dismiss"))}
        made |= {path: await first(path) for path in (f"{conversation}/handoff", f"{conversation}/takeover")}
        assert {reply.status for reply in made.values()} <= {200, 201, 202}
        await api.call("PATCH", f"/chatbots/{made['/chatbots'].body['id']}", {"name": "another name"})
        fixed = below("/fixed-answers")
        changed = {"prompts": ["Other?"], "answer": "Other."}
        assert (await api.call("PUT", f"{fixed}/{made[fixed].body['id']}", changed)).status == 200
        of_group = made[below("/answer")].body["fixed_answer"]["id"]
        assert (await api.call("DELETE", f"{fixed}/{of_group}")).status == 204
        for site in (below("/sites"), below("/crawl").removesuffix("/crawl").rpartition("/")[0]):
            for each in (await api.get(site)).body:
                assert (await api.call("DELETE", f"{site}/{each['id']}")).status == 204
        assert (await post(api, f"{conversation}/release", None, "k")).status == 200
        for path, before in made.items():
            again = await first(path)
            assert (again.status, again.text, again.headers[REPLAYED]) == (before.status, before.text, "true"), path
        assert (await api.get(conversation)).body["controlled_by"] == "bot", "nothing was done again"


async def test_what_a_stop_stored_is_replayed_as_it_is_by_then(tmp_path: Path) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=answering({"a": ["half", pause, " more"]})) as api:
        chatbot = await api.chatbot()
        await api.push(chatbot, "doc", "a parcel")
        asked = await asking_held(api, chatbot, pause, "a")
        path = f"{chatbot}/conversations/c1/stop"
        first = await post(api, path, None, "k")
        assert contents(first) == ["half"]
        await asked
        assert (await post(api, path, None, "k")).text == first.text
        assert (await post(api, path, None, "none")).body == []
        assert (await post(api, path, None, "none")).headers[REPLAYED] == "true", "nothing stopped is a result, too"
        message = f"{chatbot}/conversations/c1/messages/{first.body[0]['id']}"
        await api.call("PUT", f"{message}/feedback", {"rating": "down"})
        assert (await post(api, path, None, "k")).body[0]["feedback"]["rating"] == "down"
        assert (await rows(api, "SELECT count(*) FROM idempotency WHERE response LIKE '%half%'")) == [(0,)], "ids alone"
        assert (await api.call("DELETE", f"{chatbot}/conversations/c1")).status == 204
        assert (await post(api, path, None, "k")).code == "not_found", "what was erased is not said again"


async def test_an_answer_that_the_version_before_kept_whole_is_replayed(tmp_path: Path) -> None:
    async with gigachat(tmp_path, **FETCHING, **MAILING) as api:
        chatbot, api.key = await api.chatbot(), await keeper(api)
        routes = await every_post(api, chatbot, "1")
        whole = '{"id":"x","kept":"by the version before"}'

        async def keep_whole(tx: Any) -> None:
            await tx.run("UPDATE idempotency SET kind = 'answer', status = 201, response = :whole", whole=whole)

        for path, body, other in routes.values():
            if path.endswith(("/conversations", "/ui", "/retry", "/documents")):
                continue  # of these the id was kept by that version, too
            await post(api, path, body, "k")
            await api.services.database.transaction("test", keep_whole)
            seen = await counts(api)
            again = await post(api, path, body, "k")
            assert (again.status, again.text, again.headers[REPLAYED]) == (201, whole, "true"), path
            if other is not None:
                assert (await post(api, path, other, "k")).code == "idempotency_key_reused"
            assert await counts(api) == seen


async def test_a_result_is_kept_in_a_form_that_later_versions_read(tmp_path: Path) -> None:
    """These rows are in stores: whoever changes what they hold makes them unreadable for a day."""
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        await api.say(chatbot, "Hello")
        taken = await post(api, f"{chatbot}/conversations/c1/takeover", {"operator": "eve"}, "k")
        ((principal, kind, kept),) = await rows(api, "SELECT principal, kind, response FROM idempotency")
        assert (principal, kind) == (api.key[4:12], "result")
        assert json.loads(kept) == {
            "chatbot_id": chatbot.removeprefix("/chatbots/"), "conversation_id": "c1", "user_id": "ann@example.com",
            "last_seq": 3, "last_at": json.loads(kept)["last_at"], "controlled_by": "eve", "control_epoch": 1,
            "release_at": None, "handoff_requested_at": None, "answering": None, "queued": 0,
            "created_at": json.loads(kept)["created_at"], "status": "open", "snoozed_until": None, "closed_at": None,
            "assigned_to": None, "waiting_since": None, "last_message_seq": 2,
        }  # fmt: skip

        async def add_field(tx: Any) -> None:
            later = json.dumps({**json.loads(kept), "of_a_later_version": True})
            await tx.run("UPDATE idempotency SET response = :later", later=later)

        await api.services.database.transaction("test", add_field)
        assert (await post(api, f"{chatbot}/conversations/c1/takeover", {"operator": "eve"}, "k")).text == taken.text


# --- scope ---


async def test_nobody_meets_the_key_of_another(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot, sibling = await api.chatbot(), await api.chatbot()
        _, second = await api.services.key_ring.create(api.services.account.id, "second")
        other = await api.services.key_ring.ensure_account("other")
        _, foreign = await api.services.key_ring.create(other.id, "foreign")
        theirs = f"/chatbots/{(await api.post('/chatbots', {'name': 'theirs'}, key=foreign)).body['id']}"
        first = await ask(api, chatbot, "a", idempotency_key="k")
        replies = [
            await ask(api, chatbot, "a", idempotency_key="k", key=second),
            await ask(api, sibling, "a", idempotency_key="k"),
            await ask(api, theirs, "a", idempotency_key="k", key=foreign),
            await ask(api, chatbot, "another body", idempotency_key="k", key=second, conversation="c2", user="bob"),
        ]
        assert [reply.status for reply in replies] == [201, 201, 201, 422], "a key is the caller's own"
        assert all(REPLAYED not in reply.headers for reply in replies)
        assert len({reply.text for reply in (first, *replies)}) == 5
        made = [await post(api, "/chatbots", {"name": "x"}, "k", key=key) for key in ("", second, foreign)]
        assert len({reply.body["id"] for reply in made}) == 3
        for name in ("c1", "c2"):
            await api.say(chatbot, "Hello", conversation=name)
            handed = await post(api, f"{chatbot}/conversations/{name}/handoff", {}, "k")
            assert handed.body["conversation_id"] == name, "another path is another route"
        refused = [
            await ask(api, theirs, "a", idempotency_key="k"),
            await ask(api, "/chatbots/01a204e3-15f7-77b1-9db6-d193b16a5979", "a", idempotency_key="k"),
        ]
        assert [reply.status for reply in refused] == [404, 404]
        assert without_ids(refused[0]) == without_ids(refused[1])


async def test_a_bad_key_is_refused_and_does_nothing(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        raw = json.dumps({"conversation_id": "c1", "user_id": "ann", "prompt": "a"}).encode()
        for key in ("", "   ", "x" * 256, "a\tb", "a\x7fb", "ü\x85"):
            headers = [b"POST %s/conversations HTTP/1.1" % chatbot.encode(), b"Host: x", b"Content-Type: application/json"]
            headers += [b"Authorization: Bearer " + api.key.encode(), b"Content-Length: %d" % len(raw), b"Connection: close"]
            headers.append(b"Idempotency-Key: " + key.encode("latin-1"))
            status = await speak(api, b"\r\n".join(headers) + b"\r\n\r\n" + raw)
            assert status == 422 or (key == "a\x7fb" and status == 400), repr(key)
        assert (await api.get(f"{chatbot}/conversations")).body == []
        assert (await ask(api, chatbot, "a", idempotency_key="x" * 255)).status == 201
        assert (await ask(api, chatbot, "a", idempotency_key="x" * 255)).headers[REPLAYED] == "true"


async def speak(api: Api, raw: bytes) -> int:
    """The status that bytes no client library would send are answered with."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(api.url.rpartition(":")[2]))
    writer.write(raw)
    line = await reader.readline()
    writer.close()
    return int(line.split()[1])


async def test_what_was_refused_is_not_kept(tmp_path: Path) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=answering({"slow": [pause, "re: slow"]})) as api:
        chatbot = await api.chatbot(response={"overlap": "reject"})
        assert (await ask(api, chatbot, "", idempotency_key="k")).status == 422
        assert (await ask(api, chatbot, "x", user="client:", idempotency_key="k")).status == 422
        assert (await ask(api, chatbot, "x", conversation="..", idempotency_key="k")).status == 422
        missing = f"{chatbot}/conversations/none"
        assert (await post(api, f"{missing}/stop", None, "k")).status == 404
        assert (await post(api, f"{missing}/release", None, "k")).status == 404
        assert (await post(api, f"{chatbot}/documents", {"name": "d", "content": " "}, "k")).status == 422
        first = await asking_held(api, chatbot, pause, "slow")
        assert (await ask(api, chatbot, "b", idempotency_key="k")).code == "conversation_busy"
        assert await rows(api, "SELECT * FROM idempotency") == []
        pause.resume()
        await first
        assert contents(await ask(api, chatbot, "b", idempotency_key="k")) == ["re: b"]
        await api.post(f"{chatbot}/conversations/c1/takeover", {"operator": "eve"})
        assert (await post(api, f"{chatbot}/conversations/c1/takeover", {"operator": "bob"}, "t")).status == 409
        prompt = (await api.messages(chatbot))[0]
        retry = f"{chatbot}/conversations/c1/messages/{prompt['id']}/retry"
        assert (await post(api, retry, None, "t")).code == "conversation_taken_over"
        await api.post(f"{chatbot}/conversations/c1/release")
        assert (await post(api, retry, None, "t")).status == 201
        assert (await post(api, f"{chatbot}/conversations/c1/takeover", {"operator": "bob"}, "t")).status == 200


async def test_how_the_answer_is_sent_makes_no_other_request(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        first = await ask(api, chatbot, "a", idempotency_key="k", stream=True)
        again = await ask(api, chatbot, "a", idempotency_key="k")
        assert again.body == [first.events[-2][1]]
        raw = b' {"stream": false,\n"prompt":"a", "user_id":"ann","conversation_id" : "c1", "metadata": {}}'
        spelled = await api.post(f"{chatbot}/conversations", raw=raw, headers={"Idempotency-Key": "k"})
        assert spelled.text == again.text
        other = await ask(api, chatbot, "a", idempotency_key="k", metadata={"page": 1})
        assert other.code == "idempotency_key_reused"


# --- documents ---


class Held(HashingEmbedder):
    def __init__(self) -> None:
        super().__init__()
        self.pause = Pause()

    async def embed_passages(self, texts: Any) -> Any:
        if any("hold" in text for text in texts):
            await self.pause.hold()
        return await super().embed_passages(texts)


async def test_a_repeated_push_does_not_undo_a_newer_one(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        path, old = f"{chatbot}/documents", {"name": "d", "content": "Old text."}
        first = await post(api, path, old, "k")
        assert (await post(api, path, old, "k")).text == first.text
        assert (await post(api, f"{path}?embedding=false", old, "k")).body[0]["embedding"] is None
        await api.push(chatbot, "d", "New text.")
        again = await post(api, path, old, "k")
        assert (again.status, again.headers[REPLAYED]) == (201, "true")
        assert "New text." in again.body[0]["content"]
        assert [d["chunk_count"] for d in (await api.get(path)).body] == [1]


async def test_a_document_pushed_for_later_is_replayed_as_it_is_by_then(tmp_path: Path) -> None:
    embedder = Held()
    async with gigachat(tmp_path, embedder=embedder) as api:
        chatbot = await api.chatbot()
        path, body, later = f"{chatbot}/documents", {"name": "d", "content": "hold this"}, {"Prefer": "respond-async"}
        first = await post(api, path, body, "k", headers=later)
        assert (first.status, first.body["state"]) == (202, "pending")
        await embedder.pause.reached.wait()  # until it goes on, the document stays as it is
        again = await post(api, path, body, "k", headers=later)
        assert (again.status, again.headers["Location"]) == (202, first.headers["Location"])
        now = (await api.get(first.headers["Location"])).body
        assert (now["id"], now["state"]) == (first.body["id"], "embedding")
        assert again.body == {name: value for name, value in now.items() if name != "content"}
        embedder.pause.resume()

        async def is_ready() -> bool:
            return bool((await api.get(first.headers["Location"])).body["state"] == "ready")

        await until(is_ready)
        done = await post(api, path, body, "k", headers=later)
        assert (done.status, done.body["state"], done.headers[REPLAYED]) == (202, "ready", "true")
        assert len((await api.get(path)).body) == 1


async def test_a_push_in_progress_is_not_carried_out_twice(tmp_path: Path) -> None:
    embedder = Held()
    async with gigachat(tmp_path, embedder=embedder) as api:
        chatbot = await api.chatbot()
        body = {"name": "d", "content": "hold this"}
        pushes = [asyncio.create_task(post(api, f"{chatbot}/documents", body, "k")) for _ in range(3)]
        await embedder.pause.reached.wait()
        embedder.pause.resume()
        replies = [await push for push in pushes]
        assert len({reply.text for reply in replies}) == 1
        assert sum(REPLAYED in reply.headers for reply in replies) == 2


# --- when the store is down, and the way from an error to its code and back ---


@pytest.mark.sqlite_only
async def test_nothing_is_kept_of_a_prompt_that_could_not_be_stored(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        database: Any = api.services.database
        database._must_stop = True
        refused = await ask(api, chatbot, "a", idempotency_key="k")
        assert (refused.status, refused.code) == (503, "storage_unavailable")
        assert len(api.services.turns._live._by_prompt) == 0
        database._must_stop = False
        assert REPLAYED not in (await ask(api, chatbot, "a", idempotency_key="k")).headers
        assert len(await api.messages(chatbot)) == 2


async def test_a_client_that_goes_away_while_it_sends_leaves_nothing(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()

        async def dripping() -> AsyncIterator[bytes]:
            yield b'{"conversation_id": "c1", '
            raise aiohttp.ClientConnectionError

        with pytest.raises(aiohttp.ClientConnectionError):
            await api._session.post(
                f"{api.url}{chatbot}/conversations",
                data=dripping(),
                headers={"Authorization": f"Bearer {api.key}", "Idempotency-Key": "k"},
            )
        assert (await api.get(f"{chatbot}/conversations")).body == []
        assert await rows(api, "SELECT * FROM idempotency") == []


def all_errors(kind: type[GigachatError] = GigachatError) -> list[type[GigachatError]]:
    return [kind, *(each for child in kind.__subclasses__() for each in all_errors(child))]


def test_every_code_names_one_error_and_leads_back_to_it() -> None:
    kinds = all_errors()
    assert len({kind.code for kind in kinds}) == len(kinds)
    for kind in kinds:
        found = error_with_code(kind.code)
        assert (type(found), found.status, found.code) == (kind, kind.status, kind.code)
        assert (found.retry_after_s is not None) == (kind.status == 503), "whoever is told to come again is told when"
    for code in (None, "", "of_another_version"):
        assert type(error_with_code(code)) is GigachatError


ERASED = {
    "a conversation": "/conversations/{conversation}",
    "an end user alone in it": "/users/{user}",
    "an end user among others": "/users/{user}",
    "a chatbot": "",
}


@pytest.mark.parametrize("what", ERASED)
async def test_nothing_that_tells_of_a_conversation_is_kept_once_it_is_erased(tmp_path: Path, what: str) -> None:
    conversation, user = "case-of-änn", "ann@example.com"
    async with gigachat(tmp_path) as api:
        created = (await post(api, "/chatbots", {"name": "Superbot"}, "new")).body
        chatbot = f"/chatbots/{created['id']}"
        other = await api.chatbot()
        for here in (chatbot, other):
            talk = f"{here}/conversations/case-of-a%CC%88nn"  # not in the form in which it is stored
            prompt = {"conversation_id": conversation, "user_id": user, "prompt": "My parcel is lost."}
            await post(api, f"{here}/conversations", prompt, "say")
            if what == "an end user among others":
                await api.say(here, "So is mine.", conversation=conversation, user="bob")
            await post(api, f"{talk}/takeover", {"operator": "client:eve"}, "take")
            await post(api, f"{talk}/release", {}, "release")
            await post(api, f"{talk}/handoff", {"note": "It is about her parcel."}, "hand")
            await post(api, f"{talk}/stop", None, "stop")
            messages = (await api.get(f"{talk}/messages")).body
            await post(api, f"{talk}/messages/{messages[0]['id']}/retry", {}, "retry")
        before = await kept(api)
        assert len(before) == 13
        assert sum(conversation in each for each in before) == 10
        path = ERASED[what].format(conversation=quote(conversation), user=user)
        assert (await api.call("DELETE", chatbot + path)).status == 204
        left = [each for each in await kept(api) if created["id"] in each]
        assert [each for each in left if conversation in each or user in each] == []
        assert sum(conversation in each for each in await kept(api)) == 5, "another chatbot's is another conversation"
        if what != "a chatbot":
            assert (await post(api, f"{chatbot}/conversations", prompt, "say")).status == 404, "it is not said again"


async def kept(api: Api) -> list[str]:
    """All that is kept under keys, as it is stored."""
    return [unquote(json.dumps(row, ensure_ascii=False)) for row in await rows(api, "SELECT * FROM idempotency")]
