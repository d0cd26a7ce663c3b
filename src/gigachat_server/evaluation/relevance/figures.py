"""How good a fitted scale is on prompts that it did not see: rates with intervals, and calibration.

Invariant: pure; the intervals are drawn with a fixed seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from gigachat_server.evaluation.relevance.examples import Array, Example
from gigachat_server.evaluation.relevance.fit import Fit

STEPS = 10  # of the calibration

_ROUNDS = 1000
_FEWEST_COLLECTIONS = 5  # to draw from them; else prompts are drawn


class Rate(msgspec.Struct, frozen=True):
    """A share of `counted` prompts, and between which bounds 95 of 100 samples of them have it."""

    share: float
    counted: int
    low: float
    high: float


class Bin(msgspec.Struct, frozen=True):
    """The prompts whose best passage has a relevance from `low` to `high`: their mean relevance, and how many are answerable."""

    low: float
    high: float
    counted: int
    relevance: float
    answerable: Rate


class Figures(msgspec.Struct, frozen=True):
    """`rates` of each group of examples by name; `bins` of all of them, without those whose answer was removed."""

    rates: dict[str, dict[str, Rate]]
    bins: list[Bin]


def figures(found: Sequence[Example], fitted: Fit) -> Figures:
    """What the scale does to prompts of collections that it did not see."""
    groups = list(dict.fromkeys(one.group for one in found))
    return Figures({group: _rates(found, fitted, group) for group in groups}, _bins(found, fitted))


def _rates(found: Sequence[Example], fitted: Fit, group: str) -> dict[str, Rate]:
    best = fitted.best
    refused, refused_leniently = best < fitted.bar, best < fitted.lenient_bar
    handed = np.array(
        [bool((one.gold & (score >= fitted.lenient_bar)).any()) for one, score in zip(found, fitted.scores, strict=True)]
    )
    of_group = [place for place, one in enumerate(found) if one.group == group]
    rates: dict[str, Rate] = {}

    def add(name: str, happened: npt.NDArray[np.bool_], counts: Callable[[Example], bool]) -> None:
        places = [place for place in of_group if counts(found[place])]
        if places:
            rates[name] = _rate(happened[places], [found[place].collection for place in places])

    def of_kind(kind: str) -> Callable[[Example], bool]:
        return lambda one: one.kind == kind

    kinds = list(dict.fromkeys(found[place].kind for place in of_group))
    answerable = [kind for kind in kinds if any(one.is_answerable for one in found if one.kind == kind)]
    others = [kind for kind in kinds if kind not in answerable]
    add("false refusals", refused, lambda one: one.is_answerable)
    for kind in answerable if len(answerable) > 1 else ():
        add(f"false refusals, {kind}", refused, of_kind(kind))
    for kind in others:
        add(f"right refusals, {kind}", refused, of_kind(kind))
    add("gold handed to a generating model", handed, lambda one: one.is_answerable)
    add("false refusals, generating", refused_leniently, lambda one: one.is_answerable)
    for kind in others:
        add(f"right refusals, generating, {kind}", refused_leniently, of_kind(kind))
    return rates


def _rate(happened: npt.NDArray[np.bool_], collections: Sequence[str]) -> Rate:
    names, numbers = np.unique(np.array(collections), return_inverse=True)
    if len(names) < _FEWEST_COLLECTIONS:
        names, numbers = np.arange(len(happened)), np.arange(len(happened))
    hits = np.bincount(numbers, weights=happened, minlength=len(names))
    counts = np.bincount(numbers, minlength=len(names))
    drawn = np.random.default_rng(0).integers(0, len(names), (_ROUNDS, len(names)))
    shares = hits[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.percentile(shares, [2.5, 97.5])
    return Rate(round(float(happened.mean()), 4), len(happened), round(float(low), 4), round(float(high), 4))


def _bins(found: Sequence[Example], fitted: Fit) -> list[Bin]:
    counted = [place for place, one in enumerate(found) if not one.is_removed]
    relevance = _sigmoid(fitted.best[counted])
    answerable = np.array([found[place].is_answerable for place in counted])
    bins = []
    for step in range(STEPS):
        low, high = step / STEPS, (step + 1) / STEPS
        within = (relevance >= low) & ((relevance < high) | (step == STEPS - 1))
        if within.any():
            share = _wilson(int(answerable[within].sum()), int(within.sum()))
            bins.append(Bin(low, high, int(within.sum()), round(float(relevance[within].mean()), 4), share))
    return bins


def _sigmoid(logits: Array) -> Array:
    return 1 / (1 + np.exp(-np.clip(logits, -60, 60)))


def _wilson(hits: int, counted: int) -> Rate:
    """A share with the bounds of Wilson's interval, which holds for few prompts too."""
    z, share = 1.96, hits / counted
    middle = (share + z * z / (2 * counted)) / (1 + z * z / counted)
    half = z / (1 + z * z / counted) * math.sqrt(share * (1 - share) / counted + z * z / (4 * counted * counted))
    return Rate(round(share, 4), counted, round(max(0.0, middle - half), 4), round(min(1.0, middle + half), 4))
