"""End users of a chatbot under test: their keys, their tokens, their sessions."""

from __future__ import annotations

from typing import Any

import jwt
import msgspec

from gigachat_server.access.scopes import SCOPES
from tests.harness import Api, Reply

ALICE = "alice@example.com"
BOB = "bob@example.com"
UNLIMITED: dict[str, None] = dict.fromkeys(("user", "address", "sessions"))
PAGE = {"Origin": "https://www.example.com"}


async def keeper(api: Api) -> str:
    """An API key that may do everything."""
    _, secret = await api.services.key_ring.create(api.services.account.id, "keeper", scopes=SCOPES)
    return secret


class People(msgspec.Struct):
    """A chatbot, with an HS256 identity key and a widget key for www.example.com."""

    api: Api
    path: str
    keeper: str
    kid: str
    secret: str
    widget_key: str

    @property
    def chatbot_id(self) -> str:
        return self.path.removeprefix("/chatbots/")

    def claims(self, user: str = ALICE, **more: Any) -> dict[str, Any]:
        now = int(self.api.services.clock() // 1_000_000)
        return {"aud": self.chatbot_id, "sub": user, "iat": now, "exp": now + 3600, **more}

    def token(self, user: str = ALICE, **more: Any) -> str:
        """A token as the client's server signs it."""
        return jwt.encode(self.claims(user, **more), self.secret, "HS256", headers={"kid": self.kid})

    async def post(self, below: str, body: Any = None, *, bearer: str | None = None, **options: Any) -> Reply:
        return await self.api.post(self.path + below, body, key=bearer or self.keeper, **options)

    async def get(self, below: str, *, bearer: str | None = None, **options: Any) -> Reply:
        return await self.api.get(self.path + below, key=bearer or self.keeper, **options)

    async def call(self, method: str, below: str, body: Any = None, *, bearer: str | None = None, **options: Any) -> Reply:
        return await self.api.call(method, self.path + below, body, key=bearer or self.keeper, **options)

    async def session(self, user: str = ALICE, **more: Any) -> str:
        """The bearer of a session that the client's server opens."""
        opened = await self.post("/sessions", {"user_id": user, **more})
        assert opened.status == 201, opened.text
        return str(opened.body["token"])

    async def visitor(self) -> tuple[str, str]:
        """The bearer of an anonymous session, and whose it is."""
        opened = await self.post("/sessions", {}, bearer=self.widget_key, headers=PAGE)
        assert opened.status == 201, opened.text
        return opened.body["token"], opened.body["user_id"]

    async def ask(self, bearer: str, prompt: str = "Hello", **more: Any) -> str:
        """The id of the conversation that it is said in: a new one, unless it is named."""
        said = await self.post("/conversations", {"prompt": prompt, **more}, bearer=bearer, headers=PAGE)
        assert said.status == 201, said.text
        return str(said.body[-1]["conversation_id"])


async def people(api: Api, **chatbot: Any) -> People:
    path, key = await api.chatbot(**chatbot), await keeper(api)
    made = await api.post(f"{path}/identity-keys", {"name": "shop", "algorithm": "HS256"}, key=key)
    assert made.status == 201, made.text
    widget = {"name": "shop", "hostnames": ["www.example.com"]}
    opened = await api.post(f"{path}/widget-keys", widget, key=key)
    assert opened.status == 201, opened.text
    return People(api, path, key, made.body["id"], made.body["secret"], opened.body["key"])
