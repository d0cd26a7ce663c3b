"""The AI SDK, unmodified, of three versions: `ai` and `@ai-sdk/react` in a page that jsdom shows. `make test-clients`."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gigachat_server.errors import ModelUnreachable
from gigachat_server.models.base import ModelInput, SourcesChosen
from gigachat_server.models.fake import Pause, ScriptedModel, Step
from tests.clients.programs import PATIENCE_S, with_packages
from tests.harness import Api, gigachat

pytestmark = [
    pytest.mark.clients,
    pytest.mark.sqlite_only,
    pytest.mark.skipif(shutil.which("npm") is None and not os.environ.get("REQUIRE_ALL"), reason="npm is not installed"),
]

HERE = Path(__file__).parent
VERSIONS = {
    5: {"ai": "^5.0.277", "@ai-sdk/react": "^2.0.280"},
    6: {"ai": "^6.0.326", "@ai-sdk/react": "^3.0.328"},
    7: {"ai": "^7.0.173", "@ai-sdk/react": "^4.0.177"},
}
PAGE = {"react": "^19.0.0", "react-dom": "^19.0.0", "jsdom": "^26.0.0"}
TOOLS = {"esbuild": "^0.25.0", "typescript": "^5.8.0", "@types/react": "^19.0.0", "@types/node": "^20.0.0"}
ASSISTANT = {"@assistant-ui/react": "^0.15.22", "@assistant-ui/react-ai-sdk": "^1.4.12"}


def has_assistant(version: int) -> bool:
    """Each line of assistant-ui is for one version of the AI SDK."""
    return version == max(VERSIONS)


def packages_of(version: int) -> dict[str, str]:
    """What these pages and those of the guide need, so that it is installed once for both."""
    return {**VERSIONS[version], **PAGE, **TOOLS, **(ASSISTANT if has_assistant(version) else {})}


async def conversing(folder: Path, *command: str | Path, acts: Callable[[Any], Awaitable[None]], **variables: str) -> None:
    """Run a script that says in lines of JSON what has to happen at the server, until it is done. Asserts that it succeeds."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env={**os.environ, **variables},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None and process.stdin is not None and process.stderr is not None
    is_done = False
    try:
        async with asyncio.timeout(PATIENCE_S):
            async for line in process.stdout:
                said = json.loads(line)
                if is_done := said.get("done", False):
                    break
                await acts(said)
                process.stdin.write(b"done\n")
            told = (await process.stderr.read()).decode()
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert (is_done, process.returncode) == (True, 0), told


class Scripts:
    """What the model says to each prompt; `pauses` hold some of it."""

    def __init__(self) -> None:
        self.pauses = {"join": Pause(), "hook": Pause(), "stop": Pause()}
        self._failures = 1

    def __call__(self, asked: ModelInput) -> list[Step]:
        prompt = asked.messages[-1].content
        match prompt:
            case "join" | "hook":
                return ["Hel", self.pauses[prompt], "lo."]
            case "stop":
                return ["half", self.pauses[prompt], " never"]
            case "fail":
                self._failures -= 1
                return ["Better now."] if self._failures < 0 else [ModelUnreachable()]
            case _ if "museum" in prompt:
                return [SourcesChosen((0,)), "The museum opens at nine [1]."]
        return [f"re: {prompt}"]


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_page_talks_to_a_chatbot(tmp_path: Path, version: int) -> None:
    folder = tmp_path / "page"
    folder.mkdir()
    shutil.copy(HERE / "ui" / "chat.mjs", folder)
    await with_packages(folder, packages_of(version))
    scripts = Scripts()
    async with gigachat(tmp_path, model=ScriptedModel(scripts)) as api:
        chatbot = await api.chatbot()
        await api.push(chatbot, "https://example.com/hours", "The museum opens at nine in the morning.")

        async def act(wanted: dict[str, str]) -> None:
            await _act(api, chatbot, scripts, wanted)

        await conversing(folder, "node", "chat.mjs", api.url, api.key, chatbot, acts=act)
        assert [each["content"] for each in await api.messages(chatbot, "failing")] == ["fail", "Better now."]


async def _act(api: Api, chatbot: str, scripts: Scripts, wanted: dict[str, str]) -> None:
    match wanted:
        case {"resume": prompt}:
            scripts.pauses[prompt].resume()
        case {"takeOver": conversation}:
            reply = await api.post(f"{chatbot}/conversations/{conversation}/takeover", {"operator": "eve"})
            assert reply.status == 200
        case {"operatorSays": conversation}:
            await api.say(chatbot, "I am here.", conversation=conversation, user="client:eve")
        case _:
            raise AssertionError(wanted)
