"""Prompts that arrive while another is being answered: they wait, are refused, interrupt, or are answered together."""

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
    Clock,
    answering,
    ask,
    asking,
    asking_held,
    assert_at_rest,
    contents,
    history,
    queueing,
    rows,
    state,
    told,
    until_settled,
)

# --- queue ---


async def test_eight_prompts_wait_in_order_and_a_ninth_is_not_stored(tmp_path: Path) -> None:
    pause = Pause()
    model = answering({"p0": [pause, "re: p0"]})
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot(response={"memory_size": 100})
        first = await asking_held(api, chatbot, pause, "p0")
        waiting = await queueing(api, chatbot, *(f"p{i}" for i in range(1, 9)))
        busy = await ask(api, chatbot, "p9")
        assert (busy.status, busy.code, busy.headers["Retry-After"]) == (409, "conversation_busy", "1")
        streamed = await ask(api, chatbot, "p9", stream=True)
        assert (streamed.status, streamed.code) == (409, "conversation_busy"), "an error before the first byte is a status"
        assert [m["turn"] for m in await api.messages(chatbot)] == ["running", *["queued"] * 8]
        pause.resume()
        replies = [await first, *[await each for each in waiting]]
        assert [contents(reply) for reply in replies] == [[f"re: p{i}"] for i in range(9)]
        for i, call in enumerate(model.calls):
            assert told(call) == [text for j in range(i) for text in (f"p{j}", f"re: p{j}")] + [f"p{i}"]
        stored = await api.messages(chatbot)
        assert [m["content"] for m in stored if m["role"] == "user"] == [f"p{i}" for i in range(9)]
        assert [m["content"] for m in stored if m["role"] == "assistant"] == [f"re: p{i}" for i in range(9)]
        assert {m["turn"] for m in stored if m["role"] == "user"} == {"done"}
        assert contents(await ask(api, chatbot, "p9")) == ["re: p9"]
        await assert_at_rest(api, chatbot)


async def test_a_stream_that_waits_starts_at_once_and_shows_its_own_words_alone(tmp_path: Path) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=answering({"slow": ["one", pause, " two"]})) as api:
        chatbot = await api.chatbot()
        first = await asking_held(api, chatbot, pause, "slow", stream=True)
        (second,) = await queueing(api, chatbot, "quick", stream=True)
        pause.resume()
        seen = (await second).events
        assert (seen[0][0], seen[0][1]["prompt"]["turn"]) == ("start", "queued")
        assert [data["text"] for name, data in seen if name == "delta"] == ["re: quick"]
        assert [name for name, _ in seen[-2:]] == ["message", "done"]
        assert seen[-2][1]["id"] == seen[0][1]["message_ids"][0]
        assert [name for name, _ in (await first).events][-1] == "done"


@pytest.mark.parametrize("script", [[ModelUnreachable()], ["Half", ModelInterrupted()], []])
async def test_those_behind_a_prompt_that_fails_are_answered(tmp_path: Path, script: list[Any]) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=answering({"bad": [pause, *script]})) as api:
        chatbot = await api.chatbot()
        first = await asking_held(api, chatbot, pause, "bad")
        waiting = await queueing(api, chatbot, "b", "c")
        pause.resume()
        assert (await first).status == 502
        assert [contents(await each) for each in waiting] == [["re: b"], ["re: c"]]
        turns = [m["turn"] for m in await api.messages(chatbot) if m["role"] == "user"]
        assert turns == ["failed", "done", "done"]
        await assert_at_rest(api, chatbot)


async def test_a_bug_in_one_turn_does_not_keep_the_next_from_its_answer(tmp_path: Path) -> None:
    pause = Pause()
    passed = 0

    async def raise_once() -> None:
        nonlocal passed
        passed += 1
        if passed == 1:
            raise RuntimeError("a bug")

    async with gigachat(tmp_path, model=answering({"a": [pause, "re: a"]})) as api:
        chatbot = await api.chatbot()
        first = await asking_held(api, chatbot, pause, "a")
        (second,) = await queueing(api, chatbot, "b")
        with acting("S7", raise_once):
            pause.resume()
            assert (await first).code == "internal_error"
            assert contents(await second) == ["re: b"]
        prompt = (await api.messages(chatbot))[0]
        assert (prompt["turn"], prompt["error"], prompt["status"]) == ("failed", "internal_error", "completed")
        assert ("re: a", "incomplete", "assistant") in await history(api, chatbot), "what was shown is kept"
        await assert_at_rest(api, chatbot)


