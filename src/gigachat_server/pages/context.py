"""What the pages work with, and what every one of them needs: templates, sessions, headers, ways to other pages."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.responses import Response

from gigachat_server.access.attempts import ATTEMPTS_ON_ONE, AttemptLimit, network_of
from gigachat_server.access.operators import canonical_email
from gigachat_server.access.scopes import Scope
from gigachat_server.errors import RateLimited
from gigachat_server.pages.request import PageRequest
from gigachat_server.pages.static_files import StaticFiles
from gigachat_server.services import Services

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    # Other servers do not learn where a visitor comes from. Not `no-referrer`: under that, browsers send `Origin: null` with our
    # own forms, and over plain http nothing else would show that a form is ours.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


_PLACES = (
    "/",
    "/inbox",
    "/figures",
    "/settings",
    "/keys",
    "/operators",
    "/audit",
    "/profile",
    "/models",
)  # to which a login may lead


class PageContext:
    """What the pages work with. Templates are compiled, and their libraries imported, when the first page is shown."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.attempts = AttemptLimit(services.clock)
        self.attempts_on_one = AttemptLimit(services.clock, ATTEMPTS_ON_ONE)
        self.static = StaticFiles(services.settings.public_path)
        self.rendered: dict[str, str] = {}  # what is the same for everybody, by its template

    def count_attempt(self, request: PageRequest[Any], *, email: str = "") -> None:
        """Raises `RateLimited` where a peer, or whoever tries that address, has tried often enough."""
        wait_s = self.attempts.count(network_of(request.peer))
        if not wait_s and email:
            wait_s = self.attempts_on_one.count(canonical_email(email)[:255])
        if wait_s:
            raise RateLimited(f"Too many attempts. Try again in {wait_s} seconds.", retry_after_s=wait_s)

    async def render(self, template: str, **values: object) -> str:
        """The template filled in, away from the event loop: a long conversation takes a while."""
        return await asyncio.to_thread(self._render, template, values)

    async def page(
        self,
        request: PageRequest[Any],
        template: str,
        *,
        status: int = 200,
        headers: dict[str, str] | None = None,
        **values: object,
    ) -> Response:
        """A whole page for whoever asks."""
        html = await self.render(template, request=request, session=request.session, Scope=Scope, **values)
        return Response(html, status, headers, "text/html")

    def _render(self, template: str, values: dict[str, object]) -> str:
        from gigachat_server.pages import rendering  # 0.1 s that the start of the server need not wait for

        return rendering.environment(self.static).get_template(template).render(values)


def redirect(path: str, headers: dict[str, str] | None = None) -> Response:
    return Response(status_code=303, headers={**(headers or {}), "Location": path})


def login_address(request: PageRequest[Any]) -> str:
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
    if parts.scheme or parts.netloc or not (parts.path in _PLACES or parts.path.startswith(("/inbox/", "/settings/"))):
        return "/"
    return f"{parts.path}?{query}" if query else parts.path
