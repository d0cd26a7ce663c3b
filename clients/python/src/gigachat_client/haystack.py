"""A Haystack component: what a gigachat chatbot's documents hold for a query. Needs `gigachat-client[haystack]`."""

from __future__ import annotations

from typing import Any, Literal, Self

from haystack import Document, component, default_from_dict, default_to_dict
from haystack.utils import Secret

from gigachat_client import Gigachat
from gigachat_client.passages import facts_of, kept


@component
class GigachatRetriever:
    """The passages that answer a query, best first, as `documents`.

    `matched_only`: only those that reach the chatbot's `match_threshold`. `judged_for`: for which kind of model, which a
    pipeline mostly has, relevance is judged. A pipeline that is saved names the variable of the key, and not the key.
    """

    def __init__(
        self,
        url: str,
        chatbot_id: str,
        *,
        api_key: Secret = Secret.from_env_var("GIGACHAT_API_KEY"),  # noqa: B008 - as Haystack's own components have it
        limit: int = 10,
        matched_only: bool = True,
        judged_for: Literal["configured", "generating", "quoting"] = "generating",
    ) -> None:
        self.url = url
        self.chatbot_id = chatbot_id
        self.api_key = api_key
        self.limit = limit
        self.matched_only = matched_only
        self.judged_for: Literal["configured", "generating", "quoting"] = judged_for
        self._client: Gigachat | None = None

    @component.output_types(documents=list[Document])
    def run(self, query: str, limit: int | None = None) -> dict[str, Any]:
        if self._client is None:
            self._client = Gigachat(self.url, self.api_key.resolve_value() or "")
        call = self._client.retrieval.retrieve
        found = call(self.chatbot_id, query=query, limit=limit or self.limit, for_=self.judged_for)
        documents = [
            Document(id=passage.id, content=passage.content, meta=facts_of(passage), score=passage.score)
            for passage in kept(found, matched_only=self.matched_only)
        ]
        return {"documents": documents}

    def to_dict(self) -> dict[str, Any]:
        return default_to_dict(
            self,
            url=self.url,
            chatbot_id=self.chatbot_id,
            api_key=self.api_key.to_dict(),
            limit=self.limit,
            matched_only=self.matched_only,
            judged_for=self.judged_for,
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        parameters = data["init_parameters"]
        return default_from_dict(
            cls, {**data, "init_parameters": {**parameters, "api_key": Secret.from_dict(parameters["api_key"])}}
        )
