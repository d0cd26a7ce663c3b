"""A reranker behind HTTP: a model that reads query and text together and scores their relevance.

It speaks two forms: that of Cohere, Jina, vLLM and OpenVINO (`documents` in, `results` with `relevance_score` out; some wrap
them in `data`), and that of text-embeddings-inference (`texts` in, a list of `score`s out). The first refusal shows which.
Invariant: a call ends within `TIMEOUT_S` with an order or None, and no log line holds any text.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Sequence
from typing import Any, Protocol

import aiohttp
import msgspec
from yarl import URL

from gigachat_server.models.endpoints.connection import Access, inflated, open_session
from gigachat_server.models.endpoints.mended_json import decode_anything
from gigachat_server.models.endpoints.url import endpoint_url

TIMEOUT_S = 1.5
LONGEST_TEXT = 4_000  # characters: more of a passage changes its place little
_ANSWER_BYTES = 1 << 20

log = logging.getLogger("gigachat.models")


class Reranker(Protocol):
    """Orders texts by how well they answer a query."""

    async def order(self, query: str, texts: Sequence[str]) -> list[int] | None:
        """The positions of the texts, best first, each once; None if the reranker cannot answer now."""

    async def aclose(self) -> None: ...


class EndpointReranker:
    """`url` is the API's base or the full `.../rerank`. Raises `SetupError` when it or the key cannot be used."""

    def __init__(
        self, url: str, model: str, key: str = "", *, access: Access | None = None, timeout_s: float = TIMEOUT_S
    ) -> None:
        self.url: URL = endpoint_url(url, "/rerank", whose="reranker")
        self._model = model
        self._access = msgspec.structs.replace(access or Access(), key=key.strip())
        self._access.check("reranker")
        self._timeout_s = timeout_s
        self._wants_texts = False
        self._session: aiohttp.ClientSession | None = None

    async def order(self, query: str, texts: Sequence[str]) -> list[int] | None:
        cut = [text[:LONGEST_TEXT] for text in texts]
        try:
            async with asyncio.timeout(self._timeout_s):
                status, scores = await self._ask(query, cut)
                if status in (400, 422) and scores is None:
                    self._wants_texts = not self._wants_texts
                    status, scores = await self._ask(query, cut)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            log.warning("reranking failed: %s", type(error).__name__)
            return None
        if scores is None:
            log.warning("reranking failed: status %d", status)
            return None
        return sorted(range(len(texts)), key=lambda place: (-scores.get(place, -math.inf), place))

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _ask(self, query: str, texts: list[str]) -> tuple[int, dict[int, float] | None]:
        """The status, and the score of each place that got one."""
        body: dict[str, Any] = {"query": query, "texts": texts, "truncate": True}
        if not self._wants_texts:
            body = {"model": self._model, "query": query, "documents": texts, "top_n": len(texts), "return_documents": False}
        if self._session is None:
            self._session = open_session(self._access, accept="application/json", connect_s=self._timeout_s)
        async with self._session.post(self.url, data=msgspec.json.encode(body), allow_redirects=False) as response:
            content = bytearray()
            while (data := await response.content.readany()) and len(content) < _ANSWER_BYTES:
                content += data
        if response.status != 200:
            return response.status, None
        whole = inflated(bytes(content), response.headers.get("Content-Encoding", ""), most=_ANSWER_BYTES)
        return 200, scores_in(whole, len(texts))


def scores_in(content: bytes, count: int) -> dict[int, float] | None:
    """The scores of an answer in either form; None if it is none, or if half of the texts have none."""
    answer = decode_anything(content)
    if isinstance(answer, dict):
        answer = next((answer[name] for name in ("results", "data", "output") if name in answer), None)
        if isinstance(answer, dict):
            answer = answer.get("results")
    if not isinstance(answer, list):
        return None
    scores: dict[int, float] = {}
    for each in answer:
        if isinstance(each, dict):
            place, score = each.get("index"), each.get("relevance_score", each.get("score"))
            if not isinstance(place, int) or isinstance(place, bool) or not 0 <= place < count:
                continue
            if isinstance(score, int | float) and math.isfinite(score):
                scores[place] = float(score)
    return scores if len(scores) * 2 >= count else None
