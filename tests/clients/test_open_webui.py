"""Open WebUI as a front end of chatbots, with the settings of the guide: `pytest -m network tests/clients/test_open_webui.py`.

It has gigabytes of packages, so an installation of one's own can be named: OPEN_WEBUI=folder/of/its/venv.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gigachat_server.models.fake import ScriptedModel
from tests.harness import Api, gigachat, until

pytestmark = [pytest.mark.network, pytest.mark.sqlite_only]

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "use-an-openai-client.md"
ALONE = {  # it neither phones home nor fetches models
    "WEBUI_AUTH": "False", "OFFLINE_MODE": "True", "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "true", "SCARF_NO_ANALYTICS": "true",
    "ANONYMIZED_TELEMETRY": "false", "ENABLE_VERSION_UPDATE_CHECK": "False", "ENABLE_OLLAMA_API": "False",
    "RAG_EMBEDDING_ENGINE": "openai", "AUDIO_STT_ENGINE": "openai", "FROM_INIT_PY": "true",
}  # fmt: skip


async def python_of(folder: Path) -> Path:
    """That of the installation that is named, or of one that is made."""
    if named := os.environ.get("OPEN_WEBUI"):
        return Path(named) / "bin" / "python"
    for command in ((sys.executable, "-m", "venv", "venv"), ("venv/bin/pip", "install", "-q", "open-webui>=0.10,<0.13")):
        process = await asyncio.create_subprocess_exec(*command, cwd=folder)
        assert await process.wait() == 0
    return folder / "venv" / "bin" / "python"


class OpenWebUI:
    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session
        self._headers: dict[str, str] = {}

    async def is_up(self) -> bool:
        try:
            async with self._session.get(self._url + "/health") as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False

    async def sign_in(self) -> None:
        token = (await self.post("/api/v1/auths/signin", {"email": "", "password": ""}))["token"]
        self._headers = {"Authorization": f"Bearer {token}"}

    async def post(self, path: str, body: Any) -> Any:
        async with self._session.post(self._url + path, json=body, headers=self._headers) as response:
            text = await response.text()
            assert response.status == 200, text
            return json.loads(text)

    async def get(self, path: str) -> Any:
        async with self._session.get(self._url + path, headers=self._headers) as response:
            return await response.json()


@asynccontextmanager
async def open_webui(folder: Path) -> AsyncIterator[OpenWebUI]:
    python = await python_of(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = (python, "-m", "uvicorn", "open_webui.main:app", "--host", "127.0.0.1", "--port", str(port))
    env = {**os.environ, **ALONE, "DATA_DIR": str(folder / "data"), "WEBUI_SECRET_KEY": "x", "PYTHONWARNINGS": "ignore"}
    (folder / "data").mkdir()
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*command, env=env, cwd=folder, stdout=log, stderr=log)
        try:
            async with aiohttp.ClientSession() as session:
                found = OpenWebUI(f"http://127.0.0.1:{port}", session)

                async def is_up() -> bool:
                    assert process.returncode is None, (folder / "log").read_text()[-4000:]
                    return await found.is_up()

                await until(is_up)
                yield found
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


def message(role: str, content: str, parent: str | None) -> dict[str, Any]:
    return {"id": str(uuid.uuid4()), "role": role, "content": content, "parentId": parent, "childrenIds": []}


async def said(page: OpenWebUI, model: str, chat_id: str, history: list[dict[str, Any]], prompt: str) -> None:
    """As its page sends a prompt: with all messages of the chat, and ids of the chat and of the user's message."""
    asked = message("user", prompt, history[-1]["id"] if history else None)
    answered = message("assistant", "", asked["id"])
    body = {
        "model": model,
        "stream": False,
        "chat_id": chat_id,
        "id": answered["id"],
        "parent_id": asked["parentId"],
        "user_message": asked,
        "messages": [{"role": each["role"], "content": each["content"]} for each in (*history, asked)],
    }
    answer = await page.post("/api/chat/completions", body)
    history += [asked, {**answered, "content": answer["choices"][0]["message"]["content"]}]


async def test_people_chat_with_chatbots_in_open_webui(tmp_path: Path) -> None:
    [written] = re.findall(r"\| Headers \| `(.*)` \|", GUIDE.read_text(encoding="utf-8"))
    async with (
        gigachat(tmp_path / "gigachat", model=ScriptedModel(["Hello."])) as api,
        open_webui(tmp_path) as page,
    ):
        chatbot = await api.chatbot(name="Shop")
        model = chatbot.rpartition("/")[2]
        await page.sign_in()
        connection = {"enable": True, "headers": json.loads(written)}
        await page.post(
            "/openai/config/update",
            {
                "ENABLE_OPENAI_API": True,
                "OPENAI_API_BASE_URLS": [f"{api.url}/v1"],
                "OPENAI_API_KEYS": [api.key],
                "OPENAI_API_CONFIGS": {"0": connection},
            },
        )
        assert [(each["id"], each["name"]) for each in (await page.get("/api/models"))["data"] if each["id"] == model] == [
            (model, "Shop")
        ]
        await assert_a_chat_is_a_conversation(api, chatbot, page, model)


async def assert_a_chat_is_a_conversation(api: Api, chatbot: str, page: OpenWebUI, model: str) -> None:
    made = await page.post("/api/v1/chats/new", {"chat": {"title": "x", "models": [model], "messages": [], "history": {}}})
    history: list[dict[str, Any]] = []
    for prompt in ("When do parcels ship?", "And on Sundays?"):
        await said(page, model, made["id"], history, prompt)
    stored = await api.messages(chatbot, made["id"])
    assert [each["content"] for each in stored] == ["When do parcels ship?", "Hello.", "And on Sundays?", "Hello."]
    assert {each["user_id"] for each in stored} == {(await page.get("/api/v1/auths/"))["id"]}
