"""Several nodes on one PostgreSQL: whichever of them is asked, a conversation is one."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from gigachat_server.access import keys
from gigachat_server.access.operators import Draft, LastOwner
from gigachat_server.access.principal import local_operator
from gigachat_server.models.base import ModelInput
from gigachat_server.models.fake import Pause, ScriptedModel, Step
from tests.harness import Api, gigachat, until
from tests.operators import add_operator, session_of
from tests.streams import Stream, prompt, streaming
from tests.turns import ask, asking_held, assert_at_rest, contents, history, queueing, rows, state, told, until_settled

pytestmark = pytest.mark.postgres_only

EVENTS = "/conversations/c1/events"


@asynccontextmanager
async def nodes(folder: Path, *models: ScriptedModel, **settings: Any) -> AsyncIterator[list[Api]]:
    """A node for each model; all take the first one's key."""
    async with AsyncExitStack() as stack:
        found = [await stack.enter_async_context(gigachat(folder, model=model, **settings)) for model in models]
        for node in found:
            node.key = found[0].key
        yield found


def held(pause: Pause) -> ScriptedModel:
    return ScriptedModel(["half", pause, " never"])


async def test_prompts_at_two_nodes_are_answered_one_after_the_other(tmp_path: Path) -> None:
    pause = Pause()
    models = ScriptedModel(["one ", pause, "more"], ["two"]), ScriptedModel(["two"])
    async with nodes(tmp_path, *models) as (a, b):
        chatbot = await a.chatbot()
        first = await asking_held(a, chatbot, pause, "first")
        (second,) = await queueing(b, chatbot, "second")
        pause.resume()
        assert contents(await first) == ["one more"]
        assert contents(await second) == ["two"]
        calls = [call for model in models for call in model.calls]
        assert len(calls) == 2 and told(calls[-1])[:2] == ["first", "one more"]
        assert await history(b, chatbot) == [
            ("first", "completed", "done"),
            ("second", "completed", "done"),
            ("one more", "completed", "assistant"),
            ("two", "completed", "assistant"),
        ]
        await assert_at_rest(a, chatbot)


async def test_a_node_that_arrives_leaves_alone_what_another_one_answers(tmp_path: Path) -> None:
    pause = Pause()
    other = ScriptedModel(["of the other node"])
    async with nodes(tmp_path, ScriptedModel(["one ", pause, "more"])) as (a,):
        chatbot = await a.chatbot()
        first = await asking_held(a, chatbot, pause, "Hello")
        async with nodes(tmp_path, other, other):
            pause.resume()
            assert contents(await first) == ["one more"]
        assert not other.calls
        assert await history(a, chatbot) == [("Hello", "completed", "done"), ("one more", "completed", "assistant")]


async def test_a_key_is_one_turn_on_all_nodes(tmp_path: Path) -> None:
    pause = Pause()
    model, other = ScriptedModel(["one ", pause, "more"]), ScriptedModel(["Hi."])
    async with nodes(tmp_path, model, other) as (a, b):
        chatbot = await a.chatbot()
        first = await asking_held(a, chatbot, pause, "hello", idempotency_key="k")
        again = asyncio.create_task(ask(b, chatbot, "hello", idempotency_key="k"))
        async with streaming(b, f"{chatbot}{EVENTS}") as stream:
            await stream.read_to(1)
        pause.resume()
        assert (await first).text == (await again).text == (await ask(b, chatbot, "hello", idempotency_key="k")).text
        assert (await ask(b, chatbot, "other", idempotency_key="k")).status == 422
        assert len(model.calls) == 1 and not other.calls


async def test_a_prompt_sent_twice_to_two_nodes_at_one_moment_is_one_turn(tmp_path: Path) -> None:
    models = ScriptedModel(["Hi."]), ScriptedModel(["Hi."])
    async with nodes(tmp_path, *models) as found:
        chatbot = await found[0].chatbot()
        for number in range(10):
            key = f"k{number}"
            one, other = await asyncio.gather(*(ask(node, chatbot, "Hello", idempotency_key=key) for node in found))
            assert contents(one) == ["Hi."]
            assert one.text == other.text
        assert sum(len(model.calls) for model in models) == 10
        await assert_at_rest(found[0], chatbot)


