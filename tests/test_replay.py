"""Stored prompts asked again: what would change is shown, and nothing of it is stored."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gigachat_server.errors import ModelUnreachable
from gigachat_server.learning.comparison import compare
from gigachat_server.learning.replay import AT_ONCE
from gigachat_server.models.base import ModelInput, UsageReport
from gigachat_server.models.fake import Pause, ScriptedModel
from gigachat_server.records import Message, Source
from tests.harness import Api, gigachat, until
from tests.turns import answering, assert_at_rest, rows, told

PLENTY = {"documents": {"results": {"match_threshold": 0.0}}}


async def replay(api: Api, chatbot: str, **wanted: Any) -> dict[str, Any]:
    reply = await api.post(f"{chatbot}/replay", wanted)
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/json"), reply.text
    found: dict[str, Any] = reply.body
    return found


async def stored(api: Api) -> list[Any]:
    """All that turns write."""
    tables = ("conversations", "messages", "events", "drafts", "unanswered", "fixed_answers", "chatbots")
    return [await rows(api, f"SELECT * FROM {table} ORDER BY 1, 2, 3") for table in tables]


async def test_a_replay_shows_what_changed_and_stores_nothing(tmp_path: Path) -> None:
    async with gigachat(tmp_path, model=answering({"b": ["B now."]})) as api:
        chatbot = await api.chatbot()
        for prompt in ("a", "b", "c"):
            await api.say(chatbot, prompt)
        before = await stored(api)
        found = await replay(api, chatbot)
        assert [(turn["prompt"], turn["changed"]) for turn in found["turns"]] == [("a", "same"), ("b", "same"), ("c", "same")]
        assert found["summary"]["model_calls"] == 3
        api.services.model._scripts = (lambda model_input: [f"It says {told(model_input)[-1]} now. More."],)  # type: ignore[attr-defined]
        found = await replay(api, chatbot, limit=2)
        assert [(turn["prompt"], turn["changed"], turn["old"]["content"]) for turn in found["turns"]] == [
            ("b", "different", "B now."),
            ("c", "different", "re: c"),
        ]
        assert found["turns"][0]["new"]["content"] == "It says b now. More."
        assert found["turns"][0]["text"] == {"added": ["It says b now.", "More."], "removed": ["B now."]}
        assert (found["summary"]["turns"], found["summary"]["different"], found["summary"]["same"]) == (2, 2, 0)
        assert await stored(api) == before
        await assert_at_rest(api, chatbot)


async def test_each_prompt_is_asked_behind_what_was_said_before_it(tmp_path: Path) -> None:
    model = answering({})
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot()
        for prompt in ("a", "b", "c"):
            await api.say(chatbot, prompt)
        asked = [told(call) for call in model.calls]
        model.calls.clear()
        await replay(api, chatbot)
        assert sorted(told(call) for call in model.calls) == sorted(asked)
        model.calls.clear()
        await replay(api, chatbot, config={"response": {"memory_size": 0}})
        assert sorted(told(call) for call in model.calls) == [["a"], ["b"], ["c"]]


async def test_a_proposed_configuration_is_tried_and_not_kept(tmp_path: Path) -> None:
    model = answering({})
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot()
        await api.push(chatbot, "shipping", "Parcels ship on Monday.")
        await api.say(chatbot, "Where are the llamas?")
        config = {**PLENTY, "response": {"system_persona": "Be brief.", "temperature": 0.1}}
        (turn,) = (await replay(api, chatbot, config=config))["turns"]
        assert model.calls[-1].messages[0].content.startswith("Be brief.")
        assert model.calls[-1].sampling.temperature == 0.1
        assert (turn["changed"], turn["would_answer"]) == ("now_answered", True)
        assert [source["name"] for source in turn["sources"]["added"]] == ["shipping-0"]
        assert (await api.get(chatbot)).body["documents"]["results"]["match_threshold"] == 0.78
        await api.say(chatbot, "And the parcels?", conversation="c2")
        assert not model.calls[-1].messages[0].content.startswith("Be brief.")
        for bad, field in (
            ({"response": {"n": 9}}, "response.n"),
            ({"nonsense": 1}, "nonsense"),
            ({"documents": {"text_splitter": {"chunk_size": 500}}}, "config.documents.text_splitter"),
        ):
            refused = await api.post(f"{chatbot}/replay", {"config": bad})
            assert (refused.status, refused.fields) == (422, {field})


async def test_unanswered_prompts_that_would_be_answered_now_are_shown_and_stay_open(tmp_path: Path) -> None:
    model = answering({})
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot(documents={"results": {"when_nothing_matches": "refuse"}})
        await api.push(chatbot, "shipping", "Parcels ship on Monday.")
        for prompt in ("When do parcels ship on Monday?", "Do you sell llamas?", "Who are you people?"):
            await api.say(chatbot, prompt)
        await api.push(chatbot, "llamas", "Do you sell llamas? We do sell llamas.")
        await api.post(f"{chatbot}/fixed-answers", {"prompts": ["who are you, people"], "answer": "We are ten."})
        model.calls.clear()
        found = await replay(api, chatbot, unanswered=True)
        shown = [(turn["prompt"], turn["changed"], turn["would_answer"], turn["model_calls"]) for turn in found["turns"]]
        assert shown == [("Do you sell llamas?", "now_answered", True, 1), ("Who are you people?", "now_answered", True, 0)]
        assert found["turns"][1]["new"]["fixed_answer_id"] is not None
        assert (found["summary"]["now_answered"], found["summary"]["model_calls"], len(model.calls)) == (2, 1, 1)
        assert len((await api.get(f"{chatbot}/unanswered")).body) == 2
        worse = await replay(api, chatbot, limit=3, config={"documents": {"results": {"match_threshold": 1.0}}})
        assert worse["turns"][0]["changed"] == "now_unanswered"
        assert [source["name"] for source in worse["turns"][0]["sources"]["removed"]] == ["shipping-0"]
        assert (await api.get(f"{chatbot}/fixed-answers")).body[0]["use_count"] == 0


async def test_conversations_are_chosen_by_their_ids(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        for conversation in ("c/1", "c2", "c3"):
            await api.say(chatbot, f"in {conversation}", conversation=conversation)
        await api.say(chatbot, "I am here", conversation="c3", user="client:eve")
        found = await replay(api, chatbot, conversation_ids=["c/1", "c3", "unknown"])
        assert [turn["conversation_id"] for turn in found["turns"]] == ["c/1", "c3"]
        assert (await replay(api, chatbot, conversation_ids=["unknown"]))["summary"]["turns"] == 0
        both: dict[str, Any] = {"unanswered": True, "conversation_ids": ["c2"]}
        for bad, field in (({"limit": 0}, "limit"), ({"limit": 201}, "limit"), (both, "unanswered")):
            refused = await api.post(f"{chatbot}/replay", bad)
            assert (refused.status, refused.fields) == (422, {field})


async def test_it_streams_each_turn_and_then_what_it_cost(tmp_path: Path) -> None:
    model = ScriptedModel(["Hi.", UsageReport("m", 10, 2)])
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot()
        for prompt in ("a", "b"):
            await api.say(chatbot, prompt)
        reply = await api.post(f"{chatbot}/replay", {}, headers={"Accept": "text/event-stream"})
        assert [name for name, _ in reply.events] == ["turn", "turn", "done"]
        done = reply.events[-1][1]
        assert (done["turns"], done["same"], done["prompt_tokens"], done["completion_tokens"]) == (2, 2, 20, 4)


async def test_a_prompt_that_fails_is_told_and_the_others_go_on(tmp_path: Path) -> None:
    fails = False

    def script(model_input: ModelInput) -> list[Any]:
        return [ModelUnreachable()] if fails and told(model_input)[-1] == "a" else ["Hi."]

    async with gigachat(tmp_path, model=ScriptedModel(script)) as api:
        chatbot = await api.chatbot()
        for prompt in ("a", "b"):
            await api.say(chatbot, prompt)
        fails = True
        found = await replay(api, chatbot)
        assert [turn["changed"] for turn in found["turns"]] == ["failed", "same"]
        assert (found["turns"][0]["error"]["code"], found["turns"][0]["new"]) == ("upstream_unreachable", None)
        assert (await api.messages(chatbot))[0]["turn"] == "done"


@pytest.mark.parametrize("accept", ["text/event-stream", "application/json"])
async def test_few_prompts_at_a_time_and_none_once_the_caller_is_gone(tmp_path: Path, accept: str) -> None:
    pause, is_held = Pause(), False
    model = ScriptedModel(lambda _: [pause, "Hi."] if is_held else ["Hi."])
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot()
        for number in range(AT_ONCE + 4):
            await api.say(chatbot, f"prompt {number}", conversation=f"c{number}")
        model.calls.clear()
        is_held = True
        headers = {"Authorization": f"Bearer {api.key}", "Accept": accept}
        async with aiohttp.ClientSession() as session, session.post(f"{api.url}{chatbot}/replay", json={}, headers=headers):

            async def is_busy() -> bool:
                return len(model.calls) == AT_ONCE

            await until(is_busy)

            # Nobody's conversation waits for a replay.
            is_held = False
            assert [m["content"] for m in await api.say(chatbot, "now", conversation="c0")] == ["Hi."]
            assert len(model.calls) == AT_ONCE + 1

        async def is_closed() -> bool:
            return model.closed_early == AT_ONCE

        await until(is_closed)
        pause.resume()
        await asyncio.sleep(0)
        assert len(model.calls) == AT_ONCE + 1
        assert (await replay(api, chatbot))["summary"]["turns"] == AT_ONCE + 5, "the slots are free again"


async def test_it_needs_both_scopes(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        for scopes in (("conversations:read",), ("chatbots:write",)):
            _, key = await api.services.key_ring.create(api.services.account.id, "k", scopes=scopes)
            assert (await api.post(f"{chatbot}/replay", {}, key=key)).status == 403


# --- comparing ---


def message(content: str, *names: str, score: float = 0.9) -> Message:
    sources = tuple(
        Source(f"id-{name}-{score}", "d", "doc", n, f"text of {name}", 1, 1, score, 0, 0) for n, name in enumerate(names)
    )
    return Message(
        chatbot_id="b",
        conversation_id="c",
        seq=1,
        id="m",
        role="assistant",
        user_id="u",
        name="n",
        content=content,
        status="completed",
        in_reply_to="p",
        alternative=0,
        replaced_by=None,
        metadata={},
        sources=sources,
        created_at=0,
        updated_at=0,
    )


@pytest.mark.parametrize(
    ("old", "new", "was", "is_", "changed"),
    [
        ("A.", "A. ", False, False, "same"),
        ("A.", "B.", False, False, "different"),
        ("A.", "B.", True, False, "now_answered"),
        ("A.", "A.", False, True, "now_unanswered"),
        ("No.", "Nope.", True, True, "different"),
        (None, "B.", True, False, "now_answered"),
        (None, "B.", True, True, "different"),
        ("A.", None, False, False, "failed"),
    ],
)
def test_what_changed_is_one_word(old: str | None, new: str | None, was: bool, is_: bool, changed: str) -> None:
    compared = compare(
        None if old is None else message(old), None if new is None else message(new), was_unanswered=was, is_unanswered=is_
    )
    assert compared.changed == changed


def test_sources_and_sentences_are_compared_by_what_they_say() -> None:
    compared = compare(
        message("One. Two. Two. Three.", "a", "b"),
        message("Two. Three. Four.", "b", "c", score=0.8),
        was_unanswered=False,
        is_unanswered=False,
    )
    assert [[source.content[-1] for source in sources] for sources in (compared.added, compared.removed)] == [["c"], ["a"]]
    assert [(kept.old.score, kept.new.score) for kept in compared.kept] == [(0.9, 0.8)]
    assert (compared.only_old, compared.only_new) == (["One.", "Two."], ["Four."])
