"""A visitor's chat over HTTP, as the frame speaks: a chatbot with a widget key, sessions, and the stream of a conversation."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from gigachat_server.access.scopes import SCOPES
from tests.harness import Api, Reply

Told = tuple[str, str, dict[str, Any]]  # place, name, data


class Visit:
    """One chatbot whose widget stands on `hostnames`, and what a frame does there."""

    def __init__(self, api: Api, path: str, keeper: str, key: dict[str, Any]) -> None:
        self.api = api
        self.path = path
        self.keeper = keeper
        self.key_id, self.key = str(key["id"]), str(key["key"])

    @property
    def chatbot_id(self) -> str:
        return self.path.removeprefix("/chatbots/")

    @property
    def root(self) -> str:
        return f"/widget/{self.chatbot_id}"

    async def get(self, below: str, *, bearer: str | None = None, headers: dict[str, str] | None = None) -> Reply:
        return await fetched(self.api, self.root + below, bearer, headers)

    async def post(
        self, below: str, body: Any, *, bearer: str | None, headers: dict[str, str] | None = None, key: str = ""
    ) -> Reply:
        sent = {"Sec-Fetch-Site": "same-origin", **(headers or {}), **({"Idempotency-Key": key} if key else {})}
        return await self.api.post(self.root + below, body, key=bearer, headers=sent)

    async def session(self) -> str:
        opened = await self.post("/session", {}, bearer=self.key)
        assert opened.status == 201, opened.text
        return str(opened.body["token"])

    async def say(self, bearer: str, prompt: str, conversation: str | None = None, *, key: str = "") -> dict[str, Any]:
        body = {"prompt": prompt} | ({"conversation_id": conversation} if conversation else {})
        said = await self.post("/prompt", body, bearer=bearer, key=key)
        assert said.status == 201, said.text
        found: dict[str, Any] = said.body
        return found

    async def change_key(self, **settings: Any) -> Reply:
        return await self.api.call("PATCH", f"{self.path}/widget-keys/{self.key_id}", {"settings": settings}, key=self.keeper)

    async def follow(
        self, bearer: str, conversation: str, *, place: str = "0", until: Callable[[list[Told]], bool]
    ) -> list[Told]:
        """What the frame is told from that place on."""
        found: list[Told] = []
        headers = {"Authorization": f"Bearer {bearer}", "Last-Event-ID": place}
        url = f"{self.api.url}{self.root}/events?id={conversation}"
        async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            held = ""
            async for piece in answer.content.iter_any():
                *blocks, held = (held + piece.decode()).split("\n\n")
                for block in blocks:
                    fields = dict(line.split(": ", 1) for line in block.split("\n") if line and not line.startswith(":"))
                    if fields:
                        found.append((fields.get("id", ""), fields["event"], json.loads(fields["data"])))
                        if until(found):
                            return found
        return found


async def fetched(api: Api, path: str, bearer: str | None = None, headers: dict[str, str] | None = None) -> Reply:
    """As it is, not compressed."""
    return await api.get(path, key=bearer, headers={"Accept-Encoding": "identity", **(headers or {})})


@asynccontextmanager
async def visiting(api: Api, *, hostnames: tuple[str, ...] = ("shop.example.com",), **chatbot: Any) -> AsyncIterator[Visit]:
    _, keeper = await api.services.key_ring.create(api.services.account.id, "keeper", scopes=SCOPES)
    path = await api.chatbot(**chatbot)
    made = await api.post(f"{path}/widget-keys", {"name": "shop", "hostnames": list(hostnames)}, key=keeper)
    assert made.status == 201, made.text
    yield Visit(api, path, keeper, made.body)


def is_answered(found: list[Told]) -> bool:
    """Whether a reply is stored."""
    return any(message["role"] == "assistant" for _, name, data in found if name == "change" for message in data["messages"])
