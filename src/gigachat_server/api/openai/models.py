"""Chatbots as the models that OpenAI's clients choose from."""

from __future__ import annotations

from gigachat_server.api.openai import wire
from gigachat_server.edge.answer import Answer
from gigachat_server.edge.request import Request
from gigachat_server.services import Services

_PAGE = 100


async def list_all(request: Request[None], services: Services) -> Answer:
    """Every chatbot of the account, newest first; below a chatbot's own address that one alone."""
    if request.named_chatbot is not None:
        return Answer(wire.OpenAIModels([wire.model(request.named_chatbot)]))
    found: list[wire.OpenAIModel] = []
    after: str | None = None
    while page := await services.chatbots.list(request.principal, after=after, limit=_PAGE):
        found += map(wire.model, page)
        after = page[-1].id
    return Answer(wire.OpenAIModels(found))


async def get(request: Request[None], services: Services) -> Answer:
    return Answer(wire.model(request.chatbot))
