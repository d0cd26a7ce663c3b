from __future__ import annotations

import asyncio
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.models.embedder_weights import require_weights
from tests.models.reference_minilm import ReferenceMiniLM

from gigachat_server import settings
from gigachat_server.app import make_embedder
from gigachat_server.errors import EmbedderUnavailable
from gigachat_server.models.local_embedder import Int8Embedder, LocalEmbedder
from gigachat_server.models.minilm import GRAPH, INT8_GRAPH, runs
from gigachat_server.models.weights import MODEL_FILE, TOKENIZER_FILE, Weights

pytestmark = pytest.mark.weights

TEXTS = [
    "",
    " \n\t ",
    "a",
    "Where is my parcel?",
    "WHERE IS MY PARCEL?!",
    "The warranty lasts 24 months from the date of purchase; keep the receipt.",
    "Où puis-je retirer mon colis après 18 h ?",
    "Wie kündige ich mein Abonnement, ohne Gebühren zu zahlen?",
    "Как изменить адрес доставки?",
    "返品はどうすればいいですか。",
    "如何更改我的送货地址？",
    "كيف أغير عنوان التوصيل؟",
    "👍🏽🎉 great 👨‍👩‍👧 thanks!!",
    "e\u0301 \u00e9 \ufb01 \u200b\u00ad zero width and combining",
    "[CLS] [SEP] [PAD] [MASK] are tokens of the model",
    "line\r\nbreaks\x00and\x07controls\ud800 lone surrogate",
    "https://example.com/a?b=c&d=%20 error 0x80070057 user@example.com",
    "antidisestablishmentarianism" * 5,
    "x" * 150,
    "| name | price |\n|---|---|\n| plan A | $12.50 |\n| plan B | $99.00 |",
    "Our shop ships to forty countries and refunds within thirty days. " * 25,
    "日本語の長い文章です。" * 8,
]
LONG = "Refunds are paid within thirty days of the return, to the card that was charged. " * 12


@pytest.fixture(scope="module")
def weights() -> Weights:
    return require_weights()


@pytest.fixture(scope="module")
def embedder(weights: Weights) -> Iterator[LocalEmbedder]:
    embedder = LocalEmbedder(weights)
    embedder.start()
    yield embedder
    asyncio.run(embedder.aclose())


async def test_vectors_are_those_of_the_model_written_out_in_numpy(weights: Weights, embedder: LocalEmbedder) -> None:
    expected = ReferenceMiniLM(weights).embed([text.encode("utf-8", "replace").decode() for text in TEXTS])
    found = await embedder.embed_passages(TEXTS)
    assert found.dtype == np.float32 and found.shape == (len(TEXTS), 384)
    assert np.abs(np.linalg.norm(found, axis=1) - 1).max() < 1e-6
    assert (found * expected).sum(axis=1).min() > 0.999999


async def test_published_similarities(embedder: LocalEmbedder) -> None:
    # From the sentence-transformers documentation, for this model.
    texts = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
    a, b, c = await embedder.embed_passages(texts)
    assert [float(a @ b), float(a @ c), float(b @ c)] == pytest.approx([0.6660, 0.1046, 0.1411], abs=2e-4)


async def test_a_vector_does_not_depend_on_its_neighbours(embedder: LocalEmbedder) -> None:
    together = await asyncio.gather(*(embedder.embed_prompt(text) for text in TEXTS))
    for text, vector in zip(TEXTS, together, strict=True):
        assert vector.shape == (384,)
        np.testing.assert_allclose(await embedder.embed_prompt(text), vector, atol=2e-6)


async def test_integers_make_vectors_near_those_of_single_precision_and_tell_them_apart(
    weights: Weights, embedder: LocalEmbedder
) -> None:
    integers = Int8Embedder(weights)
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


def test_the_setting_chooses_between_single_precision_and_integers(tmp_path: Path, weights: Weights) -> None:
    given = {"data": str(tmp_path), "embedding_path": str(weights.model.parent)}
    made = [make_embedder(settings.load({**given, "embedder": name}, {})) for name in ("local", "local-int8")]
    assert [type(embedder) for embedder in made] == [LocalEmbedder, Int8Embedder]


async def test_concurrent_calls_get_their_own_vectors(embedder: LocalEmbedder) -> None:
    documents = [TEXTS[start : start + 3] for start in range(len(TEXTS) - 2)]
    whole = await embedder.embed_passages(TEXTS)
    parts = await asyncio.gather(*(embedder.embed_passages(document) for document in documents))
    for start, part in enumerate(parts):
        np.testing.assert_allclose(part, whole[start : start + 3], atol=2e-6)
    assert (await embedder.embed_passages([])).shape == (0, 384)


