"""The processes of a measurement: gigachat itself, its floor, the model endpoint, the clients.

Invariant: whatever is started here is ended when its `with` block is left, however it is left, and nothing listens
anywhere but on the loopback.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from gigachat_server import settings
from gigachat_server.access.bearers import API_KEY
from gigachat_server.bench.load import Load, Outcome
from gigachat_server.errors import SetupError
from gigachat_server.models.embedders.built_in import DEFAULT

READY_S = 30.0
LOAD_S = 600.0
_STOP_S = 15.0
_COMMAND = [sys.executable, "-c", "from gigachat_server.cli import main; main()"]


class Running(msgspec.Struct, frozen=True):
    """A process that listens. `started_at` is when it was started, in monotonic seconds."""

    pid: int
    port: int
    started_at: float

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def memory_mb(self) -> float:
        """Resident memory, in MB of a million bytes: what the operating system says, shared pages included."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024 / 1e6


class Gigachat(msgspec.Struct, frozen=True):
    """A running `gigachat serve` and a key to it."""

    process: Running
    key: str

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """What the API answers. Raises `SetupError` for anything but success."""
        connection = http.client.HTTPConnection("127.0.0.1", self.process.port, timeout=120)
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        with contextlib.closing(connection):
            connection.request(method, path, None if body is None else msgspec.json.encode(body), headers)
            response = connection.getresponse()
            answer = response.read()
        if response.status >= 300:
            raise SetupError(f"gigachat answered {method} {path} with {response.status}: {answer[:200]!r}")
        return msgspec.json.decode(answer) if answer else None

    def new_chatbot(self, name: str, **config: Any) -> str:
        """The path of a new chatbot."""
        return f"/chatbots/{self.call('POST', '/chatbots', {'name': name, **config})['id']}"


@contextlib.contextmanager
def started(
    arguments: Sequence[str], *, port: int, ready: bool = True, environment: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """The process, once it listens (with `ready`); ended on leaving. Raises `SetupError` with what it last said."""
    with tempfile.TemporaryFile() as said:
        started_at = time.monotonic()
        # A new session: Ctrl-C reaches only this process, which then ends the others in order.
        process = subprocess.Popen(  # noqa: S603 - our own commands
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=environment,
        )
        try:
            if ready and not _listens(process, port):
                said.seek(0)
                last = said.read()[-2000:].decode(errors="replace").strip()
                raise SetupError(f"{' '.join(arguments[1:4])} did not start: {last or 'it did not say why'}")
            yield Running(process.pid, port, started_at)
        finally:
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                pass
            finally:  # after a second Ctrl-C, too
                process.kill()
                process.wait()


def _listens(process: subprocess.Popen[bytes], port: int) -> bool:
    until = time.monotonic() + READY_S
    while time.monotonic() < until and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return True
    return False


@contextlib.contextmanager
def gigachat(
    data: Path,
    *,
    database_url: str = "",
    key: str = "",
    model_url: str = "",
    embedder: str = DEFAULT,
    ready: bool = True,
    checkout: Path | None = None,
) -> Iterator[Gigachat]:
    """`gigachat serve` on that data, or on that database. Of the environment only where the weights are counts.

    `checkout`: serve with the sources of this other checkout, which may know other settings than this one.
    """
    key, port = key or API_KEY.mint(), free_port()
    chosen = {
        "data": str(data),
        "database_url": database_url,
        "port": str(port),
        "api_key": key,
        "model_url": model_url,
        "model": "stub" if model_url else "",
        "embedder": embedder,
        "embedding_path": settings.load().embedding_path,
        "log": "warning",
    }
    arguments = [*_COMMAND, "serve"]
    for info in settings.table():
        if chosen.get(info.field):
            arguments += [info.flag, chosen[info.field]]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIGACHAT_")}
    if checkout is not None:
        environment["PYTHONPATH"] = str(checkout / "src")
    with started(arguments, port=port, ready=ready, environment=environment) as process:
        yield Gigachat(process, key)


@contextlib.contextmanager
def floor(data: Path, model_url: str, *, database_url: str = "", ready: bool = True) -> Iterator[Running]:
    port = free_port()
    arguments = [*_module("floor"), "--data", str(data), "--model-url", model_url, "--port", str(port)]
    arguments += ["--database", database_url]
    with started(arguments, port=port, ready=ready) as process:
        yield process


@contextlib.contextmanager
def endpoint(*, first_delta_s: float = 0.0, between_s: float = 0.0, stamped: bool = False) -> Iterator[str]:
    """The base URL of a model endpoint."""
    port = free_port()
    arguments = [*_module("endpoint"), "--port", str(port)]
    arguments += ["--first-delta-s", str(first_delta_s), "--between-s", str(between_s)]
    if stamped:
        arguments.append("--stamped")
    with started(arguments, port=port) as process:
        yield f"{process.url}/v1"


def run_load(load: Load) -> Outcome:
    """Send the load from a separate process. Raises `SetupError` if it could not be sent."""
    return msgspec.json.decode(run_child("load", msgspec.json.encode(load)), type=Outcome)


def run_child(module: str, given: bytes) -> bytes:
    """What a module of this package writes on stdout when given that on stdin."""
    child = subprocess.Popen(  # noqa: S603 - our own modules
        _module(module), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        answer, said = child.communicate(given, timeout=LOAD_S)
    finally:
        child.kill()
        child.wait()
    if child.returncode:
        raise SetupError(f"bench.{module} failed: {said[-2000:].decode(errors='replace').strip()}")
    return answer


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _module(name: str) -> list[str]:
    return [sys.executable, "-m", f"gigachat_server.bench.{name}"]
