"""Weights of the built-in embedders for tests: those gigachat would find, or the reason to skip."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gigachat_server.errors import SetupError
from gigachat_server.models.embedders import weights
from gigachat_server.models.embedders.built_in import BUILT_IN, DEFAULT
from gigachat_server.models.embedders.local_embedder import LocalEmbedder

CONFIGURED = os.environ.get("GIGACHAT_EMBEDDING_PATH")  # read before the tests' own settings hide it


def require_weights(model: weights.ModelRelease) -> weights.Weights:
    try:
        if CONFIGURED and any((Path(CONFIGURED) / name).is_file() for name in model.sha256):
            return weights.find(model, configured=Path(CONFIGURED))
        return weights.find(model)
    except SetupError as error:
        if os.environ.get("REQUIRE_ALL") == "1":
            raise
        pytest.skip(str(error))


def built_in_embedder(setting: str = DEFAULT, *, threads: int | None = None) -> LocalEmbedder:
    """The embedder that the setting names, with its real weights."""
    built_in = BUILT_IN[setting]
    return LocalEmbedder(built_in, require_weights(built_in.published), threads=threads)
