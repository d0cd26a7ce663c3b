"""Replies that operators look at before end users do: reviewed ones, and suggestions beside an operator in control."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from gigachat_server import triggers
from gigachat_server.errors import ModelUnreachable
from gigachat_server.models.base import HandoffRequest, ModelInput
from gigachat_server.models.fake import Pause, ScriptedModel, Step
from gigachat_server.store.database import Tx
from tests.harness import Api, Reply, gigachat, until
from tests.inbox.clocks import SteppedClock
from tests.turns import answering

REVIEWED = {"interception": {"review": "all"}}
SUGGESTED = {"interception": {"suggest": True}}
SECRET = "Proposed-words"


async def _proposals(api: Api, chatbot: str) -> list[dict[str, Any]]:
    reply = await api.get(f"{chatbot}/conversations/c1/proposals?limit=100")
    assert reply.status == 200, reply.text
    found: list[dict[str, Any]] = reply.body
    return found


async def _open(api: Api, chatbot: str) -> dict[str, Any]:
    """The proposal that is open, once there is one."""

    async def is_there() -> bool:
        return any(each["state"] == "open" for each in await _proposals(api, chatbot))

    await until(is_there)
    return next(each for each in await _proposals(api, chatbot) if each["state"] == "open")


async def _decide(api: Api, chatbot: str, proposal: dict[str, Any], how: str, **body: Any) -> Reply:
    headers = body.pop("headers", None)
    return await api.post(f"{chatbot}/conversations/c1/proposals/{proposal['id']}/{how}", body or None, headers=headers)


async def _prompt(api: Api, chatbot: str) -> dict[str, Any]:
    return next(each for each in reversed(await api.messages(chatbot)) if each["role"] == "user")


async def test_a_reviewed_reply_is_shown_to_no_end_user_before_it_is_sent(tmp_path: Path) -> None:
    pause = Pause()
    model = ScriptedModel([SECRET, pause, " and more"])
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot(**REVIEWED)
        body = {"conversation_id": "c1", "user_id": "ann", "prompt": "Hello", "stream": True}
        streaming = asyncio.create_task(api.post(f"{chatbot}/conversations", body))
        await pause.reached.wait()
        pause.resume()
        streamed = await streaming
        assert SECRET not in streamed.text
        assert next(name for name, _ in streamed.events if name != "ping") == "start"
        (only,) = await api.messages(chatbot)
        assert (only["role"], only["turn"]) == ("user", "proposed")
        proposal = await _open(api, chatbot)
        assert proposal["content"] == f"{SECRET} and more"
        for path in ("messages", "events"):
            assert SECRET not in (await api.get(f"{chatbot}/conversations/c1/{path}?limit=100")).text
        said = await _decide(api, chatbot, proposal, "send", operator="eve")
        assert said.status == 201, said.text
        assert (said.body["role"], said.body["content"]) == ("assistant", f"{SECRET} and more")
        assert said.body["metadata"]["reviewed_by"] == "eve"
        assert said.body["metadata"]["is_edited"] is False
        prompt, reply = await api.messages(chatbot)
        assert (prompt["turn"], reply["in_reply_to"]) == ("done", prompt["id"])
        assert (await _decide(api, chatbot, proposal, "send", operator="bob")).code == "proposal_decided"
        assert (await _decide(api, chatbot, proposal, "discard", operator="bob")).code == "proposal_decided"


async def test_whoever_waits_for_a_reviewed_reply_gets_the_prompt(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot(**REVIEWED)
        (answered,) = await api.say(chatbot, "Hello")
        assert (answered["role"], answered["turn"]) == ("user", "proposed")
        body = {"conversation_id": "c1", "user_id": "ann", "prompt": "Twice"}
        replies = [(await api.post(f"{chatbot}/conversations", body, headers={"Idempotency-Key": "k"})) for _ in range(2)]
        assert replies[0].body == replies[1].body
        assert len(await _proposals(api, chatbot)) == 2


async def test_an_edited_reply_says_so_and_cites_what_it_says(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot(**REVIEWED)
        await api.say(chatbot, "Hello")
        proposal = await _open(api, chatbot)
        assert (await _decide(api, chatbot, proposal, "send", content=" \u200b")).status == 422
        said = await _decide(
            api, chatbot, proposal, "send", content="Good day.", operator="eve", headers={"Idempotency-Key": "k"}
        )
        again = await _decide(
            api, chatbot, proposal, "send", content="Good day.", operator="eve", headers={"Idempotency-Key": "k"}
        )
        assert said.body == again.body
        assert (said.body["content"], said.body["metadata"]["is_edited"]) == ("Good day.", True)
        (decided,) = await _proposals(api, chatbot)
        assert (decided["state"], decided["decided_by"], decided["message_id"]) == ("edited", "eve", said.body["id"])
        assert decided["content"] == "Hi.", "what the chatbot proposed stays readable"


async def test_a_newer_prompt_puts_a_proposal_out_of_date(tmp_path: Path) -> None:
    async with gigachat(tmp_path, model=answering({})) as api:
        chatbot = await api.chatbot(**REVIEWED)
        await api.say(chatbot, "First")
        first = await _open(api, chatbot)
        await api.say(chatbot, "Second")
        assert (await _decide(api, chatbot, first, "send")).code == "proposal_decided"
        assert [(each["state"], each["content"]) for each in await _proposals(api, chatbot)] == [
            ("superseded", "re: First"),
            ("open", "re: Second"),
        ]
        assert [each["turn"] for each in await api.messages(chatbot)] == ["interrupted", "proposed"]


@pytest.mark.parametrize("how", ["takeover", "release", "close"])
async def test_a_change_of_control_puts_a_proposal_out_of_date(tmp_path: Path, how: str) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot(**(REVIEWED if how == "takeover" else SUGGESTED))
        path = f"{chatbot}/conversations/c1"
        await api.say(chatbot, "Hello")
        if how != "takeover":
            await api.post(f"{path}/takeover", {"operator": "eve"})
            await api.say(chatbot, "Are you there?")
        proposal = await _open(api, chatbot)
        if how == "close":
            await api.call("PATCH", path, {"status": "closed"})
        else:
            await api.post(f"{path}/{how}", {"operator": "eve"} if how == "takeover" else None)
        before = await api.messages(chatbot)
        assert (await _decide(api, chatbot, proposal, "send", operator="eve")).code == "proposal_decided"
        assert await api.messages(chatbot) == before
        assert not [each for each in await _proposals(api, chatbot) if each["state"] in ("open", "wanted")]
        assert "proposed" not in {each["turn"] for each in before}


async def test_a_proposal_that_is_discarded_leaves_the_prompt_without_a_reply(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot(**REVIEWED)
        await api.say(chatbot, "Hello")
        proposal = await _open(api, chatbot)
        dropped = await _decide(api, chatbot, proposal, "discard", operator="eve")
        assert (dropped.body["state"], dropped.body["decided_by"]) == ("discarded", "eve")
        assert [each["turn"] for each in await api.messages(chatbot)] == ["stopped"]
        retried = await api.post(f"{chatbot}/conversations/c1/messages/{proposal['prompt_id']}/retry")
        assert [each["turn"] for each in retried.body] == ["proposed"]
        assert (await _open(api, chatbot))["id"] != proposal["id"]


async def test_an_operator_in_control_is_shown_what_the_chatbot_would_say(tmp_path: Path) -> None:
    async with gigachat(tmp_path, model=answering({})) as api:
        chatbot = await api.chatbot(**SUGGESTED)
        await api.say(chatbot, "Hello")
        assert await _proposals(api, chatbot) == [], "the chatbot answers itself"
        await api.post(f"{chatbot}/conversations/c1/takeover", {"operator": "eve"})
        await api.say(chatbot, "How long does it take?")
        proposal = await _open(api, chatbot)
        assert proposal["content"] == "re: How long does it take?"
        assert [each["role"] for each in await api.messages(chatbot)] == ["user", "assistant", "user"]
        assert (await _decide(api, chatbot, proposal, "send", operator="bob")).code == "conversation_already_taken_over"
        said = await _decide(api, chatbot, proposal, "send", operator="eve")
        assert said.body["metadata"]["reviewed_by"] == "eve"
        conversation = (await api.get(f"{chatbot}/conversations/c1")).body
        assert (conversation["controlled_by"], conversation["waiting_since"]) == ("eve", None)


async def test_a_suggestion_is_made_when_asked_for_and_once(tmp_path: Path) -> None:
    async with gigachat(tmp_path, model=answering({})) as api:
        chatbot = await api.chatbot()
        await api.say(chatbot, "Hello")
        await api.post(f"{chatbot}/conversations/c1/takeover", {"operator": "eve"})
        await api.say(chatbot, "A question")
        path = f"{chatbot}/conversations/c1/suggest"
        wanted = await asyncio.gather(*(api.post(path) for _ in range(5)))
        assert {reply.status for reply in wanted} == {202}
        assert len({reply.body["id"] for reply in wanted}) == 1
        assert (await _open(api, chatbot))["content"] == "re: A question"
        assert (await api.post(f"{chatbot}/conversations/none/suggest")).status == 404


async def test_a_suggestion_that_cannot_be_made_is_made_later_or_said_to_have_failed(tmp_path: Path) -> None:
    failures = [ModelUnreachable()] * 2

    def script(_: ModelInput) -> list[Step]:
        return [failures.pop()] if failures else ["At last."]

    model = ScriptedModel(script)
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot(**SUGGESTED)
        await api.post(f"{chatbot}/conversations/c1/takeover", {"operator": "eve"})
        await api.say(chatbot, "A question")
        assert (await _open(api, chatbot))["content"] == "At last."


async def test_an_unseen_proposal_asks_for_a_human_once(tmp_path: Path) -> None:
    clock = SteppedClock()
    async with gigachat(tmp_path, clock=clock) as api:
        chatbot = await api.chatbot(interception={"review": "all", "review_minutes": 10})
        await api.say(chatbot, "Hello")
        await _open(api, chatbot)
        loop = next(loop for loop in api.services.background.loops if loop.name == "unseen-proposals")
        clock.step(minutes=9)
        await loop.body()
        assert (await api.get(f"{chatbot}/conversations/c1")).body["handoff_requested_at"] is None
        clock.step(minutes=1)
        await asyncio.gather(*(loop.body() for _ in range(5)))
        events = (await api.get(f"{chatbot}/conversations/c1/events?limit=100")).body
        assert [each["data"]["reason"] for each in events if each["type"] == "handoff.requested"] == ["review"]
        assert (await _decide(api, chatbot, await _open(api, chatbot), "send")).status == 201, "it can still be sent"


async def test_a_proposal_goes_with_its_prompt(tmp_path: Path) -> None:
    async with gigachat(tmp_path, model=ScriptedModel([SECRET])) as api:
        chatbot = await api.chatbot(**REVIEWED)
        await api.say(chatbot, "Hello", user="ann")
        await api.say(chatbot, "Hello", user="bob")
        assert len(await _proposals(api, chatbot)) == 2
        assert (await api.call("DELETE", f"{chatbot}/users/ann")).status == 204
        assert len(await _proposals(api, chatbot)) == 1
        assert (await api.call("DELETE", f"{chatbot}/users/bob")).status == 204
        await api.say(chatbot, "Hello")
        assert len(await _proposals(api, chatbot)) == 1


@pytest.mark.parametrize("rounds", [20, pytest.param(500, marks=pytest.mark.faults)])
async def test_of_all_that_happens_at_once_one_thing_happens(tmp_path: Path, rounds: int) -> None:
    """Sending, editing, discarding, a newer prompt, a takeover, stop and closing race: a reply is said once or not at all.

    And nothing of the chatbot's after the takeover.
    """
    rng, came_of_it = random.Random(1), set[str]()
    async with gigachat(tmp_path, model=answering({})) as api:
        chatbot = await api.chatbot(**REVIEWED)
        for number in range(rounds):
            name = f"c{number}"
            path = f"{chatbot}/conversations/{name}"
            await api.say(chatbot, "Hello", conversation=name)
            (proposal,) = (await api.get(f"{path}/proposals")).body
            decide = f"{path}/proposals/{proposal['id']}"
            takeover = ("POST", f"{path}/takeover", {"operator": "zoe"})
            acts = [
                ("POST", f"{decide}/send", {"operator": "eve"}),
                ("POST", f"{decide}/send", {"operator": "bob", "content": "Edited."}),
                ("POST", f"{decide}/discard", {"operator": "eve"}),
                ("POST", f"{path}/stop", {}),
                ("POST", f"{chatbot}/conversations", {"conversation_id": name, "user_id": "ann", "prompt": "Next"}),
                ("PATCH", path, {"status": "closed"}),
            ]
            chosen = [takeover, *rng.sample(acts, rng.randint(2, 6))]
            replies = await asyncio.gather(*(api.call(*act) for act in rng.sample(chosen, len(chosen))))
            assert all(reply.status < 500 for reply in replies), [reply.text for reply in replies]
            events = (await api.get(f"{path}/events?limit=100")).body
            decisions = [each["data"] for each in events if each["type"] == "proposal.decided"]
            (came,) = [each["state"] for each in decisions if each["proposal_id"] == proposal["id"]]
            messages = await api.messages(chatbot, name)
            said = [each["content"] for each in messages if each["role"] == "assistant"]
            assert said == {"sent": ["re: Hello"], "edited": ["Edited."]}.get(came, [])
            (taken,) = [each["seq"] for each in events if each["type"] == "conversation.taken_over"]
            assert all(each["seq"] < taken for each in messages if each["role"] == "assistant")
            assert all(each["turn"] not in ("queued", "running") for each in messages)
            came_of_it.add(came)
    assert came_of_it == {"sent", "edited", "discarded", "superseded"}, "each is first now and then"


async def test_a_suggestion_that_a_newer_prompt_overtook_is_not_shown(tmp_path: Path) -> None:
    """Though the chatbot's settings ask for none by themselves."""
    pause = Pause()
    async with gigachat(tmp_path, model=answering({"First": ["re: ", pause, "First"]})) as api:
        chatbot = await api.chatbot()
        path = f"{chatbot}/conversations/c1"
        await api.post(f"{path}/takeover", {"operator": "eve"})
        await api.say(chatbot, "First")
        wanted = (await api.post(f"{path}/suggest")).body
        await pause.reached.wait()
        await api.say(chatbot, "Second")
        pause.resume()

        async def is_decided() -> bool:
            return all(each["state"] not in ("wanted", "open") for each in await _proposals(api, chatbot))

        await until(is_decided)
        assert [(each["id"], each["state"]) for each in await _proposals(api, chatbot)] == [(wanted["id"], "superseded")]
        await api.post(f"{path}/suggest")
        second = await _open(api, chatbot)
        assert second["content"] == "re: Second"
        await api.say(chatbot, "Third")
        assert (await _decide(api, chatbot, second, "send", operator="eve")).code == "proposal_decided"
        assert (await api.post(f"{path}/suggest")).body["id"] != second["id"]
        assert (await _open(api, chatbot))["content"] == "re: Third"


