"""What all commands have in common: help, failures, a server or none, and the pages made from them."""

from __future__ import annotations

import asyncio
import fcntl
import importlib
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from gigachat_server import __version__, cli, settings
from gigachat_server.bench import processes
from gigachat_server.cli import client
from gigachat_server.errors import SetupError
from tests.cli.commands import Gigachat

ROOT = Path(__file__).parents[2]


@pytest.mark.sqlite_only
def test_help_is_quick_and_imports_no_command(tmp_path: Path) -> None:
    started = time.perf_counter()
    shown = Gigachat(tmp_path).output("--help")
    assert time.perf_counter() - started < 2  # some 0.15 s where nothing else runs
    assert all(f"  {name} " in shown for name in cli.COMMANDS)
    code = "import sys; from gigachat_server import cli; cli.run(['--help']); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"aiohttp", "numpy", "uvicorn", "rich", "gigachat_server.settings"} & set(loaded) == set()


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_every_listed_command_exists(name: str) -> None:
    entry = cli.COMMANDS[name]
    command = getattr(importlib.import_module(f"gigachat_server.cli.{entry.module}"), entry.attribute)
    assert isinstance(command, click.Command)
    assert command.name == name


@pytest.mark.sqlite_only
def test_serve_shows_every_setting(tmp_path: Path) -> None:
    shown = " ".join(Gigachat(tmp_path).output("serve", "--help").split())
    for info in settings.table():
        assert f"{info.flag} " in shown
        assert info.variable in shown


def test_a_flag_wins_over_a_variable(tmp_path: Path) -> None:
    gigachat = Gigachat(tmp_path / "data", port="not-a-port")
    wrong = gigachat.run("serve")
    assert (wrong.returncode, "GIGACHAT_PORT cannot be 'not-a-port'" in wrong.stderr) == (1, True)
    with gigachat.serving() as server:  # which gives --port
        assert server.url.startswith("http://127.0.0.1:")


@pytest.mark.sqlite_only
@pytest.mark.parametrize("arguments", [["nonsense"], ["keys", "create"], ["serve", "--nonsense"], ["chat"]])
def test_wrong_usage_is_status_2(tmp_path: Path, arguments: list[str]) -> None:
    ended = Gigachat(tmp_path / "data").run(*arguments)
    assert (ended.returncode, "Traceback" in ended.stderr) == (2, False)
    assert not (tmp_path / "data").exists()


def test_two_commands_at_once_share_one_store(tmp_path: Path) -> None:
    gigachat = Gigachat(tmp_path / "data")
    gigachat.output("chatbots", "create", "shop")
    chat = gigachat.start("chat", "--chatbot", "shop")  # holds the store in its own process
    assert chat.stderr is not None
    chat.stderr.readline()
    assert [chatbot["name"] for chatbot in gigachat.json("chatbots", "list")] == ["shop"]
    stdout, _ = chat.communicate("hello\n", timeout=30)
    assert (chat.returncode, stdout) == (0, "Hello! How can I help you?\n")


@pytest.mark.sqlite_only
def test_a_store_whose_owner_does_not_answer_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_STARTING_S", 0.0)

    async def connect() -> None:
        async with client.connected(settings.load({"data": str(tmp_path), "embedder": "hashing"}, {})):
            raise AssertionError("nobody could have answered")

    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(SetupError, match=r"does not answer on .*gigachat\.sock"):
            asyncio.run(connect())


@pytest.mark.sqlite_only
def test_doctor_is_content_with_a_sound_installation_and_a_running_server(tmp_path: Path) -> None:
    gigachat = Gigachat(tmp_path / "data")
    alone = gigachat.run("doctor")
    assert (alone.returncode, "no server runs" in alone.stdout) == (0, True), alone.stdout
    assert not (tmp_path / "data").exists()
    with gigachat.serving() as server:
        shown = gigachat.output("doctor")
        assert "a server runs on it, version" in shown
        assert "✗" not in shown
        assert server.call("/livez", "").status == 200


@pytest.mark.sqlite_only
def test_doctor_says_what_is_broken_and_what_to_do(tmp_path: Path) -> None:
    broken = Gigachat(
        tmp_path / "data",
        embedder="local",
        embedding_path=str(tmp_path),
        model_url="http://127.0.0.1:9/v1",
        model="m",
    ).run("doctor")
    assert broken.returncode == 1
    assert broken.stdout.count("✗") == 3  # the weights, embedding with them, the endpoint
    assert "GIGACHAT_EMBEDDING_PATH" in broken.stdout
    assert "check GIGACHAT_MODEL_URL" in broken.stdout


@pytest.mark.sqlite_only
def test_an_embedder_without_files_has_none_to_fetch(tmp_path: Path) -> None:
    done = Gigachat(tmp_path / "data", embedder="hashing").run("models", "fetch")
    assert done.returncode == 1
    assert "The embedder hashing has no files to fetch." in done.stderr
    assert not (tmp_path / "data").exists()


def test_models_of_endpoints_are_listed_and_tried(tmp_path: Path) -> None:
    with processes.endpoint() as url:
        gigachat = Gigachat(tmp_path / "data", model_url=url, model="stub")
        assert gigachat.output("models", "list") == "stub\n"
        tried = gigachat.output("models", "test")
        assert tried.startswith("✓ stub: first text after ")
        assert "ended with stop, takes tools, counts tokens" in tried
        assert f"✓ model endpoint {url}, model stub: first text after" in gigachat.output("doctor")
    failed = Gigachat(tmp_path / "data", model_url="http://127.0.0.1:9/v1", model="m").run("models", "test")
    assert (failed.returncode, failed.stdout) == (1, "✗ m: upstream_unreachable: The model endpoint cannot be reached.\n")


@pytest.mark.sqlite_only
def test_a_model_url_without_a_model_is_refused_at_start(tmp_path: Path) -> None:
    refused = Gigachat(tmp_path / "data", model_url="http://127.0.0.1:9/v1").run("serve")
    assert refused.returncode == 1
    assert "GIGACHAT_MODEL_URL needs GIGACHAT_MODEL" in refused.stderr


def test_the_pages_made_from_the_program_are_up_to_date() -> None:
    subprocess.run([sys.executable, ROOT / "tools" / "write_docs.py", "--check"], check=True)


@pytest.mark.sqlite_only
def test_version_is_printed(tmp_path: Path) -> None:
    assert Gigachat(tmp_path).output("version") == __version__ + "\n"
