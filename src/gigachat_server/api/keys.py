"""API keys over HTTP, for the command line and the keys page: a key as clients get it cannot make further keys."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from gigachat_server.access.scopes import DEFAULT_SCOPES
from gigachat_server.api import wire
from gigachat_server.edge import cursors
from gigachat_server.edge.answer import Answer
from gigachat_server.edge.request import Request, next_link, query_limit
from gigachat_server.services import Services


class KeyInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(min_length=1, max_length=255)]
    scopes: Annotated[
        tuple[str, ...],
        Meta(
            min_length=1,
            max_length=16,
            description="What it may do; by default neither keys, users nor operators.",
        ),
    ] = DEFAULT_SCOPES
    expires_in_days: Annotated[
        Annotated[int, Meta(ge=1, le=36_500)] | None, Meta(description="The key expires after so many days; null: never.")
    ] = None


async def create(request: Request[KeyInput], services: Services) -> Answer:
    wanted = request.body
    key, secret = await services.key_ring.grant(
        request.principal, wanted.name, scopes=wanted.scopes, expires_in_days=wanted.expires_in_days
    )
    return Answer(wire.new_key(key, secret), 201)


async def list_all(request: Request[None], services: Services) -> Answer:
    """Without their secrets, which are not stored."""
    limit, before = query_limit(request.query), cursors.load(request.query.get("after"))
    found = await services.key_ring.list_keys(request.principal, before=before, limit=limit + 1)
    last = found[limit - 1] if len(found) > limit else None
    headers = next_link(request, cursors.dump(last.created_at, last.id)) if last else {}
    return Answer([wire.key(key) for key in found[:limit]], headers=headers)


async def revoke(request: Request[None], services: Services) -> Answer:
    await services.key_ring.revoke(request.account_id, request.named["key_id"], actor=request.principal.actor)
    return Answer(None, 204)
