"""A visitor whose network is gone for a minute, as in a tunnel."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from gigachat_server.models.base import ModelInput
from gigachat_server.models.fake import Pause, Script, ScriptedModel
from tests.breaking import breaking
from tests.widget.browsers import ENGINES, Browser
from tests.widget.engines import chatting, engine_browser, in_browser, stored

pytestmark = [pytest.mark.browser, pytest.mark.faults, pytest.mark.sqlite_only, pytest.mark.xdist_group("widget")]

OUTAGE_S = 60.0  # longer than all that the chat waits for between two tries
PROMPTS = ["p1", "p2", "p3", "p4", "p5"]


@pytest.fixture(params=ENGINES)
def tab(request: pytest.FixtureRequest) -> Iterator[Browser]:
    yield from engine_browser(request.param)


async def test_a_minute_without_a_network_in_mid_reply_loses_and_doubles_nothing(tmp_path: Path, tab: Browser) -> None:
    pause = Pause()

    def answer(model_input: ModelInput) -> Script:
        said = next(message.content for message in reversed(model_input.messages) if message.role == "user")
        return ["Reply ", pause, "to p1"] if said == "p1" else [f"Reply to {said}"]

    async with chatting(tmp_path, model=ScriptedModel(answer)) as (visit, host), breaking(visit.api.url) as network:
        host.server_url = network.url

        def begin() -> None:
            tab.open(f"{host.url}/plain")
            tab.open_chat()
            tab.say(PROMPTS[0])
            tab.until(lambda: tab.texts(".writing .content") == ["Reply"])

        def go_on() -> None:
            for prompt in PROMPTS[1:]:
                tab.say(prompt)
            tab.until(lambda: tab.texts("#notice")[0] != "")
            assert tab.texts(".m.user .content") == PROMPTS

        def come_back() -> None:
            tab.until(lambda: len(tab.replies()) == len(PROMPTS), seconds=90)
            assert tab.texts(".m.user .content") == PROMPTS
            assert tab.replies() == [f"Reply to {prompt}" for prompt in PROMPTS]
            assert not tab.all(".pending, .writing")
            assert tab.texts("#notice") == [""]

        await in_browser(begin)
        network.is_down = True
        network.cut()
        await in_browser(go_on)
        pause.resume()
        await asyncio.sleep(OUTAGE_S)
        network.is_down = False
        await in_browser(come_back)
        said = [message["content"] for message in await stored(visit)]
        assert said == [words for prompt in PROMPTS for words in (prompt, f"Reply to {prompt}")]
