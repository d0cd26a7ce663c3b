"""What is particular to the widget among ways in: its routes, end users' credentials, headers for other people's pages.

The steps of a request are in `edge/frame.py`. Invariant: a cookie counts for nothing here, so no page can have a signed-in
operator's browser do anything; which pages may show the frame, `frame-ancestors` says.
"""

from __future__ import annotations

import functools
import logging
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope

from gigachat_server.access.principal import Principal
from gigachat_server.access.restrictions import check_address
from gigachat_server.edge.body import check_media_type, decode, parsed, read_body
from gigachat_server.edge.frame import Frame
from gigachat_server.edge.problem import render_problem
from gigachat_server.edge.request import Authoriser, parse_query
from gigachat_server.edge.routes import PUBLIC, AnyRoute
from gigachat_server.errors import Forbidden, GigachatError, MethodNotAllowed, NotFound, Unauthenticated
from gigachat_server.records import Chatbot
from gigachat_server.services import Services
from gigachat_server.widget.context import WidgetContext
from gigachat_server.widget.request import WidgetRequest
from gigachat_server.widget.routes import RouteTable

STATIC = "/widget/static/"
_PREFIXES = ("/widget/", "/chat/")
_TABLE = RouteTable()
# What other people's pages load of us, and the frame that they show: they say who may, or nobody needs to.
_SHARED = ("/widget.js", STATIC + "panel.js")

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # under `no-referrer` browsers would say `Origin: null` of our own frame
    "Cross-Origin-Embedder-Policy": "require-corp",  # so that pages that are isolated can show the frame, too
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


class Widget(Frame[WidgetRequest[Any]]):
    """The widget as an ASGI application, beside the API's and the pages'."""

    def __init__(self, services: Services) -> None:
        super().__init__(_WidgetSurface(services), services)

    @staticmethod
    def handles(path: str) -> bool:
        """Whether a request for this (decoded) path is ours."""
        return path == "/widget.js" or path.startswith(_PREFIXES)


class _WidgetSurface:
    log = logging.getLogger("gigachat.widget")
    scope_missing = "This session or token may not do that: it lacks {scope}."

    def __init__(self, services: Services) -> None:
        self.context = WidgetContext(services)

    def open(self, scope: Scope, authoriser: Authoriser) -> WidgetRequest[Any]:
        return WidgetRequest(scope, authoriser, self.context.services.settings)

    def find(self, request: WidgetRequest[Any]) -> AnyRoute | Response:
        request.query = parse_query(request.raw_query)
        method = "GET" if request.method == "HEAD" else request.method
        if request.path.startswith(STATIC) and method == "GET":
            name, version = request.path.removeprefix(STATIC), request.query.get("v", "")
            answer = self.context.files.answer(name, request.headers, version=version)
            if answer is None:
                raise NotFound
            return answer
        found = _TABLE.find(request.path)
        if found is None:
            raise NotFound
        by_method, request.named = found
        if method not in by_method:
            raise MethodNotAllowed(headers={"Allow": ", ".join(sorted(by_method))})
        return by_method[method]

    async def identify(self, request: WidgetRequest[Any], route: AnyRoute) -> Principal | None:
        if route.scope == PUBLIC:
            return None
        if route.method == "POST":
            request.check_same_origin()
        kind, _, secret = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not secret.strip():
            raise Unauthenticated
        principal = await self.context.services.callers.authenticate(secret.strip(), chatbot_id=request.named["chatbot_id"])
        if not principal.is_end_user:
            raise Forbidden("The widget is for end users: an API key stays on your server.")
        return principal

    async def check_restrictions(self, request: WidgetRequest[Any], chatbot: Chatbot) -> None:
        """Which page this is on, the browser has checked: our requests come from our own frame."""
        check_address(chatbot.config.restrictions, request.peer)

    async def read_body(self, request: WidgetRequest[Any], route: AnyRoute, receive: Receive) -> Any:
        if route.request is None:
            return None
        settings = self.context.services.settings
        raw = await read_body(receive, request.headers, limit=settings.max_body_bytes, timeout_s=settings.receive_timeout_s)
        check_media_type(request.headers)
        return await parsed(raw, functools.partial(decode, wanted=route.request, settings=settings))

    async def render_problem(self, error: GigachatError, request: WidgetRequest[Any]) -> Response:
        return render_problem(error, instance=request.raw_path, request_id=request.request_id, root=request.root)

    async def finish(self, request: WidgetRequest[Any], response: Response) -> None:
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        response.headers.setdefault("Cache-Control", "no-store")
        is_script = request.path in _SHARED or request.path.endswith("/settings.js")
        is_frame = response.headers["Content-Security-Policy"] != _HEADERS["Content-Security-Policy"]
        response.headers["Cross-Origin-Resource-Policy"] = "cross-origin" if is_script or is_frame else "same-origin"
        if is_script:
            response.headers["Access-Control-Allow-Origin"] = "*"  # modules need it, and there is nothing secret in them