async def test_two_nodes_that_find_an_abandoned_prompt_answer_it_once(tmp_path: Path) -> None:
    frozen = [Pause() for _ in range(5)]
    waiting = iter(frozen)
    models = [ScriptedModel(lambda _: [next(waiting), "late"]), *(ScriptedModel(["after all"]) for _ in range(2))]
    async with nodes(tmp_path, *models) as (a, b, c):
        chatbot = await a.chatbot()
        asked = [await asking_held(a, chatbot, pause, "Hello", conversation=f"c{i}") for i, pause in enumerate(frozen)]
        over_us = max(lease for (lease,) in await rows(a, "SELECT lease_until FROM conversations")) + 1
        for node in (b, c):
            node.services.lifecycle._clock = lambda: over_us
        await asyncio.gather(b.services.lifecycle.recover(), c.services.lifecycle.recover())
        for pause in frozen:
            pause.resume()
        assert [contents(await each) for each in asked] == [["after all"]] * len(frozen)
        assert sum(len(model.calls) for model in models[1:]) == len(frozen)
        recovered = await rows(a, "SELECT count(*) FROM events WHERE type = 'turn.recovered'")
        assert recovered == [(len(frozen),)]


@pytest.mark.parametrize("said", [[], ["\n "]], ids=["nothing", "white space"])
async def test_a_node_that_stops_before_the_first_word_leaves_the_prompt_to_another(tmp_path: Path, said: list[Step]) -> None:
    pause = Pause()
    async with nodes(tmp_path, ScriptedModel([*said, pause, " never"]), ScriptedModel(["after all"])) as (a, b):
        chatbot = await a.chatbot()
        first = await asking_held(a, chatbot, pause, "Hello")
        await a.services.turns.drain(0)
        assert (await first).code == "shutting_down"
        await until_settled(b, chatbot)
        assert await history(b, chatbot) == [("Hello", "completed", "done"), ("after all", "completed", "assistant")]


async def test_a_node_that_stops_leaves_a_reviewed_reply_to_another_of_which_nothing_was_shown(tmp_path: Path) -> None:
    pause = Pause()
    async with nodes(tmp_path, ScriptedModel(["one ", pause, "never"]), ScriptedModel(["after all"])) as (a, b):
        chatbot = await a.chatbot(interception={"review": "all"})
        first = await asking_held(a, chatbot, pause, "Hello")
        await a.services.turns.drain(0)
        assert (await first).code == "shutting_down"
        await until_settled(b, chatbot)
        assert await rows(b, "SELECT content, state FROM proposals") == [("after all", "open")]


async def test_a_node_that_stops_keeps_what_was_said_while_its_turn_was_frozen(tmp_path: Path) -> None:
    """Who waits at that node is shown it, so no other node says something else."""
    pause, second = Pause(), Pause()
    async with nodes(tmp_path, ScriptedModel([pause, "one ", second, "never"]), ScriptedModel(["anew"])) as (a, b):
        chatbot = await a.chatbot()
        first = await asking_held(a, chatbot, pause, "Hello")
        with a.services.turns._live.frozen(chatbot.removeprefix("/chatbots/"), "c1"):
            pause.resume()
            await second.reached.wait()
            await a.services.turns.drain(0)
        assert (await first).code == "shutting_down"
        assert await history(b, chatbot) == [("Hello", "completed", "failed"), ("one ", "incomplete", "assistant")]


