"""Calls as OpenAI's clients make them, with bodies that a test writes out, and what came back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from tests.harness import Api, Reply
from tests.turns import rows

Frame = tuple[str, Any]


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


async def chat(
    api: Api, mount: str, *messages: Any, headers: Mapping[str, str] | None = None, key: str = "", **more: Any
) -> Reply:
    body = {"model": "any", "messages": [user(each) if isinstance(each, str) else each for each in messages], **more}
    return await api.post(f"{mount}/v1/chat/completions", body, headers=headers, key=key)


async def respond(
    api: Api, mount: str, given: Any, *, headers: Mapping[str, str] | None = None, key: str = "", **more: Any
) -> Reply:
    return await api.post(f"{mount}/v1/responses", {"model": "any", "input": given, **more}, headers=headers, key=key)


def error(reply: Reply) -> tuple[int, str, str | None]:
    """Status, code and param; asserts that it is an error in OpenAI's form."""
    assert reply.headers["Content-Type"] == "application/json", reply.text
    told = reply.body["error"]
    assert set(told) == {"message", "type", "param", "code"}, told
    assert told["message"]
    assert reply.headers["X-Request-Id"]
    return reply.status, told["code"], told["param"]


def text_of(reply: Reply) -> str:
    """Of a chat completion with one choice."""
    assert reply.status == 200, reply.text
    [choice] = reply.body["choices"]
    content: str = choice["message"]["content"]
    return content


def conversation_of(reply: Reply) -> str:
    return reply.headers["X-Conversation-Id"]


def frames(reply: Reply) -> list[Frame]:
    """Of a stream: the event's name, if it has one, and its data, `[DONE]` as it is."""
    assert reply.headers["Content-Type"].startswith("text/event-stream"), reply.text
    found = []
    for block in reply.text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n") if line and not line.startswith(":"))
        if lines:
            data = lines.pop("data")
            found.append((lines.pop("event", ""), data if data == "[DONE]" else json.loads(data)))
            assert not lines, block
    return found


def spoken(reply: Reply, index: int = 0) -> str:
    """What the chunks of a streamed chat completion add up to."""
    choices = [choice for _, data in frames(reply) if data != "[DONE]" for choice in data.get("choices", ())]
    return "".join(choice["delta"].get("content", "") for choice in choices if choice["index"] == index)


async def count(api: Api, role: str | None = None) -> int:
    """Messages in the store, of that role."""
    where = "" if role is None else f" WHERE role = '{role}'"
    return int((await rows(api, f"SELECT count(*) FROM messages{where}"))[0][0])


async def stored(api: Api, chatbot: str, conversation: str) -> list[tuple[str, str]]:
    return [(each["role"], each["content"]) for each in await api.messages(chatbot, conversation)]


def chatting(api: Api, mount: str, *messages: Any, **more: Any) -> asyncio.Task[Reply]:
    return asyncio.create_task(chat(api, mount, *messages, **more))
