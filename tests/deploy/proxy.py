"""A real nginx that needs no root, before real nodes: with the shipped deploy/nginx.conf, or as it comes.

Invariant: of the shipped file only the nodes, the address it listens on and its paths are replaced, and what a test names.
"""

from __future__ import annotations

import os
import pwd
import random
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path

import aiohttp
import msgspec
import pytest

from tests.cli.commands import PATIENCE_S
from tests.faults.serving import KEY, Client, ModelEndpoint, server

SHIPPED = Path(__file__).parents[2] / "deploy" / "nginx.conf"
_PROGRAM = shutil.which("nginx", path=os.environ.get("PATH", os.defpath) + ":/usr/sbin")
KNOWS_RESOLVE = (1, 27, 3)

needs_nginx = pytest.mark.skipif(_PROGRAM is None and not os.environ.get("REQUIRE_ALL"), reason="nginx is not installed")

Config = Callable[[Path, str, list[str]], str]  # of a folder of its own, the address it listens on, and the nodes' addresses


class Proxy(msgspec.Struct):
    """A running nginx."""

    url: str
    folder: Path

    @property
    def access_log(self) -> str:
        return (self.folder / "access.log").read_text()


def program() -> str:
    assert _PROGRAM is not None, "nginx is not installed"
    return _PROGRAM


def shipped(folder: Path, listen: str, nodes: list[str]) -> str:
    """deploy/nginx.conf; a single node takes the place of both."""
    text = SHIPPED.read_text()
    text = _replaced(text, "listen 8080;", f"listen {listen};")
    for name, node in zip(("gigachat1:8000", "gigachat2:8000"), nodes * 2, strict=False):
        text = _replaced(text, name, node)
    text = text.replace("/tmp/", f"{folder}/").replace("/dev/stdout", f"{folder}/access.log")
    return text if version() >= KNOWS_RESOLVE else text.replace(" resolve ", " ")


def shipped_but(old: str, new: str) -> Config:
    """deploy/nginx.conf with one thing changed."""
    return lambda folder, listen, nodes: _replaced(shipped(folder, listen, nodes), old, new)


def as_it_comes(folder: Path, listen: str, nodes: list[str]) -> str:
    """What nginx does by default."""
    paths = "".join(f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    return (
        f"pid {folder}/nginx.pid; events {{}} http {{ {paths} access_log {folder}/access.log;"
        f"server {{ listen {listen}; location / {{ proxy_pass http://{nodes[0]}; }} }} }}"
    )


def version() -> tuple[int, ...]:
    said = subprocess.run([program(), "-v"], capture_output=True, text=True, check=True).stderr
    found = re.search(r"nginx/([\d.]+)", said)
    assert found, said
    return tuple(int(part) for part in found[1].split("."))


@contextmanager
def folder_of_nobody() -> Iterator[Path]:
    """Where nginx may write without being root."""
    with tempfile.TemporaryDirectory(prefix="gigachat-nginx-") as name:
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(name, nobody.pw_uid, nobody.pw_gid)
        yield Path(name)


def start(folder: Path, config: str, *arguments: str) -> subprocess.Popen[str]:
    """nginx as nobody, if we are root, and else as who we are. Whoever starts it ends it."""
    file = folder / "nginx.conf"
    file.write_text(config)
    user = {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    command = [program(), "-p", str(folder), "-c", str(file), "-g", "daemon off;", *arguments]
    return subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True, **user)  # type: ignore[call-overload,no-any-return]


@contextmanager
def nginx(config: Config, *nodes: str, scheme: str = "http") -> Iterator[Proxy]:
    """nginx before the nodes, given by their URLs, once it accepts connections."""
    host, port = own_address(), 8080
    with folder_of_nobody() as folder:
        process = start(folder, config(folder, f"{host}:{port}", [node.removeprefix("http://") for node in nodes]))
        try:
            until = time.monotonic() + PATIENCE_S
            while not _listens(host, port):
                if process.poll() is not None or time.monotonic() > until:
                    process.kill()
                    raise AssertionError(process.communicate()[1])
                time.sleep(0.01)
            yield Proxy(f"{scheme}://{host}:{port}", folder)
        finally:
            process.terminate()
            process.communicate(timeout=PATIENCE_S)


def own_address() -> str:
    """A loopback address that nobody else has thought of, so that any port of it is free."""
    return f"127.{random.randint(1, 254)}.{random.randint(1, 254)}.{random.randint(1, 254)}"


@asynccontextmanager
async def client_at(url: str, *, comes_from: str = "127.0.0.1", **headers: str) -> AsyncIterator[Client]:
    """A client of what is at this URL, which sees it come from that address."""
    async with session_at(comes_from, **headers) as session:
        yield Client(url, session)


@asynccontextmanager
async def session_at(comes_from: str = "127.0.0.1", **headers: str) -> AsyncIterator[aiohttp.ClientSession]:
    sent = {"Authorization": f"Bearer {KEY}", **{name.replace("_", "-"): value for name, value in headers.items()}}
    connector = aiohttp.TCPConnector(limit=0, local_addr=(comes_from, 0))
    async with aiohttp.ClientSession(headers=sent, connector=connector, timeout=aiohttp.ClientTimeout(total=None)) as session:
        yield session


class Node(msgspec.Struct):
    """A server that calls that model endpoint, and nginx before it."""

    url: str
    endpoint: ModelEndpoint
    front: Proxy


@contextmanager
def one_node(folder: Path, config: Config, *, scheme: str = "http", **settings: str) -> Iterator[Node]:
    with ExitStack() as stack:
        endpoint = stack.enter_context(ModelEndpoint().serving())
        url = stack.enter_context(server(folder / "data", endpoint, **settings)).server.url
        yield Node(url, endpoint, stack.enter_context(nginx(config, url, scheme=scheme)))


class Nodes(msgspec.Struct):
    """Two servers, and nginx before them. Each has a copy of the same store, and so both know the chatbot."""

    urls: list[str]
    endpoint: ModelEndpoint
    front: Proxy
    chatbot: str
    data: list[Path]
    processes: list[subprocess.Popen[str]]


@asynccontextmanager
async def two_nodes(folder: Path, config: Config = shipped, *, scheme: str = "http", **settings: str) -> AsyncIterator[Nodes]:
    data = [folder / "data1", folder / "data2"]
    with ExitStack() as stack:
        endpoint = stack.enter_context(ModelEndpoint().serving())
        with server(data[0], endpoint) as first:
            async with client_at(first.server.url) as client:
                chatbot = await client.new_chatbot()
            assert first.server.stop()[0] == 0
        data[1].mkdir(mode=0o700)
        shutil.copy(data[0] / "gigachat.sqlite3", data[1])
        servers = [stack.enter_context(server(each, endpoint, **settings)).server for each in data]
        urls = [each.url for each in servers]
        front = stack.enter_context(nginx(config, *urls, scheme=scheme))
        yield Nodes(urls, endpoint, front, chatbot, data, [each.process for each in servers])


def _replaced(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, old
    return text.replace(old, new)


def _listens(host: str, port: int) -> bool:
    with suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False
