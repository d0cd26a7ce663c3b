"""The Python client, both halves: what it sends, when it sends it again, and what it makes of answers."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

import gigachat_client
import write_client_types
from gigachat_client import AsyncGigachat, Event, Gigachat, GigachatError, NoAnswer, StreamDelta, errors, requests, types
from gigachat_client.sse import EventParser, ServerEvent
from gigachat_server.api.problem_schemas import error_classes
from gigachat_server.api.routes import ROUTES
from gigachat_server.errors import GigachatError as ServerError
from gigachat_server.errors import ModelInterrupted
from gigachat_server.models.base import TextDelta
from gigachat_server.models.fake import Pause, ScriptedModel
from tests.harness import gigachat

PACKAGE = Path(gigachat_client.__file__).parent
MADE = ("types.py", "errors.py", "calls.py")
PROBLEM = b'{"type": "", "title": "T", "status": %d, "detail": "D", "instance": "", "code": "%s", "request_id": "r"}'
HALVES = pytest.mark.parametrize("half", ["async", "sync"])


class Script:
    """A server that plays answers, and what it was asked. An exception is a fault of the connection."""

    def __init__(self, *answers: Answer | Exception) -> None:
        self.requests: list[httpx2.Request] = []
        self.waits: list[float] = []
        self._answers = iter(answers)

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        request.read()
        self.requests.append(request)
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return httpx2.Response(answer.status, content=answer.content, headers=answer.headers)

    def header(self, name: str) -> list[str | None]:
        return [request.headers.get(name) for request in self.requests]

    async def run(self, half: str, call: Callable[[Any], Any], token: str | Sequence[str] = "gca_key") -> Any:
        """What a call of the client brings; of a list or a stream all that comes. Of several tokens a function gives one each."""
        tokens = None if isinstance(token, str) else iter(token)
        return await self._run_async(call, token, tokens) if half == "async" else self._run_sync(call, token, tokens)

    async def _run_async(self, call: Callable[[Any], Any], token: Any, tokens: Iterator[str] | None) -> Any:
        async def give() -> str:
            assert tokens is not None
            return next(tokens)

        async def pause(seconds: float) -> None:
            self.waits.append(seconds)

        http = httpx2.AsyncClient(transport=httpx2.MockTransport(self))
        async with AsyncGigachat("http://test/base", give if tokens else token, http=http, pause=pause) as client:
            found = call(client)
            return await found if isinstance(found, Awaitable) else [each async for each in found]

    def _run_sync(self, call: Callable[[Any], Any], token: Any, tokens: Iterator[str] | None) -> Any:
        source = (lambda: next(tokens)) if tokens else token
        http = httpx2.Client(transport=httpx2.MockTransport(self))
        with Gigachat("http://test/base", source, http=http, pause=self.waits.append) as client:
            found = call(client)
            return list(found) if hasattr(found, "__iter__") else found


class Answer(msgspec.Struct, frozen=True):
    status: int
    content: bytes
    headers: dict[str, str]


def problem(code: str, status: int, **headers: str) -> Answer:
    return Answer(status, PROBLEM % (status, code.encode()), {name.replace("_", "-"): value for name, value in headers.items()})


def ok(body: Any = None, status: int = 200, **headers: str) -> Answer:
    return Answer(status, json.dumps([] if body is None else body).encode(), headers)


def stream(content: str) -> Answer:
    return Answer(200, content.encode(), {"Content-Type": "text/event-stream"})


def delete_conversation(conversation: str, client: Any) -> Any:
    return client.conversations.delete("b", conversation)


def say(client: Any) -> Any:
    return client.say("b", "Hi", conversation_id="c", user_id="ann")


# --- sending again ---


@HALVES
@pytest.mark.parametrize(
    "passing",
    [
        problem("request_timeout", 408),
        problem("upstream_rate_limited", 429),
        problem("upstream_failed", 502),
        problem("storage_unavailable", 503),
        problem("upstream_timeout", 504),
        problem("idempotency_in_progress", 409),
        problem("of_a_later_version", 503),
        Answer(502, b"<h1>Bad gateway</h1>", {}),
        httpx2.ConnectError("refused"),
        httpx2.ReadError("cut"),
        httpx2.ReadTimeout("silence"),
        httpx2.RemoteProtocolError("half an answer"),
    ],
    ids=lambda answer: str(answer)[:12],
)
async def test_a_prompt_is_sent_again_with_its_key(half: str, passing: Any) -> None:
    script = Script(passing, passing, ok(status=201))
    assert await script.run(half, say) == []
    (key,) = set(script.header("Idempotency-Key"))
    assert key is not None and len(key) == 36
    assert len({request.content for request in script.requests}) == 1
    assert len(script.waits) == 2 and 0 <= script.waits[0] <= 0.5 and 0 <= script.waits[1] <= 1
    script = Script(passing, passing, passing)
    with pytest.raises(GigachatError):
        await script.run(half, say)
    assert len(script.requests) == 3


@HALVES
@pytest.mark.parametrize(
    ("code", "status"), [("conversation_busy", 409), ("invalid_request", 422), ("not_found", 404), ("internal_error", 500)]
)
async def test_what_will_not_pass_is_not_sent_again(half: str, code: str, status: int) -> None:
    script = Script(problem(code, status))
    with pytest.raises(errors.BY_CODE[code]) as caught:
        await script.run(half, say)
    assert (caught.value.code, caught.value.status, caught.value.request_id) == (code, status, "r")
    assert len(script.requests) == 1


@HALVES
async def test_retry_after_is_kept_up_to_a_minute(half: str) -> None:
    script = Script(problem("shutting_down", 503, retry_after="5"), ok())
    await script.run(half, say)
    assert script.waits == [5.0]
    script = Script(problem("upstream_rate_limited", 429, retry_after="61"))
    with pytest.raises(errors.ModelRateLimited):
        await script.run(half, say)
    assert script.waits == []


@HALVES
async def test_a_call_that_a_key_does_not_protect_is_sent_again_only_if_it_was_never_sent(half: str) -> None:
    def create(client: Any) -> Any:
        return client.keys.create(name="ci")

    script = Script(httpx2.ReadError("cut"))
    with pytest.raises(NoAnswer) as caught:
        await script.run(half, create)
    assert caught.value.was_sent
    script = Script(*[httpx2.ConnectError("refused")] * 3)
    with pytest.raises(NoAnswer) as caught:
        await script.run(half, create)
    assert not caught.value.was_sent and len(script.requests) == 3


@HALVES
async def test_what_an_unheard_try_deleted_is_deleted(half: str) -> None:
    def delete(client: Any) -> Any:
        return client.chatbots.delete("b")

    assert await Script(httpx2.ReadError("cut"), problem("not_found", 404)).run(half, delete) is None
    with pytest.raises(errors.NotFound):
        await Script(problem("not_found", 404)).run(half, delete)


# --- streams that break off ---

TIMES = '"created_at": "", "updated_at": ""'
RESTS = (
    '"chatbot_id": "b", "conversation_id": "c", "user_id": "ann", "name": "", "metadata": {}, "embedding": null, "sources": [], '
    f'"citations": [], "alternative": 0, "replaced_by": null, "turn": null, "error": null, "feedback": null, "seq": 1, {TIMES}'
)


PROMPT = '"p"'  # what the reply is to


def message(identity: str, role: str, content: str, in_reply_to: str = "null") -> str:
    told = f'"id": "{identity}", "role": "{role}", "content": "{content}", "in_reply_to": {in_reply_to}, "status": "completed"'
    return f"{{{told}, {RESTS}}}"


def start(reply: str) -> str:
    return f'id: 1\nevent: start\ndata: {{"prompt": {message("p", "user", "Hi")}, "message_ids": ["{reply}"]}}\n\n'


def delta(reply: str, offset: int, text: str) -> str:
    place = f"id: 1.{offset + len(text)}\n"
    return f'{place}event: delta\ndata: {{"message_id": "{reply}", "offset": {offset}, "text": "{text}"}}\n\n'


def end(reply: str, content: str) -> str:
    done = 'event: done\ndata: {"conversation_id": "c", "seq": 2}\n\n'
    return f"event: message\ndata: {message(reply, 'assistant', content, PROMPT)}\n\n{done}"


class Heard(msgspec.Struct):
    pieces: list[str]
    so_far: str
    replies: list[str]


def hear(client: Any) -> Any:
    """Both halves in one: what is told of a stream, to its end."""
    turn = client.say_stream("b", "Hi", conversation_id="c", user_id="ann")

    async def listen() -> Heard:
        async with turn:
            pieces = [text async for text in turn.text]
        return Heard(pieces, turn.so_far, [each.content for each in turn.messages])

    if isinstance(client, AsyncGigachat):
        return listen()
    with turn:
        pieces = list(turn.text)
    return Heard(pieces, turn.so_far, [each.content for each in turn.messages])


@HALVES
@pytest.mark.parametrize(
    "later",
    [delta("r", 3, "lo"), delta("r", 0, "Hello"), delta("r", 0, "H") + delta("r", 1, "ello"), ""],
    ids=["behind it", "from the beginning", "in other pieces", "stored meanwhile"],
)
async def test_a_stream_goes_on_with_each_word_once(half: str, later: str) -> None:
    script = Script(
        stream(start("r") + delta("r", 0, "Hel")),
        stream(start("r")),
        httpx2.ReadError("cut"),
        stream(start("r") + later + end("r", "Hello")),
    )
    heard = await script.run(half, hear)
    assert "".join(heard.pieces) == heard.so_far == "Hello" and heard.replies == ["Hello"]
    assert script.header("Last-Event-ID") == [None, "1.3", "1.3", "1.3"]
    assert len(set(script.header("Idempotency-Key"))) == 1


@HALVES
async def test_a_reply_made_again_begins_anew(half: str) -> None:
    first = start("r") + delta("r", 0, "Hel") + "event: error\ndata: " + problem("reply_cut_off", 503).content.decode() + "\n\n"
    script = Script(stream(first), stream(start("s") + delta("s", 0, "Good ") + delta("s", 5, "day") + end("s", "Good day")))
    assert await script.run(half, hear) == Heard(["Hel", "Good ", "day"], "Good day", ["Good day"])


@HALVES
async def test_a_stream_without_news_is_given_up_after_a_minute(half: str) -> None:
    script = Script(stream(start("r") + delta("r", 0, "Hel")), *[stream(start("r"))] * 200)
    with pytest.raises(NoAnswer):
        await script.run(half, hear)
    assert 50 < sum(script.waits) <= 60
    refused = Script(*[httpx2.ConnectError("refused")] * 3)
    with pytest.raises(NoAnswer):
        await refused.run(half, hear)
    assert len(refused.requests) == 3


@HALVES
async def test_an_error_in_a_stream_that_passes_is_tried_three_times_in_all(half: str) -> None:
    def ending(code: str, status: int) -> Answer:
        return stream(start("r") + f"event: error\ndata: {problem(code, status).content.decode()}\n\n")

    script = Script(*[ending("upstream_failed", 502)] * 3)
    with pytest.raises(errors.ModelError):
        await script.run(half, hear)
    assert len(script.requests) == 3
    script = Script(ending("upstream_filtered", 422))
    with pytest.raises(errors.ModelFiltered):
        await script.run(half, hear)


# --- tokens ---


@HALVES
async def test_a_function_is_asked_for_a_token_once_and_once_more_when_that_has_expired(half: str) -> None:
    expired = problem("token_expired", 401)
    script = Script(expired, ok())
    await script.run(half, say, ["one", "two"])
    assert script.header("Authorization") == ["Bearer one", "Bearer two"]
    assert len(set(script.header("Idempotency-Key"))) == 1
    script = Script(expired, expired)
    with pytest.raises(GigachatError, match="token_expired"):
        await script.run(half, say, ["one", "two", "three"])
    for code, token in (("unauthenticated", "gca_key"), ("unauthenticated", ["one", "two"]), ("token_expired", "one")):
        script = Script(problem(code, 401))
        with pytest.raises(GigachatError, match=code):
            await script.run(half, say, token)
        assert len(script.requests) == 1


@HALVES
async def test_a_stream_asks_for_another_token_when_its_own_expires(half: str) -> None:
    ends = [("token_expired", 401), ("not_found", 404)]
    script = Script(*(stream(f"event: error\ndata: {problem(*each).content.decode()}\n\n") for each in ends))
    with pytest.raises(errors.NotFound):
        await script.run(half, lambda client: client.follow("b", "c"), ["one", "two"])
    assert script.header("Authorization") == ["Bearer one", "Bearer two"]


# --- answers ---


@HALVES
async def test_a_list_is_followed_page_by_page_and_nowhere_else(half: str) -> None:
    def key(number: int) -> dict[str, Any]:
        times = {"created_at": "", "expires_at": None, "revoked_at": None}
        return {"id": str(number), "name": "n", "last4": "", "scopes": [], "more": 1, **times}

    script = Script(
        ok([key(1), key(2)], Link='<http://elsewhere/steal?limit=2&after=a%2Fb%20c>; rel="next"'),
        ok([key(3)]),
    )
    found = await script.run(half, lambda client: client.keys.list_all(limit=2))
    assert [each.id for each in found] == ["1", "2", "3"]
    assert [str(request.url) for request in script.requests] == [
        "http://test/base/api-keys?limit=2",
        "http://test/base/api-keys?limit=2&after=a%2Fb+c",
    ]


@HALVES
async def test_ids_are_one_segment_whatever_they_hold(half: str) -> None:
    script = Script(*[ok(status=204)] * 4)
    for strange in ("a/b", "ü?#", "a b%2F", "{0}"):
        await script.run(half, functools.partial(delete_conversation, strange))
    segments = [request.url.raw_path.decode().rpartition("/")[2] for request in script.requests]
    assert segments == ["a%2Fb", "%C3%BC%3F%23", "a%20b%252F", "%7B0%7D"]


@HALVES
async def test_what_is_no_answer_of_this_api_is_said_to_be_none(half: str) -> None:
    for answer in (Answer(200, b"<h1>Log in</h1>", {}), Answer(404, b"nginx", {})):
        with pytest.raises(gigachat_client.UnexpectedAnswer):
            await Script(answer).run(half, lambda client: client.chatbots.get("b"))
    for answer in (Answer(200, b"<h1>Log in</h1>", {}), stream("event: start\ndata: {}\n\n")):
        with pytest.raises(gigachat_client.UnexpectedAnswer):
            await Script(answer).run(half, hear)


def test_choices_of_a_later_version_are_read() -> None:
    feedback = msgspec.json.decode(b'{"rating": "sideways", "text": "t", "more": 1}', type=types.Feedback)
    assert str(feedback.rating) == "sideways"


# --- events ---


def events_of(*pieces: bytes) -> list[ServerEvent]:
    parser = EventParser()
    return [event for piece in pieces for event in parser.feed(piece)]


def test_events_are_read_however_they_are_cut() -> None:
    text = json.dumps("ü\u2028\x85\x0b ", ensure_ascii=False)
    ending = "id: 4.5\r\nevent: done\r\ndata: {}\r\nnew: 1\r\n\r\nevent: half"
    stream = f": ping\n\nid: 3\nevent: delta\ndata: {text}\n\n{ending}".encode()
    expected = [ServerEvent("delta", text.encode(), "3"), ServerEvent("done", b"{}", "4.5")]
    assert events_of(stream) == expected
    assert events_of(*(bytes([byte]) for byte in stream)) == expected
    for place in range(len(stream)):
        assert events_of(stream[:place], stream[place:]) == expected


# --- against a server ---


async def test_a_conversation_of_both_halves(tmp_path: Path) -> None:
    async with gigachat(tmp_path, model=ScriptedModel(["Hel\u2028", "lo 🙂 wor", "ld"])) as api:
        async with AsyncGigachat(api.url, api.key) as client:
            chatbot = (await client.chatbots.create(name="Superbot", response=types.ResponseConfigInput(temperature=0))).id
            (reply,) = await client.say(chatbot, "Hi", conversation_id="a/b ü", user_id="ann", metadata={"page": "/help"})
            async with client.say_stream(chatbot, "Again", conversation_id="a/b ü", user_id="ann") as turn:
                assert turn.prompt is not None and turn.prompt.content == "Again"
                told = "".join([text async for text in turn.text])
            assert turn.reply is not None and told == turn.so_far == turn.reply.content == reply.content
            stored = [message async for message in client.conversations.list_messages(chatbot, "a/b ü", limit=1)]
            assert [message.seq for message in stored] == [1, 2, 3, 4]
            assert (stored[0].metadata, stored[3]) == ({"page": "/help"}, turn.reply)

        def speak() -> list[Event | StreamDelta]:
            with Gigachat(api.url, api.key) as client:
                with client.say_stream(chatbot, "Hi", conversation_id="sync", user_id="ann") as turn:
                    assert list(turn.text) and turn.reply
                with client.retry_stream(chatbot, "sync", turn.reply.id) as turn:
                    assert turn.finish() == turn.messages
                assert [each.name for each in client.chatbots.list_all()] == ["Superbot"]
                seen = []
                for happened in client.follow(chatbot, "sync"):
                    seen.append(happened)
                    if isinstance(happened, Event) and happened.type == "message.replaced":
                        return seen
            return []

        assert [each.type for each in await asyncio.to_thread(speak) if isinstance(each, Event)][:2] == ["message.created"] * 2


async def test_the_words_of_the_first_alternative_are_shown(tmp_path: Path) -> None:
    script = [TextDelta(0, "one "), TextDelta(1, "two "), TextDelta(0, "1"), TextDelta(1, "2")]
    async with gigachat(tmp_path, model=ScriptedModel(script)) as api, AsyncGigachat(api.url, api.key) as client:
        chatbot = (await client.chatbots.create(name="S", response=types.ResponseConfigInput(n=2))).id
        async with client.say_stream(chatbot, "Hi", conversation_id="c", user_id="ann") as turn:
            assert "".join([text async for text in turn.text]) == "one 1"
        assert [message.content for message in turn.messages] == ["one 1", "two 2"]


async def test_a_chatbot_that_does_not_stream_and_an_operator_who_is_not_answered(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api, AsyncGigachat(api.url, api.key) as client:
        chatbot = (await client.chatbots.create(name="S", response=types.ResponseConfigInput(stream=False))).id
        async with client.say_stream(chatbot, "Hi", conversation_id="c", user_id="ann") as turn:
            assert [text async for text in turn.text] == ["Hi."]
        assert turn.reply is not None and turn.reply.content == "Hi."
        async with client.say_stream(chatbot, "I am here.", conversation_id="c", user_id="client:bob") as turn:
            assert [text async for text in turn.text] == []
        assert turn.reply is None and [message.role for message in turn.messages] == ["operator"]


async def test_a_reply_that_the_model_broke_off_is_made_again(tmp_path: Path) -> None:
    """What was shown of it is void: `so_far` begins anew. The third failure is the caller's."""
    broken: Sequence[Any] = ["first ", ModelInterrupted()]
    model = ScriptedModel(broken, ["second"], broken)
    async with gigachat(tmp_path, model=model) as api, AsyncGigachat(api.url, api.key, pause=no_pause) as client:
        chatbot = (await client.chatbots.create(name="S")).id
        async with client.say_stream(chatbot, "Hi", conversation_id="c", user_id="ann") as turn:
            assert [text async for text in turn.text] == ["first ", "second"]
        assert turn.so_far == "second" and turn.reply is not None
        stored = [message.content async for message in client.conversations.list_messages(chatbot, "c")]
        assert stored == ["Hi", "first ", "second"]
        async with client.say_stream(chatbot, "Hi", conversation_id="d", user_id="ann") as turn:
            with pytest.raises(errors.ModelInterrupted):
                await turn.finish()
        prompts = [each async for each in client.conversations.list_messages(chatbot, "d") if each.role == "user"]
        assert len(prompts) == 1 and len(model.calls) == 5


