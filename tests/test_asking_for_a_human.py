"""Who asks for a human gets one, unless the chatbot says otherwise; and a refusal names what is near."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gigachat_server.models.base import HandoffRequest
from gigachat_server.models.embedders.hashing_embedder import HashingEmbedder
from gigachat_server.models.fake import ScriptedModel
from gigachat_server.models.quoting.extractive import ExtractiveModel
from tests.harness import Api, gigachat

TOLD = "I have asked a colleague to join us here."
REFUSAL = "Sorry, I don't know how to help with that."
DOCUMENT = "# Shipping\n\nParcels ship on Monday. The courier comes at nine."


async def waiting(api: Api, chatbot: str) -> bool:
    """Whether a human was asked for."""
    conversation = (await api.get(f"{chatbot}/conversations/c1")).body
    return conversation["handoff_requested_at"] is not None


async def types(api: Api, chatbot: str) -> list[str]:
    return [event["type"] for event in (await api.get(f"{chatbot}/conversations/c1/events?limit=100")).body]


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("I want to talk to a human", TOLD),
        ("Can I speak to someone please?", TOLD),
        (
            "Kann ich bitte mit einem Menschen sprechen?",
            "Ich gebe das an eine Kollegin oder einen Kollegen weiter. Es meldet sich gleich jemand.",
        ),
    ],
)
@pytest.mark.parametrize("is_extractive", [True, False])
async def test_by_default_who_asks_for_a_human_gets_one_whichever_model_answers(
    tmp_path: Path, prompt: str, told: str, *, is_extractive: bool
) -> None:
    embedder = HashingEmbedder()
    scripted = ScriptedModel([REFUSAL])
    async with gigachat(tmp_path, model=ExtractiveModel(embedder) if is_extractive else scripted, embedder=embedder) as api:
        chatbot = await api.chatbot()
        await api.push(chatbot, "shipping", DOCUMENT)
        (reply,) = await api.say(chatbot, prompt)
        assert reply["content"] == told
        assert reply["metadata"]["handoff"] == {"reason": "asked", "note": ""}
        assert (reply["metadata"]["abstained"], reply["metadata"]["finish_reason"]) == (False, "handoff")
        assert (reply["sources"], reply["citations"]) == ([], [])
        assert await waiting(api, chatbot)
        assert (await types(api, chatbot))[-1] == "handoff.requested"
        assert scripted.calls == []
        (again,) = await api.say(chatbot, prompt)
        assert again["content"] == told
        assert (await types(api, chatbot)).count("handoff.requested") == 1
        assert (await api.get(f"{chatbot}/unanswered")).body == []


async def test_in_the_chatbots_own_words(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot(interception={"handoff_message": "Eve is coming."})
        (reply,) = await api.say(chatbot, "Ich möchte mit einem Menschen sprechen")
        assert reply["content"] == "Eve is coming."


async def test_a_chatbot_may_leave_it_to_its_model(tmp_path: Path) -> None:
    model = ScriptedModel(["We are a shop of robots."])
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot(interception={"handoff_when_asked": False})
        (reply,) = await api.say(chatbot, "I want to talk to a human")
        assert reply["content"] == "We are a shop of robots."
        assert not await waiting(api, chatbot)


async def test_who_is_refused_a_human_is_not_on_the_list_of_unanswered_prompts(tmp_path: Path) -> None:
    async with gigachat(tmp_path, model=ExtractiveModel(HashingEmbedder())) as api:
        chatbot = await api.chatbot(interception={"handoff_when_asked": False})
        (reply,) = await api.say(chatbot, "I want to talk to a human")
        assert reply["content"] == REFUSAL
        assert (await api.get(f"{chatbot}/unanswered")).body == []


async def test_what_an_operator_answers_to_that_comes_first(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        body = {"prompts": ["I want to talk to a human"], "answer": "Call 555."}
        assert (await api.post(f"{chatbot}/fixed-answers", body)).status == 201
        (reply,) = await api.say(chatbot, "i want to talk to a human!")
        assert reply["content"] == "Call 555."
        assert not await waiting(api, chatbot)


async def test_a_model_that_may_ask_of_its_own_accord_still_does(tmp_path: Path) -> None:
    async with gigachat(tmp_path, model=ScriptedModel(["Hm.", HandoffRequest("other")])) as api:
        chatbot = await api.chatbot(interception={"handoff": True})
        (reply,) = await api.say(chatbot, "my parcel is on fire")
        assert reply["content"] == f"Hm.\n\n{TOLD}"
        assert await waiting(api, chatbot)


# --- what is near ---

NEAR = {"match_threshold": 1.0}  # so that nothing matches, however near


@pytest.mark.parametrize("when_nothing_matches", ["model", "refuse"])
async def test_a_refusal_names_what_is_near_and_is_no_answer(tmp_path: Path, when_nothing_matches: str) -> None:
    async with gigachat(tmp_path, model=ExtractiveModel(HashingEmbedder())) as api:
        chatbot = await api.chatbot(documents={"results": {**NEAR, "when_nothing_matches": when_nothing_matches}})
        await api.push(chatbot, "shipping.md", DOCUMENT)
        (reply,) = await api.say(chatbot, "When do parcels ship on Monday?")
        assert reply["content"] == f"{REFUSAL}\n\nThis may help: shipping.md"
        assert reply["metadata"]["abstained"] is True
        assert (reply["sources"], reply["citations"]) == ([], [])
        [group] = (await api.get(f"{chatbot}/unanswered")).body
        assert group["prompt"] == "When do parcels ship on Monday?"
        (far,) = await api.say(chatbot, "Who sang Nessun dorma?")
        assert far["content"] == REFUSAL


async def test_a_chatbot_may_suggest_nothing(tmp_path: Path) -> None:
    async with gigachat(tmp_path, model=ExtractiveModel(HashingEmbedder())) as api:
        chatbot = await api.chatbot(documents={"results": {**NEAR, "suggest": False}})
        await api.push(chatbot, "shipping.md", DOCUMENT)
        (reply,) = await api.say(chatbot, "When do parcels ship on Monday?")
        assert reply["content"] == REFUSAL


async def test_the_refusal_is_in_the_language_of_the_prompt_unless_somebody_chose_its_words(tmp_path: Path) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({}, "Dabei kann ich leider nicht helfen."),
        ({"documents": {"results": {"refusal": "Keine Ahnung."}}}, "Keine Ahnung."),
        ({"response": {"system_persona": 'If unsure, say "Pas la moindre idée."'}}, "Pas la moindre idée."),
    ]
    async with gigachat(tmp_path, model=ExtractiveModel(HashingEmbedder())) as api:
        for config, refusal in cases:
            chatbot = await api.chatbot(**config)
            (reply,) = await api.say(chatbot, "Wann fährt der letzte Zug nach Ulm?")
            assert reply["content"] == refusal
            assert reply["metadata"]["abstained"] is True


# --- what is quoted ---


async def test_a_passage_beside_the_one_that_matches_may_answer_and_is_a_source_then(tmp_path: Path) -> None:
    embedder = HashingEmbedder()
    async with gigachat(tmp_path, model=ExtractiveModel(embedder), embedder=embedder) as api:
        chatbot = await api.chatbot(documents={"results": {"match_threshold": 0.0, "match_count": 1}})
        await api.push(chatbot, "lamps", "Lamps, lamps and red lamps are what we have.")
        await api.push(chatbot, "prices", "The price of the red lamp in euros: it costs nine.")
        (reply,) = await api.say(chatbot, "what does the red lamp cost in euros")
        [source] = reply["sources"]
        [citation] = reply["citations"]
        assert (source["name"], citation["number"]) == ("prices-0", 1)
        assert source["content"][citation["start"] : citation["end"]] == "The price of the red lamp in euros: it costs nine."
        assert reply["content"] == "The price of the red lamp in euros: it costs nine. [1]\n\nSource: prices"
        stored = (await api.get(f"{chatbot}/conversations/c1/messages?embedding=true")).body
        assert stored[1:] == [reply]
