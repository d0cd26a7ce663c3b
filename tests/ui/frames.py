"""UI message streams as a browser reads them: frames, and the message that they make."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol
from urllib.parse import quote

import aiohttp
from yarl import URL

from tests.harness import Api, Reply

Frame = dict[str, Any]
# What versions 5 to 7 know; any other type ends their stream with an error, but for those that begin with `data-`.
KNOWN = {
    "start", "start-step", "text-start", "text-delta", "text-end", "source-url", "source-document", "message-metadata",
    "finish-step", "finish", "error",
}  # fmt: skip


def user(text: str, message_id: str = "m1") -> dict[str, Any]:
    return {"id": message_id, "role": "user", "parts": [{"type": "text", "text": text}]}


def body(text: str, *, conversation: str = "c1", message_id: str = "m1", **more: Any) -> dict[str, Any]:
    """As `DefaultChatTransport` posts it."""
    return {"id": conversation, "messages": [user(text, message_id)], "trigger": "submit-message", **more}


async def post(api: Api, chatbot: str, text: str, **more: Any) -> Reply:
    headers, key = more.pop("headers", None), more.pop("key", "")
    return await api.post(f"{chatbot}/ui", body(text, **more), headers=headers, key=key)


async def say(api: Api, chatbot: str, text: str, **more: Any) -> list[Frame]:
    return frames(await post(api, chatbot, text, **more))


async def join(api: Api, chatbot: str, conversation: str = "c1") -> Reply:
    return await api.get(f"{chatbot}/ui/{quote(conversation, safe='')}/stream")


async def stored(api: Api, chatbot: str, conversation: str = "c1", query: str = "") -> list[dict[str, Any]]:
    reply = await api.get(f"{chatbot}/ui/{quote(conversation, safe='')}/messages{query}")
    assert reply.status == 200, reply.text
    found: list[dict[str, Any]] = reply.body
    return found


def frames(reply: Reply) -> list[Frame]:
    """Asserts that they are in the dialect, and end as it says."""
    assert reply.status == 200, reply.text
    assert reply.headers["X-Vercel-Ai-Ui-Message-Stream"] == "v1"
    assert reply.headers["Content-Type"].startswith("text/event-stream")
    lines = [line for line in reply.text.split("\n\n") if line and not line.startswith(":")]
    assert lines[-1] == "data: [DONE]"
    return [parsed(line) for line in lines[:-1]]


def parsed(line: str) -> Frame:
    assert line.startswith("data: ") and "\n" not in line, line
    found: Frame = json.loads(line[6:])
    assert found["type"] in KNOWN or found["type"].startswith("data-"), found
    return found


def types(found: list[Frame]) -> list[str]:
    """Of the frames, words in a row as one."""
    kinds = [each["type"] for each in found]
    return [kind for place, kind in enumerate(kinds) if kind != "text-delta" or kinds[place - 1] != "text-delta"]


def only(found: list[Frame], kind: str) -> Frame:
    (one,) = [each for each in found if each["type"] == kind]
    return one


def text(found: list[Frame]) -> str:
    return "".join(each["delta"] for each in found if each["type"] == "text-delta")


def message(found: list[Frame]) -> dict[str, Any]:
    """The message that a browser has after these frames, as the AI SDK puts it together."""
    made: dict[str, Any] = {"id": None, "role": "assistant", "parts": [], "metadata": {}}
    texts: dict[str, dict[str, Any]] = {}
    for each in found:
        match each["type"]:
            case "start":
                made["id"] = each["messageId"]
                made["metadata"] |= each["messageMetadata"]
            case "start-step":
                made["parts"].append({"type": "step-start"})
            case "text-start":
                texts[each["id"]] = {"type": "text", "text": "", "state": "streaming"}
                made["parts"].append(texts[each["id"]])
            case "text-delta":
                texts[each["id"]]["text"] += each["delta"]
            case "text-end":
                texts.pop(each["id"])["state"] = "done"
            case "message-metadata":
                made["metadata"] |= each["messageMetadata"]
            case "source-url" | "source-document" | "data-citations":
                made["parts"].append(each)
    return made


class Reading:
    """A stream of which a test reads as much as it wants."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.status = response.status
        self.seen: list[Frame] = []
        self._response = response
        self._buffer = b""

    async def words(self, wanted: str) -> None:
        """Read on until so much was said."""
        while text(self.seen) != wanted:
            assert await self._next(), (text(self.seen), wanted)
            assert wanted.startswith(text(self.seen)), "something else was said"

    async def rest(self) -> list[Frame]:
        while await self._next():
            pass
        return self.seen

    async def _next(self) -> bool:
        while b"\n\n" not in self._buffer:
            more = await self._response.content.readany()
            if not more:
                return False
            self._buffer += more
        line, _, self._buffer = self._buffer.partition(b"\n\n")
        if line == b"data: [DONE]":
            return False
        if not line.startswith(b":"):
            self.seen.append(parsed(line.decode()))
        return True


class Reachable(Protocol):
    """A server, and a key to it."""

    url: str
    key: str


@asynccontextmanager
async def reading(api: Reachable, method: str, path: str, sent: Any = None) -> AsyncIterator[Reading]:
    headers = {"Authorization": f"Bearer {api.key}"}
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, URL(api.url + path, encoded=True), json=sent, headers=headers) as response,
    ):
        yield Reading(response)
