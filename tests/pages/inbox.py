"""People at the inbox: visitors who are signed in as operators, and what the stream of a page tells them."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from urllib.parse import quote

import aiohttp

from tests.operators import add_operator, session_of
from tests.pages.pages import Change, Pages, Visitor

_PATIENCE_S = 20


async def operator(site: Pages, handle: str, role: str = "owner", *, chatbots: Mapping[str, str] | None = None) -> Visitor:
    """Somebody with a browser, signed in as that operator."""
    made = await add_operator(site.api.services, handle, role, chatbots=chatbots)
    visitor = Visitor(site.visitor.url, site.visitor.session)
    visitor.cookie = await session_of(site.api.services, made)
    visitor.csrf = re.findall(r'name="csrf" value="([\w-]+)"', (await visitor.get("/profile")).text)[0]
    return visitor


def path(chatbot: str, conversation: str = "c1") -> str:
    return f"/inbox/{chatbot.rpartition('/')[2]}/{quote(conversation, safe='')}"


async def wait_for_a_human(site: Pages, chatbot: str, conversation: str = "c1", user: str = "ann", note: str = "") -> None:
    await site.api.say(chatbot, "Hello", conversation=conversation, user=user)
    reply = await site.api.post(f"{chatbot}/conversations/{quote(conversation, safe='')}/handoff", {"note": note})
    assert reply.status == 200, reply.text


class Stream:
    """What the stream of one page has told so far."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.found: list[Change] = []
        self._answer = answer
        self._held = ""

    async def until(self, condition: Callable[[list[Change]], bool]) -> list[Change]:
        pieces = self._answer.content.iter_any()
        while not condition(self.found):
            piece = await asyncio.wait_for(anext(pieces), _PATIENCE_S)
            *blocks, self._held = (self._held + piece.decode()).split("\n\n")
            for block in blocks:
                fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
                if fields:
                    self.found.append(Change(fields.get("id", ""), fields["event"], json.loads(fields["data"])))
        return self.found

    def raw(self) -> AsyncIterator[bytes]:
        return self._answer.content.iter_any()

    def named(self, name: str) -> list[Change]:
        return [each for each in self.found if each.name == name]


@asynccontextmanager
async def following(visitor: Visitor, query: str = "", *, place: str = "") -> AsyncIterator[Stream]:
    headers = {"Cookie": f"gigachat_session={visitor.cookie}"}
    if place:
        headers["Last-Event-ID"] = place
    async with visitor.session.get(f"{visitor.url}/web/inbox/events?{query}", headers=headers) as answer:
        assert (answer.status, answer.content_type) == (200, "text/event-stream"), await answer.text()
        yield Stream(answer)
