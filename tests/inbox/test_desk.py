"""The desk: who waits, for how long, who looks after it, and what operators write beside a conversation."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gigachat_server.access.principal import local_operator
from tests.harness import Api, Reply, gigachat, until
from tests.inbox.clocks import SteppedClock
from tests.operators import add_operator


async def _conversation(api: Api, chatbot: str, name: str = "c1") -> dict[str, Any]:
    reply = await api.get(f"{chatbot}/conversations/{name}")
    assert reply.status == 200, reply.text
    found: dict[str, Any] = reply.body
    return found


async def _change(api: Api, chatbot: str, body: dict[str, Any], name: str = "c1") -> Reply:
    return await api.call("PATCH", f"{chatbot}/conversations/{name}", body)


async def _types(api: Api, chatbot: str, name: str = "c1") -> list[str]:
    return [event["type"] for event in (await api.get(f"{chatbot}/conversations/{name}/events?limit=100")).body]


async def _act(api: Api, chatbot: str, what: str, name: str = "c1", **body: Any) -> Reply:
    reply = await api.post(f"{chatbot}/conversations/{name}/{what}", body or None)
    assert reply.status == 200, reply.text
    return reply


async def test_someone_waits_from_their_first_prompt_until_a_human_speaks(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        await api.say(chatbot, "Hello")
        assert (await _conversation(api, chatbot))["waiting_since"] is None, "the chatbot answers"
        asked_at = (await _act(api, chatbot, "handoff")).body["waiting_since"]
        assert asked_at is not None
        await api.say(chatbot, "Are you there?")
        assert (await _conversation(api, chatbot))["waiting_since"] == asked_at
        await _act(api, chatbot, "takeover", operator="eve")
        assert (await _conversation(api, chatbot))["waiting_since"] == asked_at, "to take over is not to answer"
        await api.say(chatbot, "Hello Ann", user="client:eve")
        assert (await _conversation(api, chatbot))["waiting_since"] is None
        await api.say(chatbot, "One more thing")
        since = (await _conversation(api, chatbot))["waiting_since"]
        assert since > asked_at
        await api.say(chatbot, "Please")
        assert (await _conversation(api, chatbot))["waiting_since"] == since, "since the first of them"
        await _act(api, chatbot, "release")
        assert (await _conversation(api, chatbot))["waiting_since"] is None, "the chatbot answers again"


async def test_the_longest_waiting_come_first_and_pages_of_them_meet(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        for number in range(7):
            await api.say(chatbot, "Hello", conversation=f"c{number}")
        for number in (3, 1, 5, 0, 6):
            await _act(api, chatbot, "handoff", f"c{number}")
        await api.say(chatbot, "Still here", conversation="c3")
        path, found = f"{chatbot}/conversations?sort=waiting&limit=2", []
        while path:
            page = await api.get(path)
            found += [each["conversation_id"] for each in page.body]
            path = page.headers.get("Link", "").partition(">")[0].removeprefix("<")
        assert found == ["c3", "c1", "c5", "c0", "c6"]
        assert {each["conversation_id"] for each in (await api.get(f"{chatbot}/conversations?waiting=false")).body} == {
            "c2",
            "c4",
        }


async def test_a_closed_conversation_is_open_again_with_the_next_prompt(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        await api.say(chatbot, "Hello")
        closed = (await _change(api, chatbot, {"status": "closed"})).body
        assert (closed["status"], closed["closed_at"] is None) == ("closed", False)
        assert [each["status"] for each in (await api.get(f"{chatbot}/conversations?status=closed")).body] == ["closed"]
        assert (await api.get(f"{chatbot}/conversations?status=open")).body == []
        (reply,) = await api.say(chatbot, "And another thing")
        assert reply["role"] == "assistant"
        again = await _conversation(api, chatbot)
        assert (again["status"], again["closed_at"]) == ("open", None)
        assert (await _types(api, chatbot))[2:] == [
            "conversation.closed", "message.created", "conversation.reopened", "message.created",
        ]  # fmt: skip


@pytest.mark.parametrize("how", ["prompt", "operator", "handoff", "takeover", "patch"])
async def test_whoever_wants_something_opens_it_and_that_is_told_once(tmp_path: Path, how: str) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        await api.say(chatbot, "Hello")
        await _change(api, chatbot, {"status": "closed"})
        if how == "prompt":
            await api.say(chatbot, "Hello again")
        elif how == "operator":
            await api.say(chatbot, "One more hint", user="client:eve")
        elif how == "patch":
            await _change(api, chatbot, {"status": "open"})
        else:
            await _act(api, chatbot, how, **({"operator": "eve"} if how == "takeover" else {}))
        assert (await _conversation(api, chatbot))["status"] == "open"
        await api.say(chatbot, "Fine")
        events = (await api.get(f"{chatbot}/conversations/c1/events?limit=100")).body
        reasons = [event["data"]["reason"] for event in events if event["type"] == "conversation.reopened"]
        assert reasons == [{"prompt": "prompt", "handoff": "handoff"}.get(how, "operator")]


async def test_a_retry_leaves_a_closed_conversation_closed(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        (reply,) = await api.say(chatbot, "Hello")
        await _change(api, chatbot, {"status": "closed"})
        assert (await api.post(f"{chatbot}/conversations/c1/messages/{reply['id']}/retry")).status == 201
        assert (await _conversation(api, chatbot))["status"] == "closed"
        assert "conversation.reopened" not in await _types(api, chatbot)


async def test_closing_gives_control_back_and_ends_the_wait(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        await api.say(chatbot, "Hello")
        await _act(api, chatbot, "takeover", operator="eve")
        await api.say(chatbot, "A question")
        closed = (await _change(api, chatbot, {"status": "closed"})).body
        assert (closed["controlled_by"], closed["waiting_since"], closed["handoff_requested_at"]) == ("bot", None, None)
        assert (await _types(api, chatbot))[-2:] == ["conversation.closed", "conversation.released"]
        (reply,) = await api.say(chatbot, "Another question")
        assert reply["role"] == "assistant"


async def test_of_many_closings_at_once_one_is_told(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        await api.say(chatbot, "Hello")
        replies = await asyncio.gather(*(_change(api, chatbot, {"status": "closed"}) for _ in range(20)))
        assert {reply.status for reply in replies} == {200}
        assert (await _types(api, chatbot)).count("conversation.closed") == 1


async def test_a_snoozed_conversation_comes_back_once(tmp_path: Path) -> None:
    clock = SteppedClock()
    async with gigachat(tmp_path, clock=clock) as api:
        chatbot = await api.chatbot()
        await api.say(chatbot, "Hello")
        snoozed = await _change(api, chatbot, {"status": "snoozed", "snoozed_until": clock.moment(hours=1)})
        assert snoozed.status == 200, snoozed.text
        await asyncio.gather(*(api.services.desk.wake_snoozed() for _ in range(5)))
        assert (await _conversation(api, chatbot))["status"] == "snoozed"
        clock.step(hours=1)
        await asyncio.gather(*(api.services.desk.wake_snoozed() for _ in range(5)))
        assert (await _conversation(api, chatbot))["status"] == "open"
        events = (await api.get(f"{chatbot}/conversations/c1/events?limit=100")).body
        assert [each["data"] for each in events if each["type"] == "conversation.reopened"] == [{"reason": "snooze"}]
        await _change(api, chatbot, {"status": "snoozed", "snoozed_until": clock.moment(hours=1)})
        await api.say(chatbot, "Sooner")
        assert (await _conversation(api, chatbot))["snoozed_until"] is None, "a word of the end user ends it"


@pytest.mark.parametrize(
    "body",
    [
        {"status": "snoozed"},
        {"snoozed_until": "2999-01-01T00:00:00+00:00"},
        {"status": "snoozed", "snoozed_until": "2020-01-01T00:00:00+00:00"},
        {"status": "snoozed", "snoozed_until": "9999-01-01T00:00:00+00:00"},
        {"status": "snoozed", "snoozed_until": "2027-01-01T00:00:00"},
        {"status": "snoozed", "snoozed_until": None},
        {"status": "closed", "snoozed_until": "2027-01-01T00:00:00+00:00"},
        {"status": "gone"},
        {"status": None},
        {"assigned_to": ""},
        {"assigned_to": "bot"},
        {"assigned_to": "\u200b"},
        {"unknown": 1},
    ],
)
async def test_what_makes_no_sense_changes_nothing(tmp_path: Path, body: dict[str, Any]) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        await api.say(chatbot, "Hello")
        before = await _conversation(api, chatbot)
        assert (await _change(api, chatbot, body)).status == 422
        assert await _conversation(api, chatbot) == before


async def test_a_conversation_is_given_to_those_alone_who_may_answer_in_it(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot, other = await api.chatbot(), await api.chatbot(name="Other")
        await api.say(chatbot, "Hello")
        assert (await _change(api, chatbot, {"assigned_to": "of-another-desk"})).status == 200, "there are no operators"
        staff: tuple[tuple[str, str, dict[str, str]], ...] = (
            ("ada", "admin", {}),
            ("mia", "member", {chatbot: "operator", other: "viewer"}),
            ("vic", "member", {chatbot: "viewer", other: "operator"}),
            ("tom", "member", {other: "operator"}),
            ("out", "member", {}),
        )
        for handle, role, of in staff:
            await add_operator(api.services, handle, role, chatbots=of)
        before = await _conversation(api, chatbot)
        for refused in ("vic", "tom", "out", "nobody", "Ada", "client:vic"):
            answer = await _change(api, chatbot, {"assigned_to": refused, "status": "closed"})
            assert (answer.status, answer.body["errors"][0]["field"]) == (422, "assigned_to"), answer.text
            assert await _conversation(api, chatbot) == before, "nothing of it is done"
        for handle in ("ada", "mia", "client:ada"):
            assert (await _change(api, chatbot, {"assigned_to": handle})).body["assigned_to"] == handle.removeprefix("client:")
        keeper = local_operator(api.services.account.id)
        (mia,) = [each for each in await api.services.operators.list(keeper, after=None, limit=9) if each.handle == "mia"]
        await api.services.operators.delete(keeper, mia.id)
        assert (await _change(api, chatbot, {"assigned_to": "mia"})).status == 422, "she has left"
        assert (await _change(api, chatbot, {"assigned_to": None})).body["assigned_to"] is None


async def test_a_conversation_is_assigned_and_found_by_whose_it_is(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        for name in ("c1", "c2", "c3"):
            await api.say(chatbot, "Hello", conversation=name, user=f"{name}@example.com")
        await _change(api, chatbot, {"assigned_to": "client:eve"})
        await _change(api, chatbot, {"assigned_to": "eve"})
        await _change(api, chatbot, {"assigned_to": "bob"}, "c2")

        async def listed(query: str) -> list[str]:
            return sorted(each["conversation_id"] for each in (await api.get(f"{chatbot}/conversations?{query}")).body)

        assert await listed("assigned_to=eve") == ["c1"]
        assert await listed("assigned_to=") == ["c3"]
        assert await listed("user_id=c2@example.com") == ["c2"]
        assert (await _types(api, chatbot)).count("conversation.assigned") == 1, "what is so already is not told again"
        assert (await _change(api, chatbot, {"assigned_to": None})).body["assigned_to"] is None
        assert await listed("assigned_to=") == ["c1", "c3"]
        await _act(api, chatbot, "takeover", "c3", operator="eve")
        assert await listed("operator=eve") == await listed("controlled_by=human") == ["c3"]


async def test_a_note_is_for_operators_alone_and_goes_with_the_conversation(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        await api.say(chatbot, "Hello")
        notes = f"{chatbot}/conversations/c1/notes"
        first = (await api.post(notes, {"content": "Ann is a regular", "operator": "eve"})).body
        again = [(await api.post(notes, {"content": "Twice"}, headers={"Idempotency-Key": "k"})).body for _ in range(2)]
        assert again[0] == again[1]
        assert (first["operator"], first["after_seq"], again[0]["operator"]) == ("eve", 2, again[0]["operator"])
        assert [each["content"] for each in (await api.get(notes)).body] == ["Ann is a regular", "Twice"]
        page = await api.get(f"{notes}?limit=1")
        following = page.headers["Link"].partition(">")[0].removeprefix("<")
        assert [each["content"] for each in (await api.get(following)).body] == ["Twice"]
        assert "regular" not in (await api.get(f"{chatbot}/conversations/c1/messages")).text
        assert "regular" not in (await api.get(f"{chatbot}/conversations/c1/events")).text
        assert (await api.call("DELETE", f"{notes}/{first['id']}")).status == 204
        assert (await api.call("DELETE", f"{notes}/{first['id']}")).status == 404
        assert [each["content"] for each in (await api.get(notes)).body] == ["Twice"]
        assert (await api.post(notes, {"content": " \u200b "})).fields == {"content"}
        assert (await api.post(notes, {"content": "x" * 10_001})).status == 422
        assert (await api.post(f"{chatbot}/conversations/none/notes", {"content": "x"})).status == 404
        assert (await api.call("DELETE", f"{chatbot}/conversations/c1")).status == 204
        await api.say(chatbot, "Hello")
        assert (await api.get(notes)).body == []


async def test_canned_replies_have_one_shortcut_each(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        path = f"{chatbot}/canned-replies"
        made = await api.post(path, {"shortcut": "/Refund-Status", "content": "Your refund is on its way."})
        assert (made.status, made.body["shortcut"]) == (201, "refund-status")
        assert (await api.post(path, {"shortcut": "refund-status", "content": "x"})).code == "shortcut_taken"
        at_once = await asyncio.gather(*(api.post(path, {"shortcut": "hours", "content": str(i)}) for i in range(10)))
        assert sorted(reply.status for reply in at_once) == [201, *[409] * 9]
        assert [each["shortcut"] for each in (await api.get(path)).body] == ["hours", "refund-status"]
        renamed = await api.call("PUT", f"{path}/{made.body['id']}", {"shortcut": "refund", "content": "Soon."})
        assert (renamed.body["shortcut"], renamed.body["content"]) == ("refund", "Soon.")
        assert (await api.call("PUT", f"{path}/{made.body['id']}", {"shortcut": "hours", "content": "x"})).status == 409
        for bad in ("two words", "", "-", "a/b", "x" * 66, "_x"):
            assert (await api.post(path, {"shortcut": bad, "content": "x"})).status == 422, bad
        assert (await api.call("DELETE", f"{path}/{made.body['id']}")).status == 204
        assert (await api.call("PUT", f"{path}/{made.body['id']}", {"shortcut": "a", "content": "x"})).status == 404
        other = await api.chatbot()
        assert (await api.get(f"{other}/canned-replies")).body == []


async def test_the_loop_brings_snoozed_conversations_back(tmp_path: Path) -> None:
    clock = SteppedClock()
    async with gigachat(tmp_path, clock=clock) as api:
        chatbot = await api.chatbot()
        await api.say(chatbot, "Hello")
        await _change(api, chatbot, {"status": "snoozed", "snoozed_until": clock.moment(hours=1)})
        clock.step(hours=2)

        async def is_open() -> bool:
            return str((await _conversation(api, chatbot))["status"]) == "open"

        next(loop for loop in api.services.background.loops if loop.name == "snoozes").wake_up()
        await until(is_open)
