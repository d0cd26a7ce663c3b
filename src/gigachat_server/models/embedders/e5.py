"""The network of multilingual-e5-small, called synchronously: texts in, unit vectors out.

The idea: the published weights have 4 bits a number. The word rows of a text's tokens are gathered from the mapped file,
all matrices become 8-bit integers when the network loads, and the graph begins behind the word rows.

Invariant: each text runs by itself, so its vector does not depend on the texts it was given with: the integers of a run
share one scale.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gigachat_server.errors import EmbedderUnavailable
from gigachat_server.models.base import Matrix
from gigachat_server.models.embedders.q4_file import Q4File
from gigachat_server.models.embedders.quantised import Floats, quantised
from gigachat_server.models.embedders.session import ASSETS, Session
from gigachat_server.models.embedders.weights import E5_FILE, Weights

GRAPH = ASSETS / "e5_int8.onnx"
DIMENSION = 384
LAYERS = 12
INNER = 1536
PROMPT = "query: "  # what the model was trained to see in front of each
PASSAGE = "passage: "
MAX_TOKENS = 512  # what the model has positions for; the tail of a longer text does not count
MAX_READ = 32_768  # characters of a text that are looked at: bounds the work for a huge prompt
MAX_CHARACTERS = 8192  # as many as 512 pieces can have, without the blanks; only runs of unknown characters are longer

# Accents that follow their letter, as some systems write names of files, and letters of Hangul one by one. Not more than a
# few accents: putting many into their order takes quadratic time.
_COMPOSABLE = re.compile("[^\u0300-\u036f][\u0300-\u036f]{1,8}|.[\u3099\u309a]|[\u1100-\u11ff]+")

_PARTS = {  # as the file calls them
    "attention.self.query": "q",
    "attention.self.key": "k",
    "attention.self.value": "v",
    "attention.output.dense": "ao",
    "attention.output.LayerNorm": "aln",
    "intermediate.dense": "fi",
    "output.dense": "fo",
    "output.LayerNorm": "oln",
}


class E5Network:
    """The loaded model. Both ways to embed may be called from several threads at once."""

    def __init__(self, weights: Weights) -> None:
        weights.verify()
        self._file = Q4File(weights.path(E5_FILE))
        segment = self._file.floats("emb.type", 2, DIMENSION)[0]  # every token is of the first
        self._positions = self._file.floats("emb.pos", MAX_TOKENS, DIMENSION) + segment
        self._session = Session(GRAPH, given=given(self._file))

    def embed_prompts(self, texts: Sequence[str]) -> Matrix:
        """One unit vector for each text, in order. Raises `EmbedderUnavailable` rather than return NaN."""
        return self._embed(PROMPT, texts)

    def embed_passages(self, texts: Sequence[str]) -> Matrix:
        return self._embed(PASSAGE, texts)

    def tokens(self, text: str) -> list[int]:
        """The ids of what the network sees of this text, prefix included: at most `MAX_TOKENS`."""
        words = " ".join(filter(None, self._normalised(text[:MAX_READ]).split(" ")))[:MAX_CHARACTERS]
        ids = self._file.unigram.encode(words.split(" ")) if words else []
        return [self._file.begin, *ids[: MAX_TOKENS - 2], self._file.end]

    def _normalised(self, text: str) -> str:
        composed = _COMPOSABLE.sub(lambda found: unicodedata.normalize("NFC", found[0]), text)
        return composed.translate(self._file.normalisation)

    def _embed(self, prefix: str, texts: Sequence[str]) -> Matrix:
        matrix = np.empty((len(texts), DIMENSION), np.float32)
        for row, text in enumerate(texts):
            words = self._file.word_rows(self.tokens(prefix + text))
            words += self._positions[: len(words)]
            matrix[row] = self._session.run(words=words[None])
        if not np.isfinite(matrix).all():
            raise EmbedderUnavailable("The embedding model made a vector that is not finite.")
        return matrix


def given(file: Q4File) -> dict[str, npt.NDArray[Any]]:
    """All tensors of the graph, by the names that BERT gives them."""
    found = quantised(LAYERS, lambda name: _matrix(file, name))
    found["embeddings.LayerNorm.weight"] = file.floats("emb.ln.w", DIMENSION)
    found["embeddings.LayerNorm.bias"] = file.floats("emb.ln.b", DIMENSION)
    for number in range(LAYERS):
        for part, short in _PARTS.items():
            size = INNER if short == "fi" else DIMENSION
            found[f"encoder.layer.{number}.{part}.bias"] = file.floats(f"l{number}.{short}.b", size)
            if part.endswith("LayerNorm"):
                found[f"encoder.layer.{number}.{part}.weight"] = file.floats(f"l{number}.{short}.w", size)
    return found


def _matrix(file: Q4File, name: str) -> Floats:
    """[out, in] of `encoder.layer.<number>.<part>.weight`."""
    _, _, number, part = name.removesuffix(".weight").split(".", 3)
    short = _PARTS[part]
    rows, columns = {"fi": (INNER, DIMENSION), "fo": (DIMENSION, INNER)}.get(short, (DIMENSION, DIMENSION))
    return file.matrix(f"l{number}.{short}.w", rows, columns)
