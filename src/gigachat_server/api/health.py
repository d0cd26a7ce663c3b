"""Is this process alive, and may it be sent requests."""

from __future__ import annotations

import msgspec

from gigachat_server import __version__
from gigachat_server.edge.answer import Answer
from gigachat_server.edge.request import Request
from gigachat_server.errors import ShuttingDown
from gigachat_server.services import Services
from gigachat_server.store.database import Durability


class Health(msgspec.Struct, frozen=True):
    status: str
    version: str = __version__


class Readiness(Health, frozen=True):
    durability: Durability = "local"


async def live(request: Request[None], services: Services) -> Answer:
    return Answer(Health("alive"))


async def ready(request: Request[None], services: Services) -> Answer:
    """Whether the store can write; raises the 503 that says why not."""
    if services.is_shutting_down:
        raise ShuttingDown(retry_after_s=5)

    await services.database.prove_writable()
    return Answer(Readiness("ready", durability=await services.database.durability()))
