"""The figures that are promised for a failing endpoint: how long, how often, which code, how much memory, whom else it costs."""

from __future__ import annotations

import asyncio
import socket
import tracemalloc
from typing import Any

import pytest
from tests.models.misbehaving_endpoint import (
    DONE,
    GOOD,
    OPEN_STREAM,
    Answer,
    Exchange,
    chunk,
    endpoint,
    ends,
    framed,
    http,
    model_at,
    prompt,
    sse,
    texts,
)
from tests.models.strange_chunks import FRAMINGS, WRONG_VALUES
from tests.models.test_openai_model import collect, elapsed, hang_and_tell, headers_then_hang, play, run, text_then_hang

from gigachat_server.errors import ModelError, ModelRateLimited, ModelTimeout, ModelUnreachable
from gigachat_server.models.base import ModelEvent, TextDelta
from gigachat_server.models.endpoints.chat_completions import OpenAIModel, Timeouts

FAILED = http(b"", status="500 Oops")
EMPTY = sse(DONE)


async def drop(exchange: Exchange) -> None:
    exchange.reset()


async def text_then_drop(exchange: Exchange) -> None:
    await exchange.send(OPEN_STREAM + framed(chunk("Hi")))


@pytest.mark.parametrize(
    ("answer", "status", "code", "calls"),
    [
        (drop, 502, "upstream_unreachable", 2),
        (http(b"", status="429 Slow", headers="Retry-After: 0\r\n"), 429, "upstream_rate_limited", 2),
        (http(b"", status="429 Slow", headers="Retry-After: 3600\r\n"), 429, "upstream_rate_limited", 1),
        (http(b"", status="429 Slow"), 429, "upstream_rate_limited", 1),
        (FAILED, 502, "upstream_failed", 2),
        (http(b"", status="502 Bad Gateway"), 502, "upstream_failed", 2),
        (http(b"", status="503 Busy"), 502, "upstream_failed", 2),
        (http(b"", status="400 Bad Request"), 502, "upstream_rejected", 1),
        (http(b"", status="401 Unauthorized"), 502, "upstream_unauthorised", 1),
        (http(b"", status="402 Payment Required"), 502, "upstream_payment_required", 1),
        (http(b"", status="413 Too Large"), 422, "upstream_context_too_long", 1),
        (sse(chunk(end="content_filter"), DONE), 422, "upstream_filtered", 1),
        (http(b"", status="404 Not Found"), 502, "upstream_rejected", 1),
        (headers_then_hang, 504, "upstream_timeout", 1),
        (text_then_hang, 504, "upstream_timeout", 1),
        (text_then_drop, 502, "upstream_interrupted", 1),
        (http(b"<html>", kind="text/html"), 502, "upstream_malformed", 1),
        (EMPTY, 502, "upstream_empty", 2),
        (sse(chunk(reasoning_content="hm"), DONE), 502, "upstream_empty", 2),
        (sse(chunk(" \n"), DONE), 502, "upstream_empty", 2),
    ],
)
def test_every_fault_has_its_status_its_code_and_its_number_of_calls(answer: Answer, status: int, code: str, calls: int) -> None:
    played = play(answer, timeouts=Timeouts(first_token_s=0.2, idle_s=0.1, retry_pause_s=0.001))
    assert played.error is not None
    assert (played.error.status, played.error.code) == (status, code)
    assert len(played.requests) == calls


def test_a_refused_connection_is_told_within_six_seconds_and_without_a_retry() -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            async with model_at(f"http://127.0.0.1:{unused.getsockname()[1]}", timeouts=Timeouts()) as model:
                started = loop.time()
                _, error = await collect(model, prompt())
                assert loop.time() - started < 6
        assert type(error) is ModelUnreachable
        assert (error.status, error.code) == (502, "upstream_unreachable")

    run(test())


def test_a_name_server_that_does_not_answer_is_a_connection_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async def getaddrinfo(*_: object, **__: object) -> None:
            await asyncio.Event().wait()

        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
        async with model_at("http://model.invalid/v1", timeouts=Timeouts(connect_s=0.15)) as model:
            started = loop.time()
            _, error = await collect(model, prompt())
            assert 0.14 <= loop.time() - started < 5
        assert type(error) is ModelTimeout

    run(test())


