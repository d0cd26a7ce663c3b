"""deploy/Caddyfile before a real server: as it stands, and its example of a path."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from tests.cli.commands import PATIENCE_S
from tests.deploy.proxy import own_address
from tests.harness import gigachat

SHIPPED = (Path(__file__).parents[2] / "deploy" / "Caddyfile").read_text()
GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "go-to-production.md").read_text()
_PROGRAM = shutil.which("caddy")
_PORT = 8080

pytestmark = [
    pytest.mark.sqlite_only,
    pytest.mark.skipif(_PROGRAM is None and not os.environ.get("REQUIRE_ALL"), reason="caddy is not installed"),
]


def as_shipped() -> str:
    return SHIPPED[SHIPPED.index("chat.example.com {") :]


def with_the_example() -> str:
    """What the comment says: its lines instead of those above them."""
    example = re.findall(r"^\t# ?(redir.*|handle.*|\t.*|})$", as_shipped(), re.MULTILINE)
    return "chat.example.com {\n" + "\n".join(example) + "\n}\n"


def with_the_guide() -> str:
    found = re.search(r"```caddyfile\n(.*?)```", GUIDE, re.DOTALL)
    assert found
    return "chat.example.com {\n" + found[1] + "}\n"


@contextmanager
def caddy(folder: Path, config: str, node: str) -> Iterator[str]:
    """The URL of a caddy before the node; plain HTTP, since it cannot get a certificate here."""
    assert _PROGRAM is not None, "caddy is not installed"
    host, file = own_address(), folder / "Caddyfile"
    text = config.replace("chat.example.com", f"http://{host}:{_PORT}").replace("127.0.0.1:8000", node.removeprefix("http://"))
    file.write_text("{\n\tadmin off\n}\n" + text)
    environment = {"HOME": str(folder), "PATH": os.defpath}
    command = [_PROGRAM, "run", "--config", str(file), "--adapter", "caddyfile"]
    process = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        until = time.monotonic() + PATIENCE_S
        while not _listens(host):
            if process.poll() is not None or time.monotonic() > until:
                process.kill()
                raise AssertionError(process.communicate()[1])
            time.sleep(0.01)
        yield f"http://{host}:{_PORT}"
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE_S)


def _listens(host: str) -> bool:
    with suppress(OSError), socket.create_connection((host, _PORT), timeout=1):
        return True
    return False


@pytest.mark.parametrize(
    ("config", "root"),
    [(as_shipped, ""), (with_the_example, "/chat"), (with_the_guide, "/chat")],
    ids=["as shipped", "its example", "the guide's"],
)
async def test_a_server_behind_caddy_is_whole(tmp_path: Path, config: Callable[[], str], root: str) -> None:
    async with gigachat(tmp_path / "data", public_url=f"https://example.com{root}") as api:
        chatbot = await api.chatbot()
        headers = {"Authorization": f"Bearer {api.key}"}
        with caddy(tmp_path, config(), api.url) as front:
            async with aiohttp.ClientSession(headers=headers) as session:
                body = {"conversation_id": "a/b c%", "user_id": "ann", "prompt": "Hello", "stream": True}
                async with session.post(f"{front}{root}{chatbot}/conversations", json=body) as response:
                    assert (response.status, response.content_type) == (201, "text/event-stream")
                    assert "event: done" in await response.text()
                path = f"{root}{chatbot}/conversations/a%2Fb%20c%25/messages?limit=1"
                async with session.get(URL(front + path, encoded=True)) as response:
                    assert response.status == 200, await response.text()
                    assert response.headers["Link"].startswith(f"<{path.partition('?')[0]}?")
                form = aiohttp.FormData()
                form.add_field("file", io.BytesIO(b"x" * (18 * 1024 * 1024)), filename="long.bin")
                async with session.post(f"{front}{root}{chatbot}/documents", data=form) as response:
                    assert response.status == 202, json.loads(await response.text())