async def test_a_proposal_that_is_sent_reopens_its_conversation_visibly(tmp_path: Path) -> None:
    clock = SteppedClock()
    async with gigachat(tmp_path, clock=clock) as api:
        chatbot = await api.chatbot(**REVIEWED)
        path = f"{chatbot}/conversations/c1"
        await api.say(chatbot, "Hello")
        snoozed = {"status": "snoozed", "snoozed_until": clock.moment(hours=1)}
        assert (await api.call("PATCH", path, snoozed)).status == 200
        assert (await _decide(api, chatbot, await _open(api, chatbot), "send", operator="eve")).status == 201
        assert (await api.get(path)).body["status"] == "open"
        events = (await api.get(f"{path}/events?limit=100")).body
        assert [each["data"]["reason"] for each in events if each["type"] == "conversation.reopened"] == ["operator"]


async def test_a_conversation_that_is_closed_has_no_open_proposal(tmp_path: Path) -> None:
    clock = SteppedClock()
    async with gigachat(tmp_path, clock=clock) as api:
        chatbot = await api.chatbot(**REVIEWED)
        path = f"{chatbot}/conversations/c1"
        await api.say(chatbot, "Hello")
        assert (await api.call("PATCH", path, {"status": "closed"})).status == 200
        assert [each["state"] for each in await _proposals(api, chatbot)] == ["superseded"]
        assert [each["turn"] for each in await api.messages(chatbot)] == ["intercepted"]
        clock.step(hours=1)
        await _look_for_unseen(api)
        closed = (await api.get(path)).body
        assert (closed["status"], closed["handoff_requested_at"]) == ("closed", None)


