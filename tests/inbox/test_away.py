"""What end users are told of a handoff while no human is there, and what becomes of operators who fall silent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gigachat_server.errors import Forbidden
from gigachat_server.language import phrases
from gigachat_server.models.base import HandoffRequest
from gigachat_server.models.fake import ScriptedModel
from gigachat_server.records import InterceptionConfig
from tests.harness import Api, gigachat
from tests.inbox.clocks import SteppedClock
from tests.inbox.staff import disable, employ

THERE, AWAY = InterceptionConfig().handoff_message, InterceptionConfig().away_message
CLOSED = {"hours": {"timezone": "Europe/Berlin"}}


async def handed_off(api: Api, chatbot: str, conversation: str = "c1") -> str:
    """What the end user is told when a human is asked for."""
    reply = await api.post(f"{chatbot}/conversations/{conversation}/handoff")
    assert reply.status == 200, reply.text
    return str((await api.messages(chatbot, conversation))[-1]["content"])


async def test_without_operators_and_hours_a_human_is_there(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        assert await handed_off(api, await api.chatbot()) == THERE


async def test_outside_the_hours_nobody_is_there(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        closed = await api.chatbot(interception=CLOSED)
        await api.say(closed, "Hello")
        assert await handed_off(api, closed) == AWAY
        (asked,) = await api.say(closed, "I want to talk to a human", conversation="c2")
        assert asked["content"] == AWAY
        (german,) = await api.say(closed, "Ich möchte mit einem Menschen sprechen", conversation="c3")
        assert german["content"] == phrases.away("de")
        await api.say(closed, "Können Sie mir bitte sagen, wann meine Lieferung ankommt?", conversation="c4")
        assert await handed_off(api, closed, "c4") == phrases.away("de")
        own = await api.chatbot(interception=CLOSED | {"away_message": "Back on Monday."})
        await api.say(own, "Können Sie mir bitte sagen, wann meine Lieferung ankommt?")
        assert await handed_off(api, own) == "Back on Monday."
        assert (await api.get(f"{own}/conversations/c1")).body["waiting_since"] is not None, "it waits all the same"


async def test_a_model_that_hands_off_tells_what_holds(tmp_path: Path) -> None:
    model = ScriptedModel(["Let me see.", HandoffRequest("other", "x")])
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot(interception={"handoff": True} | CLOSED)
        (reply,) = await api.say(chatbot, "My parcel is broken")
        assert reply["content"] == f"Let me see.\n\n{AWAY}"


async def test_an_answer_of_the_chatbot_has_no_away_message_beside_it(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot(interception=CLOSED)
        await employ(api, "eve")
        (reply,) = await api.say(chatbot, "Hello")
        assert reply["content"] == "Hi."
        await handed_off(api, chatbot)
        (reply,) = await api.say(chatbot, "And where is my parcel?")
        assert reply["content"] == "Hi."
        assert [each["content"] for each in await api.messages(chatbot)].count(AWAY) == 1


async def test_operators_who_may_answer_are_counted_and_no_others(tmp_path: Path) -> None:
    clock = SteppedClock()
    async with gigachat(tmp_path, clock=clock) as api:
        chatbot, other = await api.chatbot(), await api.chatbot()
        seen, number = api.services.presence.seen, iter(range(100))

        async def told() -> str:
            return await handed_off(api, chatbot, f"c{next(number)}")

        await employ(api, "viewer", role="member", of={chatbot: "viewer"})
        await employ(api, "elsewhere", role="member", of={other: "operator"})
        await employ(api, "later", role="of a later version")
        assert await told() == THERE, "who may not answer here keeps nobody away"
        eve = await employ(api, "eve", role="member", of={chatbot: "operator", other: "viewer"})
        assert await told() == AWAY
        await seen(eve)
        assert await told() == THERE
        clock.step(seconds=44)
        assert await told() == THERE
        clock.step(seconds=2)
        assert await told() == AWAY, "not seen for 45 s"
        await api.services.presence.choose(eve, "away")
        assert await told() == AWAY
        await seen(eve)
        assert await told() == AWAY, "a page that is open is no choice"
        await api.services.presence.choose(eve, "available")
        assert await told() == THERE
        owner = await employ(api, "owner", role="owner")
        await disable(api, eve)
        assert await told() == AWAY
        await seen(owner)
        assert await told() == THERE


async def test_colleagues_see_who_is_there(tmp_path: Path) -> None:
    clock = SteppedClock()
    async with gigachat(tmp_path, clock=clock) as api:
        eve, bob = await employ(api, "eve"), await employ(api, "bob")
        with api.services.presence.woken(eve) as woken:
            await api.services.presence.seen(bob)
            assert woken.is_set()
            woken.clear()
            await api.services.presence.seen(bob)
            assert not woken.is_set(), "nothing has changed"
            chosen = await api.services.presence.choose(bob, "away")
            assert woken.is_set()
        assert (chosen.operator, chosen.status, chosen.is_available) == ("bob", "away", False)
        await api.services.presence.choose(eve, "available")

        async def listed() -> list[tuple[Any, ...]]:
            found = (await api.get("/presence")).body["operators"]
            return [(each["operator"], each["name"], each["status"], each["available"]) for each in found]

        assert await listed() == [("bob", "Bob", "away", False), ("eve", "Eve", "available", True)]
        clock.step(seconds=46)
        assert (await listed())[1] == ("eve", "Eve", "available", False)
        assert (await api.call("PUT", "/presence", {"status": "available"})).status == 403, "a key is nobody"
        assert (await api.call("PUT", "/presence", {"status": "asleep"})).status == 422
        with pytest.raises(Forbidden):
            await api.services.presence.choose(eve.__class__(kind=eve.kind, account_id="x", id="y", scopes=frozenset()), "away")


@pytest.mark.parametrize("what", ["chatbot", "queue"])
@pytest.mark.parametrize("how", ["loop", "prompt"])
async def test_what_follows_an_operator_who_falls_silent(tmp_path: Path, what: str, how: str) -> None:
    clock = SteppedClock()
    async with gigachat(tmp_path, clock=clock) as api:
        silent = {"release_after_minutes": 5, "when_operator_silent": what}
        chatbot = await api.chatbot(interception=silent)
        await api.say(chatbot, "Hello")
        await api.post(f"{chatbot}/conversations/c1/takeover", {"operator": "eve"})
        await api.say(chatbot, "Are you there?")
        since = (await api.get(f"{chatbot}/conversations/c1")).body["waiting_since"]
        clock.step(minutes=6)
        if how == "loop":
            await api.services.control.release_due()
        else:
            (reply,) = await api.say(chatbot, "Hello?")
            assert reply["content"] == "Hi."
        now = (await api.get(f"{chatbot}/conversations/c1")).body
        events = (await api.get(f"{chatbot}/conversations/c1/events?limit=100")).body
        reasons = [each["data"]["reason"] for each in events if each["type"] == "handoff.requested"]
        said = [each["content"] for each in await api.messages(chatbot)]
        assert now["controlled_by"] == "bot"
        if what == "queue":
            assert (reasons, now["waiting_since"]) == (["silence"], since), "and keeps its place in the line"
            assert said.count(THERE) == 1
            await api.services.control.release_due()
            assert [each["content"] for each in await api.messages(chatbot)] == said
        else:
            assert (reasons, now["waiting_since"], now["handoff_requested_at"]) == ([], None, None)
            assert THERE not in said
