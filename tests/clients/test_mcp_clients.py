"""MCP clients, unmodified, in both eras: Python's `mcp`, and both generations of the TypeScript SDK. `make test-clients`."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from gigachat_server.models.fake import ScriptedModel
from tests.clients.programs import output, python_with, with_packages
from tests.harness import gigachat

pytestmark = [pytest.mark.clients, pytest.mark.sqlite_only]

HERE = Path(__file__).parent
PYTHON = "mcp>=2.3.0,<3"
TYPESCRIPT = {"@modelcontextprotocol/sdk": "^1.32.2", "@modelcontextprotocol/client": "^2.4.0"}
MODERN, HANDSHAKE = "2026-07-28", "2025-11-25"
needs_npm = pytest.mark.skipif(shutil.which("npm") is None and not os.environ.get("REQUIRE_ALL"), reason="npm is not installed")


def expected(version: str) -> dict[str, Any]:
    return {
        "version": version,
        "server": "gigachat",
        "tools": [
            "ask", "search_documents", "push_document", "list_conversations", "read_conversation", "list_unanswered",
            "answer_unanswered", "reply_as_operator",
        ],
        "document": "hours.md",
        "reply": "Hello there.",
        "progress": "Hello there.",
        "once": True,
        "failed": [True, "not_found"],
        "refused": -32602,
        "resource": ["hours.md", "The museum opens at nine."],
    }  # fmt: skip


async def agreed(folder: Path, at: str, *command: str | Path, version: str) -> None:
    """Both addresses do what the client expects."""
    for number, address in enumerate(("/mcp", "")):
        data = folder / f"data{number}"
        data.mkdir()
        model = ScriptedModel(["Hello ", "there."])
        async with gigachat(data, model=model) as api:
            chatbot = await api.chatbot()
            program, *rest = command
            printed = await output(folder, program, at, api.url + (address or f"{chatbot}/mcp"), api.key, *rest)
            assert json.loads(printed) == expected(version)
            assert len(await api.messages(chatbot)) == 2
            assert len(model.calls) == 2, "a call with a key is made once"


async def test_python(tmp_path: Path) -> None:
    python = await python_with(PYTHON)
    for mode, version in (("auto", MODERN), ("legacy", HANDSHAKE)):
        run = tmp_path / mode
        run.mkdir()
        shutil.copy(HERE / "mcp" / "agent.py", run)
        await agreed(run, "agent.py", python, mode, version=version)


@needs_npm
async def test_typescript(tmp_path: Path) -> None:
    await with_packages(tmp_path, TYPESCRIPT)
    for name, mode, version in (
        ("sdk", "default", HANDSHAKE), ("client", "default", HANDSHAKE), ("client", "auto", MODERN),
    ):  # fmt: skip
        run = tmp_path / f"{name}-{mode}"
        run.mkdir()
        shutil.copy(HERE / "mcp" / "agent.mjs", run)
        await agreed(run, "agent.mjs", "node", name, mode, version=version)