async def test_a_human_who_is_wanted_opens_what_was_closed_during_the_turn(tmp_path: Path) -> None:
    pause = Pause()
    model = ScriptedModel([pause, HandoffRequest("asked", "")])
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot(interception={"handoff": True})
        path = f"{chatbot}/conversations/c1"
        asking = asyncio.create_task(api.say(chatbot, "I want my money back"))
        await pause.reached.wait()
        assert (await api.call("PATCH", path, {"status": "closed"})).status == 200
        pause.resume()
        await asking
        wanted = (await api.get(path)).body
        assert (wanted["status"], wanted["handoff_requested_at"] is not None) == ("open", True)


async def test_of_prompts_that_wait_for_each_other_only_the_last_ones_reply_is_proposed(tmp_path: Path) -> None:
    pause = Pause()
    model = answering({"First": ["re: ", pause, "First"]})
    second = Pause()
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot(**REVIEWED)
        path = f"{chatbot}/conversations/c1"
        first = asyncio.create_task(api.say(chatbot, "First"))
        await pause.reached.wait()
        waiting = asyncio.create_task(api.say(chatbot, "Second"))
        await until(lambda: _has_messages(api, chatbot, 2))
        with triggers.acting("S3", second.hold):
            pause.resume()
            (told,) = await first
            await second.reached.wait()
            assert told["turn"] == "interrupted"
            assert [each["state"] for each in await _proposals(api, chatbot)] == ["superseded"]
            await api.post(f"{path}/stop")  # which leaves nothing that looks open and cannot be sent
            second.resume()
        await waiting
        assert [each["turn"] for each in await api.messages(chatbot)] == ["interrupted", "stopped"]
        assert [each["state"] for each in await _proposals(api, chatbot)] == ["superseded"]