async def test_leaving_a_stream_stops_nothing(tmp_path: Path) -> None:
    pause = Pause()
    async with gigachat(tmp_path, model=ScriptedModel(["Hel", pause, "lo"])) as api, AsyncGigachat(api.url, api.key) as client:
        chatbot = (await client.chatbots.create(name="S")).id
        async with client.say_stream(chatbot, "Hi", conversation_id="c", user_id="ann", idempotency_key="k") as turn:
            async for text in turn.text:
                assert text == "Hel"
                break
        pause.resume()
        (reply,) = await client.say(chatbot, "Hi", conversation_id="c", user_id="ann", idempotency_key="k")
        assert reply.content == "Hello"


async def test_all_conversations_of_a_chatbot_and_the_ends_of_a_stream(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api, AsyncGigachat(api.url, api.key) as client:
        chatbot = (await client.chatbots.create(name="S")).id
        await client.say(chatbot, "Hi", conversation_id="c", user_id="ann")
        followed = client.follow(chatbot)
        first = asyncio.ensure_future(anext(followed))
        while not first.done():
            await client.say(chatbot, "Hi", conversation_id="d", user_id="ann")
            await asyncio.wait([first], timeout=0.2)
        happened = first.result()
        assert isinstance(happened, Event) and happened.conversation_id == "d"
        seen = client.follow(chatbot, "c")
        assert [each.type async for each in take(seen, 2) if isinstance(each, Event)] == ["message.created"] * 2
        await client.conversations.delete(chatbot, "c")
        with pytest.raises(errors.NotFound):
            await anext(seen)


async def test_a_file_is_pushed_and_followed_until_it_can_be_found(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api, AsyncGigachat(api.url, api.key) as client:
        chatbot = (await client.chatbots.create(name="S")).id
        pushed = await client.push_file(chatbot, "times.txt", b"Parcels are sent on Mondays.")
        states = [document.state async for document in client.follow_document(chatbot, pushed.id)]
        assert states[-1] == "ready"
        (passage,) = (await client.retrieval.retrieve(chatbot, query="When are parcels sent?")).passages
        assert passage.content.endswith("Parcels are sent on Mondays.") and passage.embedding is None


async def take(happened: AsyncIterator[Any], number: int) -> AsyncIterator[Any]:
    for _ in range(number):
        yield await anext(happened)


async def no_pause(seconds: float) -> None:
    pass


# --- what is made ---


def test_nothing_has_drifted_from_the_server() -> None:
    command = [sys.executable, write_client_types.__file__, "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_error_has_a_class_of_its_own() -> None:
    assert set(errors.BY_CODE) == {kind.code for kind in error_classes()}
    assert all(kind.code == code for code, kind in errors.BY_CODE.items())
    assert errors.BY_CODE[ServerError.code] is errors.InternalError
    assert issubclass(errors.ConversationBusy, errors.Conflict)


def test_every_route_can_be_called() -> None:
    text = (PACKAGE / "_async/calls.py").read_text() + (PACKAGE / "_async/client.py").read_text()
    calls = {
        f"def {route.handler.__name__}("
        for route in ROUTES
        if not route.is_openai and (route.response is not None or not route.is_streamed)
    }
    assert {call for call in calls if call not in text} == set()
    assert [name for name in ("follow(", "follow_document(", "follow_site(") if f"async def {name}" not in text] == []


def test_it_is_small() -> None:
    written = [path for path in PACKAGE.rglob("*.py") if path.name not in MADE and path.parent.name != "_sync"]
    lines = {path.name: len(path.read_text().splitlines()) for path in written}
    adapters = {name: lines.pop(name) for name in ("haystack.py", "langchain.py", "llama_index.py", "passages.py")}
    assert sum(lines.values()) <= 900, lines
    assert max(adapters.values()) <= 80, adapters


def test_adapters_load_what_they_adapt_to_alone() -> None:
    told = subprocess.run(
        [sys.executable, "-c", "import sys, gigachat_client; print(*sys.modules)"],
        env={**os.environ, "PYTHONPATH": str(Path(gigachat_client.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {name.partition(".")[0] for name in told.stdout.split()}
    assert loaded.isdisjoint({"asyncio", "haystack", "langchain_core", "llama_index", "pydantic", "gigachat_server"})


def test_a_wait_is_spread_and_bounded() -> None:
    assert [requests.wait_s(number, 1.0) for number in (0, 1, 2, 9, 5000)] == [0.5, 1.0, 2.0, 8.0, 8.0]
    assert requests.wait_s(3, 0.0) == 0.0
    assert requests.wait_s(0, 1.0, "60") == 60.0
    assert requests.wait_s(0, 1.0, "9" * 400) is None
    assert requests.wait_s(0, 1.0, "Wed, 21 Oct 2026 07:28:00 GMT") == 0.5
