"""The scripted model plays what it is told, holds where it is told, and tells what it was asked."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest
from tests.models.misbehaving_endpoint import ends, prompt, texts

from gigachat_server.errors import ModelUnreachable
from gigachat_server.models.base import ChatModel, ModelEvent, ModelInput, ReplyEnd, TextDelta, UsageReport
from gigachat_server.models.fake import EchoModel, Pause, Script, ScriptedModel


async def collect(model: ChatModel, model_input: ModelInput) -> list[ModelEvent]:
    return [event async for event in model.stream(model_input)]


def test_texts_are_deltas_of_every_alternative_and_each_is_ended() -> None:
    events = asyncio.run(collect(ScriptedModel(["Hel", "lo"]), prompt(n=2)))
    assert texts(events) == {0: "Hello", 1: "Hello"}
    assert ends(events) == {0: "stop", 1: "stop"}


def test_typed_steps_are_played_as_they_are() -> None:
    script: list[ModelEvent] = [TextDelta(1, "a"), ReplyEnd(1, "length"), TextDelta(0, "b"), UsageReport("m", 1, 2)]
    events = asyncio.run(collect(ScriptedModel(script), prompt(n=2)))
    assert events == [*script, ReplyEnd(0)]


def test_an_error_is_raised_where_it_stands() -> None:
    async def test() -> None:
        events = []
        model = ScriptedModel(["Hel", ModelUnreachable("down"), "lo"])
        with pytest.raises(ModelUnreachable, match="down"):  # noqa: PT012 - what came before counts
            async for event in model.stream(prompt()):
                events.append(event)
        assert events == [TextDelta(0, "Hel")]
        assert model.closed_early == 0

    asyncio.run(test())


def test_scripts_are_played_call_by_call_and_the_last_stays() -> None:
    async def test() -> None:
        model = ScriptedModel(["a"], lambda asked: [str(asked.sampling.max_tokens)])
        said = [texts(await collect(model, prompt(max_tokens=number)))[0] for number in (1, 2, 3)]
        assert said == ["a", "2", "3"]
        assert [asked.sampling.max_tokens for asked in model.calls] == [1, 2, 3]

    asyncio.run(test())


def test_a_pause_holds_the_stream_until_it_is_resumed() -> None:
    async def test() -> None:
        pause = Pause()
        model = ScriptedModel(["a", pause, "b"])
        call = asyncio.create_task(collect(model, prompt()))
        await pause.reached.wait()
        assert not call.done()
        pause.resume()
        assert texts(await call) == {0: "ab"}
        assert texts(await collect(model, prompt())) == {0: "ab"}

    asyncio.run(test())


def test_a_call_that_is_left_early_is_counted() -> None:
    async def test() -> None:
        pause = Pause()
        model = ScriptedModel(["a", "b"], ["a", pause])
        async with aclosing(model.stream(prompt())) as events:
            await anext(events)
        assert model.closed_early == 1
        call = asyncio.create_task(collect(model, prompt()))
        await pause.reached.wait()
        call.cancel()
        await asyncio.wait([call])
        assert model.closed_early == 2

    asyncio.run(test())


def test_a_script_is_a_list_of_steps() -> None:
    text: Script = "Hello"
    for scripts in ((), (text,)):
        with pytest.raises(ValueError):
            ScriptedModel(*scripts)


def test_the_echo_says_the_prompt_again() -> None:
    events = asyncio.run(collect(EchoModel(), prompt(n=2)))
    assert texts(events) == {0: "You said: Hi", 1: "You said: Hi"}
    assert ends(events) == {0: "stop", 1: "stop"}
    assert events[-1] == UsageReport("echo", 1, 3)
