"""Presence of operators over HTTP: who of the account's people is there."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from gigachat_server.api import wire
from gigachat_server.clock import wire_time
from gigachat_server.edge.answer import Answer
from gigachat_server.edge.request import Request
from gigachat_server.inbox.presence import Colleague, PresenceStatus
from gigachat_server.services import Services


class PresenceInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    status: PresenceStatus


class WirePresence(msgspec.Struct, frozen=True):
    operator: Annotated[str, Meta(description="The handle that they speak under.")]
    name: str
    status: Annotated[PresenceStatus, Meta(description="What they chose; `available` at first.")]
    available: Annotated[bool, Meta(description="Whether they are, and a page of theirs was open in the last 45 seconds.")]
    seen_at: wire.Moment | None


class WirePresenceList(msgspec.Struct, frozen=True):
    operators: list[WirePresence]


async def show(request: Request[None], services: Services) -> Answer:
    """Handoffs are told with `away_message` while a chatbot has operators and none of them is available."""
    return Answer(WirePresenceList([_wire(each) for each in await services.presence.list(request.principal)]))


async def choose(request: Request[PresenceInput], services: Services) -> Answer:
    """For operators who are signed in: keys are never there."""
    return Answer(_wire(await services.presence.choose(request.principal, request.body.status)))


def _wire(colleague: Colleague) -> WirePresence:
    return WirePresence(
        operator=colleague.operator,
        name=colleague.name,
        status=colleague.status,
        available=colleague.is_available,
        seen_at=None if colleague.seen_at is None else wire_time(colleague.seen_at),
    )
