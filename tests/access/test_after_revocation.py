"""What a caller is still told who was revoked while they listened: nothing that was said after that, on whatever route."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from gigachat_server.api import sse
from gigachat_server.models.fake import Pause, ScriptedModel
from tests.access.people import PAGE, people
from tests.harness import gigachat
from tests.mcp.messages import modern

PROMPT = "Hello"
_CALL, _MCP_HEADERS = modern("tools/call", {"name": "ask", "arguments": {"prompt": PROMPT}, "_meta": {"progressToken": 1}})
_UI = {"id": "c1", "messages": [{"id": "m1", "role": "user", "parts": [{"type": "text", "text": PROMPT}]}]}
_EVENTS = {"Accept": "text/event-stream"}
# Every route that tells a reply as it is said, with its body.
WAYS: dict[str, dict[str, Any]] = {
    "/conversations": {"prompt": PROMPT, "stream": True},
    "/v1/chat/completions": {"model": "any", "messages": [{"role": "user", "content": PROMPT}], "stream": True},
    "/v1/responses": {"model": "any", "input": PROMPT, "stream": True},
    "/ui": _UI,
    "/mcp": _CALL,
}
WHO = ("a key", "a session", "a blocked user")
CASES = [(below, who) for below in WAYS for who in WHO if (below, who) not in [("/mcp", each) for each in WHO[1:]]]


@pytest.mark.parametrize("below, who", CASES)
async def test_who_is_revoked_hears_no_more_of_a_reply(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, below: str, who: str
) -> None:
    monkeypatch.setattr(sse, "PING_S", 0.05)
    pause, body = Pause(), WAYS[below]
    async with gigachat(tmp_path, model=ScriptedModel(["Public.", pause, "SECRET"])) as api:
        shop = await people(api)
        made, key = await api.services.key_ring.create(api.services.account.id, "lost")
        bearer = {"a key": key, "a session": await shop.session(), "a blocked user": shop.token()}[who]
        if who == "a key" and below == "/conversations":
            body = {**body, "user_id": "ann", "conversation_id": "c1"}
        headers = {"Authorization": f"Bearer {bearer}", **(_MCP_HEADERS if below == "/mcp" else {**_EVENTS, **PAGE})}
        async with (
            aiohttp.ClientSession() as http,
            http.post(URL(api.url + shop.path + below, encoded=True), json=body, headers=headers) as answer,
        ):
            assert answer.status in (200, 201), await answer.text()
            await pause.reached.wait()
            if who == "a key":
                await api.services.key_ring.revoke(api.services.account.id, made.id)
            else:
                told = {"block": True} if who == "a blocked user" else {}
                assert (await shop.post("/users/alice%40example.com/revoke", told)).status == 200
            async with asyncio.timeout(30):
                heard = await answer.text()  # it ends, though the reply goes on
            assert "SECRET" not in heard
            assert "unauthenticated" in heard or "invalid_api_key" in heard or "valid API key" in heard, heard
        pause.resume()


@pytest.mark.parametrize("is_streamed", [True, False])
async def test_who_is_revoked_hears_no_more_of_a_replay(tmp_path: Path, is_streamed: bool) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=ScriptedModel(["Public."], [pause, "SECRET"])) as api:
        shop = await people(api)
        await api.say(shop.path, PROMPT)
        made, key = await api.services.key_ring.create(api.services.account.id, "lost")
        asking = asyncio.create_task(shop.post("/replay", {"stream": is_streamed}, bearer=key))
        await pause.reached.wait()
        await api.services.key_ring.revoke(api.services.account.id, made.id)
        pause.resume()
        heard = (await asking).text
        assert "SECRET" not in heard and "Public." not in heard
        assert "unauthenticated" in heard, heard
