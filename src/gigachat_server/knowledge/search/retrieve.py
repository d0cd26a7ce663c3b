"""From a prompt and what was said before it to the passages that answer it: the pure part of retrieval.

The idea: a weighted sum of meaning and words ranks, and a calibrated relevance decides what is handed on (`relevance.py`, each
passage on its own against `match_threshold`). A prompt that leans on the conversation ("And in winter?") is searched together
with it, each earlier turn counting less than the one after; one that stands alone is searched alone.

The relevance of a follow-up is the cosine to the expanded vector and the coverage of the prompt's own words. With the
earlier prompts' words in the coverage too, a new question that merely looks dependent was refused: .13 of the
answerable SQuAD questions after three others, against .03 so. With the prompt's own vector, MTRAG's false refusals rose
(clapnq .12 against .08). Answers count by their words alone: their vectors moved recall@5 by +.004 (clapnq) and -.019
(cloud).

Invariants: no model call, no clock, no settings; one vector per prompt, which the caller made; the same input
gives the same passages in the same order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Literal

import msgspec
import numpy as np

from gigachat_server.knowledge.search.index import ChatbotIndex
from gigachat_server.knowledge.search.relevance import eased
from gigachat_server.knowledge.search.scoring import Alternatives, Candidate, Search
from gigachat_server.language.codes import Language
from gigachat_server.language.detect import language
from gigachat_server.language.terms import QueryWord, query_words
from gigachat_server.language.words import is_dependent
from gigachat_server.models.base import Query, RelevanceScale, SearchedWord, Vector

PROMPT_WEIGHT = 0.3  # of the words of the prompt before this one
ANSWER_WEIGHT = 0.1  # of those of its answer
DECAY = 0.7  # from turn to turn
VECTOR_WEIGHT, VECTOR_DECAY = 0.2, 0.5  # likewise of the prompts' vectors
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


class ExpandedQuery(msgspec.Struct, frozen=True):
    """What is searched for: the vector and the weighted words of the prompt and, if it is dependent, its history.

    `words` are the prompt's own; `bag` knows each word by the terms it may be there as.
    """

    vector: Vector
    bag: dict[Alternatives, float]
    words: tuple[QueryWord, ...]
    is_dependent: bool


class Manner(msgspec.Struct, frozen=True, kw_only=True):
    """How passages are judged. `prior`: what the prompt's vector says of it; `is_lenient`: a model that generates reads them.

    `nearby`: of the best so many passages those are told of, too, that are not relevant enough or too many.
    """

    scale: RelevanceScale
    match_count: int
    match_threshold: float
    is_lenient: bool = False
    prior: float = 0.0
    nearby: int = 0


class SearchResult(msgspec.Struct, frozen=True):
    """The candidates worth handing on, best first, and the query they answer.

    `nearby`: the others that were asked for, of whatever relevance. `is_lenient`: all were held to the lenient scale.
    """

    candidates: list[Candidate]
    query: Query
    searched: int  # chunks that were there to be found
    added: Mapping[Alternatives, float] = {}  # what the conversation adds to the prompt's own words, or to their weight
    nearby: list[Candidate] = []
    is_lenient: bool = False


def expand(query: SearchQuery, languages: Sequence[Language | None]) -> ExpandedQuery:
    """The query made independent of the conversation, as far as words and vectors can, for documents in these languages."""
    spoken = tuple(languages)
    words = {word.alternatives: word for word in query_words(query.text[:LONGEST_QUERY], spoken) if word.alternatives}
    bag = dict.fromkeys(words, 1.0)
    vector = query.vector
    dependent = bool(query.history) and is_dependent(query.text)
    if dependent:
        vectors, shares = [vector], [1.0]
        for message, weight, age in _weighted(query.history):
            said = message.text[: LONGEST_QUERY if message.role == "user" else ANSWER_CHARACTERS]
            for word in _words_said(said, spoken):
                bag[word] = bag.get(word, 0.0) + weight
            if message.vector is not None and message.vector.shape == vector.shape:
                vectors.append(message.vector)
                shares.append(VECTOR_WEIGHT * VECTOR_DECAY**age)
        if len(vectors) > 1:
            vector = np.array(shares, np.float32) @ np.stack(vectors)
            vector /= np.float32(max(math.sqrt(float(vector @ vector)), 1e-9))
    return ExpandedQuery(vector, bag, tuple(words.values()), dependent)


@lru_cache(maxsize=512)  # what was said in a conversation is looked at again with each of its next prompts
def _words_said(text: str, languages: tuple[Language | None, ...]) -> list[Alternatives]:
    return [word.alternatives for word in query_words(text, languages) if word.alternatives]


def _weighted(history: Sequence[Earlier]) -> list[tuple[Earlier, float, int]]:
    """The earlier messages that count, newest first, with the weights of their words and the prompts since.

    Of the answers to one prompt the last counts.
    """
    weighted: list[tuple[Earlier, float, int]] = []
    age, is_answered = 0, False
    for message in reversed(history):
        if message.role == "user":
            weighted.append((message, PROMPT_WEIGHT * DECAY**age, age))
            age, is_answered = age + 1, False
        elif not is_answered:
            weighted.append((message, ANSWER_WEIGHT * DECAY**age, age))
            is_answered = True
    return weighted


def wanted(query: SearchQuery, expanded: ExpandedQuery, manner: Manner) -> Search:
    """The search for it."""
    return Search(
        text=query.text,
        vector=expanded.vector,
        bag=expanded.bag,
        words=expanded.words,
        is_dependent=expanded.is_dependent,
        scale=manner.scale,
        is_lenient=manner.is_lenient,
        prior=manner.prior,
        limit=max(manner.match_count, manner.nearby),
    )


def search(index: ChatbotIndex, query: SearchQuery, manner: Manner) -> SearchResult:
    """The at most `match_count` chunks of a relevance of at least `match_threshold`, best first, and what is nearby."""
    expanded = expand(query, index.languages)
    candidates = index.search(wanted(query, expanded, manner))
    idfs = {word: index.idf(word) for word in expanded.bag}
    return judged(candidates, query, expanded, idfs, manner=manner, searched=len(index))


def judged(
    candidates: Sequence[Candidate],
    query: SearchQuery,
    expanded: ExpandedQuery,
    idfs: Mapping[Alternatives, float],
    *,
    manner: Manner,
    searched: int,
) -> SearchResult:
    """Those that are relevant enough, of the first `match_count`, in their order; and the others.

    `idfs`: of the prompt's words, and of those that the conversation adds, which count less.

    Where one is relevant enough, the documents do answer this kind of prompt, which makes each of its neighbours more likely
    to help, too: from then on all are held to the lenient scale.
    """
    least, is_lenient = manner.match_threshold, manner.is_lenient
    if not is_lenient and any(candidate.score >= least for candidate in candidates[: manner.match_count]):
        is_lenient = True
        candidates = [msgspec.structs.replace(each, score=eased(manner.scale, each.score)) for each in candidates]
    matched = [candidate for candidate in candidates[: manner.match_count] if candidate.score >= least]
    own = {word.alternatives for word in expanded.words}
    added = {word: weight - (word in own) for word, weight in expanded.bag.items() if weight > (word in own)}
    return SearchResult(
        candidates=matched,
        query=Query(
            text=query.text,
            vector=expanded.vector,
            stem_weights={word.alternatives[0]: idfs[word.alternatives] for word in expanded.words},
            words=(
                *(
                    SearchedWord(word.word, word.alternatives, word.is_identifier, idfs[word.alternatives])
                    for word in expanded.words
                ),
                *(SearchedWord(word[0], word, False, idfs[word] * weight) for word, weight in added.items() if word not in own),
            ),
            language=language(query.text[:LONGEST_QUERY]),
        ),
        searched=searched,
        added=added,
        nearby=[candidate for candidate in candidates if candidate not in matched],
        is_lenient=is_lenient,
    )
