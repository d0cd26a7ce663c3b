"""The page of models: what is configured and learnt, and what a model answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gigachat_server.models.endpoints.providers import Providers
from tests.models.misbehaving_endpoint import GOOD, Exchange, endpoint, http, model_at
from tests.pages.pages import Page, pages

pytestmark = pytest.mark.sqlite_only  # a page sees nothing but the API, which is tested on both


async def test_endpoints_are_shown_and_tried(tmp_path: Path) -> None:
    async def picky(exchange: Exchange) -> None:
        refusal = http(b'{"error":{"message":"top_p is not supported"}}', status="400 No")
        await exchange.send(refusal if "top_p" in exchange.body else GOOD)

    async with (
        endpoint(picky) as here,
        endpoint(http(b"", status="401 No")) as there,
        model_at(here.url) as one,
        model_at(there.url) as two,
    ):
        model: Any = Providers(one, {"second": two})
        async with pages(tmp_path, model=model) as site:
            shown = Page((await site.visitor.get("/models")).text).text
            assert "GIGACHAT_MODEL_URL" in shown and "second" in shown and "refuses nothing so far" in shown
            assert not here.requests, "looking costs nothing"
            tried = Page((await site.visitor.post("/models")).text).text
            assert "refuses top_p" in tried and "ended with stop" in tried
            assert "The model endpoint refuses the key" in tried


async def test_without_an_endpoint_the_built_in_model_is_named(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        assert "The built-in model answers" in (await site.visitor.get("/models")).text
