"""Fitting a scale of relevance: what a prompt teaches, what is left out, where .78 comes to lie."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random
from typing import Any

import msgspec
import numpy as np
import pytest

from gigachat_server.errors import SetupError
from gigachat_server.evaluation.measures import Question
from gigachat_server.evaluation.relevance.examples import (
    FEATURES,
    REMOVED,
    Example,
    PassageExample,
    PromptExample,
    example_weights,
    examples,
    row,
)
from gigachat_server.evaluation.relevance.figures import figures
from gigachat_server.evaluation.relevance.fit import BAR, Bars, fit, folds, has_prior, logit, named, without_prior
from gigachat_server.knowledge.search.relevance import Features, relevance
from gigachat_server.models.base import RelevanceScale


def passage(content: str = "text", **features: Any) -> PassageExample:
    return PassageExample(
        **{"name": "faq", "content": content, "cosine": 0.5, "coverage": 0.5, "margin": 0.1, "units": 30, **features}
    )


def asked(
    passages: Sequence[PassageExample], *, is_answerable: bool = True, evidence: str = "", searched: int = 30, **fields: Any
) -> PromptExample:
    defaults = {"id": "q", "collection": "c", "question": "?", "kind": "single", "document_name": "faq", "answers": ["gold"]}
    question = {**defaults, "answerable": is_answerable, "evidence": [evidence] if evidence else [], **fields}
    return PromptExample(question=msgspec.convert(question, Question), folder="f", passages=passages, searched=searched)


def test_a_row_is_what_the_parts_of_a_relevance_are_made_of() -> None:
    seen = passage(cosine=0.8, coverage=0.6, margin=0.05, prior=0.02, units=1000)
    assert dict(zip(FEATURES, row(seen), strict=True)) == pytest.approx(
        {"cosine": 0.8, "coverage": 0.6, "foreign": 0.0, "prior": 0.02, "margin": 0.05, "size": math.log(100)}
    )
    foreign = msgspec.structs.replace(seen, is_foreign=True)
    assert row(foreign)[1:3] == [0.0, 1.0], "words of another language say nothing"


def test_weights_that_are_fitted_give_the_relevance_that_a_server_computes() -> None:
    """A fit and a search must mean the same by each weight."""
    found = simulated(seed=3)
    fitted = fit(found, {}, bars=Bars())
    weights: dict[str, Any] = {**named(fitted.weights), "bias": fitted.weights.bias}
    scale = RelevanceScale(**weights)
    one = found[0]
    for number, (cosine, coverage, foreign, prior, margin, size) in enumerate(one.features):
        features = Features(
            cosine=cosine,
            coverage=coverage,
            is_foreign=bool(foreign),
            prior=prior,
            margin=margin,
            identified=0.0,
            units=round(math.exp(size)),
        )
        wanted = 1 / (1 + math.exp(-fitted.weights.logits(one)[number]))
        assert relevance(scale, features) == pytest.approx(wanted, abs=1e-9)


def test_an_answer_is_taken_away_with_all_passages_that_hold_it() -> None:
    sentence = "The gold answer stands in this very sentence of ten words."
    others = [passage(f"other {number}", cosine=0.7 - number / 100, margin=0.02 - number / 100) for number in range(8)]
    found = examples([asked([passage(sentence, cosine=0.9, margin=0.22), *others], evidence=sentence)])
    assert [(one.kind, one.is_answerable, one.teaches) for one in found] == [("single", True, True), (REMOVED, False, True)]
    first, removed = found
    assert first.gold.tolist() == [True, False, False]
    assert removed.features[0][FEATURES.index("cosine")] == 0.7
    assert removed.features[0][FEATURES.index("size")] == pytest.approx(math.log(30)), "nobody knows how many units went with it"
    # The fifth best was .68; without the answer it is the fifth of those that are left, .66.
    assert removed.features[0][FEATURES.index("margin")] == pytest.approx(0.04)


@pytest.mark.parametrize(
    "one",
    [
        asked([passage("gold sentence")] * 9, evidence=""),  # which passages answer is not known
        asked([passage("a gold sentence of words"), *[passage()] * 4], evidence="a gold sentence of words"),  # too few are left
        asked([passage("x"), *[passage()] * 9], evidence="a gold sentence of words"),  # nothing to take away
        asked([passage("a gold sentence of words"), *[passage()] * 9], evidence="a gold sentence of words", searched=7),
        asked([passage("gold")] * 9, is_answerable=False, evidence="gold"),
    ],
)
def test_what_cannot_be_taken_away_for_sure_is_left(one: PromptExample) -> None:
    assert [each.kind for each in examples([one])] == ["single"]


def test_a_prompt_whose_answer_was_not_found_counts_but_teaches_nothing() -> None:
    (missed,) = examples([asked([passage("nothing")] * 3)])
    (unanswerable,) = examples([asked([passage()], is_answerable=False)])
    (small_talk,) = examples([asked([], is_answerable=False)])
    assert [one.teaches for one in (missed, unanswerable, small_talk)] == [False, True, False]
    assert examples([asked([passage()], kind="underspecified")]) == []


def simulated(seed: int = 0, collections: int = 6, prompts: int = 40, *, prior: bool = True) -> list[Example]:
    """Prompts whose answerability depends on cosine and prior by a known rule; the first passage answers, the others do not."""
    chance = Random(seed)
    found = []
    for collection in range(collections):
        for number in range(prompts):
            is_answerable = number % 2 == 0
            kind = "single" if is_answerable else ("off_topic" if number % 4 == 1 else "near_miss")
            cosine = chance.gauss(0.86 if is_answerable else 0.80, 0.02)
            rows = [
                [
                    cosine - place * 0.03,
                    chance.random(),
                    0.0,
                    chance.gauss(0.0 if kind != "off_topic" else -0.05, 0.01) if prior else 0.0,
                    0.05 - place * 0.03,
                    math.log(10 + collection),
                ]
                for place in range(3)
            ]
            found.append(
                Example(
                    id=f"{collection}-{number}",
                    collection=f"c{collection}",
                    group="f",
                    kind=kind,
                    is_answerable=is_answerable,
                    features=np.array(rows),
                    given=np.zeros(3),
                    gold=np.array([is_answerable, False, False]),
                    teaches=True,
                    document=f"d{number % 5}",
                )
            )
    return found


def test_the_chosen_threshold_is_078_on_prompts_that_were_not_seen() -> None:
    found = simulated()
    fitted = fit(found, {}, bars=Bars({"off_topic": 0.95, "near_miss": 0.8}, {"off_topic": 0.8}))
    rates = figures(found, fitted).rates["f"]
    assert rates["right refusals, off_topic"].share >= 0.95
    assert rates["right refusals, near_miss"].share >= 0.8
    assert rates["false refusals"].share < 0.2
    assert rates["right refusals, generating, off_topic"].share >= 0.8
    assert rates["gold handed to a generating model"].share >= 1 - rates["false refusals"].share
    assert fitted.lenient_bar <= fitted.bar == logit(BAR)
    weights = named(fitted.weights)
    assert weights["cosine"] > 0 < weights["prior"]


def test_without_a_share_the_threshold_is_the_most_accurate_one() -> None:
    found = simulated()
    fitted = fit(found, {}, bars=Bars(present_offset=1.5))
    best = fitted.best
    positives = np.array([score for one, score in zip(found, best, strict=True) if one.is_answerable])
    negatives = np.array([score for one, score in zip(found, best, strict=True) if not one.is_answerable])

    def accuracy(bar: float) -> float:
        return float((positives >= bar).mean() + (negatives < bar).mean())

    assert accuracy(fitted.bar) == max(accuracy(bar) for bar in [*best, fitted.bar])
    assert fitted.bar - fitted.lenient_bar == pytest.approx(1.5)


def test_a_fit_is_the_same_each_time_and_in_any_order() -> None:
    found = simulated()
    first = fit(found, {}, bars=Bars())
    assert fit(simulated(), {}, bars=Bars()).weights == first.weights
    backwards = fit(found[::-1], {}, bars=Bars())
    assert backwards.weights.of_features == pytest.approx(first.weights.of_features)
    assert figures(found, first) == figures(found, fit(found, {}, bars=Bars()))


def test_scores_are_of_fits_that_did_not_see_the_collection() -> None:
    """A feature that tells the answer in one collection alone must not help there."""
    found = simulated(prior=False)
    leaked = [
        msgspec.structs.replace(one, features=one.features + np.array([0, 0, 0, one.is_answerable * 1.0, 0, 0]))
        if one.collection == "c0"
        else one
        for one in found
    ]
    plain, with_leak = fit(found, {}, bars=Bars()), fit(leaked, {}, bars=Bars())
    places = [place for place, one in enumerate(found) if one.collection == "c0"]
    for place in places:
        difference = (plain.scores[place] - plain.bar) - (with_leak.scores[place] - with_leak.bar)
        assert np.ptp(difference) < 1e-9
    assert named(with_leak.weights)["prior"] > 1


def test_collections_of_the_same_documents_are_left_out_by_halves_of_these() -> None:
    found = simulated(collections=4)
    parts = folds(found, ["c0", "c1"])
    assert sorted(place for part in parts for place in part) == list(range(len(found)))
    halves = [{found[place].document for place in part} for part in parts if found[part[0]].collection in ("c0", "c1")]
    assert len(halves) == 2
    assert halves[0].isdisjoint(halves[1])
    assert len(parts) == 4


def test_both_sides_of_a_group_weigh_the_same_and_doubtful_kinds_a_tenth() -> None:
    found = simulated(collections=2)
    found += [msgspec.structs.replace(one, id=one.id + "x", kind="adversarial") for one in found if not one.is_answerable]
    weights = example_weights(found, {"f": 2.0}, total=500)
    sides = np.array([one.is_answerable for one in found])
    assert weights[sides].sum() == pytest.approx(1000)
    assert weights[~sides].sum() == pytest.approx(1000)
    by_kind = {one.kind: weight for one, weight in zip(found, weights, strict=True)}
    assert by_kind["adversarial"] == pytest.approx(by_kind["near_miss"] / 10)


def test_what_identifiers_add_stays_as_it_is() -> None:
    found = [msgspec.structs.replace(one, given=np.array([4.0, 0.0, 0.0])) for one in simulated()]
    fitted = fit(found, {}, bars=Bars())
    plain = fit(simulated(), {}, bars=Bars())
    for one in found[:5]:
        added = fitted.weights.logits(one) - fitted.weights.logits(msgspec.structs.replace(one, given=np.zeros(3)))
        assert added.tolist() == pytest.approx([4.0, 0.0, 0.0])
    assert fitted.weights.bias < plain.weights.bias, "every best passage has it, so it says nothing by itself"


def test_a_scale_for_prompts_of_any_kind_does_not_know_the_prior() -> None:
    found = simulated()
    assert has_prior(found)
    general = without_prior(found)
    assert not has_prior(general)
    assert named(fit(general, {}, bars=Bars()).weights)["prior"] == 0.0


def test_of_what_nothing_can_be_learnt_is_told() -> None:
    with pytest.raises(SetupError, match="a fit needs 20 of either side"):
        fit(simulated(collections=1, prompts=30), {}, bars=Bars())
    with pytest.raises(SetupError, match="two collections or more"):
        fit(simulated(collections=1, prompts=60), {}, bars=Bars())
    with pytest.raises(SetupError, match="No unanswerable prompt has the kind 'single'"):
        fit(simulated(), {}, bars=Bars({"single": 0.9}))


def test_a_relevance_is_told_with_what_it_turned_out_to_mean() -> None:
    found = simulated(seed=1, collections=10)
    bins = figures(found, fit(found, {}, bars=Bars())).bins
    assert sum(each.counted for each in bins) == len(found)
    assert all(each.low <= each.relevance <= each.high for each in bins)
    assert all(each.answerable.low <= each.answerable.share <= each.answerable.high for each in bins)
    assert bins[0].answerable.share < 0.2 < 0.8 < bins[-1].answerable.share