async def _has_messages(api: Api, chatbot: str, count: int) -> bool:
    return len(await api.messages(chatbot)) == count


async def _look_for_unseen(api: Api) -> None:
    await next(loop for loop in api.services.background.loops if loop.name == "unseen-proposals").body()


async def test_patient_chatbots_hold_up_no_others_and_suggestions_ask_for_nobody(tmp_path: Path) -> None:
    clock = SteppedClock()
    async with gigachat(tmp_path, model=answering({}), clock=clock) as api:
        await api.services.inbox_worker.aclose()
        patient = await api.chatbot(interception={"review": "all", "review_minutes": 1440})
        for number in range(101):  # more than are dealt with at once
            await api.say(patient, "Hello", conversation=f"p{number}")
        impatient = await api.chatbot(interception={"review": "all", "review_minutes": 1})
        await api.say(impatient, "Hello")
        clock.step(minutes=2)
        await _look_for_unseen(api)
        assert (await api.get(f"{impatient}/conversations/c1")).body["handoff_requested_at"] is not None
        assert (await api.get(f"{patient}/conversations/p0")).body["handoff_requested_at"] is None


async def test_an_unseen_suggestion_asks_for_nobody(tmp_path: Path) -> None:
    clock = SteppedClock()
    async with gigachat(tmp_path, model=answering({}), clock=clock) as api:
        chatbot = await api.chatbot()
        await api.say(chatbot, "Hello")
        await api.post(f"{chatbot}/conversations/c1/suggest")
        await _open(api, chatbot)
        clock.step(hours=1)
        await _look_for_unseen(api)
        assert (await api.get(f"{chatbot}/conversations/c1")).body["handoff_requested_at"] is None, "it was answered"


