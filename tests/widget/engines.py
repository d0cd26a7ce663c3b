"""What tests of the widget in a browser share: the engines, and steps of a browser beside the server's event loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from gigachat_server.models.base import ChatModel
from tests.harness import gigachat
from tests.widget.browsers import Browser, browser, missing
from tests.widget.hosts import Host, hosting
from tests.widget.visits import Visit, visiting

T = TypeVar("T")
UNLIMITED = {"user": None, "address": None, "sessions": None}  # one address is all visitors here


def engine_browser(engine: str, *, is_emulating: bool = False) -> Iterator[Browser]:
    if (why := missing(engine)) and os.environ.get("REQUIRE_ALL") != "1":
        pytest.skip(why)
    with browser(engine, is_emulating=is_emulating) as opened:
        yield opened


async def in_browser(step: Callable[[], T]) -> T:
    """The server shares this event loop, so the browser waits in a thread."""
    return await asyncio.to_thread(step)


@asynccontextmanager
async def chatting(folder: Path, *, model: ChatModel | None = None, **chatbot: Any) -> AsyncIterator[tuple[Visit, Host]]:
    """A server, a chatbot whose key lists `localhost`, and a site there that shows it."""
    async with (
        gigachat(folder, model=model) as api,
        visiting(api, hostnames=("localhost",), limits=UNLIMITED, **chatbot) as visit,
        hosting(visit) as host,
    ):
        yield visit, host


async def stored(visit: Visit) -> list[dict[str, Any]]:
    """All messages of all conversations, oldest first in each."""
    listed = (await visit.api.get(f"{visit.path}/conversations", key=visit.keeper)).body
    found = [await visit.api.messages(visit.path, each["conversation_id"]) for each in listed]
    return [message for messages in found for message in messages]
