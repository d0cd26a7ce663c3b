"""What holds of every route for OpenAI's clients: both mounts, who may call, errors; and those that start no turn."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gigachat_server.access.scopes import Scope
from gigachat_server.api.routes import ROUTES, ApiRoute
from gigachat_server.models.fake import ScriptedModel
from tests.harness import Api, Reply, gigachat
from tests.openai.calls import chat, conversation_of, count, error, respond, stored, user

OURS = [route for route in ROUTES if route.is_openai]
BODIES: dict[str, Any] = {
    "/chat/completions": {"messages": [user("Hi")]},
    "/responses": {"input": "Hi"},
    "/conversations": {},
    "/embeddings": {"input": "Hi"},
}


async def call(api: Api, route: ApiRoute, chatbot: str, **options: Any) -> Reply:
    """That route about that chatbot, with a body that is right."""
    chatbot_id = chatbot.rpartition("/")[2]
    response = options.pop("response", "resp_01890a5d-ac96-774b-bcce-b302099a8057")
    path = (
        route.path.replace("{chatbot_id}", chatbot_id)
        .replace("{model}", chatbot_id)
        .replace("{response_id}", response)
        .replace("{conversation_id}", "c1")
    )
    if route.chatbot_in == "account":
        path += f"?chatbot_id={chatbot_id}"
    body = next((body for suffix, body in BODIES.items() if route.path.endswith(suffix)), None)
    if body is not None and route.chatbot_in == "model":
        body = {"model": chatbot_id, **body}
    return await api.call(route.method, path, body if route.method == "POST" else None, **options)


async def opened(api: Api, chatbot: str) -> str:
    """The id of a response in the conversation c1."""
    response: str = (await respond(api, chatbot, "Hi", conversation="c1")).body["id"]
    return response


async def test_both_mounts_have_the_same_routes_and_all_answer(tmp_path: Path) -> None:
    mounts = [{route.path.removeprefix(mount) for route in OURS if route.path.startswith(mount)}
              for mount in ("/v1", "/chatbots/{chatbot_id}/v1")]  # fmt: skip
    assert mounts[0] == mounts[1]
    assert len(OURS) == 20
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        response = await opened(api, chatbot)
        for route in OURS:
            reply = await call(api, route, chatbot, response=response)
            assert reply.status == 200, (route.path, reply.text)


async def test_restrictions_hold_on_every_route(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        response = await opened(api, chatbot)
        at_first = await count(api)
        for restrictions, code, headers in (
            ({"ip_addresses": ["203.0.113.7"]}, "address_refused", {}),
            ({"hostnames": ["shop.example"]}, "hostname_refused", {"Origin": "https://evil.example"}),
        ):
            changed = await api.call("PATCH", chatbot, {"restrictions": {"hostnames": [], "ip_addresses": [], **restrictions}})
            assert changed.status == 200
            for route in OURS:
                reply = await call(api, route, chatbot, response=response, headers=headers)
                if route.path == "/v1/models":  # names no chatbot: it is the account's list
                    assert reply.status == 200
                    continue
                assert error(reply) == (403, code, None), route.path
                assert reply.body["error"]["type"] == "permission_error"
        assert await count(api) == at_first


async def test_each_route_needs_its_scope(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        response = await opened(api, chatbot)
        for route in OURS:
            assert isinstance(route.scope, Scope)
            for scopes, is_let_in in (((route.scope,), True), (tuple(set(Scope) - {route.scope}), False)):
                _, key = await api.services.key_ring.create(api.services.account.id, "x", scopes=scopes)
                reply = await call(api, route, chatbot, response=response, key=key)
                assert (reply.status == 200) is is_let_in, (route.path, reply.text)
                if not is_let_in:
                    assert error(reply) == (403, "forbidden", None)
            none = await call(api, route, chatbot, key=None)
            assert error(none) == (401, "unauthenticated", None)
            assert none.headers["Www-Authenticate"].startswith("Bearer")
            assert error(await call(api, route, chatbot, key="sk-nothing"))[:2] == (401, "unauthenticated")


async def test_a_foreign_chatbot_looks_like_none(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        response = await opened(api, chatbot)
        _, key = await api.services.key_ring.create((await api.services.key_ring.ensure_account("other")).id, "x")
        for route in OURS:
            if route.path != "/v1/models":
                assert error(await call(api, route, chatbot, response=response, key=key))[0] == 404, route.path
        assert (await api.get("/v1/models", key=key)).body["data"] == []


async def test_wrong_addresses_and_methods_are_errors_of_the_same_form(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        for mount in ("", chatbot):
            assert error(await api.get(f"{mount}/v1/assistants"))[:2] == (404, "not_found")
            assert error(await api.get(f"{mount}/v1/chat/completions"))[:2] == (405, "method_not_allowed")
            wrong_type = await api.call("POST", f"{mount}/v1/responses", raw=b"x", headers={"Content-Type": "text/csv"})
            assert error(wrong_type)[:2] == (415, "unsupported_media_type")
            extra = await api.get(f"{mount}/v1/models?api-version=2024-02-01&limit=5")
            assert extra.status == 200


async def test_a_page_may_read_what_it_is_answered(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot(restrictions={"hostnames": ["shop.example"]})
        preflight = await api.call("OPTIONS", f"{chatbot}/v1/responses", headers={"Origin": "https://shop.example"}, key=None)
        reply = await respond(api, chatbot, "Hi", headers={"Origin": "https://shop.example"})
    assert preflight.status == 204
    allowed = preflight.headers["Access-Control-Allow-Headers"].lower()
    assert all(name in allowed for name in ("authorization", "x-stainless-retry-count", "x-conversation-id"))
    assert reply.headers["Access-Control-Allow-Origin"] == "https://shop.example"
    assert "X-Conversation-Id" in reply.headers["Access-Control-Expose-Headers"]


async def test_chatbots_are_models(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        made = [await api.chatbot(name=f"Bot {number}") for number in range(103)]
        listed = (await api.get("/v1/models")).body
        alone = (await api.get(f"{made[5]}/v1/models")).body
        by_name = (await api.get("/v1/models/Bot%205")).body
        assert error(await api.get("/v1/models/none")) == (404, "model_not_found", "model")
        assert (await api.get(f"{made[5]}/v1/models/gpt-4o")).body == by_name
    assert listed["object"] == "list"
    assert [each["name"] for each in listed["data"]] == [f"Bot {number}" for number in reversed(range(103))]
    assert alone["data"] == [by_name]
    assert (by_name["id"], by_name["object"], by_name["name"]) == (made[5].rpartition("/")[2], "model", "Bot 5")
    assert isinstance(by_name["created"], int)


async def test_a_conversation_is_the_native_one(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        made = (await api.post(f"{chatbot}/v1/conversations", {"metadata": {"topic": "x"}})).body
        assert (made["object"], made["metadata"]) == ("conversation", {})
        assert (await api.get(f"{chatbot}/v1/conversations/{made['id']}")).body == made
        assert (await api.get(f"{chatbot}/conversations/{made['id']}")).body["seq"] == 0
        empty = (await api.get(f"{chatbot}/v1/conversations/{made['id']}/items")).body
        assert (empty["data"], empty["has_more"], empty["first_id"]) == ([], False, None)
        assert conversation_of(await respond(api, chatbot, "Hi", conversation=made["id"])) == made["id"]
        native = [each["id"] for each in await api.messages(chatbot, made["id"])]
        items = (await api.get(f"{chatbot}/v1/conversations/{made['id']}/items?order=asc")).body["data"]
        assert [each["id"] for each in items] == [f"msg_{each}" for each in native]
        assert [each["role"] for each in items] == ["user", "assistant"]
        assert items[0]["content"] == [{"type": "input_text", "text": "Hi"}]
        refused = await api.post(f"{chatbot}/v1/conversations", {"items": [user("Hi")]})
        assert error(refused) == (400, "unsupported_parameter", "items")
        assert error(await api.get(f"{chatbot}/v1/conversations/none"))[:2] == (404, "not_found")
        once = [await api.post(f"{chatbot}/v1/conversations", {}, headers={"Idempotency-Key": "k"}) for _ in range(2)]
        assert once[0].body == once[1].body


async def test_items_are_what_the_conversation_consists_of_page_by_page(tmp_path: Path) -> None:
    """Without replies that a retry replaced and other alternatives; what staff says is said for the assistant's side."""
    async with gigachat(tmp_path, model=ScriptedModel(["First."], ["Again."], ["Re."])) as api:
        chatbot = await api.chatbot(response={"n": 2})
        replies = await api.say(chatbot, "One")
        await api.post(f"{chatbot}/conversations/c1/messages/{replies[0]['id']}/retry")
        await api.say(chatbot, "From staff.", user="client:bob")
        for prompt in ("Two", "Three"):
            await api.say(chatbot, prompt)
        whole = (await api.get(f"{chatbot}/v1/conversations/c1/items?limit=100&order=asc")).body
        pages: dict[str, list[str]] = {"asc": [], "desc": []}
        for order, seen in pages.items():
            after = ""
            while True:
                page = (await api.get(f"{chatbot}/v1/conversations/c1/items?limit=2&order={order}{after}")).body
                seen += [each["id"] for each in page["data"]]
                after = f"&after={page['last_id']}"
                if not page["has_more"]:
                    break
        newest = (await api.get(f"{chatbot}/v1/conversations/c1/items")).body
        for bad in ("after=x", "after=msg_01890a5d-ac96-774b-bcce-b302099a8057", "limit=0", "order=up"):
            assert error(await api.get(f"{chatbot}/v1/conversations/c1/items?{bad}"))[:2] == (400, "invalid_request")
    said = [(each["role"], each["content"][0]["text"]) for each in whole["data"]]
    assert said == [
        ("user", "One"), ("assistant", "Again."), ("assistant", "From staff."), ("user", "Two"), ("assistant", "Re."),
        ("user", "Three"), ("assistant", "Re."),
    ]  # fmt: skip
    assert whole["data"][2]["gigachat"] == {"role": "operator", "name": "bob", "citations": []}
    ids = [each["id"] for each in whole["data"]]
    assert pages == {"asc": ids, "desc": ids[::-1]}
    assert [each["id"] for each in newest["data"]] == ids[::-1]