@pytest.mark.parametrize("deleted", ["conversation", "chatbot", "user"])
async def test_nobody_waits_for_what_was_deleted(tmp_path: Path, deleted: str) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=answering({"slow": ["words", pause, " more"]})) as api:
        chatbot = await api.chatbot()
        if deleted == "user":  # a conversation that others share is not deleted with one of them
            await api.say(chatbot, "Hello", user="bob")
        first = await asking_held(api, chatbot, pause, "slow")
        waiting = await queueing(api, chatbot, "b", "c", stream=True)
        path = {"conversation": "/conversations/c1", "chatbot": "", "user": "/users/ann"}[deleted]
        assert (await api.call("DELETE", chatbot + path)).status == 204
        for each in waiting:
            assert [name for name, _ in (await each).events] == ["start", "error"]
        pause.resume()
        assert (await first).code == "not_found"
        if deleted == "user":
            assert await history(api, chatbot) == [("Hello", "completed", "done"), ("re: Hello", "completed", "assistant")]
            await assert_at_rest(api, chatbot)
            assert contents(await ask(api, chatbot, "Still there?", user="bob")) == ["re: Still there?"]
        else:
            assert (await api.get(f"{chatbot}/conversations/c1")).status == 404
        assert await rows(api, "SELECT * FROM drafts") == []


async def test_whoever_waits_behind_an_erased_user_goes_on_at_once(tmp_path: Path) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=answering({"slow": ["words", pause, " more"]})) as api:
        chatbot = await api.chatbot(response={"overlap": "queue"})
        first = await asking_held(api, chatbot, pause, "slow", user="ann")
        (second,) = await queueing(api, chatbot, "b", user="bob")
        await backdate_and_keep_drafts(api)
        assert len(await rows(api, "SELECT * FROM drafts")) == 1
        assert (await api.call("DELETE", f"{chatbot}/users/ann")).status == 204
        assert await rows(api, "SELECT * FROM drafts") == [], "nothing of an erased user is kept"
        assert contents(await second) == ["re: b"]
        pause.resume()
        assert (await first).code == "not_found"
        assert await history(api, chatbot) == [("b", "completed", "done"), ("re: b", "completed", "assistant")]
        await assert_at_rest(api, chatbot)


async def backdate_and_keep_drafts(api: Api) -> None:
    """Drafts are kept of replies that last for a while: these have."""
    for turn in api.services.turns._live:
        if turn.lease is not None:
            turn.lease.began_at_s -= 1
    await api.services.lifecycle.keep_drafts()


# --- settings that change while prompts wait ---


async def test_a_waiting_prompt_is_answered_as_the_chatbot_is_set_when_its_turn_comes(tmp_path: Path) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=answering({"slow": [pause, "re: slow"]})) as api:
        chatbot = await api.chatbot()
        first = await asking_held(api, chatbot, pause, "slow")
        (second,) = await queueing(api, chatbot, "b")
        assert (await api.call("PATCH", chatbot, {"response": {"n": 3}})).status == 200
        pause.resume()
        assert contents(await first) == ["re: slow"]
        replies = await second
        assert contents(replies) == ["re: b"] * 3
        assert [m["alternative"] for m in replies.body] == [0, 1, 2]


@pytest.mark.parametrize("overlap", ["reject", "coalesce", "interrupt"])
async def test_changing_the_overlap_leaves_nobody_behind(tmp_path: Path, overlap: str) -> None:
    pause = Pause()
    model = answering({"slow": [pause, "re: slow"]})
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot()
        first = await asking_held(api, chatbot, pause, "slow")
        waiting = await queueing(api, chatbot, "b", "c")
        assert (await api.call("PATCH", chatbot, {"response": {"overlap": overlap, "coalesce_ms": 1}})).status == 200
        if overlap == "reject":
            assert (await ask(api, chatbot, "d")).code == "conversation_busy"
        if overlap == "interrupt":
            assert contents(await ask(api, chatbot, "d")) == ["re: d"]
            assert contents(await first) == ["slow"]
        pause.resume()
        got = [contents(await each) for each in waiting]
        assert (await first).status == 201
        expected = {
            "reject": [["re: b"], ["re: c"]],
            "coalesce": [["re: b\nc"]] * 2,
            "interrupt": [["b"], ["c"]],
        }[overlap]
        assert got == expected
        await assert_at_rest(api, chatbot)


