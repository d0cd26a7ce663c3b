"""A searcher whose results a reranker puts in order.

Idea: a model that reads prompt and passage together orders better than vectors that were made apart, and is too slow for more
than a few; so more are found than are wanted, and it says which of them are. Invariants: it only reorders: what is relevant
enough to be handed on is decided by the score of the search, as without it; and where it fails, the order is that of the search.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gigachat_server.knowledge.retrieve import Earlier
from gigachat_server.knowledge.searcher import Retrieval, Searcher
from gigachat_server.models.base import Vector
from gigachat_server.models.endpoint_reranker import Reranker
from gigachat_server.records import Chatbot
from gigachat_server.store.database import Tx

CANDIDATES = 32


class RerankingSearcher:
    """Searches with another searcher."""

    def __init__(self, searcher: Searcher, reranker: Reranker) -> None:
        self._searcher = searcher
        self._reranker = reranker

    def start(self) -> None:
        self._searcher.start()

    async def has_documents(self, chatbot: Chatbot) -> bool:
        return await self._searcher.has_documents(chatbot)

    async def retrieve(
        self,
        chatbot: Chatbot,
        text: str,
        vector: Vector,
        history: Sequence[Earlier],
        *,
        is_lenient: bool,
        nearby: int = 0,
    ) -> Retrieval:
        wanted = chatbot.config.documents.results.match_count
        more = _with_count(chatbot, max(wanted, CANDIDATES))
        found = await self._searcher.retrieve(more, text, vector, history, is_lenient=is_lenient, nearby=nearby)
        if len(found.passages) < 2:
            return found
        matched = len(found.passages)
        order = await self._reranker.order(text, [passage.text for passage in found.passages[:CANDIDATES]])
        places = [*(order or range(min(CANDIDATES, matched))), *range(CANDIDATES, matched)]
        in_order = [found.passages[place] for place in places]
        chunks = (*(found.chunks[place] for place in places), *found.chunks[matched:])
        beside = (*in_order[wanted:], *found.nearby)[: max(nearby - wanted, 0)]
        return msgspec.structs.replace(
            found,
            passages=tuple(in_order[:wanted]),
            nearby=beside,
            chunks=chunks[: min(wanted, matched) + len(beside)],
        )

    def forget(self, chatbot_id: str) -> None:
        self._searcher.forget(chatbot_id)

    async def count_out(self, tx: Tx, chatbot_id: str, document_id: str) -> None:
        await self._searcher.count_out(tx, chatbot_id, document_id)

    async def count_in(self, tx: Tx, chatbot_id: str, document_id: str) -> None:
        await self._searcher.count_in(tx, chatbot_id, document_id)

    async def aclose(self) -> None:
        await self._searcher.aclose()
        await self._reranker.aclose()


def _with_count(chatbot: Chatbot, count: int) -> Chatbot:
    results = msgspec.structs.replace(chatbot.config.documents.results, match_count=count)
    documents = msgspec.structs.replace(chatbot.config.documents, results=results)
    return msgspec.structs.replace(chatbot, config=msgspec.structs.replace(chatbot.config, documents=documents))
