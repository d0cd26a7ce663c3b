"""Writes the graphs that the built-in embedders run; `--check` compares them with the committed ones.

A graph holds the architecture and no weights. In those of all-MiniLM-L6-v2 each initializer is a range of bytes in the
published `model.safetensors`; in its one for 8-bit integers the matrices of products are given when it is loaded, under the
names that `quantised.py` has. That of multilingual-e5-small begins behind the word rows, and all of it is given. They are
built by hand because onnxruntime's fused operators (domain com.microsoft) make one run half as many steps as an exported
graph has, and because pooling and normalisation then cost no trip through Python.

Invariant: the same published files always give the same bytes.

Three choices were measured on two cores:
- The feed-forward and output matrices are stored [out, in]. Gemm takes them so (transB) and packs them straight from
  the mapped file; MatMul would need transposed copies: 24 MB more at rest, 40 MB more under load, and no faster.
- Attention wants one [in, 3 * out] matrix of query, key and value: onnxruntime makes it while loading (0.02 s). Three
  products and MultiHeadAttention instead were 5 % slower on long passages.
- The vector is the normalised *sum* over the unmasked tokens: dividing by their number first would change nothing.
"""

from __future__ import annotations

import argparse
import sys
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import msgspec
from onnx import NodeProto, TensorProto, helper

from gigachat_server.models.embedders import e5, minilm, quantised, weights

HEADS, HIDDEN = 12, 384
EPSILON = 1e-12
FUSED = "com.microsoft"


class Graph(ABC):
    """Collects nodes and initializers. Every method returns the name of the tensor that it adds."""

    inputs: tuple[tuple[str, int, list[str | int]], ...]
    mask = ""  # the input that tells tokens from padding; "" where no text is padded

    def __init__(self, name: str, layers: int, *, is_quantised: bool) -> None:
        self.is_quantised = is_quantised
        self.layers = layers
        self._name = name
        self._products = quantised.products(layers)
        self._initializers: dict[str, TensorProto] = {}
        self._nodes: list[NodeProto] = []

    @abstractmethod
    def weight(self, name: str) -> str:
        """The tensor that has this name in BERT."""

    @abstractmethod
    def shape_of(self, name: str) -> list[int]:
        """That of the tensor of this name; a matrix is [out, in]."""

    def given(self, name: str, data_type: int, *shape: int) -> str:
        """A tensor that is in no file."""
        tensor = TensorProto(name=name, data_type=data_type, dims=shape, data_location=TensorProto.EXTERNAL)
        tensor.external_data.add(key="location", value="given when the model is loaded")
        self._initializers[name] = tensor
        return name

    def integers(self, name: str, *values: int) -> str:
        self._initializers[name] = helper.make_tensor(name, TensorProto.INT64, [len(values)], values)
        return name

    def add(self, operator: str, inputs: list[str], output: str, *, unused_outputs: int = 0, **attributes: Any) -> str:
        outputs = [output] + [""] * unused_outputs
        self._nodes.append(helper.make_node(operator, inputs, outputs, **attributes))
        return output

    def split(self, name: str, parts: list[str]) -> None:
        """Into equal parts of the last dimension."""
        self._nodes.append(helper.make_node("Split", [name], parts, axis=2))

    def fused(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        return self.add(operator, inputs, output, domain=FUSED, **attributes)

    def quantised_product(self, rows: str, name: str) -> str:
        """A product of integers: the rows are quantised as they come, the matrix with a scale for each of its columns."""
        shapes = [self.shape_of(matrix) for matrix in self._products[name]]
        inner, outer = shapes[0][1], sum(shape[0] for shape in shapes)
        matrix = self.given(quantised.matrix_name(name), TensorProto.INT8, inner, outer)
        scales = self.given(quantised.scales_name(name), TensorProto.FLOAT, outer)
        return self.fused("DynamicQuantizeMatMul", [rows, matrix, scales], f"{name}.product")

    def serialize(self) -> bytes:
        inputs = [helper.make_tensor_value_info(*each) for each in self.inputs]
        vectors = helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["texts", HIDDEN])
        graph = helper.make_graph(self._nodes, self._name, inputs, [vectors], list(self._initializers.values()))
        # Versions that the oldest supported onnxruntime knows; no producer, so the bytes do not depend on the tool's.
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid(FUSED, 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        return bytes(model.SerializeToString(deterministic=True))


class MiniLMGraph(Graph):
    inputs = (("ids", TensorProto.INT32, ["texts", "tokens"]), ("mask", TensorProto.INT32, ["texts", "tokens"]))
    mask = "mask"

    def __init__(self, model: Path, *, is_quantised: bool) -> None:
        super().__init__(weights.MINILM.name, minilm.LAYERS, is_quantised=is_quantised)
        self._header, self._start = minilm.read_header(model)

    def weight(self, name: str, *, rows: int | None = None) -> str:
        """The tensor of this name in the weights; only its first rows if a number is given."""
        stored = self._stored(name)
        assert stored.dtype == "F32", f"{name} is {stored.dtype}"
        shape = [rows or stored.shape[0], *stored.shape[1:]]
        start, end = stored.data_offsets
        size = (end - start) // stored.shape[0] * shape[0]
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape, data_location=TensorProto.EXTERNAL)
        for key, value in (("location", weights.MODEL_FILE), ("offset", self._start + start), ("length", size)):
            tensor.external_data.add(key=key, value=str(value))
        self._initializers[name] = tensor
        return name

    def shape_of(self, name: str) -> list[int]:
        return self._stored(name).shape

    def _stored(self, name: str) -> minilm.Tensor:
        return msgspec.json.decode(self._header[name], type=minilm.Tensor)


