"""The TypeScript client: its types are the server's, `tsc` takes it and its use, and it loses nothing."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from gigachat_client import AsyncGigachat
from gigachat_server.api.openapi import openapi_json
from gigachat_server.models.fake import ScriptedModel
from tests.clients.cutting import CuttingProxy, death_of, mortal_server, proxying, side_by_side
from tests.clients.programs import output, with_packages
from tests.docs.test_docs import PAGES, blocks
from tests.faults.serving import KEY
from tests.harness import gigachat

pytestmark = [
    pytest.mark.clients,
    pytest.mark.sqlite_only,
    pytest.mark.xdist_group("typescript-client"),  # it is built once
    pytest.mark.skipif(shutil.which("npm") is None and not os.environ.get("REQUIRE_ALL"), reason="npm is not installed"),
]

HERE = Path(__file__).parent
CLIENT = HERE.parents[1] / "clients/typescript"
ROUNDS = 20
PROMPT = "When is it sent? Say it slowly."


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client with the programs that use it, to be compiled."""
    folder = tmp_path_factory.mktemp("typescript") / "client"
    shutil.copytree(CLIENT, folder, ignore=shutil.ignore_patterns("node_modules", "dist"))
    for program in ("talk.ts", "listen.ts", "repeat.ts", "page.ts"):
        shutil.copy(HERE / program, folder / "src")
    (folder / "openapi.json").write_bytes(openapi_json())
    return folder


async def compiled(folder: Path) -> Path:
    """The folder of the programs, once `tsc` has taken them."""
    if not (folder / "dist").exists():
        named = json.loads((folder / "package.json").read_text())
        await with_packages(folder, {**named["dependencies"], **named["devDependencies"]})
        await output(folder, "npx", "--no-install", "tsc")
    return folder / "dist"


async def test_its_types_are_those_of_the_server(built: Path) -> None:
    await compiled(built)
    kept = (built / "src/api.ts").read_text()
    told = await output(built, "npm", "run", "types", "--silent")
    assert "warn" not in told.lower(), told
    made = (built / "src/api.ts").read_text()
    assert made == kept, "run `make client-types`"


async def test_a_conversation(built: Path, tmp_path: Path) -> None:
    programs = await compiled(built)
    async with gigachat(tmp_path, model=ScriptedModel(["Hel\u2028", "lo 🙂 wor", "ld 🙂"])) as api:
        told = json.loads(await output(programs, "node", "talk.js", api.url, api.key))
    text = "Hel\u2028lo 🙂 world 🙂"
    assert told == {
        "first": text, "prompt": "Again", "told": text, "soFar": text, "reply": text, "left": "AbortError", "code": "not_found",
        "roles": ["user", "assistant"] * 2, "seen": [2, 3, 4], "asked": 1,
    }  # fmt: skip


async def test_the_guide_runs_as_printed(built: Path, tmp_path: Path) -> None:
    await compiled(built)
    program = "\n".join(blocks(PAGES["docs/guides/use-the-typescript-client.md"], "ts"))
    async with gigachat(tmp_path) as api:
        program = program.replace("http://127.0.0.1:8000", api.url).replace("gca_...", api.key)
        guide = built / "src/guide.ts"
        guide.write_text(program.replace('"gigachat-client"', '"./client.js"'))
        await output(built, "npx", "--no-install", "tsc")
        told = (await output(built / "dist", "node", "guide.js")).splitlines()
        guide.unlink()
    assert told[:3] == ["Hi.", "Hi.", "completed []"]
    assert told[3:7] == ["1 user: When are parcels sent?", "2 assistant: Hi.", "3 user: And on Tuesdays?", "4 assistant: Hi."]
    assert [line.split()[:2] for line in told[7:11]] == [["1", "user"], ["2", "assistant"], ["3", "user"], ["4", "assistant"]]
    assert told[11].startswith("not_found 404 ") and told[12:] == ["Superbot"]


async def test_when_a_request_is_sent_again(built: Path) -> None:
    told = json.loads(await output(await compiled(built), "node", "repeat.js"))
    for passing in ("408", "429", "502", "503", "504", "409", "cut", "half"):
        assert told[passing] == [True, 3, 1, 36, 1], passing
        assert told[f"{passing}, always"] == 3, passing
    assert {told[code][0]: told[code][1] for code in ("conversation_busy", "not_found", "internal_error")} == {
        "conversation_busy": 1, "not_found": 1, "internal_error": 1,
    }  # fmt: skip
    assert told["foreign"] == ["unexpected_answer"] * 2
    assert told["late"] == ["shutting_down", 1]
    assert (told["secret"], told["secrets"], told["refused"]) == (1, 3, 3)
    assert (told["tokens"], told["expired"]) == (["Bearer one", "Bearer two"], "token_expired")
    assert (told["deleted"], told["missing"]) == ("gone", "not_found")
    assert told["followed"] == [[1, 2, 3, "not_found"], [None, "2", "3"]]
    assert json.loads(told["parsed"]) == [
        {"name": "delta", "data": "ü\u2028🙂 ", "place": "3"}, {"name": "done", "data": {}, "place": "4"},
    ]  # fmt: skip
    assert told["cuts"] is True


@pytest.mark.parametrize("dies", [True, False], ids=["killed", "cut"])
async def test_a_stream_that_ends_at_any_byte(built: Path, tmp_path: Path, dies: bool) -> None:
    """The reply that is stored, of one prompt; and if the server lives, each word once."""
    programs, chance = await compiled(built), random.Random(f"{dies}")
    async with mortal_server(tmp_path) as (mortal, proxy):
        async with AsyncGigachat(mortal.server.url, KEY) as client:
            chatbot = (await client.chatbots.create(name="Superbot")).id

        async def listen(url: str, conversation: str) -> Any:
            return json.loads(await output(programs, "node", "listen.js", url, KEY, chatbot, conversation, PROMPT))

        async def lose(way: CuttingProxy, number: int) -> None:
            before = way.cuts
            way.arm(rooms[number], death_of(mortal, way) if dies else None)
            heard = await listen(way.url, f"c{number}")
            assert way.cuts == before + 1
            async with AsyncGigachat(way.url, KEY) as client:
                stored = [each async for each in client.conversations.list_messages(chatbot, f"c{number}")]
            assert [each.content for each in stored if each.role == "user"] == [PROMPT]
            (reply,) = [each for each in stored if each.role == "assistant" and each.replaced_by is None]
            assert heard["reply"]["id"] == reply.id
            assert heard["soFar"] == reply.content == "Parcels are sent on Mondays."
            if not dies:
                assert heard["told"] == reply.content

        async def lose_apart(number: int) -> None:
            async with proxying(mortal.port) as way:
                await lose(way, number)

        await listen(proxy.url, "c")
        length = proxy.longest - 20
        rooms = [chance.randrange(1, length) for _ in range(ROUNDS)]
        if not dies:
            await side_by_side(lose_apart(number) for number in range(ROUNDS))
        for number in range(ROUNDS if dies else 0):
            await lose(proxy, number)
