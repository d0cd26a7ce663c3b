"""A LlamaIndex retriever: what a gigachat chatbot's documents hold for a query. Needs `gigachat-client[llama-index]`."""

from __future__ import annotations

from typing import Literal

from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from gigachat_client import AsyncGigachat, Gigachat
from gigachat_client.passages import facts_of, kept
from gigachat_client.types import Retrieval


class GigachatRetriever(BaseRetriever):
    """The passages that answer a query, best first. `async_client` serves `aretrieve`; without it that blocks.

    `matched_only`: only those that reach the chatbot's `match_threshold`. `judged_for`: for which kind of model, which a query
    engine mostly has, relevance is judged.
    """

    def __init__(
        self,
        client: Gigachat,
        chatbot_id: str,
        *,
        async_client: AsyncGigachat | None = None,
        limit: int = 10,
        matched_only: bool = True,
        judged_for: Literal["configured", "generating", "quoting"] = "generating",
    ) -> None:
        super().__init__()
        self._client = client
        self._async_client = async_client
        self._chatbot_id = chatbot_id
        self._limit = limit
        self._matched_only = matched_only
        self._judged_for = judged_for

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        call, query = self._client.retrieval.retrieve, query_bundle.query_str
        return self._nodes(call(self._chatbot_id, query=query, limit=self._limit, for_=self._judged_for))

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        if self._async_client is None:
            return self._retrieve(query_bundle)
        call, query = self._async_client.retrieval.retrieve, query_bundle.query_str
        return self._nodes(await call(self._chatbot_id, query=query, limit=self._limit, for_=self._judged_for))

    def _nodes(self, found: Retrieval) -> list[NodeWithScore]:
        return [
            NodeWithScore(node=TextNode(id_=passage.id, text=passage.content, metadata=facts_of(passage)), score=passage.score)
            for passage in kept(found, matched_only=self._matched_only)
        ]
