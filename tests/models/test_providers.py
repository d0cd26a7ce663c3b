"""Several endpoints: whose a model is, who is asked when one fails, and when nobody is any more."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from tests.harness import gigachat
from tests.models.misbehaving_endpoint import (
    DONE,
    GOOD,
    OPEN_STREAM,
    Exchange,
    chunk,
    endpoint,
    framed,
    http,
    model_at,
    prompt,
    sse,
    texts,
)
from tests.models.test_openai_model import collect

from gigachat_server.configured import make_endpoints, make_model
from gigachat_server.errors import ModelContextTooLong, ModelError, ModelTimeout, ModelUnreachable, SetupError
from gigachat_server.models.base import CallOptions, LeftOut, ModelAttempt
from gigachat_server.models.embedders.hashing_embedder import HashingEmbedder
from gigachat_server.models.endpoints.chat_completions import OpenAIModel, Timeouts
from gigachat_server.models.endpoints.connection import Access, parse_headers
from gigachat_server.models.endpoints.providers import Providers
from gigachat_server.settings import Settings, load

BUSY = http(b"", status="503 Busy", headers="Retry-After: 60\r\n")
FALLBACKS = {"response": {"fallback_models": ["second/m"]}}


def file_of(folder: Path, text: str) -> str:
    path = folder / "providers.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


async def test_a_models_name_says_whose_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECOND_KEY", "sk-second")
    async with endpoint(GOOD) as first, endpoint(GOOD) as second:
        file = file_of(
            tmp_path,
            f'[second]\nurl = "{second.url}"\nmodels = ["big", "small"]\nkey_env = "SECOND_KEY"\n'
            'headers = { X-Team = "support" }\n',
        )
        settings = Settings(model_url=first.url, model="default", model_key="sk-first", model_providers=file)
        model: Any = make_model(settings, HashingEmbedder())
        for name in (None, "second", "second/small", "meta-llama/llama-3", "second/org/name"):
            await collect(model, msgspec.structs.replace(prompt(), model=name))
        assert [request.body["model"] for request in first.requests] == ["default", "meta-llama/llama-3"]
        assert [request.body["model"] for request in second.requests] == ["big", "small", "org/name"]
        assert "Authorization: Bearer sk-second" in second.requests[0].head and "X-Team: support" in second.requests[0].head
        assert "Authorization: Bearer sk-first" in first.requests[0].head
        await model.aclose()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[x", "cannot be read as TOML"),
        ("", "names no provider"),
        ("[x]\nmodels = []", "url"),
        ('[x]\nurl = "http://h"\nkind = "telepathy"', "kind"),
        ('[x]\nurl = "http://h"\npasword = "p"', "pasword"),
        ('["a/b"]\nurl = "http://h"', "slash"),
    ],
)
def test_a_file_that_says_nothing_clear_is_refused_at_start(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SetupError, match=said):
        make_endpoints(Settings(model_providers=file_of(tmp_path, text)))


def test_a_url_without_a_model_is_refused_at_start() -> None:
    with pytest.raises(SetupError, match="GIGACHAT_MODEL_URL needs GIGACHAT_MODEL"):
        load({}, {"GIGACHAT_MODEL_URL": "http://127.0.0.1:11434/v1"})


async def test_another_model_answers_while_nothing_was_shown(tmp_path: Path) -> None:
    async with endpoint(BUSY) as first, endpoint(GOOD) as second, model_at(first.url) as one, model_at(second.url) as two:
        model: Any = Providers(one, {"second": two})
        async with gigachat(tmp_path, model=model) as api:
            chatbot = await api.chatbot(**FALLBACKS)
            [reply] = await api.say(chatbot, "Hi")
            assert (reply["content"], reply["status"]) == ("Hello", "completed")
            assert reply["metadata"]["attempts"] == [{"model": "default-model", "code": "upstream_failed"}]
            assert len(first.requests) == len(second.requests) == 1


async def test_nobody_else_is_asked_once_something_was_shown(tmp_path: Path) -> None:
    async def text_then_drop(exchange: Exchange) -> None:
        await exchange.send(OPEN_STREAM + framed(chunk("Half")))

    async with (
        endpoint(text_then_drop) as first,
        endpoint(GOOD) as second,
        model_at(first.url) as one,
        model_at(second.url) as two,
    ):
        model: Any = Providers(one, {"second": two})
        async with gigachat(tmp_path, model=model) as api:
            chatbot = await api.chatbot(**FALLBACKS)
            reply = await api.post(f"{chatbot}/conversations", {"conversation_id": "c1", "user_id": "a", "prompt": "Hi"})
            assert reply.code == "upstream_interrupted"
            asked, half = await api.messages(chatbot)
            assert (asked["error"], half["content"], half["status"]) == ("upstream_interrupted", "Half", "incomplete")
            assert not second.requests


async def test_all_down_is_one_failed_prompt(tmp_path: Path) -> None:
    async with endpoint(BUSY) as first, endpoint(BUSY) as second, model_at(first.url) as one, model_at(second.url) as two:
        model: Any = Providers(one, {"second": two})
        async with gigachat(tmp_path, model=model) as api:
            chatbot = await api.chatbot(response={"fallback_models": ["second/m", "second/n"]})
            reply = await api.post(f"{chatbot}/conversations", {"conversation_id": "c1", "user_id": "a", "prompt": "Hi"})
            assert reply.code == "upstream_failed"
            [asked] = await api.messages(chatbot)
            assert (asked["status"], asked["turn"], asked["error"]) == ("failed", "failed", "upstream_failed")
            assert (len(first.requests), len(second.requests)) == (1, 2)


async def test_a_refusal_of_the_prompt_itself_asks_nobody_else() -> None:
    too_long = http(b'{"error":{"code":"context_length_exceeded"}}', status="400 No")
    async with endpoint(GOOD) as first, endpoint(too_long) as second, model_at(first.url) as one, model_at(second.url) as two:
        asked = msgspec.structs.replace(prompt(), model="second/m", options=CallOptions(fallback_models=("default-model",)))
        _, error = await collect(Providers(one, {"second": two}), asked)  # type: ignore[arg-type]
        assert isinstance(error, ModelContextTooLong)
        assert not first.requests


async def test_the_time_is_that_of_the_first_for_all_of_them() -> None:
    async def hang(exchange: Exchange) -> None:
        await exchange.client_gone()

    timeouts = Timeouts(first_token_s=0.1, total_s=0.15)
    async with endpoint(hang) as here, model_at(here.url, timeouts=timeouts) as model:
        loop = asyncio.get_running_loop()
        started = loop.time()
        fallbacks = CallOptions(fallback_models=("b", "c", "d"))
        _, error = await collect(Providers(model), msgspec.structs.replace(prompt(), options=fallbacks))  # type: ignore[arg-type]
        assert isinstance(error, ModelTimeout)
        assert 0.14 <= loop.time() - started < 5
        assert len(here.requests) <= 3


async def test_whoever_fails_time_and_again_is_skipped() -> None:
    async with endpoint(BUSY) as first, endpoint(GOOD) as second, model_at(first.url) as one, model_at(second.url) as two:
        model: Any = Providers(one, {"second": two})
        asked = msgspec.structs.replace(prompt(), options=CallOptions(fallback_models=("second/m",)))
        for _ in range(8):
            events, error = await collect(model, asked)
            assert (texts(events), error) == ({0: "Hello"}, None)
        assert len(first.requests) == 5
        assert [event for event in events if isinstance(event, ModelAttempt | LeftOut)] == []


# Time, as the settings and chatbots have it


async def test_a_chatbots_patience_is_its_own(tmp_path: Path) -> None:
    async def hang(exchange: Exchange) -> None:
        await exchange.client_gone()

    async with endpoint(hang) as here, model_at(here.url) as model, gigachat(tmp_path, model=model) as api:
        chatbot = await api.chatbot(response={"first_token_timeout_s": 0.1})
        reply = await api.post(f"{chatbot}/conversations", {"conversation_id": "c1", "user_id": "a", "prompt": "Hi"})
        assert reply.code == "upstream_timeout"
        shown = (await api.get(chatbot)).body["response"]
        assert (shown["first_token_timeout_s"], shown["idle_timeout_s"], shown["timeout_s"]) == (0.1, None, None)
        refused = await api.post("/chatbots", {"name": "x", "response": {"timeout_s": 100_000}})
        assert refused.fields == {"response.timeout_s"}


def test_the_settings_are_the_endpoints_patience() -> None:
    settings = load({}, {"GIGACHAT_MODEL_URL": "http://h/v1", "GIGACHAT_MODEL": "m", "GIGACHAT_MODEL_IDLE_TIMEOUT_S": "300"})
    model, _ = make_endpoints(settings)
    assert model is not None
    assert (model.timeouts.first_token_s, model.timeouts.idle_s, model.timeouts.total_s) == (120.0, 300.0, 600.0)
    with pytest.raises(SetupError, match="GIGACHAT_MODEL_TIMEOUT_S"):
        load({}, {"GIGACHAT_MODEL_TIMEOUT_S": "100000"})


async def test_parameters_are_omitted_by_setting_and_by_chatbot() -> None:
    async with endpoint(GOOD) as here:
        model = OpenAIModel(here.url, "m", omit=("temperature", "system"))
        await collect(
            model, msgspec.structs.replace(prompt(), options=CallOptions(omit=("stream_options",), reasoning_effort="low"))
        )
        await model.aclose()
        body = here.requests[0].body
        assert not {"temperature", "stream_options"} & body.keys()
        assert (body["reasoning_effort"], [message["role"] for message in body["messages"]]) == ("low", ["user"])


async def test_what_cannot_be_omitted_is_refused_by_setting_and_by_chatbot(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="GIGACHAT_MODEL_OMIT cannot name 'messages'"):
        load({}, {"GIGACHAT_MODEL_OMIT": "temperature, messages"})
    async with endpoint(GOOD) as here, model_at(here.url) as model, gigachat(tmp_path, model=model) as api:
        refused = await api.post("/chatbots", {"name": "x", "response": {"omit": ["messages"]}})
        assert refused.fields == {"response.omit[0]"}
        everything = ["temperature", "top_p", "max_tokens", "n", "presence_penalty", "frequency_penalty", "reasoning_effort"]
        chatbot = await api.chatbot(
            response={"omit": [*everything, "stream", "stream_options", "tools", "system"], "n": 2, "reasoning_effort": "low"},
            interception={"handoff": True},
        )
        await api.say(chatbot, "Hi")
        assert here.requests[0].body.keys() == {"model", "messages"}


# How endpoints are reached


async def test_headers_a_key_of_another_name_and_a_query_are_sent() -> None:
    async with endpoint(GOOD) as here:
        access = Access(key_header="api-key", headers=parse_headers("X-Team: support; X-Trace: a:b"))
        model = OpenAIModel(f"{here.url}/dep?api-version=1", "m", "sk-1", access=access)
        await collect(model, prompt())
        await model.aclose()
        head = here.requests[0].head
        assert head.startswith("POST /v1/dep/chat/completions?api-version=1 ")
        assert "api-key: sk-1\r\n" in head and "X-Team: support\r\n" in head and "X-Trace: a:b\r\n" in head
        assert "uthorization" not in head


@pytest.mark.parametrize("way", ["setting", "environment"])
async def test_a_proxy_is_used_if_the_settings_say_so(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with endpoint(GOOD) as proxy:
        address = proxy.url.removesuffix("/v1")
        monkeypatch.setenv("HTTP_PROXY", address)
        monkeypatch.setenv("http_proxy", address)
        for access, is_used in ((Access(), False), (Access(proxy=address if way == "setting" else "environment"), True)):
            model = OpenAIModel("http://model.invalid/v1", "m", access=access)
            events, error = await collect(model, prompt())
            await model.aclose()
            assert (texts(events) == {0: "Hello"}) is is_used
            assert isinstance(error, ModelUnreachable) is not is_used
        assert proxy.requests[0].head.startswith("POST http://model.invalid/v1/chat/completions HTTP/1.1")


async def test_certificates_of_a_file_are_believed(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    await asyncio.to_thread(
        subprocess.run, [*command.split(), "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=b'{"choices":[{"message":{"content":"Hello"},"finish_reason":"stop"}]}')

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    url = f"https://localhost:{runner.addresses[0][1]}/v1"
    for access, is_believed in ((Access(), False), (Access(ca_file=str(certificate)), True)):
        model = OpenAIModel(url, "m", access=access)
        events, _ = await collect(model, prompt())
        await model.aclose()
        assert (texts(events) == {0: "Hello"}) is is_believed
    await runner.cleanup()


@pytest.mark.parametrize(
    "access",
    [
        {"proxy": "proxy:3128"},
        {"proxy": "socks5://h:1"},
        {"ca_file": "/nowhere.pem"},
        {"headers": {"X": "a\nb"}},
        {"key_header": "a\r\nb"},
    ],
)
def test_what_cannot_be_used_is_refused_at_start(access: dict[str, Any]) -> None:
    with pytest.raises(SetupError):
        OpenAIModel("http://h/v1", "m", access=Access(**access))


@pytest.mark.parametrize("text", ["X", "X Y: z", ": z", "X: y; Z"])
def test_headers_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(SetupError):
        parse_headers(text)


async def test_keep_alives_are_life_and_the_caller_is_pinged(tmp_path: Path) -> None:
    """A model that is loaded first: nothing but comments for longer than its first token may take."""

    async def cold(exchange: Exchange) -> None:
        await exchange.send(OPEN_STREAM)
        loop = asyncio.get_running_loop()
        until = loop.time() + 1.2
        while loop.time() < until:
            await exchange.send(framed(b": loading\n\n"))
            await asyncio.sleep(0.01)  # the pace of the endpoint, nothing waits for it
        await exchange.send(framed(chunk("Hello") + chunk(end="stop") + DONE) + b"0\r\n\r\n")

    timeouts = Timeouts(first_token_s=0.4, idle_s=0.4)  # a busy machine may hold up the endpoint for a moment
    async with endpoint(cold) as here, model_at(here.url, timeouts=timeouts) as model:
        events, error = await collect(model, prompt())
        assert (texts(events), error) == ({0: "Hello"}, None)


async def test_a_refusal_by_the_filter_is_not_asked_twice() -> None:
    async with endpoint(sse(chunk(end="content_filter"), DONE)) as here, model_at(here.url) as model:
        _, error = await collect(model, prompt())
        assert isinstance(error, ModelError) and error.code == "upstream_filtered"
        assert len(here.requests) == 1