async def test_an_unseen_proposal_of_before_a_change_of_settings_is_put_out_of_date(tmp_path: Path) -> None:
    clock = SteppedClock()
    async with gigachat(tmp_path, model=answering({}), clock=clock) as api:
        chatbot = await api.chatbot(**REVIEWED)
        await api.say(chatbot, "Hello")
        assert (await api.call("PATCH", chatbot, {"interception": {"review": "none"}})).status == 200
        await api.say(chatbot, "And now?")
        clock.step(hours=1)
        await _look_for_unseen(api)
        assert (await api.get(f"{chatbot}/conversations/c1")).body["handoff_requested_at"] is None
        assert [each["state"] for each in await _proposals(api, chatbot)] == ["superseded"]
        assert [each["turn"] for each in await api.messages(chatbot) if each["role"] == "user"] == ["interrupted", "done"]


async def test_a_suggestion_that_another_has_taken_up_meanwhile_is_said_to_be_there_by_that_one_alone(tmp_path: Path) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=answering({"First": ["re: ", pause, "First"]})) as api:
        chatbot = await api.chatbot()
        path = f"{chatbot}/conversations/c1"
        await api.post(f"{path}/takeover", {"operator": "eve"})
        await api.say(chatbot, "First")
        await api.post(f"{path}/suggest")
        await pause.reached.wait()

        async def take_up(tx: Tx) -> None:
            await tx.run("UPDATE proposals SET lease = 'of another', lease_until = :until", until=2**52)

        await api.services.database.transaction("test.take_up", take_up)
        pause.resume()
        await api.services.inbox_worker.aclose()
        assert [each["state"] for each in await _proposals(api, chatbot)] == ["wanted"]
        events = (await api.get(f"{path}/events?limit=100")).body
        assert [each for each in events if each["type"] == "proposal.created"] == []
