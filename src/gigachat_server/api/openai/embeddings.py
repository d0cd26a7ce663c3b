"""Embeddings by the model that searches the chatbot's documents: the same vectors, for those who search elsewhere.

Invariant: a text is embedded as what it is said to be, by default as something that is asked, so that its vector compares with
those of chunks as a prompt's does.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np

from gigachat_server.api.openai import bodies, wire
from gigachat_server.api.openai.errors import invalid, unsupported
from gigachat_server.edge.answer import Answer
from gigachat_server.edge.request import Request
from gigachat_server.models.base import Matrix
from gigachat_server.services import Services

MOST_INPUTS = 64
_PASSAGES = ("passage", "document", "search_document")


async def create(request: Request[bodies.EmbeddingInput], services: Services) -> Answer:
    body, embedder = request.body, services.embedder
    texts = _texts(body.input)
    if body.dimensions is not None and body.dimensions != embedder.dimension:
        raise unsupported("dimensions", f"The embedding model has {embedder.dimension} dimensions.")
    if body.input_type in _PASSAGES:
        vectors = await embedder.embed_passages(texts)
    elif len(texts) == 1:
        vectors = (await embedder.embed_prompt(texts[0]))[np.newaxis]
    else:
        vectors = await embedder.embed_prompts(texts)
    data = [wire.OpenAIEmbedding(number, each) for number, each in enumerate(_written(vectors, body.encoding_format))]
    return Answer(wire.OpenAIEmbeddings(data, embedder.name, {"prompt_tokens": 0, "total_tokens": 0}))


def _texts(given: Any) -> list[str]:
    texts = given if isinstance(given, list) else [given]
    if not texts:
        raise invalid("input", "Must not be empty.")
    if isinstance(texts[0], list | int):
        raise unsupported("input", "Send texts, not tokens: in LangChain, set check_embedding_ctx_length=False.")
    if len(texts) > MOST_INPUTS:
        raise invalid("input", f"Must have at most {MOST_INPUTS} texts.")
    for number, text in enumerate(texts):
        where = f"input[{number}]" if isinstance(given, list) else "input"
        if not isinstance(text, str) or not text.strip():
            raise invalid(where, "Must be a text that is not blank.")
        if len(text) > bodies.LONGEST_PROMPT:
            raise invalid(where, f"Must have at most {bodies.LONGEST_PROMPT:,} characters.")
    return texts


def _written(vectors: Matrix, encoding: str | None) -> Sequence[list[float] | str]:
    if encoding == "base64":
        return [base64.b64encode(vector.astype("<f4").tobytes()).decode() for vector in vectors]
    return [vector.astype(np.float32).tolist() for vector in vectors]
