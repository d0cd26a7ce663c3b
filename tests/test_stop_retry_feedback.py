"""Stopping a reply, having a prompt answered anew, and what end users think of replies."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gigachat_server.errors import ModelInterrupted, ModelUnreachable
from gigachat_server.models.base import ReplyEnd, TextDelta
from gigachat_server.models.fake import Pause, ScriptedModel
from gigachat_server.triggers import acting
from tests.harness import Api, Reply, gigachat, until
from tests.turns import (
    answering,
    ask,
    asking_held,
    assert_at_rest,
    contents,
    history,
    one_group,
    queueing,
    rows,
    state,
    told,
    until_settled,
)

FOREIGN = "01a204e3-15f7-77b1-9db6-d193b16a5979"


def script_of(*scripts: list[Any], **by_prompt: list[Any]) -> ScriptedModel:
    """Plays these scripts in turn for the prompt `a`, and those of the other prompts."""
    turns = iter(scripts)
    return ScriptedModel(
        lambda model_input: (
            next(turns)
            if (prompt := model_input.messages[-1].content) == "a"
            else by_prompt.get(prompt.replace(" ", "_"), [f"re: {prompt}"])
        )
    )


async def retry(api: Api, chatbot: str, message: dict[str, Any], body: Any = None, **options: Any) -> Reply:
    path = f"{chatbot}/conversations/{message['conversation_id']}/messages/{message['id']}/retry"
    return await api.post(path, body, **options)


async def retrying(api: Api, chatbot: str, message: dict[str, Any], **options: Any) -> asyncio.Task[Reply]:
    """A retry that has been accepted: it waits behind another turn, or runs."""
    task = asyncio.create_task(retry(api, chatbot, message, **options))

    async def is_accepted() -> bool:
        found = {m["id"]: m for m in await api.messages(chatbot, message["conversation_id"])}
        asked = found[message["in_reply_to"] or message["id"]]
        return asked["turn"] in ("queued", "running")

    await until(is_accepted)
    return task


async def stop(api: Api, chatbot: str, conversation: str = "c1", **options: Any) -> Reply:
    return await api.post(f"{chatbot}/conversations/{conversation}/stop", **options)


# --- stop ---


async def test_stop_keeps_what_was_said_and_tells_everyone_the_same(tmp_path: Path) -> None:
    pause = Pause()
    model = answering({"a": ["half ", "said", pause, " never"]})
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot(documents={"results": {"match_threshold": 0.0}})
        await api.push(chatbot, "doc", "a b c")
        plain = await asking_held(api, chatbot, pause, "a")
        waiting = await queueing(api, chatbot, "b")
        stopped = await stop(api, chatbot)
        assert stopped.status == 200
        partial, never_begun = stopped.body
        assert (partial["content"], partial["status"], partial["role"]) == ("half said", "stopped", "assistant")
        assert partial["sources"][0]["embedding"] is not None, "a source looks the same wherever it appears"
        assert (never_begun["content"], never_begun["turn"]) == ("b", "stopped")
        assert (await plain).body == [partial]
        assert (await waiting[0]).body == [never_begun]
        assert await history(api, chatbot) == [
            ("a", "completed", "stopped"),
            ("b", "completed", "stopped"),
            ("half said", "stopped", "assistant"),
        ]
        assert (await api.get(f"{chatbot}/conversations/c1/messages?embedding=true")).body[2] == partial
        assert (await stop(api, chatbot)).body == [], "nothing is being answered any more"
        await api.say(chatbot, "c", user="ann")
        assert told(model.calls[-1]) == ["a", "half said", "b", "c"]
        assert model.closed_early == 1
        await assert_at_rest(api, chatbot)


async def test_stop_ends_a_stream_with_the_stored_partial(tmp_path: Path) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=answering({"a": ["half", pause, " never"]})) as api:
        chatbot = await api.chatbot()
        streamed = await asking_held(api, chatbot, pause, "a", stream=True)
        assert (await stop(api, chatbot)).status == 200
        seen = (await streamed).events
        assert [name for name, _ in seen if name != "delta"] == ["start", "message", "done"]
        assert seen[-2][1]["content"] == "half"
        assert "".join(data["text"] for name, data in seen if name == "delta") in ("", "half")


async def test_stop_before_the_first_word_leaves_the_prompt(tmp_path: Path) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=answering({"a": [pause, "never"]})) as api:
        chatbot = await api.chatbot()
        first = await asking_held(api, chatbot, pause, "a")
        stopped = await stop(api, chatbot)
        assert stopped.body == (await first).body == await api.messages(chatbot)
        assert (stopped.body[0]["turn"], stopped.body[0]["status"]) == ("stopped", "completed")


async def test_stop_keeps_each_alternative_as_far_as_it_was_said(tmp_path: Path) -> None:
    pause = Pause()
    model = ScriptedModel([TextDelta(0, "whole"), ReplyEnd(0), TextDelta(2, "ha"), pause, TextDelta(2, "lf")])
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot(response={"n": 3})
        first = await asking_held(api, chatbot, pause, "a")
        await stop(api, chatbot)
        assert [(m["content"], m["status"], m["alternative"]) for m in (await first).body] == [
            ("whole", "completed", 0),
            ("ha", "stopped", 2),
        ]


async def test_stop_of_an_unknown_conversation_is_404(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        assert (await stop(api, chatbot, "none")).code == "not_found"
        assert (await api.get(f"{chatbot}/conversations")).body == []
        await api.say(chatbot, "a")
        assert (await stop(api, chatbot)).body == []


@pytest.mark.parametrize("ending", ["stop", "takeover", "delete", "interrupt"])
async def test_a_reply_and_what_ends_it_in_one_group_leave_one_outcome(tmp_path: Path, ending: str) -> None:
    async with gigachat(tmp_path, model=answering({})) as api:
        chatbot = await api.chatbot(response={"overlap": "interrupt"})

        async def end(conversation: str) -> Reply:
            path = f"{chatbot}/conversations/{conversation}"
            if ending == "delete":
                return await api.call("DELETE", path)
            if ending == "interrupt":
                return await ask(api, chatbot, "b", conversation=conversation)
            return await api.post(f"{path}/{ending}", {"operator": "eve"} if ending == "takeover" else None)

        for conversation, is_reply_first in (("reply-first", True), ("end-first", False)):
            pause = Pause()
            with acting("S7", pause.hold):
                first = await asking_held(api, chatbot, pause, "a", conversation=conversation)
                async with one_group(api) as waiting:
                    if is_reply_first:
                        pause.resume()
                        await waiting(1)
                    ended = asyncio.create_task(end(conversation))
                    await waiting(2 if is_reply_first else 1)
                    if not is_reply_first:
                        pause.resume()
                        await waiting(2)
                assert (await ended).status in (200, 201, 204), (await ended).text
            got = await first
            if ending == "delete":
                assert got.status == (201 if is_reply_first else 404)
                continue
            assert contents(got) == ["re: a"], "what was said is stored, by whoever was first"
            stored = await api.messages(chatbot, conversation)
            assert [m for m in stored if m["in_reply_to"] == stored[0]["id"]] == got.body
            turn = {"stop": "stopped", "takeover": "intercepted", "interrupt": "interrupted"}[ending]
            assert stored[0]["turn"] == ("done" if is_reply_first else turn)
            await assert_at_rest(api, chatbot, conversation)


@pytest.mark.sqlite_only  # elsewhere the retry begins before it can be stopped
async def test_a_reply_its_retry_and_a_stop_in_one_group(tmp_path: Path) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=answering({})) as api:
        chatbot = await api.chatbot()
        with acting("S7", pause.hold):
            first = await asking_held(api, chatbot, pause, "a")
            (prompt,) = await api.messages(chatbot)
            async with one_group(api) as waiting:
                pause.resume()
                await waiting(1)
                retried = asyncio.create_task(retry(api, chatbot, prompt))
                await waiting(2)
                stopped = asyncio.create_task(stop(api, chatbot))
                await waiting(3)
        assert contents(await first) == contents(await retried) == contents(await stopped) == ["re: a"]
        assert [m["content"] for m in await api.messages(chatbot)] == ["a", "re: a"]
        await assert_at_rest(api, chatbot)
        assert len(list(api.services.turns._live)) == 0


@pytest.mark.sqlite_only
async def test_those_who_wait_are_ended_in_the_group_that_would_have_begun_them(tmp_path: Path) -> None:
    pause = Pause()
    model = answering({})
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot()
        with acting("S7", pause.hold):
            first = await asking_held(api, chatbot, pause, "a")
            (second,) = await queueing(api, chatbot, "b")
            async with one_group(api) as waiting:
                pause.resume()
                await waiting(1)
                third = asyncio.create_task(ask(api, chatbot, "c"))
                await waiting(2)
                stopped = asyncio.create_task(stop(api, chatbot))
                await waiting(3)
        assert [contents(await each) for each in (first, second, third)] == [["re: a"], ["b"], ["c"]]
        assert contents(await stopped) == ["b", "c"]
        assert len(model.calls) == 1, "no model is called for what was stopped before it began"
        await assert_at_rest(api, chatbot)


async def test_what_waits_may_be_stopped_as_its_turn_comes(tmp_path: Path) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=answering({"slow": [pause, "re: slow"]})) as api:
        chatbot = await api.chatbot()
        first = await asking_held(api, chatbot, pause, "slow")
        waiting = await queueing(api, chatbot, "b", "c", "d")
        pause.resume()
        assert (await stop(api, chatbot)).status == 200
        assert {(await each).status for each in (first, *waiting)} == {201}
        await until_settled(api, chatbot)
        await assert_at_rest(api, chatbot)
        assert contents(await ask(api, chatbot, "e")) == ["re: e"]


# --- retry ---


async def test_a_retry_replaces_the_reply_which_stays_readable(tmp_path: Path) -> None:
    model = script_of(["one"], ["two"], ["three"])
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot()
        (first,) = await api.say(chatbot, "a")
        second = (await retry(api, chatbot, first)).body[0]
        (third,) = (await retry(api, chatbot, {**first, "id": first["in_reply_to"]}, {"stream": True})).events[-2:-1]
        found = {m["id"]: m for m in await api.messages(chatbot)}
        assert [m["content"] for m in found.values()] == ["a", "one", "two", "three"]
        assert found[first["id"]]["replaced_by"] == second["id"]
        assert found[second["id"]]["replaced_by"] == third[1]["id"]
        assert found[third[1]["id"]]["replaced_by"] is None
        assert [told(call) for call in model.calls] == [["a"]] * 3
        await api.say(chatbot, "next")
        assert told(model.calls[-1]) == ["a", "three", "next"], "what was replaced is forgotten"
        await assert_at_rest(api, chatbot)


async def test_an_old_prompt_is_answered_anew_with_what_was_known_then(tmp_path: Path) -> None:
    model = script_of(["one"], ["two"], ["three"])
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot()
        await api.say(chatbot, "before")
        (reply,) = await api.say(chatbot, "a")
        await api.say(chatbot, "after")
        assert (await api.post(f"{chatbot}/conversations/c1/takeover", {"operator": "eve"})).status == 200
        assert (await api.post(f"{chatbot}/conversations/c1/release")).status == 200
        for expected in ("two", "three"):
            assert contents(await retry(api, chatbot, reply)) == [expected]
            assert told(model.calls[-1]) == ["before", "re: before", "a"], "nothing of later, however often"
        await api.say(chatbot, "next")
        assert [text for text in told(model.calls[-1]) if "human" not in text] == [
            *("before", "re: before", "a", "three", "after", "re: after", "next"),
        ], "each reply behind its prompt"


async def test_a_retry_that_has_to_wait_knows_no_more_than_one_that_does_not(tmp_path: Path) -> None:
    pause = Pause()
    model = script_of(["one"], ["two"], slow=[pause, "re: slow"])
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot()
        (reply,) = await api.say(chatbot, "a")
        first = await asking_held(api, chatbot, pause, "slow")
        retried = await retrying(api, chatbot, reply)
        pause.resume()
        assert contents(await first) == ["re: slow"]
        assert contents(await retried) == ["two"]
        assert told(model.calls[-1]) == ["a"]
        assert (await state(api, chatbot))["queued"] == 0


async def test_a_prompt_that_had_waited_is_answered_anew_with_the_answer_it_waited_for(tmp_path: Path) -> None:
    pause = Pause()
    model = script_of(["one"], ["two"], slow=[pause, "re: slow"])
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot()
        await asking_held(api, chatbot, pause, "slow")
        waiting = await queueing(api, chatbot, "a", "later")
        pause.resume()
        (reply,) = (await waiting[0]).body
        await waiting[1]
        assert contents(await retry(api, chatbot, reply)) == ["two"]
        assert told(model.calls[1]) == told(model.calls[-1]) == ["slow", "re: slow", "a"]


async def test_all_alternatives_give_way_to_the_new_ones(tmp_path: Path) -> None:
    async with gigachat(tmp_path, model=script_of(["one"], ["two"])) as api:
        chatbot = await api.chatbot(response={"n": 2})
        old = await api.say(chatbot, "a")
        new = (await retry(api, chatbot, old[1])).body
        assert [m["alternative"] for m in new] == [0, 1]
        stored = await api.messages(chatbot)
        assert [m["replaced_by"] for m in stored] == [None, new[0]["id"], new[0]["id"], None, None]


async def test_a_retry_that_fails_leaves_the_reply_there_was(tmp_path: Path) -> None:
    model = script_of(["one"], [ModelUnreachable()], ["three"])
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot()
        (reply,) = await api.say(chatbot, "a")
        assert (await retry(api, chatbot, reply)).code == "upstream_unreachable"
        prompt, held = await api.messages(chatbot)
        assert (prompt["turn"], prompt["status"], prompt["error"]) == ("done", "completed", "upstream_unreachable")
        assert held == reply
        await api.say(chatbot, "next")
        assert told(model.calls[-1]) == ["a", "one", "next"]
        assert contents(await retry(api, chatbot, reply)) == ["three"]
        assert (await api.messages(chatbot))[0]["turn"] == "done"


@pytest.mark.parametrize("ending", ["stop", "takeover"])
async def test_a_retry_ended_before_its_first_word_leaves_the_reply_there_was(tmp_path: Path, ending: str) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=script_of(["one"], [pause, "two"])) as api:
        chatbot = await api.chatbot()
        (reply,) = await api.say(chatbot, "a")
        headers = {"Idempotency-Key": "k"}
        retried = asyncio.create_task(retry(api, chatbot, reply, headers=headers))
        await pause.reached.wait()
        body = {"operator": "eve"} if ending == "takeover" else None
        assert (await api.post(f"{chatbot}/conversations/c1/{ending}", body)).status == 200
        assert (await retried).body == [reply]
        assert (await retry(api, chatbot, reply, headers=headers)).text == (await retried).text
        assert (await api.messages(chatbot))[1] == reply


async def test_a_retry_of_what_is_being_answered_attaches_to_it(tmp_path: Path) -> None:
    pause = Pause()
    model = script_of(["one ", pause, "two"])
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot()
        first = await asking_held(api, chatbot, pause, "a")
        (prompt,) = await api.messages(chatbot)
        streamed = [asyncio.create_task(retry(api, chatbot, prompt, {"stream": True})) for _ in range(4)]

        async def are_attached() -> bool:
            return sum(len(turn.speech._watchers) for turn in api.services.turns._live) == 4

        await until(are_attached)
        pause.resume()
        assert [message["content"] for message in (await first).body] == ["one two"]
        for each in streamed:
            assert "".join(d["text"] for name, d in (await each).events if name == "delta") == "one two"
        assert len(model.calls) == 1
        await assert_at_rest(api, chatbot)


async def test_a_retry_does_not_hide_the_running_turn_from_stop(tmp_path: Path) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=script_of(["half", pause, " never"])) as api:
        chatbot = await api.chatbot()
        first = await asking_held(api, chatbot, pause, "a")
        (prompt,) = await api.messages(chatbot)
        retried = asyncio.create_task(retry(api, chatbot, prompt, {"stream": True}))

        async def is_watched() -> bool:
            return any(turn.speech._watchers for turn in api.services.turns._live)

        await until(is_watched)
        await api.services.lifecycle.renew_leases()
        (partial,) = (await stop(api, chatbot)).body
        assert (partial["content"], partial["status"]) == ("half", "stopped"), "what was shown is stored"
        assert (await first).body == [partial]
        assert (await retried).events[-2][1] == partial
        assert len(list(api.services.turns._live)) == 0


async def test_a_server_that_stops_is_not_held_up_by_a_retry(tmp_path: Path) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=script_of(["half", pause, " never"])) as api:
        chatbot = await api.chatbot()
        first = await asking_held(api, chatbot, pause, "a")
        (prompt,) = await api.messages(chatbot)
        retried = asyncio.create_task(retry(api, chatbot, prompt, {"stream": True}))

        async def is_watched() -> bool:
            return any(turn.speech._watchers for turn in api.services.turns._live)

        await until(is_watched)
        await api.services.turns.drain(0)
        assert (await first).code == "shutting_down"
        assert (await retried).events[-1][1]["code"] == "shutting_down"
        assert ("half", "incomplete", "assistant") in await history(api, chatbot)


async def test_a_retry_that_is_refused_leaves_nobody_waiting(tmp_path: Path) -> None:
    model = script_of([ModelUnreachable()], ["one"])
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot()
        assert (await ask(api, chatbot, "a", idempotency_key="k")).status == 502
        (prompt,) = await api.messages(chatbot)
        assert (await api.post(f"{chatbot}/conversations/c1/takeover", {"operator": "eve"})).status == 200
        tasks = [
            asyncio.create_task(each)
            for _ in range(5)
            for each in (retry(api, chatbot, prompt), ask(api, chatbot, "a", idempotency_key="k"))
        ]
        replies = [await task for task in tasks]
        assert {reply.code for reply in replies[::2]} <= {"conversation_taken_over"}
        for reply in replies[1::2]:
            assert [m["turn"] for m in reply.body] == ["intercepted"]
        assert len(list(api.services.turns._live)) == 0


async def test_retries_at_once_are_one(tmp_path: Path) -> None:
    pause = Pause()
    model = script_of(["one"], [pause, "two"])
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot()
        (reply,) = await api.say(chatbot, "a")
        tasks = [asyncio.create_task(retry(api, chatbot, reply, {"stream": True})) for _ in range(6)]
        await pause.reached.wait()

        async def are_attached() -> bool:
            return sum(len(turn.speech._watchers) for turn in api.services.turns._live) == 6

        await until(are_attached)
        pause.resume()
        ends = [(await task).events[-2] for task in tasks]
        assert ends == [("message", (await api.messages(chatbot))[-1])] * 6
        assert ends[0][1]["content"] == "two"
        assert len(model.calls) == 2
        await assert_at_rest(api, chatbot)


async def test_what_cannot_be_retried(tmp_path: Path) -> None:
    pause = Pause()
    model = answering({"slow": [pause, "re: slow"]})
    async with gigachat(tmp_path, model=model) as api:
        chatbot, sibling = await api.chatbot(response={"overlap": "reject"}), await api.chatbot()
        (reply,) = await api.say(chatbot, "a")
        (injected,) = await api.say(chatbot, "I am here", user="client:eve")
        assert (await retry(api, chatbot, injected)).fields == {"message_id"}
        await api.post(f"{chatbot}/conversations/c1/handoff", {})
        system = (await api.messages(chatbot))[-1]
        assert (system["role"], (await retry(api, chatbot, system)).fields) == ("system", {"message_id"})
        for place in ({"conversation_id": "c2"}, {"id": FOREIGN}, {"id": "nonsense"}, {"id": "%00"}, {"id": "x" * 300}):
            assert (await retry(api, chatbot, {**reply, **place})).code == "not_found"
        assert (await retry(api, sibling, reply)).code == "not_found"
        bodies: list[Any] = [{"stream": 1}, {"n": 2}, [], "x"]
        for body in bodies:
            assert (await retry(api, chatbot, reply, body)).status == 422
        first = await asking_held(api, chatbot, pause, "slow")
        assert (await retry(api, chatbot, reply)).code == "conversation_busy"
        pause.resume()
        await first
        await api.post(f"{chatbot}/conversations/c1/takeover", {"operator": "eve"})
        assert (await retry(api, chatbot, reply)).code == "conversation_taken_over"
        assert (await api.messages(chatbot))[1] == reply
        await api.post(f"{chatbot}/conversations/c1/release")
        assert contents(await retry(api, chatbot, reply)) == ["re: a"]


async def test_a_prompt_that_a_human_was_to_answer_can_be_answered_after_release(tmp_path: Path) -> None:
    model = answering({})
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot()
        await api.say(chatbot, "before")
        await api.post(f"{chatbot}/conversations/c1/takeover", {"operator": "eve"})
        (prompt,) = await api.say(chatbot, "a")
        await api.say(chatbot, "not me", user="client:eve")
        await api.post(f"{chatbot}/conversations/c1/release")
        assert contents(await retry(api, chatbot, prompt)) == ["re: a"]
        assert [text for text in told(model.calls[-1]) if "human" not in text] == ["before", "re: before", "a"]
        assert (await api.messages(chatbot))[2]["turn"] == "done"


async def test_what_breaks_off_in_a_retry_is_kept_and_tried_again(tmp_path: Path) -> None:
    model = script_of(["one"], ["ha", ModelInterrupted()], ["three"])
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot()
        (reply,) = await api.say(chatbot, "a")
        headers = {"Idempotency-Key": "k"}
        assert (await retry(api, chatbot, reply, headers=headers)).code == "upstream_interrupted"
        prompt, held, broken = await api.messages(chatbot)
        assert (broken["content"], broken["status"], broken["replaced_by"]) == ("ha", "incomplete", reply["id"])
        assert (held, prompt["turn"], prompt["error"]) == (reply, "done", "upstream_interrupted")
        await api.say(chatbot, "next")
        assert told(model.calls[-1]) == ["a", "one", "next"], "a whole reply does not give way to half of one"
        assert contents(await retry(api, chatbot, reply, headers=headers)) == ["three"]
        await assert_at_rest(api, chatbot)


async def test_a_deleted_prompt_is_not_answered_anew(tmp_path: Path) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=script_of(["one"], [pause, "two"])) as api:
        chatbot = await api.chatbot()
        (reply,) = await api.say(chatbot, "a")
        retried = asyncio.create_task(retry(api, chatbot, reply))
        await pause.reached.wait()
        assert (await api.call("DELETE", f"{chatbot}/conversations/c1")).status == 204
        assert (await retried).code == "not_found"
        assert (await retry(api, chatbot, reply)).code == "not_found"
        assert await rows(api, "SELECT * FROM messages") == []


# --- feedback ---


async def rate(api: Api, chatbot: str, message: dict[str, Any], body: Any, **options: Any) -> Reply:
    path = f"{chatbot}/conversations/{message['conversation_id']}/messages/{message['id']}/feedback"
    return await api.call("PUT", path, body, **options)


async def test_feedback_is_kept_changed_and_taken_back(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        (reply,) = await api.say(chatbot, "a")
        up = await rate(api, chatbot, reply, {"rating": "up", "text": "Thanks\nü"})
        assert (up.status, up.body["feedback"]) == (200, {"rating": "up", "text": "Thanks\nü"})
        assert (await rate(api, chatbot, reply, {"rating": "up", "text": "Thanks\nü"})).text == up.text, "twice is once"
        assert (await api.messages(chatbot))[1] == up.body
        down = await rate(api, chatbot, reply, {"rating": "down"})
        assert down.body["feedback"] == {"rating": "down", "text": ""}
        assert down.body["updated_at"] > up.body["updated_at"]
        assert (await rate(api, chatbot, reply, {"rating": None, "text": "why"})).body["feedback"]["text"] == "why"
        assert (await rate(api, chatbot, reply, {"rating": None})).body["feedback"] is None
        types = [row[0] for row in await rows(api, "SELECT type FROM events ORDER BY seq")]
        assert types == ["message.created"] * 2 + ["message.feedback"] * 4
        await assert_at_rest(api, chatbot)


async def test_a_replaced_reply_keeps_its_feedback_and_takes_more(tmp_path: Path) -> None:
    async with gigachat(tmp_path, model=script_of(["one"], ["two"])) as api:
        chatbot = await api.chatbot()
        (old,) = await api.say(chatbot, "a")
        await rate(api, chatbot, old, {"rating": "down"})
        (new,) = (await retry(api, chatbot, old)).body
        assert new["feedback"] is None
        again = await rate(api, chatbot, old, {"rating": "up"})
        assert (again.body["feedback"]["rating"], again.body["replaced_by"]) == ("up", new["id"])


async def test_what_takes_no_feedback(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot, sibling = await api.chatbot(), await api.chatbot()
        (reply,) = await api.say(chatbot, "a")
        (injected,) = await api.say(chatbot, "I am here", user="client:eve")
        prompt = (await api.messages(chatbot))[0]
        for message in (prompt, injected):
            assert (await rate(api, chatbot, message, {"rating": "up"})).fields == {"message_id"}
        for place in ({"conversation_id": "c2"}, {"id": FOREIGN}, {"id": "nonsense"}, {"id": "%00"}):
            assert (await rate(api, chatbot, {**reply, **place}, {"rating": "up"})).code == "not_found"
        assert (await rate(api, sibling, reply, {"rating": "up"})).code == "not_found"
        other = await api.services.key_ring.ensure_account("other")
        _, foreign = await api.services.key_ring.create(other.id, "foreign")
        assert (await rate(api, chatbot, reply, {"rating": "up"}, key=foreign)).code == "not_found"
        for body, field in (
            ({}, "rating"),
            ({"rating": "good"}, "rating"),
            ({"rating": 1}, "rating"),
            ({"rating": "up", "text": 5}, "text"),
            ({"rating": "up", "text": "x" * 4001}, "text"),
            ({"rating": "up", "text": "a\x00b"}, "text"),
            ({"rating": "up", "text": "\ud800"}, "text"),
            ({"rating": "up", "by": "ann"}, "by"),
        ):
            refused = await rate(api, chatbot, reply, body)
            assert (refused.status, refused.fields) == (422, {field}), body
        assert (await api.messages(chatbot))[1] == reply


async def test_what_is_said_while_it_is_decided_whether_a_turn_goes_on_stays_when_it_fails(tmp_path: Path) -> None:
    """It is shown once nothing came of the decision, so it is stored."""
    pause, second = Pause(), Pause()
    model = ScriptedModel(["one ", pause, "two", second, ModelUnreachable()])
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot()
        first = await asking_held(api, chatbot, pause, "a")
        with api.services.turns._live.frozen(chatbot.removeprefix("/chatbots/"), "c1"):
            pause.resume()
            await second.reached.wait()
            second.resume()
            assert (await first).code == "upstream_unreachable"
        assert await history(api, chatbot) == [("a", "completed", "failed"), ("one two", "incomplete", "assistant")]


async def test_nothing_is_said_of_a_reviewed_reply_that_fails(tmp_path: Path) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=ScriptedModel(["one ", pause, ModelUnreachable()])) as api:
        chatbot = await api.chatbot(interception={"review": "all"})
        first = await asking_held(api, chatbot, pause, "a")
        pause.resume()
        assert (await first).code == "upstream_unreachable"
        assert await history(api, chatbot) == [("a", "failed", "failed")]
        assert await rows(api, "SELECT * FROM proposals") == []
