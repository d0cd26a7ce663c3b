"""The handoff: a model asks for a human by a structured action, and every way of asking comes to one `HandoffRequest`."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Any

import msgspec
import pytest
from tests.models.misbehaving_endpoint import (
    DONE,
    GOOD,
    KEY,
    OPEN_STREAM,
    Answer,
    Endpoint,
    Exchange,
    chunk,
    endpoint,
    ends,
    framed,
    handoffs,
    http,
    model_at,
    prompt,
    sse,
    texts,
    usage,
)
from tests.models.test_completion_stream import parse, split
from tests.models.test_extractive import LAMPS, WordEmbedder
from tests.models.test_extractive import prompt as grounded_prompt
from tests.models.test_openai_model import collect, run

from gigachat_server.errors import ModelEmpty, ModelError, ModelInterrupted, ModelMalformed, ModelRejected
from gigachat_server.models.base import (
    LONGEST_NOTE,
    HandoffOffer,
    HandoffRequest,
    ModelEvent,
    ModelInput,
    ReplyEnd,
    TextDelta,
    UsageReport,
)
from gigachat_server.models.endpoints.completion_stream import CompletionParser
from gigachat_server.models.endpoints.handoff_call import ARGUMENTS_CHARACTERS, handoff_tool
from gigachat_server.models.fake import EchoModel, ScriptedModel
from gigachat_server.models.quoting.extractive import ExtractiveModel

OFFER = HandoffOffer(message="Someone will be with you soon.")


def call(arguments: object = '{"reason":"asked","note":"Wants a refund"}', *, name: object = "handoff", index: object = 0) -> Any:
    """One entry of `tool_calls`."""
    return {"index": index, "id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}


def called(*calls: object, index: int = 0, end: str | None = "tool_calls", text: str | None = None) -> bytes:
    return chunk(text, index=index, tool_calls=list(calls)) + (chunk(index=index, end=end) if end else b"")


def heard(body: bytes, **settings: Any) -> tuple[list[ModelEvent], ModelError | None]:
    return parse([body], may_hand_off=True, **settings)


# What a call of the tool means


@pytest.mark.parametrize(
    ("arguments", "reason", "note"),
    [
        ('{"reason":"asked","note":"Wants a refund"}', "asked", "Wants a refund"),
        ('{"reason":"unanswered"}', "unanswered", ""),
        ('{"reason":"other","note":null}', "other", ""),
        ({"reason": "asked", "note": "as an object"}, "asked", "as an object"),
        ('{"note":"  why  ","reason":"bored"}', "other", "why"),
        ('{"reason":["asked"],"note":{"a":1}}', "other", ""),
        ('{"reason":5,"note":5}', "other", ""),
        ('{"reason":"asked"', "other", ""),
        ("", "other", ""),
        (None, "other", ""),
        ("null", "other", ""),
        ("[]", "other", ""),
        ("the user wants a person", "other", ""),
        ('{"reason":"asked"}{"reason":"asked"}', "other", ""),
        ("[" * 20_000, "other", ""),
        (r'{"reason":"asked","note":"a\u0000b \ud800 \ud83d\ude00"}', "asked", "a\ufffdb \ufffd 😀"),
        ('{"reason":"asked","note":"a\nb"}', "asked", "a b"),
        ('{"reason":"asked","note":"' + "é" * 900 + '"}', "asked", "é" * LONGEST_NOTE),
    ],
)
def test_a_call_hands_off_however_broken_its_arguments_are(arguments: object, reason: str, note: str) -> None:
    body = called(call(arguments)) + usage(1, 2) + DONE
    events, failure = heard(body)
    assert failure is None
    assert events == [HandoffRequest(reason, note), ReplyEnd(0, "handoff"), UsageReport("m-1", 1, 2)]  # type: ignore[arg-type]
    rng = random.Random(reason)
    for _ in range(20):
        assert parse(split(body, rng), may_hand_off=True) == (events, None)


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_arguments_and_name_may_come_in_pieces_of_any_size(size: int) -> None:
    arguments = '{"reason":"unanswered","note":"Größe 😀"}'
    pieces = [arguments[at : at + size] for at in range(0, len(arguments), size)]
    body = called(call("", name="hand"), end=None) + called(call("", name="off"), end=None)
    body += b"".join(chunk(tool_calls=[{"index": 0, "function": {"arguments": piece}}]) for piece in pieces)
    events, failure = heard(body + chunk(end="tool_calls") + DONE)
    assert failure is None
    assert handoffs(events) == [HandoffRequest("unanswered", "Größe 😀")]


def test_a_name_that_is_repeated_in_every_piece_is_one_name() -> None:
    body = b"".join(called(call(piece), end=None) for piece in ('{"reason"', ':"asked"}'))
    assert handoffs(heard(body + chunk(end="tool_calls") + DONE)[0]) == [HandoffRequest("asked")]


def test_a_whole_message_hands_off_like_a_stream() -> None:
    message = {"role": "assistant", "content": None, "tool_calls": [call()]}
    for choice in ({"message": message, "finish_reason": "tool_calls"}, {"message": message}):
        body = msgspec.json.encode({"model": "m-1", "choices": [choice]})
        for form in (body, b"data: " + body + b"\n\n" + DONE):
            events, failure = heard(form)
            assert failure is None
            assert events[:2] == [HandoffRequest("asked", "Wants a refund"), ReplyEnd(0, "handoff")]


def test_text_beside_the_call_is_kept() -> None:
    for body in (called(call(), text="One moment."), chunk("One moment.") + called(call())):
        events, failure = heard(body + DONE)
        assert failure is None
        assert texts(events) == {0: "One moment."}
        assert len(handoffs(events)) == 1
        assert ends(events) == {0: "handoff"}


@pytest.mark.parametrize("end", ["tool_calls", "function_call", "stop", "eos", None])
def test_a_call_counts_whatever_the_stream_says_of_its_end(end: str | None) -> None:
    events, failure = heard(called(call(), end=end) + DONE)
    assert failure is None
    assert ends(events) == {0: "handoff"}


@pytest.mark.parametrize("end", ["length", "content_filter"])
def test_a_call_that_was_cut_off_hands_off_and_says_that_it_was_cut(end: str) -> None:
    events, failure = heard(called(call('{"reason":"as'), end=end) + DONE)
    assert failure is None
    assert handoffs(events) == [HandoffRequest("other")]
    assert ends(events) == {0: end}


def test_several_calls_are_one_request() -> None:
    second = '{"reason":"other"}'
    one = called(call(), call(second, index=1), call(second, index=None))
    both = called(call()) + called(call(second), index=1)
    for body in (one, both, both + called(call(second))):
        events, failure = heard(body + DONE, n=2)
        assert failure is None
        assert handoffs(events) == [HandoffRequest("asked", "Wants a refund")]
    assert ends(events) == {0: "handoff", 1: "handoff"}


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_call_in_any_alternative_hands_off(index: int) -> None:
    talking = [each for each in range(3) if each != index]
    body = b"".join(chunk(f"text {each}", index=each) + chunk(index=each, end="stop") for each in talking)
    for whole in (body + called(call(), index=index), called(call(), index=index) + body):
        events, failure = heard(whole + DONE, n=3)
        assert failure is None
        assert len(handoffs(events)) == 1
        assert ends(events) == dict.fromkeys(talking, "stop") | {index: "handoff"}
        assert set(texts(events)) == set(talking)


def test_other_tools_and_things_that_are_no_tool_calls_stay_an_empty_reply() -> None:
    strange: list[Any] = [
        {},
        [],
        "handoff",
        5,
        None,
        [None],
        [5],
        [{"function": "handoff"}],
        [{"index": "0"}],
        [{"function": {}}],
    ]
    strange += [
        [call(name=name)] for name in ("", None, "transfer", "handoffs", "Handoff", "hand off", "handoff\0", "x" * 100_000)
    ]
    for tool_calls in strange:
        events, failure = heard(chunk(tool_calls=tool_calls) + chunk(end="tool_calls") + DONE)
        assert type(failure) is ModelEmpty
        assert not events
        events, failure = heard(chunk("Hi", tool_calls=tool_calls) + chunk(end="tool_calls") + DONE)
        assert failure is None
        assert ends(events) == {0: "tool_calls"}
    events, _ = heard(called(call(name="lookup"), call(index=1)) + DONE)
    assert len(handoffs(events)) == 1


def test_a_handoff_that_was_not_offered_is_a_tool_call_like_any_other() -> None:
    events, failure = parse([called(call()) + DONE])
    assert type(failure) is ModelEmpty
    assert not events


def test_a_call_without_its_end_is_broken_off_and_one_with_it_stands() -> None:
    events, failure = heard(called(call(), end=None))
    assert (events, type(failure)) == ([], ModelInterrupted)
    for after in (b"", b"data: {{{\n\n", b'data: {"error":{"message":"boom"}}\n\n'):
        events, failure = heard(called(call()) + after)
        assert failure is None
        assert len(handoffs(events)) == 1
    events, failure = heard(called(call()) + chunk("Hi", index=1) + b'data: {"error":{"message":"boom"}}\n\n', n=2)
    assert len(handoffs(events)) == 1
    assert failure is not None


def test_endless_arguments_and_calls_are_bounded_and_let_the_endpoint_go() -> None:
    parser = CompletionParser(may_hand_off=True)
    events = parser.feed(called(call("{"), end=None))
    fed = 0
    while not parser.is_finished:
        fed += 1000
        events += parser.feed(chunk(tool_calls=[{"index": 0, "function": {"arguments": "x" * 1000}}]))
    assert fed <= ARGUMENTS_CHARACTERS + 1000
    assert events + parser.finish() == [HandoffRequest("other"), ReplyEnd(0, "length"), UsageReport("m-1")]
    many = b"".join(called(call("x", name=f"tool{number}", index=number), end=None) for number in range(5000))
    assert type(heard(many + called(call(index=9999)) + DONE)[1]) is ModelEmpty


def test_random_damage_to_a_call_never_leaves_the_error_tree() -> None:
    rng = random.Random(11)
    sound = chunk("Grüße") + called(call('{"reason":"asked",', name="handoff"), end=None)
    sound += (
        chunk(tool_calls=[{"index": 0, "function": {"arguments": '"note":"😀 \\ud83d\\ude00"}'}}])
        + chunk(end="tool_calls")
        + DONE
    )
    for _ in range(2000):
        body = bytearray(sound)
        for _ in range(rng.choice((1, 1, 3, 20))):
            at = rng.randrange(len(body))
            body[at : at + rng.randrange(3)] = rng.randbytes(rng.randrange(3))
        events, failure = heard(bytes(body))
        again, failure_again = parse(split(bytes(body), rng), may_hand_off=True)
        assert again == events
        assert type(failure_again) is type(failure)
        assert len(handoffs(events)) <= 1
        for text in (*texts(events).values(), *(request.note for request in handoffs(events))):
            assert "\x00" not in text
            text.encode()


def test_a_call_is_a_sign_of_progress() -> None:
    parser = CompletionParser(may_hand_off=True)
    for piece in (called(call("{"), end=None), called(call("}"), end=None), chunk(end="tool_calls")):
        before = parser.progress
        parser.feed(piece)
        assert parser.progress > before


# Over HTTP


async def with_offer(here: Endpoint, text: str = "Hi", **sampling: Any) -> tuple[list[ModelEvent], ModelError | None]:
    async with model_at(here.url) as model:
        return await collect(model, prompt(text, handoff=OFFER, **sampling))


def play(*answers: Answer, text: str = "Hi", **sampling: Any) -> tuple[list[ModelEvent], ModelError | None, list[Exchange]]:
    async def test() -> tuple[list[ModelEvent], ModelError | None, list[Exchange]]:
        async with endpoint(*answers) as here:
            return *await with_offer(here, text, **sampling), here.requests

    return run(test())


def test_an_offer_is_sent_as_one_tool_and_none_without_it() -> None:
    async def test() -> None:
        async with endpoint(GOOD) as here, model_at(here.url) as model:
            for model_input in (prompt(), prompt(handoff=OFFER), prompt(handoff=HandoffOffer())):
                events, error = await collect(model, model_input)
                assert (texts(events), error) == ({0: "Hello"}, None)
            without, told, silent = (request.body for request in here.requests)
        assert "tools" not in without
        assert not any("tool_choice" in body for body in (without, told, silent))
        for body in (told, silent):
            (tool,) = body["tools"]
            assert tool["type"] == "function"
            assert tool["function"]["name"] == "handoff"
            parameters = tool["function"]["parameters"]
            assert parameters["properties"]["reason"]["enum"] == ["asked", "unanswered", "other"]
            assert parameters["properties"]["note"]["type"] == "string"
            assert parameters["required"] == ["reason"]
        assert OFFER.message in told["tools"][0]["function"]["description"]
        assert OFFER.message not in silent["tools"][0]["function"]["description"]

    run(test())


def test_no_message_of_an_offer_breaks_the_tool() -> None:
    for message in ("{reason} {0}", '"\n\\', "😀" * 10_000):
        assert message in msgspec.json.decode(handoff_tool(HandoffOffer(message=message)))["function"]["description"]


@pytest.mark.parametrize("n", [1, 3])
def test_an_endpoint_that_calls_the_tool_hands_off_without_text_in_one_call(n: int) -> None:
    events, error, requests = play(sse(called(call()), usage(1, 2), DONE), n=n)
    assert error is None
    assert events == [HandoffRequest("asked", "Wants a refund"), ReplyEnd(0, "handoff"), UsageReport("m-1", 1, 2)]
    assert len(requests) == 1


def test_a_reply_that_is_neither_text_nor_handoff_is_tried_again_once() -> None:
    for answer in (sse(DONE), sse(called(call(name="other")), DONE)):
        events, error, requests = play(answer)
        assert type(error) is ModelEmpty
        assert not events
        assert len(requests) == 2
    events, error, _ = play(sse(DONE), sse(called(call()), DONE))
    assert error is None
    assert len(handoffs(events)) == 1


def test_nothing_is_tried_again_after_a_handoff() -> None:
    async def broken(exchange: Exchange) -> None:
        await exchange.send(OPEN_STREAM + framed(called(call()) + chunk(" ", index=1)))
        exchange.reset()

    failing = sse(called(call()), chunk(" ", index=1), b'data: {"error":{"code":500}}\n\n')
    for answer in (broken, failing):
        events, error, requests = play(answer, GOOD, n=2)
        if handoffs(events):  # a reset may overtake what was sent before it: then nothing was shown
            assert isinstance(error, ModelError)
            assert len(requests) == 1
    assert handoffs(events)


def test_a_call_that_was_broken_off_is_tried_again_once() -> None:
    async def broken(exchange: Exchange) -> None:
        await exchange.send(OPEN_STREAM + framed(called(call("{"), end=None)))

    events, error, requests = play(broken, sse(called(call()), DONE))
    assert error is None
    assert len(handoffs(events)) == 1
    assert len(requests) == 2


REFUSALS = {
    "ollama": http(b'{"error":{"message":"library/gemma3:4b does not support tools"}}', status="400 Bad Request"),
    "vllm": http(b'{"message":"\\"auto\\" tool choice requires --enable-auto-tool-choice","code":400}', status="400 Bad Request"),
    "openai": http(b'{"error":{"message":"No","code":"unsupported_parameter","param":"tools"}}', status="400 Bad Request"),
    "strict": http(b'{"detail":[{"loc":["body","tools"],"msg":"Extra inputs are not permitted"}]}', status="422 No"),
    "openrouter": http(b'{"error":{"message":"No endpoints found that support tool use.","code":404}}', status="404 Not Found"),
    "llama.cpp": http(b'{"error":{"code":500,"message":"tools param requires --jinja flag"}}', status="500 Error"),
    "older llama.cpp": http(b'{"error":{"code":500,"message":"Unsupported param: tools"}}', status="500 Error"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
@pytest.mark.parametrize("text", ["Hi", "Which tools do you sell?"])
def test_tools_that_are_refused_are_left_out_from_then_on(name: str, text: str, caplog: pytest.LogCaptureFixture) -> None:
    async def picky(exchange: Exchange) -> None:
        await exchange.send(REFUSALS[name] if "tools" in exchange.body else GOOD)

    async def test() -> None:
        async with endpoint(picky) as here, model_at(here.url) as model:
            for _ in range(2):
                events, error = await collect(model, prompt(text, handoff=OFFER))
                assert (texts(events), error) == ({0: "Hello"}, None)
            assert ["tools" in request.body for request in here.requests] == [True, False, False]

    with caplog.at_level(logging.WARNING, logger="gigachat.models"):
        run(test())
    assert any("refuses the parameter tools" in record.getMessage() for record in caplog.records)
    assert KEY not in caplog.text


def test_a_refusal_that_names_tools_proves_nothing_until_a_call_without_them_is_accepted() -> None:
    """Some endpoints echo the prompt: with or without tools, this one is refused, and the next has its tools again."""
    echo = http(b'{"error":{"message":"bad model name for: Which tools do you sell?"}}', status="400 Bad Request")

    async def test() -> None:
        async with endpoint(echo, echo, GOOD) as here, model_at(here.url) as model:
            _, error = await collect(model, prompt("Which tools do you sell?", handoff=OFFER))
            assert type(error) is ModelRejected
            await collect(model, prompt(handoff=OFFER))
            assert ["tools" in request.body for request in here.requests] == [True, False, True]

    run(test())


def test_without_an_offer_no_refusal_is_about_tools() -> None:
    async def test() -> None:
        for name, refusal in REFUSALS.items():
            async with endpoint(refusal) as here, model_at(here.url) as model:
                _, error = await collect(model, prompt())
                assert isinstance(error, ModelError)
                assert len(here.requests) == (2 if "llama.cpp" in name else 1)  # a 500 has its retry

    run(test())


def test_other_parameters_are_learned_beside_tools() -> None:
    async def picky(exchange: Exchange) -> None:
        if "tools" in exchange.body:
            await exchange.send(REFUSALS["ollama"])
        elif "stream_options" in exchange.body:
            await exchange.send(http(b"unknown field stream_options", status="400 No"))
        else:
            await exchange.send(GOOD)

    events, error, requests = play(picky)
    assert (texts(events), error) == ({0: "Hello"}, None)
    assert len(requests) == 3


# Models without an endpoint


def replies(model_input: ModelInput) -> list[ModelEvent]:
    async def all_events() -> list[ModelEvent]:
        return [event async for event in ExtractiveModel(WordEmbedder()).stream(model_input)]

    return asyncio.run(all_events())


def grounded(text: str, *passages: Any, offer: HandoffOffer | None, n: int = 1) -> ModelInput:
    return msgspec.structs.replace(grounded_prompt(text, *passages, n=n), handoff=offer)


def test_the_extractive_model_hands_off_to_nobody_who_asks_something_else_or_without_an_offer() -> None:
    for text, passages, offer in (
        ("Can I talk to a human?", (LAMPS,), None),
        ("What does the support team do about a red lamp?", (LAMPS,), HandoffOffer(after_unanswered=1)),
        ("Hello!", (), HandoffOffer(after_unanswered=1)),
    ):
        events = replies(grounded(text, *passages, offer=offer))
        assert not handoffs(events)
        assert texts(events)[0]
        assert ends(events) == {0: "stop"}


@pytest.mark.parametrize(
    ("after_unanswered", "unanswered_before", "hands_off"),
    [(0, 0, False), (0, 9, False), (1, 0, True), (2, 0, False), (2, 1, True), (3, 1, False), (3, 2, True), (3, 7, True)],
)
def test_the_extractive_model_hands_off_after_as_many_unanswered_prompts_as_the_offer_says(
    after_unanswered: int, unanswered_before: int, hands_off: bool
) -> None:
    offer = HandoffOffer(after_unanswered=after_unanswered, unanswered_before=unanswered_before)
    events = replies(grounded("What is love?", offer=offer, n=2))
    assert handoffs(events) == [HandoffRequest("unanswered")] * hands_off
    assert texts(events) == {0: "No idea.", 1: "No idea."}
    assert [event.abstained for event in events if isinstance(event, ReplyEnd)] == [True, True]
    assert not handoffs(replies(grounded("A red lamp?", LAMPS, offer=offer)))


def test_a_script_hands_off_where_it_says_so() -> None:
    async def events_of(*script: Any) -> list[ModelEvent]:
        return [event async for event in ScriptedModel(list(script)).stream(prompt(n=2))]

    request = HandoffRequest("asked", "Wants a refund")
    silent = asyncio.run(events_of(request))
    assert silent == [request, ReplyEnd(0, "handoff"), ReplyEnd(1, "handoff")]
    talking = asyncio.run(events_of("One ", request, "moment.", ReplyEnd(1, "stop")))
    assert texts(talking) == {0: "One moment.", 1: "One moment."}
    assert [event for event in talking if not isinstance(event, TextDelta)] == [
        request,
        ReplyEnd(1, "stop"),
        ReplyEnd(0, "handoff"),
    ]


def test_the_echo_never_hands_off() -> None:
    async def test() -> list[ModelEvent]:
        return [event async for event in EchoModel().stream(prompt("Can I talk to a human?", handoff=OFFER))]

    assert not handoffs(asyncio.run(test()))


def test_a_stream_that_holds_text_only_stays_as_it_is_with_an_offer() -> None:
    events, error, _ = play(GOOD)
    assert error is None
    assert [type(event) for event in events][-2:] == [ReplyEnd, UsageReport]
    assert type(heard(b"<html>")[1]) is ModelMalformed
