"""What holds when two act on one conversation at the same moment: each test here fails without one protection.

`tools/mutants.py` switches the protections off, one at a time, and has these tests show it.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest

from gigachat_server.chat.turns.queue import LEASE_US
from gigachat_server.clock import system_clock
from gigachat_server.errors import ModelUnreachable, StorageUnavailable
from gigachat_server.models.base import ModelInput
from gigachat_server.models.fake import Pause, ScriptedModel
from gigachat_server.triggers import acting
from tests.faults.nodes import PATIENCE_S, Disk, JumpingClock, OtherNode, other_node
from tests.faults.serving import Stored, read_store
from tests.harness import Api, Reply, gigachat, until

# These hold the one writer of the embedded store; where there are many, tests/test_nodes.py has the same races between nodes.
one_writer = pytest.mark.sqlite_only

LEASE_OVER_S = LEASE_US / 1_000_000 + 1
FROZEN = 50


async def post(api: Api, chatbot: str, prompt: str, *, conversation: str = "c1", key: str | None = None, **more: Any) -> Reply:
    headers = {"Idempotency-Key": key} if key else {}
    body = {"conversation_id": conversation, "user_id": "ann", "prompt": prompt, **more}
    return await api.post(f"{chatbot}/conversations", body, headers=headers)


async def until_stored(folder: Path, prompts: int, asked: asyncio.Task[Reply]) -> None:
    """The prompt just sent is one of so many; or it was answered at once, and the test will see with what."""

    async def holds() -> bool:
        return asked.done() or len(read_store(folder).prompts) >= prompts

    await until(holds)


def contents(reply: Reply) -> list[str]:
    """Of the messages it brought; asserts that it is no problem."""
    assert reply.status == 201, reply.text
    return [message["content"] for message in reply.body]


def replies(stored: Stored) -> list[tuple[str, str]]:
    """(content, status) of those that nothing replaced, in order."""
    found = [each for each in stored.messages if each["in_reply_to"] is not None and each["replaced_by"] is None]
    return [(each["content"], each["status"]) for each in found]


def check_nothing_is_left(stored: Stored) -> None:
    assert stored.drafts == []
    assert stored.disorder() == []
    assert [each for each in stored.conversations if each["answering"] or each["lease_until"] or each["queued"]] == []
    assert [each["turn"] for each in stored.prompts if each["turn"] in ("queued", "running")] == []


# --- a node that froze, and another that took over ---


async def test_a_node_that_froze_stores_no_second_reply(tmp_path: Path) -> None:
    """F16: frozen after the model's last word, for longer than its lease; it continues before, or after, the other is done."""
    clock, frozen, other_answers = JumpingClock(), [Pause() for _ in range(FROZEN)], Pause()
    passes = itertools.count()

    async def freeze() -> None:
        if (number := next(passes)) < FROZEN:
            await frozen[number].hold()

    async with gigachat(tmp_path, model=ScriptedModel(["of the frozen node"]), clock=clock) as api:
        chatbot, disk = await api.chatbot(), Disk(api.services.database)
        others_model = ScriptedModel([other_answers, "of the other node"])
        async with other_node(api.services, others_model) as other:
            with acting("S7", freeze):
                asked = [asyncio.create_task(post(api, chatbot, "Hello", conversation=f"c{i}")) for i in range(FROZEN)]
                await asyncio.gather(*(pause.reached.wait() for pause in frozen))
                clock.jump(LEASE_OVER_S)
                await other.recover()
                await other_answers.reached.wait()
                for pause in frozen[: FROZEN // 2]:
                    pause.resume()
                await disk.was_asked("turn.finish", FROZEN // 2)
                other_answers.resume()
                await disk.was_asked("turn.finish", FROZEN // 2 + FROZEN)
                for pause in frozen[FROZEN // 2 :]:
                    pause.resume()
                answers = await asyncio.gather(*asked)
    assert len(others_model.calls) == FROZEN
    assert [contents(answer) for answer in answers] == [["of the other node"]] * FROZEN
    stored = read_store(tmp_path)
    assert replies(stored) == [("of the other node", "completed")] * FROZEN
    assert {prompt["turn"] for prompt in stored.prompts} == {"done"}
    check_nothing_is_left(stored)


async def test_a_node_that_froze_keeps_no_draft_behind_the_other(tmp_path: Path) -> None:
    clock, half, more = JumpingClock(), Pause(), Pause()
    model = ScriptedModel(["Half", half, " and more", more])
    async with gigachat(tmp_path, model=model, clock=clock) as api:
        chatbot = await api.chatbot()
        asked = asyncio.create_task(post(api, chatbot, "Hello"))
        await half.reached.wait()

        async def is_drafted() -> bool:
            return bool(read_store(tmp_path).drafts)

        await until(is_drafted)
        async with other_node(api.services, ScriptedModel(["never asked"])) as other:
            clock.jump(LEASE_OVER_S)
            await other.recover()
            assert replies(read_store(tmp_path)) == [("Half", "incomplete")]
            half.resume()
            await more.reached.wait()
            await api.services.lifecycle.keep_drafts()
            assert read_store(tmp_path).drafts == []
            more.resume()
            assert (await asked).code == "reply_cut_off"
    stored = read_store(tmp_path)
    assert replies(stored) == [("Half", "incomplete")]
    check_nothing_is_left(stored)


async def test_a_failure_that_comes_late_does_not_undo_the_other_reply(tmp_path: Path) -> None:
    clock, fails, other_answers = JumpingClock(), Pause(), Pause()
    async with gigachat(tmp_path, model=ScriptedModel([fails, ModelUnreachable()]), clock=clock) as api:
        chatbot, disk = await api.chatbot(), Disk(api.services.database)
        async with other_node(api.services, ScriptedModel([other_answers, "of the other node"])) as other:
            asked = asyncio.create_task(post(api, chatbot, "Hello"))
            await fails.reached.wait()
            clock.jump(LEASE_OVER_S)
            await other.recover()
            await other_answers.reached.wait()
            fails.resume()
            await disk.was_asked("turn.fail")
            other_answers.resume()
            assert contents(await asked) == ["of the other node"]
    stored = read_store(tmp_path)
    assert [prompt["turn"] for prompt in stored.prompts] == ["done"]
    check_nothing_is_left(stored)


@one_writer
async def test_two_who_find_an_abandoned_prompt_answer_it_once(tmp_path: Path) -> None:
    clock, frozen = JumpingClock(), Pause()
    others_model = ScriptedModel(["of another node"])
    async with gigachat(tmp_path, model=ScriptedModel([frozen, "late"]), clock=clock) as api:
        chatbot, disk = await api.chatbot(), Disk(api.services.database)
        asked = asyncio.create_task(post(api, chatbot, "Hello"))
        await frozen.reached.wait()
        async with other_node(api.services, others_model) as one, other_node(api.services, others_model) as two:
            clock.jump(LEASE_OVER_S)
            held = await disk.hold()
            await held.is_busy()
            recovering = asyncio.gather(one.recover(), two.recover())
            await disk.was_asked("turn.recover", 2)
            await held.over()
            await recovering
            frozen.resume()
            assert contents(await asked) == ["of another node"]
    assert len(others_model.calls) == 1
    stored = read_store(tmp_path)
    assert [event["type"] for event in stored.events].count("turn.recovered") == 1
    assert replies(stored) == [("of another node", "completed")]
    check_nothing_is_left(stored)


async def test_a_prompt_that_ends_every_process_is_given_up(tmp_path: Path) -> None:
    never = Pause()
    model = ScriptedModel([never, "never said"])
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot()
        asked = asyncio.create_task(post(api, chatbot, "Hello"))
        await never.reached.wait()

        async def answers_it(node: OtherNode, calls: int) -> None:
            async def holds() -> bool:
                return len(model.calls) >= calls

            await node.recover(is_only_process=True)
            await until(holds)

        async with other_node(api.services, model) as second, other_node(api.services, model) as third:
            await answers_it(second, 2)
            await answers_it(third, 2)
            stored = read_store(tmp_path)
            assert [(prompt["turn"], prompt["error"]) for prompt in stored.prompts] == [("failed", "reply_cut_off")]
            check_nothing_is_left(stored)
            never.resume()
            assert (await asked).code == "reply_cut_off"
    assert replies(read_store(tmp_path)) == []


@pytest.mark.parametrize("why", [RuntimeError("a bug"), StorageUnavailable()], ids=lambda why: type(why).__name__)
async def test_a_failure_that_cannot_be_stored_leaves_nobody_waiting(tmp_path: Path, why: Exception) -> None:
    """The caller is told at once; the prompt is answered when its lease has run out."""
    clock = JumpingClock()
    async with gigachat(tmp_path, model=ScriptedModel([ModelUnreachable()], ["Hi."]), clock=clock) as api:
        chatbot, database = await api.chatbot(), api.services.database
        transaction = database.transaction

        async def broken(name: str, body: Any, **options: Any) -> Any:
            if name in ("turn.fail", "turn.fail_unsaid", "turn.give_up"):
                raise why
            return await transaction(name, body, **options)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(database, "transaction", broken)
            async with asyncio.timeout(PATIENCE_S):
                assert (await post(api, chatbot, "Hello", key="k")).code == "upstream_unreachable"
        clock.jump(LEASE_OVER_S)
        await api.services.lifecycle.recover()
        assert contents(await post(api, chatbot, "Hello", key="k")) == ["Hi."]
    check_nothing_is_left(read_store(tmp_path))


# --- control, and a reply that is on its way ---


async def change_before_the_reply(disk: Disk, pause: Pause, change: Awaitable[Reply], name: str) -> Reply:
    """The change is written down before the model says a word, and not yet confirmed when the whole reply is at the disk."""
    before = await disk.hold()
    await before.is_busy()
    changing = asyncio.ensure_future(change)
    await disk.was_asked(name, disk.asked.count(name) + 1)
    behind = await disk.hold()
    await before.over()
    await behind.is_busy()
    pause.resume()
    await disk.was_asked("turn.finish")
    await behind.over()
    return await changing


@one_writer
@pytest.mark.parametrize(
    ("change", "name", "turn"), [("takeover", "control.take_over", "intercepted"), ("stop", "control.stop", "stopped")]
)
async def test_a_reply_that_comes_after_a_takeover_or_a_stop_is_not_stored(
    tmp_path: Path, change: str, name: str, turn: str
) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=ScriptedModel([pause, "Too late."])) as api:
        chatbot, disk = await api.chatbot(), Disk(api.services.database)
        asked = asyncio.create_task(post(api, chatbot, "Hello"))
        await pause.reached.wait()
        body = {"operator": "eve"} if change == "takeover" else None
        changing = api.post(f"{chatbot}/conversations/c1/{change}", body)
        assert (await change_before_the_reply(disk, pause, changing, name)).status == 200
        assert [message["turn"] for message in (await asked).body] == [turn]
    stored = read_store(tmp_path)
    assert replies(stored) == []
    assert [prompt["turn"] for prompt in stored.prompts] == [turn]
    check_nothing_is_left(stored)


@one_writer
async def test_a_reply_that_comes_after_the_prompt_that_interrupts_it_is_not_stored(tmp_path: Path) -> None:
    pause = Pause()

    def script(model_input: ModelInput) -> list[str | Pause]:
        return [pause, "Too late."] if model_input.messages[-1].content == "first" else ["To the second."]

    async with gigachat(tmp_path, model=ScriptedModel(script)) as api:
        chatbot, disk = await api.chatbot(response={"overlap": "interrupt"}), Disk(api.services.database)
        first = asyncio.create_task(post(api, chatbot, "first"))
        await pause.reached.wait()
        second = await change_before_the_reply(disk, pause, post(api, chatbot, "second"), "turn.start")
        assert contents(second) == ["To the second."]
        assert [message["turn"] for message in (await first).body] == ["interrupted"]
    stored = read_store(tmp_path)
    assert [prompt["turn"] for prompt in stored.prompts] == ["interrupted", "done"]
    assert replies(stored) == [("To the second.", "completed")]
    check_nothing_is_left(stored)


@one_writer
async def test_what_was_shown_when_an_operator_took_over_is_what_is_stored(tmp_path: Path) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=ScriptedModel(["Hel", pause, "lo"])) as api:
        chatbot, disk = await api.chatbot(), Disk(api.services.database)
        streaming = asyncio.create_task(post(api, chatbot, "Hello", stream=True))
        await pause.reached.wait()
        before = await disk.hold()
        await before.is_busy()
        taking = asyncio.create_task(api.post(f"{chatbot}/conversations/c1/takeover", {"operator": "eve"}))
        await disk.was_asked("control.take_over")
        behind = await disk.hold()
        await before.over()
        await behind.is_busy()  # what was said is written down, and not yet confirmed
        pause.resume()
        await disk.was_asked("turn.finish")
        for _ in range(3):
            assert (await api.get("/livez")).status == 200  # whatever could be shown now, is
        await behind.over()
        assert (await taking).status == 200
        events = (await streaming).events
    assert "".join(data["text"] for name, data in events if name == "delta") == "Hel"
    assert replies(read_store(tmp_path)) == [("Hel", "stopped")]


# --- order and turns ---


async def test_order_holds_when_the_clock_goes_back(tmp_path: Path) -> None:
    """The numbers of events have no gap, and times rise, with prompts that queue and a clock that runs backwards."""
    ticks = itertools.count()
    began = system_clock()
    pause = Pause()

    async with gigachat(tmp_path, model=ScriptedModel([pause, "Hi."]), clock=lambda: began - 1000 * next(ticks)) as api:
        chatbot = await api.chatbot()
        asked = []
        for number in range(4):
            asked.append(asyncio.create_task(post(api, chatbot, f"prompt {number}")))
            await until_stored(tmp_path, number + 1, asked[-1])
        pause.resume()
        for answered in asyncio.as_completed(asked):
            assert (await answered).status == 201
    stored = read_store(tmp_path)
    assert stored.disorder() == []
    assert [event["type"] for event in stored.events].count("turn.started") == 3
    check_nothing_is_left(stored)


async def test_the_second_prompt_waits_until_the_first_is_answered(tmp_path: Path) -> None:
    pause = Pause()
    model = ScriptedModel([pause, "To the first."], ["To the second."])
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot()
        first = asyncio.create_task(post(api, chatbot, "first"))
        await pause.reached.wait()
        second = asyncio.create_task(post(api, chatbot, "second"))
        await until_stored(tmp_path, 2, second)
        conversation = (await api.get(f"{chatbot}/conversations/c1")).body
        waiting = await api.messages(chatbot)
        assert [message["turn"] for message in waiting] == ["running", "queued"]
        assert (conversation["answering"], conversation["queued"]) == (waiting[0]["id"], 1)
        assert len(model.calls) == 1
        pause.resume()
        assert [(await each).status for each in (first, second)] == [201, 201]
    assert replies(read_store(tmp_path)) == [("To the first.", "completed"), ("To the second.", "completed")]
    assert [message.content for message in model.calls[1].messages[1:]] == ["first", "To the first.", "second"]
    check_nothing_is_left(read_store(tmp_path))


# --- idempotency ---


@one_writer
async def test_a_prompt_sent_twice_at_one_moment_is_stored_once(tmp_path: Path) -> None:
    model = ScriptedModel(["Hi."])
    async with gigachat(tmp_path, model=model) as api:
        chatbot, disk = await api.chatbot(), Disk(api.services.database)
        held = await disk.hold()
        await held.is_busy()
        asked = [asyncio.create_task(post(api, chatbot, "Hello", key="k")) for _ in range(2)]
        await disk.was_asked("turn.start", 2)
        await held.over()
        answers = [await each for each in asked]
    assert [answer.status for answer in answers] == [201, 201]
    assert answers[0].body == answers[1].body
    stored = read_store(tmp_path)
    assert (len(stored.prompts), len(stored.idempotency), len(model.calls)) == (1, 1, 1)
    assert replies(stored) == [("Hi.", "completed")]


async def test_a_key_whose_prompt_was_not_stored_is_free(tmp_path: Path) -> None:
    async def fail() -> None:
        raise RuntimeError("at S2")

    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        with acting("S2", fail):
            assert (await post(api, chatbot, "Hello", key="k")).status == 500
        assert read_store(tmp_path).idempotency == []
        answer = await post(api, chatbot, "Hello", key="k")
        assert (answer.status, "Idempotent-Replayed" in answer.headers) == (201, False)
    assert len(read_store(tmp_path).prompts) == 1
