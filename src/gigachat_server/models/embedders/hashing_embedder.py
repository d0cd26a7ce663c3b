"""An embedder that costs nothing: each word adds 1 or -1 to a few of 384 numbers chosen by its hash.

For load tests, where the real model would be all that is measured, and for tests of everything around it: texts that
share words are near each other. Invariant: a text has the same vector in every process, on every machine, for good.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b

import numpy as np

from gigachat_server.models.base import Matrix, RelevanceScale, Vector

DIMENSION = 384
HASHES = 4  # numbers that one word touches: two words rarely share them all
_WORD = re.compile(r"\w+")


@lru_cache(maxsize=32_768)
def _digest(word: str) -> bytes:
    return blake2b(word.encode("utf-8", "replace"), digest_size=4 * HASHES).digest()


def embed(text: str) -> Vector:
    """The unit vector of the text's words, however often each occurs. A text without words is a word of its own."""
    words = sorted(set(_WORD.findall(text.lower()))) or [""]
    digests = b"".join(map(_digest, words))
    numbers = np.frombuffer(digests, "<u4")
    signs = (numbers % 2).astype(np.float64) * 2 - 1
    vector = np.bincount(numbers // 2 % DIMENSION, weights=signs, minlength=DIMENSION).astype(np.float32)
    length = math.sqrt(float(vector @ vector))
    if length == 0:  # words that cancel out: one in billions, but a vector of no length compares with nothing
        vector[0] = length = 1.0
    return vector / np.float32(length)


class HashingEmbedder:
    """Implements `Embedder`, instantly and deterministically. Knows words, no meanings: not for answering people."""

    name = "hashing-384"
    dimension = DIMENSION
    # Unrelated texts are at cosine 0 +- 0.05 and shared words show in the coverage too, so both have an even say.
    scale = RelevanceScale(cosine=9.0, coverage=9.0, bias=-7.0)

    async def embed_prompt(self, text: str) -> Vector:
        return embed(text)

    async def embed_prompts(self, texts: Sequence[str]) -> Matrix:
        return await self.embed_passages(texts)

    async def embed_passages(self, texts: Sequence[str]) -> Matrix:
        matrix = np.empty((len(texts), DIMENSION), np.float32)
        for row, text in enumerate(texts):
            matrix[row] = embed(text)
        return matrix

    def start(self) -> None:
        """Nothing takes long."""

    async def aclose(self) -> None:
        pass