class E5Graph(Graph):
    """It is given the word rows with their positions, of one text alone."""

    inputs = (("words", TensorProto.FLOAT, ["texts", "tokens", HIDDEN]),)

    def __init__(self) -> None:
        super().__init__(weights.E5.name, e5.LAYERS, is_quantised=True)

    def weight(self, name: str) -> str:
        return self.given(name, TensorProto.FLOAT, *self.shape_of(name))

    def shape_of(self, name: str) -> list[int]:
        outer = e5.INNER if ".intermediate." in name else HIDDEN
        if "LayerNorm" in name or name.endswith(".bias"):
            return [outer]
        is_back = name.endswith(".output.dense.weight") and ".attention." not in name
        return [outer, e5.INNER if is_back else HIDDEN]


def add_embeddings(graph: MiniLMGraph) -> str:
    """Word, position and segment together. Every token is of segment 0, so its row joins the positions at load."""
    segment = graph.weight("embeddings.token_type_embeddings.weight", rows=1)
    positions = graph.add("Add", [graph.weight("embeddings.position_embeddings.weight"), segment], "positions")
    words = graph.weight("embeddings.word_embeddings.weight")
    norm = [graph.weight("embeddings.LayerNorm.weight"), graph.weight("embeddings.LayerNorm.bias")]
    # What is absent is named "": segment ids, segment table, and the second output (lengths, which we have as a mask).
    inputs = ["ids", "", words, positions, "", *norm]
    return graph.fused("EmbedLayerNormalization", inputs, "state.0", unused_outputs=1, epsilon=EPSILON)


def add_product(graph: Graph, rows: str, weight: str) -> str:
    if graph.is_quantised:
        return graph.quantised_product(rows, weight)
    return graph.add("Gemm", [rows, graph.weight(weight)], f"{weight}.product", transB=1)


def add_rows(graph: Graph, state: str) -> str:
    """The state with texts and tokens as one dimension: Gemm knows only two."""
    return graph.add("Reshape", [state, "flat"], f"{state}.rows")


def add_layer(graph: Graph, state: str, number: int) -> str:
    layer = f"encoder.layer.{number}"
    own = f"{layer}.attention.self"
    attended = add_quantised_attention(graph, state, own) if graph.is_quantised else add_attention(graph, state, own)

    product = add_product(graph, add_rows(graph, attended), f"{layer}.attention.output.dense.weight")
    seen = add_residual(graph, product, state, f"{layer}.attention.output")
    inner = add_product(graph, add_rows(graph, seen), f"{layer}.intermediate.dense.weight")
    inner_bias = graph.weight(f"{layer}.intermediate.dense.bias")
    active = graph.fused("BiasGelu", [inner, inner_bias], f"{layer}.intermediate")  # exact, by erf: as trained
    return add_residual(graph, add_product(graph, active, f"{layer}.output.dense.weight"), seen, f"{layer}.output")


KINDS = ("query", "key", "value")


