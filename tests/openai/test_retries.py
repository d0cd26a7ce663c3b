"""Clients of OpenAI send a request again by themselves, without a key: that is one prompt, and the same words anew are two."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import openai
from gigachat_server.errors import ModelRateLimited, ModelUnreachable
from gigachat_server.models.fake import Pause, ScriptedModel
from tests.harness import Api, Reply, gigachat
from tests.openai.calls import assistant, chat, conversation_of, count, error, respond, stored, text_of, user
from tests.turns import Clock, rows, told

AGAIN = {"x-stainless-retry-count": "1"}
FIRST = {"x-stainless-retry-count": "0"}


def client(api: Api, chatbot: str, **options: Any) -> openai.AsyncOpenAI:
    made = openai.AsyncOpenAI(base_url=f"{api.url}{chatbot}/v1", api_key=api.key, **options)

    async def no_wait(*_: Any, **__: Any) -> None:
        """What is tested is what is sent again, not how long it is waited before."""

    made._sleep_for_retry = no_wait  # type: ignore[method-assign]
    return made


async def test_a_model_that_is_down_costs_one_prompt(tmp_path: Path) -> None:
    """With the retries that the client makes unless it is told otherwise."""
    model = ScriptedModel([ModelUnreachable()])
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot()
        async with client(api, chatbot) as asking:
            with pytest.raises(openai.InternalServerError) as failed:
                await asking.chat.completions.create(model="x", messages=[{"role": "user", "content": "Hi"}])
        assert failed.value.code == "upstream_unreachable"
        assert (await count(api, "user"), len(model.calls)) == (1, 3)


@pytest.mark.parametrize("failure", [ModelUnreachable(), ModelRateLimited()])
async def test_a_model_that_is_back_in_time_makes_one_reply(tmp_path: Path, failure: Any) -> None:
    model = ScriptedModel([failure], [failure], ["Back."])
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot()
        async with client(api, chatbot) as asking:
            made = await asking.responses.create(model="x", input="Hi")
        assert made.output_text == "Back."
        assert (await count(api, "user"), await count(api, "assistant"), len(model.calls)) == (1, 1, 3)


async def test_the_same_words_twice_are_two_prompts(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        named = {"X-Conversation-Id": "c1"}
        for headers in (named, {**named, **FIRST}):
            for _ in range(2):
                assert (await chat(api, chatbot, "yes", headers=headers)).status == 200
        assert await count(api, "user") == 4
        assert await count(api, "assistant") == 4


async def test_a_repeat_is_answered_with_what_came_of_the_first(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        first = await chat(api, chatbot, "Hi", user="ann")
        again = await chat(api, chatbot, "Hi", user="ann", headers=AGAIN)
        streamed = await chat(api, chatbot, "Hi", user="ann", stream=True, headers=AGAIN)
        assert first.body == again.body
        assert again.headers["Idempotent-Replayed"] == "true"
        assert conversation_of(first) == conversation_of(again)
        assert conversation_of(streamed) != conversation_of(first), "another body is another request"
        assert await count(api, "user") == 2


async def test_a_repeat_of_what_never_came_is_new_and_nobody_elses(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot, other = await api.chatbot(), await api.chatbot()
        _, second_key = await api.services.key_ring.create(api.services.account.id, "second")
        body: dict[str, Any] = {"messages": [user("Hi")]}
        calls = [
            api.post(f"{chatbot}/v1/chat/completions", body, headers=AGAIN),
            api.post(f"{other}/v1/chat/completions", body, headers=AGAIN),
            api.post(f"{chatbot}/v1/chat/completions", body, headers=AGAIN, key=second_key),
            api.post(f"{chatbot}/v1/chat/completions", body, headers={**AGAIN, "X-OpenWebUI-User-Id": "ann"}),
            api.post(f"{chatbot}/v1/chat/completions", body, headers={**AGAIN, "X-OpenWebUI-User-Id": "bob"}),
            api.post(f"{chatbot}/v1/chat/completions", body, headers={**AGAIN, "X-Conversation-Id": "c1"}),
            api.post(f"{chatbot}/v1/chat/completions", body, headers={**AGAIN, "X-Conversation-Id": "c2"}),
        ]
        replies = [await call for call in calls]
        assert {reply.status for reply in replies} == {200}
        assert len({conversation_of(reply) for reply in replies}) == len(calls)


async def test_the_same_words_are_answered_again_where_they_failed(tmp_path: Path) -> None:
    """The person behind a client that does not retry presses the button again."""
    model = ScriptedModel([ModelUnreachable()], ["Back."])
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot()
        said = [user("One"), assistant("Uno."), user("Two")]
        assert (await chat(api, chatbot, *said)).status == 502
        assert text_of(await chat(api, chatbot, *said)) == "Back."
        assert await count(api, "user") == 1
    assert [("Uno." in text) for text in told(model.calls[0])] == [("Uno." in text) for text in told(model.calls[1])]
    assert any("Uno." in text for text in told(model.calls[1])), "the caller's account is told again"


async def test_words_that_failed_before_others_were_said_are_said_anew(tmp_path: Path) -> None:
    model = ScriptedModel([ModelUnreachable()], ["Re."])
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot()
        for prompt in ("yes", "no", "yes"):
            await respond(api, chatbot, prompt, conversation="c1")
        said = [text for role, text in await stored(api, chatbot, "c1") if role == "user"]
    assert said == ["yes", "no", "yes"]


async def test_a_repeat_after_ten_minutes_is_a_new_prompt(tmp_path: Path) -> None:
    clock = Clock()
    async with gigachat(tmp_path, clock=clock) as api:
        chatbot = await api.chatbot()
        first = await chat(api, chatbot, "Hi")
        clock.move(minutes=9)
        assert (await chat(api, chatbot, "Hi", headers=AGAIN)).body == first.body
        clock.move(minutes=2)
        assert (await chat(api, chatbot, "Hi", headers=AGAIN)).body != first.body
        clock.move(minutes=24 * 60)
        await api.services.lifecycle.forget()
        assert await count_keys(api) == 0


async def count_keys(api: Api) -> int:
    return int((await rows(api, "SELECT count(*) FROM idempotency"))[0][0])


async def test_a_repeat_of_what_is_deleted_is_a_new_prompt(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        first = await chat(api, chatbot, "Hi")
        assert (await api.call("DELETE", f"{chatbot}/conversations/{conversation_of(first)}")).status == 204
        assert (await chat(api, chatbot, "Hi", headers=AGAIN)).status == 200
        assert await count(api, "user") == 1


async def test_a_repeat_joins_the_turn_that_still_runs(tmp_path: Path) -> None:
    """The client gave up waiting; the turn did not."""
    pause = Pause()
    model = ScriptedModel(["Hel", pause, "lo"])
    async with gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot()
        given_up = asyncio.create_task(chat(api, chatbot, "Hi"))
        await pause.reached.wait()
        given_up.cancel()
        again = asyncio.create_task(chat(api, chatbot, "Hi", headers=AGAIN))
        more: list[asyncio.Task[Reply]] = [asyncio.create_task(chat(api, chatbot, "Hi", headers=AGAIN)) for _ in range(5)]
        pause.resume()
        replies = await asyncio.gather(again, *more)
        assert {text_of(reply) for reply in replies} == {"Hello"}
        assert (await count(api, "user"), len(model.calls)) == (1, 1)


async def test_an_explicit_key_counts_before_what_the_request_looks_like(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        first = await chat(api, chatbot, "Hi", headers={"Idempotency-Key": "k1"})
        other = await chat(api, chatbot, "Hi", headers={"Idempotency-Key": "k2", **AGAIN})
        same = await chat(api, chatbot, "Hi", headers={"Idempotency-Key": "k1", **FIRST})
        assert first.body == same.body != other.body
        assert await count(api, "user") == 2


async def test_a_key_that_comes_again_for_somebody_else_shows_nothing(tmp_path: Path) -> None:
    """Front ends say in headers who speaks, and in which chat."""
    key = {"Idempotency-Key": "k1"}
    ann = {**key, "X-OpenWebUI-User-Id": "ann", "X-OpenWebUI-Chat-Id": "c1"}
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        first = await chat(api, chatbot, "Hi", headers=ann)
        for other in ({**ann, "X-OpenWebUI-User-Id": "bob"}, {**ann, "X-OpenWebUI-Chat-Id": "c2"}, key):
            assert error(await chat(api, chatbot, "Hi", headers=other))[:2] == (400, "idempotency_key_reused")
        assert (await chat(api, chatbot, "Hi", headers=ann)).body == first.body
        assert await count(api, "user") == 1


async def test_a_key_names_also_what_no_decoder_reads(tmp_path: Path) -> None:
    """Of earlier messages and tools only the form is looked at; a number may be beyond all that a float holds."""
    bodies = {
        "messages": b'{"messages": [1e999, {"role": "user", "content": "Hi"}]}',
        "tools": b'{"tools": [1e999], "messages": [{"role": "user", "content": "Hi"}]}',
    }
    async with gigachat(tmp_path) as api:
        path = f"{await api.chatbot()}/v1/chat/completions"
        for name, raw in bodies.items():
            replies = [await api.call("POST", path, raw=raw, headers={"Idempotency-Key": name}) for _ in range(2)]
            assert replies[0].status == (200 if name == "messages" else 400), replies[0].text
            assert replies[0].body == replies[1].body
        assert await count(api, "user") == 1


@pytest.mark.parametrize("odd", ["-1", "x", "", "1.5", "٣", "9" * 400])
async def test_an_odd_count_of_retries_breaks_nothing(tmp_path: Path, odd: str) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        sent = odd.encode().decode("latin-1")
        assert (await chat(api, chatbot, "Hi", headers={"x-stainless-retry-count": sent})).status == 200


async def test_a_prompt_that_nobody_can_hold_is_an_error_once(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        for headers in (FIRST, AGAIN):
            assert error(await chat(api, chatbot, " ", headers=headers))[:2] == (400, "invalid_request")
        assert await count(api) == 0
