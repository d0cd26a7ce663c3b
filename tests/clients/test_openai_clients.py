"""OpenAI's clients, and those of others for its API, work unmodified, as do the programs of the guide: `make test-clients`."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gigachat_server.models.fake import ScriptedModel
from tests.clients.programs import output, with_packages
from tests.clients.test_generated_clients import HERE, needs_npm
from tests.harness import Api, gigachat

pytestmark = [pytest.mark.clients, pytest.mark.sqlite_only]

GUIDE = (HERE.parents[1] / "docs" / "guides" / "use-an-openai-client.md").read_text(encoding="utf-8")
SAID = "Hello."
EVERY_CALL = ("chat", "chatStream", "responses", "responsesStream")
QUIET = {"LANGCHAIN_TRACING_V2": "false", "LANGSMITH_TRACING": "false", "OPENAI_AGENTS_DISABLE_TRACING": "1"}


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[tuple[Api, str]]:
    async with gigachat(folder, model=ScriptedModel(["Hel", "lo."])) as api:
        yield api, await api.chatbot()


async def installed(tmp_path: Path) -> Path:
    """A folder whose programs find the packages."""
    folder = tmp_path / "programs"
    folder.mkdir()
    await with_packages(folder, json.loads((HERE / "openai_package.json").read_text())["dependencies"])
    return folder


async def conversations(api: Api, chatbot: str) -> list[list[dict[str, Any]]]:
    """The messages of each."""
    found = (await api.get(f"{chatbot}/conversations?limit=100")).body
    return [await api.messages(chatbot, each["conversation_id"]) for each in found]


async def assert_two_turns_are_one_conversation(api: Api, chatbot: str, *prompts: str) -> None:
    """Of a client that sends ids of ours along unasked."""
    said = [[each["content"] for each in messages] for messages in await conversations(api, chatbot)]
    assert said.count([prompts[0], SAID, prompts[1], SAID]) == 1, said


async def called(api: Api, chatbot: str, folder: Path, *command: str | Path) -> dict[str, dict[str, Any]]:
    variables = {"CHATBOT": chatbot.rpartition("/")[2], **QUIET}
    found: dict[str, dict[str, Any]] = json.loads(await output(folder, *command, api.url, api.key, **variables))
    for name, brought in found.items():
        assert {brought[each] for each in EVERY_CALL} == {SAID}, (name, brought)
        assert brought.get("dimension", 384) == 384
    return found


async def test_python_clients(tmp_path: Path) -> None:
    async with serving(tmp_path) as (api, chatbot):
        found = await called(api, chatbot, HERE, sys.executable, HERE / "openai_clients.py")
        assert found.keys() == {"openai", "langchain"}
        assert found["openai"]["models"] == [chatbot.rpartition("/")[2]]
        assert found["openai"]["again"] == SAID
        assert found["openai"]["items"] == ["assistant", "user"]
        await assert_two_turns_are_one_conversation(api, chatbot, "First?", "Second?")


@needs_npm
async def test_javascript_clients(tmp_path: Path) -> None:
    """openai, LangChain, the AI SDK's provider, and OpenAI's Agents SDK."""
    folder = await installed(tmp_path)
    shutil.copy(HERE / "openai_clients.js", folder)
    async with serving(tmp_path) as (api, chatbot):
        found = await called(api, chatbot, folder, "node", "openai_clients.js")
        assert found.keys() == {"openai", "langchain", "aiSdk", "agents"}
        await assert_two_turns_are_one_conversation(api, chatbot, "First?", "Second?")
        await assert_two_turns_are_one_conversation(api, chatbot, "One?", "Two?")


def programs(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)


def variables(api: Api, chatbot: str) -> dict[str, str]:
    return {"GIGACHAT": api.url, "KEY": api.key, "CHATBOT": chatbot.rpartition("/")[2], **QUIET}


@pytest.mark.parametrize("number", [0, 1], ids=["openai", "langchain"])
async def test_the_python_programs_of_the_guide_work_as_printed(number: int, tmp_path: Path) -> None:
    assert len(programs("python")) == 2
    async with serving(tmp_path) as (api, chatbot):
        printed = await output(tmp_path, sys.executable, "-c", programs("python")[number], **variables(api, chatbot))
        [messages] = await conversations(api, chatbot)
    assert printed.splitlines() == [[SAID, SAID, f"{SAID} order-4711"], [SAID, SAID, "384"]][number]
    assert len(messages) == [6, 4][number]
    assert {each["user_id"] for each in messages} == {"ann@example.com"}


@needs_npm
@pytest.mark.parametrize("number", [0, 1], ids=["openai", "langchain"])
async def test_the_javascript_programs_of_the_guide_work_as_printed(number: int, tmp_path: Path) -> None:
    assert len(programs("js")) == 2
    folder = await installed(tmp_path)
    (folder / f"guide{number}.js").write_text(programs("js")[number])
    async with serving(tmp_path) as (api, chatbot):
        printed = await output(folder, "node", f"guide{number}.js", **variables(api, chatbot))
        [messages] = await conversations(api, chatbot)
    assert printed.splitlines() == [SAID] * [3, 2][number]
    assert len(messages) == [6, 4][number]


def test_the_table_for_open_webui_is_json_of_the_headers_that_are_read() -> None:
    [written] = re.findall(r"\| Headers \| `(.*)` \|", GUIDE)
    headers = {name.lower(): value for name, value in json.loads(written).items()}
    assert set(headers) == {"x-openwebui-chat-id", "x-openwebui-user-id", "x-openwebui-task", "idempotency-key"}
    assert all(re.fullmatch(r"\{\{[A-Z_]+\}\}", value) for value in headers.values())
