"""Widget keys over HTTP: what a page shows so that its visitors may chat."""

from __future__ import annotations

import functools
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from gigachat_server.api import access_wire
from gigachat_server.edge.answer import Answer
from gigachat_server.edge.body import convert, patched
from gigachat_server.edge.request import Request, page_of
from gigachat_server.records import Hostname, WidgetKey, WidgetSettings
from gigachat_server.services import Services


class WidgetKeyInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(min_length=1, max_length=255)]
    hostnames: Annotated[
        tuple[Hostname, ...], Meta(min_length=1, max_length=100, description="On whose pages it is good: on no others.")
    ]
    is_enabled: Annotated[bool, Meta(description="false: it, and each session that was opened with it, is refused.")] = True
    settings: WidgetSettings = WidgetSettings()


async def create(request: Request[WidgetKeyInput], services: Services) -> Answer:
    wanted = request.body
    made = request.earlier(WidgetKey) or await services.widget_keys.create(
        request.principal,
        request.chatbot,
        name=wanted.name,
        hostnames=wanted.hostnames,
        settings=wanted.settings,
        is_enabled=wanted.is_enabled,
        key=request.key,
    )
    return Answer(access_wire.widget_key(made), 201)


async def list_all(request: Request[None], services: Services) -> Answer:
    """Newest first; a hundred at most."""
    found, headers = page_of(request, await services.widget_keys.list(request.principal, request.chatbot))
    return Answer([access_wire.widget_key(key) for key in found], headers=headers)


async def change(request: Request[dict[str, Any]], services: Services) -> Answer:
    """What is left out stays as it is."""
    changed = await services.widget_keys.change(
        request.principal, request.chatbot, request.named["widget_key_id"], functools.partial(_changed, patch=request.body)
    )
    return Answer(access_wire.widget_key(changed))


def _changed(held: WidgetKey, *, patch: dict[str, Any]) -> WidgetKey:
    """Only what the patch says is checked: the rest may be a later version's. Raises `InvalidRequest`."""
    return patched(held, convert({"name": "-", "hostnames": ["-"], **patch}, WidgetKeyInput), patch)


async def revoke(request: Request[None], services: Services) -> Answer:
    """It, and each session that was opened with it, is refused from now on."""
    await services.widget_keys.revoke(request.principal, request.chatbot, request.named["widget_key_id"])
    return Answer(None, 204)
