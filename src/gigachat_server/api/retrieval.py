"""What a prompt would find, over HTTP: the search of a turn without the turn.

Invariant: it is the same search, with one vector and with the conversation as the next prompt would know it; only the
chatbot's `match_count` and `match_threshold` do not cut it short. Nothing is stored. A passage's relevance is the sigmoid of
the sum of its parts; for which kind of model it is judged may be chosen, the order is the same for both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gigachat_server.access.principal import Principal
from gigachat_server.api import wire
from gigachat_server.edge.answer import Answer
from gigachat_server.edge.request import Request, query_choice, query_flag, query_limit
from gigachat_server.errors import FieldError, InvalidRequest
from gigachat_server.knowledge.search.relevance import features_of, parts
from gigachat_server.knowledge.search.retrieve import Earlier
from gigachat_server.knowledge.search.scoring import MOST_STEMS
from gigachat_server.knowledge.search.searcher import Retrieval, scale_for
from gigachat_server.language.words import is_dependent, small_talk
from gigachat_server.models.base import RelevanceScale
from gigachat_server.records import Chatbot
from gigachat_server.services import Services

LONGEST_QUERY = 32_000  # characters, as of a prompt


async def retrieve(request: Request[None], services: Services) -> Answer:
    limit, text = query_limit(request.query, default=10), request.query.get("query", "")
    with_embedding = query_flag(request.query, "embedding", default=False)
    judged_for = _judged_for(request, services)
    check_query(text)
    history = await earlier(services, request.principal, request.chatbot, request.query.get("conversation_id"))
    found = await search(
        services, request.chatbot, text, history, judged_for=judged_for, limit=limit, with_embedding=with_embedding
    )
    return Answer(found)


async def search(
    services: Services,
    chatbot: Chatbot,
    text: str,
    history: Sequence[Earlier],
    *,
    judged_for: wire.JudgedFor,
    limit: int,
    with_embedding: bool = False,
) -> wire.WireRetrieval:
    """What a prompt would find, in a conversation in which that was said before."""
    retrieval = None
    added: list[tuple[str, float]] = []
    if not small_talk(text) and await services.searcher.has_documents(chatbot):
        vector = await services.embedder.embed_prompt(text)
        retrieval = await services.searcher.retrieve(
            chatbot, text, vector, history, is_lenient=judged_for == "generating", nearby=limit
        )
        added = _added(retrieval)
    results = chatbot.config.documents.results
    scale = scale_for(chatbot, services.embedder.scale)
    weights = retrieval.found.query.stem_weights if retrieval else {}
    return wire.WireRetrieval(
        query=text,
        is_small_talk=small_talk(text) is not None,
        is_dependent=bool(history) and is_dependent(text),
        judged_for=judged_for,
        is_lenient=retrieval.found.is_lenient if retrieval else judged_for == "generating",
        leniency=scale.leniency,
        embedder=services.embedder.name,
        match_count=results.match_count,
        match_threshold=results.match_threshold,
        searched=retrieval.found.searched if retrieval else 0,
        stems=[wire.WireStem(stem, round(idf, 6)) for stem, idf in weights.items()],
        added_stems=[wire.WireAddedStem(stem, round(weight, 6)) for stem, weight in added],
        passages=_passages(chatbot, retrieval, scale, limit, with_embedding=with_embedding) if retrieval else [],
    )


def _judged_for(request: Request[Any], services: Services) -> wire.JudgedFor:
    match query_choice(request.query, "for", ("configured", "generating", "quoting")):
        case "generating":
            return "generating"
        case "quoting":
            return "quoting"
        case _:
            return configured(services)


def configured(services: Services) -> wire.JudgedFor:
    """For which kind of model passages are judged where the request does not say."""
    return "generating" if services.model.is_generating else "quoting"


def check_query(text: str) -> None:
    """Raises `InvalidRequest`."""
    if not text.strip() or "\0" in text:
        raise InvalidRequest(errors=(FieldError("query", "Must say what to look for."),))
    if len(text) > LONGEST_QUERY:
        raise InvalidRequest(errors=(FieldError("query", f"Must have at most {LONGEST_QUERY} characters."),))


async def earlier(services: Services, principal: Principal, chatbot: Chatbot, conversation_id: str | None) -> Sequence[Earlier]:
    """What was said in that conversation, which shows in what is answered; None: in none."""
    if conversation_id is None:
        return []
    return await services.conversations.recall(principal, chatbot, conversation_id, embedding_model=services.embedder.name)


def _added(retrieval: Retrieval) -> list[tuple[str, float]]:
    """What the conversation adds to the prompt's own words, the heaviest first."""
    added = sorted(retrieval.found.added.items(), key=lambda item: -item[1])[:MOST_STEMS]
    return [(word[0], weight) for word, weight in added]


def _passages(
    chatbot: Chatbot, retrieval: Retrieval, scale: RelevanceScale, limit: int, *, with_embedding: bool
) -> list[wire.WirePassage]:
    """The best, whether they match or not, with the parts of their relevance, which say why each does or does not."""
    results = chatbot.config.documents.results
    matched = len(retrieval.passages)
    pairs = list(zip((*retrieval.passages, *retrieval.nearby), retrieval.chunks, strict=True))
    in_order = sorted(enumerate(pairs), key=lambda pair: -pair[1][0].rank_score)
    return [
        wire.passage(
            chunk,
            passage,
            chatbot.account_id,
            parts=parts(scale, features_of(passage), is_lenient=retrieval.found.is_lenient),
            is_matched=passage.score >= results.match_threshold,
            is_source=place < matched,
            with_embedding=with_embedding,
        )
        for place, (passage, chunk) in in_order[:limit]
    ]
