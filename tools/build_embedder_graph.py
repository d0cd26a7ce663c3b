"""Writes the graphs of all-MiniLM-L6-v2 that the built-in embedder runs; `--check` compares them with the committed ones.

A graph holds the architecture and no weights: each of its initializers is a range of bytes in the published
`model.safetensors`. In the one for 8-bit integers the matrices of products are given by the embedder when it loads, under
the names that `quantised.py` has. Both are built by hand because onnxruntime's fused operators (domain com.microsoft) make one
run half as many steps as an exported graph has, and because pooling and normalisation then cost no trip through Python.

Invariant: the same `model.safetensors` always gives the same bytes.

Three choices were measured on two cores:
- The feed-forward and output matrices are stored [out, in]. Gemm takes them so (transB) and packs them straight from
  the mapped file; MatMul would need transposed copies: 24 MB more at rest, 40 MB more under load, and no faster.
- Attention wants one [in, 3 * out] matrix of query, key and value: onnxruntime makes it while loading (0.02 s). Three
  products and MultiHeadAttention instead were 5 % slower on long passages.
- The vector is the normalised *sum* over the unmasked tokens: dividing by their number first would change nothing.
"""

from __future__ import annotations

import argparse
import struct
import sys
from pathlib import Path
from typing import Any

import msgspec
from onnx import NodeProto, TensorProto, helper

from gigachat_server.models import quantised, weights

ASSETS = Path(__file__).parents[1] / "src/gigachat_server/assets"
LAYERS, HEADS, HIDDEN = 6, 12, 384
EPSILON = 1e-12
FUSED = "com.microsoft"


class Range(msgspec.Struct, frozen=True):
    """One tensor in the header of a safetensors file."""

    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


class Graph:
    """Collects nodes and initializers. Every method returns the name of the tensor that it adds."""

    def __init__(self, model: Path, *, is_quantised: bool = False) -> None:
        self.is_quantised = is_quantised
        with model.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = msgspec.json.decode(file.read(length), type=dict[str, msgspec.Raw])
        self._start = 8 + length
        self._ranges = {name: raw for name, raw in header.items() if name != "__metadata__"}
        self._initializers: dict[str, TensorProto] = {}
        self._nodes: list[NodeProto] = []

    def weight(self, name: str, *, rows: int | None = None) -> str:
        """The tensor of this name in the weights; only its first rows if a number is given."""
        stored = msgspec.json.decode(self._ranges[name], type=Range)
        assert stored.dtype == "F32", f"{name} is {stored.dtype}"
        shape = [rows or stored.shape[0], *stored.shape[1:]]
        start, end = stored.data_offsets
        size = (end - start) // stored.shape[0] * shape[0]
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape, data_location=TensorProto.EXTERNAL)
        for key, value in (("location", weights.MODEL_FILE), ("offset", self._start + start), ("length", size)):
            tensor.external_data.add(key=key, value=str(value))
        self._initializers[name] = tensor
        return name

    def shape_of(self, joined: tuple[str, ...]) -> tuple[int, int]:
        """[in, out] of the matrices of these names, which are stored [out, in], side by side."""
        shapes = [msgspec.json.decode(self._ranges[name], type=Range).shape for name in joined]
        return shapes[0][1], sum(shape[0] for shape in shapes)

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

    def serialize(self) -> bytes:
        ids, mask = (helper.make_tensor_value_info(n, TensorProto.INT32, ["texts", "tokens"]) for n in ("ids", "mask"))
        vectors = helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["texts", HIDDEN])
        initializers = list(self._initializers.values())
        graph = helper.make_graph(self._nodes, weights.MODEL_NAME, [ids, mask], [vectors], initializers)
        # Versions that the oldest supported onnxruntime knows; no producer, so the bytes do not depend on the tool's.
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid(FUSED, 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        return bytes(model.SerializeToString(deterministic=True))


def add_embeddings(graph: Graph) -> str:
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
        return add_quantised(graph, rows, weight)
    return graph.add("Gemm", [rows, graph.weight(weight)], f"{weight}.product", transB=1)


def add_quantised(graph: Graph, rows: str, name: str) -> str:
    """The same of integers: the rows are quantised as they come, the matrix with a scale for each of its columns."""
    inner, outer = graph.shape_of(quantised.PRODUCTS[name])
    matrix = graph.given(quantised.matrix_name(name), TensorProto.INT8, inner, outer)
    scales = graph.given(quantised.scales_name(name), TensorProto.FLOAT, outer)
    return graph.fused("DynamicQuantizeMatMul", [rows, matrix, scales], f"{name}.product")


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
    product = add_quantised(graph, add_rows(graph, state), own)
    parts = [f"{own}.{kind}" for kind in KINDS]
    graph.split(graph.add("Reshape", [product, "shape.three"], f"{own}.shaped"), parts)
    return graph.fused("MultiHeadAttention", [*parts, add_bias(graph, own), "mask"], f"{own}.output", num_heads=HEADS)


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
    kept = graph.add("Cast", ["mask"], "mask.float", to=TensorProto.FLOAT)
    row = graph.add("Unsqueeze", [kept, one], "mask.row")
    total = graph.add("Squeeze", [graph.add("MatMul", [row, state], "sum.row"), one], "sum")
    graph.add("LpNormalization", [total], "vectors", axis=1, p=2)


def build(model: Path, *, is_quantised: bool = False) -> bytes:
    graph = Graph(model, is_quantised=is_quantised)
    graph.integers("flat", -1, HIDDEN)
    graph.integers("width", HIDDEN)
    graph.add("Concat", [graph.add("Shape", ["ids"], "ids.shape"), "width"], "shape", axis=0)
    if is_quantised:
        graph.add("Concat", ["ids.shape", graph.integers("width.three", 3 * HIDDEN)], "shape.three", axis=0)
    state = add_embeddings(graph)
    for number in range(LAYERS):
        state = add_layer(graph, state, number)
    add_pooling(graph, state)
    return graph.serialize()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a committed graph differs")
    check: bool = parser.parse_args().check
    found = weights.find()
    found.verify()
    differing = 0
    for file, is_quantised in (("minilm_fused.onnx", False), ("minilm_int8.onnx", True)):
        asset, content = ASSETS / file, build(found.model, is_quantised=is_quantised)
        if check:
            same = asset.is_file() and asset.read_bytes() == content
            print(f"{file}: {'up to date' if same else 'differs, run tools/build_embedder_graph.py'}")
            differing += not same
            continue
        asset.parent.mkdir(parents=True, exist_ok=True)
        asset.write_bytes(content)
        print(f"{file}: {len(content)} bytes")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
