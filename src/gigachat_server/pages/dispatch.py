"""The way of every request for a page: find the route, see who is signed in, check where it comes from, answer.

Invariant: no handler runs for a visitor who is not signed in, unless its page is public, nor for a POST that one of our
own pages did not send; and every answer carries the security headers, whatever went wrong.
"""

from __future__ import annotations

import functools
import logging
import secrets
from collections.abc import Mapping

from starlette.requests import ClientDisconnect, cookie_parser
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gigachat_server.access.keys import operator_of
from gigachat_server.access.restrictions import peer_address
from gigachat_server.access.sessions import LINK_S, Session
from gigachat_server.edge.http import parse_query, plain_headers, read_body, render_problem
from gigachat_server.errors import GigachatError, MethodNotAllowed, NotFound, ShuttingDown, Unauthenticated, UnsupportedMediaType
from gigachat_server.pages.http import (
    COOKIE,
    MAX_FORM_BYTES,
    SECURITY_HEADERS,
    PageRequest,
    Site,
    check_csrf,
    check_same_origin,
    login_address,
    origin_of,
    parse_form,
    redirect,
)
from gigachat_server.pages.routes import ROUTES, STATIC, PageRoute
from gigachat_server.records import Principal
from gigachat_server.services import Services

_log = logging.getLogger("gigachat.web")

_PREFIXES = (STATIC, "/web/")
_SIGNED_OUT = "You are no longer signed in. Sign in again; your text is still here."


class Web:
    """The pages as an ASGI application, beside the API's."""

    def __init__(self, services: Services) -> None:
        self._site = Site(services)
        self._services = services
        self._routes: dict[str, dict[str, PageRoute]] = {}
        for route in ROUTES:
            self._routes.setdefault(route.path, {})[route.method] = route

    def handles(self, path: str) -> bool:
        """Whether a request for this (decoded) path is ours."""
        return path in self._routes or path.startswith(_PREFIXES)

    def login_path(self, *, lifetime_s: int = LINK_S) -> str:
        """A link, to be put after this server's address, that signs one browser in, once."""
        return "/login?token=" + self._site.sessions.mint_login_token(lifetime_s=lifetime_s)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            response = await self._respond(scope, receive)
        except ClientDisconnect:
            return
        for name, value in SECURITY_HEADERS.items():
            response.headers[name] = value
        response.headers.setdefault("Cache-Control", "no-store")
        await response(scope, receive, send)

    async def _respond(self, scope: Scope, receive: Receive) -> Response:
        path, headers = scope["path"], plain_headers(scope)
        request = self._request(scope, headers)
        by_method = self._routes.get(path, {})
        route = by_method.get("GET" if scope["method"] == "HEAD" else scope["method"])
        try:
            request.query = parse_query(scope["query_string"])
            if path.startswith(STATIC) and scope["method"] in ("GET", "HEAD"):
                return self._static(request)
            await self._recognise(request)
            if not by_method:
                raise NotFound
            if route is None:
                raise MethodNotAllowed(headers={"Allow": ", ".join(sorted(by_method))})
            if request.session is None and not route.is_public:
                if not route.is_json:
                    return redirect(login_address(request))
                raise Unauthenticated(_SIGNED_OUT)
            if scope["method"] == "POST":
                await self._admit(route, request, scope, receive)
            return await route.handler(request, self._site)
        except GigachatError as error:
            return await self._problem(error, request, is_json=route is not None and route.is_json)
        except ClientDisconnect:
            raise
        except Exception:  # noqa: BLE001 - the edge of the pages: a bug is a page that says so, and a line in the log
            _log.exception("%s %s failed", scope["method"], path)
            return await self._problem(GigachatError(), request, is_json=route is not None and route.is_json)

    def _request(self, scope: Scope, headers: Mapping[str, str]) -> PageRequest:
        settings, client = self._services.settings, scope.get("client")
        session_id = cookie_parser(headers.get("cookie", "")).get(COOKIE, "")
        return PageRequest(
            path=scope["path"],
            query={},
            headers=headers,
            peer=peer_address(client[0] if client else None, headers.get("x-forwarded-for"), settings.proxy_networks),
            origin=origin_of(scope, headers, settings),
            session_id=session_id,
            session=None,
            principal=None,
            reauthorise=functools.partial(self._recognise_again, session_id),
        )

    async def _recognise_again(self, session_id: str) -> None:
        session = self._site.sessions.find(session_id)
        if session is None or await self._principal(session) is None:
            raise Unauthenticated(_SIGNED_OUT)

    async def _recognise(self, request: PageRequest) -> None:
        """Find the session that the cookie names, and end it if its key no longer holds."""
        session = self._site.sessions.find(request.session_id) if request.session_id else None
        if session is None:
            return
        principal = await self._principal(session)
        if principal is None:
            self._site.sessions.close(request.session_id)
            return
        request.session, request.principal = session, principal

    async def _principal(self, session: Session) -> Principal | None:
        if session.key_id is None:
            return operator_of(session.account_id)
        return await self._services.key_ring.principal_of(session.key_id)

    async def _admit(self, route: PageRoute, request: PageRequest, scope: Scope, receive: Receive) -> None:
        """Read what a POST carries; raises unless it comes from a page of ours."""
        check_same_origin(request)
        if self._services.is_shutting_down:
            raise ShuttingDown(retry_after_s=5)
        settings = self._services.settings
        limit = settings.max_body_bytes if route.is_json else MAX_FORM_BYTES
        raw = await read_body(scope, receive, request.headers, limit=limit, timeout_s=settings.receive_timeout_s)
        if not route.is_json:
            request.form = parse_form(raw, request.headers)
        elif request.headers.get("content-type") != "application/json":
            raise UnsupportedMediaType
        request.body = raw
        if not route.is_public:
            check_csrf(request)

    def _static(self, request: PageRequest) -> Response:
        answer = self._site.static.answer(
            request.path.removeprefix(STATIC),
            version=request.query.get("v", ""),
            if_none_match=request.headers.get("if-none-match", ""),
        )
        if answer is None:
            raise NotFound
        return answer

    async def _problem(self, error: GigachatError, request: PageRequest, *, is_json: bool) -> Response:
        if error.status >= 500:
            _log.warning("%s: %s", request.path, error.code)
        if is_json:
            return render_problem(error, instance=request.path, request_id=secrets.token_hex(8))
        headers = dict(error.headers)
        if error.retry_after_s is not None:
            headers["Retry-After"] = str(error.retry_after_s)
        return await self._site.page(request, "error.html", status=error.status, headers=headers, error=error)
