"""What an agent does with the Python package `mcp`, unmodified: `python agent.py URL KEY MODE`, with MODE auto or legacy."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import httpx2
from mcp.client.streamable_http import streamable_http_client

from mcp import Client, MCPError

url, key, mode = sys.argv[1:]


async def main() -> dict[str, Any]:
    words: list[str] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        words.append(message or "")

    headers = {"Authorization": f"Bearer {key}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=30) as http_client,
        Client(streamable_http_client(url, http_client=http_client), mode=mode) as client,
    ):
        tools = await client.list_tools()
        pushed = await client.call_tool("push_document", {"name": "hours.md", "content": "The museum opens at nine."})
        asked = await client.call_tool("ask", {"prompt": "Hello", "conversation_id": "c1"}, progress_callback=on_progress)
        again = [await client.call_tool("ask", {"prompt": "Once"}, meta={"gigachat/idempotencyKey": "k"}) for _ in range(2)]
        failed = await client.call_tool("read_conversation", {"conversation_id": "none"})
        try:
            await client.call_tool("no_tool", {})
            refused = 0
        except MCPError as error:
            refused = error.error.code
        (resource,) = (await client.list_resources()).resources
        (content,) = (await client.read_resource(resource.uri)).contents
        return {
            "version": client.protocol_version,
            "server": client.server_info.name,
            "tools": [tool.name for tool in tools.tools],
            "document": pushed.structured_content["name"],
            "reply": asked.structured_content["messages"][0]["content"],
            "progress": "".join(words),
            "once": again[0].structured_content == again[1].structured_content,
            "failed": [failed.is_error, json.loads(failed.content[0].text)["code"]],
            "refused": refused,
            "resource": [resource.name, content.text],
        }


sys.stdout.write(json.dumps(asyncio.run(main())))
