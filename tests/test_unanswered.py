"""What the documents did not answer: noted once, with the reply, fenced with it; grouped, answered and dismissed."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from gigachat_server.clock import system_clock
from gigachat_server.learning.group_index import vector_of
from gigachat_server.learning.similar import group
from gigachat_server.models.base import HandoffRequest
from gigachat_server.models.embedders.hashing_embedder import HashingEmbedder, embed
from gigachat_server.models.fake import Pause, ScriptedModel
from gigachat_server.models.quoting.extractive import ExtractiveModel
from gigachat_server.records import UnansweredPrompt
from gigachat_server.store import unanswered as store_unanswered
from gigachat_server.store.database import Tx
from gigachat_server.triggers import acting
from tests import stores
from tests.harness import Api, gigachat
from tests.hold_ups import hold_ups
from tests.turns import answering, ask, asking, asking_held, assert_at_rest, contents, rows, until_settled

REFUSAL = "Sorry, I don't know how to help with that."
DOCUMENT = "Parcels ship on Monday and arrive on Friday."


async def shop(api: Api, **results: Any) -> str:
    chatbot = await api.chatbot(documents={"results": results})
    await api.push(chatbot, "shipping", DOCUMENT)
    return chatbot


async def noted(api: Api, chatbot: str, conversation: str = "c1") -> list[tuple[str, str]]:
    """What the events say is unanswered: the prompt and why."""
    events = (await api.get(f"{chatbot}/conversations/{conversation}/events?limit=100")).body
    return [(e["prompt"]["content"], e["data"]["reason"]) for e in events if e["type"] == "prompt.unanswered"]


async def listed(api: Api, chatbot: str, query: str = "") -> list[dict[str, Any]]:
    reply = await api.get(f"{chatbot}/unanswered{query}")
    assert reply.status == 200, reply.text
    found: list[dict[str, Any]] = reply.body
    return found


# --- which prompts are unanswered ---


async def test_what_nothing_matches_is_noted_whoever_answers_it(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        for results in ({"when_nothing_matches": "model"}, {"when_nothing_matches": "refuse"}):
            chatbot = await shop(api, **results)
            for prompt in ("When do parcels ship on Monday?", "Hello!", "Do you sell llamas?", "Thanks"):
                (reply,) = await api.say(chatbot, prompt)
                assert bool(reply["sources"]) == (prompt.startswith("When")), prompt
            assert await noted(api, chatbot) == [("Do you sell llamas?", "nothing_matched")]
            (group,) = await listed(api, chatbot)
            asked = next(m for m in await api.messages(chatbot) if m["content"] == "Do you sell llamas?")
            assert (group["id"], group["prompt"], group["count"], group["state"]) == (asked["id"], asked["content"], 1, "open")
            assert group["suggested_answer"] is None


async def test_the_reply_stands_before_the_event_that_it_is_none(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await shop(api)
        await api.say(chatbot, "Do you sell llamas?")
        events = (await api.get(f"{chatbot}/conversations/c1/events")).body
        assert [(e["type"], e["seq"]) for e in events] == [
            ("message.created", 1),
            ("message.created", 2),
            ("prompt.unanswered", 3),
        ]
        assert events[2]["prompt"]["id"] == events[0]["message"]["id"]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ([REFUSAL], "refused"),
        (["  sorry, I DON’T know how to help with that"], "refused"),
        ([REFUSAL + " But ask Eve."], None),
        (["On Monday."], None),
        ([HandoffRequest("unanswered")], "refused"),
        ([HandoffRequest("asked")], None),
    ],
)
async def test_a_reply_that_is_the_refusal_is_no_answer_and_cites_nothing(tmp_path: Path, said: Any, why: str | None) -> None:
    async with gigachat(tmp_path, model=ScriptedModel(said)) as api:
        chatbot = await api.chatbot(documents={"results": {"match_threshold": 0.0}}, interception={"handoff": True})
        await api.push(chatbot, "shipping", DOCUMENT)
        (reply,) = await api.say(chatbot, "When do parcels ship?")
        assert await noted(api, chatbot) == ([("When do parcels ship?", why)] if why else [])
        is_refusal = said[0] != "On Monday." and why == "refused" and isinstance(said[0], str)
        assert (reply["sources"] == []) == is_refusal
        assert reply["metadata"].get("abstained", False) == is_refusal


async def test_a_chatbot_without_documents_answers_unless_it_says_that_it_cannot(tmp_path: Path) -> None:
    async with gigachat(tmp_path, model=answering({"b": [REFUSAL]})) as api:
        chatbot = await api.chatbot()
        await api.say(chatbot, "a")
        await api.say(chatbot, "b")
        assert await noted(api, chatbot) == [("b", "nothing_matched")]


async def test_of_several_replies_one_answer_is_enough(tmp_path: Path) -> None:
    async with gigachat(tmp_path, model=ExtractiveModel(HashingEmbedder())) as api:
        chatbot = await api.chatbot(response={"n": 2})
        assert [m["content"] for m in await api.say(chatbot, "Do you sell llamas?")] == [REFUSAL] * 2
        assert await noted(api, chatbot) == [("Do you sell llamas?", "nothing_matched")]


async def test_the_refusal_can_be_put_in_the_chatbots_own_words(tmp_path: Path) -> None:
    async with gigachat(tmp_path, model=answering({"b": ["das weiß ich nicht"]})) as api:
        chatbot = await shop(api, when_nothing_matches="refuse", refusal="Das weiß ich nicht.")
        (reply,) = await api.say(chatbot, "Verkaufen Sie Lamas?")
        assert reply["content"] == "Das weiß ich nicht."
        assert (await api.call("PATCH", chatbot, {"documents": {"results": {"match_threshold": 0.0}}})).status == 200
        await api.say(chatbot, "b")
        assert await noted(api, chatbot) == [("Verkaufen Sie Lamas?", "nothing_matched"), ("b", "refused")]
        bad = await api.call("PATCH", chatbot, {"documents": {"results": {"refusal": ""}}})
        assert (bad.status, bad.fields) == (422, {"documents.results.refusal"})


@pytest.mark.parametrize("memory_size", [10, 0])
async def test_two_refusals_in_a_row_ask_for_a_human_also_where_nothing_is_remembered(tmp_path: Path, memory_size: int) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot(
            response={"memory_size": memory_size},
            documents={"results": {"when_nothing_matches": "refuse"}},
            interception={"handoff": True, "handoff_after_unanswered": 2},
        )
        (first,) = await api.say(chatbot, "Do you sell llamas?")
        (second,) = await api.say(chatbot, "Or alpacas?")
        assert "handoff" not in first["metadata"]
        assert second["metadata"]["handoff"]["reason"] == "unanswered"
        types = [e["type"] for e in (await api.get(f"{chatbot}/conversations/c1/events")).body]
        assert types[-2:] == ["prompt.unanswered", "handoff.requested"]


# --- once, and with the reply or not at all ---


async def test_a_retry_notes_nothing_twice_and_an_answer_settles_it(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await shop(api)
        await api.say(chatbot, "Do you sell llamas?")
        (group,) = await listed(api, chatbot)
        retry = f"{chatbot}/conversations/c1/messages/{group['id']}/retry"
        assert (await api.post(retry)).status == 201
        assert len(await noted(api, chatbot)) == 1
        await api.push(chatbot, "llamas", "You sell llamas? Do you? We sell llamas.")
        assert (await api.post(retry)).body[0]["sources"] != []
        assert await listed(api, chatbot) == []
        (answered,) = await listed(api, chatbot, "?state=answered")
        assert answered["examples"][0]["answered_by"] == "reply"
        assert len(await noted(api, chatbot)) == 1
        await assert_at_rest(api, chatbot)


async def test_what_a_retry_answered_is_open_again_if_another_does_not(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await shop(api)
        await api.say(chatbot, "Do you sell llamas?")
        (group,) = await listed(api, chatbot)
        retry = f"{chatbot}/conversations/c1/messages/{group['id']}/retry"
        await api.push(chatbot, "llamas", "You sell llamas? Do you? We sell llamas.")
        assert (await api.post(retry)).status == 201
        assert await listed(api, chatbot) == []
        replayed = await api.post(f"{chatbot}/replay", {"conversation_ids": ["c1"]})
        assert replayed.body["turns"][0]["changed"] == "same", "it was answered, by the retry"
        await api.push(chatbot, "llamas", "Boats, oars and sails.")
        assert (await api.post(retry)).status == 201
        assert [each["id"] for each in await listed(api, chatbot)] == [group["id"]]
        assert (await listed(api, chatbot, "?state=answered"), len(await noted(api, chatbot))) == ([], 2)
        assert (await api.post(f"{chatbot}/unanswered/{group['id']}/dismiss")).status == 200
        assert (await api.post(retry)).status == 201
        assert (await listed(api, chatbot), len(await noted(api, chatbot))) == ([], 2), "what was dismissed stays so"
        await assert_at_rest(api, chatbot)


async def test_a_turn_that_was_taken_over_notes_nothing(tmp_path: Path) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=ScriptedModel([pause, "Hm."])) as api:
        chatbot = await shop(api)
        asked = await asking_held(api, chatbot, pause, "Do you sell llamas?")
        assert (await api.post(f"{chatbot}/conversations/c1/takeover", {"operator": "eve"})).status == 200
        pause.resume()
        assert contents(await asked) == ["Do you sell llamas?"]
        assert (await noted(api, chatbot), await listed(api, chatbot)) == ([], [])
        assert await rows(api, "SELECT * FROM unanswered") == []


async def test_a_turn_that_loses_its_epoch_at_its_last_word_notes_nothing(tmp_path: Path) -> None:
    pause = Pause()
    async with gigachat(tmp_path) as api:
        chatbot = await shop(api)
        with acting("S7", pause.hold):
            asked = asking(api, chatbot, "Do you sell llamas?")
            await pause.reached.wait()
            assert (await api.post(f"{chatbot}/conversations/c1/takeover", {"operator": "eve"})).status == 200
            pause.resume()
            await asked
        assert await rows(api, "SELECT * FROM unanswered") == []
        assert [row[0] for row in await rows(api, "SELECT type FROM events ORDER BY seq")][-1] == "conversation.taken_over"


async def test_a_failing_turn_notes_nothing_and_its_next_try_does_once(tmp_path: Path) -> None:
    async def fail() -> None:
        raise RuntimeError

    async with gigachat(tmp_path) as api:
        chatbot = await shop(api)
        with acting("S8", fail):  # all is written and nothing committed
            failed = await ask(api, chatbot, "Do you sell llamas?", idempotency_key="k")
        assert failed.status == 500
        assert await rows(api, "SELECT * FROM unanswered") == []
        assert contents(await ask(api, chatbot, "Do you sell llamas?", idempotency_key="k")) == ["Hi."]
        assert (await noted(api, chatbot), len(await listed(api, chatbot))) == ([("Do you sell llamas?", "nothing_matched")], 1)
        await assert_at_rest(api, chatbot)


@pytest.mark.parametrize("step", ["S7", "S9"])
async def test_after_a_kill_there_is_one_row_for_each_unanswered_prompt(tmp_path: Path, step: str) -> None:
    pause, folder = Pause(), tmp_path / "first"
    async with gigachat(folder) as api:
        chatbot, key = await shop(api), api.key
        with acting(step, pause.hold):
            asked = asking(api, chatbot, "Do you sell llamas?", idempotency_key="k")
            await pause.reached.wait()
            stores.current().copy(folder, tmp_path / "second")
            pause.resume()
            await asked
    async with gigachat(tmp_path / "second", clock=lambda: system_clock() + 60_000_000) as api:
        api.key = key
        await until_settled(api, chatbot)
        assert (await ask(api, chatbot, "Do you sell llamas?", idempotency_key="k")).status == 201
        assert [group["count"] for group in await listed(api, chatbot)] == [1]
        kept = (await api.get(f"{chatbot}/conversations/c1/events")).body
        # What was said before the kill at S7 was not kept: that turn is over, and the retry of the same request answers it.
        assert [e["type"] for e in kept].count("prompt.unanswered") == 1
        await assert_at_rest(api, chatbot)


# --- erasure ---


async def test_rows_go_with_their_conversation_their_user_and_their_chatbot(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await shop(api)
        for conversation, user in (("c1", "ann"), ("c2", "ann"), ("c3", "bob"), ("c3", "ann"), ("c4", "eve")):
            await api.say(chatbot, f"Do you sell llamas to {user} in {conversation}?", conversation=conversation, user=user)
        kept = "SELECT conversation_id FROM unanswered ORDER BY conversation_id"
        assert [row[0] for row in await rows(api, kept)] == ["c1", "c2", "c3", "c3", "c4"]
        assert (await api.call("DELETE", f"{chatbot}/conversations/c1")).status == 204
        assert [row[0] for row in await rows(api, kept)] == ["c2", "c3", "c3", "c4"]
        assert (await api.call("DELETE", f"{chatbot}/users/ann")).status == 204
        assert [row[0] for row in await rows(api, kept)] == ["c3", "c4"]
        assert [group["prompt"] for group in await listed(api, chatbot)] == [
            "Do you sell llamas to eve in c4?",
            "Do you sell llamas to bob in c3?",
        ]
        assert (await api.call("DELETE", chatbot)).status == 204
        assert await rows(api, kept) == []


# --- groups ---


async def test_groups_come_in_pages_with_the_newest_prompt_first(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await shop(api)
        for prompt in (
            "llamas alpacas camels",
            "tents poles pegs",
            "camels llamas alpacas",
            "boats oars sails",
            "TENTS poles pegs!",
        ):
            await api.say(chatbot, prompt)
        found = await listed(api, chatbot)
        assert [(group["prompt"], group["count"]) for group in found] == [
            ("tents poles pegs", 2),
            ("boats oars sails", 1),
            ("llamas alpacas camels", 2),
        ]
        assert [each["prompt"] for each in found[0]["examples"]] == ["TENTS poles pegs!", "tents poles pegs"]
        assert found[0]["oldest_at"] < found[0]["newest_at"]
        paged, path = [], f"{chatbot}/unanswered?limit=1"
        while path:
            reply = await api.get(path)
            paged += reply.body
            path = reply.headers.get("Link", "").partition(">")[0].removeprefix("<")
        assert paged == found
        for query in ("?state=lost", "?limit=0", "?after=x"):
            assert (await api.get(f"{chatbot}/unanswered{query}")).status == 422
        foreign = await api.chatbot()
        assert await listed(api, foreign) == []


async def test_what_an_operator_said_to_one_of_them_is_suggested(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await shop(api)
        await api.say(chatbot, "llamas alpacas camels", conversation="c1")
        await api.say(chatbot, "We sell camels alone.", conversation="c1", user="client:eve")
        await api.say(chatbot, "And more.", conversation="c1", user="client:eve")
        await api.say(chatbot, "camels llamas alpacas", conversation="c2")
        await api.say(chatbot, "boats oars sails", conversation="c2")
        await api.say(chatbot, "Only oars.", conversation="c2", user="client:bob")
        boats, llamas = await listed(api, chatbot)
        assert (boats["suggested_answer"]["content"], boats["suggested_answer"]["operator"]) == ("Only oars.", "bob")
        assert llamas["suggested_answer"]["content"] == "We sell camels alone."
        assert llamas["suggested_answer"]["conversation_id"] == "c1"


def unanswered(number: int, text: str, vector: bytes, *, model: str | None = "hashing") -> UnansweredPrompt:
    row = UnansweredPrompt("b", f"p{number}", "c", number, "nothing_matched", created_at=number, content=text, embedding=vector)
    return msgspec.structs.replace(row, embedding_model=model)


@pytest.mark.parametrize(
    ("model", "expected"), [("hashing", [["p1", "p2"]]), ("another", [["p1"], ["p2"]]), (None, [["p1"], ["p2"]])]
)
def test_vectors_of_different_models_are_not_compared(model: str | None, expected: list[list[str]]) -> None:
    vector = embed("the same").tobytes()
    rows = [unanswered(1, "Do you sell boats?", vector, model=model), unanswered(2, "Are llamas for sale?", vector)]
    groups = group([vector_of(row, "hashing") for row in rows], least_cosine=0.8)
    assert [[each.id for each in members] for members in groups] == expected


async def fill_with_unanswered(api: Api, chatbot: str, count: int) -> None:
    """So many more prompts that went unanswered, of which no two ask the same, as if each had been said."""
    await api.say(chatbot, "zebras yaks xenons")
    vectors = np.random.default_rng(1).standard_normal((count, embed("x").size)).astype("<f4")
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    own = {"id": ":id", "seq": ":seq", "content": ":content", "embedding": ":embedding", "embedding_model": "'hashing'"}

    async def body(tx: Tx) -> None:
        names = [row[0] for row in await tx.all("SELECT name FROM pragma_table_info('messages')")]
        values = ", ".join(own.get(name, name) for name in names)
        copy = f"INSERT INTO messages ({', '.join(names)}) SELECT {values} FROM messages WHERE id = :like"
        (row,) = await tx.all("SELECT chatbot_id, prompt_id, conversation_id, created_at FROM unanswered WHERE state = 'open'")
        for n in range(count):
            text = f"words about thing{n} and item{n * 7} " + "more of them " * 20
            await tx.run(copy, id=f"m{n}", seq=1000 + n, content=text, embedding=vectors[n].tobytes(), like=row[1])
            made = UnansweredPrompt(row[0], f"m{n}", row[2], 1000 + n, "nothing_matched", created_at=row[3] - count + n)
            await store_unanswered.insert(tx, made)

    await api.services.database.transaction("test.fill", body)


@pytest.mark.sqlite_only
async def test_thousands_that_are_all_different_hold_up_nobody_and_are_grouped_once(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await shop(api)
        await fill_with_unanswered(api, chatbot, 4_000)
        for query in ("?limit=1", "?limit=1", "?limit=100"):
            async with hold_ups() as met:
                (first, *_) = await listed(api, chatbot, query)
            assert first["prompt"] == "zebras yaks xenons"
            assert met.longest_s < 0.25, query
        # What changed since costs no more than that.
        began_s = time.process_time()
        async with hold_ups() as met:
            await api.say(chatbot, "llamas alpacas camels", conversation="c2")
            (llamas,) = await listed(api, chatbot, "?limit=1")
            assert (await api.post(f"{chatbot}/unanswered/{llamas['id']}/dismiss")).status == 200
            (zebras,) = await listed(api, chatbot, "?limit=1")
        assert (llamas["prompt"], zebras["id"]) == ("llamas alpacas camels", first["id"])
        assert met.longest_s < 0.25
        assert time.process_time() - began_s < 0.25, "to group them anew takes that long each time"


async def test_groups_follow_whatever_becomes_of_their_prompts(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await shop(api)

        async def seen() -> list[tuple[str, int]]:
            return [(each["prompt"], each["count"]) for each in await listed(api, chatbot)]

        await api.say(chatbot, "llamas alpacas camels", conversation="c1")
        await api.say(chatbot, "boats oars sails", conversation="c2")
        await api.say(chatbot, "camels llamas alpacas", conversation="c3")
        assert await seen() == [("llamas alpacas camels", 2), ("boats oars sails", 1)]
        await api.say(chatbot, "sails boats oars", conversation="c4")
        assert await seen() == [("boats oars sails", 2), ("llamas alpacas camels", 2)]
        assert (await api.call("DELETE", f"{chatbot}/conversations/c1")).status == 204  # the first of a group
        assert await seen() == [("boats oars sails", 2), ("camels llamas alpacas", 1)]
        (boats, llamas) = await listed(api, chatbot)
        assert (await api.post(f"{chatbot}/unanswered/{boats['id']}/dismiss")).body["count"] == 2
        assert await seen() == [("camels llamas alpacas", 1)]
        assert [each["id"] for each in await listed(api, chatbot, "?state=dismissed")] == [boats["id"]]
        await api.say(chatbot, "oars sails boats", conversation="c5")
        assert await seen() == [("oars sails boats", 1), ("camels llamas alpacas", 1)]
        answered = {"answer": "We sell none.", "as": "document", "name": "llamas"}
        assert (await api.post(f"{chatbot}/unanswered/{llamas['id']}/answer", answered)).status == 201
        assert await seen() == [("oars sails boats", 1)]
        for path in (f"{chatbot}/unanswered/{llamas['id']}/dismiss", f"{chatbot}/unanswered/{boats['id']}/dismiss"):
            assert (await api.post(path)).code == "unanswered_settled"


# --- answering ---


async def test_an_answer_as_a_fixed_answer_is_said_from_then_on(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await shop(api)
        for prompt in ("Do you sell llamas?", "llamas you sell, do?", "Who are you people?"):
            await api.say(chatbot, prompt)
        _, llamas = await listed(api, chatbot)
        body, headers = {"answer": "No, only camels.", "as": "fixed_answer"}, {"Idempotency-Key": "k"}
        made = await api.post(f"{chatbot}/unanswered/{llamas['examples'][0]['prompt_id']}/answer", body, headers=headers)
        assert (made.status, made.body["state"], made.body["count"], made.body["document"]) == (201, "answered", 2, None)
        assert made.body["fixed_answer"]["prompts"] == ["Do you sell llamas?", "llamas you sell, do?"]
        again = await api.post(f"{chatbot}/unanswered/{llamas['examples'][0]['prompt_id']}/answer", body, headers=headers)
        assert (again.status, again.body) == (201, made.body)
        assert [group["prompt"] for group in await listed(api, chatbot)] == ["Who are you people?"]
        (answered,) = await listed(api, chatbot, "?state=answered")
        assert {each["answered_by"] for each in answered["examples"]} == {made.body["fixed_answer"]["id"]}
        (reply,) = await api.say(chatbot, "do you sell LLAMAS")
        assert (reply["content"], reply["metadata"]["finish_reason"]) == ("No, only camels.", "fixed_answer")
        second = await api.post(f"{chatbot}/unanswered/{llamas['id']}/answer", body)
        assert (second.status, second.code) == (409, "unanswered_settled")
        assert len((await api.get(f"{chatbot}/fixed-answers")).body) == 1


async def test_an_answer_as_a_document_is_found_from_then_on(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await shop(api)
        await api.say(chatbot, "Do you sell llamas?")
        (group,) = await listed(api, chatbot)
        body = {"answer": "No, only camels.", "as": "document"}
        made = await api.post(f"{chatbot}/unanswered/{group['id']}/answer", body)
        assert (made.status, made.body["fixed_answer"]) == (201, None)
        assert (made.body["document"]["name"], made.body["document"]["state"]) == ("Answer: Do you sell llamas?", "ready")
        (reply,) = await api.say(chatbot, "Do you sell llamas?")
        assert [source["name"] for source in reply["sources"]] == ["Answer: Do you sell llamas?-0"]
        assert len(await noted(api, chatbot)) == 1
        assert await listed(api, chatbot) == []


async def test_a_dismissed_group_is_off_the_list(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await shop(api)
        await api.say(chatbot, "Do you sell llamas?")
        (group,) = await listed(api, chatbot)
        dismissed = await api.post(f"{chatbot}/unanswered/{group['id']}/dismiss")
        assert (dismissed.status, dismissed.body["state"], dismissed.body["count"]) == (200, "dismissed", 1)
        assert await listed(api, chatbot) == []
        assert [each["id"] for each in await listed(api, chatbot, "?state=dismissed")] == [group["id"]]
        await api.say(chatbot, "Do you sell llamas?")
        assert [each["count"] for each in await listed(api, chatbot)] == [1], "it is asked again"


async def test_of_two_operators_one_answers(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await shop(api)
        await api.say(chatbot, "Do you sell llamas?")
        (group,) = await listed(api, chatbot)
        path = f"{chatbot}/unanswered/{group['id']}"
        replies = await asyncio.gather(
            *(api.post(f"{path}/answer", {"answer": f"Answer {n}", "as": "fixed_answer"}) for n in range(4)),
            api.post(f"{path}/dismiss"),
        )
        assert sorted(reply.status for reply in replies)[1:] == [409] * 4
        assert len((await api.get(f"{chatbot}/fixed-answers")).body) == sum(reply.status == 201 for reply in replies)


async def test_bad_answers_and_foreign_prompts_are_refused(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot, other = await shop(api), await shop(api)
        await api.say(chatbot, "Do you sell llamas?")
        (group,) = await listed(api, chatbot)
        for body, field in (
            ({"answer": "x"}, "as"),
            ({"answer": "x", "as": "poem"}, "as"),
            ({"answer": " ?", "as": "document"}, "answer"),
            ({"answer": "x", "as": "fixed_answer", "prompts": ["a", "!"]}, "prompts[1]"),
        ):
            refused = await api.post(f"{chatbot}/unanswered/{group['id']}/answer", body)
            assert (refused.status, refused.fields) == (422, {field}), body
        good = {"answer": "x", "as": "fixed_answer"}
        for path in (f"{other}/unanswered/{group['id']}", f"{chatbot}/unanswered/x"):
            assert (await api.post(f"{path}/answer", good)).status == 404
            assert (await api.post(f"{path}/dismiss")).status == 404
        assert len(await listed(api, chatbot)) == 1
