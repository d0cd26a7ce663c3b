"""The command as people run it: a process of its own, on a data folder of its own, without the settings of this shell."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any

import msgspec
import uvicorn

from gigachat_server.models.endpoints.stub_endpoint import StubEndpoint
from tests import stores

PATIENCE_S = 60


class Gigachat:
    """`gigachat` on one data folder."""

    def __init__(self, data: Path, **settings: str) -> None:
        self.data = data
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("GIGACHAT_")}
        chosen = {"data": str(data), "embedder": "hashing"} | stores.current().settings(data) | settings
        self._variables = inherited | {f"GIGACHAT_{name.upper()}": value for name, value in chosen.items()}

    def run(self, *arguments: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            _command(arguments), input=stdin, capture_output=True, text=True, env=self._variables, timeout=PATIENCE_S
        )

    def output(self, *arguments: str | Path, stdin: str = "") -> str:
        """What it prints; asserts that it succeeds."""
        ended = self.run(*arguments, stdin=stdin)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def json(self, *arguments: str | Path) -> Any:
        return json.loads(self.output(*arguments, "--json"))

    def start(self, *arguments: str | Path, under: Sequence[str] = ()) -> subprocess.Popen[str]:
        """The process, its input and outputs piped; `under` is a command to run it with. The caller ends it.

        It hears Ctrl-C even if the tests run in the background, where shells have their children ignore it.
        """
        pipe, command = subprocess.PIPE, ["env", "--default-signal=INT", *under, *_command(arguments)]
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=self._variables)

    @contextmanager
    def serving(self, *flags: str) -> Iterator[Server]:
        """A server that accepts requests, killed at the end unless it has ended by then."""
        process = self.start("serve", "--port", "0", *flags)
        try:
            yield Server(process)
        finally:
            process.kill()
            process.communicate()


def slow_endpoint() -> AbstractContextManager[str]:
    """The URL of a model endpoint that says a word every 50 ms: long enough for somebody to step in."""
    return endpoint(StubEndpoint([f"word{number} " for number in range(1000)], between_s=0.05))


@contextmanager
def endpoint(app: StubEndpoint) -> Iterator[str]:
    """The URL of that model endpoint."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="error", timeout_graceful_shutdown=0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    finally:
        server.force_exit = server.should_exit = True
        thread.join(PATIENCE_S)


def _command(arguments: tuple[str | Path, ...]) -> list[str]:
    return [sys.executable, "-m", "gigachat_server", *map(str, arguments)]


class Answer(msgspec.Struct):
    status: int
    text: str

    @property
    def body(self) -> Any:
        return json.loads(self.text)


class Server:
    """A running `gigachat serve`, known by what it printed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        first = self.stdout.readline()
        if not first:
            raise AssertionError(self.stderr.read())
        self.url = first.split()[-1]

    @property
    def stdout(self) -> IO[str]:
        assert self.process.stdout is not None
        return self.process.stdout

    @property
    def stderr(self) -> IO[str]:
        assert self.process.stderr is not None
        return self.process.stderr

    def first_key(self) -> str:
        """The key it printed. Waits for it."""
        while line := self.stdout.readline():
            if found := re.search(r"gca_\w{46}", line):
                return found[0]
        raise AssertionError("no key was printed")

    def stop(self, sign: signal.Signals = signal.SIGTERM) -> tuple[int, str, str]:
        """Its status, and the rest of what it printed and logged."""
        self.process.send_signal(sign)
        status = self.process.wait(PATIENCE_S)
        # Not by communicate(), which knows nothing of what readline() has read ahead.
        return status, self.stdout.read(), self.stderr.read()

    def call(self, path: str, key: str, body: Any = None) -> Answer:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
                return Answer(response.status, response.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.read().decode())
