"""The matrices of all-MiniLM-L6-v2 as 8-bit integers, made of the published weights when the embedder loads.

The idea: most of the time goes into 24 products. With both sides quantised these are products of integers, for which a
processor needs less time; the rows of a product are quantised as they come, its matrix once, with a scale for each column.

Invariant: the integers are within -63 and 63. Processors without VNNI add pairs of products in 16 bits, which greater ones
overflow: with 127 the vectors were no nearer to those of single precision, and slower.

Making them takes 0.12 s; decision 4 has what they save, and what they cost.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

_GREATEST = 63


def _products() -> dict[str, tuple[str, ...]]:
    products: dict[str, tuple[str, ...]] = {}
    for number in range(6):
        layer = f"encoder.layer.{number}"
        own = f"{layer}.attention.self"
        products[own] = tuple(f"{own}.{kind}.weight" for kind in ("query", "key", "value"))
        for part in ("attention.output", "intermediate", "output"):
            name = f"{layer}.{part}.dense.weight"
            products[name] = (name,)
    return products


PRODUCTS = _products()  # each with the matrices of the file that it has side by side


def matrix_name(product: str) -> str:
    return f"{product}.integers"


def scales_name(product: str) -> str:
    return f"{product}.scales"


class _Tensor(msgspec.Struct, frozen=True):
    shape: list[int]
    data_offsets: tuple[int, int]


def quantised(model: Path) -> dict[str, npt.NDArray[Any]]:
    """What the graph of integers wants to be given: matrices [in, out] and their scales, by name."""
    with model.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = msgspec.json.decode(file.read(length), type=dict[str, msgspec.Raw])
    numbers = np.memmap(model, np.uint8, "r", offset=8 + length)
    given: dict[str, npt.NDArray[Any]] = {}
    for product, names in PRODUCTS.items():
        columns = []
        for name in names:
            stored = msgspec.json.decode(header[name], type=_Tensor)
            columns.append(numbers[slice(*stored.data_offsets)].view(np.float32).reshape(stored.shape))
        matrix = np.concatenate(columns)  # [out, in]
        scales = np.maximum(np.abs(matrix).max(axis=1), np.float32(1e-9)) / np.float32(_GREATEST)
        given[matrix_name(product)] = np.ascontiguousarray(np.rint(matrix / scales[:, None]).astype(np.int8).T)
        given[scales_name(product)] = scales
    return given
