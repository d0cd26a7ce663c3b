"""Which stems a chunk must hold: few enough chunks qualify, and none that would have won is left out."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import pytest

from gigachat_server.knowledge.search.gate import stem_sets


def test_where_few_chunks_hold_any_stem_every_one_is_enough() -> None:
    assert stem_sets({"a": 5.0, "b": 1.0, "absent": 9.0}, {"a": 10, "b": 80}, chunks=1000, most=100) == [("a",), ("b",)]


def test_a_common_stem_is_not_enough_by_itself() -> None:
    sets = stem_sets({"rare": 6.0, "some": 3.0, "common": 1.0}, {"rare": 5, "some": 200, "common": 900}, chunks=1000, most=300)
    assert ("rare",) in sets
    assert ("common",) not in sets


def test_no_set_holds_another() -> None:
    weights = {f"stem{n}": 1.0 + n / 3 for n in range(8)}
    sets = [set(each) for each in stem_sets(weights, dict.fromkeys(weights, 3_000), chunks=10_000, most=500)]
    assert sets
    assert not [1 for one in sets for other in sets if one < other]


@pytest.mark.parametrize("weights, holding", [({}, {}), ({"a": 1.0}, {}), ({"a": 1.0}, {"a": 0})])
def test_unknown_stems_lead_nowhere(weights: dict[str, float], holding: dict[str, int]) -> None:
    assert stem_sets(weights, holding, chunks=100, most=10) == []


def test_a_single_stem_that_everybody_holds_is_all_there_is() -> None:
    assert stem_sets({"a": 0.1}, {"a": 100_000}, chunks=100_000, most=1_000) == [("a",)]


@pytest.mark.parametrize("seed", range(10))
def test_those_whose_stems_weigh_most_qualify(seed: int) -> None:
    dice = random.Random(seed)
    stems = {f"stem{n}": dice.uniform(0.001, 0.4) for n in range(6)}
    chunks = [{stem for stem, share in stems.items() if dice.random() < share} for _ in range(5_000)]
    holding = {stem: sum(stem in chunk for chunk in chunks) for stem in stems}
    weights = {stem: -share for stem, share in stems.items()}
    weights = {stem: 1.0 + weight for stem, weight in weights.items()}
    sets = stem_sets(weights, holding, chunks=len(chunks), most=400)
    qualified = [chunk for chunk in chunks if _qualifies(chunk, sets)]
    others = [chunk for chunk in chunks if not _qualifies(chunk, sets)]
    assert 0 < len(qualified) <= 800
    assert min(_weight(chunk, weights) for chunk in qualified) > max(_weight(chunk, weights) for chunk in others) - 1e-6


def _qualifies(chunk: set[str], sets: Sequence[Sequence[str]]) -> bool:
    return any(chunk.issuperset(each) for each in sets)


def _weight(chunk: set[str], weights: Mapping[str, float]) -> float:
    return sum(weights[stem] for stem in chunk)
