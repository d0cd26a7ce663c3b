"""The page of model endpoints: what is configured, what was learnt of it, and a small prompt to try it with.

Invariant: looking costs nothing; only the account's owner has models asked, since that may cost money.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
from starlette.responses import Response

from gigachat_server.errors import STORED
from gigachat_server.pages.context import PageContext
from gigachat_server.pages.request import PageRequest

if TYPE_CHECKING:
    from gigachat_server.models.endpoints.chat_completions import OpenAIModel
    from gigachat_server.models.endpoints.probe import Probe

_PATIENCE_S = 60.0
_RESTRICTED = "You signed in with a restricted key. Sign in with a login link, or an unrestricted key, to try models."


class Row(msgspec.Struct, frozen=True):
    """An endpoint as the page shows it. `said`: what came of the prompt."""

    name: str
    model: str
    refused: str
    context_tokens: int
    first_token_s: float
    idle_s: float
    total_s: float
    said: str = ""
    is_fine: bool = True


async def show(request: PageRequest[None], context: PageContext) -> Response:
    request.principal.require_owner(_RESTRICTED)
    rows = [_row(name, model) for name, model in _endpoints(context).items()]
    return await context.page(request, "models.html", rows=rows, is_tried=False)


async def test(request: PageRequest[None], context: PageContext) -> Response:
    """Asks them all at once."""
    request.principal.require_owner(_RESTRICTED)
    from gigachat_server.models.endpoints.probe import probe

    endpoints = {name: model for name, model in _endpoints(context).items() if model.name}
    found = await asyncio.gather(*(probe(model, patience_s=_PATIENCE_S) for model in endpoints.values()))
    rows = [_row(name, model, each) for (name, model), each in zip(endpoints.items(), found, strict=True)]
    return await context.page(request, "models.html", rows=rows, is_tried=True)


def _endpoints(context: PageContext) -> dict[str, OpenAIModel]:
    """None where the built-in model answers. The HTTP client is imported by whoever calls an endpoint, and not by a page."""
    model = context.services.model
    others: dict[str, OpenAIModel] = getattr(model, "others", {})
    default: OpenAIModel | None = getattr(model, "default", None)
    named = {"GIGACHAT_MODEL_URL": default} if default is not None and default not in others.values() else {}
    return {**named, **others}


def _row(name: str, model: OpenAIModel, found: Probe | None = None) -> Row:
    known = model.knowledge()
    said = ""
    if found is not None:
        said = str(found).partition(": ")[2] if found.error is None else str(found.error).replace(STORED, "").strip()
    return Row(
        name,
        model.name,
        str(known.adjustment),
        known.context_tokens,
        model.timeouts.first_token_s,
        model.timeouts.idle_s,
        model.timeouts.total_s,
        said,
        found is None or found.error is None,
    )
