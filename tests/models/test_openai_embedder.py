from __future__ import annotations

import asyncio
import base64
import gzip
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from aiohttp import web
from tests.harness import gigachat, until

from gigachat_server.errors import EmbedderRejected, EmbedderUnavailable, SetupError
from gigachat_server.models.endpoints.connection import Access
from gigachat_server.models.endpoints.openai_embedder import OpenAIEmbedder, Timeouts, embeddings_url

KEY = "sk-secret-0123456789"
SHORT = Timeouts(connect_s=10.0, total_s=20.0, retry_pause_s=0.001)
Answer = Callable[[dict[str, Any]], Awaitable[web.StreamResponse]]


def vector_of(text: str) -> list[float]:
    return [float(len(text)) + 1, 2.0, -1.0]


def unit(text: str) -> npt.NDArray[Any]:
    vector: npt.NDArray[Any] = np.array(vector_of(text))
    return vector / float(np.linalg.norm(vector))


def send(content: bytes | str, *, status: int = 200, **headers: str) -> Answer:
    async def answer(_: dict[str, Any]) -> web.StreamResponse:
        body = content.encode() if isinstance(content, str) else content
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(body=body, status=status, headers=names)

    return answer


def vectors(*rows: str) -> Answer:
    """The answer with these embeddings, each given as JSON."""
    items = ",".join(f'{{"index": {index}, "embedding": {row}}}' for index, row in enumerate(rows))
    return send(f'{{"data": [{items}]}}')


async def well_behaved(body: dict[str, Any]) -> web.StreamResponse:
    items: list[dict[str, Any]] = []
    for index, text in enumerate(body["input"]):
        vector: Any = vector_of(text)
        if body.get("encoding_format") == "base64":
            vector = base64.b64encode(np.array(vector, "<f4").tobytes()).decode()
        items.append({"object": "embedding", "index": index, "embedding": vector})
    return web.Response(body=msgspec.json.encode({"data": items[::-1], "model": body["model"]}))


async def never(_: dict[str, Any]) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def hang_up(_: dict[str, Any]) -> web.StreamResponse:
    raise HangUp


class HangUp(Exception):
    pass


class Endpoint:
    def __init__(self, answers: tuple[Answer, ...]) -> None:
        self._answers = answers
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.heads: list[Any] = []
        self.queries: list[str] = []
        self.at_once = 0
        self.most_at_once = 0
        self.url = ""

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.keys.append(request.headers.get("Authorization"))
        self.heads.append(request.headers.copy())
        self.queries.append(request.query_string)
        self.bodies.append(msgspec.json.decode(await request.read()))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return await self._answers[min(len(self.bodies), len(self._answers)) - 1](self.bodies[-1])
        except HangUp:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        finally:
            self.at_once -= 1


@asynccontextmanager
async def endpoint(*answers: Answer) -> AsyncIterator[tuple[Endpoint, OpenAIEmbedder]]:
    here = Endpoint(answers)
    app = web.Application(client_max_size=1 << 26)
    app.router.add_post("/v1/embeddings", here.serve)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    here.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    embedder = OpenAIEmbedder(here.url, "embed-1", KEY, timeouts=SHORT)
    try:
        yield here, embedder
    finally:
        await embedder.aclose()
        await runner.cleanup()


async def test_vectors_come_in_the_order_of_the_texts() -> None:
    async with endpoint(well_behaved) as (here, embedder):
        with pytest.raises(EmbedderUnavailable):
            _ = embedder.dimension
        await embedder.probe()
        assert embedder.dimension == 3 and embedder.name == "embed-1"
        texts = ["x" * (number * 7 % 301) + "." for number in range(500)]
        matrix = await embedder.embed_passages(texts)
        assert matrix.dtype == np.float32 and matrix.shape == (500, 3)
        np.testing.assert_allclose(matrix, np.stack([unit(text) for text in texts]), atol=1e-6)
        assert max(len(body["input"]) for body in here.bodies) == 64 and len(here.bodies) == 9
        assert here.most_at_once <= 4
        assert set(here.keys) == {f"Bearer {KEY}"} and here.bodies[0]["model"] == "embed-1"
        assert (await embedder.embed_passages([])).shape == (0, 3)


async def test_blank_and_huge_texts_are_made_acceptable() -> None:
    async with endpoint(well_behaved) as (here, embedder):
        await embedder.embed_passages(["", " \n", "x" * 100_000, "\ud800 lone"])
        blank, space, huge, lone = here.bodies[0]["input"]
        assert blank == space == "-" and len(huge) == 6000 and lone == "? lone"


