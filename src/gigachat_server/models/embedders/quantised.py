"""The matrices of a network as 8-bit integers, made of its published weights when the embedder loads.

The idea: most of the time goes into four products a layer. With both sides quantised these are products of integers, for
which a processor needs less time; the rows of a product are quantised as they come, its matrix once, with a scale for each
column.

Invariant: the integers are within -63 and 63. Processors without VNNI add pairs of products in 16 bits, which greater ones
overflow: with 127 the vectors were no nearer to those of single precision, and slower.

Decisions 4 and 23 have how long making them takes, what they save, and what they cost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

_GREATEST = 63
Floats = npt.NDArray[np.float32]


def products(layers: int) -> dict[str, tuple[str, ...]]:
    """The products of a network of so many layers, each with the matrices that it has side by side."""
    found: dict[str, tuple[str, ...]] = {}
    for number in range(layers):
        layer = f"encoder.layer.{number}"
        own = f"{layer}.attention.self"
        found[own] = tuple(f"{own}.{kind}.weight" for kind in ("query", "key", "value"))
        for part in ("attention.output", "intermediate", "output"):
            name = f"{layer}.{part}.dense.weight"
            found[name] = (name,)
    return found


def matrix_name(product: str) -> str:
    return f"{product}.integers"


def scales_name(product: str) -> str:
    return f"{product}.scales"


def quantised(layers: int, matrix_of: Callable[[str], Floats]) -> dict[str, npt.NDArray[Any]]:
    """What a graph of integers wants to be given: matrices [in, out] and their scales, by name; `matrix_of` has [out, in]."""
    given: dict[str, npt.NDArray[Any]] = {}
    for product, names in products(layers).items():
        matrix = np.concatenate([matrix_of(name) for name in names])
        scales = np.maximum(np.abs(matrix).max(axis=1), np.float32(1e-9)) / np.float32(_GREATEST)
        matrix /= scales[:, None]
        given[matrix_name(product)] = np.ascontiguousarray(np.rint(matrix, out=matrix).astype(np.int8).T)
        given[scales_name(product)] = scales
    return given
