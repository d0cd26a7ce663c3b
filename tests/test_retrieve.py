"""`GET /chatbots/{id}/retrieve`: what a prompt would find, and why."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from gigachat_server.models.base import RelevanceScale, Vector
from gigachat_server.models.embedders.hashing_embedder import HashingEmbedder
from gigachat_server.models.fake import Pause, ScriptedModel
from tests.harness import Api, gigachat

SHIPPING = "Express parcels cost nine euros."
RETURNS = "Unused goods may be returned within thirty days."
TOMATOES = "Water tomatoes at the root in the morning."
QUERY = "What do express parcels cost?"


class CountingEmbedder(HashingEmbedder):
    def __init__(self) -> None:
        super().__init__()
        self.prompts: list[str] = []

    async def embed_prompt(self, text: str) -> Vector:
        self.prompts.append(text)
        return await super().embed_prompt(text)


async def shop(api: Api, **properties: Any) -> str:
    chatbot = await api.chatbot(**properties)
    for name, content in (("shipping", SHIPPING), ("returns", RETURNS), ("tomatoes", TOMATOES)):
        await api.push(chatbot, name, content)
    return chatbot


async def retrieve(api: Api, chatbot: str, query: str, more: str = "") -> Any:
    reply = await api.get(f"{chatbot}/retrieve?query={quote(query)}{more}")
    assert reply.status == 200, reply.text
    return reply.body


async def test_it_shows_every_passage_with_its_scores_below_the_threshold_too(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await shop(api)
        found = await retrieve(api, chatbot, QUERY)
        assert (found["query"], found["searched"], found["match_count"], found["match_threshold"]) == (QUERY, 3, 3, 0.78)
        assert (found["is_dependent"], found["is_small_talk"], found["added_stems"]) == (False, False, [])
        best, *others = found["passages"]
        assert (best["name"], best["lexical"], best["coverage"]) == ("shipping-0", 1.0, 1.0)
        assert best["is_matched"]
        assert best["is_source"]
        assert [(other["is_matched"], other["is_source"]) for other in others] == [(False, False)] * 2
        for passage in found["passages"]:
            assert passage["rank_score"] == pytest.approx(0.7 * passage["cosine"] + 0.3 * passage["lexical"], abs=1e-5)
        ranks = [passage["rank_score"] for passage in found["passages"]]
        assert ranks == sorted(ranks, reverse=True)
        by_stem = {stem["stem"]: stem["idf"] for stem in found["stems"]}
        assert by_stem.keys() == {"express", "parcel", "cost"}
        assert by_stem["parcel"] == pytest.approx(0.980829)  # ln(1 + 2.5 / 1.5)


async def test_a_passage_has_the_form_of_a_source_and_what_is_a_source_is_what_a_reply_is_made_from(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await shop(api, documents={"results": {"match_count": 1, "match_threshold": 0}})
        found = await retrieve(api, chatbot, QUERY)
        (reply,) = await api.say(chatbot, QUERY)
        shown = [passage for passage in found["passages"] if passage["is_source"]]
        assert len([passage for passage in found["passages"] if passage["is_matched"]]) > 1
        for passage, source in zip(shown, reply["sources"], strict=True):
            assert passage.items() >= {**source, "embedding": None}.items()
        (with_embedding,) = (await retrieve(api, chatbot, QUERY, "&embedding=true&limit=1"))["passages"]
        assert with_embedding["embedding"] == reply["sources"][0]["embedding"]


async def test_one_embedding_is_made_and_nothing_is_stored(tmp_path: Path) -> None:
    embedder = CountingEmbedder()
    async with gigachat(tmp_path, embedder=embedder) as api:
        chatbot = await shop(api)
        await retrieve(api, chatbot, QUERY)
        assert embedder.prompts == [QUERY]
        assert (await api.get(f"{chatbot}/conversations")).body == []
        greeted = await retrieve(api, chatbot, "Hello!")
        assert (greeted["is_small_talk"], greeted["passages"]) == (True, [])
        assert embedder.prompts == [QUERY], "a turn would not search for small talk either"


async def test_a_query_that_leans_on_the_conversation_is_searched_together_with_it_as_a_prompt_would_be(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await shop(api, documents={"results": {"match_threshold": 0.01}})
        await api.say(chatbot, "When do I water tomatoes?", conversation="garden/1")
        alone = await retrieve(api, chatbot, "And in the evening?")
        found = await retrieve(api, chatbot, "And in the evening?", "&conversation_id=garden%2F1")
        assert (alone["is_dependent"], alone["added_stems"]) == (False, [])
        assert found["is_dependent"]
        assert [(stem["stem"], stem["weight"]) for stem in found["added_stems"]][:2] == [("water", 0.3), ("tomato", 0.3)]
        assert [stem["stem"] for stem in found["stems"]] == ["evening"]
        assert found["passages"][0]["name"] == "tomatoes-0"
        (reply,) = await api.say(chatbot, "And in the evening?", conversation="garden/1")
        sources = [(source["name"], source["score"]) for source in reply["sources"]]
        assert sources == [(p["name"], p["score"]) for p in found["passages"] if p["is_source"]]
        standing_alone = await retrieve(
            api, chatbot, "What do express parcels to foreign countries cost in December?", "&conversation_id=garden%2F1"
        )
        assert (standing_alone["is_dependent"], standing_alone["added_stems"]) == (False, [])


async def test_a_prompt_that_still_waits_for_its_reply_is_not_known_yet(tmp_path: Path) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=ScriptedModel(["Hel", pause, "lo"])) as api:
        chatbot = await shop(api)
        asking = asyncio.create_task(api.say(chatbot, "When do I water tomatoes?"))
        await pause.reached.wait()
        assert not (await retrieve(api, chatbot, "And in the evening?", "&conversation_id=c1"))["is_dependent"]
        pause.resume()
        await asking
        assert (await retrieve(api, chatbot, "And in the evening?", "&conversation_id=c1"))["is_dependent"]


async def test_a_chatbot_without_memory_is_not_shown_one(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await shop(api, response={"memory_size": 0})
        await api.say(chatbot, "When do I water tomatoes?")
        assert not (await retrieve(api, chatbot, "And in the evening?", "&conversation_id=c1"))["is_dependent"]


async def test_without_documents_nothing_is_found_and_nothing_embedded(tmp_path: Path) -> None:
    embedder = CountingEmbedder()
    async with gigachat(tmp_path, embedder=embedder) as api:
        found = await retrieve(api, await api.chatbot(), QUERY)
        assert (found["passages"], found["searched"], found["stems"], embedder.prompts) == ([], 0, [], [])


async def test_a_score_is_the_sigmoid_of_the_sum_of_its_parts(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await shop(api)
        found = await retrieve(api, chatbot, QUERY)
        assert (found["embedder"], found["judged_for"]) == ("hashing-384", "generating")
        for passage in found["passages"]:
            assert passage["parts"].keys() >= {"cosine", "coverage", "size", "margin", "prior", "identified", "bias"}
            assert passage["score"] == pytest.approx(1 / (1 + math.exp(-sum(passage["parts"].values()))), abs=1e-5)
            assert {"is_foreign", "prior", "margin", "identified"} <= passage.keys()


async def test_where_one_passage_is_relevant_enough_the_others_are_judged_leniently(tmp_path: Path) -> None:
    model = ScriptedModel(["Yes."], is_generating=False)
    async with gigachat(tmp_path, embedder=LenientEmbedder(), model=model) as api:
        chatbot = await shop(api)
        answered = await retrieve(api, chatbot, QUERY)
        alone = await retrieve(api, chatbot, "What do cinema tickets cost?")
        assert (answered["is_lenient"], alone["is_lenient"], answered["leniency"]) == (True, False, 2.0)
        assert not any(passage["is_matched"] for passage in alone["passages"])
        biases = {found["passages"][0]["parts"]["bias"] for found in (answered, alone)}
        assert biases == {LenientEmbedder.scale.bias, LenientEmbedder.scale.bias + 2}


class LenientEmbedder(HashingEmbedder):
    scale = msgspec.structs.replace(HashingEmbedder.scale, leniency=2.0)


@pytest.mark.parametrize(("is_generating", "configured"), [(True, "generating"), (False, "quoting")])
async def test_passages_are_judged_for_the_model_that_there_is_or_for_the_one_named(
    tmp_path: Path, is_generating: bool, configured: str
) -> None:
    model = ScriptedModel(["Yes."], is_generating=is_generating)
    async with gigachat(tmp_path, embedder=LenientEmbedder(), model=model) as api:
        chatbot = await shop(api, documents={"results": {"match_threshold": 1}})
        shown = {kind: await retrieve(api, chatbot, QUERY, f"&for={kind}") for kind in ("generating", "quoting", "configured")}
        assert [shown[kind]["judged_for"] for kind in shown] == ["generating", "quoting", configured]
        assert shown["configured"]["passages"] == shown[configured]["passages"]
        assert (await retrieve(api, chatbot, QUERY))["passages"] == shown[configured]["passages"]
        generating, quoting = shown["generating"]["passages"], shown["quoting"]["passages"]
        for lenient, strict in zip(generating, quoting, strict=True):
            assert lenient["name"] == strict["name"]
            assert lenient["score"] > strict["score"]
            assert lenient["parts"]["bias"] == pytest.approx(strict["parts"]["bias"] + 2)
        assert [shown[kind]["is_lenient"] for kind in shown] == [True, False, is_generating]
        refused = await api.get(f"{chatbot}/retrieve?query=x&for=anybody")
        assert (refused.status, refused.fields) == (422, {"for"})


async def test_a_limit_is_kept(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await shop(api)
        assert len((await retrieve(api, chatbot, QUERY, "&limit=2"))["passages"]) == 2
        for bad in ("0", "101", "x"):
            reply = await api.get(f"{chatbot}/retrieve?query=x&limit={bad}")
            assert (reply.status, reply.fields) == (422, {"limit"})


@pytest.mark.parametrize("query", ["", "?query=", "?query=%20%0A", "?query=a%00b", "?query=" + "x" * 32_001])
async def test_a_query_that_says_nothing_or_too_much_is_refused(tmp_path: Path, query: str) -> None:
    async with gigachat(tmp_path) as api:
        reply = await api.get(f"{await api.chatbot()}/retrieve{query}")
        assert (reply.status, reply.code, reply.fields) == (422, "invalid_request", {"query"})


async def test_a_foreign_chatbot_and_an_unknown_conversation_are_not_there(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await shop(api)
        other = await api.services.key_ring.ensure_account("other")
        _, foreign = await api.services.key_ring.create(other.id, "k")
        assert (await api.get(f"{chatbot}/retrieve?query=parcels", key=foreign)).code == "not_found"
        assert (await api.get(f"{chatbot}/retrieve?query=parcels&conversation_id=c9")).code == "not_found"
        assert (await api.get(f"{chatbot}/retrieve?query=parcels&conversation_id=..")).fields == {"conversation_id"}


async def test_restrictions_guard_it_and_a_conversation_shows_only_with_its_scope(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        hosted = await shop(api, restrictions={"hostnames": ["www.example.com"]})
        refused = await api.get(f"{hosted}/retrieve?query=parcels", headers={"Origin": "https://evil.example"})
        assert (refused.status, refused.code) == (403, "hostname_refused")
        elsewhere = await shop(api, restrictions={"ip_addresses": ["10.1.2.3"]})
        assert (await api.get(f"{elsewhere}/retrieve?query=parcels")).code == "address_refused"

        open_chatbot = await shop(api)
        await api.say(open_chatbot, "Hello")
        keys = api.services.key_ring
        _, reader = await keys.create(api.services.account.id, "documents", scopes=("documents:read",))
        _, talker = await keys.create(api.services.account.id, "talk", scopes=("conversations:read", "conversations:write"))
        path = f"{open_chatbot}/retrieve?query=parcels"
        assert (await api.get(path, key=reader)).status == 200
        assert (await api.get(f"{path}&conversation_id=c1", key=reader)).code == "forbidden"
        assert (await api.get(path, key=talker)).code == "forbidden"
        assert (await api.get(f"{path}&conversation_id=c1")).status == 200


async def test_a_chatbot_that_is_asked_anything_is_judged_without_the_prior(tmp_path: Path) -> None:
    embedder = HashingEmbedder()
    embedder.scale = RelevanceScale(
        cosine=9.0, coverage=9.0, bias=-50.0, general=RelevanceScale(cosine=9.0, coverage=9.0, bias=-7.0)
    )
    async with gigachat(tmp_path, embedder=embedder) as api:
        chatbot = await api.chatbot()
        await api.push(chatbot, "lamps", "The red lamp costs nine euros.")
        before = await retrieve(api, chatbot, "what does the red lamp cost")
        reply = await api.call("PATCH", chatbot, {"documents": {"results": {"prompts": "any"}}})
        assert reply.status == 200, reply.text
        after = await retrieve(api, chatbot, "what does the red lamp cost")
    assert before["passages"][0]["score"] < 0.01 < 0.9 < after["passages"][0]["score"]
    assert after["passages"][0]["parts"]["bias"] == -7.0 + after["is_lenient"] * after["leniency"]