def test_a_retry_after_of_two_seconds_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    monkeypatch.setattr("gigachat_server.models.endpoints.chat_completions.asyncio.sleep", note)
    slow_down = http(b"{}", status="429 Too Many Requests", headers="Retry-After: 2\r\n")
    played = play(slow_down)
    assert type(played.error) is ModelRateLimited
    assert played.error.retry_after_s == 2
    assert len(played.requests) == 2
    assert len(pauses) == 1
    assert 2 <= pauses[0] <= 2.5
    assert texts(play(slow_down, GOOD).events) == {0: "Hello"}


FAILURES_AFTER_TEXT = {
    "an error": b'data: {"error":{"message":"boom","code":500}}\n\n',
    "a rate limit": b'data: {"error":{"code":"rate_limit_exceeded"}}\n\n',
    "an error as a field": b"error: {}\n\n",
    "garbage": b"data: {{{\n\n",
    "a wrong type": b'data: {"choices":5}\n\n',
    "the end": b"",
}


@pytest.mark.parametrize("failure", FAILURES_AFTER_TEXT)
def test_nothing_is_tried_again_after_the_first_token(failure: str) -> None:
    played = play(sse(chunk("Hi"), FAILURES_AFTER_TEXT[failure]), GOOD)
    assert isinstance(played.error, ModelError)
    assert texts(played.events) == {0: "Hi"}
    assert not ends(played.events)
    assert len(played.requests) == 1


# Hanging


def test_the_patience_that_is_documented_is_the_default() -> None:
    timeouts = OpenAIModel("http://h/v1", "m").timeouts
    assert (timeouts.connect_s, timeouts.first_token_s, timeouts.idle_s, timeouts.total_s) == (5.0, 120.0, 60.0, 600.0)
    assert timeouts.retry_after_s == 10.0


async def drip(exchange: Exchange) -> None:
    """A line that never ends, byte by byte."""
    await exchange.send(OPEN_STREAM + framed(chunk("Hi") + b"data: {"))
    while True:
        await exchange.send(framed(b" "))
        await asyncio.sleep(0.005)  # the pace of the endpoint, nothing waits for it


async def text_then_keep_alives(exchange: Exchange) -> None:
    await exchange.send(OPEN_STREAM + framed(chunk("Hi")))
    while True:
        await exchange.send(framed(b": ping\n\n"))
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("answer", "timeouts"),
    [(drip, Timeouts(idle_s=0.15)), (text_then_keep_alives, Timeouts(idle_s=0.05, total_s=0.15))],
)
def test_bytes_that_mean_nothing_are_silence_and_keep_alives_are_life_up_to_the_total(answer: Answer, timeouts: Timeouts) -> None:
    played, took = elapsed(timeouts, answer)
    assert type(played.error) is ModelTimeout
    assert 0.14 <= took < 5
    assert texts(played.events) == {0: "Hi"}
    assert len(played.requests) == 1


