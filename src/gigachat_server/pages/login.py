"""Signing in and out of the pages: with an API key, or with a one-time link.

The link's page only shows a button; its POST uses the token up. So a program that looks at links before people do, as
mail and chat programs do, signs nobody in and spoils nothing.
"""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from gigachat_server.access.sessions import SESSION_S, Session
from gigachat_server.errors import Unauthenticated
from gigachat_server.pages.context import PageContext, redirect, safe_next
from gigachat_server.pages.request import COOKIE, PageRequest, checked


class LoginForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An API key, or the token of a link."""

    key: str = ""
    token: str = ""
    next: str = "/"


async def show(request: PageRequest[None], context: PageContext) -> Response:
    if request.session is not None:
        return redirect(safe_next(request.query.get("next", "/")))
    token = request.query.get("token", "")
    if token and not context.sessions.is_redeemable(token):
        return await _page(request, context, problem="This link was used already, or it has expired.")
    return await _page(request, context, token=token)


async def sign_in(request: PageRequest[None], context: PageContext) -> Response:
    wait_s = context.attempts.count(request.peer)
    if wait_s:
        problem = f"Too many attempts. Try again in {wait_s} seconds."
        return await _page(request, context, problem=problem, status=429, headers={"Retry-After": str(wait_s)})
    form = checked(request, LoginForm, context.services.settings)
    opened = context.sessions.redeem(form.token) if form.token else await _by_key(form.key.strip(), context)
    if opened is None:
        problem = "This link was used already, or it has expired." if form.token else "This is not a valid API key."
        return await _page(request, context, problem=problem, status=401)
    if request.session is not None:
        context.sessions.close(request.session_id)
    session_id, _ = opened
    response = redirect(safe_next(form.next))
    response.set_cookie(
        COOKIE, session_id, max_age=SESSION_S, path=request.root + "/", secure=request.is_secure, httponly=True, samesite="lax"
    )
    return response


async def sign_out(request: PageRequest[None], context: PageContext) -> Response:
    context.sessions.close(request.session_id)
    response = redirect("/login")
    response.delete_cookie(COOKIE, path=request.root + "/", secure=request.is_secure, httponly=True, samesite="lax")
    return response


async def _by_key(key: str, context: PageContext) -> tuple[str, Session] | None:
    try:
        principal = await context.services.key_ring.authenticate(key)
    except Unauthenticated:
        return None
    return context.sessions.open(principal)


async def _page(
    request: PageRequest[None],
    context: PageContext,
    *,
    token: str = "",
    problem: str = "",
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> Response:
    wanted = safe_next(request.form.get("next") or request.query.get("next", "/"))
    return await context.page(request, "login.html", status=status, headers=headers, token=token, problem=problem, next=wanted)
