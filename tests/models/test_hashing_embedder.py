from __future__ import annotations

import subprocess
import sys

import numpy as np

from gigachat_server.models.base import Embedder
from gigachat_server.models.embedders.hashing_embedder import HashingEmbedder, embed

CODE = "from gigachat_server.models.embedders.hashing_embedder import embed; print(embed('Where is my parcel?').tobytes().hex())"


def test_vectors_are_of_unit_length_for_any_text() -> None:
    for text in ("", "   ", "word", "Über 東京 👍", "\ud800", "a " * 5000):
        vector = embed(text)
        assert vector.shape == (384,) and vector.dtype == np.float32
        assert abs(float(np.linalg.norm(vector)) - 1) < 1e-6


def test_shared_words_bring_texts_together() -> None:
    prompt = embed("How long does the warranty last?")
    assert float(prompt @ embed("The warranty: how long does it last")) > 0.6
    assert abs(float(prompt @ embed("Bicycles may be parked behind our shop"))) < 0.25
    np.testing.assert_array_equal(embed("Parcel, MY parcel"), embed("my parcel"))


def test_vectors_are_the_same_in_another_process() -> None:
    found = subprocess.run([sys.executable, "-c", CODE], check=True, capture_output=True, text=True).stdout.strip()
    assert found == embed("Where is my parcel?").tobytes().hex()


async def test_passages_and_prompts_agree() -> None:
    embedder: Embedder = HashingEmbedder()
    texts = ["one", "two words", ""]
    matrix = await embedder.embed_passages(texts)
    for row, text in enumerate(texts):
        np.testing.assert_array_equal(matrix[row], await embedder.embed_prompt(text))
    assert (await embedder.embed_passages([])).shape == (0, embedder.dimension)
    await embedder.aclose()
