"""What Claude Desktop does with its configuration: start the program that it names, and speak MCP. `python desktop.py FILE`"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from mcp.client.stdio import stdio_client

from mcp import ClientSession, StdioServerParameters

server = json.loads(Path(sys.argv[1]).read_text())["mcpServers"]["gigachat"]


async def main() -> list[str]:
    program = StdioServerParameters(command=server["command"], args=server["args"], env={**os.environ, **server["env"]})
    async with stdio_client(program) as (receiving, sending), ClientSession(receiving, sending) as session:
        await session.initialize()
        tools = await session.list_tools()
        asked = await session.call_tool("ask", {"prompt": "Hello"})
        return [*(tool.name for tool in tools.tools), asked.content[0].text]


sys.stdout.write(json.dumps(asyncio.run(main())))