# --- reject ---


async def test_reject_refuses_a_second_prompt_and_stores_nothing_of_it(tmp_path: Path) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=answering({"slow": [pause, "re: slow"]})) as api:
        chatbot = await api.chatbot(response={"overlap": "reject"})
        first = await asking_held(api, chatbot, pause, "slow")
        busy = await ask(api, chatbot, "b")
        assert (busy.status, busy.code, busy.headers["Retry-After"]) == (409, "conversation_busy", "1")
        assert contents(await ask(api, chatbot, "I am here", user="client:bob")) == ["I am here"], "staff are never refused"
        pause.resume()
        assert (await first).status == 201
        assert contents(await ask(api, chatbot, "b")) == ["re: b"]
        assert [m["content"] for m in await api.messages(chatbot)] == ["slow", "I am here", "re: slow", "b", "re: b"]


# --- interrupt ---


async def test_an_interrupting_prompt_ends_the_reply_which_is_kept_as_far_as_it_was_said(tmp_path: Path) -> None:
    pause = Pause()
    model = answering({"a": ["half ", "of it", pause, " and the rest"]})
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot(response={"overlap": "interrupt"})
        plain = await asking_held(api, chatbot, pause, "a", idempotency_key="k1")
        streamed = asking(api, chatbot, "a", idempotency_key="k1", stream=True)
        await until_attached(api, 2)
        assert contents(await ask(api, chatbot, "b")) == ["re: b"]
        (partial,) = (await plain).body
        assert (partial["content"], partial["status"], partial["role"]) == ("half of it", "stopped", "assistant")
        seen = (await streamed).events
        assert "".join(data["text"] for name, data in seen if name == "delta") in ("half of it", "half ", "")
        assert seen[-2] == ("message", partial)
        again = await ask(api, chatbot, "a", idempotency_key="k1")
        assert (again.text, again.headers["Idempotent-Replayed"]) == ((await plain).text, "true")
        assert await history(api, chatbot) == [
            ("a", "completed", "interrupted"),
            ("half of it", "stopped", "assistant"),
            ("b", "completed", "done"),
            ("re: b", "completed", "assistant"),
        ]
        assert told(model.calls[1]) == ["a", "half of it", "b"], "what was said is remembered"
        assert model.closed_early == 1, "the model is not paid for what nobody hears"
        await assert_at_rest(api, chatbot)


async def until_attached(api: Api, count: int) -> None:
    """So many requests are being answered; attached ones cannot be told apart from outside."""
    live = api.services.turns._live

    async def is_attached() -> bool:
        return sum(len(turn.speech._watchers) for turn in live) >= count - 1

    await until(is_attached)


async def test_an_interrupted_prompt_without_a_word_is_its_own_answer(tmp_path: Path) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=answering({"a": [pause, "late"]})) as api:
        chatbot = await api.chatbot(response={"overlap": "interrupt"})
        first = await asking_held(api, chatbot, pause, "a", idempotency_key="k")
        assert contents(await ask(api, chatbot, "b")) == ["re: b"]
        (prompt,) = (await first).body
        assert (prompt["content"], prompt["turn"], prompt["status"]) == ("a", "interrupted", "completed")
        assert (await ask(api, chatbot, "a", idempotency_key="k")).text == (await first).text
        assert prompt == (await api.messages(chatbot))[0]


async def test_of_many_that_interrupt_each_other_the_last_is_answered(tmp_path: Path) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=ScriptedModel(["words", pause, " more"])) as api:
        chatbot = await api.chatbot(response={"overlap": "interrupt"})
        asked = [asking(api, chatbot, f"p{i}") for i in range(12)]

        async def are_stored() -> bool:
            found = await api.get(f"{chatbot}/conversations/c1/messages?limit=100")
            return found.status == 200 and sum(m["role"] == "user" for m in found.body) == 12

        await until(are_stored)
        pause.resume()
        replies = [await each for each in asked]
        assert {reply.status for reply in replies} == {201}
        stored = await api.messages(chatbot)
        prompts = [m for m in stored if m["role"] == "user"]
        assert [m["turn"] for m in prompts] == ["interrupted"] * 11 + ["done"]
        by_id = {m["id"]: m for m in stored}
        for reply in replies:
            (message,) = reply.body
            assert by_id[message["id"]] == message, "each caller got what is stored"
        await assert_at_rest(api, chatbot)


