"""A reply that is streamed in the words of another protocol: to those alone who may have it, and never in silence."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gigachat_server.api import sse
from gigachat_server.models.fake import Pause, ScriptedModel
from tests.harness import Api, gigachat
from tests.mcp.messages import modern
from tests.openai.calls import user


def asked(chatbot: str) -> dict[str, tuple[str, Any, Mapping[str, str]]]:
    """By protocol: where a prompt is sent, as what, and with which headers."""
    params = {"name": "ask", "arguments": {"prompt": "Hi"}, "_meta": {"progressToken": 1}}
    below, headers = modern("tools/call", params)
    chosen, _ = modern("tools/call", {**params, "arguments": {"prompt": "Hi", "chatbot_id": chatbot.rpartition("/")[2]}})
    spoken = {"id": "m1", "role": "user", "parts": [{"type": "text", "text": "Hi"}]}
    return {
        "native": (f"{chatbot}/conversations", {"conversation_id": "c", "user_id": "a", "prompt": "Hi", "stream": True}, {}),
        "chat": (f"{chatbot}/v1/chat/completions", {"messages": [user("Hi")], "stream": True}, {}),
        "response": (f"{chatbot}/v1/responses", {"input": "Hi", "stream": True}, {}),
        "ui": (f"{chatbot}/ui", {"id": "c", "messages": [spoken]}, {}),
        "mcp": (f"{chatbot}/mcp", below, headers),
        "mcp of the account": ("/mcp", chosen, headers),
    }


PATIENCE_S = 20
PROTOCOLS = tuple(asked(""))


async def read_until(response: aiohttp.ClientResponse, wanted: str) -> str:
    told = ""
    while wanted not in told:
        piece = await response.content.readany()
        assert piece, told
        told += piece.decode()
    return told


async def opened(api: Api, http: aiohttp.ClientSession, chatbot: str, protocol: str, key: str) -> aiohttp.ClientResponse:
    path, body, headers = asked(chatbot)[protocol]
    return await http.post(api.url + path, json=body, headers={**headers, "Authorization": f"Bearer {key}"})


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_key_that_is_revoked_gets_no_more_of_the_reply(
    tmp_path: Path, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "PING_S", 0.05)
    pause = Pause()
    async with gigachat(tmp_path, model=ScriptedModel(["Once ", pause, "upon"])) as api, aiohttp.ClientSession() as http:
        chatbot = await api.chatbot()
        made, key = await api.services.key_ring.create(api.services.account.id, "x")
        response = await opened(api, http, chatbot, protocol, key)
        await read_until(response, "Once ")
        await api.services.key_ring.revoke(api.services.account.id, made.id)
        async with asyncio.timeout(PATIENCE_S):  # what is not ended would be waited for as long as the model holds
            rest = (await response.content.read()).decode()
        pause.resume()
    assert "unauthenticated" in rest
    assert "upon" not in rest


@pytest.mark.parametrize("protocol", [each for each in PROTOCOLS if each != "native"])
async def test_a_reply_that_is_not_streamed_is_waited_for_with_pings(
    tmp_path: Path, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The chatbot's setting keeps the words back; a proxy would cut a connection that stays silent."""
    monkeypatch.setattr(sse, "PING_S", 0.05)
    pause = Pause()
    async with gigachat(tmp_path, model=ScriptedModel(["Once ", pause, "upon"])) as api, aiohttp.ClientSession() as http:
        chatbot = await api.chatbot(response={"stream": False})
        response = await opened(api, http, chatbot, protocol, api.key)
        await pause.reached.wait()
        told = ""
        while told.count(": ping") < 3:
            told += await read_until(response, ": ping")
        assert "Once" not in told
        pause.resume()
        assert "Once upon" in (await response.content.read()).decode()