async def test_a_takeover_at_another_node_ends_what_is_being_said(tmp_path: Path) -> None:
    pause = Pause()
    async with nodes(tmp_path, held(pause), ScriptedModel(["Hi."])) as (a, b):
        chatbot = await a.chatbot()
        async with streaming(a, f"{chatbot}/conversations", prompt()) as caller, streaming(a, f"{chatbot}{EVENTS}") as follower:
            await caller.read_until(lambda e: caller.texts() == "half")
            taken = await b.post(f"{chatbot}/conversations/c1/takeover", {"operator": "eve"})
            assert taken.status == 200, taken.text
            assert [m["content"] for m in await b.messages(chatbot)] == ["Hello", "half"], "what was shown is stored before"
            pause.resume()
            await caller.read_all()
            assert caller.texts() == "half"
            assert [e.data["content"] for e in caller.seen if e.name == "message"] == ["half"]
            await follower.read_until(lambda e: e.name == "conversation.taken_over")
        assert [m["status"] for m in await a.messages(chatbot)] == ["completed", "stopped"]
        assert (await ask(a, chatbot, "anyone?")).body[-1]["turn"] == "intercepted"


@pytest.mark.parametrize("how", ["stop", "interrupt", "inject"])
async def test_a_reply_is_ended_from_another_node(tmp_path: Path, how: str) -> None:
    pause = Pause()
    async with nodes(tmp_path, held(pause), ScriptedModel(["anew"])) as (a, b):
        chatbot = await a.chatbot(response={"overlap": "interrupt"}, interception={"mode": "takeover"})
        first = await asking_held(a, chatbot, pause, "Hello")
        async with streaming(a, f"{chatbot}{EVENTS}") as follower:
            await follower.read_until(lambda e: follower.texts() == "half")
            if how == "stop":
                assert contents(await b.post(f"{chatbot}/conversations/c1/stop")) == ["half"]
            elif how == "interrupt":
                assert contents(await ask(b, chatbot, "no, wait")) == ["anew"]
            else:
                assert contents(await ask(b, chatbot, "I take this", user="client:eve")) == ["I take this"]
            assert contents(await first) == ["half"]
            pause.resume()
        assert (await history(a, chatbot))[:2] == [
            ("Hello", "completed", {"stop": "stopped", "interrupt": "interrupted", "inject": "intercepted"}[how]),
            ("half", "stopped", "assistant"),
        ]
        await assert_at_rest(b, chatbot)


async def test_a_reply_is_followed_on_any_node(tmp_path: Path) -> None:
    pauses = [Pause(), Pause()]
    model = ScriptedModel(["Once ", pauses[0], "upon ", pauses[1], "a time"])
    async with nodes(tmp_path, model, ScriptedModel(["Hi."]), ScriptedModel(["Hi."])) as (a, b, c):
        chatbot = await a.chatbot()
        asked = await asking_held(a, chatbot, pauses[0], "Hello")
        async with streaming(b, f"{chatbot}{EVENTS}") as there:
            await there.read_until(lambda e: there.texts() == "Once ")
            async with streaming(a, f"{chatbot}{EVENTS}") as here:
                await here.read_until(lambda e: here.texts() == "Once ")
                assert here.seen == there.seen
            pauses[0].resume()
            await there.read_until(lambda e: there.texts() == "Once upon ")
            async with streaming(c, f"{chatbot}{EVENTS}", after=here.seen[-1].id) as resumed:
                await resumed.read_until(lambda e: resumed.texts() == "upon ")
                pauses[1].resume()
                await asked
                assert (await resumed.read_to(2))[-1].data["message"]["content"] == "Once upon a time"
            assert (await there.read_to(2))[-1].data["message"]["content"] == "Once upon a time"


async def test_who_attaches_at_another_node_hears_the_reply(tmp_path: Path) -> None:
    pause = Pause()
    async with nodes(tmp_path, ScriptedModel(["Once ", pause, "upon"]), ScriptedModel(["Hi."])) as (a, b):
        chatbot = await a.chatbot()
        first = await asking_held(a, chatbot, pause, "Hello", idempotency_key="k")
        headers = {"Authorization": f"Bearer {b.key}", "Accept": "text/event-stream", "Idempotency-Key": "k"}
        body = prompt(user="ann@example.com") | {"user_id": "ann"}
        async with b._session.post(f"{b.url}{chatbot}/conversations", json=body, headers=headers) as response:
            stream = Stream(response)
            await stream.read_until(lambda e: stream.texts() == "Once ")
            pause.resume()
            await stream.read_all()
        assert stream.texts() == "Once upon"
        assert [e.name for e in stream.seen][-2:] == ["message", "done"]
        assert contents(await first) == ["Once upon"]