# --- coalesce ---


async def held_window(api: Api, chatbot: str, hold: Pause, *prompts: str, **more: Any) -> list[asyncio.Task[Reply]]:
    """The first prompt's turn is held before its window; the others have arrived."""
    first = await asking_held(api, chatbot, hold, prompts[0], **more)
    return [first, *await queueing(api, chatbot, *prompts[1:], **more)]


async def test_prompts_that_follow_one_another_are_answered_together(tmp_path: Path) -> None:
    hold = Pause()
    model = answering({})
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot(response={"overlap": "coalesce", "coalesce_ms": 1})
        with acting("S3", hold.hold):
            asked = await held_window(api, chatbot, hold, "a", "b", "c", idempotency_key=None)
            hold.resume()
            replies = [await each for each in asked]
        assert [contents(reply) for reply in replies] == [["re: a\nb\nc"]] * 3
        assert len({reply.text for reply in replies}) == 1, "all callers get the same array"
        assert [told(call) for call in model.calls] == [["a\nb\nc"]]
        stored = await api.messages(chatbot)
        assert [m["turn"] for m in stored[:3]] == ["coalesced", "coalesced", "done"]
        assert stored[3]["in_reply_to"] == stored[2]["id"]
        assert contents(await ask(api, chatbot, "d")) == ["re: d"]
        assert told(model.calls[1]) == ["a", "b", "c", "re: a\nb\nc", "d"]
        await assert_at_rest(api, chatbot)


async def test_nine_prompts_are_answered_together_and_a_tenth_is_refused(tmp_path: Path) -> None:
    hold = Pause()
    model = answering({})
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot(response={"overlap": "coalesce", "coalesce_ms": 60_000})
        await api.call("PATCH", chatbot, {"response": {"coalesce_ms": 1}})
        with acting("S3", hold.hold):
            asked = await held_window(api, chatbot, hold, *(f"p{i}" for i in range(9)))
            assert (await ask(api, chatbot, "p9")).code == "conversation_busy"
            hold.resume()
            assert len({(await each).text for each in asked}) == 1
        assert len(model.calls) == 1
        await assert_at_rest(api, chatbot)


async def test_a_prompt_within_the_window_keeps_it_open(tmp_path: Path) -> None:
    clock = Clock()
    model = answering({})
    async with gigachat(tmp_path, model=model, clock=clock) as api:
        chatbot = await api.chatbot(response={"overlap": "coalesce", "coalesce_ms": 150})
        first = asking(api, chatbot, "a")  # as long as the clock stands still, the window stays open

        async def is_answering() -> bool:
            return (await api.get(f"{chatbot}/conversations/c1")).status == 200

        await until(is_answering)
        (second,) = await queueing(api, chatbot, "b")
        clock.move(minutes=1)
        assert contents(await first) == contents(await second) == ["re: a\nb"]
        assert len(model.calls) == 1


async def test_what_arrives_while_the_joined_turn_runs_waits_for_a_turn_of_its_own(tmp_path: Path) -> None:
    hold, pause = Pause(), Pause()
    model = answering({"a\nb": ["one ", pause, "answer"]})
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot(response={"overlap": "coalesce", "coalesce_ms": 1})
        with acting("S3", hold.hold):
            asked = await held_window(api, chatbot, hold, "a", "b", stream=True)
            hold.resume()
            await pause.reached.wait()
        later = await queueing(api, chatbot, "c")
        pause.resume()
        for each in asked:
            seen = (await each).events
            assert "".join(data["text"] for name, data in seen if name == "delta") == "one answer"
            assert [name for name, _ in seen[-2:]] == ["message", "done"]
        assert contents(await later[0]) == ["re: c"]
        assert told(model.calls[1]) == ["a", "b", "one answer", "c"]
        await assert_at_rest(api, chatbot)


