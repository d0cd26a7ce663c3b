"""The embedders that are built in, by the value of GIGACHAT_EMBEDDER that chooses them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from gigachat_server.models.base import Matrix, RelevanceScale
from gigachat_server.models.embedders import e5, minilm, scales, weights


class Network(Protocol):
    """A loaded model, called synchronously, from several threads at once: a unit vector for each text, in order."""

    def embed_prompts(self, texts: Sequence[str]) -> Matrix: ...

    def embed_passages(self, texts: Sequence[str]) -> Matrix: ...


class BuiltIn(msgspec.Struct, frozen=True, kw_only=True):
    """A model of which gigachat has the graph; `load` blocks until it can embed, or raises `SetupError`."""

    name: str  # of its vector space
    dimension: int
    scale: RelevanceScale
    published: weights.ModelRelease
    load: Callable[[weights.Weights], Network]


E5 = BuiltIn(
    name=f"{weights.E5.name}-int8",
    dimension=e5.DIMENSION,
    scale=scales.E5,
    published=weights.E5,
    load=e5.E5Network,
)
MINILM = BuiltIn(
    name=weights.MINILM.name,
    dimension=minilm.DIMENSION,
    scale=scales.MINILM,
    published=weights.MINILM,
    load=minilm.Network,
)
# Its vectors have a cosine of .99 with the other's, and are not mixed with them. The scale is the other's: at 0.78 it
# refuses as many prompts, within half a point (decision 4).
MINILM_INT8 = msgspec.structs.replace(MINILM, name=f"{MINILM.name}-int8", load=minilm.Int8Network)

BUILT_IN: Mapping[str, BuiltIn] = {"local": E5, "minilm": MINILM, "minilm-int8": MINILM_INT8}
DEFAULT = "local"
