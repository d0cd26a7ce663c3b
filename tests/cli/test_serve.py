"""`gigachat serve`: what it says when it starts, when it refuses to, and how it ends."""

from __future__ import annotations

import json
import signal
import socket
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.cli.commands import Answer, Gigachat, Server

pytestmark = pytest.mark.slow


def test_first_start_prints_a_key_and_later_ones_do_not(tmp_path: Path) -> None:
    gigachat = Gigachat(tmp_path / "data")
    with gigachat.serving() as server:
        key = server.first_key()
        assert server.call("/chatbots", key).body == []
        status, rest, log = server.stop()
    assert (status, log) == (0, "")
    assert "/login?token=" in rest
    with gigachat.serving() as server:
        assert server.call("/chatbots", key).status == 200
        status, rest, log = server.stop()
    assert (status, rest, log) == (0, "", "")


@pytest.mark.sqlite_only
def test_what_it_prints_at_the_start_has_the_address_that_people_reach(tmp_path: Path) -> None:
    public = "https://example.com/chat"
    with Gigachat(tmp_path / "data", public_url=f"{public}/").serving() as server:
        server.call("/livez", server.first_key())
        _, rest, _ = server.stop()
    assert f"curl {public}/chatbots" in rest
    assert f"  {public}/login?token=" in rest
    assert "127.0.0.1" not in rest


def test_a_configured_key_is_the_first_one(tmp_path: Path) -> None:
    key = "chosen-by-the-operator-0123456789"
    with Gigachat(tmp_path / "data", api_key=key).serving() as server:
        assert server.call("/chatbots", key).status == 200
        assert "gca_" not in server.stop()[1]


@pytest.mark.sqlite_only  # the socket in the data folder, through which commands find the server of that folder
@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_well(tmp_path: Path, sign: signal.Signals) -> None:
    gigachat = Gigachat(tmp_path / "data")
    with gigachat.serving() as server:
        key = server.first_key()
        server.call("/livez", key)  # leaves a connection that is kept alive
        mode = (gigachat.data / "gigachat.sock").stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600
        assert stat.S_IMODE(gigachat.data.stat().st_mode) == 0o700
        status, _, log = server.stop(sign)
    assert (status, log) == (0, "")
    assert not (gigachat.data / "gigachat.sock").exists()


