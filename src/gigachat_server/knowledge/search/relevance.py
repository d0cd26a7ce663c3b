"""Does this passage answer this prompt: the order of passages, and the relevance that `match_threshold` is compared with.

The idea: what a search knows of a passage and its prompt is a handful of features, and both the order and the relevance are
weighted sums of them, with the weights of the embedder (`RelevanceScale`). The order asks which passage is best; the
relevance asks whether the best is good enough, so it also counts what is the same for all passages of a prompt: what kind of
prompt it is, how many chunks there were to choose from, and by how much this one stands out.

Invariant: pure; the same features give the same order and relevance whichever store found them, and the parts that
`parts` names are all there is to a relevance.
"""

from __future__ import annotations

import math
from typing import TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from gigachat_server.models.base import Passage, RankWeights, RelevanceScale

Numbers = TypeVar("Numbers", float, npt.NDArray[np.float64])

# More units make a chance match likelier, up to so many. Chatbots with fewer than the least were in no fit: as if they had that
# many, since "tell me a joke" is as far from two documents as from ten.
LEAST_UNITS, MOST_UNITS = 10, 100
_LARGEST = 60.0  # of a logit: beyond it a relevance is 0 or 1 to every digit


class Features(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one passage of one retrieval.

    `cosine`: of the chunk's best unit to what was searched for. `coverage`: the share of the prompt's idf that the chunk
    holds, from 0 to 1; words that are alike count in part. `is_foreign`: prompt and document are in different languages, so
    words say nothing. `prior`: how much nearer the prompt is to customers' questions than to small talk and trivia.
    `margin`: the cosine less that of the chatbot's fifth best unit. `identified`: 1 if the chunk holds an identifier of the
    prompt, -1 if the prompt has identifiers and no chunk holds any, else 0. `units`: how many the chatbot has, or as many as
    `MOST_UNITS`; the same facts are as many in one file as in twelve.
    """

    cosine: float
    coverage: float
    is_foreign: bool
    prior: float
    margin: float
    identified: float
    units: int


def features_of(passage: Passage) -> Features:
    """Those that a passage was judged by."""
    return Features(
        cosine=passage.cosine,
        coverage=passage.coverage,
        is_foreign=passage.is_foreign,
        prior=passage.prior,
        margin=passage.margin,
        identified=passage.identified,
        units=passage.units,
    )


def rank_weights(scale: RelevanceScale, *, is_dependent: bool) -> RankWeights:
    """What orders the passages of a prompt: one that leans on the conversation is found by words more than by its vector."""
    return scale.follow_up_rank if is_dependent else scale.rank


def rank_scores(weights: RankWeights, *, cosine: Numbers, coverage: Numbers, lexical: Numbers, identified: Numbers) -> Numbers:
    """The order of passages, the greatest first. `lexical` is BM25 over the best BM25 of the retrieval."""
    return (
        weights.cosine * cosine + weights.coverage * coverage + weights.lexical * lexical + weights.identified * (identified > 0)
    )


def relevance(scale: RelevanceScale, features: Features, *, is_lenient: bool = False) -> float:
    """How likely the passage answers the prompt, from 0 to 1.

    `is_lenient`: a model that generates reads it, and judges for itself, so less is demanded.
    """
    logit = sum(parts(scale, features, is_lenient=is_lenient).values())
    return 1 / (1 + math.exp(-min(max(logit, -_LARGEST), _LARGEST)))


def eased(scale: RelevanceScale, strict: float) -> float:
    """The relevance on the lenient scale of a passage that has this one on the strict scale."""
    if not 0 < strict < 1:
        return strict
    return 1 / (1 + (1 - strict) / strict * math.exp(-scale.leniency))


def parts(scale: RelevanceScale, features: Features, *, is_lenient: bool = False) -> dict[str, float]:
    """What each feature adds to the logit of the relevance: why a passage was found relevant, or was not."""
    words = 0.0 if features.is_foreign else scale.coverage * features.coverage
    return {
        "cosine": scale.cosine * features.cosine,
        "coverage": words,
        "foreign": scale.foreign if features.is_foreign else 0.0,
        "prior": scale.prior * features.prior,
        "margin": scale.margin * features.margin,
        "size": scale.size * math.log(min(max(features.units, LEAST_UNITS), MOST_UNITS)),
        "identified": scale.identified * max(features.identified, 0.0) + scale.unidentified * max(-features.identified, 0.0),
        "bias": scale.bias + (scale.leniency if is_lenient else 0.0),
    }