async def test_what_changes_on_one_node_holds_on_all(tmp_path: Path) -> None:
    async with nodes(tmp_path, ScriptedModel(["Hi."]), ScriptedModel(["Hi."])) as (a, b):
        chatbot = await a.chatbot()
        await b.say(chatbot, "Hello")
        await a.push(chatbot, "faq", "Parcels are sent on Mondays.")
        await b.say(chatbot, "When are parcels sent?")
        model: Any = b.services.model
        assert model.calls[-1].passages, "what was pushed there is found here at once"
        assert (await a.call("PATCH", chatbot, {"response": {"overlap": "reject"}})).status == 200
        assert (await b.get(chatbot)).body["response"]["overlap"] == "reject"
        _, keeper = await a.services.key_ring.create(a.services.account.id, "keeper", scopes=keys.SCOPES)
        made = (await a.post("/api-keys", {"name": "short-lived"}, key=keeper)).body
        secret = made["key"]
        assert (await b.get("/chatbots", key=secret)).status == 200
        assert (await a.call("DELETE", f"/api-keys/{made['id']}", key=keeper)).status == 204

        async def is_refused() -> bool:
            return (await b.get("/chatbots", key=secret)).status == 401

        await until(is_refused)


async def test_who_signs_in_at_one_node_is_signed_in_at_all_and_shut_out_of_all(tmp_path: Path) -> None:
    """So a proxy may send each request of a browser to another node."""
    async with nodes(tmp_path, ScriptedModel(["Hi."]), ScriptedModel(["Hi."])) as (a, b):
        made = await add_operator(a.services, "ann", "admin")
        cookie = f"gigachat_session={await session_of(a.services, made)}"
        token = await a.services.sessions.mint_login_token()
        for node in (a, b, a, b):
            page = await node.get("/profile", headers={"Cookie": cookie})
            assert (page.status, "Ann" in page.text) == (200, True)
        csrf = re.findall(r'name="csrf" value="([\w-]+)"', page.text)[0]
        form = {"Cookie": cookie, "Sec-Fetch-Site": "same-origin", "Content-Type": "application/x-www-form-urlencoded"}
        made_at_b = await b.post("/keys", raw=f"csrf={csrf}&name=mine".encode(), headers=form)
        assert made_at_b.status == 201, "a form of one node's page is the other's as well"
        redeemed = [await node.services.sessions.redeem(token, peer=None) for node in (b, a)]
        assert [each is not None for each in redeemed] == [True, False]
        await a.services.operators.change(local_operator(made.account_id), made.id, _disabled)

        async def is_shut_out() -> bool:
            return (await b.get("/profile", headers={"Cookie": cookie})).status == 303

        await until(is_shut_out)


async def test_two_nodes_that_remove_the_last_owners_leave_one(tmp_path: Path) -> None:
    async with nodes(tmp_path, ScriptedModel(["Hi."]), ScriptedModel(["Hi."])) as (a, b):
        local = local_operator(a.services.account.id)
        owners = [await add_operator(a.services, name, "owner") for name in ("ann", "bob")]
        for _ in range(10):
            acts = (
                a.services.operators.change(local, owners[0].id, _disabled),
                b.services.operators.change(local, owners[1].id, _disabled),
            )
            outcomes = await asyncio.gather(*acts, return_exceptions=True)
            assert [type(each) for each in outcomes].count(LastOwner) == 1
            for owner in owners:
                await a.services.operators.change(local, owner.id, _enabled)


def _disabled(draft: Draft) -> Draft:
    return msgspec.structs.replace(draft, is_disabled=True)


def _enabled(draft: Draft) -> Draft:
    return msgspec.structs.replace(draft, is_disabled=False)


