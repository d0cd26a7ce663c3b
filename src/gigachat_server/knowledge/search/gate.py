"""Which chunks of a big chatbot are worth scoring by their words: those whose stems weigh enough together.

The idea: BM25 of every chunk that holds any word of a prompt is out of reach when a third of 100,000 chunks hold a common
one. What a chunk scores is about the weight (idf times how often the prompt says it) of the stems it holds. So the least
weight is chosen that not too many chunks are expected to reach, and written as the sets of stems that reach it and hold no
smaller set that does: one rare stem may be enough by itself, two common ones together. The store finds the chunks that
hold all of any one set.

Invariant: pure; a stem that no chunk holds is in no set; if few chunks hold any stem, every stem is a set of its own and
nothing is missed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import numpy as np

Stem = TypeVar("Stem", str, tuple[str, ...])  # a word may be there as one of several stems

MOST_GATED = 8  # stems that take part, the heaviest; the others count only in the scores
# Stems of one prompt keep each other company: many more chunks hold several than would by chance.
_COMPANY = 4.0


def stem_sets(weights: Mapping[Stem, float], holding: Mapping[Stem, int], *, chunks: int, most: int) -> list[tuple[Stem, ...]]:
    """The sets of stems of which one must be in a chunk, so that about `most` of all the chunks qualify.

    `holding` says how many chunks hold each stem.
    """
    known = sorted((stem for stem in weights if holding.get(stem, 0) > 0), key=lambda stem: (-weights[stem], stem))
    stems = known[:MOST_GATED]
    if not stems:
        return []
    if sum(holding[stem] for stem in known) <= most:
        return [(stem,) for stem in known]
    members = (np.arange(1, 1 << len(stems))[:, None] >> np.arange(len(stems))) & 1  # a row for each set but the empty one
    weight = members @ np.array([weights[stem] for stem in stems])
    share = np.minimum([holding[stem] / max(chunks, 1) for stem in stems], 1.0)
    # How many chunks hold these stems and none of the others.
    expected = chunks * np.prod(np.where(members, share, 1 - share), axis=1)
    expected *= np.where(members.sum(axis=1) > 1, _COMPANY, 1.0)
    order = np.argsort(-weight, kind="stable")
    within = int(np.searchsorted(np.cumsum(expected[order]), most, side="right"))
    least = weight[order[max(within - 1, 0)]]
    reaching = members[weight >= least - 1e-9].astype(bool)
    # Without its lightest stem a set that is as small as can be falls short.
    lightest = len(stems) - 1 - np.argmax(reaching[:, ::-1], axis=1)
    rest = reaching @ np.array([weights[stem] for stem in stems]) - np.array([weights[stem] for stem in stems])[lightest]
    smallest = reaching[rest < least - 1e-9]
    return [tuple(stem for stem, is_in in zip(stems, row, strict=True) if is_in) for row in smallest]
