"""What is searched for, standing alone and in a conversation, and what is handed on."""

from __future__ import annotations

import numpy as np
import pytest

from gigachat_server.knowledge.search.index import ChatbotIndex, IndexRow, IndexUnits
from gigachat_server.knowledge.search.retrieve import Earlier, ExpandedQuery, Manner, SearchQuery, expand, search
from gigachat_server.knowledge.search.scoring import dump_stems
from gigachat_server.language.terms import terms
from gigachat_server.models.base import RelevanceScale, Vector

SCALE = RelevanceScale(cosine=12.77, coverage=8.97, bias=-7.84)
EAST: Vector = np.array([1, 0, 0], dtype=np.float32)
NORTH: Vector = np.array([0, 1, 0], dtype=np.float32)
UP: Vector = np.array([0, 0, 1], dtype=np.float32)

LAMPS = "Our lamps shine for ten years. Each lamp has a warranty of two years."
CHAIRS = "Our chairs are made of oak. Each chair has a warranty of five years."
BOATS = "Boats leave the harbour at noon."


@pytest.fixture
def index() -> ChatbotIndex:
    index = ChatbotIndex(3)
    for name, text, vector in (("lamps", LAMPS, EAST), ("chairs", CHAIRS, NORTH), ("boats", BOATS, UP)):
        index.add(name, [IndexRow(name, dump_stems(terms(text, "en")))], IndexUnits.whole(vector[None]), language="en")
    return index


def expanded(query: SearchQuery) -> ExpandedQuery:
    return expand(query, ["en"])


def found(index: ChatbotIndex, query: SearchQuery, *, match_count: int = 3, match_threshold: float = 0.0) -> list[str]:
    result = search(index, query, Manner(scale=SCALE, match_count=match_count, match_threshold=match_threshold))
    return [candidate.chunk_id for candidate in result.candidates]


def test_a_prompt_that_stands_alone_is_searched_alone(index: ChatbotIndex) -> None:
    text = "How many years does the warranty of an oak chair last?"
    history = (Earlier("user", "Tell me about boats", UP), Earlier("operator", BOATS))
    alone, among = expanded(SearchQuery(text, NORTH)), expanded(SearchQuery(text, NORTH, history))
    assert among.bag == alone.bag
    assert among.vector is NORTH
    assert not among.is_dependent
    assert found(index, SearchQuery(text, NORTH, history))[0] == "chairs"


def test_a_dependent_prompt_is_searched_with_what_was_said(index: ChatbotIndex) -> None:
    vague = (NORTH + EAST) / np.float32(np.sqrt(2))
    prompt = "How long is its warranty?"
    after_lamps = SearchQuery(prompt, vague, (Earlier("user", "Do you sell lamps?", EAST), Earlier("assistant", "Yes.")))
    after_chairs = SearchQuery(prompt, vague, (Earlier("user", "Do you sell chairs?", NORTH),))
    assert found(index, after_lamps)[0] == "lamps"
    assert found(index, after_chairs)[0] == "chairs"


def test_earlier_turns_count_less_with_age_and_answers_less_than_prompts() -> None:
    history = (
        Earlier("user", "boats", UP),
        Earlier("assistant", "harbour"),
        Earlier("user", "lamps", EAST),
        Earlier("assistant", "ignored: a human answered after it"),
        Earlier("operator", "years"),
    )
    searched = expanded(SearchQuery("And its price?", NORTH, history))
    assert searched.is_dependent
    bag = {term: weight for (term,), weight in searched.bag.items()}
    assert bag == pytest.approx({"price": 1, "year": 0.1, "lamp": 0.3, "harbour": 0.07, "boat": 0.21})
    assert [word.word for word in searched.words] == ["price"]
    direction = searched.vector / searched.vector[1]
    assert direction == pytest.approx([0.2, 1, 0.1])
    assert np.linalg.norm(searched.vector) == pytest.approx(1)


def test_only_the_start_of_an_answer_counts() -> None:
    history = (Earlier("user", "lamps", EAST), Earlier("operator", "shine " * 50 + "oak"))
    assert ("oak",) not in expanded(SearchQuery("And its price?", NORTH, history)).bag


def test_vectors_of_another_space_are_left_out() -> None:
    history = (Earlier("user", "lamps", np.ones(5, dtype=np.float32)), Earlier("user", "boats"))
    assert expanded(SearchQuery("And its price?", NORTH, history)).vector == pytest.approx(NORTH)


def test_passages_below_the_threshold_are_dropped_one_by_one(index: ChatbotIndex) -> None:
    query = SearchQuery("How many years does the warranty of an oak chair last?", NORTH)
    assert found(index, query) == ["chairs", "lamps", "boats"]
    assert found(index, query, match_threshold=0.78) == ["chairs"]
    assert found(index, query, match_threshold=1.0) == []
    assert found(index, query, match_count=2) == ["chairs", "lamps"]


def test_the_query_says_what_each_stem_weighs(index: ChatbotIndex) -> None:
    query = search(index, SearchQuery("oak years xylophone", NORTH), Manner(scale=SCALE, match_count=1, match_threshold=0)).query
    assert query.text == "oak years xylophone"
    assert query.vector is NORTH
    assert query.stem_weights["xylophon"] > query.stem_weights["oak"] > query.stem_weights["year"] > 0


@pytest.mark.parametrize("text", ["", "   ", "?!", "the of and", "\ud800", "word " * 8000])
def test_any_prompt_can_be_searched_for(index: ChatbotIndex, text: str) -> None:
    assert len(found(index, SearchQuery(text, UP))) == 3
    assert found(ChatbotIndex(3), SearchQuery(text, UP)) == []