def add_attention(graph: Graph, state: str, own: str) -> str:
    columns = [graph.add("Transpose", [graph.weight(f"{own}.{k}.weight")], f"{own}.{k}.columns") for k in KINDS]
    matrix = graph.add("Concat", columns, f"{own}.weight", axis=1)
    return graph.fused("Attention", [state, matrix, add_bias(graph, own), "mask"], f"{own}.output", num_heads=HEADS)


def add_quantised_attention(graph: Graph, state: str, own: str) -> str:
    product = graph.quantised_product(add_rows(graph, state), own)
    parts = [f"{own}.{kind}" for kind in KINDS]
    graph.split(graph.add("Reshape", [product, "shape.three"], f"{own}.shaped"), parts)
    return graph.fused("MultiHeadAttention", [*parts, add_bias(graph, own), graph.mask], f"{own}.output", num_heads=HEADS)


def add_bias(graph: Graph, own: str) -> str:
    return graph.add("Concat", [graph.weight(f"{own}.{kind}.bias") for kind in KINDS], f"{own}.bias", axis=0)


def add_residual(graph: Graph, product: str, state: str, part: str) -> str:
    """LayerNorm(product + bias + state)."""
    shaped = graph.add("Reshape", [product, "shape"], f"{part}.shaped")
    norm = [graph.weight(f"{part}.LayerNorm.weight"), graph.weight(f"{part}.LayerNorm.bias")]
    inputs = [shaped, state, *norm, graph.weight(f"{part}.dense.bias")]
    return graph.fused("SkipLayerNormalization", inputs, f"{part}.state", epsilon=EPSILON)


def add_pooling(graph: Graph, state: str) -> None:
    one = graph.integers("one", 1)
    if graph.mask:
        kept = graph.add("Cast", [graph.mask], "mask.float", to=TensorProto.FLOAT)
        row = graph.add("Unsqueeze", [kept, one], "mask.row")
        total = graph.add("Squeeze", [graph.add("MatMul", [row, state], "sum.row"), one], "sum")
    else:
        total = graph.add("ReduceSum", [state, one], "sum", keepdims=0)
    graph.add("LpNormalization", [total], "vectors", axis=1, p=2)


def add_layers(graph: Graph, state: str) -> None:
    for number in range(graph.layers):
        state = add_layer(graph, state, number)
    add_pooling(graph, state)


def build_minilm(model: Path, *, is_quantised: bool = False) -> bytes:
    graph = MiniLMGraph(model, is_quantised=is_quantised)
    graph.integers("flat", -1, HIDDEN)
    graph.integers("width", HIDDEN)
    graph.add("Concat", [graph.add("Shape", ["ids"], "ids.shape"), "width"], "shape", axis=0)
    if is_quantised:
        graph.add("Concat", ["ids.shape", graph.integers("width.three", 3 * HIDDEN)], "shape.three", axis=0)
    add_layers(graph, add_embeddings(graph))
    return graph.serialize()


def build_e5() -> bytes:
    graph = E5Graph()
    graph.integers("flat", -1, HIDDEN)
    graph.add("Shape", ["words"], "shape")
    tokens = graph.add("Shape", ["words"], "texts.tokens", end=2)
    graph.add("Concat", [tokens, graph.integers("width.three", 3 * HIDDEN)], "shape.three", axis=0)
    norm = [graph.weight("embeddings.LayerNorm.weight"), graph.weight("embeddings.LayerNorm.bias")]
    add_layers(graph, graph.add("LayerNormalization", ["words", *norm], "state.0", epsilon=EPSILON))
    return graph.serialize()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a committed graph differs")
    check: bool = parser.parse_args().check
    found = weights.find(weights.MINILM)
    found.verify()
    model = found.path(weights.MODEL_FILE)
    contents = {
        minilm.GRAPH: build_minilm(model),
        minilm.INT8_GRAPH: build_minilm(model, is_quantised=True),
        e5.GRAPH: build_e5(),
    }
    differing = 0
    for asset, content in contents.items():
        if check:
            same = asset.is_file() and asset.read_bytes() == content
            print(f"{asset.name}: {'up to date' if same else 'differs, run tools/build_embedder_graph.py'}")
            differing += not same
            continue
        asset.write_bytes(content)
        print(f"{asset.name}: {len(content)} bytes")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
