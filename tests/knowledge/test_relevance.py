"""From features to an order and a relevance."""

from __future__ import annotations

import math

import msgspec
import pytest

from gigachat_server.knowledge.search.relevance import Features, parts, rank_scores, rank_weights, relevance
from gigachat_server.models.base import RankWeights, RelevanceScale

pytestmark = pytest.mark.sqlite_only

SCALE = RelevanceScale(
    cosine=30.0,
    coverage=3.0,
    bias=-26.0,
    foreign=3.5,
    prior=20.0,
    margin=25.0,
    size=-0.5,
    identified=3.0,
    unidentified=-1.0,
    leniency=1.0,
    rank=RankWeights(cosine=120, coverage=3.4, lexical=0.9, identified=8),
    follow_up_rank=RankWeights(cosine=120, lexical=4),
)
FEATURES = Features(cosine=0.85, coverage=0.5, is_foreign=False, prior=0.02, margin=0.03, identified=0, units=20)


def changed(**fields: object) -> Features:
    return msgspec.structs.replace(FEATURES, **fields)


def test_the_parts_are_all_there_is_to_a_relevance() -> None:
    logit = sum(parts(SCALE, FEATURES).values())
    assert logit == pytest.approx(30 * 0.85 + 3 * 0.5 + 20 * 0.02 + 25 * 0.03 - 0.5 * math.log(20) - 26)
    assert relevance(SCALE, FEATURES) == pytest.approx(1 / (1 + math.exp(-logit)))


@pytest.mark.parametrize(
    "better",
    [
        {"cosine": 0.9},
        {"coverage": 0.9},
        {"prior": 0.1},
        {"margin": 0.1},
        {"identified": 1.0},
        {"units": 10},
    ],
)
def test_each_feature_counts(better: dict[str, float]) -> None:
    assert relevance(SCALE, changed(**better)) > relevance(SCALE, FEATURES)


def test_an_identifier_that_no_chunk_holds_counts_against_all() -> None:
    assert relevance(SCALE, changed(identified=-1.0)) < relevance(SCALE, FEATURES)


def test_words_say_nothing_about_a_document_in_another_language() -> None:
    foreign = changed(is_foreign=True, coverage=0.0)
    assert relevance(SCALE, foreign) == relevance(SCALE, changed(is_foreign=True, coverage=1.0))


def test_a_model_that_generates_is_handed_more() -> None:
    assert relevance(SCALE, FEATURES, is_lenient=True) > relevance(SCALE, FEATURES)


def test_more_than_a_hundred_units_count_as_a_hundred() -> None:
    assert relevance(SCALE, changed(units=100)) == relevance(SCALE, changed(units=1_000_000))


def test_fewer_than_ten_units_count_as_ten() -> None:
    assert relevance(SCALE, changed(units=1)) == relevance(SCALE, changed(units=10))


def test_extremes_do_not_overflow() -> None:
    assert relevance(SCALE, changed(cosine=1e6)) == pytest.approx(1)
    assert relevance(SCALE, changed(cosine=-1e6)) == pytest.approx(0)


def test_an_identifier_decides_the_order() -> None:
    weights = rank_weights(SCALE, is_dependent=False)
    holds = rank_scores(weights, cosine=0.82, coverage=0.2, lexical=0.1, identified=1.0)
    nearer = rank_scores(weights, cosine=0.86, coverage=0.4, lexical=1.0, identified=0.0)
    assert holds > nearer


def test_a_follow_up_is_ordered_by_its_own_weights() -> None:
    assert rank_weights(SCALE, is_dependent=True) is SCALE.follow_up_rank
