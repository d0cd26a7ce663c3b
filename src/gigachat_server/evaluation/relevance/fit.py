"""A ridge regression of relevance on features, its scores on prompts it has not seen, and the bias that gives .78 its meaning.

Idea: each prompt counts with one passage: an answerable prompt with the best that answers it, any other with the best of all.
The best depends on the weights, so fitting and choosing alternate until nothing changes. The quality of a fit comes from
prompts whose whole collection it did not see. The bias is then set so that the chosen threshold of these scores is .78,
whatever the embedder.

Invariant: pure and deterministic; the same examples give the same scale.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

import msgspec
import numpy as np

from gigachat_server.errors import SetupError
from gigachat_server.evaluation.relevance.examples import FEATURES, Array, Example, example_weights

BAR = 0.78  # the relevance that the chosen threshold gets

_RIDGE = 1.0
_TOTAL = 500.0  # what one side of a group of weight 1 weighs: 500 prompts
_MOST_CHOICES = 5
_MOST_STEPS = 25
_FEWEST = 20  # prompts of either side


class Weights(msgspec.Struct, frozen=True):
    """logit = sum of weight times feature + bias, and what is given."""

    of_features: tuple[float, ...]
    bias: float

    def logits(self, one: Example) -> Array:
        found: Array = one.features @ np.array(self.of_features) + self.bias + one.given
        return found


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """A scale, and the scores that it did not see: each passage of each example, out of fold, on the scale's own logits.

    `bar` is logit(.78); a passage of at least `bar` matches, and for a model that generates one of at least `lenient_bar`.
    """

    weights: Weights
    scores: list[Array]
    bar: float
    lenient_bar: float

    @property
    def best(self) -> Array:
        """The best score of each example: what decides whether it is refused. Nothing found is below everything."""
        return best_scores(self.scores)


class Bars(msgspec.Struct, frozen=True):
    """Which share of which kinds a threshold must refuse. Empty: the threshold of the best balanced accuracy."""

    quoting: Mapping[str, float] = {}
    generating: Mapping[str, float] = {}
    present_offset: float = 0.0  # by which a generating model's bar is lower, where no share is told for it


def without_prior(found: Sequence[Example]) -> list[Example]:
    """The examples without the prior of a prompt: for chatbots that are asked about anything."""
    known = np.array([name != "prior" for name in FEATURES])
    return [msgspec.structs.replace(one, features=one.features * known) for one in found]


def has_prior(found: Sequence[Example]) -> bool:
    return any(one.features[:, FEATURES.index("prior")].any() for one in found)


def fit(found: Sequence[Example], groups: Mapping[str, float], *, bars: Bars, together: Sequence[str] = ()) -> Fit:
    """The scale of all examples, and what it does out of fold. Raises `SetupError` where there are too few."""
    sides = [sum(one.teaches and one.is_answerable is side for one in found) for side in (True, False)]
    if min(sides) < _FEWEST:
        raise SetupError(f"{sides[0]} answerable and {sides[1]} other prompts are usable: a fit needs {_FEWEST} of either side.")
    weights = example_weights(found, dict(groups), total=_TOTAL)
    parts = folds(found, together)
    if len(parts) < 2:
        raise SetupError("A fit needs two collections or more: it is tried on collections that it was not made from.")
    scores: list[Array] = [np.zeros(0)] * len(found)
    for tried in parts:
        held_out = set(tried)
        seen = [place for place in range(len(found)) if place not in held_out]
        of_others = _fit([found[place] for place in seen], weights[seen])
        for place in tried:
            scores[place] = of_others.logits(found[place])
    best = best_scores(scores)
    threshold = _threshold(found, best, bars.quoting)
    lenient = _threshold(found, best, bars.generating) if bars.generating else threshold - bars.present_offset
    shift = logit(BAR) - threshold
    whole = _fit(found, weights)
    return Fit(
        weights=msgspec.structs.replace(whole, bias=whole.bias + shift),
        scores=[of_one + shift for of_one in scores],
        bar=logit(BAR),
        lenient_bar=min(lenient, threshold) + shift,
    )


def best_scores(scores: Sequence[Array]) -> Array:
    return np.array([of_one.max() if len(of_one) else -np.inf for of_one in scores])


def logit(share: float) -> float:
    return math.log(share / (1 - share))


# --- one fit ---


def _fit(found: Sequence[Example], weights: Array) -> Weights:
    taught = [(one, weight) for one, weight in zip(found, weights, strict=True) if one.teaches and len(one.features)]
    all_rows = np.concatenate([one.features for one, _ in taught])
    mean, spread = all_rows.mean(0), all_rows.std(0)
    spread[spread < 1e-9] = 1.0
    standardised = [(one.features - mean) / spread for one, _ in taught]
    sides = np.array([float(one.is_answerable) for one, _ in taught])
    importance = np.array([weight for _, weight in taught])
    given = [one.given for one, _ in taught]
    chosen = [int(one.gold.argmax()) if one.gold.any() else 0 for one, _ in taught]
    for _ in range(_MOST_CHOICES):
        rows = np.stack([rows[place] for rows, place in zip(standardised, chosen, strict=True)])
        solution = _ridge(rows, np.array([each[place] for each, place in zip(given, chosen, strict=True)]), sides, importance)
        better = [
            int(np.where(one.gold if one.gold.any() else True, rows @ solution[:-1] + one.given, -np.inf).argmax())
            for (one, _), rows in zip(taught, standardised, strict=True)
        ]
        if better == chosen:
            break
        chosen = better
    of_features = solution[:-1] / spread
    return Weights(tuple(map(float, of_features)), float(solution[-1] - of_features @ mean))


def _ridge(rows: Array, given: Array, sides: Array, importance: Array) -> Array:
    """The logistic regression by Newton's method; the last number is the bias, which is not held small."""
    rows = np.column_stack([rows, np.ones(len(rows))])
    held = np.append(np.full(rows.shape[1] - 1, 1 / _RIDGE), 1e-6)
    solution = np.zeros(rows.shape[1])
    for _ in range(_MOST_STEPS):
        likely = 1 / (1 + np.exp(-np.clip(rows @ solution + given, -30, 30)))
        slope = rows.T @ (importance * (likely - sides)) + held * solution
        curvature = (rows * (importance * likely * (1 - likely))[:, None]).T @ rows + np.diag(held)
        step = np.linalg.solve(curvature, slope)
        solution -= step
        if np.abs(step).max() < 1e-6:
            break
    return solution


