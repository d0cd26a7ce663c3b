"""The page of API keys.

Whoever is signed in as the account's owner, with a login link or a key that was given all that an account's key has,
sees, creates and revokes its keys here, although such a key lacks `keys:write`: a login is a person, and this page is where
persons make keys. Invariant: a restricted key, or one with an end, neither sees the account's keys nor leaves
another one behind.
"""

from __future__ import annotations

from urllib.parse import urlencode

import msgspec
from starlette.responses import Response

from gigachat_server.api.keys import KeyInput
from gigachat_server.edge import cursors
from gigachat_server.errors import InvalidRequest
from gigachat_server.pages.context import PageContext, redirect
from gigachat_server.pages.request import PageRequest, checked, first_problem
from gigachat_server.records import ApiKey

_PER_PAGE = 50
_RESTRICTED = "You signed in with a restricted key. Sign in with a login link, or an unrestricted key, to manage keys."


class RevokeForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    key_id: str


async def show(request: PageRequest[None], context: PageContext) -> Response:
    request.principal.require_owner(_RESTRICTED)
    return await _page(request, context)


async def create(request: PageRequest[None], context: PageContext) -> Response:
    """The secret is in this answer and nowhere else, ever."""
    request.principal.require_owner(_RESTRICTED)
    request.form = {**request.form, "name": request.form.get("name", "").strip()}
    try:
        wanted = checked(request, KeyInput, context.services.settings)
    except InvalidRequest as error:
        return await _page(request, context, status=error.status, problem=first_problem(error))
    created, secret = await context.services.key_ring.grant(request.principal, wanted.name)
    return await _page(request, context, status=201, created=created, secret=secret)


async def revoke(request: PageRequest[None], context: PageContext) -> Response:
    request.principal.require_owner(_RESTRICTED)
    form = checked(request, RevokeForm, context.services.settings)
    await context.services.key_ring.revoke(request.account_id, form.key_id, actor=request.principal.actor)
    return redirect("/keys")


async def _page(
    request: PageRequest[None],
    context: PageContext,
    *,
    status: int = 200,
    created: ApiKey | None = None,
    secret: str = "",
    problem: str = "",
) -> Response:
    before = cursors.load(request.query.get("after"))
    found = await context.services.key_ring.list_keys(request.principal, before=before, limit=_PER_PAGE + 1)
    older = ""
    if len(found) > _PER_PAGE:
        last = found[_PER_PAGE - 1]
        older = f"{request.root}/keys?" + urlencode({"after": cursors.dump(last.created_at, last.id)})
    return await context.page(
        request,
        "keys.html",
        status=status,
        keys=found[:_PER_PAGE],
        older=older,
        created=created,
        secret=secret,
        problem=problem,
        own_key_id=request.principal.id,
    )
