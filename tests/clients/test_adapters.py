"""The retrievers for other frameworks, with the newest and with the oldest versions of them that are let in."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.clients.programs import output
from tests.docs.test_docs import PAGES, blocks
from tests.harness import gigachat

pytestmark = [pytest.mark.clients, pytest.mark.sqlite_only]

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SOURCE = ROOT / "clients/python/src"
NEWEST = Path(os.environ.get("CLIENTS_VENV", ROOT / ".venv-clients"))
ADAPTERS = [f"gigachat_client/{name}.py" for name in ("haystack", "langchain", "llama_index")]
SILENT = {"HAYSTACK_TELEMETRY_ENABLED": "False", "LANGSMITH_TRACING": "false"}
TRUSTED = {"HAYSTACK_DESERIALIZATION_ALLOWLIST": "gigachat_client.haystack"}  # as the guide says


def python_of(folder: Path) -> Path:
    python = folder / "bin/python"
    if not python.exists() and not os.environ.get("REQUIRE_ALL"):
        pytest.skip(f"{folder.name} is not installed: `make test-clients` does so")
    return python


@pytest.mark.parametrize("versions", ["", "-lowest"], ids=["newest", "lowest"])
async def test_every_adapter_brings_what_retrieve_finds(versions: str, tmp_path: Path) -> None:
    python = python_of(NEWEST.with_name(NEWEST.name + versions))
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot(documents={"results": {"match_threshold": 0.5}})
        await api.push(chatbot, "shipping", "Parcels are sent on Mondays.")
        await api.push(chatbot, "opening hours", "The shop is open from 9 to 5.")
        query = "query=When+are+parcels+sent?&for=generating"
        (passage,) = [each for each in (await api.get(f"{chatbot}/retrieve?{query}")).body["passages"] if each["is_matched"]]
        variables = {"PYTHONPATH": str(SOURCE), "GIGACHAT_API_KEY": "", **SILENT, **TRUSTED}
        told = json.loads(await output(tmp_path, python, HERE / "adapted.py", api.url, api.key, chatbot[10:], **variables))
    facts = {
        "source": "shipping", "document_id": passage["document_id"], "chatbot_id": chatbot[10:], "from_line": 1, "to_line": 1,
        "score": passage["score"],
    }  # fmt: skip
    found = [[passage["content"], facts, passage["id"]]]
    for framework in ("langchain", "llama_index", "haystack"):
        assert told[framework] == [found, found, [2]], framework
    assert told["asyncio"] == [[passage["id"]], [passage["id"]]]


async def test_the_guide_runs_as_printed(tmp_path: Path) -> None:
    program = "\n".join(blocks(PAGES["docs/guides/retrieve-from-other-frameworks.md"], "python"))
    async with gigachat(tmp_path / "data") as api:
        program = program.replace("http://127.0.0.1:8000", api.url).replace("gca_...", api.key)
        told = await output(tmp_path, python_of(NEWEST), "-c", program, PYTHONPATH=str(SOURCE), **SILENT)
    assert [line.split()[0] for line in told.splitlines() if line.startswith("shipping 0.")] == ["shipping"] * 3


async def test_the_types_of_the_adapters_are_right(tmp_path: Path) -> None:
    check = ("-m", "mypy", "--strict", "--python-version=3.11", f"--cache-dir={tmp_path}", *ADAPTERS)
    told = await output(SOURCE, python_of(NEWEST), *check)
    assert told.startswith("Success"), told


async def test_both_halves_work_with_the_lowest_versions(tmp_path: Path) -> None:
    python = python_of(NEWEST.with_name(NEWEST.name + "-lowest"))
    async with gigachat(tmp_path) as api:
        told = await output(tmp_path, python, HERE / "both_halves.py", api.url, api.key, PYTHONPATH=str(SOURCE))
    assert json.loads(told) == [["Hi.", "Hi.", [1, 2, 3, 4]]] * 2


async def test_the_import_is_quick(tmp_path: Path) -> None:
    """150 ms of processor time: the best of five, since the machine may be busy."""
    program = "import time; began = time.process_time(); import gigachat_client; print(time.process_time() - began)"
    took = [float(await output(tmp_path, python_of(NEWEST), "-c", program, PYTHONPATH=str(SOURCE))) for _ in range(5)]
    assert min(took) <= 0.150, took