async def test_a_prompt_goes_before_waiting_passages(embedder: LocalEmbedder) -> None:
    passages = asyncio.create_task(embedder.embed_passages([LONG] * 100))
    await embedder.embed_prompt("now")
    assert not passages.done()
    passages.cancel()
    await asyncio.wait([passages])


async def test_prompts_at_full_load_do_not_stop_passages(weights: Weights) -> None:
    embedder = LocalEmbedder(weights, threads=1)
    await embedder.embed_prompt("loaded")
    ended: list[str] = []
    async with asyncio.TaskGroup() as group:
        for _ in range(300):
            group.create_task(embedder.embed_prompt("hi")).add_done_callback(lambda _: ended.append("prompt"))
        passage = group.create_task(embedder.embed_passages(["some"]))
        passage.add_done_callback(lambda _: ended.append("passage"))
    assert 100 < ended.index("passage") < 300
    await embedder.aclose()


async def test_a_cancelled_call_leaves_the_others_alone(embedder: LocalEmbedder) -> None:
    expected = await embedder.embed_passages(TEXTS[:4])
    calls = [asyncio.create_task(embedder.embed_passages(TEXTS[:4])) for _ in range(20)]
    prompts = [asyncio.create_task(embedder.embed_prompt(TEXTS[3])) for _ in range(20)]
    await embedder.embed_prompt("some of them are running now")
    for task in (*calls[::2], *prompts[::2]):
        task.cancel()
    for matrix in await asyncio.gather(*calls[1::2]):
        np.testing.assert_allclose(matrix, expected, atol=2e-6)
    for vector in await asyncio.gather(*prompts[1::2]):
        np.testing.assert_allclose(vector, expected[3], atol=2e-6)


def test_a_loop_that_ended_in_the_middle_leaves_the_embedder_working(embedder: LocalEmbedder) -> None:
    async def give_up() -> None:
        asyncio.get_running_loop().create_task(embedder.embed_passages([LONG] * 50))
        await embedder.embed_prompt("now")

    async def ask() -> None:
        async with asyncio.timeout(5):
            await embedder.embed_passages(["still there?"])

    asyncio.run(give_up())
    asyncio.run(ask())


async def test_closing_ends_waiting_and_later_calls(weights: Weights) -> None:
    embedder = LocalEmbedder(weights)
    await embedder.embed_prompt("loaded")
    assert embedder.ready and embedder.failure is None
    waiting = asyncio.create_task(embedder.embed_passages([LONG] * 100))
    await embedder.embed_prompt("the passages wait now")
    await embedder.aclose()
    with pytest.raises(EmbedderUnavailable):
        await waiting
    with pytest.raises(EmbedderUnavailable):
        await embedder.embed_prompt("too late")
    await embedder.aclose()
    assert not embedder.ready


async def test_closing_while_loading_or_before(weights: Weights) -> None:
    embedder = LocalEmbedder(weights)
    waiting = asyncio.create_task(embedder.embed_prompt("first"))
    embedder.start()
    await embedder.aclose()
    with pytest.raises(EmbedderUnavailable):
        await waiting
    await LocalEmbedder(weights).aclose()


async def test_a_model_that_cannot_be_loaded_fails_every_call_and_says_why(weights: Weights, tmp_path: Path) -> None:
    (tmp_path / MODEL_FILE).write_bytes(b"not the model")
    shutil.copy(weights.tokenizer, tmp_path / TOKENIZER_FILE)
    embedder = LocalEmbedder(Weights(tmp_path / MODEL_FILE, tmp_path / TOKENIZER_FILE))
    results = await asyncio.gather(embedder.embed_prompt("a"), embedder.embed_passages(["b", "c"]), return_exceptions=True)
    assert [type(result) for result in results] == [EmbedderUnavailable, EmbedderUnavailable]
    assert embedder.failure is not None and "damaged" in embedder.failure and not embedder.ready
    with pytest.raises(EmbedderUnavailable) as raised:
        await embedder.embed_prompt("d")
    assert str(tmp_path) not in str(raised.value)
    await embedder.aclose()


def test_importing_the_embedder_loads_no_runtime() -> None:
    code = (
        "import sys, gigachat_server.models.local_embedder;"
        "sys.exit(bool({'onnxruntime', 'tokenizers', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_graphs_are_what_the_tool_builds(weights: Weights) -> None:
    path = Path(__file__).parents[2] / "tools" / "build_embedder_graph.py"
    spec = importlib.util.spec_from_file_location("build_embedder_graph", path)
    assert spec is not None and spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert tool.build(weights.model) == GRAPH.read_bytes()
    assert tool.build(weights.model, is_quantised=True) == INT8_GRAPH.read_bytes()


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
