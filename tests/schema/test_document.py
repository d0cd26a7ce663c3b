"""The OpenAPI document, as those read it who make clients of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gigachat_server.api.openapi import openapi
from gigachat_server.api.routes import ROUTES

DOCUMENT = openapi()
COMPONENTS = DOCUMENT["components"]["schemas"]
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, by_method in DOCUMENT["paths"].items()
    for method, operation in by_method.items()
}


def inside(schema: Any) -> Iterator[dict[str, Any]]:
    """Every object of it, however deep."""
    if isinstance(schema, dict):
        yield schema
        schema = list(schema.values())
    if isinstance(schema, list):
        for each in schema:
            yield from inside(each)


def named(reference: str) -> dict[str, Any]:
    schema: dict[str, Any] = COMPONENTS[reference.removeprefix("#/components/schemas/")]
    return schema


def body_of(name: str) -> dict[str, Any]:
    return named(OPERATIONS[name]["requestBody"]["content"]["application/json"]["schema"]["$ref"])


def codes(name: str, status: int) -> set[str]:
    schema = OPERATIONS[name]["responses"][str(status)]["content"]["application/problem+json"]["schema"]
    return set(named(schema["$ref"])["allOf"][1]["properties"]["code"]["enum"])


def test_a_component_is_called_what_its_title_says() -> None:
    assert {name: schema["title"] for name, schema in COMPONENTS.items()} == {name: name for name in COMPONENTS}
    references = {each["$ref"].rpartition("/")[2] for each in inside(DOCUMENT) if "$ref" in each}
    assert references == set(COMPONENTS)


def test_a_patch_demands_nothing_and_sends_nothing_that_was_not_meant() -> None:
    for name in ("PATCH /chatbots/{chatbot_id}", "PATCH /chatbots/{chatbot_id}/sites/{site_id}"):
        assert "required" not in body_of(name)
    sent = [operation["requestBody"] for operation in OPERATIONS.values() if "requestBody" in operation]
    waiting, seen = [each for body in sent for each in inside(body)], set()
    while waiting:
        schema = waiting.pop()
        assert "default" not in schema, "generators send it along, or demand the field"
        if (reference := schema.get("$ref")) and reference not in seen:
            seen.add(reference)
            waiting += inside(named(reference))
    assert body_of("POST /chatbots")["required"] == ["name"]


def test_an_answer_always_has_what_may_be_left_out_of_a_request() -> None:
    assert set(COMPONENTS["ResponseConfig"]["required"]) == set(COMPONENTS["ResponseConfigInput"]["properties"])
    assert "required" not in COMPONENTS["ResponseConfigInput"] or COMPONENTS["ResponseConfigInput"]["required"] == []
    assert COMPONENTS["Location"]["required"] == ["lines"]
    assert "error" not in COMPONENTS["WireReplay"]["required"]


def test_what_may_hold_anything_says_so() -> None:
    for each in inside(COMPONENTS):
        if each.get("type") == "object" and "properties" not in each:
            assert "additionalProperties" in each, each
    assert COMPONENTS["WireMessage"]["properties"]["metadata"]["additionalProperties"] is True


def test_every_route_tells_its_problems() -> None:
    for route in ROUTES:
        name = f"{route.method} {route.path}"
        always = {"400", "408", "431", "500", "503", "default"} | (set() if route.is_openai else {"422"})
        assert always <= OPERATIONS[name]["responses"].keys(), name
        assert ("401" in OPERATIONS[name]["responses"]) == (OPERATIONS[name].get("security") != []), name
        assert ("404" in OPERATIONS[name]["responses"]) == ("{" in route.path or route.chatbot_in == "model"), name
    say = "POST /chatbots/{chatbot_id}/conversations"
    assert codes(say, 409) == {"conversation_busy", "idempotency_in_progress"}
    assert {"upstream_rate_limited", "rate_limited", "budget_spent"} == codes(say, 429)
    desk = "/chatbots/{chatbot_id}/conversations/{conversation_id}"
    assert "nothing_to_answer" in codes(f"POST {desk}/suggest", 409)
    assert {"proposal_decided", "conversation_already_taken_over"} < codes(f"POST {desk}/proposals/{{proposal_id}}/send", 409)
    assert "search_busy" in codes("GET /chatbots/{chatbot_id}/search", 503)
    assert {"invalid_request", "idempotency_key_reused", "upstream_filtered"} <= codes(say, 422)
    assert codes("GET /chatbots", 403) == {"forbidden"}
    assert {"hostname_refused", "address_refused", "forbidden"} == codes(say, 403)
    assert codes("POST /chatbots/{chatbot_id}/sites", 409) == {"idempotency_in_progress", "site_exists", "too_many_sites"}


def test_every_stream_tells_its_events() -> None:
    for route in ROUTES:
        content = OPERATIONS[f"{route.method} {route.path}"]["responses"][str(route.status)].get("content", {})
        assert ("text/event-stream" in content) == route.is_streamed
        if route.is_openai and route.is_streamed:
            stream = named(content["text/event-stream"]["schema"]["$ref"])
            told = stream.get("oneOf") or stream["allOf"]
            assert all(each["$ref"].startswith("#/components/schemas/OpenAI") for each in told)
        elif route.is_streamed:
            stream = named(content["text/event-stream"]["schema"]["$ref"])
            if "oneOf" not in stream:  # of another protocol, whose data tells the kind of an event
                assert stream["properties"]["data"]["anyOf"][1]["contentSchema"]["$ref"]
                continue
            events = [each["properties"] for each in stream["oneOf"]]
            assert ["error"] in [each["event"]["enum"] for each in events]
            assert all(each["data"]["contentSchema"]["$ref"] for each in events)
    turn = {event for each in COMPONENTS["TurnStream"]["oneOf"] for event in each["properties"]["event"]["enum"]}
    assert turn == {"start", "delta", "message", "done", "error"}
