"""`gigachat chat` through pipes."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.cli.commands import Gigachat, Server, slow_endpoint

pytestmark = [pytest.mark.slow, pytest.mark.sqlite_only]  # a client of the API; test_keys, test_serve and test_commands open both


class Shop(NamedTuple):
    """The commands, a server beside them, and what to call it with."""

    gigachat: Gigachat
    server: Server
    key: str
    chatbot_id: str


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    gigachat = Gigachat(tmp_path / "data")
    with gigachat.serving() as server:
        key = server.first_key()
        chatbot_id = server.call("/chatbots", key, {"name": "shop"}).body["id"]
        parcels = {"name": "parcels", "content": "Parcels are sent on Monday. Refunds take a week."}
        server.call(f"/chatbots/{chatbot_id}/documents", key, parcels)
        yield Shop(gigachat, server, key, chatbot_id)


def test_each_line_is_a_prompt_and_sources_are_named(shop: Shop) -> None:
    typed = "When are parcels sent?\n\nhello\n/quit\nmore\n"
    ended = shop.gigachat.run("chat", "--chatbot", "shop", "--conversation", "c/1", stdin=typed)
    assert ended.returncode == 0, ended.stderr
    assert "Parcels are sent on Monday." in ended.stdout
    assert "Hello!" in ended.stdout
    assert "Conversation c/1 with shop" in ended.stderr
    assert "  [1] parcels: “Parcels are sent on Monday.”" in ended.stderr
    messages = shop.server.call(f"/chatbots/{shop.chatbot_id}/conversations/c%2F1/messages", shop.key).body
    assert len(messages) == 4  # /quit is obeyed, not said


def test_a_conversation_can_be_continued_and_staff_can_speak_in_it(shop: Shop) -> None:
    arguments = ("chat", "--chatbot", "shop", "--conversation", "c")
    shop.gigachat.output(*arguments, "--user", "ann", stdin="hello\n")
    shop.gigachat.output(*arguments, "--user", "client:bob", stdin="I am Bob.\n")
    messages = shop.server.call(f"/chatbots/{shop.chatbot_id}/conversations/c/messages", shop.key).body
    assert [(message["role"], message["user_id"]) for message in messages] == [
        ("user", "ann"),
        ("assistant", "ann"),
        ("operator", "client:bob"),
    ]


def test_a_prompt_without_a_reply_is_told_and_the_next_is_asked(shop: Shop) -> None:
    ended = shop.gigachat.run("chat", "--chatbot", "shop", stdin="x" * 32_001 + "\nhello\n")
    assert ended.returncode == 1
    assert "gigachat: prompt: " in ended.stderr
    assert "1 prompts got no reply" in ended.stderr
    assert "Hello!" in ended.stdout


def test_a_chatbot_that_does_not_stream_answers_too(shop: Shop) -> None:
    shop.server.call("/chatbots", shop.key, {"name": "silent", "response": {"stream": False}})
    assert "Hello!" in shop.gigachat.output("chat", "--chatbot", "silent", stdin="hello\n")


def test_ctrl_c_stops_the_reply_and_a_second_one_leaves(tmp_path: Path) -> None:
    with slow_endpoint() as url:
        gigachat = Gigachat(tmp_path / "data", model_url=url, model="slow")
        with gigachat.serving() as server:
            key = server.first_key()
            chatbot_id = server.call("/chatbots", key, {"name": "shop"}).body["id"]
            process = gigachat.start("chat", "--chatbot", "shop", "--conversation", "c1")
            assert process.stdin is not None and process.stdout is not None and process.stderr is not None
            process.stdin.write("Tell me everything\n")
            process.stdin.flush()
            assert process.stdout.read(6) == "word0 "
            process.send_signal(signal.SIGINT)
            assert process.stdout.readline()  # the rest of what was said, and an end to the line
            assert [process.stderr.readline() for _ in range(2)][1] == "  (stopped)\n"
            messages = server.call(f"/chatbots/{chatbot_id}/conversations/c1/messages", key).body
            assert [(message["role"], message["status"]) for message in messages] == [
                ("user", "completed"),
                ("assistant", "stopped"),
            ]
            process.stdin.write("And again\n")
            process.stdin.flush()
            assert process.stdout.read(6) == "word0 "
            while process.poll() is None:  # two that come at once count as one
                process.send_signal(signal.SIGINT)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(0.1)
            process.communicate()
            assert process.returncode in (130, -signal.SIGINT)  # the last one may find it past its own end


def test_a_server_that_starts_again_gets_the_prompt_once(tmp_path: Path) -> None:
    gigachat = Gigachat(tmp_path / "data")
    with gigachat.serving() as server:
        key = server.first_key()
        chatbot_id = server.call("/chatbots", key, {"name": "shop"}).body["id"]
    dying = Gigachat(tmp_path / "data", failpoint="S8:kill")
    with dying.serving() as server:
        process = gigachat.start("chat", "--chatbot", "shop", "--conversation", "c1")
        assert process.stdin is not None and process.stderr is not None
        assert process.stderr.readline().startswith("Conversation")
        process.stdin.write("hello\n")
        process.stdin.flush()
        assert server.process.wait(30) == -signal.SIGKILL
    with gigachat.serving() as server:
        said, _ = process.communicate(timeout=60)
        assert (process.returncode, said.startswith("Hello!")) == (0, True)
        messages = server.call(f"/chatbots/{chatbot_id}/conversations/c1/messages", key).body
        assert [message["role"] for message in messages] == ["user", "assistant"]


def test_ctrl_c_ends_it_quietly(shop: Shop) -> None:
    process = shop.gigachat.start("chat", "--chatbot", "shop")
    assert process.stderr is not None
    assert process.stderr.readline().startswith("Conversation")
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130  # while its standard input is still open
    assert process.communicate() == ("", "\n")  # what follows stands below the ^C
