"""The page of API keys.

Whoever is signed in as the account's owner, with a login link or a key that was given all that an account's key has,
creates and revokes its keys here, although such a key lacks `keys:write`: a login is a person, and this page is where
persons make keys. Invariant: a restricted key, or one with an end, cannot leave another key behind.
"""

from __future__ import annotations

from urllib.parse import urlencode

import msgspec
from starlette.responses import Response

from gigachat_server.api.keys import KeyInput
from gigachat_server.edge import cursors
from gigachat_server.errors import Forbidden, InvalidRequest
from gigachat_server.pages.http import PageRequest, Site, checked, first_problem, redirect
from gigachat_server.records import ApiKey
from gigachat_server.store import keys
from gigachat_server.store.database import Reader

_PER_PAGE = 50


class RevokeForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    key_id: str


async def show(request: PageRequest, site: Site) -> Response:
    return await _page(request, site)


async def create(request: PageRequest, site: Site) -> Response:
    """The secret is in this answer and nowhere else, ever."""
    request.form = {**request.form, "name": request.form.get("name", "").strip()}
    try:
        wanted = checked(request, KeyInput, site.services.settings)
    except InvalidRequest as error:
        return await _page(request, site, status=error.status, problem=first_problem(error))
    _need_owner(request)
    created, secret = await site.services.key_ring.create(request.signed_in.account_id, wanted.name)
    return await _page(request, site, status=201, created=created, secret=secret)


async def revoke(request: PageRequest, site: Site) -> Response:
    _need_owner(request)
    form = checked(request, RevokeForm, site.services.settings)
    await site.services.key_ring.revoke(request.signed_in.account_id, form.key_id)
    return redirect("/keys")


def _need_owner(request: PageRequest) -> None:
    """Raises `Forbidden` for whoever signed in with a key that was given less than an account's key, or an end."""
    if not request.signed_in.is_owner:
        raise Forbidden("You signed in with a restricted key. Sign in with a login link, or an unrestricted key, to manage keys.")


async def _page(
    request: PageRequest,
    site: Site,
    *,
    status: int = 200,
    created: ApiKey | None = None,
    secret: str = "",
    problem: str = "",
) -> Response:
    account_id, before = request.signed_in.account_id, cursors.load(request.query.get("after"))

    async def read(reader: Reader) -> list[ApiKey]:
        return await keys.list_keys(reader, account_id, before=before, limit=_PER_PAGE + 1)

    found = await site.services.database.read(read)
    older = ""
    if len(found) > _PER_PAGE:
        last = found[_PER_PAGE - 1]
        older = "/keys?" + urlencode({"after": cursors.dump(last.created_at, last.id)})
    return await site.page(
        request,
        "keys.html",
        status=status,
        keys=found[:_PER_PAGE],
        older=older,
        created=created,
        secret=secret,
        problem=problem,
        own_key_id=request.signed_in.key_id,
    )
