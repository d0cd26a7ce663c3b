"""multilingual-e5-small: its vectors are those of the published weights, whatever the text."""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Iterator

import numpy as np
import pytest
from tests.models.embedder_texts import HUGE, LANGUAGES, LONG, TEXTS
from tests.models.embedder_weights import built_in_embedder, require_weights
from tests.models.reference_e5 import ReferenceE5

import build_embedder_graph
from gigachat_server.models.embedders import weights
from gigachat_server.models.embedders.e5 import GRAPH, MAX_TOKENS, PASSAGE, PROMPT, E5Network
from gigachat_server.models.embedders.local_embedder import LocalEmbedder


@pytest.fixture(scope="module")
def network() -> E5Network:
    return E5Network(require_weights(weights.E5))


@pytest.fixture(scope="module")
def embedder() -> Iterator[LocalEmbedder]:
    embedder = built_in_embedder()
    yield embedder
    asyncio.run(embedder.aclose())


@pytest.mark.weights
def test_any_text_has_a_vector_of_unit_length_that_its_company_does_not_change(network: E5Network) -> None:
    texts = [*TEXTS, LONG, HUGE, "\U0001f9ff" * 50_000, "\n" * 100_000 + "end", "e" + "\u0301" * 40_000]
    together = network.embed_passages(texts)
    assert together.dtype == np.float32 and together.shape == (len(texts), 384)
    assert np.abs(np.linalg.norm(together, axis=1) - 1).max() < 1e-5
    for text, vector in zip(texts, together, strict=True):
        assert len(network.tokens(PASSAGE + text)) <= MAX_TOKENS
        np.testing.assert_array_equal(network.embed_passages([text])[0], vector)
    assert network.embed_passages([]).shape == (0, 384)


@pytest.fixture(scope="module")
def reference() -> ReferenceE5:
    return ReferenceE5(require_weights(weights.E5).path(weights.E5_FILE))


@pytest.mark.weights
def test_tokens_are_those_that_tokenizers_makes(network: E5Network, reference: ReferenceE5) -> None:
    blanks = " 　\ufeffa\u200b b\xa0\xa0c "
    for text in [*LANGUAGES.values(), *TEXTS, LONG, " ".join(LANGUAGES.values()), blanks]:
        if "\u0301" not in text:  # what is composed first; the table knows single characters alone
            assert network.tokens(PROMPT + text) == reference.tokens(PROMPT + text), text
    assert network.tokens("") == network.tokens(" \n\u200b") == reference.tokens("")


@pytest.mark.weights
@pytest.mark.parametrize("composed", ["café", "Việt", "がぱ", "한국"])
def test_letters_and_their_accents_apart_are_the_same_tokens(network: E5Network, composed: str) -> None:
    apart = unicodedata.normalize("NFD", composed)
    assert composed != apart
    assert network.tokens(composed) == network.tokens(apart)


@pytest.mark.weights
def test_vectors_are_near_those_of_single_precision(network: E5Network, reference: ReferenceE5) -> None:
    texts = [*LANGUAGES.values(), *(text for text in TEXTS if "\u0301" not in text)]
    cosines = (network.embed_passages(texts) * reference.embed([PASSAGE + text for text in texts])).sum(axis=1)
    assert cosines.mean() >= 0.99 and cosines.min() > 0.98


@pytest.mark.weights
async def test_prompts_and_passages_have_their_own_prefix(network: E5Network, embedder: LocalEmbedder) -> None:
    text = "Where is my parcel?"
    prompt, (passage,) = await embedder.embed_prompt(text), await embedder.embed_passages([text])
    np.testing.assert_array_equal(prompt, network.embed_prompts([text])[0])
    np.testing.assert_array_equal(passage, network.embed_passages([text])[0])
    assert not np.array_equal(prompt, passage)
    assert network.tokens(PROMPT + text)[1:4] != network.tokens(PASSAGE + text)[1:4]


@pytest.mark.weights
async def test_prompts_and_passages_that_wait_together_keep_their_own_prefix(network: E5Network, embedder: LocalEmbedder) -> None:
    texts = [f"{number} parcels" for number in range(30)]
    calls = [embedder.embed_prompts(texts), embedder.embed_passages(texts), embedder.embed_prompts(texts[::-1])]
    prompts, passages, reverse = await asyncio.gather(*calls)
    np.testing.assert_array_equal(prompts, network.embed_prompts(texts))
    np.testing.assert_array_equal(passages, network.embed_passages(texts))
    np.testing.assert_array_equal(reverse[::-1], prompts)


def test_the_graph_is_what_the_tool_builds() -> None:
    assert build_embedder_graph.build_e5() == GRAPH.read_bytes()