@pytest.mark.sqlite_only
def test_a_taken_port_is_told_in_one_line_before_anything_is_touched(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
        ended = Gigachat(tmp_path / "data").run("serve", "--port", str(port))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(f"gigachat: Port {port} on 127.0.0.1 is taken")
    assert ended.stderr.count("\n") == 1
    assert not (tmp_path / "data").exists()


@pytest.mark.sqlite_only
@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1"])
def test_a_host_that_is_not_ours_is_told(tmp_path: Path, host: str) -> None:
    ended = Gigachat(tmp_path / "data").run("serve", "--port", "0", "--host", host)
    assert ended.returncode == 1
    assert ended.stderr.startswith("gigachat: ")
    assert host in ended.stderr
    assert "--host" in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.sqlite_only
def test_it_listens_on_ipv6(tmp_path: Path) -> None:
    with Gigachat(tmp_path / "data").serving("--host", "::1") as server:
        assert server.url.startswith("http://[::1]:")
        assert server.call("/livez", server.first_key()).status == 200


@pytest.mark.sqlite_only
def test_a_second_server_on_the_same_data_refuses(tmp_path: Path) -> None:
    gigachat = Gigachat(tmp_path / "data")
    with gigachat.serving() as server:
        ended = gigachat.run("serve", "--port", "0")
        assert ended.returncode == 1
        assert ended.stderr.startswith(f"gigachat: Another gigachat (process {server.process.pid}) uses the data folder")
        assert ended.stderr.count("\n") == 1
        assert server.call("/livez", server.first_key()).status == 200


@pytest.mark.sqlite_only
def test_what_a_killed_server_leaves_is_no_obstacle(tmp_path: Path) -> None:
    gigachat = Gigachat(tmp_path / "data")
    with gigachat.serving() as server:
        key = server.first_key()
        server.stop(signal.SIGKILL)
    assert (gigachat.data / "gigachat.sock").exists()
    assert gigachat.json("chatbots", "list") == []
    with gigachat.serving() as server:
        assert server.call("/chatbots", key).status == 200


def test_a_data_folder_with_a_long_path_has_its_socket_too(tmp_path: Path) -> None:
    gigachat = Gigachat(tmp_path / ("long" * 40))
    with gigachat.serving() as server:
        key = gigachat.output("keys", "create", "--name", "k").strip()
        assert server.call("/chatbots", key).status == 200


@pytest.mark.sqlite_only
def test_a_setting_that_is_none_stops_the_start(tmp_path: Path) -> None:
    ended = Gigachat(tmp_path / "data", prot="80").run("serve")
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
    assert "GIGACHAT_PROT" in ended.stderr


class SlowModel(NamedTuple):
    """A model endpoint that answers when it may."""

    url: str
    is_asked: threading.Event
    may_answer: threading.Event


@pytest.fixture
def slow_model() -> Iterator[SlowModel]:
    is_asked, may_answer = threading.Event(), threading.Event()

    class Endpoint(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            is_asked.set()
            may_answer.wait(60)
            piece = {"choices": [{"index": 0, "delta": {"content": "At last."}, "finish_reason": "stop"}]}
            with suppress(ConnectionError):
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.end_headers()
                self.wfile.write(b"data: " + json.dumps(piece).encode() + b"\n\ndata: [DONE]\n\n")

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Endpoint) as endpoint:
        threading.Thread(target=endpoint.serve_forever).start()
        yield SlowModel(f"http://127.0.0.1:{endpoint.server_port}/v1", is_asked, may_answer)
        may_answer.set()
        endpoint.shutdown()


def prompted(server: Server, slow_model: SlowModel, pool: ThreadPoolExecutor) -> Future[Answer]:
    """The answer to a prompt that the model has been asked by now."""
    key = server.first_key()
    chatbot = server.call("/chatbots", key, {"name": "slow"}).body["id"]
    prompt = {"conversation_id": "c", "user_id": "u", "prompt": "Are you there?"}
    answer = pool.submit(server.call, f"/chatbots/{chatbot}/conversations", key, prompt)
    assert slow_model.is_asked.wait(30)
    return answer


def test_running_replies_end_before_it_does(tmp_path: Path, slow_model: SlowModel) -> None:
    gigachat = Gigachat(tmp_path / "data", model_url=slow_model.url, model="slow")
    with ThreadPoolExecutor() as pool, gigachat.serving() as server:
        answer = prompted(server, slow_model, pool)
        stopping = pool.submit(server.stop)
        _wait_until_nobody_listens(server.url)
        slow_model.may_answer.set()
        assert answer.result(30).body[0]["content"] == "At last."
        assert stopping.result(30)[0] == 0


def test_replies_that_take_too_long_are_told_so(tmp_path: Path, slow_model: SlowModel) -> None:
    gigachat = Gigachat(tmp_path / "data", model_url=slow_model.url, model="slow", shutdown_timeout_s="0.1")
    with ThreadPoolExecutor() as pool, gigachat.serving() as server:
        answer = prompted(server, slow_model, pool)
        assert server.stop()[0] == 0
        assert (answer.result(30).status, answer.result().body["code"]) == (503, "shutting_down")


def test_a_second_ctrl_c_quits_at_once(tmp_path: Path, slow_model: SlowModel) -> None:
    gigachat = Gigachat(tmp_path / "data", model_url=slow_model.url, model="slow")
    with ThreadPoolExecutor() as pool, gigachat.serving() as server:
        answer = prompted(server, slow_model, pool)
        server.process.send_signal(signal.SIGINT)
        _wait_until_nobody_listens(server.url)
        assert server.stop(signal.SIGINT)[0] == 130
        assert isinstance(answer.exception(30), OSError)


def _wait_until_nobody_listens(url: str) -> None:
    address = ("127.0.0.1", int(url.rpartition(":")[2]))
    for _ in range(1_000_000):
        try:
            socket.create_connection(address, 10).close()
        except OSError:
            return
    raise AssertionError("the server goes on accepting connections")


def test_the_debug_log_has_a_line_for_each_request_and_no_secret(tmp_path: Path) -> None:
    with Gigachat(tmp_path / "data", log="debug,json").serving() as server:
        server.call("/livez?secret=hidden", server.first_key())
        log = server.stop()[2]
    lines = [json.loads(line) for line in log.splitlines()]
    assert all(line.keys() >= {"time", "level", "logger", "message"} for line in lines)
    requests = [line["message"] for line in lines if line["logger"] == "gigachat.requests"]
    assert [message.rsplit(" ", 2)[0] for message in requests] == ["GET /livez 200"]
    assert "hidden" not in log


def test_the_sample_answers_from_the_documentation(tmp_path: Path) -> None:
    gigachat = Gigachat(tmp_path / "data")
    for _ in range(2):
        with gigachat.serving("--sample") as server:
            assert "the chatbot 'gigachat docs' is ready" in server.stderr.readline()
            chatbots = gigachat.json("chatbots", "list")
            assert [chatbot["name"] for chatbot in chatbots] == ["gigachat docs"]
            documents = gigachat.json("documents", "list", "--chatbot", "gigachat docs")
            assert {"README.md", "docs/start/try-it.md"} <= {document["name"] for document in documents}
            server.stop()


def test_a_head_without_end_is_cut_off(tmp_path: Path) -> None:
    with Gigachat(tmp_path / "data", receive_timeout_s="1").serving() as server:
        address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
        with socket.create_connection(address) as caller:
            caller.sendall(b"GET /livez HTTP/1.1\r\nX-Long: " + b"x" * 70_000)
            assert b" 431 " in caller.recv(4096)
        with socket.create_connection(address) as caller:
            caller.sendall(b"GET /livez HTTP/1.1\r\nX-Slow: ")
            assert caller.recv(4096) == b"", "closed after a second"
        assert server.call("/livez", "").status == 200
