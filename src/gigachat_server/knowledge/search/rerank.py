"""A searcher whose results a reranker puts in order.

Idea: a model that reads prompt and passage together orders better than vectors that were made apart, and is too slow for more
than a few; so more are found than are wanted, and it says which of them are. The ranks of the search are dealt out in its
order, so code that orders passages by their rank follows it. Invariants: it only reorders: what is relevant
enough to be handed on is decided by the score of the search, as without it; and where it fails, the order is that of the search.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gigachat_server.knowledge.search.retrieve import Earlier
from gigachat_server.knowledge.search.searcher import Retrieval, Searcher
from gigachat_server.models.base import Vector
from gigachat_server.models.endpoints.reranker import Reranker
from gigachat_server.records import Chatbot
from gigachat_server.store.database import Tx

CANDIDATES = 32


class RerankingSearcher:
    """Searches with another searcher."""

    def __init__(self, searcher: Searcher, reranker: Reranker) -> None:
        self._searcher = searcher
        self._reranker = reranker

    def start(self, *, is_dormant: bool = False) -> None:
        self._searcher.start(is_dormant=is_dormant)

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
        matched = len(found.passages)
        order = None
        if matched > 1:
            order = await self._reranker.order(text, [passage.text for passage in found.passages[:CANDIDATES]])
        places = [*(order or range(min(CANDIDATES, matched))), *range(CANDIDATES, matched)]
        ranks = sorted((passage.rank_score for passage in found.passages), reverse=True)
        in_order = [
            msgspec.structs.replace(found.passages[place], rank_score=rank) for place, rank in zip(places, ranks, strict=True)
        ]
        chunks = (*(found.chunks[place] for place in places), *found.chunks[matched:])
        most = max(wanted, nearby)  # in all, as without a reranker
        return msgspec.structs.replace(
            found,
            passages=tuple(in_order[:wanted]),
            nearby=(*in_order[wanted:], *found.nearby)[: most - min(wanted, matched)],
            chunks=chunks[:most],
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