async def test_an_endpoint_that_knows_no_base64_is_asked_for_numbers_from_then_on() -> None:
    async def refuses_base64(body: dict[str, Any]) -> web.StreamResponse:
        return await (send("no", status=400) if "encoding_format" in body else well_behaved)(body)

    async with endpoint(refuses_base64) as (here, embedder):
        np.testing.assert_allclose(await embedder.embed_prompt("abc"), unit("abc"), atol=1e-6)
        await embedder.embed_prompt("abc")
        assert ["encoding_format" in body for body in here.bodies] == [True, False, False]


async def test_numbers_without_an_index_are_taken_in_order() -> None:
    async with endpoint(send('{"data": [{"embedding": [1, 0]}, {"embedding": [0, 2.5]}]}')) as (_, embedder):
        assert (await embedder.embed_passages(["a", "b"])).tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize(
    "answer",
    [
        '{"data": [{"index": 0, "embedding": [1, 0]}, {"index": 0, "embedding": [0, 2.5]}]}',
        '{"data": [{"index": "1", "embedding": [0, 2.5]}, {"index": "0", "embedding": [1, 0]}]}',
        '{"data": [{"index": 1.0, "embedding": [0, 2.5]}, {"index": 0.0, "embedding": [1, 0]}]}',
        '{"data": [{"index": 0, "embedding": [[1, 0]]}, {"index": 1, "embedding": [[0, 2.5]]}]}',
        '[{"index": 0, "embedding": [1, 0]}, {"index": 1, "embedding": [0, 2.5]}]',
    ],
)
async def test_odd_answers_that_are_clear_are_taken(answer: str) -> None:
    compressed = send(gzip.compress(answer.encode()), Content_Encoding="gzip")
    async with endpoint(send(answer), compressed) as (_, embedder):
        for _ in range(2):
            assert (await embedder.embed_passages(["a", "b"])).tolist() == [[1, 0], [0, 1]]


def limited(*, texts: int = 1000, characters: int = 10_000, body: str = "{}", status: int = 400) -> Answer:
    """Takes so many texts, of so many characters."""

    async def answer(asked: dict[str, Any]) -> web.StreamResponse:
        if len(asked["input"]) > texts or any(len(text) > characters for text in asked["input"]):
            return await send(body, status=status)(asked)
        return await well_behaved(asked)

    return answer


BATCH_LIMITS = [
    (10, 400, '{"error":{"message":"batch size is invalid, it should not be larger than 10.: input.contents"}}'),
    (25, 400, '{"error":{"message":"Value error, batch size is invalid, it should not be larger than 25"}}'),
    (32, 413, '{"error":"batch size 64 > maximum allowed batch size 32","error_type":"Validation"}'),
    (32, 422, '{"error":{"message":"input batch size 64 is too large: the limit is 32"}}'),
    (16, 400, '{"error":{"message":"Too many inputs. The max number of inputs is 16."}}'),
    (7, 400, "no"),
    (1, 422, '{"detail":[{"loc":["body","input"],"msg":"value is not a valid string"}]}'),
    (20, 500, '{"error":"input is too large to process. increase the physical batch size"}'),
]


@pytest.mark.parametrize(("most", "status", "body"), BATCH_LIMITS)
async def test_how_many_texts_are_taken_at_once_is_learnt(most: int, status: int, body: str) -> None:
    texts = ["x" * (number * 7 % 31) + "." for number in range(150)]
    async with endpoint(limited(texts=most, status=status, body=body)) as (here, embedder):
        np.testing.assert_allclose(await embedder.embed_passages(texts), np.stack([unit(text) for text in texts]), atol=1e-6)
        here.bodies.clear()
        await embedder.embed_passages(texts)
        assert max(len(body["input"]) for body in here.bodies) <= most
        assert len(here.bodies) <= -(-150 // most) * 2, "and it is not much less"


@pytest.mark.parametrize(
    ("status", "body"), [(413, ""), (422, '{"detail":"too long"}'), (400, '{"error":"maximum context length is 512"}')]
)
async def test_how_long_a_text_may_be_is_learnt(status: int, body: str) -> None:
    async with endpoint(limited(characters=1_000, status=status, body=body)) as (here, embedder):
        matrix = await embedder.embed_passages(["x" * 5_000])
        np.testing.assert_allclose(matrix[0], unit("x" * 625), atol=1e-6)
        here.bodies.clear()
        await embedder.embed_passages(["y" * 5_000])
        assert [len(body["input"][0]) for body in here.bodies] == [625]


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (401, "", "it refuses the key"),
        (403, "", "it refuses the key"),
        (400, '{"error":{"message":"Invalid API key"}}', "it refuses the key"),
        (402, "", "no credit left"),
        (404, '{"error":{"message":"model \\"x\\" not found, try pulling it first"}}', "no such model"),
        (400, '{"error":{"message":"This is not liked"}}', "status 400"),
    ],
)
async def test_what_is_refused_for_good_is_told_apart_with_its_reason(status: int, body: str, reason: str) -> None:
    async with endpoint(send(body, status=status)) as (here, embedder):
        with pytest.raises(EmbedderRejected, match=reason):
            await embedder.embed_passages(["a", "b"])
        assert len(here.bodies) <= 6


