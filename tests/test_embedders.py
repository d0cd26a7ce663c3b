"""What was embedded with another built-in embedder is embedded anew while the server serves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gigachat_server.knowledge.search.vector_space import built_with
from gigachat_server.models.base import Embedder
from gigachat_server.models.embedders.built_in import DEFAULT
from gigachat_server.models.quoting.extractive import ExtractiveModel
from tests.harness import Api, gigachat, until
from tests.models.embedder_weights import built_in_embedder
from tests.turns import rows

DOCUMENTS = {
    "parcels": "Parcels are sent on Mondays and arrive within three days.",
    "warranty": "The warranty of a lamp lasts two years from the date of purchase.",
    "refunds": "Refunds are paid within thirty days, to the card that was charged.",
}
HOURS = {"prompts": ["What are your opening hours?"], "answer": "Nine to five."}
MODELS = "SELECT DISTINCT embedding_model FROM documents UNION SELECT embedding_model FROM fixed_answer_prompts"


def models_with(embedder: Embedder) -> set[tuple[str]]:
    """What `MODELS` finds where everything was made with that one."""
    return {(embedder.name,), (built_with(embedder),)}


async def answer_of(api: Api, chatbot: str, prompt: str, **fields: Any) -> str:
    (reply,) = await api.say(chatbot, prompt, **fields)
    return str(reply["content"])


@pytest.mark.weights
@pytest.mark.parametrize("before, after", [("minilm", DEFAULT), (DEFAULT, "minilm-int8")])
async def test_a_store_of_one_embedder_is_embedded_anew_by_a_server_with_another(tmp_path: Path, before: str, after: str) -> None:
    embedder = built_in_embedder(before)
    async with gigachat(tmp_path, embedder=embedder, model=ExtractiveModel(embedder)) as api:
        chatbot, key = await api.chatbot(), api.key
        for name, content in DOCUMENTS.items():
            await api.push(chatbot, name, content)
        assert (await api.post(f"{chatbot}/fixed-answers", HOURS)).status == 201
        assert "two years" in await answer_of(api, chatbot, "How long is the warranty of a lamp?", conversation="old")
        assert set(await rows(api, MODELS)) == models_with(embedder)
    embedder = built_in_embedder(after)
    async with gigachat(tmp_path, embedder=embedder, model=ExtractiveModel(embedder)) as api:
        api.key = key
        # While that goes on, everything is served, and a new document is found at once.
        assert await answer_of(api, chatbot, "What are your opening hours?", conversation="now") == HOURS["answer"]
        await api.push(chatbot, "chairs", "The warranty of a chair lasts five years from the date of purchase.")
        assert "five years" in await answer_of(api, chatbot, "How long is the warranty of a chair?", conversation="now")

        async def is_done() -> bool:
            return set(await rows(api, MODELS)) == models_with(embedder)

        await until(is_done)
        assert "two years" in await answer_of(api, chatbot, "How long is the warranty of a lamp?", conversation="then")
        assert await answer_of(api, chatbot, "What are the opening hours?", conversation="then") == HOURS["answer"]
        assert {document["state"] for document in (await api.get(f"{chatbot}/documents")).body} == {"ready"}
