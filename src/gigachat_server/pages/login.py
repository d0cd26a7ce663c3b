"""Signing in and out of the pages: with an e-mail address and a password, a provider, an API key, or a one-time link.

The link's page only shows a button; its POST uses the token up. So a program that looks at links before people do, as
mail and chat programs do, signs nobody in and spoils nothing.
"""

from __future__ import annotations

from urllib.parse import parse_qsl

import msgspec
from starlette.responses import Response

from gigachat_server.access.oidc import LOGIN_S, IdentityRefused, Provider, ProviderUnavailable
from gigachat_server.access.sessions import LONGEST_S
from gigachat_server.errors import NotFound, RateLimited, Unauthenticated
from gigachat_server.pages.context import PageContext, redirect, safe_next
from gigachat_server.pages.request import COOKIE, OIDC_COOKIE, PageRequest, checked, cookie

_WRONG_KEY = "This is not a valid API key."
_NO_KEYS = "API keys no longer sign people in here: sign in as yourself, or ask an owner to invite you."
_NO_MATCH = "This address and password do not match. An owner can send you a new link."
_NOT_INVITED = "You are not invited here: ask an owner. Your address at the provider must be the one invited, and verified."
_USED = "This link was used already, or it has expired."


class LoginForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An address and its password, an API key, or the token of a link."""

    email: str = ""
    password: str = ""
    key: str = ""
    token: str = ""
    next: str = "/"


async def show(request: PageRequest[None], context: PageContext) -> Response:
    if request.session is not None:
        return redirect(safe_next(request.query.get("next", "/")))
    token = request.query.get("token", "")
    if token and not await context.services.sessions.is_redeemable(token):
        return await _page(request, context, problem=_USED)
    return await _page(request, context, token=token)


async def sign_in(request: PageRequest[None], context: PageContext) -> Response:
    services = context.services
    try:
        context.count_attempt(request, email=request.form.get("email", ""))
        form = checked(request, LoginForm, services.settings)
        token = form.token or _token_in(form.key)
        if token:
            session_id, problem = await services.sessions.redeem(token, peer=request.peer), _USED
        elif form.email or form.password:
            session_id = await services.sign_in.with_password(form.email, form.password, peer=request.peer)
            problem = _NO_MATCH
        else:
            session_id, problem = await _by_key(request, form.key.strip(), context)
    except RateLimited as error:
        headers = {"Retry-After": str(error.retry_after_s or 1)}
        return await _page(request, context, problem=error.detail or error.message, status=429, headers=headers)
    if session_id is None:
        return await _page(request, context, problem=problem, status=401, email=form.email)
    wanted = safe_next(form.next)
    if token and not await services.operators.has_owner(services.account.id):
        wanted = "/welcome"
    return await signed_in(request, context, session_id, wanted)


async def signed_in(request: PageRequest[None], context: PageContext, session_id: str, wanted: str) -> Response:
    """On to the page that was wanted, in the new session; the browser's earlier one ends."""
    if request.session is not None:
        await context.services.sessions.close(request.session_id)
    response = redirect(wanted)
    response.set_cookie(
        COOKIE, session_id, max_age=LONGEST_S, path=request.root + "/", secure=request.is_secure, httponly=True, samesite="lax"
    )
    return response


async def to_provider(request: PageRequest[None], context: PageContext) -> Response:
    """The browser leaves for the provider, and a cookie shows afterwards that it is the same."""
    context.count_attempt(request)
    provider, wanted = _provider(context), safe_next(request.query.get("next", "/"))
    secret, address = await provider.begin(wanted, _callback(request))
    response = Response(status_code=303, headers={"Location": address})
    response.set_cookie(
        OIDC_COOKIE,
        secret,
        max_age=LOGIN_S,
        path=f"{request.root}/login",
        secure=request.is_secure,
        httponly=True,
        samesite="lax",
    )
    return response


async def from_provider(request: PageRequest[None], context: PageContext) -> Response:
    """The browser is back, with a code that is good once."""
    services, provider = context.services, _provider(context)
    secret = cookie(request.headers.get("cookie", ""), OIDC_COOKIE)
    try:
        identity, wanted = await provider.complete(secret, request.query, _callback(request))
    except (IdentityRefused, ProviderUnavailable) as error:
        return await _page(request, context, problem=error.message, status=error.status)
    session_id = await services.sign_in.with_identity(identity, peer=request.peer)
    if session_id is None:
        return await _page(request, context, problem=_NOT_INVITED, status=403)
    return await signed_in(request, context, session_id, wanted)  # the other cookie is good for nothing any more


def _provider(context: PageContext) -> Provider:
    if context.services.provider is None:
        raise NotFound
    return context.services.provider


def _callback(request: PageRequest[None]) -> str:
    """The address that the provider knows as ours."""
    public = request.address if request.root and request.address.endswith(request.root) else request.address + request.root
    return public + "/login/oidc/callback"


async def sign_out(request: PageRequest[None], context: PageContext) -> Response:
    await context.services.sessions.close(request.session_id)
    response = redirect("/login")
    response.delete_cookie(COOKIE, path=request.root + "/", secure=request.is_secure, httponly=True, samesite="lax")
    return response


def _token_in(pasted: str) -> str:
    """That of a sign-in link, if one was pasted where a key goes."""
    before, _, query = pasted.strip().partition("?")
    return dict(parse_qsl(query)).get("token", "") if before.endswith("/login") else ""


async def _by_key(request: PageRequest[None], key: str, context: PageContext) -> tuple[str | None, str]:
    """The session that it opened, or what is wrong with it."""
    try:
        principal = await context.services.key_ring.authenticate(key)
    except Unauthenticated:
        return None, _WRONG_KEY
    if not await context.services.sessions.keys_sign_in(principal.account_id):
        return None, _NO_KEYS
    return await context.services.sessions.open(principal, peer=request.peer), ""


async def _page(
    request: PageRequest[None],
    context: PageContext,
    *,
    token: str = "",
    problem: str = "",
    email: str = "",
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> Response:
    services = context.services
    has_owner = await services.operators.has_owner(services.account.id)
    return await context.page(
        request,
        "login.html",
        status=status,
        headers=headers,
        token=token,
        problem=problem,
        email=email,
        next=safe_next(request.form.get("next") or request.query.get("next", "/")),
        has_owner=has_owner,
        with_keys=await services.sessions.keys_sign_in(services.account.id),
        provider="" if services.provider is None else services.provider.name,
    )
