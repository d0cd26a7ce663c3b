"""The lists of the inbox over several chatbots: what they show is what a look at every conversation says."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gigachat_server.access.operators import principal_of
from gigachat_server.access.principal import Principal, local_operator
from gigachat_server.errors import NotFound
from gigachat_server.inbox.message_index import MessageIndex
from gigachat_server.inbox.overview import VIEWS, Rows, View
from gigachat_server.records import Chatbot, Conversation
from gigachat_server.store import conversations
from gigachat_server.store.database import Reader
from tests.harness import Api, gigachat
from tests.inbox.clocks import SteppedClock
from tests.operators import add_operator

ME = "eve"


def _wanted(view: View, everything: list[Conversation]) -> list[str]:
    """By brute force."""
    rules: dict[View, Callable[[Conversation], bool]] = {
        "waiting": lambda each: each.status == "open" and each.waiting_since is not None,
        "mine": lambda each: each.status == "open" and ME in (each.controlled_by, each.assigned_to),
        "unassigned": lambda each: each.status == "open" and each.assigned_to is None and each.controlled_by == "bot",
        "open": lambda each: each.status == "open",
        "snoozed": lambda each: each.status == "snoozed",
        "closed": lambda each: each.status == "closed",
    }
    is_in = rules[view]
    found = [each for each in everything if is_in(each)]
    found.sort(key=lambda each: (each.chatbot_id, each.conversation_id))
    found.sort(key=lambda each: (each.waiting_since or 0) if view == "waiting" else -each.last_at)
    return [f"{each.chatbot_id}/{each.conversation_id}" for each in found]


def _shown(rows: Rows) -> list[str]:
    return [f"{each.conversation.chatbot_id}/{each.conversation.conversation_id}" for each in rows.listed]


async def _everything(api: Api, chatbots: list[Chatbot]) -> list[Conversation]:
    async def read(reader: Reader) -> list[Conversation]:
        found = []
        for each in chatbots:
            found += await conversations.list_conversations(reader, each.account_id, each.id, before=None, limit=1000)
        return found

    return await api.services.database.read(read)


async def _fill(api: Api, paths: list[str], chance: random.Random) -> None:
    acts: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "/handoff", {"note": "n"}),
        ("POST", "/takeover", {"operator": ME, "force": True}),
        ("POST", "/takeover", {"operator": "ben", "force": True}),
        ("POST", "/release", {}),
        ("PATCH", "", {"status": "closed"}),
        ("PATCH", "", {"status": "snoozed", "snoozed_until": "2027-01-01T00:00:00Z"}),
        ("PATCH", "", {"assigned_to": ME}),
        ("PATCH", "", {"assigned_to": "ben"}),
        ("PATCH", "", {"assigned_to": None}),
    ]
    for number in range(40):
        await api.say(paths[number % 2], f"Hello {number}", conversation=f"c/{number}", user=f"u{number % 7}")
    for _ in range(120):
        number = chance.randrange(40)
        method, path, body = chance.choice(acts)
        reply = await api.call(method, f"{paths[number % 2]}/conversations/c%2F{number}{path}", body or None)
        assert reply.status == 200, reply.text
        if chance.random() < 0.2:
            await api.say(paths[number % 2], "And now?", conversation=f"c/{number}", user=f"u{number % 7}")


async def _principal(api: Api, handle: str, role: str, **chatbots: str) -> Principal:
    found = principal_of(await add_operator(api.services, handle, role, chatbots=chatbots))
    assert found is not None
    return found


@pytest.mark.parametrize("seed", [1, 2])
async def test_each_view_lists_what_a_look_at_every_conversation_finds(tmp_path: Path, seed: int) -> None:
    async with gigachat(tmp_path, clock=SteppedClock()) as api:
        paths = [await api.chatbot(name="One"), await api.chatbot(name="Two")]
        await _fill(api, paths, random.Random(seed))
        chatbots = await api.services.chatbots.list(local_operator(api.services.account.id), after=None, limit=10)
        everything, eve = await _everything(api, chatbots), await _principal(api, ME, "owner")
        seen = 0
        for view in VIEWS:
            wanted = _wanted(view, everything)
            rows = await api.services.overview.rows(eve, chatbots, view, limit=100)
            assert _shown(rows) == wanted, view
            assert _shown(await api.services.overview.rows(eve, chatbots, view, limit=3)) == wanted[:3], view
            assert [f"{each.chatbot_id}/{each.conversation_id}" for each in rows.waits] == _wanted("waiting", everything)
            assert rows.mine == len(_wanted("mine", everything))
            seen += len(wanted) > 0
        assert seen == len(VIEWS), "every view has something to show"


async def test_a_member_sees_their_own_chatbots_alone_and_what_was_said_there(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        ours, theirs = await api.chatbot(name="Ours"), await api.chatbot(name="Theirs")
        for path in (ours, theirs):
            await api.say(path, "My zebra is ill", conversation="c1", user="ann")
            await api.post(f"{path}/conversations/c1/handoff", {"note": ""})
        await api.call("PATCH", f"{ours}/users/ann", {"name": "Ann Archer"})
        member = principal_of(await add_operator(api.services, "ben", chatbots={ours: "operator"}))
        assert member is not None
        everyone = await api.services.chatbots.list(local_operator(api.services.account.id), after=None, limit=10)
        mine = [each for each in everyone if each.name == "Ours"]
        rows = await api.services.overview.rows(member, mine, "waiting", limit=10)
        assert [each.name for each in rows.listed] == ["Ann Archer"]
        assert rows.listed[0].said, "the last message"
        assert len(rows.waits) == 1
        with pytest.raises(NotFound):
            await api.services.overview.rows(member, everyone, "waiting", limit=10)
        with pytest.raises(NotFound):
            await api.services.overview.thread(member, next(e for e in everyone if e not in mine), "c1", limit=10)


async def test_a_search_finds_conversations_of_every_chatbot_and_shows_what_was_said(tmp_path: Path) -> None:
    async with gigachat(tmp_path, clock=SteppedClock()) as api:
        paths = [await api.chatbot(name="One"), await api.chatbot(name="Two")]
        for number, path in enumerate(paths * 2):
            await api.say(path, "A zebra, please" if number < 3 else "A horse", conversation=f"c{number}", user="ann")
        await MessageIndex(api.services.database).index_all()
        chatbots = await api.services.chatbots.list(local_operator(api.services.account.id), after=None, limit=10)
        rows = await api.services.overview.found(await _principal(api, ME, "owner"), chatbots, "zebra", limit=10)
        assert [each.conversation.conversation_id for each in rows.listed] == ["c2", "c1", "c0"], "newest first"
        assert {each.said for each in rows.listed} == {"A zebra, please"}
        nobody = msgspec.structs.replace(await _principal(api, "viv", "member"), memberships={})
        with pytest.raises(NotFound):
            await api.services.overview.found(nobody, chatbots, "zebra", limit=10)
