"""Bodies that no client sends: whatever comes, the answer is a turn or an error that names no fault of the server."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.harness import gigachat
from tests.openai.calls import assistant, error, user

ODD: list[Any] = [
    None,
    True,
    0,
    -1,
    1.5,
    10**30,
    "",
    "x",
    "\ud800",
    "a\0b",
    [],
    {},
    [[]],
    [None],
    {"a": {"b": []}},
    "msg_",
    "client:x",
    "💥" * 300,
    {"type": "text"},
    [{"type": "text", "text": 5}],
    [{"type": "image_url"}],
    "resp_01890a5d-ac96-774b-bcce-b302099a8057",
]
BODIES: dict[str, dict[str, Any]] = {
    "chat/completions": {
        "model": "x",
        "messages": [user("One"), assistant("Uno", id="msg_1"), user("Two")],
        "stream": False,
        "user": "ann",
        "n": 1,
        "stream_options": {"include_usage": True},
        "metadata": {"user_id": "ann", "conversation_id": "c1"},
        "tools": [],
        "response_format": {"type": "text"},
        "modalities": ["text"],
        "top_logprobs": 0,
        "temperature": 1,
        "max_tokens": 5,
    },
    "responses": {
        "model": "x",
        "input": [user("One"), {"type": "item_reference", "id": "msg_1"}, user("Two")],
        "conversation": {"id": "c2"},
        "previous_response_id": None,
        "metadata": {},
        "text": {"format": {"type": "text"}},
        "stream": True,
        "store": True,
        "safety_identifier": "bob",
        "prompt": None,
        "background": False,
        "instructions": "x",
    },
    "conversations": {"items": [], "metadata": {}},
    "embeddings": {"input": ["a", "b"], "model": "x", "encoding_format": "float", "dimensions": 384, "input_type": "query"},
}


def mutated(body: Any, chance: random.Random) -> Any:
    """The same with something of it, however deep, put in the place of something else, left out, or doubled."""
    if isinstance(body, dict) and body and chance.random() < 0.8:
        name = chance.choice(list(body))
        changed = {**body, name: mutated(body[name], chance)}
        if chance.random() < 0.1:
            del changed[name]
        return changed
    if isinstance(body, list) and body and chance.random() < 0.8:
        place = chance.randrange(len(body))
        return [*body[:place], mutated(body[place], chance), *body[place:]]
    return chance.choice(ODD)


@pytest.mark.slow
@pytest.mark.parametrize("route", BODIES)
async def test_odd_bodies_are_no_fault_of_the_server(tmp_path: Path, route: str) -> None:
    chance = random.Random(7)
    async with gigachat(tmp_path) as api:
        mount = f"{await api.chatbot()}/v1"
        seen = set()
        for _ in range(250):
            raw = json.dumps(mutated(BODIES[route], chance)).encode()
            reply = await api.call("POST", f"{mount}/{route}", raw=raw)
            seen.add(reply.status)
            if reply.status != 200:
                assert 400 <= error(reply)[0] < 500, raw
        assert {200, 400} <= seen
