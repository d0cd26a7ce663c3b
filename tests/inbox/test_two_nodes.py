"""An inbox at one node shows in time what happens at another."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest

from gigachat_server.access.principal import local_operator
from gigachat_server.store.database import Row
from tests.harness import Api, gigachat
from tests.inbox.staff import employ
from tests.streams import streaming
from tests.turns import rows

pytestmark = pytest.mark.postgres_only

ROW_S, SIGN_S = 1, 2  # the longest that a row, and a sign of somebody, may take


async def _events(api: Api) -> list[Row]:
    return await rows(api, "SELECT chatbot_id, conversation_id, seq FROM events ORDER BY 1, 2, 3")


async def test_who_waits_at_one_node_is_a_row_at_the_other(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as a, gigachat(tmp_path) as b:
        chatbot = await a.chatbot()
        everywhere = local_operator(b.services.account.id)
        chatbots = await b.services.chatbots.list(everywhere, after=None, limit=10)
        async with aclosing(b.services.overview.changes(everywhere, chatbots, idle_s=60)) as changes:
            assert await anext(changes)
            async with asyncio.timeout(ROW_S):
                assert (await a.post(f"{chatbot}/conversations/c1/handoff", {"note": ""})).status == 200
                assert await anext(changes)
                listed = (await b.services.overview.rows(everywhere, chatbots, "waiting", limit=10)).listed
            assert [each.conversation.conversation_id for each in listed] == ["c1"]


async def test_who_types_at_one_node_is_seen_at_the_other_and_no_event_is_stored(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as a, gigachat(tmp_path) as b:
        b.key, chatbot = a.key, await a.chatbot()
        path = f"{chatbot}/conversations/c1"
        await a.post(f"{path}/takeover", {"operator": "eve"})
        before = await _events(a)
        async with streaming(b, f"{path}/events?typing=true") as stream:
            await stream.read_to(before[-1][2])
            async with asyncio.timeout(SIGN_S):
                assert (await a.post(f"{path}/typing", {"user_id": "client:eve"})).status == 204
                (seen,) = await stream.read_until(lambda event: event.name == "typing")
        assert seen.id is None
        assert await _events(a) == before


async def test_who_is_there_at_one_node_is_there_at_the_other_and_no_event_is_stored(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as a, gigachat(tmp_path) as b:
        eve, bob = await employ(a, "eve"), await employ(a, "bob")
        before = await _events(a)
        async with aclosing(b.services.presence.attend(lambda: eve)) as told:
            first = await anext(told)
            assert [(each.operator, each.is_available) for each in first] == [("bob", False), ("eve", True)]
            for act, is_there in ((a.services.presence.seen(bob), True), (a.services.presence.choose(bob, "away"), False)):
                async with asyncio.timeout(SIGN_S):
                    await act
                    bobs, _ = await anext(told)
                assert bobs.is_available is is_there
        assert await _events(a) == before