async def test_documents_fail_with_a_reason_and_are_tried_again_at_the_next_start(tmp_path: Path) -> None:
    refused = True

    async def with_a_key(body: dict[str, Any]) -> web.StreamResponse:
        return await (send("", status=401) if refused and body["input"] != ["hello"] else well_behaved)(body)

    async with endpoint(with_a_key) as (_, embedder):
        await embedder.probe()
        async with gigachat(tmp_path, embedder=embedder) as api:
            chatbot = await api.chatbot()

            async def failed() -> bool:
                [document] = (await api.get(f"{chatbot}/documents")).body
                return bool(document["state"] == "failed")

            pushed = await api.post(f"{chatbot}/documents", {"name": "prices", "content": "Parcels are nine euros."})
            assert pushed.status == 202
            api.services.ingest_worker.wake_up()
            await until(failed)
            [document] = (await api.get(f"{chatbot}/documents")).body
            assert document["error"] == "embedding_refused"
            assert "it refuses the key" in document["reason"]
        refused = False
        embedder = OpenAIEmbedder(embedder._url.human_repr(), "embed-1", KEY, timeouts=SHORT)
        await embedder.probe()
        async with gigachat(tmp_path, embedder=embedder) as api:

            async def ready() -> bool:
                [document] = (await api.get(f"{chatbot}/documents")).body
                return bool(document["state"] == "ready")

            await until(ready)
        await embedder.aclose()


async def test_a_document_that_waits_says_why(tmp_path: Path) -> None:
    async with endpoint(well_behaved, send("", status=503)) as (_, embedder):
        await embedder.probe()
        async with gigachat(tmp_path, embedder=embedder) as api:
            chatbot = await api.chatbot()
            pushed = await api.post(f"{chatbot}/documents", {"name": "prices", "content": "Parcels are nine euros."})
            assert pushed.status == 202
            api.services.ingest_worker.wake_up()

            async def told() -> bool:
                [document] = (await api.get(f"{chatbot}/documents")).body
                return document["state"] == "pending" and "status 503" in (document["reason"] or "")

            await until(told)


async def test_headers_a_key_of_another_name_and_a_query_are_sent() -> None:
    async with endpoint(well_behaved) as (here, _):
        access = Access(key_header="api-key", headers={"X-Team": "support"})
        embedder = OpenAIEmbedder(f"{here.url}?api-version=1", "m", KEY, access=access)
        await embedder.embed_prompt("a")
        await embedder.aclose()
        assert here.keys == [None]
        assert here.heads[0]["api-key"] == KEY and here.heads[0]["X-Team"] == "support"
        assert here.queries == ["api-version=1"]


def to_base64(*numbers: float) -> str:
    return base64.b64encode(np.array(numbers, "<f4").tobytes()).decode()


