"""What is said, in which order, and reading it back."""

from __future__ import annotations

import asyncio
import itertools
import re
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest

from gigachat_server.errors import ModelInterrupted, ModelRateLimited, ModelUnreachable
from gigachat_server.models.base import ModelInput, TextDelta
from gigachat_server.models.fake import Pause, ScriptedModel
from gigachat_server.records import Event
from gigachat_server.store import events
from gigachat_server.store.database import Reader
from tests.harness import Api, gigachat, until


async def events_of(api: Api, chatbot: str, conversation: str) -> list[Event]:
    async def read(reader: Reader) -> list[Event]:
        return await events.list_events(reader, chatbot.removeprefix("/chatbots/"), conversation, after=0, limit=100_000)

    return await api.services.database.read(read)


async def test_prompts_at_once_in_one_conversation_keep_their_order_whatever_the_clock_does(tmp_path: Path) -> None:
    ticks = iter(range(10**9))

    def stepping() -> int:
        step = next(ticks)
        return 1_700_000_000_000_000 + (5_000_000 if step % 2 else -5_000_000) + step

    async with gigachat(tmp_path, clock=stepping) as api:
        chatbot = await api.chatbot()
        await asyncio.gather(*(api.insist(chatbot, f"prompt {i}") for i in range(40)))
        stored = await api.messages(chatbot)
        assert len(stored) == 80
        times = [message["created_at"] for message in stored]
        assert all(a < b for a, b in itertools.pairwise(times)), "strictly increasing"
        recorded = await events_of(api, chatbot, "c1")
        assert [event.seq for event in recorded] == list(range(1, len(recorded) + 1)), "gap-free"
        created = [event for event in recorded if event.type == "message.created"]
        assert [(event.seq, event.data["message_id"]) for event in created] == [(m["seq"], m["id"]) for m in stored]
        by_id = {message["id"]: message for message in stored}
        for reply in (message for message in stored if message["role"] == "assistant"):
            assert by_id[reply["in_reply_to"]]["seq"] < reply["seq"]


@pytest.mark.parametrize(
    "conversation", ["a/b", "two words", "🦄", "é" * 255, "x" * 255, "%2F", "a?b#c", "client:x", "..a", "\\", "‮"]
)
async def test_any_client_defined_conversation_id_works(tmp_path: Path, conversation: str) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        await api.say(chatbot, "Hello", conversation=conversation)
        path = f"{chatbot}/conversations/{quote(conversation, safe='')}"
        reply = await api.get(path)
        assert (reply.status, reply.body["conversation_id"]) == (200, conversation)
        assert len((await api.get(path + "/messages")).body) == 2
        assert (await api.call("DELETE", path)).status == 204
        assert (await api.get(path)).status == 404


