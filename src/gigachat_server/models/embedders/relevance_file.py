"""A scale of relevance that was fitted for an embedder, as a file: what `gigachat eval --fit` writes and a server is told to use.

Invariant: a file holds for the one embedder that it names, and for no other; what it does not hold, such as the order of
passages, stays the embedder's own.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from gigachat_server.errors import SetupError
from gigachat_server.models.base import RelevanceScale


class FittedWeights(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fields of `RelevanceScale` that were fitted."""

    cosine: float
    coverage: float
    foreign: float
    prior: float
    margin: float
    size: float
    bias: float
    leniency: float


class FittedOn(msgspec.Struct, frozen=True, kw_only=True):
    """From what, for people."""

    prompts: int
    collections: tuple[str, ...]
    fitted_at: str


class RelevanceFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`general` is for chatbots whose prompts are of any kind; None: `weights` are for all."""

    embedder: str
    weights: FittedWeights
    general: FittedWeights | None = None
    fitted_on: FittedOn

    def applied_to(self, scale: RelevanceScale) -> RelevanceScale:
        """The embedder's own scale with what was fitted in its place."""
        fitted = _replaced(scale, self.weights)
        general = None if self.general is None else _replaced(msgspec.structs.replace(scale, general=None), self.general)
        return msgspec.structs.replace(fitted, general=general)


def _replaced(scale: RelevanceScale, weights: FittedWeights) -> RelevanceScale:
    return msgspec.structs.replace(scale, **msgspec.structs.asdict(weights))


def read(path: Path, *, embedder: str) -> RelevanceFile:
    """The scale in the file. Raises `SetupError` where it is none, or was fitted for another embedder."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=RelevanceFile)
    except OSError as error:
        raise SetupError(f"GIGACHAT_RELEVANCE: cannot read {path}: {error.strerror}.") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise SetupError(f"GIGACHAT_RELEVANCE: {path} is not a file from `gigachat eval --fit`: {error}.") from None
    if found.embedder != embedder:
        raise SetupError(
            f"GIGACHAT_RELEVANCE: {path} was fitted for the embedder {found.embedder}, and this server uses {embedder}: "
            "fit it again with `gigachat eval --fit`, or leave the setting out."
        )
    return found


def write(path: Path, file: RelevanceFile) -> None:
    """Raises `SetupError` where that cannot be done."""
    try:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(file), indent=2) + b"\n")
    except OSError as error:
        raise SetupError(f"Cannot write {path}: {error.strerror}.") from None
