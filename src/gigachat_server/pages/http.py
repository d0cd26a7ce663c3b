"""Requests of browsers in, pages out: what every page shares.

Idea: a handler gets a `PageRequest`, already signed in and checked, and returns a response; forms are strict and go
through the same decoder as the API's bodies. Invariant: a request that changes something came from one of our own
pages: it carries the session's CSRF token, and the browser says that it is of the same origin.
"""

from __future__ import annotations

import asyncio
import hmac
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec
from starlette.responses import Response
from starlette.types import Scope

from gigachat_server.access.restrictions import parse_address
from gigachat_server.access.sessions import AttemptLimit, Session, Sessions
from gigachat_server.edge.http import decode
from gigachat_server.errors import Forbidden, InvalidRequest, UnsupportedMediaType
from gigachat_server.pages.static_files import StaticFiles
from gigachat_server.records import Principal
from gigachat_server.services import Services
from gigachat_server.settings import Settings

T = TypeVar("T")

COOKIE = "gigachat_session"
CSRF_FIELD = "csrf"
CSRF_HEADER = "x-csrf-token"
MAX_FORM_BYTES = 64 * 1024

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    # Nobody else learns where a visitor comes from. Not `no-referrer`: under that, browsers send `Origin: null` with our
    # own forms, and over plain http nothing else would show that a form is ours.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

_HOST = re.compile(r"[A-Za-z0-9.:\[\]-]{1,255}")


class PageRequest(msgspec.Struct, kw_only=True):
    """One request of a browser. Handlers of pages that need a login may rely on `session` and `principal`."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    peer: str | None
    origin: str  # where the browser sees this server: http://127.0.0.1:8000
    session_id: str
    session: Session | None
    principal: Principal | None
    reauthorise: Callable[[], Awaitable[None]]  # raises `Unauthenticated` once the visitor is not signed in any more
    form: dict[str, str] = {}
    body: bytes = b""

    @property
    def signed_in(self) -> Principal:
        assert self.principal is not None, "a page without a login asked who is signed in"
        return self.principal

    @property
    def may(self) -> frozenset[str]:
        """What the visitor may do, as scopes."""
        return self.principal.scopes if self.principal is not None else frozenset()

    @property
    def is_secure(self) -> bool:
        return self.origin.startswith("https:")

    def need(self, scope: str) -> None:
        """Raises `Forbidden` if the key that opened the session lacks the scope."""
        if scope not in self.may:
            raise Forbidden(f"You signed in with a key that lacks the scope {scope}.")


class Site:
    """What the pages work with. Templates are compiled, and their libraries imported, when the first page is shown."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.sessions = Sessions(services.clock, account_id=services.account.id)
        self.attempts = AttemptLimit(services.clock)
        self.static = StaticFiles()

    async def render(self, template: str, **values: object) -> str:
        """The template filled in, away from the event loop: a long conversation takes a while."""
        return await asyncio.to_thread(self._render, template, values)

    async def page(
        self, request: PageRequest, template: str, *, status: int = 200, headers: dict[str, str] | None = None, **values: object
    ) -> Response:
        """A whole page for whoever asks."""
        html = await self.render(template, request=request, session=request.session, **values)
        return Response(html, status, headers, "text/html")

    def _render(self, template: str, values: dict[str, object]) -> str:
        from gigachat_server.pages import rendering  # 0.1 s that the start of the server need not wait for

        return rendering.environment(self.static).get_template(template).render(values)


def redirect(path: str, headers: dict[str, str] | None = None) -> Response:
    return Response(status_code=303, headers={**(headers or {}), "Location": path})


def login_address(request: PageRequest) -> str:
    """The login page, which leads back to where the visitor wanted to go."""
    wanted = f"{request.path}?{urlencode(dict(request.query))}" if request.query else request.path
    return "/login" if wanted == "/" else "/login?" + urlencode({"next": wanted})


def safe_next(wanted: str) -> str:
    """Where to go after the login: one of our own pages, whatever the address said."""
    if not wanted.isprintable() or "\\" in wanted:
        return "/"
    try:
        parts = urlsplit(wanted)
        query = urlencode(parse_qsl(parts.query, max_num_fields=10))
    except ValueError:
        return "/"
    if parts.scheme or parts.netloc or parts.path not in ("/", "/keys"):
        return "/"
    return f"{parts.path}?{query}" if query else parts.path


# --- what came in ---


def parse_form(raw: bytes, headers: Mapping[str, str]) -> dict[str, str]:
    """The fields of an urlencoded form. Raises `UnsupportedMediaType`, or `InvalidRequest` for a repeated field."""
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/x-www-form-urlencoded":
        raise UnsupportedMediaType("A form is sent as application/x-www-form-urlencoded.")
    try:
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=20)
    except ValueError:
        raise InvalidRequest("The form cannot be decoded.") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise InvalidRequest("The form repeats a field.")
    return fields


def checked(request: PageRequest, wanted: type[T], settings: Settings) -> T:
    """The form as that struct, under the rules of the API's bodies. Raises `InvalidRequest`."""
    fields = {name: value for name, value in request.form.items() if name != CSRF_FIELD}
    return decode(msgspec.json.encode(fields), wanted, settings)


def first_problem(error: InvalidRequest) -> str:
    """What is wrong, as one sentence for a person."""
    problems = [f"{problem.field}: {problem.message}" for problem in error.errors[:1]]
    return problems[0] if problems else error.detail or error.message


# --- from where it came ---


def origin_of(scope: Scope, headers: Mapping[str, str], settings: Settings) -> str:
    """This server's address as the browser sees it. A trusted proxy may say that the browser speaks https."""
    scheme = scope["scheme"]
    client = parse_address((scope.get("client") or ("",))[0])
    if client is not None and any(client in network for network in settings.proxy_networks):
        said = headers.get("x-forwarded-proto", "").rpartition(",")[2].strip().lower()
        scheme = said if said in ("http", "https") else scheme
    host = headers.get("host", "")
    return f"{scheme}://{host if _HOST.fullmatch(host) else 'localhost'}"


def check_same_origin(request: PageRequest) -> None:
    """Raises `Forbidden` unless the browser says that the request comes from one of our own pages."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        is_ours = site == "same-origin"
    else:  # plain http on other than this machine, or an old browser
        try:
            is_ours = urlsplit(request.headers.get("origin", "")).netloc == urlsplit(request.origin).netloc
        except ValueError:  # `http://[`
            is_ours = False
    if not is_ours:
        raise Forbidden("This request did not come from a page of this server.")


def check_csrf(request: PageRequest) -> None:
    """Raises `Forbidden` unless the request carries the token of its session."""
    given = request.form.get(CSRF_FIELD) or request.headers.get(CSRF_HEADER, "")
    wanted = request.session.csrf_token if request.session else ""
    if not wanted or not hmac.compare_digest(given.encode(), wanted.encode()):
        raise Forbidden("This page is out of date. Reload it and try again.")
