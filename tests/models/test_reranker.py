# ruff: noqa: E501 - answers are as long as they are
"""A reranker: both of its forms, what happens without it, and that it only ever reorders."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.harness import gigachat
from tests.models.misbehaving_endpoint import KEY, Exchange, endpoint, http
from tests.models.test_openai_model import stub

from gigachat_server.errors import SetupError
from gigachat_server.models.embedders.hashing_embedder import HashingEmbedder
from gigachat_server.models.endpoints.reranker import EndpointReranker, scores_in
from gigachat_server.models.endpoints.stub_endpoint import StubEndpoint
from gigachat_server.models.quoting.extractive import ExtractiveModel

TEXTS = ["a", "b", "c"]


def answer(value: Any, **how: Any) -> bytes:
    return http(msgspec.json.encode(value), kind="application/json", **how)


@pytest.mark.parametrize(
    "value",
    [
        {"results": [{"index": 2, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.5}, {"index": 1, "relevance_score": 0.1}]},
        {"data": [{"index": 0, "relevance_score": 0.5}, {"index": 2, "relevance_score": 0.9}, {"index": 1, "relevance_score": -3}]},
        {"output": {"results": [{"index": 2, "relevance_score": 1}, {"index": 0, "relevance_score": 0.5}]}},
        {"results": [{"index": 2, "relevance_score": 1, "document": {"text": "c"}}, {"index": 0, "relevance_score": 0}, {"index": 9, "relevance_score": 5}]},
        [{"index": 2, "score": 0.99}, {"index": 0, "score": 0.2}, {"index": 1, "score": 0.1}],
    ],
)  # fmt: skip
async def test_texts_are_ordered_by_their_scores(value: Any) -> None:
    async with endpoint(answer(value)) as here:
        reranker = EndpointReranker(here.url, "m", KEY)
        assert await reranker.order("q", TEXTS) == [2, 0, 1]
        await reranker.aclose()
        assert here.requests[0].head.startswith("POST /v1/rerank ")
        assert f"Authorization: Bearer {KEY}" in here.requests[0].head
        assert here.requests[0].body["documents"] == TEXTS


async def test_the_other_form_is_learnt_from_a_refusal() -> None:
    async def text_embeddings_inference(exchange: Exchange) -> None:
        is_known = "texts" in exchange.body
        scores = [{"index": 1, "score": 0.9}, {"index": 0, "score": 0.1}, {"index": 2, "score": 0.0}]
        await exchange.send(answer(scores) if is_known else answer({"error": "missing field `texts`"}, status="422 No"))

    async with endpoint(text_embeddings_inference) as here:
        reranker = EndpointReranker(f"{here.url}/rerank", "m")
        for _ in range(2):
            assert await reranker.order("q", TEXTS) == [1, 0, 2]
        await reranker.aclose()
        assert len(here.requests) == 3


async def hang(exchange: Exchange) -> None:
    await exchange.client_gone()


async def drop(exchange: Exchange) -> None:
    exchange.reset()


@pytest.mark.parametrize(
    "given",
    [answer({}), answer([]), answer({"results": [{"index": "x"}]}), http(b"<html>"), http(b"", status="500 No"), hang, drop],
)
async def test_whatever_fails_there_is_no_order_in_time(given: Any) -> None:
    async with endpoint(given) as here:
        reranker = EndpointReranker(here.url, "m", timeout_s=0.2)
        started = asyncio.get_running_loop().time()
        assert await reranker.order("q", TEXTS) is None
        assert asyncio.get_running_loop().time() - started < 5
        await reranker.aclose()


def test_what_is_no_number_is_no_score() -> None:
    assert scores_in(b'{"results":[{"index":0,"relevance_score":"1"},{"index":true,"relevance_score":1}]}', 2) is None
    assert scores_in(b'{"results":[{"index":0,"relevance_score":1e999},{"index":1,"relevance_score":1}]}', 2) in (None, {1: 1.0})


def test_a_url_that_cannot_be_used_is_refused_at_start() -> None:
    with pytest.raises(SetupError):
        EndpointReranker("rerank", "m")


PAGES = ("alpha beta gamma", "gamma delta", "parcels are sent by post every day", "beta", "the post office sends parcels")
ALL = {"documents": {"results": {"match_threshold": 0, "match_count": 2}}}


async def test_the_stub_endpoint_reranks_by_words() -> None:
    async with stub(StubEndpoint()) as url:
        reranker = EndpointReranker(url, "m", timeout_s=20)
        assert await reranker.order("the red lamp", ["a blue chair", "a red lamp", "the red lamp"]) == [2, 1, 0]
        await reranker.aclose()


async def sources(tmp_path: Path, **settings: Any) -> tuple[list[str], list[str]]:
    """Of a prompt, what its reply rests on; and all that can be found."""
    async with gigachat(tmp_path, **settings) as api:
        chatbot = await api.chatbot(**ALL)
        for number, page in enumerate(PAGES):
            await api.push(chatbot, f"page {number}", page)
        [reply] = await api.say(chatbot, "are parcels sent by post every day")
        found = (await api.get(f"{chatbot}/retrieve?query=are+parcels+sent+by+post+every+day&limit=10")).body
        names = [source["content"].partition("page ")[2][:1] for source in reply["sources"]]
        return names, [str(passage["score"]) for passage in found["passages"]]


async def longest_first(exchange: Exchange) -> None:
    scores = [{"index": place, "relevance_score": len(text)} for place, text in enumerate(exchange.body["documents"])]
    await exchange.send(answer({"results": scores}))


async def test_a_turn_gets_the_best_of_more_candidates(tmp_path: Path) -> None:
    async with endpoint(longest_first) as here:
        url = here.url
        with_it, scores = await sources(tmp_path / "a", reranker_url=f"{url}/rerank", reranker_model="m")
        without, plain_scores = await sources(tmp_path / "b")
        assert with_it == ["2", "4"] and len(without) == 2
        assert len(here.requests[0].body["documents"]) == len(PAGES), "more than are wanted"
        assert sorted(scores) == sorted(plain_scores), "it reorders and changes no score"
    after, _ = await sources(tmp_path / "c", reranker_url=f"{url}/rerank", reranker_model="m")
    assert after == without, "where it cannot be reached, the order is that of the search"


async def test_who_searches_and_a_model_that_quotes_follow_its_order(tmp_path: Path) -> None:
    async with endpoint(longest_first) as here:
        quoting = ExtractiveModel(HashingEmbedder())
        async with gigachat(tmp_path, model=quoting, reranker_url=f"{here.url}/rerank", reranker_model="m") as api:
            chatbot = await api.chatbot(**ALL)
            for number, page in enumerate(PAGES):
                await api.push(chatbot, f"page {number}", page)
            [reply] = await api.say(chatbot, "gamma beta")
            found = (await api.get(f"{chatbot}/retrieve?query=gamma+beta&limit=10")).body["passages"]
    by_length = sorted(PAGES, key=len, reverse=True)
    assert [said(passage) for passage in found] == by_length
    assert [passage["is_source"] for passage in found] == [True, True, *[False] * (len(PAGES) - 2)]
    ranks = [passage["rank_score"] for passage in found]
    assert ranks == sorted(ranks, reverse=True)
    sources = [said(source) for source in reply["sources"]]
    assert len(sources) == 2
    assert sources == sorted(sources, key=len, reverse=True)


def said(source: Any) -> str:
    return str(source["content"].rpartition("\n")[2])
