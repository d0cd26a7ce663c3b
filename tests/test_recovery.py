"""What becomes of turns whose process was killed, froze, or could not write; and that no draft outlives its turn.

A kill is a copy of the store, taken while the turn is where it is, on which a gigachat is started: it finds
exactly what a process that was killed at that moment leaves behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from gigachat_server.chat.turns import lifecycle
from gigachat_server.clock import system_clock
from gigachat_server.errors import ModelInterrupted, ModelUnreachable
from gigachat_server.models.base import TextDelta
from gigachat_server.models.fake import Pause, ScriptedModel
from gigachat_server.store.database import Tx
from gigachat_server.triggers import acting
from tests import stores
from tests.harness import Api, gigachat, until
from tests.turns import (
    Clock,
    answering,
    ask,
    asking,
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


def killed(folder: Path, name: str) -> Path:
    """The folder as a kill at this moment would leave it."""
    copy = folder.parent / name
    stores.current().copy(folder, copy)
    return copy


def later(*, minutes: int) -> Callable[[], int]:
    """By then the leases of a killed process have run out: nodes of a shared store cannot know that it is dead."""
    return lambda: system_clock() + minutes * 60_000_000


async def keep_drafts(api: Api) -> int:
    """As for a reply that has lasted for a while; how many there are."""
    for turn in api.services.turns._live:
        if turn.lease is not None:
            turn.lease.began_at_s -= 1

    async def are_kept() -> bool:
        """Not yet where the loop's own pass is about to store them, or another transaction holds the conversation's row."""
        await api.services.lifecycle.keep_drafts()
        stored: dict[str, int] = dict(await rows(api, "SELECT prompt_id, sum(length(content)) FROM drafts GROUP BY prompt_id"))
        talking = [turn for turn in api.services.turns._live if turn.is_running and turn.speech.length]
        return all(stored.get(turn.prompt_id) == turn.speech.length for turn in talking)

    await until(are_kept)
    return len(await rows(api, "SELECT * FROM drafts"))


# --- killed ---


async def test_what_was_shown_before_a_kill_is_kept_and_those_who_waited_are_answered(tmp_path: Path) -> None:
    pause, folder = Pause(), tmp_path / "first"
    async with gigachat(folder, model=answering({"a": ["half ", "said", pause]})) as api:
        chatbot, key = await api.chatbot(documents={"results": {"match_threshold": 0.0}}), api.key
        await api.push(chatbot, "doc", "a b c")
        await asking_held(api, chatbot, pause, "a", idempotency_key="k")
        await queueing(api, chatbot, "b", "c", idempotency_key=None)
        assert await keep_drafts(api) == 1
        assert [m["content"] for m in await api.messages(chatbot)] == ["a", "b", "c"], "history never shows a draft"
        left = killed(folder, "second")
        pause.resume()
    model = answering({"a": ["whole"]})
    async with gigachat(left, model=model, clock=later(minutes=1)) as api:
        api.key = key
        await until_settled(api, chatbot)
        assert await history(api, chatbot) == [
            ("a", "completed", "failed"),
            ("b", "completed", "done"),
            ("c", "completed", "done"),
            ("half said", "incomplete", "assistant"),
            ("re: b", "completed", "assistant"),
            ("re: c", "completed", "assistant"),
        ]
        prompt, _, _, partial, *_ = await api.messages(chatbot)
        assert (prompt["error"], partial["in_reply_to"]) == ("reply_cut_off", prompt["id"])
        assert [source["name"] for source in partial["sources"]] == ["doc-0"]
        assert told(model.calls[0]) == ["a", "half said", "b"]
        await assert_at_rest(api, chatbot)
        again = await ask(api, chatbot, "a", idempotency_key="k")
        assert contents(again) == ["whole"], "the same request has it answered after all"
        assert (await api.messages(chatbot))[3]["replaced_by"] == again.body[0]["id"]
        await assert_at_rest(api, chatbot)


async def test_a_prompt_of_which_nothing_was_shown_is_answered_after_a_kill_but_once_more_only(tmp_path: Path) -> None:
    pause, folder = Pause(), tmp_path / "first"
    async with gigachat(folder, model=answering({"a": [pause, "one"]})) as api:
        chatbot, key = await api.chatbot(), api.key
        await api.say(chatbot, "before")
        await asking_held(api, chatbot, pause, "a", idempotency_key="k")
        left = killed(folder, "second")
        pause.resume()
    pause = Pause()
    model = answering({"a": [pause, "two"]})
    async with gigachat(left, model=model, clock=later(minutes=1)) as api:
        api.key = key
        await pause.reached.wait()
        assert told(model.calls[0]) == ["before", "re: before", "a"]
        attached = asyncio.create_task(ask(api, chatbot, "a", idempotency_key="k"))
        (poison,) = await queueing(api, chatbot, "next")
        left = killed(left, "third")
        pause.resume()
        assert contents(await attached) == ["two"]
        assert (await api.messages(chatbot))[2]["turn"] == "done"
        await poison
        await assert_at_rest(api, chatbot)
    async with gigachat(left, model=answering({"a": ["three"]}), clock=later(minutes=2)) as api:
        api.key = key
        await until_settled(api, chatbot)
        assert (await history(api, chatbot))[2:] == [
            ("a", "failed", "failed"),
            ("next", "completed", "done"),
            ("re: next", "completed", "assistant"),
        ]
        assert (await api.messages(chatbot))[2]["error"] == "reply_cut_off"
        assert contents(await ask(api, chatbot, "a", idempotency_key="k")) == ["three"]
        await assert_at_rest(api, chatbot)


async def test_a_kill_at_any_step_loses_and_doubles_nothing(tmp_path: Path) -> None:
    for step in ("S3", "S4", "S5", "S6", "S7", "S9"):
        pause, folder = Pause(), tmp_path / step
        async with gigachat(folder, model=answering({})) as api:
            chatbot, key = await api.chatbot(), api.key
            with acting(step, pause.hold):
                asked = await asking_held(api, chatbot, pause, "a", idempotency_key="k")
                left = killed(folder, f"{step}-killed")
                pause.resume()
                await asked
        async with gigachat(left, model=answering({}), clock=later(minutes=1)) as api:
            api.key = key
            assert contents(await ask(api, chatbot, "a", idempotency_key="k")) == ["re: a"], step
            assert await history(api, chatbot) == [("a", "completed", "done"), ("re: a", "completed", "assistant")]
            await assert_at_rest(api, chatbot)


async def test_a_joined_turn_is_taken_up_for_all_who_were_joined(tmp_path: Path) -> None:
    hold, pause, folder = Pause(), Pause(), tmp_path / "first"
    async with gigachat(folder, model=answering({"a\nb": [pause, "one"]})) as api:
        chatbot, key = await api.chatbot(response={"overlap": "coalesce", "coalesce_ms": 1}), api.key
        with acting("S3", hold.hold):
            await asking_held(api, chatbot, hold, "a", idempotency_key="ka")
            await queueing(api, chatbot, "b", idempotency_key="kb")
            hold.resume()
            await pause.reached.wait()
        left = killed(folder, "second")
        pause.resume()
    async with gigachat(left, model=answering({}), clock=later(minutes=1)) as api:
        api.key = key
        replies = [await ask(api, chatbot, p, idempotency_key=f"k{p}") for p in "ab"]
        assert replies[0].text == replies[1].text
        assert [m["turn"] for m in await api.messages(chatbot)][:2] == ["coalesced", "done"]
        await assert_at_rest(api, chatbot)


async def test_a_draft_of_a_reply_that_is_stored_does_no_harm(tmp_path: Path) -> None:
    async with gigachat(tmp_path / "a") as api:
        chatbot, key = await api.chatbot(), api.key
        (reply,) = await api.say(chatbot, "a")

        async def body(tx: Any) -> None:
            await tx.run("UPDATE messages SET turn = 'running' WHERE role = 'user'")
            await tx.run(
                "INSERT INTO drafts SELECT chatbot_id, conversation_id, in_reply_to, 0, id, '{}', content, '[]', NULL "
                "FROM messages WHERE role = 'assistant'"
            )

        await api.services.database.transaction("test", body)
    async with gigachat(tmp_path / "a") as api:
        api.key = key
        await until_settled(api, chatbot)
        assert [m["id"] for m in await api.messages(chatbot)][1] == reply["id"]
        await assert_at_rest(api, chatbot)


# --- frozen ---


async def test_a_turn_whose_lease_ran_out_is_taken_up_and_its_late_reply_is_not_stored(tmp_path: Path) -> None:
    clock, pause = Clock(), Pause()
    model = ScriptedModel(["late ", pause, "reply"], ["in time"])
    async with gigachat(tmp_path, model=model, clock=clock) as api:
        chatbot = await api.chatbot()
        first = await asking_held(api, chatbot, pause, "a")
        lifecycle, live = api.services.lifecycle, api.services.turns._live
        (frozen,) = list(live)
        live.discard(frozen)  # as if another process ran it
        clock.move(minutes=0.4)
        await lifecycle.recover()
        assert len(model.calls) == 1, "its lease has not run out"
        clock.move(minutes=0.2)
        await asyncio.gather(lifecycle.recover(), lifecycle.recover())
        await until_settled(api, chatbot)
        pause.resume()
        assert contents(await first) == ["in time"]
        assert await history(api, chatbot) == [("a", "completed", "done"), ("in time", "completed", "assistant")]
        assert len(model.calls) == 2
        await assert_at_rest(api, chatbot)


async def test_a_lease_is_renewed_for_as_long_as_its_turn_runs(tmp_path: Path) -> None:
    clock, pause = Clock(), Pause()
    model = answering({"a": [pause, "re: a"]})
    async with gigachat(tmp_path, model=model, clock=clock) as api:
        chatbot = await api.chatbot()
        first = await asking_held(api, chatbot, pause, "a")
        for _ in range(4):
            clock.move(minutes=0.4)
            await api.services.lifecycle.renew_leases()
        ((lease_until,),) = await rows(api, "SELECT lease_until FROM conversations")
        assert lease_until > clock()
        pause.resume()
        assert contents(await first) == ["re: a"]
        assert len(model.calls) == 1


# --- drafts ---


async def test_a_reply_that_lasts_is_kept_as_a_draft_until_it_is_stored(tmp_path: Path) -> None:
    pauses = [Pause(), Pause()]
    model = ScriptedModel([TextDelta(1, "B"), pauses[0], TextDelta(0, "A"), TextDelta(1, "b"), pauses[1], TextDelta(0, "a")])
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot(response={"n": 2})
        first = await asking_held(api, chatbot, pauses[0], "x")
        await api.services.lifecycle.keep_drafts()
        assert await rows(api, "SELECT * FROM drafts") == [], "most replies are whole before they need one"
        assert await keep_drafts(api) == 1
        pauses[0].resume()
        await pauses[1].reached.wait()
        assert await keep_drafts(api) == 2
        assert await rows(api, "SELECT alternative, content FROM drafts ORDER BY alternative") == [(0, "A"), (1, "Bb")]
        pauses[1].resume()
        assert contents(await first) == ["Aa", "Bb"]
        await assert_at_rest(api, chatbot)


@pytest.mark.parametrize("ending", ["whole", "broken", "empty", "stop", "takeover", "interrupt", "delete", "chatbot", "bug"])
async def test_no_draft_is_left_however_a_turn_ends(tmp_path: Path, ending: str) -> None:
    async def raise_bug() -> None:
        raise RuntimeError("a bug")

    pause = Pause()
    rest: dict[str, list[Any]] = {"broken": [ModelInterrupted()], "empty": []}
    async with gigachat(tmp_path, model=answering({"a": ["half", pause, *rest.get(ending, [" more"])]})) as api:
        chatbot = await api.chatbot(response={"overlap": "interrupt"})
        first = await asking_held(api, chatbot, pause, "a")
        assert await keep_drafts(api) == 1
        path = f"{chatbot}/conversations/c1"
        if ending in ("stop", "takeover"):
            assert (await api.post(f"{path}/{ending}", {"operator": "eve"} if ending == "takeover" else None)).status == 200
        elif ending == "interrupt":
            await ask(api, chatbot, "b")
        elif ending == "delete":
            await api.call("DELETE", path)
        elif ending == "chatbot":
            await api.call("DELETE", chatbot)
        elif ending == "bug":
            with acting("S8", raise_bug):
                pause.resume()
                assert (await first).status == 500
        pause.resume()
        await first
        assert await rows(api, "SELECT * FROM drafts") == []


async def test_no_draft_is_left_when_the_server_stops(tmp_path: Path) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=answering({"a": ["half", pause]})) as api:
        chatbot, key = await api.chatbot(), api.key
        first = await asking_held(api, chatbot, pause, "a")
        waiting = await queueing(api, chatbot, "b")
        await keep_drafts(api)
        await api.services.turns.drain(0)
        assert {(await each).code for each in (first, *waiting)} == {"shutting_down"}
        assert (await first).headers["Retry-After"] == "5"
    async with gigachat(tmp_path) as api:
        api.key = key
        await until_settled(api, chatbot)
        if api.services.database.is_shared:  # what waited was left to other nodes
            assert await history(api, chatbot) == [
                ("a", "completed", "failed"),
                ("b", "completed", "done"),
                ("half", "incomplete", "assistant"),
                ("Hi.", "completed", "assistant"),
            ]
        else:
            assert await history(api, chatbot) == [
                ("a", "completed", "failed"),
                ("b", "failed", "failed"),
                ("half", "incomplete", "assistant"),
            ]
        await assert_at_rest(api, chatbot)


async def test_a_server_that_stops_while_a_turn_is_being_settled_tells_its_caller(tmp_path: Path) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=answering({"a": [pause, ModelUnreachable()]})) as api:
        chatbot = await api.chatbot()
        first = await asking_held(api, chatbot, pause, "a")
        async with one_group(api) as waiting:
            pause.resume()
            await waiting(1)
            await api.services.turns.drain(0)
        assert (await first).code == "upstream_unreachable", "which is how it was settled"
        await until_settled(api, chatbot)
        assert await history(api, chatbot) == [("a", "failed", "failed")]


async def test_a_server_that_stops_while_a_reply_is_being_stored_answers_with_it(tmp_path: Path) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=answering({})) as api:
        chatbot = await api.chatbot()
        with acting("S7", pause.hold):
            first = await asking_held(api, chatbot, pause, "a")
            async with one_group(api) as waiting:
                pause.resume()
                await waiting(1)
                draining = asyncio.create_task(api.services.turns.drain(0))
                await waiting(2)
        await draining
        assert contents(await first) == ["re: a"]
        await assert_at_rest(api, chatbot)


async def test_a_server_that_stops_in_the_window_tells_all_who_wait_in_it(tmp_path: Path) -> None:
    async with gigachat(tmp_path, model=answering({})) as api:
        chatbot = await api.chatbot(response={"overlap": "coalesce", "coalesce_ms": 60_000})
        first = asking(api, chatbot, "a")

        async def is_answering() -> bool:
            return (await api.get(f"{chatbot}/conversations/c1")).status == 200

        await until(is_answering)
        (second,) = await queueing(api, chatbot, "b")
        await api.services.turns.drain(0)
        assert [(await each).code for each in (first, second)] == ["shutting_down"] * 2
        if api.services.database.is_shared:  # other nodes begin them anew
            assert [m["turn"] for m in await api.messages(chatbot)] == ["running", "queued"]
            assert await rows(api, "SELECT lease_until FROM conversations") == [(0,)]
        else:
            assert [m["turn"] for m in await api.messages(chatbot)] == ["failed", "failed"]
            await assert_at_rest(api, chatbot)


# --- a disk that is full ---


@pytest.mark.sqlite_only
async def test_a_reply_that_cannot_be_written_is_made_again_for_the_same_key(tmp_path: Path) -> None:
    async def full() -> None:
        raise apsw.FullError("database or disk is full")

    async with gigachat(tmp_path, model=answering({})) as api:
        chatbot = await api.chatbot()
        with acting("S8", full):
            refused = await ask(api, chatbot, "a", idempotency_key="k")
        assert (refused.status, refused.code, refused.headers["Retry-After"]) == (503, "storage_unavailable", "1")
        assert await history(api, chatbot) == [("a", "completed", "failed"), ("re: a", "incomplete", "assistant")]
        assert contents(await ask(api, chatbot, "a", idempotency_key="k")) == ["re: a"]
        await assert_at_rest(api, chatbot)


@pytest.mark.sqlite_only
async def test_a_prompt_is_taken_up_again_once_the_store_can_be_written(tmp_path: Path) -> None:
    clock, pause = Clock(), Pause()
    async with gigachat(tmp_path, model=answering({"a": [pause, "re: a"]}), clock=clock) as api:
        chatbot = await api.chatbot()
        first = await asking_held(api, chatbot, pause, "a", idempotency_key="k")
        waiting = await queueing(api, chatbot, "b")
        database: Any = api.services.database
        database._must_stop = True
        pause.resume()
        assert (await first).code == "storage_unavailable"
        assert (await api.messages(chatbot))[0]["turn"] == "running", "reading goes on"
        database._must_stop = False
        attached = asyncio.create_task(ask(api, chatbot, "a", idempotency_key="k"))
        clock.move(minutes=0.6)
        await api.services.lifecycle.recover()
        assert contents(await attached) == ["re: a"]
        assert contents(await waiting[0]) == ["re: b"]
        assert (await state(api, chatbot))["answering"] is None
        await assert_at_rest(api, chatbot)


DAMAGES = {
    "draft": "INSERT INTO drafts SELECT chatbot_id, conversation_id, id, 0, 'x', '{}', 'text', '{damaged', NULL FROM messages "
    "WHERE conversation_id = 'damaged'",
    "prompt": "UPDATE messages SET metadata = '{damaged' WHERE conversation_id = 'damaged'",
    "user": "UPDATE conversations SET user_id = CAST(x'ff' AS TEXT) WHERE conversation_id = 'damaged'",
    "text": "UPDATE messages SET content = CAST(x'ff' AS TEXT) WHERE conversation_id = 'damaged'",
    "order": "INSERT INTO events SELECT chatbot_id, conversation_id, last_seq + 1, 'ahead', '{}', 0 FROM conversations "
    "WHERE conversation_id = 'damaged'",
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_one_conversation_that_cannot_be_read_keeps_neither_the_others_nor_the_server_down(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        if api.services.database.is_shared and damage in ("text", "user"):
            return  # PostgreSQL stores no text that is none
        for conversation in ("damaged", "whole"):
            await api.say(chatbot, "hello", conversation=conversation)

        async def leave_behind(tx: Tx) -> None:
            await tx.run("UPDATE messages SET turn = 'running' WHERE role = 'user'")
            await tx.run("DELETE FROM messages WHERE role = 'assistant'")
            await tx.run("UPDATE conversations SET answering = (SELECT id FROM messages LIMIT 1), lease_until = 0")
            await tx.run(DAMAGES[damage])

        await api.services.database.transaction("test.leave_behind", leave_behind)
    async with gigachat(tmp_path, model=answering({})) as api:

        async def is_answered() -> bool:
            return bool((await api.messages(chatbot, "whole"))[0]["turn"] == "done")

        await until(is_answered)
        await api.services.lifecycle.recover()
        left = await rows(api, "SELECT turn, error FROM messages WHERE conversation_id = 'damaged' AND role = 'user'")
        said = [record.getMessage() for record in caplog.records if record.name == "gigachat.lifecycle"]
        if damage in ("order", "user"):
            assert left == [("running", None)], "not even a failure finds a place"
            assert sum("stays as it is" in each for each in said) == 1, "it is said once, not at every look"
            return
        if damage == "prompt":  # what a client sent with it is not what is answered
            await until_settled(api, chatbot, "damaged")
            assert await history(api, chatbot, "damaged") == [
                ("hello", "completed", "done"),
                ("re: hello", "completed", "assistant"),
            ]
        else:
            assert left == [("failed", "reply_cut_off")]
        if damage == "draft":  # of what was shown the words can be read
            assert (await history(api, chatbot, "damaged"))[-1] == ("text", "incomplete", "assistant")
        await api.say(chatbot, "and now?", conversation="damaged")


async def test_a_start_behind_many_abandoned_prompts_calls_the_model_for_a_few_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pause, folder = Pause(), tmp_path / "first"
    prompts = [f"prompt {number}" for number in range(7)]
    async with gigachat(folder, model=ScriptedModel([pause, "one"])) as api:
        chatbot, key = await api.chatbot(), api.key
        for prompt in prompts:
            asking(api, chatbot, prompt, conversation=prompt.replace(" ", "-"))

        async def are_stored() -> bool:
            return await rows(api, "SELECT count(*) FROM messages") == [(len(prompts),)]

        await until(are_stored)
        left = killed(folder, "second")
        pause.resume()
    monkeypatch.setattr(lifecycle, "_MOST_TAKEN_UP", 3)
    monkeypatch.setattr(lifecycle, "_TAKE_UP_EVERY_S", 0.005)
    pauses = {prompt: Pause() for prompt in prompts}
    model = answering({prompt: [pauses[prompt], f"re: {prompt}"] for prompt in prompts})
    async with gigachat(left, model=model) as api:
        api.key = key
        for ended in range(len(prompts)):
            wanted = min(3 + ended, len(prompts))

            async def are_asked(wanted: int = wanted) -> bool:
                return len(model.calls) >= wanted

            await until(are_asked)
            await api.services.lifecycle.recover()
            assert [len(model.calls), len(list(api.services.turns._live))] == [wanted, wanted - ended]
            conversation = told(model.calls[ended])[0].replace(" ", "-")

            async def has_left(conversation: str = conversation) -> bool:
                """It is settled in the store a moment before its turn ends here."""
                return conversation not in {turn.conversation_id for turn in api.services.turns._live}

            pauses[told(model.calls[ended])[0]].resume()
            await until_settled(api, chatbot, conversation)
            await until(has_left)
        for prompt in prompts:
            assert [content for content, *_ in await history(api, chatbot, prompt.replace(" ", "-"))] == [prompt, f"re: {prompt}"]