@pytest.mark.parametrize(
    "answer, reason",
    [
        (vectors("[1, 0]"), "it sent 1 vectors for 2 texts"),
        (vectors("[1, 0]", "[1, 0]", "[1, 0]"), "it sent 3 vectors for 2 texts"),
        (vectors("[1, 0]", "[1, 0, 0]"), "differ in length"),
        (vectors("[]", "[]"), "empty"),
        (vectors("[1, NaN]", "[1, 0]"), "not a list of embeddings"),
        (vectors("[1, 1e999]", "[1, 0]"), "its"),
        (vectors("[1e200, 1e200]", "[1, 0]"), "not finite"),
        (vectors("[0, 0]", "[1, 0]"), "no length"),
        (vectors(f'"{to_base64(1, float("nan"))}"', f'"{to_base64(1, 0)}"'), "not finite"),
        (vectors('"AAA="', '"AAA="'), "neither numbers nor base64"),
        (vectors('"ä!"', '"ä!"'), "neither numbers nor base64"),
        (vectors("[1, null]", "[1, 0]"), "not a list of embeddings"),
        (send('{"data": [{"index": 1, "embedding": [1]}, {"index": 1, "embedding": [1]}]}'), "one vector for each"),
        (send('{"data": [{"index": 1, "embedding": [1]}, {"index": 2, "embedding": [1]}]}'), "one vector for each"),
        (send(f"<html>{KEY}</html>"), "not a list of embeddings"),
        (send("[" * 100_000), "not a list of embeddings"),
        (send(b"\xff\xfe"), "not a list of embeddings"),
        (send(""), "not a list of embeddings"),
        (send(b" " * (33 << 20)), "too large"),
        (send(KEY, status=401), "status 401"),
        (send("", status=302, Location="/v1/embeddings"), "status 302"),
        (send(KEY, status=503), "status 503"),
        (send("", status=429, Retry_After="60"), "status 429"),
        (never, "no answer in time"),
    ],
)
async def test_an_answer_that_is_none_is_refused(answer: Answer, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "gigachat")
    async with endpoint(answer) as (here, embedder):
        embedder._timeouts = Timeouts(total_s=0.2, retry_pause_s=0.001) if answer is never else SHORT
        with pytest.raises(EmbedderUnavailable) as raised:
            await embedder.embed_passages(["a", "b"])
        said = f"{raised.value} {raised.value.detail} {caplog.text}"
        assert reason in said
        assert KEY not in said and here.url not in said and "127.0.0.1" not in said


async def test_a_dimension_that_changes_is_refused() -> None:
    async with endpoint(vectors("[1, 0]"), vectors("[1, 0, 0]")) as (_, embedder):
        await embedder.embed_prompt("a")
        with pytest.raises(EmbedderUnavailable, match="3 numbers, those before had 2"):
            await embedder.embed_prompt("b")
        assert embedder.dimension == 2


@pytest.mark.parametrize("failure", [send("", status=500), send("", status=429), send("", status=429, Retry_After="0"), hang_up])
async def test_one_passing_failure_is_not_noticed(failure: Answer) -> None:
    async with endpoint(failure, well_behaved) as (here, embedder):
        np.testing.assert_allclose(await embedder.embed_prompt("abc"), unit("abc"), atol=1e-6)
        assert len(here.bodies) == 2


async def test_a_failure_that_stays_is_tried_twice_and_no_more() -> None:
    async with endpoint(send("", status=500)) as (here, embedder):
        with pytest.raises(EmbedderUnavailable):
            await embedder.embed_prompt("a")
        assert len(here.bodies) == 2


async def test_nobody_listening_and_a_closed_embedder() -> None:
    async with endpoint(well_behaved) as (here, _):
        url = here.url
    embedder = OpenAIEmbedder(url, "embed-1", timeouts=SHORT)
    with pytest.raises(EmbedderUnavailable, match="cannot be reached"):
        await embedder.embed_prompt("a")
    await embedder.aclose()
    with pytest.raises(EmbedderUnavailable, match="shutting down"):
        await embedder.embed_prompt("a")


@pytest.mark.parametrize(
    "base, expected",
    [
        ("http://host:8000", "http://host:8000/v1/embeddings"),
        ("https://host/v1/", "https://host/v1/embeddings"),
        ("https://host/v1/embeddings", "https://host/v1/embeddings"),
        ("https://host/openai/v3?api-version=1", "https://host/openai/v3/embeddings?api-version=1"),
    ],
)
def test_the_url_of_the_endpoint(base: str, expected: str) -> None:
    assert str(embeddings_url(base)) == expected


@pytest.mark.parametrize("base", ["", "host/v1", "ftp://host", "https://user:pw@host/v1", "http://[::1", "http://h:x/"])
def test_a_url_that_cannot_be_used_is_not_repeated(base: str) -> None:
    with pytest.raises(SetupError) as raised:
        embeddings_url(base)
    assert not base or base not in str(raised.value)


def test_a_key_that_no_header_can_hold_is_refused() -> None:
    with pytest.raises(SetupError):
        OpenAIEmbedder("http://host", "m", "sk-\n1")