async def test_followers_hear_the_words_of_a_joined_turn(tmp_path: Path) -> None:
    hold, pause = Pause(), Pause()
    async with gigachat(tmp_path, model=answering({"a\nb": ["one ", pause, "answer"]})) as api:
        chatbot = await api.chatbot(response={"overlap": "coalesce", "coalesce_ms": 1})
        with acting("S3", hold.hold):
            asked = await held_window(api, chatbot, hold, "a", "b")
            hold.resume()
            await pause.reached.wait()
        running = api.services.turns._live.running(chatbot.removeprefix("/chatbots/"), "c1")
        assert running is not None
        said = running.speech.after(0)
        assert said is not None and said.text == "one "
        pause.resume()
        assert len({(await each).text for each in asked}) == 1


@pytest.mark.parametrize("ending", ["stop", "takeover", "conversation"])
async def test_what_ends_a_conversation_ends_its_window_too(tmp_path: Path, ending: str) -> None:
    model = answering({})
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot(response={"overlap": "coalesce", "coalesce_ms": 60_000})
        first = asking(api, chatbot, "a")

        async def is_answering() -> bool:
            return (await api.get(f"{chatbot}/conversations/c1")).status == 200

        await until(is_answering)
        (second,) = await queueing(api, chatbot, "b")
        if ending == "conversation":
            assert (await api.call("DELETE", f"{chatbot}/conversations/c1")).status == 204
            assert (await second).code == "not_found"
            assert (await first).code == "not_found", "not after a minute"
        else:
            body = {"operator": "eve"} if ending == "takeover" else None
            assert (await api.post(f"{chatbot}/conversations/c1/{ending}", body)).status == 200
            assert [contents(await each) for each in (first, second)] == [["a"], ["b"]]
            await assert_at_rest(api, chatbot)
        assert model.calls == []


async def test_a_joined_turn_that_fails_fails_for_all_and_is_tried_again_for_all(tmp_path: Path) -> None:
    hold = Pause()
    model = ScriptedModel([ModelUnreachable()], ["better"])
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot(response={"overlap": "coalesce", "coalesce_ms": 1})
        with acting("S3", hold.hold):
            first = await asking_held(api, chatbot, hold, "a", idempotency_key="ka")
            (second,) = await queueing(api, chatbot, "b", idempotency_key="kb")
            hold.resume()
            assert [(await each).code for each in (first, second)] == ["upstream_unreachable"] * 2
        again = await ask(api, chatbot, "a", idempotency_key="ka")
        assert contents(again) == ["better"]
        assert (await ask(api, chatbot, "b", idempotency_key="kb")).text == again.text
        assert told(model.calls[1]) == ["a\nb"], "asked the same again"
        assert [m["content"] for m in await api.messages(chatbot)] == ["a", "b", "better"]


async def test_a_prompt_that_is_answered_anew_is_not_joined_with_others(tmp_path: Path) -> None:
    hold = Pause()
    model = answering({})
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot(response={"overlap": "coalesce", "coalesce_ms": 1})
        for prompt in ("old", "between"):
            await api.say(chatbot, prompt)
        old = (await api.messages(chatbot))[0]
        with acting("S3", hold.hold):
            first = await asking_held(api, chatbot, hold, "new", idempotency_key="k")
            retried = asyncio.create_task(api.post(f"{chatbot}/conversations/c1/messages/{old['id']}/retry"))

            async def is_queued() -> bool:
                return bool((await state(api, chatbot))["queued"] == 1)

            await until(is_queued)
            hold.resume()
            assert contents(await first) == ["re: new"]
            assert contents(await retried) == ["re: old"]
        assert (await ask(api, chatbot, "new", idempotency_key="k")).text == (await first).text
        assert [m["turn"] for m in await api.messages(chatbot) if m["role"] == "user"] == ["done"] * 3
        await until_settled(api, chatbot)
        await assert_at_rest(api, chatbot)


async def test_alternatives_of_a_joined_turn_reach_all(tmp_path: Path) -> None:
    hold = Pause()
    model = ScriptedModel([TextDelta(1, "B"), ReplyEnd(1), TextDelta(0, "A"), ReplyEnd(0)])
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot(response={"overlap": "coalesce", "coalesce_ms": 1, "n": 2})
        with acting("S3", hold.hold):
            asked = await held_window(api, chatbot, hold, "a", "b")
            hold.resume()
            assert [contents(await each) for each in asked] == [["A", "B"]] * 2
