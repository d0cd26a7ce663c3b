"""The page of the audit log: who did what to what."""

from __future__ import annotations

from urllib.parse import urlencode

import msgspec
from starlette.responses import Response

from gigachat_server.access.worker import AUDIT_KEPT_US
from gigachat_server.edge import cursors
from gigachat_server.pages.context import PageContext
from gigachat_server.pages.request import PageRequest
from gigachat_server.records import AuditEntry

_PER_PAGE = 100
_DONE = {
    "session.opened": "signed in",
    "operator.created": "added an operator",
    "operator.changed": "changed an operator",
    "operator.deleted": "deleted an operator",
    "operator.invited": "made an invitation",
    "operator.linked": "was linked to the provider",
    "operator.password_changed": "changed their password",
    "key.created": "created an API key",
    "key.revoked": "revoked an API key",
    "chatbot.created": "created a chatbot",
    "chatbot.changed": "changed a chatbot",
    "chatbot.deleted": "deleted a chatbot",
    "conversation.taken_over": "took over a conversation",
    "conversation.released": "released a conversation",
    "conversation.deleted": "deleted a conversation",
    "document.deleted": "deleted a document",
    "site.deleted": "deleted a site",
    "fixed_answer.deleted": "deleted a fixed answer",
    "user.deleted": "erased an end user",
}


class Row(msgspec.Struct, frozen=True):
    """An entry in words. `actor`: a handle, the end of a key's id, or this server's machine."""

    entry: AuditEntry
    actor_kind: str
    actor: str
    done: str
    target: str
    detail: str


async def show(request: PageRequest[None], context: PageContext) -> Response:
    services, before = context.services, cursors.load(request.query.get("after"))
    found = await services.operators.audit(request.principal, before=before, limit=_PER_PAGE + 1)
    chatbots = await services.chatbots.list(request.principal, after=None, limit=_PER_PAGE)
    names = {chatbot.id: chatbot.name for chatbot in chatbots}
    older = ""
    if len(found) > _PER_PAGE:
        last = found[_PER_PAGE - 1]
        older = f"{request.root}/audit?" + urlencode({"after": cursors.dump(last.at, last.id)})
    rows = [_row(entry, names) for entry in found[:_PER_PAGE]]
    return await context.page(request, "audit.html", rows=rows, older=older, days=AUDIT_KEPT_US // 86_400_000_000)


def _row(entry: AuditEntry, names: dict[str, str]) -> Row:
    kind, _, actor = entry.actor.partition(":")
    target_kind, _, target = entry.target.partition(":")
    is_self = entry.target == entry.actor
    detail = entry.detail or {}
    shown = names.get(target) or str(detail.get("name", "")) or target if target_kind == "chatbot" else target
    if target_kind in ("conversation", "user"):  # of a chatbot, whose id stands before its own
        shown = target.partition(" ")[2]
    return Row(
        entry=entry,
        actor_kind={"local": "this machine", "key": "API key"}.get(kind, kind),
        actor=actor,
        done=_DONE.get(entry.action, entry.action.replace(".", " ").replace("_", " ")),
        target="" if is_self else shown,
        detail=_in_words({name: value for name, value in detail.items() if name != "name"}),
    )


def _in_words(detail: dict[str, object]) -> str:
    return "; ".join(f"{name}: {_value(value)}" for name, value in detail.items())


def _value(value: object) -> str:
    if isinstance(value, list):
        return " → ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{name} as {role}" for name, role in value.items()) or "none"
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)
