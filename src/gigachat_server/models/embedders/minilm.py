"""The network of all-MiniLM-L6-v2, called synchronously: texts in, unit vectors out.

Invariant: a text's vector does not depend on the texts it was given with, beyond rounding: those that run together are
padded and masked.

Measured on two cores, per text: runs of more than about 256 tokens are no faster (180 tokens: 35 passages/s one by
one, 33 in runs of 8, 30 in runs of 16), while short texts gain a third by sharing one.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from gigachat_server.errors import EmbedderUnavailable
from gigachat_server.models.base import Matrix
from gigachat_server.models.embedders.quantised import Floats, quantised
from gigachat_server.models.embedders.session import ASSETS, Session
from gigachat_server.models.embedders.weights import MODEL_FILE, TOKENIZER_FILE, Weights

if TYPE_CHECKING:
    from tokenizers import Encoding

GRAPH = ASSETS / "minilm_fused.onnx"
INT8_GRAPH = ASSETS / "minilm_int8.onnx"
DIMENSION = 384
LAYERS = 6
MAX_TOKENS = 256  # what the model was trained for; the tail of a longer text does not count
MAX_CHARACTERS = 32_768  # far more than 256 tokens of any prose: bounds the tokenising of a huge prompt
RUN_TOKENS = 256  # padded tokens in one run
RUN_OVERHEAD = 6  # what starting one more run costs, in tokens: padding beyond it is dearer


class Network:
    """The loaded model. Both ways to embed may be called from several threads at once."""

    _is_quantised = False

    def __init__(self, weights: Weights) -> None:
        import tokenizers  # takes a while, so it happens in the loading thread

        weights.verify()
        model = weights.path(MODEL_FILE)
        self._tokenizer = tokenizers.Tokenizer.from_file(str(weights.path(TOKENIZER_FILE)))
        # The file itself asks for 128 tokens, and for padding every text to 128: four times the work for a prompt.
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer.no_padding()
        given = quantised(LAYERS, _matrices(model)) if self._is_quantised else None
        self._session = Session(INT8_GRAPH if self._is_quantised else GRAPH, folder=model.parent, given=given)

    def embed_prompts(self, texts: Sequence[str]) -> Matrix:
        """One unit vector for each text, in order. Raises `EmbedderUnavailable` rather than return NaN."""
        return self._embed(texts)

    def embed_passages(self, texts: Sequence[str]) -> Matrix:
        return self._embed(texts)

    def _embed(self, texts: Sequence[str]) -> Matrix:
        # A lone surrogate cannot be tokenised; nothing else is changed by this.
        clean = [text[:MAX_CHARACTERS].encode("utf-8", "replace").decode() for text in texts]
        encodings = self._tokenizer.encode_batch_fast(clean)
        matrix = np.empty((len(texts), DIMENSION), np.float32)
        lengths = [len(encoding.ids) for encoding in encodings]
        # One scale is for all rows of a run: with others in it, a text's vector would depend on its company.
        for rows in [[row] for row in range(len(texts))] if self._is_quantised else runs(lengths):
            matrix[rows] = self._run([encodings[row] for row in rows])
        if not np.isfinite(matrix).all():
            raise EmbedderUnavailable("The embedding model made a vector that is not finite.")
        return matrix

    def _run(self, encodings: Sequence[Encoding]) -> Matrix:
        ids = np.zeros((len(encodings), max(len(encoding.ids) for encoding in encodings)), np.int32)
        mask = np.zeros_like(ids)
        for row, encoding in enumerate(encodings):
            ids[row, : len(encoding.ids)] = encoding.ids
            mask[row, : len(encoding.ids)] = 1
        return self._session.run(ids=ids, mask=mask)


class Int8Network(Network):
    """The same with products of 8-bit integers: sooner done, and a little less exact."""

    _is_quantised = True


class Tensor(msgspec.Struct, frozen=True):
    """One tensor in the header of a safetensors file."""

    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


def read_header(model: Path) -> tuple[dict[str, msgspec.Raw], int]:
    """What a safetensors file says of its tensors, and where their bytes begin."""
    with model.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        return msgspec.json.decode(file.read(length), type=dict[str, msgspec.Raw]), 8 + length


def _matrices(model: Path) -> Callable[[str], Floats]:
    header, start = read_header(model)
    numbers = np.memmap(model, np.uint8, "r", offset=start)

    def matrix_of(name: str) -> Floats:
        stored = msgspec.json.decode(header[name], type=Tensor)
        return numbers[slice(*stored.data_offsets)].view(np.float32).reshape(stored.shape)

    return matrix_of


def runs(lengths: Sequence[int]) -> list[list[int]]:
    """Which texts run together, by position: those of like length, where a shared run saves more than its padding."""
    groups: list[list[int]] = []
    longest = 0
    for position in sorted(range(len(lengths)), key=lengths.__getitem__):
        length = lengths[position]
        members = len(groups[-1]) if groups else 0
        if members and members * (length - longest) <= RUN_OVERHEAD and (members + 1) * length <= RUN_TOKENS:
            groups[-1].append(position)
        else:
            groups.append([position])
        longest = length
    return groups
