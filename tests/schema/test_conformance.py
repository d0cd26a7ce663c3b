"""A short run of schemathesis; `make test-schema` is the long one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gigachat_server.api.routes import ROUTES
from tests.schema import conformance

pytestmark = [pytest.mark.sqlite_only, pytest.mark.slow]


@pytest.mark.skipif(
    not conformance.COMMAND.exists() and not os.environ.get("REQUIRE_ALL"), reason="schemathesis is not installed"
)
def test_the_server_does_what_its_document_says(tmp_path: Path) -> None:
    ended = conformance.check(tmp_path / "data", "--seed=7", "--phases=fuzzing", "--max-examples=2", patience_s=240)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"{len(ROUTES)} selected" in ended.stdout, ended.stdout
