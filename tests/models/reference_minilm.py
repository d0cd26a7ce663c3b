"""all-MiniLM-L6-v2 written out in numpy: slow, obvious, and independent of the graph under test."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tokenizers

from gigachat_server.models.embedders.weights import MODEL_FILE, TOKENIZER_FILE, Weights

Array = npt.NDArray[Any]


def erf(x: Array) -> Array:
    """To 1.5e-7: formula 7.1.26 of Abramowitz and Stegun."""
    t = 1 / (1 + np.float32(0.3275911) * np.abs(x))
    sum_ = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    y: Array = np.sign(x) * (1 - sum_ * np.exp(-(x**2)))
    return y


class ReferenceMiniLM:
    def __init__(self, weights: Weights) -> None:
        self._data = np.asarray(np.memmap(weights.path(MODEL_FILE), np.uint8, mode="r"))
        length = int(self._data[:8].view("<u8")[0])
        self._header: dict[str, Any] = json.loads(bytes(self._data[8 : 8 + length]))
        self._start = 8 + length
        self._tokenizer = tokenizers.Tokenizer.from_file(str(weights.path(TOKENIZER_FILE)))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    def embed(self, texts: Sequence[str]) -> Array:
        """The tokens of all texts stand below each other: a layer sees all rows at once, attention those of one text."""
        tokens = [self._tokenize(text) for text in texts]
        ends = np.cumsum([len(ids) for ids in tokens])
        parts = [slice(end - len(ids), end) for ids, end in zip(tokens, ends, strict=True)]
        positions = [position for ids in tokens for position in range(len(ids))]
        x = self._get("embeddings.word_embeddings.weight")[[id_ for ids in tokens for id_ in ids]]
        x = x + self._get("embeddings.position_embeddings.weight")[positions]
        x = x + self._get("embeddings.token_type_embeddings.weight")[0]
        x = self._norm(x, "embeddings.LayerNorm")
        for number in range(6):
            x = self._layer(x, f"encoder.layer.{number}", parts)
        means = np.stack([x[part].mean(axis=0) for part in parts])
        vectors: Array = means / np.linalg.norm(means, axis=1, keepdims=True)
        return vectors

    def _tokenize(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text).ids
        return ids if len(ids) <= 256 else [*ids[:255], ids[-1]]  # the last is [SEP]

    def _layer(self, x: Array, name: str, parts: list[slice]) -> Array:
        query, key, value = (self._linear(x, f"{name}.attention.self.{kind}") for kind in ("query", "key", "value"))
        seen = np.empty_like(x)
        for part in parts:
            for head in (slice(start, start + 32) for start in range(0, 384, 32)):
                scores = query[part, head] @ key[part, head].T / math.sqrt(32)
                odds = np.exp(scores - scores.max(axis=-1, keepdims=True))
                seen[part, head] = odds / odds.sum(axis=-1, keepdims=True) @ value[part, head]
        x = self._norm(self._linear(seen, f"{name}.attention.output.dense") + x, f"{name}.attention.output.LayerNorm")
        inner = self._linear(x, f"{name}.intermediate.dense")
        active = inner * (1 + erf(inner / math.sqrt(2))) / 2
        return self._norm(self._linear(active, f"{name}.output.dense") + x, f"{name}.output.LayerNorm")

    def _linear(self, x: Array, name: str) -> Array:
        y: Array = x @ self._get(f"{name}.weight").T + self._get(f"{name}.bias")
        return y

    def _norm(self, x: Array, name: str) -> Array:
        centred = x - x.mean(axis=-1, keepdims=True)
        spread = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-12)
        y: Array = centred / spread * self._get(f"{name}.weight") + self._get(f"{name}.bias")
        return y

    def _get(self, name: str) -> Array:
        entry = self._header[name]
        start, end = (self._start + offset for offset in entry["data_offsets"])
        return self._data[start:end].view("<f4").reshape(entry["shape"])
