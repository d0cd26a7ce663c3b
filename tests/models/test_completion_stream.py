"""The parser alone: what it makes of sound and unsound bodies, wherever the network cuts them."""

from __future__ import annotations

import random
import tracemalloc

import msgspec
import pytest
from tests.models.misbehaving_endpoint import DONE, chunk, ends, texts, usage
from tests.models.strange_chunks import FRAMINGS, WRONG_VALUES

from gigachat_server.errors import (
    ModelEmpty,
    ModelError,
    ModelFiltered,
    ModelInterrupted,
    ModelMalformed,
    ModelRateLimited,
    ModelRejected,
)
from gigachat_server.models.base import ModelEvent, UsageReport
from gigachat_server.models.endpoints.completion_stream import CompletionParser, Limits

END = chunk(end="stop") + DONE


def raw(content: bytes) -> bytes:
    """A chunk whose content is these very bytes, then the end."""
    return b'data: {"choices":[{"index":0,"delta":{"content":"' + content + b'"}}]}\n\n' + END


def whole(content: object, **more: object) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"} | more
    return msgspec.json.encode({"model": "m-1", "choices": [choice]})


Outcome = str | type[ModelError]
GARBAGE: dict[str, tuple[bytes, Outcome]] = {
    # not a completion at all
    "nothing": (b"", ModelEmpty),
    "blanks": (b" \r\n\n ", ModelMalformed),
    "html": (b"<!DOCTYPE html><html><body>502 Bad Gateway</body></html>", ModelMalformed),
    "html with lines": (b"<html>\n<body>\ndata: not here\n</body></html>", ModelMalformed),
    "prose": (b"Service temporarily unavailable", ModelMalformed),
    "binary": (bytes(range(128, 256)) * 8, ModelMalformed),
    "gzip": (b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03data", ModelMalformed),
    "json null": (b"null", ModelMalformed),
    "json string": (b'"hello"', ModelMalformed),
    "json array": (b"[]", ModelMalformed),
    "json of something else": (b'{"hello": "world"}', ModelMalformed),
    "json cut short": (b'{"choices": [{"mess', ModelMalformed),
    "json twice": (whole("a") + whole("b"), ModelMalformed),
    "json too deep": (b'{"x":' + b"[" * 100_000, ModelMalformed),
    "json with wrong choices": (b'{"choices": {"0": "hi"}}', ModelMalformed),
    "json with wrong content": (whole(42), ModelMalformed),
    "json without choices": (b'{"choices": []}', ModelEmpty),
    "comments only": (b": ping\n\n: ping\n\n", ModelMalformed),
    "events without data": (b"event: message\nid: 3\nretry: 10\n\n", ModelMalformed),
    # event streams with wrong lines
    "data is not json": (b"data: hello\n\n" + END, ModelMalformed),
    "data is a number": (b"data: 5\n\n" + END, ModelMalformed),
    "data is an array": (b"data: []\n\n" + END, ModelMalformed),
    "data of something else": (b'data: {"hello":1}\n\n' + DONE, ModelMalformed),
    "choices is text": (b'data: {"choices":"x"}\n\n' + END, ModelMalformed),
    "index is text": (b'data: {"choices":[{"index":"0","delta":{"content":"a"}}]}\n\n' + END, "a"),
    "content is a number": (b'data: {"choices":[{"delta":{"content":1}}]}\n\n' + END, ModelMalformed),
    "delta is text": (b'data: {"choices":[{"delta":"a"}]}\n\n' + END, ModelMalformed),
    "deep nesting": (b'data: {"choices":[{"x":' + b"[" * 50_000 + b"\n\n" + END, ModelMalformed),
    "done alone": (DONE, ModelEmpty),
    "garbage after text": (chunk("Hi") + b"data: {{{\n\n" + END, ModelMalformed),
    # failures told inside the stream
    "error object": (b'data: {"error":{"message":"boom","code":500}}\n\n', ModelError),
    "error text": (b'data: {"error":"boom"}\n\n', ModelError),
    "error after text": (chunk("Hi") + b'data: {"error":{"message":"boom"}}\n\n', ModelError),
    "error in json": (b'{"error":{"message":"boom","type":"server_error"}}', ModelError),
    "error as an object": (b'data: {"object":"error","message":"boom","code":400}\n\n', ModelRejected),
    "error of the request": (b'data: {"error":{"type":"invalid_request_error"}}\n\n', ModelRejected),
    "error of the rate": (b'data: {"error":{"code":"rate_limit_exceeded"}}\n\n', ModelRateLimited),
    "error of the rate, by number": (b'data: {"error":{"code":"429"}}\n\n', ModelRateLimited),
    "error field": (b'error: {"code":500}\n\n', ModelError),
    # no text
    "only whitespace": (chunk(" \n") + chunk("\t") + END, ModelEmpty),
    "only reasoning": (chunk(reasoning_content="hmm") + chunk(reasoning="so") + END, ModelEmpty),
    "only a tool call": (chunk(tool_calls=[{"index": 0}]) + chunk(end="tool_calls") + DONE, ModelEmpty),
    "filtered": (chunk(end="content_filter") + DONE, ModelFiltered),
    "null content": (whole(None), ModelEmpty),
    "other alternatives only": (chunk("a", index=-1) + chunk("b", index=1) + END, ModelEmpty),
    # broken off
    "no end": (chunk("Hi"), ModelInterrupted),
    "half a chunk": (chunk("Hi") + b'data: {"choi', ModelInterrupted),
    "half a character": (chunk("Hi") + chunk("é")[:-20], ModelInterrupted),
    # unsound text that can be mended
    "bad utf-8": (raw(b"a\xffb\xc3"), "a\ufffdb\ufffd"),
    "utf-8 of a surrogate": (raw(b"a\xed\xa0\x80b"), "a\ufffd\ufffd\ufffdb"),
    "overlong utf-8": (raw(b"a\xc0\x80b"), "a\ufffd\ufffdb"),
    "nul escaped": (raw(rb"a\u0000b"), "a\ufffdb"),
    "nul raw": (raw(b"a\x00b"), "a\ufffdb"),
    "control raw": (raw(b"a\tb\x01c"), "a b c"),
    "high surrogate": (raw(rb"a\ud83d"), "a\ufffd"),
    "high surrogate, then text": (raw(rb"\ud83dab\u00e9"), "\ufffdabé"),
    "low surrogate": (raw(rb"\ude00a"), "\ufffda"),
    "surrogates in the wrong order": (raw(rb"\ude00\ud83d"), "\ufffd\ufffd"),
    "two high surrogates, one pair": (raw(rb"\ud83d\ud83d\ude00"), "\ufffd😀"),
    "no surrogate but a backslash": (raw(rb"\\ud800 \ud800"), "\\ud800 \ufffd"),
    "surrogate in json": (whole("x").replace(b'"x"', rb'"a\uDEADb"'), "a\ufffdb"),
    "surrogate elsewhere": (b'data: {"id":"\\ud800","choices":[{"delta":{"content":"a"}}]}\n\n' + END, "a"),
    # sound, if unusual
    "pair": (raw(rb"\ud83d\ude00"), "😀"),
    "no space after the colon": (chunk("Hi").replace(b"data: ", b"data:") + END, "Hi"),
    "crlf": ((chunk("Hi") + chunk(" é") + END).replace(b"\n", b"\r\n"), "Hi é"),
    "cr": ((chunk("Hi") + END).replace(b"\n", b"\r"), "Hi"),
    "single newlines": ((chunk("a") + chunk("b") + END).replace(b"\n\n", b"\n"), "ab"),
    "byte order mark": (b"\xef\xbb\xbf" + chunk("Hi") + END, "Hi"),
    "comments between": (b": hi\n\n" + chunk("a") + b": ping\n\n" + chunk("b") + END, "ab"),
    "other fields": (b"event: x\nid: 1\nretry: 5\n" + chunk("a") + b"foo: bar\n" + chunk("b") + END, "ab"),
    "empty data": (b"data:\n\ndata: \n\n" + chunk("a") + END, "a"),
    "no done": (chunk("Hi") + chunk(end="stop"), "Hi"),
    "no done and no last newline": (chunk("Hi") + chunk(end="stop").strip(), "Hi"),
    "no finish_reason": (chunk("Hi") + DONE, "Hi"),
    "empty finish_reason": (chunk("H", end="") + chunk("i", end="") + END, "Hi"),
    "text after the end": (chunk("Hi") + chunk(end="stop") + chunk("!") + DONE, "Hi"),
    "text after done": (chunk("Hi") + END + chunk("!"), "Hi"),
    "failure after the end": (chunk("Hi") + chunk(end="stop") + b"data: {{{\n\n", "Hi"),
    "nulls": (b'data: {"model":null,"usage":null,"error":null,"choices":null}\n\n' + chunk("Hi") + END, "Hi"),
    "null delta": (chunk("Hi") + b'data: {"choices":[{"delta":null,"finish_reason":"stop"}]}\n\n', "Hi"),
    "no index": (b'data: {"choices":[{"delta":{"content":"Hi"}}]}\n\n' + DONE, "Hi"),
    "reasoning before": (chunk(reasoning_content="hm", content=None) + chunk("Hi", reasoning_content=None) + END, "Hi"),
    "leading whitespace": (chunk("\n") + chunk(" ") + chunk("Hi ") + END, "\n Hi "),
    "json": (whole("Hi"), "Hi"),
    "json in parts": (whole([{"type": "thinking", "thinking": []}, {"type": "text", "text": "Hi"}]), "Hi"),
    "json with lines": (msgspec.json.format(whole("Hi")), "Hi"),
    "json with tabs": (msgspec.json.format(whole("H\ud7ffi")).replace(b"  ", b"\t"), "H\ud7ffi"),
    "json after blanks": (b"\r\n  " + whole("Hi"), "Hi"),
    "json in one event": (b"data: " + whole("Hi") + b"\n\n" + DONE, "Hi"),
}


def parse(pieces: list[bytes], **settings: object) -> tuple[list[ModelEvent], ModelError | None]:
    parser = CompletionParser(model="asked", **settings)  # type: ignore[arg-type]
    events: list[ModelEvent] = []
    for piece in pieces:
        events += parser.feed(piece)
    events += parser.finish()
    return events, parser.failure


def split(body: bytes, rng: random.Random) -> list[bytes]:
    cuts = sorted(rng.choices(range(len(body) + 1), k=rng.choice((1, 2, 5, 40))))
    return [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]


@pytest.mark.parametrize("name", GARBAGE)
def test_a_body_is_sound_text_or_one_named_error_wherever_it_is_cut(name: str) -> None:
    body, expected = GARBAGE[name]
    events, failure = parse([body])
    if isinstance(expected, str):
        assert failure is None
        assert texts(events) == {0: expected}
        assert ends(events) == {0: "stop"}
        assert isinstance(events[-1], UsageReport)
    else:
        assert type(failure) is expected
        assert not ends(events)
    rng = random.Random(name)
    cuts = [split(body, rng) for _ in range(30)]
    if len(body) < 2000:
        cuts.append([body[at : at + 1] for at in range(len(body))])
    for pieces in cuts:
        again, failure_again = parse(pieces)
        assert again == events
        assert type(failure_again) is type(failure)


@pytest.mark.parametrize("name", WRONG_VALUES)
def test_a_wrong_value_anywhere_is_sound_text_or_a_named_error_wherever_it_is_cut(name: str) -> None:
    body = WRONG_VALUES[name]
    events, failure = parse([body], may_hand_off=True)
    assert isinstance(failure, ModelError) or texts(events)[0].strip()
    assert_sound(events)
    rng = random.Random(name)
    for pieces in (split(body, rng), split(body, rng), [body[at : at + 1] for at in range(len(body))]):
        again, failure_again = parse(pieces, may_hand_off=True)
        assert again == events
        assert type(failure_again) is type(failure)


@pytest.mark.parametrize("name", FRAMINGS)
def test_text_is_read_however_its_events_are_framed_and_cut(name: str) -> None:
    body, expected = FRAMINGS[name]
    rng = random.Random(name)
    for pieces in ([body], split(body, rng), split(body, rng), [body[at : at + 1] for at in range(len(body))]):
        events, failure = parse(pieces)
        assert failure is None
        assert texts(events) == {0: expected}
        assert ends(events) == {0: "stop"}


def test_the_corpus_of_garbage_is_large() -> None:
    assert len(GARBAGE) + len(WRONG_VALUES) + len(FRAMINGS) >= 300


def assert_sound(events: list[ModelEvent]) -> None:
    """No text or name among the events holds NUL, or what is not Unicode."""
    said = [*texts(events).values(), *(event.model for event in events if isinstance(event, UsageReport))]
    for text in said:
        assert "\x00" not in text
        text.encode()


def test_random_damage_never_leaves_the_error_tree() -> None:
    rng = random.Random(7)
    sound = chunk("Grüße 😀") + chunk("two", index=1) + chunk(" there") + usage(1, 2) + END
    for _ in range(3000):
        body = bytearray(sound)
        for _ in range(rng.choice((1, 1, 3, 20))):
            at = rng.randrange(len(body))
            match rng.randrange(3):
                case 0:
                    body[at] = rng.randrange(256)
                case 1:
                    del body[at : at + rng.randrange(1, 9)]
                case _:
                    body[at:at] = rng.randbytes(rng.randrange(1, 5))
        events, failure = parse([bytes(body)], n=2)
        again, failure_again = parse(split(bytes(body), rng), n=2)
        assert again == events
        assert type(failure_again) is type(failure)
        assert_sound(events)


def test_alternatives_are_told_apart_and_those_without_text_are_not_there() -> None:
    body = chunk("a", index=0) + chunk("b", index=2) + chunk("A") + chunk(" ", index=1)
    body += chunk(end="stop", index=2) + chunk(end="length") + chunk(end="stop", index=1) + chunk("x", index=9) + DONE
    events, failure = parse([body], n=3)
    assert failure is None
    assert texts(events) == {0: "aA", 2: "b"}
    assert ends(events) == {0: "length", 2: "stop"}


@pytest.mark.parametrize(
    ("sent", "given"),
    [
        ("length", "length"),
        ("content_filter", "content_filter"),
        ("tool_calls", "tool_calls"),
        ("function_call", "tool_calls"),
        ("eos_token", "stop"),
    ],
)
def test_finish_reasons_come_from_a_known_set(sent: str, given: str) -> None:
    events, _ = parse([chunk("Hi") + chunk(end=sent) + DONE])
    assert ends(events) == {0: given}


def test_usage_is_reported_once_under_the_providers_name_and_fits_an_integer() -> None:
    events, _ = parse([chunk("Hi") + usage(1, 1) + usage(-5, 1 << 70) + END])
    assert [event for event in events if isinstance(event, UsageReport)] == [UsageReport("m-1", 0, (1 << 31) - 1)]
    events, _ = parse([b'data: {"choices":[{"delta":{"content":"Hi"}}]}\n\n' + DONE])
    assert events[-1] == UsageReport("asked", 0, 0)


@pytest.mark.parametrize("text", ["a", "é", "😀", "aé"])
def test_an_alternative_is_cut_at_its_limit_and_between_characters(text: str) -> None:
    parser = CompletionParser(max_tokens=2, limits=Limits(bytes_per_token=5))
    events: list[ModelEvent] = []
    while not parser.is_finished:
        events += parser.feed(chunk(text * 3))
    events += parser.finish()
    said = texts(events)[0]
    assert 10 - len("😀".encode()) < len(said.encode()) <= 10
    assert set(said) <= set(text)
    assert ends(events) == {0: "length"}


def test_a_cut_alternative_lets_the_others_end() -> None:
    parser = CompletionParser(n=2, max_tokens=1)
    events = parser.feed(chunk("b", index=1) + chunk("a" * 100))
    finished = [parser.is_finished]
    events += parser.feed(chunk("b", index=1) + chunk(end="stop", index=1))
    finished.append(parser.is_finished)
    assert finished == [False, True]
    assert texts(events) == {0: "a" * 8, 1: "bb"}
    assert ends(events) == {0: "length", 1: "stop"}


def test_no_line_no_body_and_no_stream_grows_without_end() -> None:
    limits = Limits(line_bytes=1000, body_bytes=1000, stream_bytes=5000)
    for start in (b"data: ", b'{"choices":'):
        parser = CompletionParser(limits=limits)
        parser.feed(start)
        for _ in range(200):
            parser.feed(b" " * 10)
        assert type(parser.failure) is ModelMalformed
    line = b"data: " + b"x" * 2000 + b"\n"
    assert type(parse([line], limits=limits)[1]) is ModelMalformed

    thinking = CompletionParser(limits=limits)
    shown = CompletionParser(limits=limits)
    assert shown.feed(chunk("Hi"))
    for _ in range(200):
        thinking.feed(chunk(reasoning_content="hm"))
        shown.feed(b": ping\n\n" * 20)
    assert type(thinking.failure) is ModelMalformed
    assert shown.is_finished
    assert shown.failure is None


def test_a_body_in_single_bytes_costs_linear_time() -> None:
    parser = CompletionParser()
    for _ in range(300_000):
        parser.feed(b"x")
    assert type(parser.feed(b"x" * (1 << 20))) is list
    assert type(parser.failure) is ModelMalformed


def test_progress_is_text_reasoning_or_an_end_but_no_keep_alive() -> None:
    parser = CompletionParser()
    parser.feed(b": ping\n\n" + chunk(role="assistant", content="") + usage(1, 0))
    assert parser.progress == 0
    for line in (chunk(reasoning="hm"), chunk("a"), chunk(tool_calls=[{"index": 0}]), chunk(end="stop")):
        before = parser.progress
        parser.feed(line)
        assert parser.progress > before


def test_why_a_reply_is_empty_is_said() -> None:
    for end, word in (("tool_calls", "tool"), ("content_filter", "filter"), ("length", "max_tokens")):
        _, failure = parse([chunk(end=end) + DONE])
        assert failure is not None
        assert word in str(failure)


@pytest.mark.parametrize("finish_reason", ["stop", "length", "content_filter", "tool_calls", "function_call", "eos", None])
@pytest.mark.parametrize("content", ["Hi", "", " ", None])
@pytest.mark.parametrize("tool_calls", [None, [{"index": 0, "function": {"name": "lookup", "arguments": "{}"}}]])
@pytest.mark.parametrize("n", [1, 3])
def test_every_end_is_a_reply_with_a_known_finish_reason_or_an_empty_one(
    finish_reason: str | None, content: str | None, tool_calls: object, n: int
) -> None:
    message = {"role": "assistant", "content": content, "tool_calls": tool_calls}
    streamed = chunk(content=content, tool_calls=tool_calls) + chunk(end=finish_reason) + DONE
    plain = msgspec.json.encode({"choices": [{"index": 0, "message": message, "finish_reason": finish_reason}]})
    for body in (streamed, plain):
        events, failure = parse([body], n=n)
        if content == "Hi":
            assert failure is None
            assert texts(events) == {0: "Hi"}
            known = {"function_call": "tool_calls", "eos": "stop", None: "stop"}
            assert ends(events) == {0: known.get(finish_reason, finish_reason)}
        else:
            assert type(failure) is (ModelFiltered if finish_reason == "content_filter" else ModelEmpty)
            assert not events


@pytest.mark.slow
@pytest.mark.parametrize("text", ["a", "é", "😀", "\\ud83d\\ude00", "😀\\ud800"])
@pytest.mark.parametrize("is_json", [True, False])
def test_fifty_megabytes_are_never_held(text: str, *, is_json: bool) -> None:
    """Once as one body (a message or a line without an end), once as many chunks: a call takes less than 20 MiB."""
    piece = text.encode() * 4096
    opening = b'{"choices":[{"message":{"content":"' if is_json else b'data: {"choices":[{"delta":{"content":"'
    for start, part in ((opening, piece), (b"", chunk(reasoning=text * 4096)), (b"", chunk(text * 4096))):
        parser = CompletionParser(max_tokens=1_000_000)
        tracemalloc.start()
        parser.feed(start)
        fed = 0
        while fed < 50_000_000 and not parser.is_finished and parser.failure is None:
            parser.feed(part)
            fed += len(part)
        parser.finish()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 20 << 20


@pytest.mark.parametrize("text", ["a", "é", "😀", "😀\\ud800"])
def test_the_longest_body_and_the_longest_line_take_little_to_read(text: str) -> None:
    """Python holds text with one emoji at four bytes a letter, and a repair makes copies of it."""
    message, line = b'{"choices":[{"message":{"content":"%s"}}]}', b'data: {"choices":[{"delta":{"content":"%s"}}]}\n\n' + DONE
    for form, most in ((message, Limits().body_bytes), (line, Limits().line_bytes)):
        content = text.encode() + b"a" * (most - 200)
        body = form % content
        tracemalloc.start()
        events, failure = parse([body], max_tokens=1_000_000)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert failure is None
        assert len(texts(events)[0]) >= len(content) - 10
        assert peak < 20 << 20
