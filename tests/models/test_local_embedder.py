from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest
from tests.models.embedder_texts import LONG, TEXTS
from tests.models.embedder_weights import built_in_embedder, require_weights

from gigachat_server import settings
from gigachat_server.configured import make_embedder
from gigachat_server.errors import EmbedderUnavailable
from gigachat_server.models.embedders.built_in import BUILT_IN, DEFAULT
from gigachat_server.models.embedders.local_embedder import LocalEmbedder
from gigachat_server.models.embedders.weights import E5_FILE, Weights

HINTS = get_type_hints(settings.Settings, include_extras=True)
pytestmark = pytest.mark.weights


@pytest.fixture(scope="module")
def embedder() -> Iterator[LocalEmbedder]:
    embedder = built_in_embedder()
    embedder.start()
    yield embedder
    asyncio.run(embedder.aclose())


async def test_a_vector_does_not_depend_on_its_neighbours(embedder: LocalEmbedder) -> None:
    together = await asyncio.gather(*(embedder.embed_prompt(text) for text in TEXTS))
    for text, vector in zip(TEXTS, together, strict=True):
        assert vector.shape == (384,)
        np.testing.assert_allclose(await embedder.embed_prompt(text), vector, atol=2e-6)


@pytest.mark.parametrize("setting", [name for name in get_args(get_args(HINTS["embedder"])[0]) if name != "hashing"])
def test_the_setting_chooses(tmp_path: Path, setting: str) -> None:
    built_in = BUILT_IN[setting]
    folder = require_weights(built_in.published).folder
    given = {"data": str(tmp_path), "embedding_path": str(folder), "embedder": setting}
    made = make_embedder(settings.load(given, {}))
    assert (made.name, made.dimension, made.scale) == (built_in.name, built_in.dimension, built_in.scale)


def test_without_a_setting_the_multilingual_one_embeds() -> None:
    assert settings.load({}, {}).embedder == DEFAULT
    assert BUILT_IN[DEFAULT].name == "multilingual-e5-small-int8"
    assert len({built_in.name for built_in in BUILT_IN.values()}) == len(BUILT_IN), "vectors of two are never compared"


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


async def test_prompts_at_full_load_do_not_stop_passages() -> None:
    embedder = built_in_embedder(threads=1)
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
    expected, of_prompt = await embedder.embed_passages(TEXTS[:4]), await embedder.embed_prompt(TEXTS[3])
    calls = [asyncio.create_task(embedder.embed_passages(TEXTS[:4])) for _ in range(20)]
    prompts = [asyncio.create_task(embedder.embed_prompt(TEXTS[3])) for _ in range(20)]
    await embedder.embed_prompt("some of them are running now")
    for task in (*calls[::2], *prompts[::2]):
        task.cancel()
    for matrix in await asyncio.gather(*calls[1::2]):
        np.testing.assert_allclose(matrix, expected, atol=2e-6)
    for vector in await asyncio.gather(*prompts[1::2]):
        np.testing.assert_array_equal(vector, of_prompt)


def test_a_loop_that_ended_in_the_middle_leaves_the_embedder_working(embedder: LocalEmbedder) -> None:
    async def give_up() -> None:
        asyncio.get_running_loop().create_task(embedder.embed_passages([LONG] * 50))
        await embedder.embed_prompt("now")

    async def ask() -> None:
        async with asyncio.timeout(5):
            await embedder.embed_passages(["still there?"])

    asyncio.run(give_up())
    asyncio.run(ask())


async def test_closing_ends_waiting_and_later_calls() -> None:
    embedder = built_in_embedder()
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


async def test_closing_while_loading_or_before() -> None:
    embedder = built_in_embedder()
    waiting = asyncio.create_task(embedder.embed_prompt("first"))
    embedder.start()
    await embedder.aclose()
    with pytest.raises(EmbedderUnavailable):
        await waiting
    await built_in_embedder().aclose()


async def test_a_model_that_cannot_be_loaded_fails_every_call_and_says_why(tmp_path: Path) -> None:
    (tmp_path / E5_FILE).write_bytes(b"not the model")
    built_in = BUILT_IN[DEFAULT]
    embedder = LocalEmbedder(built_in, Weights(built_in.published, tmp_path))
    results = await asyncio.gather(embedder.embed_prompt("a"), embedder.embed_passages(["b", "c"]), return_exceptions=True)
    assert [type(result) for result in results] == [EmbedderUnavailable, EmbedderUnavailable]
    assert embedder.failure is not None and "damaged" in embedder.failure and not embedder.ready
    with pytest.raises(EmbedderUnavailable) as raised:
        await embedder.embed_prompt("d")
    assert str(tmp_path) not in str(raised.value)
    await embedder.aclose()


def test_importing_the_embedder_loads_no_runtime() -> None:
    code = (
        "import sys, gigachat_server.models.embedders.local_embedder;"
        "sys.exit(bool({'onnxruntime', 'tokenizers', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
