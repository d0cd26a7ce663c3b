"""End users over HTTP: what is known of them, and turning them out."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from gigachat_server.access.end_users import Profile
from gigachat_server.api import access_wire
from gigachat_server.edge.answer import Answer
from gigachat_server.edge.body import convert
from gigachat_server.edge.request import Request
from gigachat_server.records import EndUser
from gigachat_server.services import Services


class ProfileInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Annotated[Annotated[str, Meta(min_length=1, max_length=255)] | None, Meta(description="What operators see.")] = None
    email: Annotated[str, Meta(min_length=1, max_length=255)] | None = None
    metadata: Annotated[dict[str, Any], Meta(description="Whatever operators should know; 4 kB of JSON at most.")] = {}


class RevokeInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    block: Annotated[bool, Meta(description="true: tokens that are issued later are refused, too; false: they count again.")] = (
        False
    )


async def get(request: Request[None], services: Services) -> Answer:
    return Answer(access_wire.end_user(await services.end_users.get(request.principal, request.chatbot, _id(request))))


async def change(request: Request[dict[str, Any]], services: Services) -> Answer:
    """What is left out stays as it is; a user who is not known yet is, from now on."""

    def merge(held: EndUser) -> Profile:
        wanted, told = convert(request.body, ProfileInput), request.body
        return Profile(
            name=wanted.name if "name" in told else held.name,
            email=wanted.email if "email" in told else held.email,
            metadata=wanted.metadata if "metadata" in told else held.metadata,
        )

    changed = await services.end_users.change(request.principal, request.chatbot, _id(request), merge)
    return Answer(access_wire.end_user(changed))


async def revoke(request: Request[RevokeInput], services: Services) -> Answer:
    """Every token and session that the user has is refused from now on."""
    revoked = request.earlier(EndUser) or await services.end_users.revoke(
        request.principal, request.chatbot, _id(request), block=request.body.block, key=request.key
    )
    return Answer(access_wire.end_user(revoked))


def _id(request: Request[Any]) -> str:
    return request.named["user_id"]
