"""Clients that others' generators make of the OpenAPI document work, and their types are right: `make test-clients`."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from gigachat_server.api.openapi import openapi_json
from gigachat_server.api.routes import ROUTES
from tests.clients.programs import output, outputs, with_packages
from tests.harness import gigachat

pytestmark = [pytest.mark.clients, pytest.mark.sqlite_only]

HERE = Path(__file__).parent
EXPECTED = {"temperature": 0, "tokens": 200, "role": "assistant", "code": "not_found"}

needs_npm = pytest.mark.skipif(shutil.which("npm") is None and not os.environ.get("REQUIRE_ALL"), reason="npm is not installed")


async def answers(tmp_path: Path, folder: Path, *command: str | Path, **variables: str) -> Any:
    """What the calls of a client bring, of a server of their own."""
    async with gigachat(tmp_path) as api:
        return json.loads(await output(folder, *command, api.url, api.key, **variables))


def document(folder: Path) -> None:
    folder.mkdir()
    (folder / "openapi.json").write_bytes(openapi_json())


@needs_npm
async def test_typescript(tmp_path: Path) -> None:
    """The document is clean to `redocly lint`; `tsc` and node take the client of openapi-typescript and openapi-fetch."""
    folder = tmp_path / "typescript"
    document(folder)
    for name in ("package.json", "tsconfig.json", "calls.ts"):
        shutil.copy(HERE / name, folder)
    await with_packages(folder, json.loads((HERE / "package.json").read_text())["dependencies"])
    programs = folder / "node_modules" / ".bin"
    lint = await output(folder, programs / "redocly", "lint", "--format=json", "openapi.json", REDOCLY_TELEMETRY="off")
    assert json.loads(lint)["totals"] == {"errors": 0, "warnings": 0, "ignored": 0}, lint
    told = await outputs(folder, programs / "openapi-typescript", "openapi.json", "-o", "api.d.ts")
    assert not re.search("warn|error|⚠|✘", "".join(told), re.IGNORECASE), told
    await output(folder, programs / "tsc", "--project", "tsconfig.json")
    assert await answers(tmp_path, folder, "node", "calls.js") == EXPECTED


async def test_python(tmp_path: Path) -> None:
    """mypy and Python take the client of openapi-python-client, which leaves nothing out."""
    folder = tmp_path / "python"
    document(folder)
    shutil.copy(HERE / "calls.py", folder)
    programs = Path(sys.executable).parent
    path = os.pathsep.join([str(programs), os.environ["PATH"]])
    generated = "".join(
        await outputs(
            folder,
            programs / "openapi-python-client",
            "generate",
            "--path=openapi.json",
            "--meta=none",
            "--output-path=generated_client",
            PATH=path,
        )
    )
    assert not re.search("warning|omitted|skipp|unable|unsupported", generated, re.IGNORECASE), generated
    made = [path for path in (folder / "generated_client/api").glob("*/*.py") if path.name != "__init__.py"]
    assert len(made) == len(ROUTES), "a function for each route"
    check = ("-m", "mypy", "--config-file=", "--strict", "--follow-imports=silent", "calls.py")
    await output(folder, sys.executable, *check)
    assert await answers(tmp_path, folder, sys.executable, "calls.py", PYTHONPATH=str(folder)) == EXPECTED
