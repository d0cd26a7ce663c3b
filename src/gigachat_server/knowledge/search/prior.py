"""Is this a customer's question? What a prompt's own vector says before any document is looked at.

The idea: "Tell me a joke" comes near to some passage of every knowledge base, and no passage can tell that it is not meant.
Two short lists of example prompts can: what people ask businesses about themselves, in many trades and languages, and what
they ask a chatbot that no business's documents are about. A prompt's prior is its mean cosine to the nearest of the one less
that to the nearest of the other, and it counts a little for every passage of that prompt.

Invariants: the examples are compared by vectors of the same embedder as the prompt's, never by words; the prior says nothing
of documents; and it is a nudge: with it a chatbot of another kind, such as one of recipes, still answers what its passages
clearly say, and may leave it out (`documents.results.prompts`).

On the development set of support questions, whose trades and prompts are in neither list, the prior halves the false refusals
at the same share of right ones (.38 to .20, out of fold).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gigachat_server.models.base import Matrix, Vector

FOLDER = Path(__file__).parents[2] / "assets" / "prompts"
NEAREST_CUSTOMERS = 22  # a tenth of the list: the prompts of one language, or of one kind of concern
NEAREST_ELSEWHERE = 3  # trivia is about anything, so only the nearest say something

# The embedders whose vectors of the examples are shipped, and the file that holds them.
_SHIPPED = {
    "multilingual-e5-small-int8": "multilingual-e5-small.npy",
    "all-MiniLM-L6-v2": "all-MiniLM-L6-v2.npy",
    "all-MiniLM-L6-v2-int8": "all-MiniLM-L6-v2.npy",
}


class PromptPrior:
    """The vectors of the example prompts."""

    def __init__(self, customers: Matrix, elsewhere: Matrix) -> None:
        self._customers = customers
        self._elsewhere = elsewhere

    def of(self, vector: Vector) -> float:
        """How much nearer the prompt is to customers' questions: about -.05 to .05 with e5. 0 for a vector of another length."""
        if vector.shape != self._customers.shape[1:]:
            return 0.0
        return _nearest(self._customers @ vector, NEAREST_CUSTOMERS) - _nearest(self._elsewhere @ vector, NEAREST_ELSEWHERE)


def _nearest(cosines: npt.NDArray[np.float32], count: int) -> float:
    return float(np.partition(cosines, len(cosines) - count)[-count:].mean())


def customers() -> list[str]:
    """Example prompts that documents of businesses answer."""
    return _lines("customers.txt")


def elsewhere() -> list[str]:
    """Example prompts that no such documents answer."""
    return _lines("elsewhere.txt")


def _lines(name: str) -> list[str]:
    lines = (FOLDER / name).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def of_vectors(vectors: Sequence[Vector] | Matrix) -> PromptPrior:
    """From the vectors of `customers()` and then `elsewhere()`, as `embed_prompt` makes them. Raises `ValueError` for others."""
    first = len(customers())
    matrix = np.asarray(vectors, dtype=np.float32)
    if matrix.ndim != 2 or len(matrix) != first + len(elsewhere()):
        raise ValueError("not the vectors of the example prompts")
    return PromptPrior(matrix[:first], matrix[first:])


def file_of(embedder: str) -> Path:
    """Where the vectors of a built-in embedder are. Raises `KeyError` for any other."""
    return FOLDER / _SHIPPED[embedder]


@cache
def shipped(embedder: str) -> PromptPrior | None:
    """The prior for a built-in embedder, by its name; None for any other."""
    if embedder not in _SHIPPED:
        return None
    directions = np.load(file_of(embedder), allow_pickle=False).astype(np.float32)
    return of_vectors(directions / np.linalg.norm(directions, axis=1, keepdims=True))


def packed(vectors: Matrix) -> npt.NDArray[np.int8]:
    """The vectors as they are shipped: directions in 8 bits, which moves a cosine by about .0005."""
    scaled: npt.NDArray[np.float32] = 127 * vectors / np.abs(vectors).max(axis=1, keepdims=True)
    return np.rint(scaled).astype(np.int8)
