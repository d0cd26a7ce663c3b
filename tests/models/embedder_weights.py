"""The embedder's weights for tests: those gigachat would find, or the reason to skip."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gigachat_server.errors import SetupError
from gigachat_server.models import weights

CONFIGURED = os.environ.get("GIGACHAT_EMBEDDING_PATH")  # read before the tests' own settings hide it


def require_weights() -> weights.Weights:
    try:
        return weights.find(configured=Path(CONFIGURED) if CONFIGURED else None)
    except SetupError as error:
        if os.environ.get("REQUIRE_ALL") == "1":
            raise
        pytest.skip(str(error))
