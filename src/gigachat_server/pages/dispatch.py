"""What is particular to the pages among ways in: their routes, sessions, forms, error pages and security headers.

The steps of a request are in `edge/frame.py`. Invariant: no handler runs for a visitor who is not signed in, unless its page is
public, nor for a POST that one of our own pages did not send; and every answer carries the security headers, whatever went
wrong.
"""

from __future__ import annotations

import functools
import logging
from contextlib import suppress
from typing import Any
from urllib.parse import unquote_to_bytes

from starlette.responses import Response
from starlette.types import Receive, Scope

from gigachat_server.access.principal import Principal
from gigachat_server.access.sessions import LINK_S
from gigachat_server.edge.body import decode, parsed, read_body
from gigachat_server.edge.frame import Frame
from gigachat_server.edge.problem import problem_headers, render_problem
from gigachat_server.edge.request import Authoriser, parse_query
from gigachat_server.edge.routes import PUBLIC, AnyRoute
from gigachat_server.edge.signposts import other_address, other_method
from gigachat_server.edge.uploads import is_form
from gigachat_server.errors import (
    GigachatError,
    MethodNotAllowed,
    NotFound,
    StorageUnavailable,
    Unauthenticated,
    UnsupportedMediaType,
)
from gigachat_server.pages.context import SECURITY_HEADERS, PageContext, login_address, redirect
from gigachat_server.pages.request import MAX_FORM_BYTES, PageRequest, check_csrf, check_same_origin, parse_form
from gigachat_server.pages.routes import ROUTES, STATIC, PageRoute
from gigachat_server.records import Chatbot
from gigachat_server.services import Services

_PREFIXES = (STATIC, "/web/", "/inbox/", "/settings/")
_SIGNED_OUT = "You are no longer signed in. Sign in again; your text is still here."


class Web(Frame[PageRequest[Any]]):
    """The pages as an ASGI application, beside the API's."""

    def __init__(self, services: Services) -> None:
        self._pages = _PageSurface(services)
        super().__init__(self._pages, services)

    def handles(self, path: str) -> bool:
        """Whether a request for this (decoded) path is ours."""
        return path in self._pages.routes or path.startswith(_PREFIXES)

    async def login_path(self, *, lifetime_s: int = LINK_S) -> str:
        """A link, to be put after this server's address, that signs one browser in, once."""
        return "/login?token=" + await self._pages.context.services.sessions.mint_login_token(lifetime_s=lifetime_s)


class _PageSurface:
    log = logging.getLogger("gigachat.web")
    scope_missing = "You may not do that here: it needs the scope {scope}."

    def __init__(self, services: Services) -> None:
        self.context = PageContext(services)
        self.routes: dict[str, dict[str, PageRoute]] = {}
        for route in ROUTES:
            self.routes.setdefault(route.path, {})[route.method] = route
        self._templates = [path.encode().split(b"/") for path in self.routes if "{" in path]

    def open(self, scope: Scope, authoriser: Authoriser) -> PageRequest[Any]:
        return PageRequest(scope, authoriser, self.context.services.settings)

    def find(self, request: PageRequest[Any]) -> AnyRoute | Response:
        request.query = parse_query(request.raw_query)
        method = "GET" if request.method == "HEAD" else request.method
        if request.path.startswith(STATIC) and method == "GET":
            return self._static(request)
        by_method = self.routes.get(self._template(request))
        if not by_method:
            raise NotFound(
                other_address(
                    request.path.split("/"), [path for path in self.routes if not path.startswith("/web/")], root=request.root
                )
            )
        if method not in by_method:
            allowed = sorted(by_method)
            raise MethodNotAllowed(other_method(request.method, allowed), headers={"Allow": ", ".join(allowed)})
        return by_method[method]

    def _template(self, request: PageRequest[Any]) -> str:
        """The address as the table has it, with what its segments name. They are split first and decoded after."""
        if request.path in self.routes and "{" not in request.path:
            return request.path
        given = request.encoded_path.split(b"/")
        for template in self._templates:
            pairs = [*zip(template, given, strict=False)]
            if len(template) == len(given) and all(part and (wanted == part or wanted[:1] == b"{") for wanted, part in pairs[1:]):
                try:
                    request.named = {
                        wanted[1:-1].decode(): unquote_to_bytes(part).decode() for wanted, part in pairs if wanted[:1] == b"{"
                    }
                except UnicodeDecodeError:
                    raise NotFound from None
                return b"/".join(template).decode()
        return ""

    async def identify(self, request: PageRequest[Any], route: AnyRoute) -> Principal | None:
        principal = await self._recognise(request)
        if principal is None and route.scope != PUBLIC:
            raise Unauthenticated(_SIGNED_OUT)
        if route.method == "POST":
            check_same_origin(request)
            if route.takes_file and is_form(request.headers):  # such a body is received before a handler sees any of it
                check_csrf(request)
        return principal

    async def _recognise(self, request: PageRequest[Any]) -> Principal | None:
        """Who holds the cookie, as they are now."""
        sessions, is_first = self.context.services.sessions, request.session is None
        session = request.session = await sessions.recognise(request.session_id)
        request.caller = None if session is None else session.principal
        if session is not None and is_first:  # a page that is left open asks again and again whether it may go on
            await sessions.note_use(session.id)
        return request.caller

    async def check_restrictions(self, request: PageRequest[Any], chatbot: Chatbot) -> None:
        request.check_addresses(chatbot.config.restrictions)

    async def read_body(self, request: PageRequest[Any], route: AnyRoute, receive: Receive) -> Any:
        """What a POST carries; raises unless it comes from a page of ours."""
        if route.method != "POST":
            return None
        settings, is_json = self.context.services.settings, route.request is not None
        limit = settings.max_body_bytes if is_json else MAX_FORM_BYTES
        if route.is_large:
            limit = settings.max_document_body_bytes
        raw = await read_body(receive, request.headers, limit=limit, timeout_s=settings.receive_timeout_s)
        if not is_json:
            request.form = await parsed(raw, functools.partial(parse_form, headers=request.headers))
        elif request.headers.get("content-type") != "application/json":
            raise UnsupportedMediaType
        if route.scope != PUBLIC:
            check_csrf(request)
        return await parsed(raw, functools.partial(decode, wanted=route.request, settings=settings)) if is_json else None

    def _static(self, request: PageRequest[Any]) -> Response:
        answer = self.context.static.answer(
            request.path.removeprefix(STATIC),
            version=request.query.get("v", ""),
            if_none_match=request.headers.get("if-none-match", ""),
        )
        if answer is None:
            raise NotFound
        return answer

    async def render_problem(self, error: GigachatError, request: PageRequest[Any]) -> Response:
        route = request.route
        if isinstance(route, PageRoute) and route.is_json:
            return render_problem(error, instance=request.raw_path, request_id=request.request_id, root=request.root)
        if route is not None and isinstance(error, Unauthenticated):
            return redirect(login_address(request))
        if request.session is None:
            with suppress(StorageUnavailable):
                await self._recognise(request)  # the page says who is signed in, whatever is wrong with the rest
        return await self.context.page(request, "error.html", status=error.status, headers=problem_headers(error), error=error)

    async def finish(self, request: PageRequest[Any], response: Response) -> None:
        location = response.headers.get("location", "")
        if location.startswith("/"):
            response.headers["location"] = request.root + location
        for name, value in SECURITY_HEADERS.items():
            response.headers.setdefault(name, value)  # a page that shows another of ours says so itself
        response.headers.setdefault("Cache-Control", "no-store")
