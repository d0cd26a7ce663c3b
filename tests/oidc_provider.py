"""A provider of identities for tests: OpenID Connect's code flow over real HTTP, which a test can have misbehave."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa

from gigachat_server.clock import Clock, system_clock

CLIENT_ID = "gigachat at example.com"
CLIENT_SECRET = "a secret: with / odd % characters"


class StubProvider:
    """Signs in whoever `user` says. `claims` and `header` replace what its tokens say; `signed_by` the key that signs."""

    def __init__(self, clock: Clock) -> None:
        self.url = ""
        self.clock = clock
        self.user: dict[str, Any] = {"sub": "u-1", "email": "ann@example.com", "email_verified": True, "name": "Ann Archer"}
        self.claims: dict[str, Any] = {}
        self.header: dict[str, Any] = {}
        self.kid = "k1"
        self.keys: dict[str, rsa.RSAPrivateKey] = {"k1": new_key()}
        self.signed_by: Any = None
        self.algorithm = "RS256"
        self.fetches: list[str] = []
        self._codes: dict[str, dict[str, str]] = {}

    def answer(self, address: str) -> dict[str, str]:
        """What the browser comes back with from that address, once its user has agreed."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(16)
        self._codes[code] = asked
        return {"code": code, "state": asked["state"], "iss": self.url}

    async def metadata(self, request: web.Request) -> web.Response:
        self.fetches.append("metadata")
        named = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
        return web.json_response({"issuer": self.url, **{name: f"{self.url}/{path}" for name, path in named.items()}})

    async def published(self, request: web.Request) -> web.Response:
        self.fetches.append("keys")
        keys = []
        for kid, key in self.keys.items():
            public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key()))
            keys.append({**public, "kid": kid, "use": "sig", "alg": "RS256"})
        return web.json_response({"keys": keys})

    async def token(self, request: web.Request) -> web.Response:
        self.fetches.append("token")
        form = await request.post()
        asked = self._codes.pop(str(form["code"]), None)
        given = base64.b64decode(request.headers["Authorization"].removeprefix("Basic ")).decode()
        verifier = hashlib.sha256(str(form["code_verifier"]).encode()).digest()
        if (
            asked is None
            or tuple(map(unquote, given.split(":"))) != (CLIENT_ID, CLIENT_SECRET)
            or base64.urlsafe_b64encode(verifier).decode().rstrip("=") != asked["code_challenge"]
            or form["redirect_uri"] != asked["redirect_uri"]
        ):
            return web.json_response({"error": "invalid_grant"}, status=400)
        now = self.clock() // 1_000_000
        claims = {"iss": self.url, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "nonce": asked["nonce"], **self.user}
        claims = {name: value for name, value in {**claims, **self.claims}.items() if value is not None}
        key = self.signed_by if self.signed_by is not None else self.keys[self.kid]
        signed = jwt.encode(claims, key, algorithm=self.algorithm, headers={"kid": self.kid, **self.header})
        return web.json_response({"id_token": signed, "access_token": "x", "token_type": "Bearer"})


def new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@asynccontextmanager
async def provider(clock: Clock = system_clock) -> AsyncIterator[StubProvider]:
    stub = StubProvider(clock)
    app = web.Application()
    app.router.add_get("/.well-known/openid-configuration", stub.metadata)
    app.router.add_get("/keys", stub.published)
    app.router.add_post("/token", stub.token)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    stub.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield stub
    finally:
        await runner.cleanup()
