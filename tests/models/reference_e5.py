"""multilingual-e5-small written out in numpy, in single precision: slow, obvious, and independent of the code under test."""

from __future__ import annotations

import itertools
import math
import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tokenizers
from tests.models.reference_minilm import erf
from tokenizers import models, pre_tokenizers

Array = npt.NDArray[Any]
CONTROLS = (0, 1, 2, 3, 250001)  # begin, padding, end, unknown, mask


class ReferenceE5:
    def __init__(self, path: Path) -> None:
        self._bytes = path.read_bytes()
        self._at = 44
        count, _, _, _, self._unknown = self._read("5i")
        (size,) = self._read("Q")
        ends = self._read(f"{count + 1}I")
        scores = self._read(f"{count}f")
        text = self._read(f"{size}s")[0]
        # Those that control are given names that no text spells.
        names = [text[start:end].decode() for start, end in itertools.pairwise(ends)]
        names = [f"\x00{name}" if number in CONTROLS else name for number, name in enumerate(names)]
        self._tokenizer = tokenizers.Tokenizer(models.Unigram(list(zip(names, scores, strict=True)), self._unknown, False))
        self._tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
        self.normalisation = {}
        for _ in range(self._read("iI")[0]):
            character, length = self._read("IB")
            self.normalisation[character] = "".join(map(chr, self._read(f"{length}I")))
        self._matrices: dict[str, Array] = {}
        self._tensors = {}
        for _ in range(self._read("i")[0]):
            name = self._read(f"{self._read('H')[0]}s")[0].decode()
            _, _, offset, _ = self._read("BIQQ")
            self._tensors[name] = offset

    def _read(self, form: str) -> tuple[Any, ...]:
        self._at += struct.calcsize(f"<{form}")
        return struct.unpack_from(f"<{form}", self._bytes, self._at - struct.calcsize(f"<{form}"))

    def tokens(self, text: str) -> list[int]:
        blank = text.encode("utf-8", "replace").decode().translate(self.normalisation)
        ids = self._tokenizer.encode(re.sub(" +", " ", blank).strip(" "), add_special_tokens=False).ids
        return [0, *ids[:510], 2]

    def embed(self, texts: Sequence[str]) -> Array:
        vectors = np.stack([self._embed(self.tokens(text)) for text in texts])
        unit: Array = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit

    def _embed(self, ids: list[int]) -> Array:
        words = np.stack([self._blocks("emb.word", 384, row=id_) for id_ in ids])
        x = words + self._floats("emb.pos", 512, 384)[: len(ids)] + self._floats("emb.type", 2, 384)[0]
        x = self._norm(x, "emb.ln")
        for layer in range(12):
            query, key, value = (self._linear(x, f"l{layer}.{kind}", 384, 384) for kind in "qkv")
            seen = np.empty_like(x)
            for head in (slice(start, start + 32) for start in range(0, 384, 32)):
                scores = query[:, head] @ key[:, head].T / math.sqrt(32)
                odds = np.exp(scores - scores.max(axis=-1, keepdims=True))
                seen[:, head] = odds / odds.sum(axis=-1, keepdims=True) @ value[:, head]
            x = self._norm(self._linear(seen, f"l{layer}.ao", 384, 384) + x, f"l{layer}.aln")
            inner = self._linear(x, f"l{layer}.fi", 1536, 384)
            active = inner * (1 + erf(inner / math.sqrt(2))) / 2
            x = self._norm(self._linear(active, f"l{layer}.fo", 384, 1536) + x, f"l{layer}.oln")
        mean: Array = x.mean(axis=0)
        return mean

    def _linear(self, x: Array, name: str, rows: int, columns: int) -> Array:
        if name not in self._matrices:
            self._matrices[name] = self._blocks(f"{name}.w", rows * columns).reshape(rows, columns)
        y: Array = x @ self._matrices[name].T + self._floats(f"{name}.b", rows)
        return y

    def _norm(self, x: Array, name: str) -> Array:
        centred = x - x.mean(axis=-1, keepdims=True)
        spread = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-12)
        y: Array = centred / spread * self._floats(f"{name}.w", 384) + self._floats(f"{name}.b", 384)
        return y

    def _floats(self, name: str, *shape: int) -> Array:
        return np.frombuffer(self._bytes, "<f4", math.prod(shape), self._tensors[name]).reshape(shape)

    def _blocks(self, name: str, count: int, *, row: int = 0) -> Array:
        """Numbers in blocks of 32: a scale of 16 bits, then the lower and the upper halves of 16 bytes, less 8."""
        size = count // 32 * 18
        blocks = np.frombuffer(self._bytes, "u1", size, self._tensors[name] + row * size).reshape(-1, 18)
        scales = blocks[:, :2].copy().view("<f2").astype(np.float32)
        halves = np.concatenate([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], axis=1)
        numbers: Array = ((halves.astype(np.float32) - 8) * scales).ravel()
        return numbers
