"""Groups prompts that ask much the same, so that an operator answers each question once. Pure.

Idea: prompts are taken in their order, and each joins the first prompt of a group that is near enough, the nearest of them,
or leads a new group. So a prompt that comes later never moves one that was there, and a group keeps its first prompt. Those of
the same words are one whatever their vectors; those without a vector are compared by the stems they share.

Invariant: time is linear in the prompts but for one product of matrices, so 10,000 prompts of which no two are alike take
about two seconds of one core.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from gigachat_server.language.terms import terms
from gigachat_server.language.words import SHARED_STEMS, may_ask_the_same, normalised
from gigachat_server.models.base import Matrix, Vector

_BLOCK = 512
_MOST_LOOKED_AT = 8  # first prompts that are near enough, nearest first
_MOST_STEMS = 64  # of one prompt
_MOST_STEMMED = 2_000  # characters of one prompt


class PromptVector(msgspec.Struct, frozen=True):
    """A prompt, and its vector where there is one."""

    id: str
    text: str
    vector: Vector | None = None


def group(prompts: Sequence[PromptVector], *, least_cosine: float) -> list[list[PromptVector]]:
    """The prompts, oldest first, in groups in the order of their first prompts."""
    same: dict[str, list[PromptVector]] = {}
    for prompt in prompts:
        same.setdefault(normalised(prompt.text), []).append(prompt)
    # Of each wording, the first that has a vector stands for it.
    wordings = [next((each for each in said if each.vector is not None), said[0]) for said in same.values()]
    leaders: list[int] = list(range(len(wordings)))
    for places in _by_dimension(wordings).values():
        vectors: Matrix = np.stack([wordings[place].vector for place in places])  # type: ignore[misc]
        texts = [wordings[place].text for place in places]
        for place, leader in zip(places, _led_by_vector(texts, vectors, least_cosine), strict=True):
            leaders[place] = places[leader]
    wordless = [place for place, wording in enumerate(wordings) if wording.vector is None]
    for place, leader in zip(wordless, _led_by_stems([wordings[place].text for place in wordless]), strict=True):
        leaders[place] = wordless[leader]
    groups: dict[int, list[PromptVector]] = {}
    for leader, said in zip(leaders, same.values(), strict=True):
        groups.setdefault(leader, []).extend(said)
    place_of = {prompt.id: place for place, prompt in enumerate(prompts)}
    ordered = [sorted(members, key=lambda prompt: place_of[prompt.id]) for members in groups.values()]
    return sorted(ordered, key=lambda members: place_of[members[0].id])


def _by_dimension(wordings: Sequence[PromptVector]) -> dict[int, list[int]]:
    """Places of those that can be compared: an embedding model that was replaced left vectors of another length."""
    found: dict[int, list[int]] = {}
    for place, wording in enumerate(wordings):
        if wording.vector is not None:
            found.setdefault(len(wording.vector), []).append(place)
    return found


def _led_by_vector(texts: Sequence[str], vectors: Matrix, least: float) -> list[int]:
    """For each text the place of the one that leads it, maybe itself."""
    led_by: list[int] = []
    leaders = np.empty_like(vectors)
    leader_places: list[int] = []
    for start in range(0, len(texts), _BLOCK):
        block = vectors[start : start + _BLOCK]
        earlier = block @ leaders[: len(leader_places)].T
        within = block @ block.T
        known = len(leader_places)
        for row in range(len(block)):
            place = start + row
            new = [at - start for at in leader_places[known:]]
            cosines = np.concatenate((earlier[row], within[row, new])) if new else earlier[row]
            leader = _nearest(texts, place, cosines, leader_places, least)
            if leader is None:
                leaders[len(leader_places)] = block[row]
                leader_places.append(place)
            led_by.append(place if leader is None else leader)
    return led_by


def _nearest(texts: Sequence[str], place: int, cosines: Vector, leader_places: Sequence[int], least: float) -> int | None:
    near = np.flatnonzero(cosines >= least)
    for at in near[np.argsort(-cosines[near], kind="stable")][:_MOST_LOOKED_AT].tolist():
        leader = leader_places[int(at)]
        if may_ask_the_same(texts[place], texts[leader]):
            return leader
    return None


def _led_by_stems(texts: Sequence[str]) -> list[int]:
    """The same by the share of stems; each stem knows the leaders that say it."""
    led_by: list[int] = []
    holding: dict[str, list[int]] = {}
    said_by: dict[int, frozenset[str]] = {}
    for place, text in enumerate(texts):
        said = frozenset(terms(text[:_MOST_STEMMED], None)[:_MOST_STEMS])
        leader = _most_shared(said, holding, said_by)
        if leader is None or not may_ask_the_same(text, texts[leader]):
            leader, said_by[place] = place, said
            for stem in said:
                holding.setdefault(stem, []).append(place)
        led_by.append(leader)
    return led_by


def _most_shared(said: frozenset[str], holding: dict[str, list[int]], said_by: dict[int, frozenset[str]]) -> int | None:
    # Whoever shares enough shares one of the rarest: there are more of them than may be missing.
    rarest = sorted(said, key=lambda stem: (len(holding.get(stem, ())), stem))[: int(len(said) * (1 - SHARED_STEMS)) + 1]
    candidates = sorted({leader for stem in rarest for leader in holding.get(stem, ())[-_BLOCK:]})
    shares = [len(said & said_by[leader]) / len(said | said_by[leader]) for leader in candidates]
    most = max(shares, default=0.0)
    return candidates[shares.index(most)] if most >= SHARED_STEMS else None
