"""The way of every API request: find the route, authenticate, check scope and restrictions, read the body, call, answer.

Invariant: no handler runs for a caller whose key, scope, chatbot or restrictions were not checked first, and whatever
goes wrong ends in one problem+json answer.
"""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote, unquote_to_bytes

import msgspec
from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from gigachat_server.access.keys import operator_of
from gigachat_server.access.restrictions import check_restrictions, client_defined_id, is_listed, peer_address
from gigachat_server.api.openapi import openapi_json
from gigachat_server.api.routes import PUBLIC, ROUTES, Route, RouteMatch, RouteTable
from gigachat_server.edge.http import (
    Answer,
    ApiRequest,
    check_media_type,
    decode,
    parse_object,
    parse_query,
    plain_headers,
    read_body,
    render,
    render_problem,
)
from gigachat_server.edge.idempotency import key_of, replay
from gigachat_server.edge.long_lists import LongLists
from gigachat_server.edge.uploads import is_form, received
from gigachat_server.errors import (
    FieldError,
    Forbidden,
    GigachatError,
    IdempotencyInProgress,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    ShuttingDown,
    StorageUnavailable,
    Unauthenticated,
)
from gigachat_server.ids import is_id, random_text
from gigachat_server.records import Chatbot, Principal, RestrictionsConfig
from gigachat_server.services import Services
from gigachat_server.store import chatbots, idempotency
from gigachat_server.store.database import Reader
from gigachat_server.store.idempotency import IdempotencyRecord
from gigachat_server.triggers import trigger

_log = logging.getLogger("gigachat.api")

_REQUEST_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)
_CORS_METHODS = "GET, POST, PUT, DELETE"
_CORS_HEADERS = "Authorization, Content-Type, Accept, Idempotency-Key, Last-Event-ID, Prefer, X-Request-Id"


class _Made(msgspec.Struct):
    """Of the answer that tells what was made, the first time or again."""

    id: str


