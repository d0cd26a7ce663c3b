"""The TypeScript client in a page of another site, as an end user: what `tsc` made of it, loaded by Chromium as it is."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gigachat_server.models.base import ModelInput
from gigachat_server.models.fake import Pause, ScriptedModel, Step
from tests.access.people import UNLIMITED, people
from tests.clients import test_typescript_client
from tests.clients.test_typescript_client import built as built
from tests.clients.test_typescript_client import compiled
from tests.harness import gigachat
from tests.widget.browsers import Browser, browser, missing

pytestmark = test_typescript_client.pytestmark

HOST = "shop.test"  # the browser finds it at 127.0.0.1; it is neither the server's host nor one that browsers trust
PAGE = """<!doctype html><title>Shop</title>
<script>window.given = GIVEN</script>
<script type="importmap">{"imports": {"openapi-fetch": "/node_modules/openapi-fetch/dist/index.mjs"}}</script>
<script type="module" src="/dist/page.js"></script>
"""


@asynccontextmanager
async def site(folder: Path, given: dict[str, str]) -> AsyncIterator[str]:
    """A site that has the client's files, and a page that runs them."""

    async def page(_: web.Request) -> web.Response:
        return web.Response(text=PAGE.replace("GIVEN", json.dumps(given)), content_type="text/html")

    app = web.Application()
    app.router.add_get("/", page)
    for name in ("dist", "node_modules"):
        app.router.add_static(f"/{name}", folder / name, follow_symlinks=True)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://{HOST}:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


async def test_a_page_of_another_site(built: Path, tmp_path: Path) -> None:
    if lacking := missing("chromium"):
        pytest.skip(lacking)
    await compiled(built)
    pause = Pause()

    def answer(asked: ModelInput) -> list[Step]:
        return ["Half", pause, " of it."] if "Wait" in asked.messages[-1].content else ["Hel\u2028", "lo 🙂 wor", "ld 🙂"]

    async with gigachat(tmp_path, model=ScriptedModel(answer)) as api:
        shop = await people(api, restrictions={"hostnames": [HOST]}, limits=UNLIMITED)
        elsewhere = await people(api, restrictions={"hostnames": ["other.test"]})
        now = int(time.time())
        given = {
            "url": api.url, "chatbot": shop.chatbot_id, "otherChatbot": elsewhere.chatbot_id,
            "expired": shop.token(iat=now - 7200, exp=now - 3600), "token": shop.token(),
        }  # fmt: skip
        async with site(built, given) as url:
            told = await asyncio.to_thread(_told, url, pause, asyncio.get_running_loop())
    text = "Hel\u2028lo 🙂 world 🙂"
    assert "error" not in told, told
    assert told == {
        "first": text, "pieces": [*told["pieces"]], "reply": text, "soFar": "Half", "stopped": "AbortError",
        "seen": ["user: Hi", f"assistant: {text}", "user: Again", f"assistant: {text}", "user: Wait", "assistant: Half of it."],
        "listed": 6, "foreign": "unauthenticated", "asked": 2,
    }  # fmt: skip
    assert "".join(told["pieces"]) == text


def _told(url: str, pause: Pause, loop: asyncio.AbstractEventLoop) -> Any:
    with browser("chromium") as shown:
        shown.open(url)
        _until(shown, "isStopped")
        loop.call_soon_threadsafe(pause.resume)
        _until(shown, "told")
        return shown.script("return window.told")


def _until(shown: Browser, name: str) -> None:
    shown.until(lambda: shown.script("return window[arguments[0]] !== undefined || window.told !== undefined", name))