async def test_conversations_are_listed_the_one_that_spoke_last_first(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        for conversation in ("a", "b", "c", "a"):
            await api.say(chatbot, "Hello", conversation=conversation)
        first = await api.get(f"{chatbot}/conversations?limit=2")
        assert [c["conversation_id"] for c in first.body] == ["a", "c"]
        following = re.fullmatch(r"<(.*)>; rel=\"next\"", first.headers["Link"])
        assert following is not None
        rest = await api.get(following[1])
        assert [c["conversation_id"] for c in rest.body] == ["b"]
        assert "Link" not in rest.headers


async def test_conversations_are_listed_by_who_answers_and_by_who_waits_for_a_human(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        path = f"{chatbot}/conversations"
        for conversation in ("plain", "waits", "taken", "waits too"):
            await api.say(chatbot, "Hello", conversation=conversation)
        for conversation in ("waits", "taken", "waits%20too"):
            assert (await api.post(f"{path}/{conversation}/handoff")).status == 200
        assert (await api.post(f"{path}/taken/takeover", {"operator": "eve"})).status == 200

        async def listed(query: str) -> list[str]:
            return [c["conversation_id"] for c in (await api.get(f"{path}?{query}")).body]

        assert await listed("controlled_by=human") == ["taken"]
        assert await listed("controlled_by=bot") == ["waits too", "waits", "plain"]
        assert await listed("handoff_requested=true") == ["waits too", "waits"], "who takes over comes"
        assert await listed("handoff_requested=false&controlled_by=bot") == ["plain"]
        first = await api.get(f"{path}?handoff_requested=true&limit=1")
        following = re.fullmatch(r"<(.*)>; rel=\"next\"", first.headers["Link"])
        assert following is not None
        assert [c["conversation_id"] for c in (await api.get(following[1])).body] == ["waits"], "a page keeps to the filter"
        for query, field in (("controlled_by=eve", "controlled_by"), ("handoff_requested=1", "handoff_requested")):
            refused = await api.get(f"{path}?{query}")
            assert (refused.status, refused.fields) == (422, {field})


async def test_messages_come_in_pages_oldest_first(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        for i in range(3):
            await api.say(chatbot, f"prompt {i}")
        path, seen = f"{chatbot}/conversations/c1/messages?limit=4&embedding=false", []
        while path:
            reply = await api.get(path)
            seen += [message["seq"] for message in reply.body]
            link = re.fullmatch(r"<(.*)>; rel=\"next\"", reply.headers.get("Link", ""))
            path = link[1] if link else ""
        assert seen == [1, 2, 3, 4, 5, 6]


async def test_metadata_of_a_prompt_is_stored_and_returned(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        metadata = {"page": "/pricing", "nested": {"a": [1, 2.5, None, True]}, "ü": "🦄"}
        await api.say(chatbot, "Hello", metadata=metadata)
        assert (await api.messages(chatbot))[0]["metadata"] == metadata


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (ModelUnreachable(), 502, "upstream_unreachable"),
        (ModelRateLimited(retry_after_s=7), 429, "upstream_rate_limited"),
    ],
)
async def test_a_failed_prompt_is_kept_marked_and_left_out_of_later_context(
    tmp_path: Path, error: ModelUnreachable, status: int, code: str
) -> None:
    model = ScriptedModel([error], ["Fine."])
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot()
        body = {"conversation_id": "c1", "user_id": "u", "prompt": "poison"}
        reply = await api.post(f"{chatbot}/conversations", body)
        assert (reply.status, reply.code) == (status, code)
        assert reply.headers.get("Retry-After") == ("7" if status == 429 else None)
        (prompt,) = await api.messages(chatbot)
        assert (prompt["content"], prompt["status"]) == ("poison", "failed")
        assert (prompt["error"], prompt["turn"], prompt["metadata"]) == (code, "failed", {})
        await api.say(chatbot, "And now?")
        assert [m.content for m in model.calls[1].messages[1:]] == ["And now?"]
        assert [event.seq for event in await events_of(api, chatbot, "c1")] == [1, 2, 3, 4]


async def test_a_reply_that_breaks_off_is_kept_as_far_as_it_was_shown(tmp_path: Path) -> None:
    async with gigachat(tmp_path, model=ScriptedModel(["Half a", ModelInterrupted()])) as api:
        chatbot = await api.chatbot()
        body = {"conversation_id": "c1", "user_id": "u", "prompt": "Hello", "stream": True}
        streamed = (await api.post(f"{chatbot}/conversations", body)).events
        assert [name for name, _ in streamed] == ["start", "delta", "error"]
        assert streamed[-1][1]["code"] == "upstream_interrupted"
        stored = await api.messages(chatbot)
        assert [(m["content"], m["status"]) for m in stored] == [("Hello", "completed"), ("Half a", "incomplete")]


@pytest.mark.parametrize("script", [[], [" \n "]])
async def test_an_empty_reply_is_never_stored(tmp_path: Path, script: list[str]) -> None:
    async with gigachat(tmp_path, model=ScriptedModel(script)) as api:
        chatbot = await api.chatbot()
        body = {"conversation_id": "c1", "user_id": "u", "prompt": "Hello"}
        assert (await api.post(f"{chatbot}/conversations", body)).code == "upstream_empty"
        assert [m["status"] for m in await api.messages(chatbot)] == ["failed"]


async def test_a_model_that_says_nothing_before_it_breaks_off_is_told_of_as_it_broke_off(tmp_path: Path) -> None:
    async with gigachat(tmp_path, model=ScriptedModel([TextDelta(0, ""), ModelInterrupted()])) as api:
        chatbot = await api.chatbot()
        body = {"conversation_id": "c1", "user_id": "u", "prompt": "Hello"}
        assert (await api.post(f"{chatbot}/conversations", body)).code == "upstream_interrupted"


async def test_what_any_alternative_said_is_kept_when_the_model_breaks_off(tmp_path: Path) -> None:
    async with gigachat(tmp_path, model=ScriptedModel([TextDelta(1, "Half"), ModelInterrupted()])) as api:
        chatbot = await api.chatbot(response={"n": 2})
        body = {"conversation_id": "c1", "user_id": "u", "prompt": "Hello"}
        assert (await api.post(f"{chatbot}/conversations", body)).code == "upstream_interrupted"
        kept = (await api.messages(chatbot))[1]
        assert (kept["content"], kept["alternative"], kept["status"]) == ("Half", 1, "incomplete")


async def test_a_caller_who_goes_away_finds_the_reply_stored(tmp_path: Path) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=ScriptedModel(["Hel", pause, "lo"])) as api:
        chatbot = await api.chatbot()
        body = {"conversation_id": "c1", "user_id": "u", "prompt": "Hello", "stream": True}
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {api.key}"}) as session:
            response = await session.post(f"{api.url}{chatbot}/conversations", json=body)
            await pause.reached.wait()
            response.close()
        assert len(await api.messages(chatbot)) == 1, "history never shows what is not finished"
        pause.resume()

        async def is_stored() -> bool:
            return len(await api.messages(chatbot)) == 2

        await until(is_stored)
        assert (await api.messages(chatbot))[1]["content"] == "Hello"


async def test_a_slow_model_does_not_hold_up_other_conversations(tmp_path: Path) -> None:
    pause = Pause()

    def script(model_input: ModelInput) -> list[str | Pause]:
        return [pause, "late"] if "slow" in model_input.messages[-1].content else ["soon"]

    async with gigachat(tmp_path, model=ScriptedModel(script)) as api:
        chatbot = await api.chatbot()
        slow = asyncio.create_task(api.say(chatbot, "slow", conversation="slow"))
        await pause.reached.wait()
        (reply,) = await api.say(chatbot, "quick", conversation="quick")
        assert reply["content"] == "soon"
        (injected,) = await api.say(chatbot, "I am here", conversation="slow", user="client:bob")
        pause.resume()
        assert (await slow)[0]["seq"] > injected["seq"], "what a human said meanwhile sorts before the reply"


async def test_deleting_an_end_user_removes_all_that_they_said_and_nothing_else(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        await api.say(chatbot, "mine alone", conversation="ann's", user="ann")
        await api.say(chatbot, "from ann", conversation="shared", user="ann")
        await api.say(chatbot, "from bob", conversation="shared", user="bob")
        await api.say(chatbot, "hello", conversation="shared", user="client:staff")
        assert (await api.call("DELETE", f"{chatbot}/users/ann")).status == 204
        assert (await api.get(f"{chatbot}/conversations/ann's")).status == 404
        left = await api.messages(chatbot, "shared")
        assert [m["content"] for m in left] == ["from bob", "Hi.", "hello"]
        everything = (await api.get(f"{chatbot}/conversations")).text
        assert "ann" not in everything
        recorded = await events_of(api, chatbot, "shared")
        assert [event.seq for event in recorded] == list(range(1, len(recorded) + 1))
        assert (await api.call("DELETE", f"{chatbot}/users/nobody")).status == 204


async def test_all_survives_a_restart(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        await api.push(chatbot, "doc", "Parcels ship on Monday.")
        await api.say(chatbot, "Hello")
        before = await api.messages(chatbot)
    async with gigachat(tmp_path) as api:
        assert await api.messages(chatbot) == before
        (again,) = await api.say(chatbot, "When do parcels ship?")
        assert again["seq"] == 4
        assert [s["name"] for s in again["sources"]] == ["doc-0"]


async def test_a_chatbot_may_name_its_own_model(tmp_path: Path) -> None:
    model = ScriptedModel(["Hi."])
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot(response={"model": "llama3.1:8b"})
        await api.say(chatbot, "Hello")
        assert model.calls[0].model == "llama3.1:8b"


async def test_refusing_when_nothing_matches_calls_no_model(tmp_path: Path) -> None:
    model = ScriptedModel(["I make things up."])
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot(
            response={"system_persona": 'If you do not know, say "No idea, sorry."'},
            documents={"results": {"when_nothing_matches": "refuse"}},
        )
        (reply,) = await api.say(chatbot, "What is the meaning of life?")
        assert (reply["content"], reply["sources"], reply["metadata"]["abstained"]) == ("No idea, sorry.", [], True)
        assert model.calls == []
