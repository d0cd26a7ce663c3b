"""The model over HTTP against an endpoint that does everything wrong, on loopback and with short timeouts."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Coroutine
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeVar

import pytest
import uvicorn
from tests.models.misbehaving_endpoint import (
    DONE,
    GOOD,
    KEY,
    OPEN_STREAM,
    QUICK,
    Answer,
    Endpoint,
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
from tests.models.test_completion_stream import GARBAGE

import openai
from gigachat_server.errors import (
    ModelContextTooLong,
    ModelEmpty,
    ModelError,
    ModelInterrupted,
    ModelMalformed,
    ModelPaymentRequired,
    ModelRateLimited,
    ModelRejected,
    ModelTimeout,
    ModelUnauthorised,
    ModelUnreachable,
    SetupError,
)
from gigachat_server.models.base import ModelEvent, ModelInput, TextDelta, UsageReport
from gigachat_server.models.endpoints.chat_completions import OpenAIModel, Timeouts, completions_url
from gigachat_server.models.endpoints.completion_stream import Limits
from gigachat_server.models.endpoints.errors import retry_after_s
from gigachat_server.models.endpoints.stub_endpoint import DELTAS, StubEndpoint

T = TypeVar("T")
SECRET = "what-the-endpoint-said"


def run(test: Coroutine[Any, Any, T]) -> T:
    """Runs one test. One that hangs ends after two minutes: the machine may be busy."""

    async def timed() -> T:
        async with asyncio.timeout(120):
            return await test

    return asyncio.run(timed())


class Played:
    """What one prompt came to: events, the error if any, and the endpoint with its requests."""

    def __init__(self, events: list[ModelEvent], error: ModelError | None, here: Endpoint) -> None:
        self.events = events
        self.error = error
        self.requests = here.requests


def play(*answers: Answer, timeouts: Timeouts = QUICK, limits: Limits | None = None, **sampling: Any) -> Played:
    async def test() -> Played:
        async with endpoint(*answers) as here, model_at(here.url, timeouts=timeouts, limits=limits) as model:
            events, error = await collect(model, prompt(**sampling))
            return Played(events, error, here)

    return run(test())


async def collect(model: OpenAIModel, model_input: ModelInput) -> tuple[list[ModelEvent], ModelError | None]:
    events: list[ModelEvent] = []
    try:
        async for event in model.stream(model_input):
            events.append(event)
    except ModelError as error:
        return events, error
    return events, None


async def hang(exchange: Exchange) -> None:
    await exchange.client_gone()


def test_a_reply_comes_as_deltas_an_end_and_the_usage() -> None:
    played = play(GOOD, max_tokens=50, temperature=0.2)
    assert played.error is None
    assert texts(played.events) == {0: "Hello"}
    assert ends(played.events) == {0: "stop"}
    assert played.events[-1] == UsageReport("m-1", 3, 2)
    (request,) = played.requests
    assert request.head.startswith("POST /v1/chat/completions HTTP/1.1\r\n")
    assert f"Authorization: Bearer {KEY}\r\n" in request.head
    assert request.body == {
        "model": "default-model",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 50,
        "temperature": 0.2,
    }


def test_the_chatbots_model_and_all_sampling_reach_the_endpoint() -> None:
    async def test() -> None:
        model_input = prompt(n=2, top_p=0.5, presence_penalty=1.0, frequency_penalty=-1.0, temperature=0.0)
        model_input = ModelInput(
            messages=model_input.messages, sampling=model_input.sampling, query=model_input.query, model="its-own"
        )
        async with endpoint(GOOD) as here, model_at(here.url, key=None) as model:
            await collect(model, model_input)
        (request,) = here.requests
        assert "authorization" not in request.head.lower()
        for name, value in {
            "model": "its-own",
            "n": 2,
            "top_p": 0.5,
            "temperature": 0.0,
            "presence_penalty": 1.0,
            "frequency_penalty": -1.0,
            "max_tokens": 200,
        }.items():
            assert request.body[name] == value

    run(test())


@pytest.mark.parametrize(
    ("base", "full"),
    [
        ("http://h:8000", "http://h:8000/v1/chat/completions"),
        ("http://h:8000/", "http://h:8000/v1/chat/completions"),
        ("https://api.example.com/v1", "https://api.example.com/v1/chat/completions"),
        (" https://api.example.com/v1/ ", "https://api.example.com/v1/chat/completions"),
        ("https://e.com/openai/v1/chat/completions", "https://e.com/openai/v1/chat/completions"),
        ("https://e.com/v1beta/openai", "https://e.com/v1beta/openai/chat/completions"),
        ("https://e.com/dep/x?api-version=1", "https://e.com/dep/x/chat/completions?api-version=1"),
        ("http://[::1]:11434", "http://[::1]:11434/v1/chat/completions"),
    ],
)
def test_a_base_url_comes_in_all_sensible_forms(base: str, full: str) -> None:
    assert str(completions_url(base)) == full


@pytest.mark.parametrize(
    "url", ["", "api.example.com/v1", "ftp://h/v1", "http://", "http://u:secret@h/v1", "http://h:x/v1", "http://h:0/v1"]
)
def test_a_url_that_cannot_work_is_a_setup_error_that_does_not_repeat_it(url: str) -> None:
    with pytest.raises(SetupError) as caught:
        OpenAIModel(url, "m")
    assert "secret" not in str(caught.value)


def test_a_key_that_cannot_be_a_header_is_a_setup_error_that_does_not_repeat_it() -> None:
    for key in ("sk-a\r\nX: y", "sk-ключ"):
        with pytest.raises(SetupError) as caught:
            OpenAIModel("http://h/v1", "m", key)
        assert "sk-" not in str(caught.value)


# F22: not reachable


def test_a_refused_connection_is_unreachable() -> None:
    async def test() -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))  # bound and not listening: refused
            async with model_at(f"http://127.0.0.1:{unused.getsockname()[1]}") as model:
                _, error = await collect(model, prompt())
        assert type(error) is ModelUnreachable

    run(test())


@pytest.mark.parametrize("failure", [socket.gaierror(-2, "Name or service not known"), UnicodeError("label too long")])
def test_a_name_that_does_not_resolve_is_unreachable(monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    async def test() -> None:
        async def getaddrinfo(*_: object, **__: object) -> None:
            raise failure

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
        async with model_at("http://model.invalid/v1") as model:
            _, error = await collect(model, prompt())
        assert type(error) is ModelUnreachable

    run(test())


def test_an_endpoint_that_speaks_no_tls_is_unreachable() -> None:
    async def test() -> None:
        async def plain(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(plain, "127.0.0.1", 0)
        async with model_at(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1") as model:
            _, error = await collect(model, prompt())
        server.close()
        assert type(error) is ModelUnreachable

    run(test())


def test_accepted_and_dropped_is_tried_again_once() -> None:
    async def drop(exchange: Exchange) -> None:
        exchange.reset()

    async def close(exchange: Exchange) -> None:
        """Returning closes the connection."""

    for answer in (drop, close):
        played = play(answer)
        assert type(played.error) is ModelUnreachable
        assert len(played.requests) == 2
        assert texts(play(answer, GOOD).events) == {0: "Hello"}


# F23: asked to slow down


def test_429_with_a_short_retry_after_is_tried_again_once() -> None:
    slow_down = http(b"{}", status="429 Too Many Requests", headers="Retry-After: 0\r\n")
    assert texts(play(slow_down, GOOD).events) == {0: "Hello"}
    played = play(slow_down)
    assert type(played.error) is ModelRateLimited
    assert len(played.requests) == 2


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ("Retry-After: 3600\r\n", 3600),
        ("Retry-After: 10.5\r\n", 11),
        ("Date: Tue, 01 Jul 2025 10:00:00 GMT\r\nRetry-After: Tue, 01 Jul 2025 10:02:00 GMT\r\n", 120),
        ("Retry-After: soon\r\n", None),
        ("", None),
    ],
)
def test_429_otherwise_is_handed_on_with_its_time(headers: str, seconds: int | None) -> None:
    played = play(http(b"{}", status="429 Too Many Requests", headers=headers))
    assert type(played.error) is ModelRateLimited
    assert played.error.retry_after_s == seconds
    assert len(played.requests) == 1


def test_a_retry_that_would_pass_the_deadline_is_not_made() -> None:
    timeouts = Timeouts(total_s=1.5)
    played = play(http(b"{}", status="429 Slow", headers="Retry-After: 2\r\n"), timeouts=timeouts)
    assert type(played.error) is ModelRateLimited
    assert len(played.requests) == 1


@pytest.mark.parametrize("value", ["nan", "inf", "-5", "1e300", "9" * 400, "Tue, 01 Jul 2025", "\x00", "1 s"])
def test_no_retry_after_is_more_than_a_number(value: str) -> None:
    seconds = retry_after_s({"Retry-After": value, "Date": "Tue, 01 Jul 2025 10:00:00 GMT"})
    assert seconds is None or 0 <= seconds <= 86_400


# F24, F25: statuses


@pytest.mark.parametrize("status", ["500 Oops", "502 Bad Gateway", "503 Busy", "529 Overloaded"])
def test_5xx_is_tried_again_once(status: str) -> None:
    failed = http(SECRET.encode(), status=status)
    played = play(failed)
    assert type(played.error) is ModelError
    assert len(played.requests) == 2
    assert texts(play(failed, GOOD).events) == {0: "Hello"}
    patient = play(http(b"", status=status, headers="Retry-After: 600\r\n"))
    assert len(patient.requests) == 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((status, ModelRejected) for status in (301, 302, 307, 308, 400, 404, 405, 418, 422)),
        (401, ModelUnauthorised),
        (402, ModelPaymentRequired),
        (403, ModelUnauthorised),
        (413, ModelContextTooLong),
    ],
)
def test_other_refusals_are_not_tried_again_and_redirects_not_followed(status: int, kind: type[ModelError]) -> None:
    played = play(http(b'{"error":{"message":"no"}}', status=f"{status} No", headers="Location: /elsewhere\r\n"))
    assert type(played.error) is kind
    assert len(played.requests) == 1


def test_neither_errors_nor_logs_hold_the_key_the_url_or_the_endpoints_words(caplog: pytest.LogCaptureFixture) -> None:
    said = f"{SECRET} {KEY} http://127.0.0.1"
    error = f'{{"error":{{"message":"{said}","code":"{KEY}","type":"model_not_found"}}}}'.encode()
    answers = [
        http(error, status="401 Unauthorized"),
        http(error, status=f"500 {SECRET}", headers=f"X-{SECRET}: {KEY}\r\n"),
        http(error, status="429 No"),
        http(error),
        http(said.encode()),
        sse(b"data: " + error + b"\n\n"),
        sse(chunk(said)),
        SECRET.encode(),
        f"HTTP/1.1 200 OK\r\n{SECRET}\x01: {KEY}\r\n\r\n".encode(),
    ]
    with caplog.at_level(logging.DEBUG, logger="gigachat.models"):
        for answer in answers:
            played = play(answer)
            assert played.error is not None
            for word in (SECRET, KEY, "127.0.0.1"):
                assert word not in f"{played.error} {played.error!r} {played.error.detail} {played.error.headers}"
    log = [record.getMessage() for record in caplog.records if record.name == "gigachat.models"]
    assert any("status 401, model_not_found" in line for line in log)
    assert {record.levelno for record in caplog.records if record.name == "gigachat.models"} == {logging.WARNING}
    for word in (SECRET, KEY, "127.0.0.1"):
        assert word not in " ".join(log)


# F26: hanging


def elapsed(played_with: Timeouts, *answers: Answer) -> tuple[Played, float]:
    async def test() -> tuple[Played, float]:
        loop = asyncio.get_running_loop()
        async with endpoint(*answers) as here, model_at(here.url, timeouts=played_with) as model:
            started = loop.time()
            events, error = await collect(model, prompt())
            took = loop.time() - started
            if here.requests:
                await here.gone.wait()
            return Played(events, error, here), took

    return run(test())


async def hang_and_tell(exchange: Exchange) -> None:
    await exchange.client_gone()
    raise ConnectionResetError


async def headers_then_hang(exchange: Exchange) -> None:
    await exchange.send(OPEN_STREAM)
    await hang_and_tell(exchange)


async def text_then_hang(exchange: Exchange) -> None:
    await exchange.send(OPEN_STREAM + framed(chunk("Hi")))
    await hang_and_tell(exchange)


async def keep_alives(exchange: Exchange) -> None:
    await exchange.send(OPEN_STREAM)
    while True:
        await exchange.send(framed(b": keep-alive\n\n"))
        await asyncio.sleep(0)


async def endless_reasoning(exchange: Exchange) -> None:
    await exchange.send(OPEN_STREAM)
    while True:
        await exchange.send(framed(chunk(reasoning_content="hm")))
        await asyncio.sleep(0.005)  # the pace of the endpoint, nothing waits for it


@pytest.mark.parametrize(
    ("answer", "timeouts", "shown"),
    [
        (hang_and_tell, Timeouts(first_token_s=0.15), {}),
        (headers_then_hang, Timeouts(first_token_s=0.15), {}),
        (keep_alives, Timeouts(first_token_s=0.05, idle_s=0.05, total_s=0.15), {}),
        (text_then_hang, Timeouts(idle_s=0.15), {0: "Hi"}),
        (text_then_hang, Timeouts(total_s=0.15), {0: "Hi"}),
        (endless_reasoning, Timeouts(first_token_s=0.1, idle_s=0.1, total_s=0.15), {}),
    ],
)
def test_silence_ends_in_time_and_closes_the_connection(answer: Answer, timeouts: Timeouts, shown: dict[int, str]) -> None:
    played, took = elapsed(timeouts, answer)
    assert type(played.error) is ModelTimeout
    assert 0.14 <= took < 5.0
    assert texts(played.events) == shown
    assert len(played.requests) == 1


def test_a_connection_that_is_never_accepted_ends_in_time() -> None:
    async def test() -> None:
        with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)  # with a full backlog, a further SYN is not answered
            for filler in (first, second):
                filler.setblocking(False)
                filler.connect_ex(listener.getsockname())
            async with model_at(f"http://127.0.0.1:{listener.getsockname()[1]}", timeouts=Timeouts(connect_s=0.15)) as m:
                _, error = await collect(m, prompt())
        assert type(error) is ModelTimeout

    run(test())


def test_a_caller_that_takes_its_time_is_no_silence_of_the_endpoint() -> None:
    async def test() -> None:
        go_on = asyncio.Event()

        async def answer(exchange: Exchange) -> None:
            await exchange.send(OPEN_STREAM + framed(chunk("Hi")))
            await go_on.wait()
            await exchange.send(framed(chunk("!", end="stop") + DONE) + b"0\r\n\r\n")

        async with endpoint(answer) as here, model_at(here.url, timeouts=Timeouts(idle_s=0.05)) as model:
            events = []
            async for event in model.stream(prompt()):
                events.append(event)
                if event == TextDelta(0, "Hi"):
                    await asyncio.sleep(0.1)  # longer than idle_s: the slowness under test
                    go_on.set()
            assert texts(events) == {0: "Hi!"}

    run(test())


def test_a_complete_reply_does_not_wait_for_its_usage() -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.send(OPEN_STREAM + framed(chunk("Hi") + chunk(end="stop")))
        await hang_and_tell(exchange)

    played, took = elapsed(Timeouts(usage_s=0.1), answer)
    assert played.error is None
    assert ends(played.events) == {0: "stop"}
    assert isinstance(played.events[-1], UsageReport)
    assert took < 5.0


def test_fewer_alternatives_than_asked_are_complete_when_nothing_more_comes() -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.send(OPEN_STREAM + framed(chunk("Hi") + chunk(end="stop")))
        await exchange.client_gone()

    played = play(answer, timeouts=Timeouts(idle_s=0.1), n=3)
    assert played.error is None
    assert texts(played.events) == {0: "Hi"}


# F27: dropped in the middle


@pytest.mark.parametrize("way", ["reset", "close", "length"])
def test_a_drop_after_text_is_an_interruption_and_never_tried_again(way: str) -> None:
    async def answer(exchange: Exchange) -> None:
        if way == "length":
            await exchange.send(sse(chunk("Hi"), chunk("!"))[:-10])
            return
        await exchange.send(OPEN_STREAM + framed(chunk("Hi")))
        await shown.wait()
        if way == "reset":
            exchange.reset()

    async def test() -> None:
        async with endpoint(answer) as here, model_at(here.url) as model:
            events = []
            with pytest.raises(ModelInterrupted):  # noqa: PT012 - what came before counts
                async for event in model.stream(prompt()):
                    events.append(event)
                    shown.set()
            assert texts(events)[0].startswith("Hi")
            assert not ends(events)
            assert len(here.requests) == 1

    shown = asyncio.Event()
    run(test())


def test_broken_framing_after_text_ends_like_silence_at_the_latest() -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.send(OPEN_STREAM + framed(chunk("Hi")))
        await exchange.send(b"zzzz\r\n")
        await exchange.client_gone()

    played = play(answer, timeouts=Timeouts(idle_s=0.1))
    assert isinstance(played.error, ModelInterrupted | ModelTimeout | ModelMalformed | ModelUnreachable)
    assert not ends(played.events)
    assert len(played.requests) <= 2


def test_a_drop_before_text_is_tried_again_once() -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.send(OPEN_STREAM + framed(chunk(role="assistant", content="")))

    assert texts(play(answer, GOOD).events) == {0: "Hello"}
    played = play(answer)
    assert type(played.error) is ModelInterrupted
    assert len(played.requests) == 2


def test_a_drop_after_the_end_costs_the_usage_at_most() -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.send(OPEN_STREAM + framed(chunk("Hi") + chunk(end="stop")))

    played = play(answer)
    assert played.error is None
    assert texts(played.events) == {0: "Hi"}


# F28: garbage


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_over_http_is_sound_text_or_one_named_error(name: str) -> None:
    body, expected = GARBAGE[name]
    kind = "text/html" if "html" in name else "application/json" if "json" in name else "text/event-stream"

    async def in_two(exchange: Exchange) -> None:
        whole = http(body, kind=kind)
        await exchange.send(whole[: -len(body) // 2])
        await exchange.send(whole[-len(body) // 2 :])

    async def in_bytes(exchange: Exchange) -> None:
        await exchange.send(OPEN_STREAM)
        for at in range(min(len(body), 400)):
            await exchange.send(framed(body[at : at + 1]))
        await exchange.send((framed(body[400:]) if len(body) > 400 else b"") + b"0\r\n\r\n")

    for answer in (http(body, kind=kind), in_two, in_bytes):
        played = play(answer)
        if isinstance(expected, str):
            assert played.error is None
            assert texts(played.events) == {0: expected}
        else:
            assert type(played.error) is expected
        assert len(played.requests) <= 2


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnot a length\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00",
        b"\x00" * 1000,
    ],
)
def test_broken_http_is_a_model_error(answer: bytes) -> None:
    played = play(answer)
    assert isinstance(played.error, ModelMalformed | ModelInterrupted | ModelUnreachable)
    assert not played.events
    assert len(played.requests) <= 2


# F29: nothing said


@pytest.mark.parametrize(
    "answer",
    [
        sse(DONE),
        sse(chunk(" \n "), DONE),
        sse(chunk(reasoning_content="hm"), chunk(end="stop"), DONE),
        sse(chunk(tool_calls=[{"index": 0}]), chunk(end="tool_calls"), DONE),
        http(b'{"choices":[{"message":{"content":""}}]}', kind="application/json"),
        http(b"", status="204 No Content"),
    ],
)
def test_an_empty_reply_is_tried_again_once_and_never_shown(answer: bytes) -> None:
    played = play(answer)
    assert type(played.error) is ModelEmpty
    assert not played.events
    assert len(played.requests) == 2
    assert texts(play(answer, GOOD).events) == {0: "Hello"}


def test_only_the_first_attempt_has_a_second() -> None:
    played = play(sse(DONE), http(b"", status="500 Oops"), GOOD)
    assert type(played.error) is ModelError
    assert len(played.requests) == 2


# F30: without end


def test_an_endless_reply_is_cut_and_the_endpoint_let_go() -> None:
    async def endless(exchange: Exchange) -> None:
        await exchange.send(OPEN_STREAM)
        while True:
            await exchange.send(framed(chunk("na " * 1000)))

    async def test() -> None:
        async with endpoint(endless) as here, model_at(here.url) as model:
            events, error = await collect(model, prompt(max_tokens=1000))
            assert error is None
            assert texts(events) == {0: ("na " * 3000)[:8000]}
            assert ends(events) == {0: "length"}
            await here.gone.wait()

    run(test())


def test_an_endless_line_and_an_endless_body_are_malformed() -> None:
    def endless_from(start: bytes) -> Answer:
        async def endless(exchange: Exchange) -> None:
            await exchange.send(OPEN_STREAM + framed(start))
            while True:
                await exchange.send(framed(b" " * 10_000))

        return endless

    for start in (b"data: {", b"{", b"<html>"):
        played = play(endless_from(start), limits=Limits(line_bytes=100_000, body_bytes=100_000))
        assert type(played.error) is ModelMalformed
        assert len(played.requests) == 1


# F31: alternatives and reasons


def test_alternatives_arrive_interleaved_or_fewer() -> None:
    both = sse(chunk("a"), chunk("b", index=1), chunk("A", end="stop"), chunk("B", index=1, end="length"), DONE)
    played = play(both, n=2)
    assert texts(played.events) == {0: "aA", 1: "bB"}
    assert ends(played.events) == {0: "stop", 1: "length"}
    fewer = play(GOOD, n=3)
    assert fewer.error is None
    assert ends(fewer.events) == {0: "stop"}


def test_a_filtered_reply_keeps_its_text_and_says_so() -> None:
    played = play(sse(chunk("Hi"), chunk(end="content_filter"), DONE))
    assert ends(played.events) == {0: "content_filter"}


def test_a_plain_json_completion_is_as_good_as_a_stream() -> None:
    message = '{"message":{"content":"%s"},"finish_reason":"stop"}'
    body = f'{{"model":"m-1","choices":[{message % "a"},{message % "b"}],"usage":{{"prompt_tokens":4}}}}'
    played = play(http(body.encode(), kind="application/json"), n=2)
    assert texts(played.events) == {0: "a", 1: "b"}
    assert ends(played.events) == {0: "stop", 1: "stop"}
    assert played.events[-1] == UsageReport("m-1", 4, 0)


# What an endpoint refuses is left out


@pytest.mark.parametrize("status", ["400 Bad Request", "422 Unprocessable"])
def test_stream_options_that_are_refused_are_left_out_from_then_on(status: str) -> None:
    refusal = http(b'{"detail":[{"loc":["body","stream_options"],"msg":"Extra inputs"}]}', status=status)

    async def test() -> None:
        async with endpoint(refusal, GOOD) as here, model_at(here.url) as model:
            for _ in range(2):
                events, _ = await collect(model, prompt())
                assert texts(events) == {0: "Hello"}
            assert ["stream_options" in request.body for request in here.requests] == [True, False, False]

    run(test())


def test_calls_that_learn_a_refusal_together_all_succeed() -> None:
    refusal = http(b"unknown field stream_options", status="400 Bad Request")

    async def picky(exchange: Exchange) -> None:
        await exchange.send(refusal if "stream_options" in exchange.body else GOOD)

    async def test() -> None:
        async with endpoint(picky) as here, model_at(here.url) as model:
            results = await asyncio.gather(*(collect(model, prompt()) for _ in range(5)))
            assert [texts(events) for events, _ in results] == [{0: "Hello"}] * 5

    run(test())


def test_max_tokens_goes_by_its_newer_name_where_the_older_is_refused() -> None:
    too_old = b"""{"error":{"message":"Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.",
        "param":"max_tokens","code":"unsupported_parameter"}}"""
    fixed = b'{"error":{"message":"Only the default","param":"temperature","code":"unsupported_value"}}'
    played = play(http(too_old, status="400 No"), http(fixed, status="400 No"), GOOD, max_tokens=77)
    assert texts(played.events) == {0: "Hello"}
    last = played.requests[-1].body
    assert last["max_completion_tokens"] == 77
    assert not {"max_tokens", "temperature"} & set(last)


def test_a_refusal_that_does_not_stop_is_a_rejection() -> None:
    played = play(http(b"stream_options", status="400 No"))
    assert type(played.error) is ModelRejected
    assert len(played.requests) == 2


# Leaving early


def test_closing_the_iterator_closes_the_connection() -> None:
    async def test() -> None:
        async with endpoint(text_then_hang) as here, model_at(here.url) as model:
            async with aclosing(model.stream(prompt())) as events:
                assert await anext(events) == TextDelta(0, "Hi")
            await here.gone.wait()

    run(test())


def test_cancelling_the_caller_closes_the_connection() -> None:
    async def test() -> None:
        for answer in (hang_and_tell, headers_then_hang, text_then_hang):
            arrived = asyncio.Event()

            async def told(exchange: Exchange, answer: Any = answer, arrived: asyncio.Event = arrived) -> None:
                arrived.set()
                await answer(exchange)

            async with endpoint(told) as here, model_at(here.url) as model:
                call = asyncio.create_task(collect(model, prompt()))
                await arrived.wait()
                call.cancel()
                await asyncio.wait([call])
                assert call.cancelled()
                await here.gone.wait()

    run(test())


def test_closing_the_model_ends_its_calls_for_good() -> None:
    async def test() -> None:
        arrived = asyncio.Event()

        async def told(exchange: Exchange) -> None:
            arrived.set()
            await headers_then_hang(exchange)

        async with endpoint(told) as here, model_at(here.url) as model:
            call = asyncio.create_task(collect(model, prompt()))
            await arrived.wait()
            await model.aclose()
            for _, error in (await call, await collect(model, prompt())):
                assert isinstance(error, ModelUnreachable | ModelInterrupted)
            await here.gone.wait()
            assert len(here.requests) == 1

    run(test())


# The stub endpoint


@asynccontextmanager
async def stub(app: StubEndpoint) -> AsyncIterator[str]:
    """The application behind uvicorn; the socket listens before the server runs, so nobody waits for it."""
    # With its protocol named, asyncio sets TCP_NODELAY on what it accepts; without, each answer waits 40 ms.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", access_log=False))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        finally:
            server.should_exit = True
            await serving


@pytest.mark.parametrize("delay_s", [0.0, 0.001])
def test_the_stub_endpoint_answers_the_model_over_one_kept_connection(delay_s: float) -> None:
    async def test() -> None:
        app = StubEndpoint(first_delta_s=delay_s, between_s=delay_s)
        clients = set()

        async def counted(scope: Any, receive: Any, send: Any) -> None:
            clients.add(scope["client"])
            await app(scope, receive, send)

        async with stub(counted) as url, model_at(url) as model:  # type: ignore[arg-type]
            for n in (1, 3, 1):
                events, error = await collect(model, prompt(n=n))
                assert error is None
                assert texts(events) == dict.fromkeys(range(n), "".join(DELTAS))
                assert events[-1] == UsageReport("default-model", 1, n * len(DELTAS))
        assert len(clients) == 1

    run(test())


def test_the_stub_endpoint_answers_the_vendors_own_client() -> None:
    async def test() -> None:
        async with stub(StubEndpoint()) as url, openai.AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0) as client:
            question: Any = [{"role": "user", "content": "Hi"}]
            whole = await client.chat.completions.create(model="m", messages=question, n=2)
            assert [choice.message.content for choice in whole.choices] == ["".join(DELTAS)] * 2
            assert whole.usage is not None
            assert whole.usage.completion_tokens == 2 * len(DELTAS)
            stream = await client.chat.completions.create(
                model="m", messages=question, stream=True, stream_options={"include_usage": True}
            )
            parts = [part async for part in stream]
            assert "".join(part.choices[0].delta.content or "" for part in parts if part.choices) == "".join(DELTAS)
            assert parts[-1].usage is not None
            assert [model.id async for model in client.models.list()] == ["stub"]
            with pytest.raises(openai.NotFoundError):
                await client.files.retrieve("x")
            with pytest.raises(openai.BadRequestError):
                await client.chat.completions.create(model="m", messages=question, n="x")  # type: ignore[call-overload]

    run(test())
