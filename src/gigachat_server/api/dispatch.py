"""What is particular to the API among ways in: its routes, API keys, JSON bodies, problem+json, CORS.

The steps of a request are in `edge/frame.py`.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import re
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope

from gigachat_server.access.principal import Principal, local_operator
from gigachat_server.access.restrictions import check_restrictions
from gigachat_server.access.speakers import client_defined_id, shown_name
from gigachat_server.api.mcp_server import render_rpc_problem
from gigachat_server.api.openai import errors as openai_errors
from gigachat_server.api.openai.callers import without_placeholders
from gigachat_server.api.openapi import openapi_json
from gigachat_server.api.routes import MCP_ROUTES, ROUTES, RouteMatch, RouteTable, RpcRoute
from gigachat_server.edge.body import check_media_type, decode, parse_object, parsed, read_body
from gigachat_server.edge.frame import Frame
from gigachat_server.edge.problem import render_problem
from gigachat_server.edge.request import Authoriser, Request
from gigachat_server.edge.routes import PUBLIC, AnyRoute
from gigachat_server.edge.signposts import other_address, other_method, why_no_key, why_refused
from gigachat_server.errors import (
    FieldError,
    GigachatError,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    TokenExpired,
    Unauthenticated,
)
from gigachat_server.records import Chatbot
from gigachat_server.services import Services

_TABLE = RouteTable((*ROUTES, *MCP_ROUTES))
_ADDRESSES = tuple(dict.fromkeys([*(route.path for route in (*ROUTES, *MCP_ROUTES)), "/openapi.json"]))
_CORS_METHODS = "GET, POST, PUT, DELETE"
_CORS_HEADERS = (
    "Authorization, Content-Type, Accept, Idempotency-Key, Last-Event-ID, Prefer, X-Request-Id, "
    "Mcp-Protocol-Version, Mcp-Method, Mcp-Name"
)
_ORIGIN = re.compile(r"https?://[A-Za-z0-9._:\[\]-]{1,262}")  # as browsers write one; nothing else is repeated
_CORS_EXPOSED = "Link, Retry-After, RateLimit, RateLimit-Policy, X-Request-Id, Idempotent-Replayed"

# What OpenAI's client for JavaScript sends from a page, and what is of interest of an answer to it.
_OPENAI_HEADERS = (
    "X-Conversation-Id, OpenAI-Organization, OpenAI-Project, X-Stainless-Arch, X-Stainless-Helper-Method, X-Stainless-Lang, "
    "X-Stainless-OS, X-Stainless-Package-Version, X-Stainless-Retry-Count, X-Stainless-Runtime, "
    "X-Stainless-Runtime-Version, X-Stainless-Timeout"
)
_OPENAI_EXPOSED = "X-Conversation-Id, X-Gigachat-Turn, X-Gigachat-Ignored, X-Should-Retry"

_MOST_SEGMENTS = 16  # more than any route has


class _Made(msgspec.Struct):
    """Of the answer that tells what was made, the first time or again."""

    id: str


class Api(Frame[Request[Any]]):
    """The API as an ASGI application. `is_local`: on this machine's own socket, where no key is needed."""

    def __init__(self, services: Services, *, is_local: bool = False) -> None:
        super().__init__(_ApiSurface(services, is_local=is_local), services)

    @staticmethod
    def handles(encoded_path: bytes) -> bool:
        """Whether this is one of its addresses."""
        try:
            return encoded_path == b"/openapi.json" or _TABLE.find(_segments(encoded_path)) is not None
        except InvalidRequest:
            return True  # and says so


