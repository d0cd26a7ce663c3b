"""The MCP server's protocol, in both eras: versions, headers, errors; and whatever bodies, no failure of ours."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gigachat_server.access.bearers import API_KEY
from tests.harness import gigachat
from tests.mcp.messages import ACCEPT, HANDSHAKE, MODERN, call, message, modern, result, send

VERSIONS = [MODERN, "2025-11-25", "2025-06-18", "2025-03-26"]


async def test_discovery(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        for path in ("/mcp", f"{await api.chatbot()}/mcp"):
            found = await result(api, path, "server/discover")
            assert found["supportedVersions"] == VERSIONS
            assert found["capabilities"] == {"tools": {}, "resources": {}}
            assert (found["resultType"], found["cacheScope"]) == ("complete", "private")
            assert found["ttlMs"] > 0
            assert found["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "gigachat"


@pytest.mark.parametrize(
    ("wanted", "agreed"),
    [*((each, each) for each in VERSIONS[1:]), ("2024-11-05", HANDSHAKE), ("2099-01-01", HANDSHAKE), (7, HANDSHAKE)],
)
async def test_a_handshake(tmp_path: Path, wanted: Any, agreed: str) -> None:
    async with gigachat(tmp_path) as api:
        params = {"protocolVersion": wanted, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
        reply = await api.post("/mcp", message("initialize", params), headers=ACCEPT)
        found = reply.body["result"]
        assert found["protocolVersion"] == agreed
        assert found["serverInfo"]["name"] == "gigachat"
        assert "Mcp-Session-Id" not in reply.headers
        assert not {"resultType", "ttlMs"} & found.keys(), "of the other era"
        initialized = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        acknowledged = await api.post("/mcp", initialized, headers={"Mcp-Protocol-Version": agreed})
        assert (acknowledged.status, acknowledged.text) == (202, "")
        assert await result(api, "/mcp", "ping", is_modern=False) == {}
        assert "tools" in await result(api, "/mcp", "tools/list", is_modern=False)


def changed(
    sent: tuple[dict[str, Any], dict[str, str]], other: Mapping[str, str | None] = {}, *, meta: Mapping[str, Any] = {}
) -> tuple[dict[str, Any], dict[str, str]]:
    """With other headers and other metadata; without what is None there."""
    body, headers = sent
    meta = {**body["params"]["_meta"], **meta}
    kept = {name: value for name, value in {**headers, **other}.items() if value is not None}
    params = {**body["params"], "_meta": {name: value for name, value in meta.items() if value is not None}}
    return {**body, "params": params}, kept


TOOLS = modern("tools/list")
ASK = modern("tools/call", {"name": "ask", "arguments": {"prompt": "Hi"}})
_VERSION, _CAPABILITIES = "io.modelcontextprotocol/protocolVersion", "io.modelcontextprotocol/clientCapabilities"


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (changed(TOOLS, {"Mcp-Protocol-Version": "2025-11-25"}), -32020),
        (changed(TOOLS, {"Mcp-Protocol-Version": None}), -32020),
        (changed(TOOLS, meta={_VERSION: "2025-11-25"}), -32020),
        (changed(TOOLS, {"Mcp-Method": "tools/call"}), -32020),
        (changed(TOOLS, {"Mcp-Method": None}), -32020),
        (changed(ASK, {"Mcp-Name": "search_documents"}), -32020),
        (changed(ASK, {"Mcp-Name": None}), -32020),
        (changed(ASK, {"Mcp-Name": "=?base64?!?="}), -32020),
        (changed(TOOLS, meta={_CAPABILITIES: None}), -32602),
        (changed(TOOLS, meta={_VERSION: None}), -32602),
        (changed(TOOLS, {"Mcp-Protocol-Version": "2099-01-01"}, meta={_VERSION: "2099-01-01"}), -32022),
        (({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}, {"Mcp-Protocol-Version": "2099-01-01"}), -32022),
        (({"jsonrpc": "2.0", "method": "notifications/cancelled"}, {"Mcp-Protocol-Version": "2099-01-01"}), -32022),
        (({"jsonrpc": "1.0", "id": 1, "method": "tools/list"}, {}), -32600),
        (({"jsonrpc": "2.0", "id": None, "method": "tools/list"}, {}), -32600),
        (({"jsonrpc": "2.0", "id": 1.5, "method": "tools/list"}, {}), -32600),
        (({"jsonrpc": "2.0", "id": 1, "method": 5}, {}), -32600),
        (({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": []}, {}), -32600),
        (({"jsonrpc": "2.0", "id": 1, "result": {}}, {}), -32600),
        (([{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}], {}), -32600),
    ],
)
async def test_what_is_refused_before_it_is_carried_out(tmp_path: Path, sent: tuple[Any, dict[str, str]], code: int) -> None:
    async with gigachat(tmp_path) as api:
        body, headers = sent
        reply = await api.post("/mcp", body, headers=headers)
        assert (reply.status, reply.body["error"]["code"]) == (400, code), reply.text
        if code == -32022:
            assert reply.body["error"]["data"]["supported"] == VERSIONS
        if code == -32020:
            assert reply.body["id"] == 1


async def test_a_name_that_no_header_can_hold_comes_as_base64(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        body, headers = changed(ASK, {"Mcp-Name": "=?base64?YXNr?="})
        chatbot = await api.chatbot()
        assert (await api.post(f"{chatbot}/mcp", body, headers=headers)).body["result"]["content"]


async def test_what_is_not_there(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        for method, is_modern in (("prompts/list", True), ("initialize", True), ("ping", True), ("server/discover", False)):
            body, headers = modern(method)
            if not is_modern:
                body, headers = message(method), {"Mcp-Protocol-Version": HANDSHAKE}
            reply = await api.post("/mcp", body, headers=headers)
            assert reply.body["error"]["code"] == -32601, method
            assert reply.status == (404 if is_modern else 200), "before 2026-07-28 an answer is one, whatever it says"
        for method in ("GET", "DELETE", "PUT"):
            reply = await api.call(method, "/mcp")
            assert (reply.status, reply.headers["Allow"]) == (405, "OPTIONS, POST")
        assert (await api.post("/chatbots/01a204e3-15f7-77b1-9db6-d193b16a5979/mcp", message("ping"))).status == 404
        assert "/mcp" not in (await api.get("/openapi.json")).text


async def test_who_is_let_in(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        for key in (None, API_KEY.mint()):
            reply = await send(api, "/mcp", "tools/list", key=key)
            assert (reply.status, reply.body["error"]["data"]["code"]) == (401, "unauthenticated")
            assert reply.headers["Www-Authenticate"].startswith("Bearer")
        host = api.url.removeprefix("http://")
        await api.call("PATCH", chatbot, {"restrictions": {"hostnames": ["app.example.com"]}})
        for path, origin, status in (
            ("/mcp", "https://evil.example.com", 403),
            ("/mcp", "null", 403),
            ("/mcp", "http://[", 403),
            ("/mcp", f"http://{host}", 200),
            (f"{chatbot}/mcp", "https://app.example.com", 200),
            (f"{chatbot}/mcp", "https://evil.example.com", 403),
        ):
            body, headers = modern("tools/list")
            reply = await api.post(path, body, headers={**headers, "Origin": origin})
            assert reply.status == status, (path, origin)
            if status == 403:
                assert reply.body["error"]["data"]["code"] in ("origin_refused", "hostname_refused")


async def test_restrictions_hold_at_both_addresses(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot(restrictions={"ip_addresses": ["10.0.0.1"]})
        chatbot_id = chatbot.rpartition("/")[2]
        refused = await send(api, f"{chatbot}/mcp", "tools/list")
        assert (refused.status, refused.body["error"]["data"]["code"]) == (403, "address_refused")
        for tool in ("ask", "search_documents", "list_conversations", "list_unanswered"):
            arguments: dict[str, Any] = {"chatbot_id": chatbot_id}
            arguments |= {"ask": {"prompt": "Hi"}, "search_documents": {"query": "Hi"}}.get(tool, {})
            found = await call(api, "/mcp", tool, arguments)
            assert json.loads(found["content"][0]["text"])["code"] == "address_refused", tool
        pushed = await call(api, "/mcp", "push_document", {"chatbot_id": chatbot_id, "name": "n", "content": "c"})
        assert "isError" not in pushed, "documents stay manageable"


def fuzzed(choice: random.Random) -> bytes:
    """A body that is right in part."""
    odd: list[Any] = [
        None,
        True,
        -1,
        2**63,
        1e308,
        "",
        "x" * 300,
        "\ud800",
        "a\0b",
        "ü",
        [],
        [[]],
        {},
        {"a": {}},
        {"_meta": 1},
        [1, "x", None],
    ]
    methods = [
        "tools/call",
        "tools/list",
        "resources/read",
        "resources/list",
        "initialize",
        "ping",
        "server/discover",
        "notifications/x",
    ]
    tools = ["ask", "search_documents", "push_document", "list_conversations", "read_conversation", "list_unanswered",
             "answer_unanswered", "reply_as_operator", "none"]  # fmt: skip
    fields = ["prompt", "query", "name", "content", "conversation_id", "user_id", "limit", "after", "before", "state",
              "prompt_id", "answer", "as", "operator", "text", "chatbot_id", "prompts", "controlled_by", "x"]  # fmt: skip

    def some(*values: Any) -> Any:
        return choice.choice(values) if choice.random() < 0.95 else choice.choice(odd)

    arguments: Any = {choice.choice(fields): some("Hello?", "c1", 5, "client:eve", "..") for _ in range(choice.randrange(4))}
    meta = {
        "progressToken": some(1, "t"),
        "gigachat/idempotencyKey": some("k"),
        _VERSION: some(MODERN, HANDSHAKE),
        _CAPABILITIES: {},
    }
    params: Any = {
        "name": some(*tools), "arguments": some(arguments, arguments, arguments), "uri": some("gigachat://chatbots/x/documents/y"),
        "cursor": some("a:b"), "_meta": {name: meta[name] for name in choice.sample(list(meta), choice.randrange(5))},
    }  # fmt: skip
    body: Any = {
        "jsonrpc": some("2.0", "2.0", "2.0"),
        "id": some(1, "a"),
        "method": some(*methods),
        "params": some(params, params, params),
    }
    for name in choice.sample(list(body), choice.choice([0, 0, 0, 1])):
        del body[name]
    raw = json.dumps(body if choice.random() < 0.9 else choice.choice([body, [body], *odd])).encode()
    if choice.random() < 0.2:
        place = choice.randrange(len(raw) + 1)
        raw = choice.choice(
            [raw[:place], raw[:place] + bytes([choice.randrange(256)]) + raw[place:], b"[" * 5000, b"\xff\xfe{}", b""]
        )
    return raw


@pytest.mark.slow
async def test_no_body_makes_the_server_fail(tmp_path: Path) -> None:
    choice = random.Random(20260728)
    statuses: dict[int, int] = {}
    async with gigachat(tmp_path) as api:
        paths = ["/mcp", f"{await api.chatbot()}/mcp"]
        for number in range(1_000):
            headers = dict(ACCEPT)
            if choice.random() < 0.6:
                headers["Mcp-Protocol-Version"] = choice.choice([MODERN, HANDSHAKE, "x"])
            if choice.random() < 0.4:
                headers |= {"Mcp-Method": "tools/call", "Mcp-Name": choice.choice(["ask", "search_documents"])}
            raw = fuzzed(choice)
            reply = await api.post(paths[number % 2], raw=raw, headers=headers)
            assert reply.status < 500, (raw, reply.text)
            if reply.headers.get("Content-Type") == "application/json":
                assert reply.body["jsonrpc"] == "2.0", raw
                assert reply.body.get("error", {}).get("code") != -32603, (raw, reply.text)
            statuses[reply.status] = statuses.get(reply.status, 0) + 1
        assert {200, 202, 400} <= statuses.keys(), "some come through"
        assert statuses[200] > 100, statuses
        assert await result(api, "/mcp", "server/discover")
