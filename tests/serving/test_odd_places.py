"""Where gigachat may find itself: beside a Service of its own name, without a home, a name or a temporary folder."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gigachat_server import settings
from gigachat_server.errors import SetupError
from tests.cli.commands import Gigachat, Server, slow_endpoint
from tests.faults.processes import KEY, make_chatbot
from tests.serving.test_silence import upload

_FAMILY = {
    "SERVICE_HOST": "10.96.0.12",
    "SERVICE_PORT": "80",
    "SERVICE_PORT_HTTP": "80",
    "SERVICE_PORT_HTTP_METRICS": "9100",
    "PORT": "tcp://10.96.0.12:80",
    "PORT_80_TCP": "tcp://10.96.0.12:80",
    "PORT_80_TCP_PROTO": "tcp",
    "PORT_80_TCP_PORT": "80",
    "PORT_80_TCP_ADDR": "10.96.0.12",
    "PORT_53_UDP": "udp://10.96.0.12:53",
    "PORT_53_UDP_PROTO": "udp",
    "PORT_53_UDP_PORT": "53",
    "PORT_53_UDP_ADDR": "10.96.0.12",
    "PORT_9_SCTP": "sctp://[fd00::12]:9",
    "PORT_9_SCTP_ADDR": "fd00::12",
}


@pytest.mark.parametrize("service", ["GIGACHAT", "GIGACHAT_WEB", "GIGACHAT_MODEL", "GIGACHAT_A_B_2", "GIGACHAT_DATA"])
def test_what_kubernetes_says_of_a_service_is_no_setting(service: str) -> None:
    environment = {f"{service}_{name}": value for name, value in _FAMILY.items()}
    assert settings.load({}, environment) == settings.Settings()
    assert settings.load({}, environment | {"GIGACHAT_HOST": "0.0.0.0"}).host == "0.0.0.0"


@pytest.mark.parametrize(
    "variable, value",
    [
        ("GIGACHAT_PROT", "8000"),
        ("GIGACHAT_PORT", "http://10.96.0.12"),
        ("GIGACHAT_PORT", "tcp"),
        ("GIGACHAT_HOST_PORT", "8000"),
        ("GIGACHAT_SERVICE_HOST", "gigachat"),
        ("GIGACHAT_SERVICE_PORT", "eighty"),
        ("GIGACHAT_PORTS", "tcp://10.96.0.12:80"),
        ("GIGACHAT_PORT_80", "80"),
        ("GIGACHAT_WEB_PORT_80_TCP_PROTO", "http"),
        ("GIGACHAT_MODEL_URL_PORT_TCP_ADDR", "10.96.0.12"),
    ],
)
def test_a_misspelt_setting_is_still_refused(variable: str, value: str) -> None:
    with pytest.raises(SetupError) as refusal:
        settings.load({}, {variable: value})
    assert variable in str(refusal.value)


def test_a_server_and_its_commands_run_beside_a_service_of_their_name(tmp_path: Path) -> None:
    gigachat = Gigachat(tmp_path / "data", **{name.lower(): value for name, value in _FAMILY.items()})
    with gigachat.serving() as server:
        assert server.call("/livez", "").status == 200
        assert [key["name"] for key in gigachat.json("keys", "list")] == ["first key"]
        assert server.stop()[0] == 0


def test_a_home_that_nobody_knows_is_named_where_it_was_asked_for() -> None:
    with pytest.raises(SetupError, match="~nobody-of-this-name/data"):
        _ = settings.Settings(data="~nobody-of-this-name/data").data_folder


_ALONE = "/proc"  # a folder in which nothing can be made


def _unshares(*flags: str) -> bool:
    return (
        shutil.which("unshare") is not None and subprocess.run(["unshare", *flags, "true"], capture_output=True).returncode == 0
    )


def _started(command: list[str], data: Path, *unset: str) -> subprocess.Popen[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GIGACHAT_") and name not in unset}
    chosen = {"GIGACHAT_DATA": str(data), "GIGACHAT_EMBEDDER": "hashing", "GIGACHAT_API_KEY": KEY}
    source = [str(Path(settings.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return subprocess.Popen(
        [*command, sys.executable, "-m", "gigachat_server", "serve", "--port", "0"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=_ALONE,
        env={**inherited, **chosen, "PYTHONPATH": os.pathsep.join(source), "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip


def _answers(process: subprocess.Popen[str]) -> None:
    try:
        server = Server(process)
        chatbot = make_chatbot(server)
        upload(server, chatbot, "parcels.txt", b"Parcels are sent on Mondays.")
        body = {"conversation_id": "c1", "user_id": "ann", "prompt": "When are parcels sent?"}
        assert server.call(f"{chatbot}/conversations", KEY, body).status == 201
        assert server.stop()[0] == 0
    finally:
        process.kill()
        process.communicate()


@pytest.mark.sqlite_only
@pytest.mark.skipif(not _unshares("--user", "--map-user=12345"), reason="this machine makes no user namespaces")
def test_it_serves_without_a_home_as_a_user_without_a_name(tmp_path: Path) -> None:
    _answers(_started(["unshare", "--user", "--map-user=12345"], tmp_path / "data", "HOME", "USER", "LOGNAME", "XDG_DATA_HOME"))


@pytest.mark.sqlite_only
@pytest.mark.skipif(not _unshares("--user", "--map-root-user", "--mount"), reason="this machine makes no mount namespaces")
def test_it_serves_where_the_data_folder_alone_can_be_written(tmp_path: Path) -> None:
    script = (
        "mount --bind $0 /mnt && mount -t tmpfs -o ro tmpfs /var/tmp && mount --bind /tmp /tmp && mount -o remount,bind,ro /tmp"
        " && mount -t tmpfs -o ro tmpfs /dev/shm && cd /proc && exec $@"
    )
    inside = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, str(tmp_path)]
    _answers(_started(inside, Path("/mnt/data"), "HOME", "TMPDIR"))


def test_a_hangup_cuts_no_stream(tmp_path: Path) -> None:
    with slow_endpoint() as url, Gigachat(tmp_path / "data", api_key=KEY, model_url=url, model="slow").serving() as server:
        chatbot = make_chatbot(server)
        with ThreadPoolExecutor() as pool:
            body = {"conversation_id": "c1", "user_id": "ann", "prompt": "Go on", "stream": True}
            asked = pool.submit(server.call, f"{chatbot}/conversations", KEY, body)
            while not server.call(f"{chatbot}/conversations", KEY).body:
                pass
            server.process.send_signal(signal.SIGHUP)
            stopped = server.call(f"{chatbot}/conversations/c1/stop", KEY, {})
            assert stopped.status == 200, stopped.text
            assert asked.result(60).text.rstrip().rpartition("event: ")[2].startswith("done")


@pytest.mark.sqlite_only
def test_no_other_process_of_the_user_may_look_into_the_server(tmp_path: Path) -> None:
    """The kernel hands what belongs to such a process to root: its memory, its environment, its open files."""
    script = (
        "import ctypes; from gigachat_server.serving.server import keep_memory_private\n"
        "keep_memory_private(); print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "0\n"
    with Gigachat(tmp_path).serving() as server:
        limits = Path(f"/proc/{server.process.pid}/limits").read_text()
        assert re.search(r"Max core file size +0 +0", limits), "the server has called it"
