"""From a prompt and what was said before it to the passages that answer it: the pure part of retrieval.

The idea: a hybrid of meaning and words ranks (.7 cosine + .3 BM25 over the best BM25), a calibrated relevance decides
what is handed on (sigmoid of cosine and coverage, each passage on its own against `match_threshold`). A prompt that
leans on the conversation ("And in winter?") is searched together with it, each earlier turn counting less than the one
after; one that stands alone is searched alone.

The relevance of a follow-up is the cosine to the expanded vector and the coverage of the prompt's own stems. With the
earlier prompts' stems in the coverage too, a new question that merely looks dependent was refused: .13 of the
answerable SQuAD questions after three others, against .03 so. With the prompt's own vector, MTRAG's false refusals rose
(clapnq .12 against .08). Answers count by their words alone: their vectors moved recall@5 by +.004 (clapnq) and -.019
(cloud).

Invariants: no model call, no clock, no settings; one vector per prompt, which the caller made; the same input
gives the same passages in the same order.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Literal

import msgspec
import numpy as np

from gigachat_server.knowledge.index import ChatbotIndex
from gigachat_server.knowledge.scoring import Candidate
from gigachat_server.language.terms import terms
from gigachat_server.language.words import is_dependent
from gigachat_server.models.base import Query, RelevanceScale, Vector

PROMPT_WEIGHT = 0.3  # of the prompt before this one
ANSWER_WEIGHT = 0.1  # of its answer
DECAY = 0.7  # from turn to turn
ANSWER_CHARACTERS = 300
LONGEST_QUERY = 4_000  # characters of a prompt that are searched for


class Earlier(msgspec.Struct, frozen=True):
    """A message said before the prompt. `vector`: its embedding where the store has it, else None."""

    role: Literal["user", "assistant", "operator"]
    text: str
    vector: Vector | None = None


class SearchQuery(msgspec.Struct, frozen=True):
    """A prompt with its vector, and the earlier messages of its conversation, oldest first."""

    text: str
    vector: Vector
    history: Sequence[Earlier] = ()


class Expanded(msgspec.Struct, frozen=True):
    """What is searched for: the vector and the weighted stems of the prompt and, if it is dependent, its history."""

    vector: Vector
    bag: dict[str, float]
    own_stems: tuple[str, ...]
    is_dependent: bool


class Found(msgspec.Struct, frozen=True):
    """The candidates worth handing on, best first, and the query they answer."""

    candidates: list[Candidate]
    query: Query
    searched: int  # chunks that were there to be found


def expand(query: SearchQuery) -> Expanded:
    """The query made independent of the conversation, as far as words and vectors can."""
    own = Counter(terms(query.text[:LONGEST_QUERY], None))
    bag: dict[str, float] = dict(own)
    vector = query.vector
    dependent = bool(query.history) and is_dependent(query.text)
    if dependent:
        vectors, shares = [vector], [1.0]
        for message, weight in _weighted(query.history):
            for stem in _stems_said(message.text[: LONGEST_QUERY if message.role == "user" else ANSWER_CHARACTERS]):
                bag[stem] = bag.get(stem, 0.0) + weight
            if message.vector is not None and message.vector.shape == vector.shape:
                vectors.append(message.vector)
                shares.append(weight)
        if len(vectors) > 1:
            vector = np.array(shares, np.float32) @ np.stack(vectors)
            vector /= np.float32(max(math.sqrt(float(vector @ vector)), 1e-9))
    return Expanded(vector, bag, tuple(own), dependent)


@lru_cache(maxsize=512)  # what was said in a conversation is looked at again with each of its next prompts
def _stems_said(text: str) -> list[str]:
    return terms(text, None)


def _weighted(history: Sequence[Earlier]) -> list[tuple[Earlier, float]]:
    """The earlier messages that count, newest first, weighted. Of the answers to one prompt the last counts."""
    weighted: list[tuple[Earlier, float]] = []
    age, is_answered = 0, False
    for message in reversed(history):
        if message.role == "user":
            weighted.append((message, PROMPT_WEIGHT * DECAY**age))
            age, is_answered = age + 1, False
        elif not is_answered:
            weighted.append((message, ANSWER_WEIGHT * DECAY**age))
            is_answered = True
    return weighted


def search(
    index: ChatbotIndex,
    query: SearchQuery,
    *,
    scale: RelevanceScale,
    match_count: int,
    match_threshold: float,
) -> Found:
    """The at most `match_count` chunks of a relevance of at least `match_threshold`, best first."""
    expanded = expand(query)
    candidates = index.search(
        expanded.vector,
        expanded.bag,
        own_stems=expanded.own_stems,
        scale=scale,
        limit=match_count,
    )
    weights = {stem: index.idf(stem) for stem in expanded.own_stems}
    return above_threshold(candidates, query, stem_weights=weights, match_threshold=match_threshold, searched=len(index))


def above_threshold(
    candidates: Sequence[Candidate],
    query: SearchQuery,
    *,
    stem_weights: Mapping[str, float],
    match_threshold: float,
    searched: int,
) -> Found:
    """Those that are relevant enough, in their order."""
    return Found(
        candidates=[candidate for candidate in candidates if candidate.score >= match_threshold],
        query=Query(text=query.text, vector=query.vector, stem_weights=stem_weights),
        searched=searched,
    )
