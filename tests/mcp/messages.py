"""Messages of the Model Context Protocol as clients of either era send them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tests.harness import Api, Reply

MODERN, HANDSHAKE = "2026-07-28", "2025-11-25"
_META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
}
_NAMED = {"tools/call": "name", "resources/read": "uri"}
ACCEPT = {"Accept": "application/json, text/event-stream"}


def message(method: str, params: Mapping[str, Any] | None = None, *, message_id: Any = 1) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": message_id, "method": method, "params": dict(params or {})}


def modern(method: str, params: Mapping[str, Any] | None = None) -> tuple[dict[str, Any], dict[str, str]]:
    """The body and the headers of a request of 2026-07-28."""
    given = dict(params or {})
    given["_meta"] = {**_META, **given.get("_meta", {})}
    headers = {**ACCEPT, "Mcp-Protocol-Version": MODERN, "Mcp-Method": method}
    if method in _NAMED and _NAMED[method] in given:
        headers["Mcp-Name"] = str(given[_NAMED[method]])
    return message(method, given), headers


async def send(
    api: Api, path: str, method: str, params: Mapping[str, Any] | None = None, *, is_modern: bool = True, key: str | None = ""
) -> Reply:
    if is_modern:
        body, headers = modern(method, params)
    else:
        body, headers = message(method, params), {**ACCEPT, "Mcp-Protocol-Version": HANDSHAKE}
    return await api.post(path, body, headers=headers, key=key)


async def result(api: Api, path: str, method: str, params: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    reply = await send(api, path, method, params, **more)
    assert reply.status == 200, reply.text
    assert (reply.body["jsonrpc"], reply.body["id"]) == ("2.0", 1), reply.text
    assert "error" not in reply.body, reply.text
    found: dict[str, Any] = reply.body["result"]
    return found


async def call(api: Api, path: str, tool: str, arguments: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """The result of a tool."""
    meta = more.pop("meta", None)
    params: dict[str, Any] = {"name": tool, "arguments": dict(arguments or {})}
    return await result(api, path, "tools/call", params if meta is None else {**params, "_meta": meta}, **more)


async def given(api: Api, path: str, tool: str, arguments: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """What a tool gave, structured."""
    found = await call(api, path, tool, arguments, **more)
    assert "isError" not in found, found
    structured: dict[str, Any] = found["structuredContent"]
    return structured


def problem(found: Mapping[str, Any]) -> dict[str, Any]:
    """Of a tool that failed."""
    assert found["isError"] is True
    assert "structuredContent" not in found, "clients would hold it against the schema of what succeeds"
    (content,) = found["content"]
    told: dict[str, Any] = json.loads(content["text"])
    return told


def sent_events(reply: Reply) -> list[dict[str, Any]]:
    """The messages of an answer that is an event stream."""
    assert reply.headers["Content-Type"].startswith("text/event-stream")
    blocks = [block for block in reply.text.split("\n\n") if block and not block.startswith(":")]
    assert all(block.startswith("event: message\ndata: ") for block in blocks)
    return [json.loads(block.removeprefix("event: message\ndata: ")) for block in blocks]
