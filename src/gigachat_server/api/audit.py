"""The audit log over HTTP: who did what to what, for 365 days."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from gigachat_server.api.wire import Moment
from gigachat_server.clock import wire_time
from gigachat_server.edge import cursors
from gigachat_server.edge.answer import Answer
from gigachat_server.edge.request import Request, next_link, query_limit
from gigachat_server.services import Services


class WireAuditEntry(msgspec.Struct, frozen=True):
    id: str
    at: Moment
    actor: Annotated[str, Meta(description="Who did it: `operator:<handle>`, `key:<id>`, or `local`, the server's machine.")]
    action: Annotated[str, Meta(description="A noun and what happened to it, such as `operator.disabled`.")]
    target: Annotated[str, Meta(description="What it was done to, such as `chatbot:<id>`.")]
    detail: Annotated[dict[str, Any], Meta(description="What else is known; neither secrets nor what end users said.")]


async def list_all(request: Request[None], services: Services) -> Answer:
    limit, before = query_limit(request.query), cursors.load(request.query.get("after"))
    found = await services.operators.audit(request.principal, before=before, limit=limit + 1)
    last = found[limit - 1] if len(found) > limit else None
    headers = next_link(request, cursors.dump(last.at, last.id)) if last else {}
    return Answer(
        [
            WireAuditEntry(each.id, wire_time(each.at), each.actor, each.action, each.target, each.detail or {})
            for each in found[:limit]
        ],
        headers=headers,
    )
