"""The pages on which people become operators and look after themselves: the first owner, an invitation, the profile.

Invariant: a link shows a form, whatever program looks at it, and only the form's POST uses it up.
"""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.responses import Response

from gigachat_server.access.operators import Draft, suggested_handle
from gigachat_server.access.passwords import LONGEST, SHORTEST
from gigachat_server.errors import Conflict, InvalidRequest, NotFound, RateLimited
from gigachat_server.pages.context import PageContext, redirect
from gigachat_server.pages.login import signed_in
from gigachat_server.pages.request import PageRequest, checked, first_problem

_VOID = "This link was used already, it has expired, or a newer one replaced it. Ask an owner or an admin for another."
_DIFFER = "The two passwords differ."
_MOST_LISTED = 100
_LENGTHS: dict[str, Any] = {"shortest": SHORTEST, "longest": LONGEST}


class WelcomeForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    email: str
    password: str
    again: str
    name: str = ""
    handle: str = ""


class InviteForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    token: str
    password: str
    again: str


class PasswordForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    password: str
    again: str
    old: str = ""


# --- the first owner ---


async def welcome(request: PageRequest[None], context: PageContext) -> Response:
    """Where there is an owner already, there is nothing to do here."""
    if not request.principal.is_owner or await context.services.operators.has_owner(request.account_id):
        return redirect("/")
    return await context.page(request, "welcome.html", problem="", **_LENGTHS)


async def create_owner(request: PageRequest[None], context: PageContext) -> Response:
    assert request.session is not None
    try:
        form = checked(request, WelcomeForm, context.services.settings)
        _check_same(form.password, form.again)
        handle = form.handle.strip() or suggested_handle(form.email)
        draft = Draft(email=form.email, name=form.name, handle=handle, role="owner")
        session_id = await context.services.sign_in.create_first_owner(request.session, draft, form.password, peer=request.peer)
    except (InvalidRequest, Conflict, RateLimited) as error:
        return await context.page(request, "welcome.html", status=error.status, problem=first_problem(error), **_LENGTHS)
    return await signed_in(request, context, session_id, "/operators")


# --- an invitation ---


async def invitation(request: PageRequest[None], context: PageContext) -> Response:
    return await _invitation(request, context, request.query.get("token", ""))


async def accept(request: PageRequest[None], context: PageContext) -> Response:
    token = request.form.get("token", "")
    try:
        context.count_attempt(request)
        form = checked(request, InviteForm, context.services.settings)
        _check_same(form.password, form.again)
        session_id = await context.services.sign_in.accept(form.token, form.password, peer=request.peer)
    except (InvalidRequest, RateLimited) as error:
        return await _invitation(request, context, token, status=error.status, problem=first_problem(error))
    if session_id is None:
        return await _invitation(request, context, "", status=401)
    return await signed_in(request, context, session_id, "/")


async def _invitation(
    request: PageRequest[None], context: PageContext, token: str, *, status: int = 200, problem: str = ""
) -> Response:
    operator = await context.services.sign_in.invited(token)
    return await context.page(
        request,
        "invite.html",
        status=status,
        operator=operator,
        token=token,
        problem=problem if operator is not None else _VOID,
        provider="" if context.services.provider is None else context.services.provider.name,
        **_LENGTHS,
    )


# --- the profile ---


async def profile(request: PageRequest[None], context: PageContext) -> Response:
    return await _profile(request, context)


async def change_password(request: PageRequest[None], context: PageContext) -> Response:
    session = request.session
    if session is None or session.operator is None:
        raise NotFound
    try:
        context.count_attempt(request, email=session.operator.email)
        form = checked(request, PasswordForm, context.services.settings)
        _check_same(form.password, form.again)
        is_done = await context.services.sign_in.change_password(session, form.old, form.password)
    except (InvalidRequest, RateLimited) as error:
        return await _profile(request, context, status=error.status, problem=first_problem(error))
    if not is_done:
        return await _profile(request, context, status=403, problem="That is not your present password.")
    return await _profile(request, context, said="Your password is changed, and all other browsers are signed out.")


async def sign_out_elsewhere(request: PageRequest[None], context: PageContext) -> Response:
    if request.session is None or request.session.operator is None:
        raise NotFound
    await context.services.sessions.close_others(request.session)
    return await _profile(request, context, said="All other browsers are signed out.")


async def _profile(
    request: PageRequest[None], context: PageContext, *, status: int = 200, problem: str = "", said: str = ""
) -> Response:
    session = request.session
    assert session is not None
    services = context.services
    return await context.page(
        request,
        "profile.html",
        status=status,
        operator=session.operator,
        chatbots=await services.chatbots.list(request.principal, after=None, limit=_MOST_LISTED),
        others=await services.sessions.others(session),
        problem=problem,
        said=said,
        **_LENGTHS,
    )


def _check_same(password: str, again: str) -> None:
    if password != again:
        raise InvalidRequest(_DIFFER)
