"""A real `gigachat serve` whose system calls are watched, or made to fail, by strace.

The server is not strace's child (`-D`): its signals, status and outputs are its own.
"""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import sys
import urllib.error
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import stores
from tests.cli.commands import PATIENCE_S, Answer, Server

KEY = "a-key-for-the-tests-of-faults-0123456789"
ROOT = Path(__file__).parents[2]

needs_strace = pytest.mark.skipif(
    shutil.which("strace") is None and not os.environ.get("REQUIRE_ALL"), reason="strace is not installed"
)


class Serve:
    """`gigachat serve` on one data folder, time and again. `program` replaces it: a script that weakens it first.

    `environment` is set on top of the tests' own; what is None there is unset.
    """

    def __init__(
        self,
        data: Path,
        *,
        program: Path | None = None,
        environment: Mapping[str, str | None] | None = None,
        **settings: str,
    ) -> None:
        self.data = data
        self.trace = data.with_name(data.name + ".trace")
        self._program = [str(program)] if program else ["-m", "gigachat_server"]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("GIGACHAT_")}
        given = {"data": str(data), "embedder": "hashing", "api_key": KEY, **stores.current().settings(data), **settings}
        variables = inherited | {f"GIGACHAT_{name.upper()}": value for name, value in given.items()} | dict(environment or {})
        self._variables = {name: value for name, value in variables.items() if value is not None}

    @property
    def file(self) -> Path:
        return self.data / "gigachat.sqlite3"

    def start(self, *strace: str) -> subprocess.Popen[str]:
        """The process, traced if strace is told to do something. Whoever starts it ends it."""
        self.trace.unlink(missing_ok=True)
        # Stopping at the traced calls alone is much faster, but then strace does not get to send its signals.
        quickly = [] if "signal=" in " ".join(strace) else ["--seccomp-bpf"]
        tracing = ["strace", "-D", "-f", "-qq", *quickly, "-o", str(self.trace), *strace] if strace else []
        return subprocess.Popen(
            [*tracing, sys.executable, *self._program, "serve", "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self._variables,
            cwd=ROOT,
        )

    @contextmanager
    def serving(self, *strace: str) -> Iterator[Server]:
        """A server that accepts requests. Raises `AssertionError` if it ended before that. Killed at the end."""
        with self.running(*strace) as process:
            yield Server(process)

    @contextmanager
    def running(self, *strace: str) -> Iterator[subprocess.Popen[str]]:
        process = self.start(*strace)
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def injected(self) -> int:
        """How many system calls strace made fail."""
        return self.trace.read_text(errors="replace").count("(INJECTED)")


def listening(process: subprocess.Popen[str]) -> Server | str:
    """The server once it accepts requests; what it logged if it ended before."""
    try:
        return Server(process)
    except AssertionError as refusal:
        return str(refusal)


def call(server: Server, path: str, body: object = None) -> Answer | None:
    """The answer; None if the server went away instead."""
    try:
        return server.call(path, KEY, body)
    except (urllib.error.URLError, http.client.HTTPException, OSError):
        return None


def make_chatbot(server: Server) -> str:
    """The path of a new chatbot."""
    answer = server.call("/chatbots", KEY, {"name": "Superbot"})
    assert answer.status == 201, answer.text
    return f"/chatbots/{answer.body['id']}"


def say(server: Server, chatbot: str, conversation: str, prompt: str) -> Answer | None:
    body = {"conversation_id": conversation, "user_id": "ann", "prompt": prompt}
    return call(server, f"{chatbot}/conversations?embedding=false", body)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """The status it ended with by itself, and what it logged."""
    status = process.wait(PATIENCE_S)
    assert process.stderr is not None
    return status, process.stderr.read()
