"""Identity keys over HTTP: what your server signs its users' tokens with."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from gigachat_server.api import access_wire
from gigachat_server.edge.answer import Answer
from gigachat_server.edge.request import Request, page_of
from gigachat_server.records import Algorithm, SourceView
from gigachat_server.services import Services


class IdentityKeyInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(min_length=1, max_length=255, description="Which of your servers signs with it, say.")]
    algorithm: Annotated[Algorithm, Meta(description="HS256: a shared secret, which is made here. Otherwise bring a public key.")]
    public_key: Annotated[
        Annotated[str, Meta(max_length=4096)] | None, Meta(description="In PEM: Ed25519, P-256, or RSA of 2048 to 4096 bits.")
    ] = None
    sources: Annotated[
        SourceView, Meta(description="What its users see of the sources of a reply: their text, their names or `none`.")
    ] = "titles"


async def create(request: Request[IdentityKeyInput], services: Services) -> Answer:
    wanted = request.body
    made = await services.identity_keys.create(
        request.principal, request.chatbot, wanted.name, wanted.algorithm, wanted.public_key, wanted.sources
    )
    return Answer(access_wire.new_identity_key(made), 201)


async def list_all(request: Request[None], services: Services) -> Answer:
    """Those that tokens are verified with: five at most. Without their secrets, which are not stored."""
    found, headers = page_of(request, await services.identity_keys.list(request.principal, request.chatbot))
    return Answer([access_wire.identity_key(key) for key in found], headers=headers)


async def revoke(request: Request[None], services: Services) -> Answer:
    """Its tokens are refused from now on."""
    await services.identity_keys.revoke(request.principal, request.chatbot, request.named["identity_key_id"])
    return Answer(None, 204)