async def test_deleting_at_another_node_ends_what_is_being_said(tmp_path: Path) -> None:
    for path in ("/conversations/c1", ""):
        pause = Pause()
        async with nodes(tmp_path, held(pause), ScriptedModel(["Hi."])) as (a, b):
            chatbot = await a.chatbot()
            asked = await asking_held(a, chatbot, pause, "Hello")
            async with streaming(a, f"{chatbot}{EVENTS}") as follower:
                await follower.read_until(lambda e: follower.texts() == "half")
                assert (await b.call("DELETE", chatbot + path)).status == 204
                assert (await asked).status == 404
                assert (await follower.read_all())[-1].data["code"] == "not_found"
            pause.resume()


async def test_of_many_takeovers_none_is_followed_by_a_word(tmp_path: Path) -> None:
    random = Random(4)

    def script(model_input: ModelInput) -> list[Step]:
        return [f"{word} " for word in range(50)]

    async with nodes(tmp_path, ScriptedModel(script), ScriptedModel(script)) as (a, b):
        chatbot = await a.chatbot()

        async def race(number: int) -> None:
            caller, operator = random.sample((a, b), 2)
            conversation = f"c{number}"
            async with streaming(caller, f"{chatbot}/conversations", prompt(conversation=conversation)) as stream:
                reading = asyncio.create_task(stream.read_all())
                await asyncio.sleep(random.random() * 0.05)
                path = f"{chatbot}/conversations/{conversation}"
                taken = await operator.post(f"{path}/takeover", {"operator": "eve"})
                assert taken.status == 200
                at_takeover = [m["content"] for m in await operator.messages(chatbot, conversation)]
                await reading
            said = [m for m in await operator.messages(chatbot, conversation) if m["role"] == "assistant"]
            assert [m["content"] for m in said] == [text for text in at_takeover if text != "Hello"], "nothing is stored after it"
            assert "".join(m["content"] for m in said).startswith(stream.texts()), "nothing is shown that is not stored"

        for start in range(0, 24, 4):
            await asyncio.gather(*(race(number) for number in range(start, start + 4)))


async def test_a_node_that_stood_still_shows_nothing_before_it_has_asked(tmp_path: Path) -> None:
    pause = Pause()
    async with nodes(tmp_path, held(pause), ScriptedModel(["Hi."])) as (a, b):
        chatbot = await a.chatbot()
        first = await asking_held(a, chatbot, pause, "Hello")
        async with streaming(a, f"{chatbot}{EVENTS}") as follower:
            await follower.read_until(lambda e: follower.texts() == "half")
            heartbeat: Any = a.services.nodes._heartbeat
            a.services.database.on_told(lambda topic: None)  # its messages lie in the socket of a stopped process
            heartbeat._beat_at_s -= 5
            assert not heartbeat.may_show()
            assert (await b.post(f"{chatbot}/conversations/c1/takeover", {"operator": "eve"})).status == 200
            pause.resume()
            assert contents(await first) == ["half"]
            await follower.read_until(lambda e: e.name == "conversation.taken_over")
            assert follower.texts() == "half"


async def test_three_nodes_that_start_at_once_migrate_once(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        started = [asyncio.create_task(stack.enter_async_context(gigachat(tmp_path))) for _ in range(3)]
        found = await asyncio.gather(*started)
        chatbot = await found[0].chatbot()
        found[1].key = found[0].key
        assert (await found[1].get(chatbot)).status == 200


async def test_what_a_dead_node_was_answering_is_taken_up(tmp_path: Path) -> None:
    pause = Pause()
    async with nodes(tmp_path, ScriptedModel([pause, "never"]), ScriptedModel(["after all"])) as (a, b):
        chatbot = await a.chatbot()
        first = await asking_held(a, chatbot, pause, "Hello")
        ((lease_until,),) = await rows(a, "SELECT lease_until FROM conversations")
        later: Any = b.services.lifecycle
        later._clock = lambda: lease_until + 1
        await later.recover()

        async def is_settled() -> bool:
            return (await state(b, chatbot))["answering"] is None

        await until(is_settled)
        pause.resume()
        assert contents(await first) == ["after all"], "the first node is not believed any more, and knows it"
        assert [(text, turn) for text, _, turn in await history(b, chatbot)] == [("Hello", "done"), ("after all", "assistant")]
