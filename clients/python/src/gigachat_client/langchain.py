"""A LangChain retriever: what a gigachat chatbot's documents hold for a query. Needs `gigachat-client[langchain]`."""

from __future__ import annotations

from typing import Literal

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict

from gigachat_client import AsyncGigachat, Gigachat
from gigachat_client.passages import facts_of, kept
from gigachat_client.types import Passage


class GigachatRetriever(BaseRetriever):
    """The passages that answer a query, best first. `async_client` serves `ainvoke`; without it that uses a thread.

    `matched_only`: only those that reach the chatbot's `match_threshold`. `judged_for`: for which kind of model, which a chain
    mostly has, relevance is judged.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    client: Gigachat
    chatbot_id: str
    async_client: AsyncGigachat | None = None
    limit: int = 10
    matched_only: bool = True
    judged_for: Literal["configured", "generating", "quoting"] = "generating"

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        found = self.client.retrieval.retrieve(self.chatbot_id, query=query, limit=self.limit, for_=self.judged_for)
        return [_document(passage) for passage in kept(found, matched_only=self.matched_only)]

    async def _aget_relevant_documents(self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun) -> list[Document]:
        if self.async_client is None:
            return await super()._aget_relevant_documents(query, run_manager=run_manager)
        call = self.async_client.retrieval.retrieve
        found = await call(self.chatbot_id, query=query, limit=self.limit, for_=self.judged_for)
        return [_document(passage) for passage in kept(found, matched_only=self.matched_only)]


def _document(passage: Passage) -> Document:
    return Document(id=passage.id, page_content=passage.content, metadata={**facts_of(passage), "score": passage.score})