class _ApiSurface:
    log = logging.getLogger("gigachat.api")
    scope_missing = "This needs a key with the scope {scope}."

    def __init__(self, services: Services, *, is_local: bool) -> None:
        self.context = services
        self._is_local = is_local

    def open(self, scope: Scope, authoriser: Authoriser) -> Request[Any]:
        return Request(scope, authoriser, trusted=self.context.settings.proxy_networks)

    def find(self, request: Request[Any]) -> AnyRoute | Response:
        if request.path == "/openapi.json" and request.method in ("GET", "HEAD"):
            return Response(openapi_json(), media_type="application/json")
        found = _TABLE.find(_segments(request.encoded_path))
        if found is None:
            raise NotFound(other_address(_segments(request.encoded_path), _ADDRESSES, root=request.root))
        if request.method == "OPTIONS":
            return Response(status_code=204, headers={"Allow": _allowed(found)})
        route = found.by_method.get("GET" if request.method == "HEAD" else request.method)
        if route is None:
            raise MethodNotAllowed(other_method(request.method, found.by_method), headers={"Allow": _allowed(found)})
        request.named = found.path
        if route.is_openai:
            request.headers = without_placeholders(request.headers)
        return route

    async def identify(self, request: Request[Any], route: AnyRoute) -> Principal | None:
        if route.scope == PUBLIC:
            return None
        if self._is_local:
            return await self._local_operator(request.headers.get("x-gigachat-account"))
        kind, _, secret = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not secret.strip():
            raise Unauthenticated(why_no_key(request.headers, request.raw_query))
        try:
            return await self.context.callers.authenticate(secret.strip(), chatbot_id=request.named.get("chatbot_id"))
        except TokenExpired:
            raise
        except Unauthenticated:
            raise Unauthenticated(why_refused(secret.strip())) from None

    async def _local_operator(self, account_name: str | None) -> Principal:
        """This machine's operator, for the account that the command names (percent-encoded), made when missing."""
        account = self.context.account
        name = client_defined_id(unquote(account_name), "X-Gigachat-Account") if account_name else account.name
        if name != account.name:
            shown_name(name, "X-Gigachat-Account")
            account = await self.context.key_ring.ensure_account(name)
        return local_operator(account.id)

    async def check_restrictions(self, request: Request[Any], chatbot: Chatbot) -> None:
        if self._is_local:
            return
        principal = request.principal
        if principal.is_end_user:
            origin = request.headers.get("origin")
            await self.context.callers.check_from(principal, chatbot, origin=origin, peer=request.peer)
        else:
            check_restrictions(chatbot.config.restrictions, peer=request.peer, headers=request.headers, has_key=True)

    async def read_body(self, request: Request[Any], route: AnyRoute, receive: Receive) -> Any:
        if route.request is None:
            return None
        settings = self.context.settings
        limit = settings.max_document_body_bytes if route.is_large else settings.max_body_bytes
        raw = await read_body(receive, request.headers, limit=limit, timeout_s=settings.receive_timeout_s)
        if not raw and route.is_body_optional:
            raw = b"{}"
        else:
            check_media_type(request.headers)
        if route.is_openai and route.is_prompt:
            request.body_sha256 = await parsed(raw, _sha256)
        parse = parse_object if route.is_merge else decode
        wanted = route.request
        if route.end_user_request is not None and request.principal.is_end_user:
            wanted = route.end_user_request
        return await parsed(raw, functools.partial(parse, wanted=wanted, settings=settings))

    async def render_problem(self, error: GigachatError, request: Request[Any]) -> Response:
        if _is_openai(request):
            return openai_errors.render(error)
        if isinstance(request.route, RpcRoute):
            return render_rpc_problem(error)
        return render_problem(error, instance=request.raw_path, request_id=request.request_id, root=request.root)

    async def finish(self, request: Request[Any], response: Response) -> None:
        route = request.route
        if route is not None and route.has_location and response.status_code == route.status:
            made = msgspec.json.decode(response.body, type=_Made)
            response.headers["Location"] = f"{request.raw_path}/{made.id}"
        response.raw_headers.append((b"x-request-id", request.request_id.encode()))
        response.raw_headers.append((b"x-content-type-options", b"nosniff"))
        if not any(name == b"cache-control" for name, _ in response.raw_headers):
            response.raw_headers.append((b"cache-control", b"no-store"))
        if "origin" in request.headers:
            await self._allow_origin(request.headers["origin"], request, response)

    async def _allow_origin(self, origin: str, request: Request[Any], response: Response) -> None:
        """CORS: pages on the chatbot's own hostnames may read what it answers; any page may ask, and read that it may not.

        Invariant: before a key has opened the chatbot, the headers are the same whether there is such a chatbot or not.
        """
        segments = request.encoded_path.decode("ascii", "replace").split("/")
        if len(segments) < 3 or segments[1] != "chatbots" or not _ORIGIN.fullmatch(origin):
            return
        chatbot = request.named_chatbot
        if chatbot is not None and not await self.context.callers.may_read(chatbot, origin):
            return
        cors = _cors_headers(origin, is_preflight=request.method == "OPTIONS", is_openai=_is_openai(request))
        for name, value in cors.items():
            response.headers[name] = value


def _cors_headers(origin: str, *, is_preflight: bool, is_openai: bool) -> dict[str, str]:
    exposed = f"{_CORS_EXPOSED}, {_OPENAI_EXPOSED}" if is_openai else _CORS_EXPOSED
    headers = {"Access-Control-Allow-Origin": origin, "Vary": "Origin", "Access-Control-Expose-Headers": exposed}
    if is_preflight:
        headers["Access-Control-Allow-Methods"] = _CORS_METHODS
        headers["Access-Control-Allow-Headers"] = f"{_CORS_HEADERS}, {_OPENAI_HEADERS}" if is_openai else _CORS_HEADERS
        headers["Access-Control-Max-Age"] = "600"
    return headers


def _is_openai(request: Request[Any]) -> bool:
    """Whether it is for the part that speaks as OpenAI's API does, also where that has no such address.

    An address of gigachat's own with a version in front is a mistake about those.
    """
    if request.route is not None:
        return request.route.is_openai
    segments = request.path.split("/", _MOST_SEGMENTS)
    if segments[1] == "v1":
        return _TABLE.find(["", *segments[2:]]) is None
    return len(segments) > 3 and (segments[1], segments[3]) == ("chatbots", "v1")


def _sha256(raw: bytes) -> bytes:
    return hashlib.sha256(raw).digest()


def _segments(encoded: bytes) -> list[str]:
    if encoded.count(b"/") > _MOST_SEGMENTS:
        raise NotFound
    try:
        return [unquote_to_bytes(part).decode() for part in encoded.split(b"/")]
    except UnicodeDecodeError:
        raise InvalidRequest(errors=(FieldError("path", "Must be UTF-8."),)) from None


def _allowed(found: RouteMatch) -> str:
    return ", ".join(sorted({*found.by_method, "OPTIONS"}))
