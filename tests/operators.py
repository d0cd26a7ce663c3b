"""Operators of each role for a test: their principals, their sessions on the pages, and the API as they would reach it.

The API itself knows no sessions. `as_principal` sends requests through the API's own frame for a principal that a session, or
whatever else, has been recognised as; so what a role may do on each route can be asked over HTTP, without a way in of its own.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import uvicorn
from starlette.types import Receive, Scope, Send

from gigachat_server.access.operators import Draft, principal_of
from gigachat_server.access.principal import Principal, Role, local_operator
from gigachat_server.api.dispatch import _ApiSurface
from gigachat_server.edge.frame import Frame
from gigachat_server.edge.request import Request
from gigachat_server.edge.routes import PUBLIC, AnyRoute
from gigachat_server.records import Membership, Operator
from gigachat_server.services import Services
from tests.harness import Api

PASSWORD = "correct horse battery staple"

# The rows of a matrix of roles: the role in the account and, of a member, the role in the chatbot.
ROLES: dict[str, tuple[Role, Role | None]] = {
    "owner": (Role.OWNER, None),
    "admin": (Role.ADMIN, None),
    "operator": (Role.MEMBER, Role.OPERATOR),
    "viewer": (Role.MEMBER, Role.VIEWER),
    "outsider": (Role.MEMBER, None),  # a member of no chatbot
}


async def add_operator(
    services: Services, handle: str, role: str = "member", *, chatbots: Mapping[str, str] | None = None, account_id: str = ""
) -> Operator:
    """An operator with that role, and (by path or id) chatbots."""
    memberships = tuple(Membership(name.rpartition("/")[2], its) for name, its in (chatbots or {}).items())
    draft = Draft(email=f"{handle}@example.com", name=handle.title(), handle=handle, role=role, memberships=memberships)
    made, _ = await services.operators.create(local_operator(account_id or services.account.id), draft)
    return made


async def principals_of_roles(services: Services, chatbot: str) -> dict[str, Principal]:
    """One for each of `ROLES`, as their session would be recognised; `chatbot` is the one that members belong to."""
    found = {}
    for name, (role, its) in ROLES.items():
        made = await add_operator(services, name, role.value, chatbots={} if its is None else {chatbot: its.value})
        principal = principal_of(made)
        assert principal is not None
        found[name] = principal
    return found


async def session_of(services: Services, operator: Operator, *, password: str = PASSWORD) -> str:
    """What the cookie of their browser holds, after they accepted their invitation."""
    _, token = await services.operators.invite(local_operator(operator.account_id), operator.id)
    session_id = await services.sign_in.accept(token, password, peer="127.0.0.1")
    assert session_id is not None
    return session_id


class _AsPrincipal(_ApiSurface):
    """The API's surface for somebody who was recognised already. `who` is asked at each request, and each check of a stream."""

    def __init__(self, services: Services, who: Callable[[], Principal | None]) -> None:
        super().__init__(services, is_local=False)
        self._who = who

    async def identify(self, request: Request[Any], route: AnyRoute) -> Principal | None:
        return None if route.scope == PUBLIC else self._who()


@asynccontextmanager
async def as_principal(services: Services, who: Principal | Callable[[], Principal | None]) -> AsyncIterator[Api]:
    """The API as that principal reaches it."""
    frame = Frame(_AsPrincipal(services, who if callable(who) else lambda: who), services)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await frame(scope, receive, send)

    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(100)
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="warning", timeout_graceful_shutdown=1))
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), auto_decompress=False) as session:
        try:
            yield Api(services, f"http://127.0.0.1:{listener.getsockname()[1]}", "", session)
        finally:
            server.should_exit = True
            await serving
