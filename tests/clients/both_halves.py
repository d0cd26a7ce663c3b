"""A conversation with each half of the client, as JSON. Run as `both_halves.py URL KEY`."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from gigachat_client import AsyncGigachat, Event, Gigachat

URL, KEY = sys.argv[1:]


async def with_async() -> list[Any]:
    async with AsyncGigachat(URL, KEY) as client:
        chatbot = (await client.chatbots.create(name="Superbot")).id
        (reply,) = await client.say(chatbot, "Hi", conversation_id="c", user_id="ann")
        async with client.say_stream(chatbot, "Again", conversation_id="c", user_id="ann") as turn:
            said = "".join([text async for text in turn.text])
        seen: list[int] = []
        async for happened in client.follow(chatbot, "c"):
            seen += [happened.seq] if isinstance(happened, Event) else []
            if len(seen) == 4:
                break
        return [reply.content, said, seen]


def with_sync() -> list[Any]:
    with Gigachat(URL, KEY) as client:
        chatbot = client.chatbots.create(name="Superbot").id
        (reply,) = client.say(chatbot, "Hi", conversation_id="c", user_id="ann")
        with client.say_stream(chatbot, "Again", conversation_id="c", user_id="ann") as turn:
            said = "".join(turn.text)
        seen: list[int] = []
        for happened in client.follow(chatbot, "c"):
            seen += [happened.seq] if isinstance(happened, Event) else []
            if len(seen) == 4:
                break
        return [reply.content, said, seen]


sys.stdout.write(json.dumps([asyncio.run(with_async()), with_sync()]))
