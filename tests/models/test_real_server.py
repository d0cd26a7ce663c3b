"""A real server, llama.cpp's, with a model of random weights: both come from a package registry, so this needs a network."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.harness import gigachat
from tests.models import tiny_llama
from tests.models.misbehaving_endpoint import model_at

from gigachat_server.models.endpoints.chat_completions import Timeouts
from gigachat_server.models.endpoints.probe import list_models, probe

PACKAGES = ("xllamacpp", "gguf")


@pytest.fixture(scope="module")
def llama_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("llama")
    python = folder / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    subprocess.run([python, "-m", "pip", "install", "-q", "--only-binary", ":all:", *PACKAGES], check=True)
    command = [str(python), tiny_llama.__file__, str(folder / "tiny.gguf")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None and server.stdout is not None
        yield f"{server.stdout.readline().strip()}/v1"
        server.stdin.close()


@pytest.mark.network
@pytest.mark.sqlite_only
async def test_a_conversation_with_a_real_server(tmp_path: Path, llama_url: str) -> None:
    async with model_at(llama_url, timeouts=Timeouts(), key=None) as model, gigachat(tmp_path, model=model) as api:
        [name] = await list_models(model)
        assert name.endswith("tiny.gguf")
        found = await probe(model)
        assert found.error is None and found.pieces > 1
        chatbot = await api.chatbot(response={"max_tokens": 20, "memory_size": 50})
        path = f"{chatbot}/conversations/c1"
        await api.say(chatbot, "Hello")
        await api.say(chatbot, "I will help.", user="client:eve")
        assert (await api.post(f"{path}/takeover", {"operator": "eve"})).status == 200
        await api.say(chatbot, "Is anyone there?")
        assert (await api.post(f"{path}/release", {})).status == 200
        for _ in range(8):  # more than its context holds
            [reply] = await api.say(chatbot, "And then? " * 30)
            assert reply["status"] == "completed"
            assert reply["metadata"]["finish_reason"] in ("length", "stop")  # a full context ends a reply, too
            assert 0 < reply["metadata"]["usage"]["completion_tokens"] <= 20
        assert reply["metadata"]["left_out"]["messages"] > 0
