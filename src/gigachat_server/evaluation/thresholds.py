"""Suggests the `match_threshold` that best separates answerable from unanswerable questions.

Idea: a question is refused if its score, that of the best passage for a reply, is below the threshold; so the effect of any
threshold on questions already asked is known without asking again. The suggestion has the best balanced accuracy: the mean of
the share of answerable questions that are answered and of unanswerable ones that are refused.

Invariant: pure, and independent of the order of questions. The figures of a suggestion are cross-validated: a threshold is
chosen on four fifths of the questions and tried on the fifth, five times.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence

import msgspec

FEWEST = 20  # questions of either kind from which a threshold can be told
_SPLITS = 5
GRID = tuple(step / 100 for step in range(101))


class ScoredQuestion(msgspec.Struct, frozen=True):
    """A question as a threshold sees it."""

    id: str
    is_answerable: bool
    score: float


class Rates(msgspec.Struct, frozen=True):
    """What a threshold does: the shares of answerable and of unanswerable questions that are refused."""

    threshold: float
    false_refusals: float
    right_refusals: float

    @property
    def balanced_accuracy(self) -> float:
        return (1 - self.false_refusals + self.right_refusals) / 2


class ThresholdCheck(msgspec.Struct, frozen=True):
    """What thresholds chosen elsewhere did to each question, and between which these thresholds were."""

    false_refusals: float
    right_refusals: float
    lowest: float
    highest: float

    @property
    def balanced_accuracy(self) -> float:
        return (1 - self.false_refusals + self.right_refusals) / 2


class Suggestion(msgspec.Struct, frozen=True, kw_only=True):
    """`suggested` and `checked` are None where there are too few questions of one kind to tell."""

    answerable: int
    unanswerable: int
    present: Rates | None
    suggested: Rates | None = None
    checked: ThresholdCheck | None = None

    @property
    def is_better(self) -> bool:
        """Whether thresholds chosen so did better than the present one on questions they had not seen, by a standard error."""
        if self.checked is None or self.present is None:
            return False
        wrongly, rightly = self.checked.false_refusals, self.checked.right_refusals
        variance = wrongly * (1 - wrongly) / self.answerable + rightly * (1 - rightly) / self.unanswerable
        return self.checked.balanced_accuracy - self.present.balanced_accuracy > math.sqrt(variance) / 2


class Tally:
    """The scores of some questions, of which any threshold can be asked."""

    def __init__(self, scored: Iterable[ScoredQuestion]) -> None:
        questions = list(scored)
        self.answerable = sorted(question.score for question in questions if question.is_answerable)
        self.unanswerable = sorted(question.score for question in questions if not question.is_answerable)

    def rates(self, threshold: float) -> Rates:
        return Rates(threshold, _share_below(self.answerable, threshold), _share_below(self.unanswerable, threshold))

    def best(self) -> float:
        """The middle one of the thresholds of best balanced accuracy, in steps of .01."""
        accuracies = [round(self.rates(threshold).balanced_accuracy, 9) for threshold in GRID]
        equally_good = [threshold for threshold, accuracy in zip(GRID, accuracies, strict=True) if accuracy == max(accuracies)]
        return equally_good[len(equally_good) // 2]


def suggest(scored: Sequence[ScoredQuestion], *, present: float) -> Suggestion:
    """A better threshold than the current one, if there is one, with its cross-validated figures."""
    tally = Tally(scored)
    answerable, unanswerable = len(tally.answerable), len(tally.unanswerable)
    rates = tally.rates(present) if answerable and unanswerable else None
    if min(answerable, unanswerable) < FEWEST:
        return Suggestion(answerable=answerable, unanswerable=unanswerable, present=rates)
    return Suggestion(
        answerable=answerable,
        unanswerable=unanswerable,
        present=rates,
        suggested=tally.rates(tally.best()),
        checked=_check(scored),
    )


def _check(scored: Sequence[ScoredQuestion]) -> ThresholdCheck:
    chosen: list[float] = []
    refused: dict[bool, list[bool]] = {True: [], False: []}
    for tried in _split(scored):
        ids = {question.id for question in tried}
        threshold = Tally(question for question in scored if question.id not in ids).best()
        chosen.append(threshold)
        for question in tried:
            refused[question.is_answerable].append(question.score < threshold)
    return ThresholdCheck(_share(refused[True]), _share(refused[False]), min(chosen), max(chosen))


def _split(scored: Sequence[ScoredQuestion]) -> list[list[ScoredQuestion]]:
    """Parts with the same share of either kind; which question is in which hangs on its id alone."""
    in_order = sorted(scored, key=lambda question: hashlib.sha256(question.id.encode()).digest())
    parts: list[list[ScoredQuestion]] = [[] for _ in range(_SPLITS)]
    for is_answerable in (True, False):
        of_kind = [question for question in in_order if question.is_answerable is is_answerable]
        for place, question in enumerate(of_kind):
            parts[place % _SPLITS].append(question)
    return parts


def _share_below(ordered: Sequence[float], threshold: float) -> float:
    return bisect_left(ordered, threshold) / len(ordered) if ordered else 0.0


def _share(refused: Sequence[bool]) -> float:
    return sum(refused) / len(refused)