async def test_at_the_root_conversations_need_to_know_the_chatbot(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        assert error(await api.post("/v1/conversations", {})) == (400, "chatbot_required", "chatbot_id")
        chatbot = await api.chatbot()
        made = (await api.post("/v1/conversations", {})).body["id"]
        assert (await api.get(f"/v1/conversations/{made}")).body["id"] == made
        other = await api.chatbot()
        for path in (f"/v1/conversations/{made}", f"/v1/conversations/{made}/items"):
            assert error(await api.get(path)) == (400, "chatbot_required", "chatbot_id")
            assert (await api.get(f"{path}?chatbot_id={chatbot.rpartition('/')[2]}")).status == 200
            assert error(await api.get(f"{path}?chatbot_id={other.rpartition('/')[2]}"))[:2] == (404, "not_found")
            assert error(await api.get(f"{path}?chatbot_id=x"))[:2] == (404, "not_found")


def vectors(reply: Reply) -> list[list[float]]:
    assert reply.status == 200, reply.text
    return [each["embedding"] for each in reply.body["data"]]


async def test_embeddings_are_those_that_retrieval_compares(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        [chunk] = await api.push(chatbot, "parcels", "Parcels ship on Monday.")
        prompt = "When do parcels ship?"
        found = (await api.get(f"{chatbot}/retrieve?query={prompt.replace(' ', '%20')}&embedding=true")).body["passages"][0]
        url = f"{chatbot}/v1/embeddings"
        [asked] = vectors(await api.post(url, {"input": prompt}))
        [passage] = vectors(await api.post(url, {"input": ["Parcels ship on Monday."], "input_type": "passage"}))
        many = vectors(await api.post(url, {"input": [prompt, "Parcels ship on Monday."], "encoding_format": "float"}))
        packed = vectors(await api.post(url, {"input": prompt, "encoding_format": "base64"}))
    of_chunk = [float(number) for number in found["embedding"].strip("[]").split(",")]
    assert of_chunk == [float(number) for number in chunk["embedding"].strip("[]").split(",")]
    assert np.allclose(passage, of_chunk, atol=1e-7)
    assert round(float(np.dot(asked, of_chunk)), 5) == round(found["cosine"], 5)
    assert many[0] == asked
    assert np.frombuffer(base64.b64decode(packed[0]), "<f4").tolist() == asked  # type: ignore[arg-type]


BAD_INPUTS: list[tuple[Any, str, str]] = [
    ({"input": []}, "invalid_request", "input"),
    ({"input": ""}, "invalid_request", "input"),
    ({"input": ["a", " "]}, "invalid_request", "input[1]"),
    ({"input": ["a", 1]}, "invalid_request", "input[1]"),
    ({"input": None}, "invalid_request", "input"),
    ({"input": "x" * 32_001}, "invalid_request", "input"),
    ({"input": ["a"] * 65}, "invalid_request", "input"),
    ({"input": [1, 2, 3]}, "unsupported_parameter", "input"),
    ({"input": [[1, 2], [3]]}, "unsupported_parameter", "input"),
    ({"input": "a", "dimensions": 7}, "unsupported_parameter", "dimensions"),
    ({"input": "a", "encoding_format": "int8"}, "invalid_request", "encoding_format"),
    ({}, "invalid_request", "input"),
]


async def test_what_cannot_be_embedded_is_refused(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        for body, code, param in BAD_INPUTS:
            assert error(await api.post(f"{chatbot}/v1/embeddings", body)) == (400, code, param), body
        assert len(vectors(await api.post(f"{chatbot}/v1/embeddings", {"input": ["a"] * 64, "dimensions": 384}))) == 64


@pytest.mark.parametrize("mount", ["chatbot", "root"])
async def test_a_native_caller_sees_the_same_conversation(tmp_path: Path, mount: str) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        model = chatbot.rpartition("/")[2]
        await chat(api, chatbot if mount == "chatbot" else "", "One", headers={"X-Conversation-Id": "c1"}, model=model)
        await api.say(chatbot, "Two")
        await respond(api, chatbot if mount == "chatbot" else "", "Three", conversation="c1", model=model)
        assert [text for role, text in await stored(api, chatbot, "c1") if role == "user"] == ["One", "Two", "Three"]
        events = (await api.get(f"{chatbot}/conversations/c1/events?limit=100")).body
        assert [each["type"] for each in events].count("message.created") == 6
