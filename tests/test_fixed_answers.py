"""Fixed answers: said word for word, before any document is looked at, to whoever asks the same."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from gigachat_server.errors import EmbedderUnavailable
from gigachat_server.models.base import Matrix, Vector
from gigachat_server.models.embedders.hashing_embedder import HashingEmbedder
from gigachat_server.models.fake import ScriptedModel
from gigachat_server.triggers import acting
from tests.harness import Api, gigachat, until
from tests.turns import assert_at_rest, rows

PARCEL = {"prompts": ["Where is my parcel?", "Has my order been sent?"], "answer": "See\n\n**your** account."}


class OtherEmbedder(HashingEmbedder):
    """Another vector space; it cannot be reached while `is_away`, and keeps what it was asked."""

    name = "other-384"

    def __init__(self) -> None:
        self.is_away = False
        self.refused: dict[str, Exception] = {}  # what is raised for a text that holds that
        self.prompts: list[str] = []
        self.phrasings: list[str] = []

    async def embed_prompt(self, text: str) -> Vector:
        self.prompts.append(text)
        return await super().embed_prompt(text)

    async def embed_prompts(self, texts: Sequence[str]) -> Matrix:
        if self.is_away:
            raise EmbedderUnavailable
        for word, error in self.refused.items():
            if any(word in text for text in texts):
                raise error
        self.phrasings += texts
        return await super().embed_prompts(texts)


async def fixed(api: Api, chatbot: str, **changed: Any) -> dict[str, Any]:
    reply = await api.post(f"{chatbot}/fixed-answers", {**PARCEL, **changed})
    assert reply.status == 201, reply.text
    made: dict[str, Any] = reply.body
    assert reply.headers["Location"] == f"{chatbot}/fixed-answers/{made['id']}"
    return made


@pytest.mark.parametrize("has_documents", [True, False])
async def test_it_is_said_word_for_word_without_a_model(tmp_path: Path, has_documents: bool) -> None:
    model, embedder = ScriptedModel(["Hi."]), OtherEmbedder()
    async with gigachat(tmp_path, model=model, embedder=embedder) as api:
        chatbot = await api.chatbot(response={"n": 3, "max_tokens": 1})
        if has_documents:
            await api.push(chatbot, "d", "Where is my parcel? Nobody knows.")
        made = await fixed(api, chatbot)
        for prompt in ("where is MY parcel", "my parcel is where?"):
            (reply,) = await api.say(chatbot, prompt)
            assert (reply["content"], reply["sources"], reply["status"]) == (PARCEL["answer"], [], "completed")
            assert reply["metadata"]["fixed_answer_id"] == made["id"]
            assert reply["metadata"]["finish_reason"] == reply["metadata"]["model"] == "fixed_answer"
        assert embedder.prompts == ["my parcel is where?"], "one embedding a prompt at most; none for the same words"
        assert model.calls == []
        await api.say(chatbot, "Do you sell llamas?")
        assert len(model.calls) == 1
        assert (await api.get(f"{chatbot}/fixed-answers/{made['id']}")).body["use_count"] == 2
        events = (await api.get(f"{chatbot}/conversations/c1/events")).body
        assert [e["type"] for e in events[:4]] == ["message.created"] * 4, "it was answered"
        await assert_at_rest(api, chatbot)


async def test_it_streams_as_any_reply_does(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        await fixed(api, chatbot)
        body = {"conversation_id": "c1", "user_id": "ann", "prompt": "Where is my parcel?", "stream": True}
        start, delta, message, done = (await api.post(f"{chatbot}/conversations", body)).events
        assert [start[0], delta[0], message[0], done[0]] == ["start", "delta", "message", "done"]
        assert delta[1]["text"] == message[1]["content"] == PARCEL["answer"]


async def test_a_follow_up_that_points_back_is_matched_by_its_words_alone(tmp_path: Path) -> None:
    model = ScriptedModel(["Hi."])
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot()
        await fixed(api, chatbot, prompts=["And where is it in winter?", "Opening hours in winter"])
        await api.say(chatbot, "Tell me about the shop")
        (reply,) = await api.say(chatbot, "and where in winter is it")
        assert reply["content"] == "Hi.", "what it means stands in what was said before"
        (reply,) = await api.say(chatbot, "winter in opening hours")
        assert reply["content"] == PARCEL["answer"]
        (reply,) = await api.say(chatbot, "And where is it in winter")
        assert reply["content"] == PARCEL["answer"]


async def test_the_threshold_is_the_chatbots_or_the_embedding_models_own(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        await fixed(api, chatbot)
        for threshold, expected in ((None, "Hi."), (0.5, PARCEL["answer"]), (1.0, "Hi.")):
            changed = await api.call("PATCH", chatbot, {"documents": {"results": {"fixed_answer_threshold": threshold}}})
            assert changed.body["documents"]["results"]["fixed_answer_threshold"] == threshold
            (reply,) = await api.say(chatbot, "where is my lost parcel", conversation=f"c{threshold}")
            assert reply["content"] == expected, threshold
        refused = await api.call("PATCH", chatbot, {"documents": {"results": {"fixed_answer_threshold": 1.1}}})
        assert (refused.status, refused.fields) == (422, {"documents.results.fixed_answer_threshold"})


async def test_what_is_changed_disabled_or_deleted_counts_from_the_next_prompt_on(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        made = await fixed(api, chatbot)
        path = f"{chatbot}/fixed-answers/{made['id']}"

        async def said(prompt: str = "Where is my parcel?") -> str:
            (reply,) = await api.say(chatbot, prompt)
            return str(reply["content"])

        assert await said() == PARCEL["answer"]
        changed = await api.call("PUT", path, {"prompts": ["What now?"], "answer": "Wait."})
        assert (changed.status, changed.body["prompts"], changed.body["use_count"]) == (200, ["What now?"], 1)
        assert (await said(), await said("what now")) == ("Hi.", "Wait.")
        disabled = await api.call("PUT", path, {"prompts": ["What now?"], "answer": "Wait.", "is_enabled": False})
        assert disabled.body["is_enabled"] is False
        assert await said("what now") == "Hi."
        assert [each["id"] for each in (await api.get(f"{chatbot}/fixed-answers")).body] == [made["id"]]
        assert (await api.call("PUT", path, PARCEL)).status == 200
        assert await said() == PARCEL["answer"]
        assert (await api.call("DELETE", path)).status == 204
        assert await said() == "Hi."
        assert [(await api.call(method, path, PARCEL)).status for method in ("GET", "PUT", "DELETE")] == [404] * 3
        assert await rows(api, "SELECT * FROM fixed_answer_prompts") == []


async def test_one_that_is_deleted_while_a_turn_says_it_stops_nobody(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        made = await fixed(api, chatbot)

        async def delete() -> None:
            assert (await api.call("DELETE", f"{chatbot}/fixed-answers/{made['id']}")).status == 204

        with acting("S7", delete):
            (reply,) = await api.say(chatbot, "Where is my parcel?")
        assert reply["content"] == PARCEL["answer"]
        await assert_at_rest(api, chatbot)


@pytest.mark.postgres_only
async def test_every_node_says_what_was_acknowledged_at_another(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as one, gigachat(tmp_path) as two:
        two.key = one.key
        chatbot = await one.chatbot()
        assert [m["content"] for m in await two.say(chatbot, "Where is my parcel?")] == ["Hi."]
        for number in range(5):
            answer = f"Answer {number}"
            made = await fixed(one if number % 2 else two, chatbot, answer=answer)
            for api in (two, one):
                assert [m["content"] for m in await api.say(chatbot, "my parcel where is")] == [answer]
            assert (await one.call("DELETE", f"{chatbot}/fixed-answers/{made['id']}")).status == 204
        assert [m["content"] for m in await two.say(chatbot, "Where is my parcel?")] == ["Hi."]


async def test_while_the_embedder_is_away_it_is_matched_by_its_words_and_then_by_its_meaning(tmp_path: Path) -> None:
    embedder = OtherEmbedder()
    async with gigachat(tmp_path, embedder=embedder) as api:
        chatbot = await api.chatbot()
        embedder.is_away = True
        await fixed(api, chatbot)
        assert [m["content"] for m in await api.say(chatbot, "Where is my parcel?")] == [PARCEL["answer"]]
        assert [m["content"] for m in await api.say(chatbot, "my parcel where is")] == ["Hi."]
        embedder.is_away = False
        while await api.services.fixed_answers.embed_waiting():
            pass
        assert [m["content"] for m in await api.say(chatbot, "my parcel where is")] == [PARCEL["answer"]]


@pytest.mark.parametrize("error", [EmbedderUnavailable(), ValueError("tokens")])
async def test_phrasings_that_cannot_be_embedded_keep_no_others_waiting(tmp_path: Path, error: Exception) -> None:
    async with gigachat(tmp_path) as api:
        chatbots, key = [await api.chatbot() for _ in range(3)], api.key
        for number, chatbot in enumerate(sorted(chatbots)):
            bad = [f"bad {n} of {number}" for n in range(4)] if number < 2 else []
            await fixed(api, chatbot, prompts=[*bad, f"good {number}"])
    embedder = OtherEmbedder()
    embedder.refused = {"bad": error}
    async with gigachat(tmp_path, embedder=embedder) as api:
        api.key = key
        embedding = api.services.fixed_answers
        waiting = "SELECT content FROM fixed_answer_prompts WHERE embedding_model IS NULL ORDER BY content"

        async def are_waiting(*expected: str) -> bool:
            await embedding.embed_waiting()
            return [row[0] for row in await rows(api, waiting)] == list(expected)

        await until(lambda: are_waiting(*(f"bad {n} of {number}" for n in range(4) for number in range(2))))
        embedder.refused = {}
        await until(are_waiting)


async def test_what_goes_wrong_does_not_end_the_embedding_in_the_background(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot, key = await api.chatbot(), api.key
        await fixed(api, chatbot)
    embedder = OtherEmbedder()
    embedder.refused = {"parcel": ValueError("tokens")}
    async with gigachat(tmp_path, embedder=embedder) as api:
        api.key = key
        done = "SELECT content FROM fixed_answer_prompts WHERE embedding_model = 'other-384' ORDER BY content"

        async def is_done(count: int) -> bool:
            return len(await rows(api, done)) == count

        await until(lambda: is_done(1))
        embedder.refused = {}
        embedder.is_away = True
        await fixed(api, chatbot, prompts=["another"])
        embedder.is_away = False
        api.services.fixed_answers._wake_up.set()
        await until(lambda: is_done(3))


async def test_another_embedding_model_embeds_them_anew_in_the_background(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot, key = await api.chatbot(), api.key
        await fixed(api, chatbot)
    embedder = OtherEmbedder()
    async with gigachat(tmp_path, embedder=embedder) as api:
        api.key = key

        async def is_done() -> bool:
            return await rows(api, "SELECT DISTINCT embedding_model FROM fixed_answer_prompts") == [("other-384",)]

        await until(is_done)
        assert sorted(embedder.phrasings) == sorted(PARCEL["prompts"])
        assert [m["content"] for m in await api.say(chatbot, "my parcel where is")] == [PARCEL["answer"]]


async def test_the_same_request_makes_one(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot, headers = await api.chatbot(), {"Idempotency-Key": "k"}
        replies = await asyncio.gather(*(api.post(f"{chatbot}/fixed-answers", PARCEL, headers=headers) for _ in range(4)))
        assert {(reply.status, reply.body["id"]) for reply in replies} == {(201, replies[0].body["id"])}
        assert len((await api.get(f"{chatbot}/fixed-answers")).body) == 1


async def test_bad_ones_and_foreign_ones_are_refused(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot, other = await api.chatbot(), await api.chatbot()
        for body, field in (
            ({"prompts": [], "answer": "x"}, "prompts"),
            ({"prompts": ["a"] * 51, "answer": "x"}, "prompts"),
            ({"prompts": ["a", " ?! "], "answer": "x"}, "prompts[1]"),
            ({"prompts": ["a"], "answer": " "}, "answer"),
            ({"prompts": ["a"], "answer": "x", "use_count": 7}, "use_count"),
        ):
            refused = await api.post(f"{chatbot}/fixed-answers", body)
            assert (refused.status, refused.fields) == (422, {field}), body
        made = await fixed(api, chatbot)
        for method in ("GET", "PUT", "DELETE"):
            assert (await api.call(method, f"{other}/fixed-answers/{made['id']}", PARCEL)).status == 404
            assert (await api.call(method, f"{chatbot}/fixed-answers/x", PARCEL)).status == 404
        assert [m["content"] for m in await api.say(other, "Where is my parcel?")] == ["Hi."], "of its own chatbot alone"
