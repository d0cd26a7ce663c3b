"""The network of all-MiniLM-L6-v2, called synchronously: texts in, unit vectors out.

Invariant: a text's vector does not depend on the texts it was given with, beyond rounding: those that run together are
padded and masked.

Measured on two cores, per text: runs of more than about 256 tokens are no faster (180 tokens: 35 passages/s one by
one, 33 in runs of 8, 30 in runs of 16), while short texts gain a third by sharing one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gigachat_server.errors import EmbedderUnavailable
from gigachat_server.models.base import Matrix
from gigachat_server.models.quantised import quantised
from gigachat_server.models.weights import Weights

if TYPE_CHECKING:
    from tokenizers import Encoding

GRAPH = Path(__file__).parents[1] / "assets" / "minilm_fused.onnx"
INT8_GRAPH = Path(__file__).parents[1] / "assets" / "minilm_int8.onnx"
DIMENSION = 384
MAX_TOKENS = 256  # what the model was trained for; the tail of a longer text does not count
MAX_CHARACTERS = 32_768  # far more than 256 tokens of any prose: bounds the tokenising of a huge prompt
RUN_TOKENS = 256  # padded tokens in one run
RUN_OVERHEAD = 6  # what starting one more run costs, in tokens: padding beyond it is dearer


class Network:
    """The loaded model. `embed` may be called from several threads at once."""

    _is_quantised = False

    def __init__(self, weights: Weights) -> None:
        # Both imports take 0.3 s, so they happen in the loading thread: the server answers before they are done.
        import onnxruntime
        import tokenizers

        weights.verify()
        self._tokenizer = tokenizers.Tokenizer.from_file(str(weights.tokenizer))
        # The file itself asks for 128 tokens, and for padding every text to 128: four times the work for a prompt.
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer.no_padding()
        options = onnxruntime.SessionOptions()
        # Two threads that run one session are 40 % faster than one run over two threads.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # A graph given as bytes has no folder of its own; the weights are mapped from theirs, not copied.
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(weights.model.parent))
        if self._is_quantised:
            self._given = quantised(weights.model)  # kept with the values, since the session need not copy them
            self._values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in self._given.values()]
            options.add_external_initializers(list(self._given), self._values)
        graph = INT8_GRAPH if self._is_quantised else GRAPH
        self._session = onnxruntime.InferenceSession(graph.read_bytes(), options, providers=["CPUExecutionProvider"])

    def embed(self, texts: Sequence[str]) -> Matrix:
        """One unit vector for each text, in order. Raises `EmbedderUnavailable` rather than return NaN."""
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
        (vectors,) = self._session.run(["vectors"], {"ids": ids, "mask": mask})
        return np.asarray(vectors, np.float32)


class Int8Network(Network):
    """The same with products of 8-bit integers: sooner done, and a little less exact."""

    _is_quantised = True


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
