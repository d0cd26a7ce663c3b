"""all-MiniLM-L6-v2: its vectors are those of the published model."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import numpy as np
import pytest
from tests.models.embedder_texts import LONG, TEXTS
from tests.models.embedder_weights import built_in_embedder, require_weights
from tests.models.reference_minilm import ReferenceMiniLM

import build_embedder_graph
from gigachat_server.models.embedders.built_in import MINILM
from gigachat_server.models.embedders.local_embedder import LocalEmbedder
from gigachat_server.models.embedders.minilm import GRAPH, INT8_GRAPH, runs
from gigachat_server.models.embedders.weights import MODEL_FILE


@pytest.fixture(scope="module")
def embedder() -> Iterator[LocalEmbedder]:
    embedder = built_in_embedder("minilm")
    yield embedder
    asyncio.run(embedder.aclose())


@pytest.mark.weights
async def test_vectors_are_those_of_the_model_written_out_in_numpy(embedder: LocalEmbedder) -> None:
    expected = ReferenceMiniLM(require_weights(MINILM.published)).embed(
        [text.encode("utf-8", "replace").decode() for text in TEXTS]
    )
    found = await embedder.embed_passages(TEXTS)
    assert found.dtype == np.float32 and found.shape == (len(TEXTS), 384)
    assert np.abs(np.linalg.norm(found, axis=1) - 1).max() < 1e-6
    assert (found * expected).sum(axis=1).min() > 0.999999


@pytest.mark.weights
async def test_published_similarities(embedder: LocalEmbedder) -> None:
    # From the sentence-transformers documentation, for this model.
    texts = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
    a, b, c = await embedder.embed_passages(texts)
    assert [float(a @ b), float(a @ c), float(b @ c)] == pytest.approx([0.6660, 0.1046, 0.1411], abs=2e-4)


@pytest.mark.weights
async def test_integers_make_vectors_near_those_of_single_precision_and_tell_them_apart(embedder: LocalEmbedder) -> None:
    integers = built_in_embedder("minilm-int8")
    assert integers.name != embedder.name, "vectors of the two are never compared"
    exact, near = await embedder.embed_passages([*TEXTS, LONG]), await integers.embed_passages([*TEXTS, LONG])
    assert np.allclose(np.linalg.norm(near, axis=1), 1, atol=1e-5)
    cosines = (exact * near).sum(axis=1)
    assert cosines.min() > 0.95 and cosines.mean() > 0.985
    assert cosines.min() < 0.9999, "these are integers"
    alone = [await integers.embed_prompt(text) for text in (TEXTS[3], TEXTS[5], LONG)]
    beside = await integers.embed_passages([TEXTS[3], TEXTS[4], LONG, TEXTS[5]])
    assert np.abs(np.stack(alone) - beside[[0, 3, 2]]).max() < 1e-6
    await integers.aclose()


@pytest.mark.weights
def test_the_graphs_are_what_the_tool_builds() -> None:
    model = require_weights(MINILM.published).path(MODEL_FILE)
    assert build_embedder_graph.build_minilm(model) == GRAPH.read_bytes()
    assert build_embedder_graph.build_minilm(model, is_quantised=True) == INT8_GRAPH.read_bytes()


@pytest.mark.parametrize(
    "lengths, expected",
    [
        ([], []),
        ([256], [[0]]),
        ([10, 10, 10], [[0, 1, 2]]),
        ([200, 10, 200, 11], [[1, 3], [0], [2]]),  # like lengths, shortest first, no more than 256 tokens
        ([10, 30], [[0], [1]]),  # 20 tokens of padding are dearer than a run
        ([16] * 17, [list(range(16)), [16]]),
    ],
)
def test_texts_that_run_together(lengths: list[int], expected: list[list[int]]) -> None:
    assert runs(lengths) == expected
