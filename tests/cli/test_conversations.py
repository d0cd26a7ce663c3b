"""`gigachat conversations`: reading, following and stepping in, beside a running server."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from gigachat_server.edge import cursors
from tests.cli.commands import Gigachat, Server, slow_endpoint

pytestmark = [pytest.mark.slow, pytest.mark.sqlite_only]  # a client of the API; test_keys, test_serve and test_commands open both


class Shop:
    """The commands, a server beside them whose model takes its time, and a chatbot."""

    def __init__(self, gigachat: Gigachat, server: Server) -> None:
        self.gigachat = gigachat
        self.server = server
        self.key = server.first_key()
        self.path = f"/chatbots/{server.call('/chatbots', self.key, {'name': 'shop'}).body['id']}/conversations"
        self._started: list[subprocess.Popen[str]] = []

    def conversations(self, *arguments: str) -> str:
        """What the command said, to whomever."""
        ended = self.gigachat.run("conversations", *arguments, "--chatbot", "shop")
        assert ended.returncode == 0, ended.stderr
        return ended.stdout + ended.stderr

    def follow(self, *arguments: str) -> IO[str]:
        process = self.gigachat.start("conversations", "follow", *arguments, "--chatbot", "shop")
        self._started.append(process)
        assert process.stdout is not None
        return process.stdout

    def chat(self, prompt: str) -> None:
        """Say it; on return the reply has begun."""
        process = self.gigachat.start("chat", "--chatbot", "shop", "--conversation", "c/1", "--user", "ann")
        self._started.append(process)
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(prompt + "\n")
        process.stdin.flush()
        assert process.stdout.read(6) == "word0 "

    def end(self) -> None:
        for process in self._started:
            process.kill()
            process.communicate()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with slow_endpoint() as url:
        gigachat = Gigachat(tmp_path / "data", model_url=url, model="slow")
        with gigachat.serving() as server:
            shop = Shop(gigachat, server)
            yield shop
            shop.end()


def test_an_operator_steps_in_and_leaves_again(shop: Shop) -> None:
    shop.chat("Where is my parcel?")
    following = shop.follow("c/1")
    head = [following.readline() for _ in range(2)]
    assert head[0].startswith("[1] ")
    assert head[0].endswith(" ann (user, running)\n")
    assert head[1] == "Where is my parcel?\n"
    assert following.read(6) == "word0 "
    assert "bob answers c/1" in shop.conversations("takeover", "c/1", "--as", "bob")
    refused = shop.gigachat.run("conversations", "takeover", "c/1", "--as", "eve", "--chatbot", "shop")
    assert (refused.returncode, "Another operator" in refused.stderr) == (1, True)
    assert "Stored as message" in shop.conversations("say", "c/1", "I am Bob.", "--as", "bob")
    shown = shop.conversations("show", "c/1")
    assert "shop (assistant, stopped)" in shown
    assert "bob (operator)\nI am Bob.\n" in shown
    assert [line.split("\t")[0:3] for line in shop.conversations("list").splitlines()] == [["c/1", "ann", "bob"]]
    assert "The chatbot answers c/1 again." in shop.conversations("release", "c/1")
    told = _until(following, "conversation.released")
    assert "conversation.taken_over bob" in told
    assert "I am Bob." in told


def test_a_reply_can_be_stopped_from_elsewhere(shop: Shop) -> None:
    following = shop.follow("--json", "--after", cursors.dump(time.time_ns() // 1000, ""))
    shop.chat("Tell me everything")
    first = json.loads(following.readline())
    assert (first["type"], first["message"]["content"]) == ("message.created", "Tell me everything")
    one = shop.follow("c/1", "--json")
    assert json.loads(_until(one, '"delta"').splitlines()[-1])["text"].startswith("word0")
    assert "Stopped; 1 messages" in shop.conversations("stop", "c/1")
    stored = json.loads(_until(following, "turn.stopped").splitlines()[0])
    assert (stored["message"]["status"], stored["prompt"]["turn"]) == ("stopped", "stopped")
    assert "No reply was running." in shop.conversations("stop", "c/1")
    assert [message["role"] for message in shop.gigachat.json("conversations", "show", "c/1", "--chatbot", "shop")] == [
        "user",
        "assistant",
    ]


def test_following_survives_the_server(shop: Shop) -> None:
    shop.server.call(shop.path, shop.key, {"conversation_id": "c", "user_id": "client:bob", "prompt": "First"})
    following = shop.follow("c", "--json")
    assert json.loads(following.readline())["message"]["content"] == "First"
    shop.server.process.kill()
    shop.server.process.wait()
    with shop.gigachat.serving() as server:
        server.call(shop.path, shop.key, {"conversation_id": "c", "user_id": "client:bob", "prompt": "Second"})
        assert json.loads(following.readline())["message"]["content"] == "Second"


def test_what_is_not_there_cannot_be_followed(shop: Shop) -> None:
    ended = shop.gigachat.run("conversations", "follow", "none", "--chatbot", "shop")
    assert (ended.returncode, "This chatbot has no conversation with this id" in ended.stderr) == (1, True)


def _until(lines: IO[str], text: str) -> str:
    """What was printed up to the line with that text."""
    found = ""
    while text not in found:
        line = lines.readline()
        assert line, found
        found += line
    return found
