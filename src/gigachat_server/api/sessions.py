"""Sessions of end users over HTTP: three callers open one, each in their own way."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from gigachat_server.access.principal import PrincipalKind
from gigachat_server.access.standings import headers
from gigachat_server.access.user_sessions import NAMED_LIFE_S, NewSession
from gigachat_server.api import access_wire
from gigachat_server.edge.answer import Answer
from gigachat_server.edge.request import Request
from gigachat_server.errors import FieldError, InvalidRequest
from gigachat_server.records import SourceView
from gigachat_server.services import Services


class SessionInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`{}` with a widget key, or with a token for its user; `{"claim": ...}` with a token; the rest with an API key."""

    user_id: Annotated[
        Annotated[str, Meta(min_length=1, max_length=255)] | UnsetType,
        Meta(description="With an API key: whose session it is. Neither `client:...` nor `anon:...`."),
    ] = UNSET
    expires_in_s: Annotated[
        Annotated[int, Meta(ge=60, le=NAMED_LIFE_S)] | UnsetType,
        Meta(description="With an API key: how long it lasts; without, a day, which is the longest."),
    ] = UNSET
    conversation_ids: Annotated[
        Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=255)], ...], Meta(min_length=1, max_length=50)] | UnsetType,
        Meta(description="With an API key: the only conversations that it reaches; of these also those that name no user."),
    ] = UNSET
    sources: Annotated[
        SourceView | UnsetType, Meta(description="With an API key: what it shows of the sources of a reply; without, `titles`.")
    ] = UNSET
    claim: Annotated[
        Annotated[str, Meta(min_length=1, max_length=255)] | UnsetType,
        Meta(description="With a token: the anonymous session (`gcu_...`) whose conversations become its user's."),
    ] = UNSET


_WITH_KEY = ("user_id", "expires_in_s", "conversation_ids", "sources")


async def create(request: Request[SessionInput], services: Services) -> Answer:
    opened = await _opened(request, services)
    return Answer(access_wire.session(opened), 201, headers(opened.standings))


async def _opened(request: Request[SessionInput], services: Services) -> NewSession:
    wanted, principal, sessions = request.body, request.principal, services.user_sessions
    if principal.kind is PrincipalKind.WIDGET:
        _refuse_fields(wanted, (*_WITH_KEY, "claim"), "A visitor without a name has no such field: leave it out.")
        return await sessions.open_anonymous(principal, request.chatbot)
    if principal.is_end_user:
        _refuse_fields(wanted, _WITH_KEY, "Your token says so already: leave it out.")
        if wanted.claim is UNSET:
            return await sessions.open_own(principal, request.chatbot)
        return await services.conversations.claim(principal, request.chatbot, wanted.claim)
    _refuse_fields(wanted, ("claim",), "Only the user can claim, with a token that your server signed.")
    if wanted.user_id is UNSET:
        raise InvalidRequest(errors=(FieldError("user_id", "Required."),))
    return await sessions.open_for(
        principal,
        request.chatbot,
        wanted.user_id,
        expires_in_s=NAMED_LIFE_S if wanted.expires_in_s is UNSET else wanted.expires_in_s,
        conversation_ids=None if wanted.conversation_ids is UNSET else wanted.conversation_ids,
        sources="titles" if wanted.sources is UNSET else wanted.sources,
    )


def _refuse_fields(wanted: SessionInput, fields: tuple[str, ...], why: str) -> None:
    """Raises `InvalidRequest` for those that are there."""
    if errors := tuple(FieldError(name, why) for name in fields if getattr(wanted, name) is not UNSET):
        raise InvalidRequest(errors=errors)


async def close(request: Request[None], services: Services) -> Answer:
    """The session that the request came with is refused from now on."""
    await services.user_sessions.close(request.principal, request.chatbot)
    return Answer(None, 204)