async def error_then_hang(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 1000\r\n\r\n{")
    await hang_and_tell(exchange)


async def endless_error(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 400 Bad Request\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        await exchange.send(framed(b"x" * 10_000))


@pytest.mark.parametrize("answer", [error_then_hang, endless_error])
def test_a_refusal_does_not_wait_for_the_end_of_its_reasons(answer: Answer) -> None:
    played, took = elapsed(Timeouts(usage_s=0.15), answer)
    assert played.error is not None
    assert played.error.code == "upstream_rejected"
    assert took < 5
    assert len(played.requests) == 1


def test_two_hundred_hanging_calls_do_not_hold_up_others() -> None:
    """Each call has a connection of its own: what waits is waited for by nobody else."""
    before = [hang_and_tell, headers_then_hang, text_then_hang]

    async def some_hang(exchange: Exchange) -> None:
        if exchange.body["max_tokens"] > 3:
            await exchange.send(GOOD)
        else:
            arrived.append(exchange)
            if len(arrived) == 200:
                all_arrived.set()
            await before[exchange.body["max_tokens"] - 1](exchange)

    arrived: list[Exchange] = []
    all_arrived = asyncio.Event()

    async def test() -> None:
        async with endpoint(some_hang) as here, model_at(here.url, timeouts=Timeouts()) as model:
            hanging = [asyncio.create_task(collect(model, prompt(max_tokens=1 + number % 3))) for number in range(200)]
            await all_arrived.wait()
            for _ in range(20):
                events, error = await collect(model, prompt())
                assert (texts(events), error) == ({0: "Hello"}, None)
            assert not any(call.done() for call in hanging)
            for call in hanging:
                call.cancel()
            await asyncio.wait(hanging)

    run(test())


# Garbage on the wire


@pytest.mark.parametrize("name", [*WRONG_VALUES, *(name for name in FRAMINGS if "huge" not in name)])
def test_strange_chunks_over_tcp_in_single_bytes_are_sound_text_or_a_named_error(name: str) -> None:
    expected: str | None = None
    if name in FRAMINGS:
        body, expected = FRAMINGS[name]
    else:
        body = WRONG_VALUES[name]
    answer = http(body)
    head = len(answer) - len(body)

    async def in_bytes(exchange: Exchange) -> None:
        await exchange.send(answer[:head])
        for at in range(head, len(answer)):
            await exchange.send(answer[at : at + 1])

    outcomes = []
    for form in (answer, in_bytes):
        played = play(form)
        said = texts(played.events)
        assert isinstance(played.error, ModelError) or said[0].strip()
        assert len(played.requests) <= (1 if said else 2)
        for text in said.values():
            assert "\x00" not in text
            text.encode()
        if expected is not None:
            assert said == {0: expected}
        outcomes.append((said, type(played.error)))
    assert outcomes[0] == outcomes[1]


# Without end


async def endless_text(exchange: Exchange) -> None:
    await exchange.send(OPEN_STREAM)
    while True:
        await exchange.send(framed(chunk("na 😀" * 1000)))


async def endless_message(exchange: Exchange) -> None:
    await exchange.send(OPEN_STREAM + framed(b'{"choices":[{"message":{"content":"'))
    while True:
        await exchange.send(framed("na 😀".encode() * 5000))


async def endless_thoughts(exchange: Exchange) -> None:
    await exchange.send(OPEN_STREAM)
    for _ in range(1000):
        await exchange.send(framed(chunk(reasoning="x" * 50_000)))
    await exchange.send(framed(chunk("Hi") + chunk(end="stop") + DONE) + b"0\r\n\r\n")


@pytest.mark.parametrize(
    ("answer", "said", "end"),
    [
        (endless_text, (b"na \xf0\x9f\x98\x80" * 1000)[:1600].decode(errors="ignore"), "length"),
        (endless_message, None, None),
        (endless_thoughts, "Hi", "stop"),
    ],
)
def test_fifty_megabytes_cost_little_memory_and_an_endless_answer_is_let_go(
    answer: Answer, said: str | None, end: str | None
) -> None:
    async def test() -> tuple[list[ModelEvent], ModelError | None]:
        async with endpoint(answer) as here, model_at(here.url) as model:
            outcome = await collect(model, prompt(max_tokens=200))
            if answer is not endless_thoughts:
                await here.gone.wait()
            return outcome

    tracemalloc.start()
    events, error = run(test())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 << 20
    assert texts(events) == ({} if said is None else {0: said})
    assert ends(events) == ({} if end is None else {0: end})
    assert (error is None) == (said is not None)


def test_a_cut_reply_is_complete_for_a_caller_that_reads_slowly() -> None:
    async def test() -> None:
        async with endpoint(endless_text) as here, model_at(here.url) as model:
            said = b""
            async for event in model.stream(prompt(max_tokens=20_000)):
                if isinstance(event, TextDelta):
                    said += event.text.encode()
                    await asyncio.sleep(0)
            assert 160_000 - 4 < len(said) <= 160_000
            await here.gone.wait()

    run(test())


# Reasons and alternatives


@pytest.mark.parametrize(
    ("answer", "finish_reasons"),
    [
        (sse(chunk("Hi"), chunk(end="content_filter"), DONE), {0: "content_filter"}),
        (sse(chunk("Hi"), chunk(tool_calls=[{"index": 0}]), chunk(end="tool_calls"), DONE), {0: "tool_calls"}),
        (sse(chunk("a"), chunk(end="stop"), chunk("b", index=2), chunk(end="length", index=2), DONE), {0: "stop", 2: "length"}),
        (sse(chunk("a", index=1), chunk(end="stop", index=1), chunk(end="content_filter"), DONE), {1: "stop"}),
    ],
)
def test_what_is_there_of_the_alternatives_is_the_answer(answer: Any, finish_reasons: dict[int, str]) -> None:
    played = play(answer, n=3)
    assert played.error is None
    assert ends(played.events) == finish_reasons
    assert len(played.requests) == 1