class Api:
    """The API as an ASGI application. `is_local`: on this machine's own socket, where no key is needed."""

    def __init__(self, services: Services, *, is_local: bool = False) -> None:
        self._services = services
        self._is_local = is_local
        self._table = RouteTable(ROUTES)
        self._lists = LongLists()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = plain_headers(scope)
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else random_text(8)
        instance = scope["raw_path"].decode("ascii", "replace")
        try:
            response = await self._respond(scope, receive, headers, request_id)
        except GigachatError as error:
            if error.status >= 500 and error.status not in (502, 503, 504):
                _log.error("%s %s: %s", scope["method"], instance, error.code)
            response = render_problem(error, instance=instance, request_id=request_id)
        except ClientDisconnect:
            return
        except Exception:  # noqa: BLE001 - the edge of the application: a bug is a 500 that tells nothing but its id
            _log.exception("%s %s failed, request %s", scope["method"], instance, request_id)
            response = render_problem(GigachatError(), instance=instance, request_id=request_id)
        response.raw_headers.append((b"x-request-id", request_id.encode()))
        response.raw_headers.append((b"x-content-type-options", b"nosniff"))
        if not any(name == b"cache-control" for name, _ in response.raw_headers):
            response.raw_headers.append((b"cache-control", b"no-store"))
        await self._allow_origin(headers, response, scope)
        if scope["method"] == "HEAD":
            response, send = _without_stream(response), _without_body(send)
        await response(scope, receive, send)

    async def _respond(self, scope: Scope, receive: Receive, headers: Mapping[str, str], request_id: str) -> Response:
        if scope["path"] == "/openapi.json" and scope["method"] in ("GET", "HEAD"):
            return Response(openapi_json(), media_type="application/json")
        segments = _segments(scope["raw_path"])
        found = self._table.find(segments)
        if found is None:
            raise NotFound
        if scope["method"] == "OPTIONS":
            return Response(status_code=204, headers={"Allow": _allowed(found)})
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        route = found.by_method.get(method)
        if route is None:
            raise MethodNotAllowed(headers={"Allow": _allowed(found)})
        if route.is_prompt:
            await trigger("S0")
        request = await self._authorised(route, found, scope, headers, request_id)
        if self._services.is_shutting_down and route.method == "POST":
            raise ShuttingDown(retry_after_s=5)
        if route.takes_file and is_form(headers):
            async with received(scope, receive, headers, self._services.settings) as upload:
                request.body, request.file = upload.file, upload.path
                return await self._answered(route, request)
        if route.request is not None:
            request.body = await self._body(route, scope, receive, headers)
        if route.is_prompt:
            await trigger("S1")
        response = await self._answered(route, request)
        if route.has_location and response.status_code == route.status:
            made = msgspec.json.decode(response.body, type=_Made)
            response.headers["Location"] = f"{request.raw_path}/{made.id}"
        return response

    async def _answered(self, route: Route, request: ApiRequest) -> Response:
        if route.is_idempotent and (replayed := await self._replayed(route, request)) is not None:
            return replayed
        try:
            if route.is_list:
                return await self._lists.answered(request.account_id, lambda: route.handler(request, self._services))
            answer = await route.handler(request, self._services)
        except IdempotencyInProgress:
            # The same request was carried out while this one was on its way: there is an answer now.
            if request.kept is not None:
                raise
            return await self._answered(route, request)
        return render(answer) if isinstance(answer, Answer) else answer

    async def _replayed(self, route: Route, request: ApiRequest) -> Response | None:
        """What the same request was answered before under its key. Prompts are looked up where they are stored."""
        principal, services = request.principal, self._services
        if principal is None or "idempotency-key" not in request.headers:
            return None
        chatbot_id = request.chatbot.id if route.has_chatbot else None
        key = request.key = key_of(
            request.headers, principal, chatbot_id=chatbot_id, route=_write_of(route, request), body=request.body
        )
        if key is None or route.is_prompt:
            return None

        async def read(reader: Reader) -> IdempotencyRecord | None:
            return await idempotency.find(reader, key, now_us=services.clock())

        request.kept = await services.database.read(read)
        return replay(request.kept) if request.kept is not None and request.kept.kind == "answer" else None

    async def _authorised(
        self, route: Route, found: RouteMatch, scope: Scope, headers: Mapping[str, str], request_id: str
    ) -> ApiRequest:
        principal = None if route.scope == PUBLIC else await self._authenticate(headers)
        if principal is not None and route.scope not in principal.scopes:
            raise Forbidden(f"This needs a key with the scope {route.scope}.")
        chatbot = None
        if route.has_chatbot and principal is not None:
            chatbot = await self._chatbot(principal, found.path["chatbot_id"], exactly=not route.is_prompt)
            if route.is_guarded and not self._is_local:
                self._check_restrictions(chatbot.config.restrictions, scope, headers)
        return ApiRequest(
            path=found.path,
            query=parse_query(scope["query_string"]),
            headers=headers,
            raw_path=scope["raw_path"].decode("ascii", "replace"),
            principal=principal,
            request_id=request_id,
            chatbot=chatbot,
            reauthorise=functools.partial(self._authorised, route, found, scope, headers, request_id),
        )

    def _check_restrictions(self, restrictions: RestrictionsConfig, scope: Scope, headers: Mapping[str, str]) -> None:
        if not restrictions.hostnames and not restrictions.ip_addresses:
            return
        client, trusted = scope.get("client"), self._services.settings.proxy_networks
        peer = peer_address(client[0] if client else None, headers.get("x-forwarded-for"), trusted)
        check_restrictions(restrictions, peer=peer, headers=headers, has_key=True)

    async def _authenticate(self, headers: Mapping[str, str]) -> Principal:
        if self._is_local:
            return await self._operator(headers.get("x-gigachat-account"))
        kind, _, secret = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not secret.strip():
            raise Unauthenticated
        return await self._services.key_ring.authenticate(secret.strip())

    async def _operator(self, account_name: str | None) -> Principal:
        """This machine's operator, for the account that the command names (percent-encoded), made when missing."""
        account = self._services.account
        name = client_defined_id(unquote(account_name), "X-Gigachat-Account") if account_name else account.name
        if name != account.name:
            account = await self._services.key_ring.ensure_account(name)
        return operator_of(account.id)

    async def _chatbot(self, principal: Principal, chatbot_id: str, *, exactly: bool) -> Chatbot:
        """The caller's own. Foreign, missing and impossible ids look the same."""
        if not is_id(chatbot_id):
            raise NotFound
        chatbot = await chatbots.find_remembered(self._services.database, principal.account_id, chatbot_id, exactly=exactly)
        if chatbot is None:
            raise NotFound
        return chatbot

    async def _body(self, route: Route, scope: Scope, receive: Receive, headers: Mapping[str, str]) -> Any:
        settings = self._services.settings
        limit = settings.max_document_body_bytes if route.is_large else settings.max_body_bytes
        raw = await read_body(scope, receive, headers, limit=limit, timeout_s=settings.receive_timeout_s)
        if not raw and route.is_body_optional:
            raw = b"{}"
        else:
            check_media_type(headers)
        if route.is_merge:
            return parse_object(raw, settings)
        return decode(raw, route.request, settings)

    async def _allow_origin(self, headers: Mapping[str, str], response: Response, scope: Scope) -> None:
        """CORS: pages on the chatbot's own hostnames may call what end users reach, and read the answer."""
        origin = headers.get("origin")
        if origin is None:
            return
        segments = scope["raw_path"].decode("ascii", "replace").split("/")
        if len(segments) < 3 or segments[1] != "chatbots" or not is_id(segments[2]):
            return
        try:
            chatbot = await chatbots.find_remembered_of_any_account(self._services.database, segments[2])
        except StorageUnavailable:
            return  # the answer itself says so
        if chatbot is None or not is_listed(origin, chatbot.config.restrictions.hostnames):
            return
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Vary"] = "Origin"
        response.headers["Access-Control-Expose-Headers"] = "Link, Retry-After, X-Request-Id, Idempotent-Replayed"
        if scope["method"] == "OPTIONS":
            response.headers["Access-Control-Allow-Methods"] = _CORS_METHODS
            response.headers["Access-Control-Allow-Headers"] = _CORS_HEADERS
            response.headers["Access-Control-Max-Age"] = "600"


def _write_of(route: Route, request: ApiRequest) -> str:
    """What a key's request writes to, however its path was spelt."""
    return " ".join((route.method, route.path, *(quote(request.path[name], safe="") for name in sorted(request.path))))


def _segments(raw_path: bytes) -> list[str]:
    try:
        return [unquote_to_bytes(part).decode() for part in raw_path.split(b"/")]
    except UnicodeDecodeError:
        raise InvalidRequest(errors=(FieldError("path", "Must be UTF-8."),)) from None


def _allowed(found: RouteMatch) -> str:
    return ", ".join(sorted({*found.by_method, "OPTIONS"}))


def _without_stream(response: Response) -> Response:
    """Its head alone, if it is one that might never end: the connection would be held up for as long."""
    if not isinstance(response, StreamingResponse):
        return response
    head = Response(status_code=response.status_code)
    head.raw_headers = response.raw_headers
    return head


def _without_body(send: Send) -> Send:
    async def send_head(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return send_head