# --- what is left out together ---


def folds(found: Sequence[Example], together: Sequence[str] = ()) -> list[list[int]]:
    """The places of the examples, in the parts that are left out in turn: a collection each.

    Collections that match one of the patterns are about the same documents: they are left out together, by halves of these.
    """
    parts: dict[str, list[int]] = {}
    for place, one in enumerate(found):
        is_shared = any(fnmatchcase(one.collection, pattern) for pattern in together)
        parts.setdefault(f"half {_half(one)}" if is_shared else f"collection {one.collection}", []).append(place)
    return list(parts.values())


def _half(one: Example) -> int:
    named = (one.document or one.id).lower().replace(" ", "_")
    return hashlib.sha256(named.encode()).digest()[0] % 2


# --- thresholds ---


def _threshold(found: Sequence[Example], best: Array, shares: Mapping[str, float]) -> float:
    if not shares:
        return _most_accurate(found, best)
    thresholds = []
    for kind, share in shares.items():
        of_kind = best[[place for place, one in enumerate(found) if one.kind == kind and not one.is_answerable]]
        if not len(of_kind):
            raise SetupError(f"No unanswerable prompt has the kind {kind!r}.")
        thresholds.append(_refusing(of_kind, share))
    return max(thresholds)


def _refusing(scores: Array, share: float) -> float:
    """The threshold below which that share of the scores lies: halfway to the next."""
    ordered = np.sort(scores)
    below = math.ceil(share * len(ordered) - 1e-9)
    if below == 0:
        return float(ordered[0])
    if below == len(ordered):
        return float(ordered[-1]) + 1e-6
    lower, upper = float(ordered[below - 1]), float(ordered[below])
    return (lower + upper) / 2 if math.isfinite(lower) else upper


def _most_accurate(found: Sequence[Example], best: Array) -> float:
    """The threshold of the best mean of answered answerable and refused unanswerable prompts, removed answers aside."""
    counted = [place for place, one in enumerate(found) if not one.is_removed and math.isfinite(best[place])]
    positives = np.sort([best[place] for place in counted if found[place].is_answerable])
    negatives = np.sort([best[place] for place in counted if not found[place].is_answerable])
    if not len(positives) or not len(negatives):
        raise SetupError("There must be prompts that the documents answer, and prompts that they do not.")
    values = np.unique(np.concatenate([positives, negatives]))
    middles = np.append((values[1:] + values[:-1]) / 2, values[-1] + 1e-6)
    accuracy = np.searchsorted(negatives, middles) / len(negatives) - np.searchsorted(positives, middles) / len(positives)
    equally_good = middles[accuracy >= accuracy.max() - 1e-12]
    return float(equally_good[len(equally_good) // 2])


def named(weights: Weights) -> dict[str, float]:
    return dict(zip(FEATURES, weights.of_features, strict=True))
