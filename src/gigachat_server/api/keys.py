"""API keys over HTTP, for the command line and the keys page: a key as clients get it cannot make further keys."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from gigachat_server.access.keys import DEFAULT_SCOPES, SCOPES
from gigachat_server.api import wire
from gigachat_server.edge import cursors
from gigachat_server.edge.http import Answer, ApiRequest, next_link, query_limit
from gigachat_server.errors import FieldError, Forbidden, InvalidRequest
from gigachat_server.records import ApiKey
from gigachat_server.services import Services
from gigachat_server.store import keys
from gigachat_server.store.database import Reader


class KeyInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(min_length=1, max_length=255)]
    scopes: Annotated[
        tuple[str, ...], Meta(min_length=1, max_length=len(SCOPES), description="What it may do; default all but keys:write.")
    ] = DEFAULT_SCOPES
    expires_in_days: Annotated[
        Annotated[int, Meta(ge=1, le=36_500)] | None, Meta(description="Refused after that; null: never.")
    ] = None


async def create(request: ApiRequest, services: Services) -> Answer:
    wanted: KeyInput = request.body
    if unknown := [scope for scope in wanted.scopes if scope not in SCOPES]:
        raise InvalidRequest(errors=(FieldError("scopes", f"Unknown: {unknown[0]!r}. Choose from {', '.join(SCOPES)}."),))
    held = request.principal.scopes if request.principal else frozenset()
    if excess := [scope for scope in wanted.scopes if scope not in held]:
        raise Forbidden(f"Your key cannot give what it does not have: {excess[0]}.")
    days = wanted.expires_in_days
    key, secret = await services.key_ring.create(
        request.account_id,
        wanted.name,
        scopes=tuple(dict.fromkeys(wanted.scopes)),
        expires_at=None if days is None else services.clock() + days * 86_400_000_000,
    )
    return Answer(wire.new_key(key, secret), 201)


async def list_all(request: ApiRequest, services: Services) -> Answer:
    """Without their secrets, which nobody has."""
    limit, before = query_limit(request.query), cursors.load(request.query.get("after"))

    async def read(reader: Reader) -> list[ApiKey]:
        return await keys.list_keys(reader, request.account_id, before=before, limit=limit + 1)

    found = await services.database.read(read)
    last = found[limit - 1] if len(found) > limit else None
    headers = next_link(request, cursors.dump(last.created_at, last.id)) if last else {}
    return Answer([wire.key(key) for key in found[:limit]], headers=headers)


async def revoke(request: ApiRequest, services: Services) -> Answer:
    await services.key_ring.revoke(request.account_id, request.path["key_id"])
    return Answer(None, 204)
