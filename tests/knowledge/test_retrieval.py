"""What a search hands to a turn: no source is less relevant than the chatbot's threshold."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import pytest
from tests.models.test_extractive import passage

from gigachat_server.knowledge.search.retrieve import SearchResult
from gigachat_server.knowledge.search.searcher import Retrieval
from gigachat_server.models.base import Query

pytestmark = pytest.mark.sqlite_only


def retrieval(matched: list[float], nearby: list[float]) -> Retrieval:
    def scored(scores: list[float]) -> tuple[Any, ...]:
        return tuple(msgspec.structs.replace(passage(str(score), "text"), score=score) for score in scores)

    found = SearchResult(candidates=[], query=Query(text="", vector=None, stem_weights={}), searched=5)
    chunks = cast(Any, tuple(f"chunk {score}" for score in (*matched, *nearby)))
    return Retrieval(found, scored(matched), chunks, nearby=scored(nearby))


def test_what_is_nearby_and_less_relevant_is_left_out_with_its_chunks() -> None:
    kept = retrieval([0.9], [0.5, 0.8, 0.7]).matching(0.78)
    assert [each.score for each in (*kept.passages, *kept.nearby)] == [0.9, 0.8]
    assert list(map(str, kept.chunks)) == ["chunk 0.9", "chunk 0.8"]


def test_where_nothing_matches_what_is_nearby_stays_for_a_suggestion() -> None:
    found = retrieval([], [0.7, 0.5])
    assert found.matching(0.78) is found
