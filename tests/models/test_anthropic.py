"""Anthropic's own API: what is sent, and what is made of its events wherever they are cut."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from tests.models.dialects import event
from tests.models.misbehaving_endpoint import KEY, Exchange, endpoint, ends, handoffs, http, prompt, texts
from tests.models.test_openai_model import collect

from gigachat_server.errors import ModelError, ModelInterrupted, ModelUnauthorised
from gigachat_server.models.base import CallOptions, ChatMessage, HandoffOffer, HandoffRequest, ModelEvent, Sections, UsageReport
from gigachat_server.models.endpoints.anthropic import AnthropicModel
from gigachat_server.models.endpoints.anthropic_events import EventReader
from gigachat_server.models.endpoints.completion_stream import CompletionParser


def named(value: dict[str, Any]) -> bytes:
    return event(value, name=value["type"])


def text(*parts: str, index: int = 0) -> bytes:
    start = named({"type": "content_block_start", "index": index, "content_block": {"type": "text", "text": ""}})
    deltas = [
        named({"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": part}}) for part in parts
    ]
    return start + b"".join(deltas) + named({"type": "content_block_stop", "index": index})


def thinking(index: int = 0) -> bytes:
    return (
        named({"type": "content_block_start", "index": index, "content_block": {"type": "thinking", "thinking": ""}})
        + named({"type": "content_block_delta", "index": index, "delta": {"type": "thinking_delta", "thinking": "hm"}})
        + named({"type": "content_block_delta", "index": index, "delta": {"type": "signature_delta", "signature": "x"}})
        + named({"type": "content_block_stop", "index": index})
    )


def tool(*parts: str, name: str = "handoff", index: int = 1) -> bytes:
    block = {"type": "tool_use", "id": "t", "name": name, "input": {}}
    deltas = [
        named({"type": "content_block_delta", "index": index, "delta": {"type": "input_json_delta", "partial_json": part}})
        for part in parts
    ]
    return named({"type": "content_block_start", "index": index, "content_block": block}) + b"".join(deltas)


START = named(
    {
        "type": "message_start",
        "message": {
            "id": "m",
            "type": "message",
            "role": "assistant",
            "model": "claude-x",
            "content": [],
            "usage": {"input_tokens": 5, "cache_read_input_tokens": 20, "output_tokens": 1},
        },
    }
)
PING = named({"type": "ping"})
STOP = named({"type": "message_stop"})


def end(reason: str = "end_turn") -> bytes:
    return named({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 7}}) + STOP


BODIES = {
    "text": (START + PING + text("Hel", "lo") + end(), {0: "Hello"}, {0: "stop"}),
    "umlauts": (START + text("Grü", "ße 😀") + end(), {0: "Grüße 😀"}, {0: "stop"}),
    "length": (START + text("Hello") + end("max_tokens"), {0: "Hello"}, {0: "length"}),
    "refusal": (START + text("No.") + end("refusal"), {0: "No."}, {0: "content_filter"}),
    "thinking": (START + thinking() + text("Hello", index=1) + end(), {0: "Hello"}, {0: "stop"}),
    "handoff": (START + text("Soon.") + tool('{"reason":', '"asked"}') + end("tool_use"), {0: "Soon."}, {0: "handoff"}),
    "handoff alone": (START + tool('{"reason":"asked"}', index=0) + end("tool_use"), {}, {0: "handoff"}),
}


def parse(pieces: list[bytes]) -> tuple[list[ModelEvent], ModelError | None]:
    parser = CompletionParser(model="asked", may_hand_off=True, read=EventReader().read)
    events: list[ModelEvent] = []
    for piece in pieces:
        events += parser.feed(piece)
    events += parser.finish()
    return events, parser.failure


@pytest.mark.parametrize("name", BODIES)
def test_events_are_read_wherever_they_are_cut(name: str) -> None:
    body, said, ended = BODIES[name]
    for at in range(len(body)):
        events, failure = parse([body[:at], body[at:]])
        assert failure is None
        assert (texts(events), ends(events)) == (said, ended)
        assert events[-1] == UsageReport("claude-x", 25, 7)
        assert handoffs(events) == ([HandoffRequest("asked")] if "handoff" in name else [])


FAILURES = {
    "overloaded": START + text("Hel") + named({"type": "error", "error": {"type": "overloaded_error", "message": "x"}}),
    "broken off": START + text("Hel"),
    "broken off in an event": (START + text("Hel"))[:-10],
}


@pytest.mark.parametrize("name", FAILURES)
def test_what_breaks_is_never_complete(name: str) -> None:
    events, failure = parse([FAILURES[name]])
    assert isinstance(failure, ModelError)
    assert not ends(events)


async def test_the_request_is_that_of_the_api_with_marks_to_cache() -> None:
    async with endpoint(http(START + text("Hello") + end())) as here:
        model = AnthropicModel(here.url, "claude-x", KEY)
        asked = msgspec.structs.replace(
            prompt(handoff=HandoffOffer(), temperature=1.5, n=2, presence_penalty=1.0),
            messages=(
                ChatMessage("system", "Be brief."),
                ChatMessage("user", "a"),
                ChatMessage("assistant", "b"),
                ChatMessage("user", "c"),
            ),
            sections=Sections("Sections:", ("[1] x",), "end"),
        )
        events, error = await collect(model, asked)
        assert (texts(events), error) == ({0: "Hello"}, None)
        [request] = here.requests
        assert request.head.startswith("POST /v1/messages HTTP/1.1")
        assert f"x-api-key: {KEY}\r\n" in request.head and "anthropic-version: 2023-06-01\r\n" in request.head
        cached = {"type": "ephemeral"}
        body = request.body
        [offered] = body.pop("tools")
        assert (offered["name"], offered["input_schema"]["required"]) == ("handoff", ["reason"])
        assert body == {
            "model": "claude-x",
            "max_tokens": 200,
            "stream": True,
            "temperature": 1.0,
            "system": [{"type": "text", "text": "Be brief.", "cache_control": cached}],
            "messages": [
                {"role": "user", "content": "a"},
                {"role": "assistant", "content": [{"type": "text", "text": "b", "cache_control": cached}]},
                {"role": "user", "content": "Sections:\n[1] x\nend\n\nc"},
            ],
        }
        effort = msgspec.structs.replace(asked, options=CallOptions(reasoning_effort="medium"))
        await collect(model, effort)
        body = here.requests[-1].body
        assert (body["thinking"], body["max_tokens"]) == ({"type": "enabled", "budget_tokens": 4096}, 4296)
        assert "temperature" not in body
        await model.aclose()


async def test_refusals_are_learnt_and_errors_named() -> None:
    refusal = json.dumps(
        {"type": "error", "error": {"type": "invalid_request_error", "message": "`temperature` is deprecated for this model."}}
    )

    async def picky(exchange: Exchange) -> None:
        is_refused = "temperature" in exchange.body
        await exchange.send(http(refusal.encode(), status="400 No") if is_refused else http(START + text("Hello") + end()))

    async with endpoint(picky) as here:
        model = AnthropicModel(here.url, "claude-x", KEY)
        for _ in range(2):
            events, _ = await collect(model, prompt())
            assert texts(events) == {0: "Hello"}
        assert len(here.requests) == 3
        await model.aclose()
    async with endpoint(http(b'{"type":"error","error":{"type":"authentication_error","message":"x"}}', status="401 No")) as here:
        model = AnthropicModel(here.url, "claude-x", KEY)
        assert isinstance((await collect(model, prompt()))[1], ModelUnauthorised)
        await model.aclose()
    async with endpoint(http(START + text("Hel"))) as here:
        model = AnthropicModel(here.url, "claude-x", KEY)
        assert isinstance((await collect(model, prompt()))[1], ModelInterrupted)
        await model.aclose()


async def test_a_whole_message_is_as_good_as_a_stream() -> None:
    message = {
        "type": "message",
        "model": "claude-x",
        "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Hello"}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 5, "output_tokens": 7},
    }
    async with endpoint(http(json.dumps(message).encode(), kind="application/json")) as here:
        model = AnthropicModel(here.url, "claude-x", KEY)
        events, error = await collect(model, prompt())
        assert (texts(events), ends(events), error) == ({0: "Hello"}, {0: "stop"}, None)
        assert events[-1] == UsageReport("claude-x", 5, 7)
        await model.aclose()
