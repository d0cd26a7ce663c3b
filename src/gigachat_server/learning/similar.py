"""Groups prompts that ask much the same, so that an operator answers each question once. Pure.

Idea: prompts are taken in their order, and each joins the first prompt of a group that is near enough, the nearest of them,
or leads a new group. So a prompt that comes later never moves one that was there, and a group keeps its first prompt: prompts
can be added as they come, and whole groups removed. Those of the same words are one whatever their vectors; those without a
vector are compared by the stems they share.

Invariant: time is linear in the prompts but for one product of matrices, so 10,000 prompts of which no two are alike take
about two seconds of one core, and each that is added later a moment.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence

import msgspec
import numpy as np

from gigachat_server.language.terms import terms
from gigachat_server.language.words import SHARED_STEMS, may_ask_the_same, normalised
from gigachat_server.models.base import Matrix, Vector

_BLOCK = 512
_MOST_LOOKED_AT = 8  # first prompts that are near enough, nearest first
_MOST_STEMS = 64  # of one prompt
_MOST_STEMMED = 2_000  # characters of one prompt
_LONGEST_LED = 4_000  # characters of a first prompt that are kept, to compare others with


class PromptVector(msgspec.Struct, frozen=True):
    """A prompt, and its vector where there is one."""

    id: str
    text: str
    vector: Vector | None = None


class Member(msgspec.Struct, frozen=True):
    """A prompt of a group, and its place in the order of all prompts."""

    place: int
    id: str


class Grouping:
    """Prompts in groups, as far as they were added. A group is known by the number of the wording that leads it."""

    def __init__(self, *, least_cosine: float) -> None:
        self._vectors: dict[int, _VectorLeaders] = {}  # by dimension: a model that was replaced left others
        self._stems = _StemLeaders()
        self._least = least_cosine
        self._leader_of: dict[bytes, int] = {}  # by wording
        self._wordings: dict[int, list[bytes]] = {}  # that a leader leads
        self._members: dict[int, list[Member]] = {}
        self._added = 0
        self._wordings_added = 0

    @property
    def groups(self) -> list[list[Member]]:
        """Each in the order of its prompts, and the groups in the order of their first."""
        return sorted(self._members.values(), key=lambda members: members[0].place)

    def add(self, prompts: Sequence[PromptVector]) -> None:
        """Prompts that come after all that were added before, oldest first."""
        wordings = [_wording(prompt.text) for prompt in prompts]
        standing: dict[bytes, PromptVector] = {}  # of each new wording, the first that has a vector stands for it
        for wording, prompt in zip(wordings, prompts, strict=True):
            if wording not in self._leader_of and (wording not in standing or standing[wording].vector is None):
                standing[wording] = prompt if prompt.vector is not None else standing.get(wording, prompt)
        self._lead(list(standing), list(standing.values()))
        for wording, prompt in zip(wordings, prompts, strict=True):
            self._members.setdefault(self._leader_of[wording], []).append(Member(self._added, prompt.id))
            self._added += 1

    def _lead(self, wordings: Sequence[bytes], prompts: Sequence[PromptVector]) -> None:
        """Find who leads each new wording, maybe itself."""
        by_dimension: dict[int, list[tuple[int, str, Vector]]] = {}
        leaders: dict[int, int] = {}
        for number, prompt in enumerate(prompts, self._wordings_added):
            if prompt.vector is None:
                leaders[number] = self._stems.join(number, prompt.text)
            else:
                by_dimension.setdefault(len(prompt.vector), []).append((number, prompt.text, prompt.vector))
        for dimension, said in by_dimension.items():
            known = self._vectors.setdefault(dimension, _VectorLeaders(dimension, self._least))
            for start in range(0, len(said), _BLOCK):
                leaders.update(known.join(said[start : start + _BLOCK]))
        for number, wording in enumerate(wordings, self._wordings_added):
            self._leader_of[wording] = leaders[number]
            self._wordings.setdefault(leaders[number], []).append(wording)
        self._wordings_added += len(wordings)

    def remove(self, ids: Collection[str]) -> bool:
        """Whether these prompts were whole groups, which are gone then; if not, all are as they were."""
        removed = [leader for leader, members in self._members.items() if any(each.id in ids for each in members)]
        if not all(each.id in ids for leader in removed for each in self._members[leader]):
            return False
        for leader in removed:
            del self._members[leader]
            for wording in self._wordings.pop(leader):
                del self._leader_of[wording]
            self._stems.remove(leader)
            for leaders in self._vectors.values():
                leaders.remove(leader)
        return True


def group(prompts: Sequence[PromptVector], *, least_cosine: float) -> list[list[PromptVector]]:
    """The prompts, oldest first, in groups in the order of their first prompts."""
    grouping = Grouping(least_cosine=least_cosine)
    grouping.add(prompts)
    return [[prompts[member.place] for member in members] for members in grouping.groups]


def _wording(text: str) -> bytes:
    """The same for prompts of the same words, however long they are."""
    return hashlib.sha256(normalised(text).encode("utf-8", "surrogatepass")).digest()


class _VectorLeaders:
    """First prompts of groups, compared by their vectors."""

    def __init__(self, dimension: int, least: float) -> None:
        self._least = least
        self._matrix: Matrix = np.zeros((_BLOCK, dimension), np.float32)
        self._numbers: list[int] = []  # by row
        self._texts: dict[int, str] = {}

    def join(self, said: Sequence[tuple[int, str, Vector]]) -> dict[int, int]:
        """For each number that of the one that leads it, maybe its own."""
        led_by: dict[int, int] = {}
        block: Matrix = np.stack([vector for _, _, vector in said])
        known = len(self._numbers)
        earlier = block @ self._matrix[:known].T
        within = block @ block.T
        new: list[int] = []  # rows of the block that lead now
        for row, (number, text, vector) in enumerate(said):
            cosines = np.concatenate((earlier[row], within[row, new])) if new else earlier[row]
            leader = self._nearest(text[:_LONGEST_LED], cosines)
            if leader is None:
                new.append(row)
                self._append(number, text[:_LONGEST_LED], vector)
            led_by[number] = number if leader is None else leader
        return led_by

    def _nearest(self, text: str, cosines: Vector) -> int | None:
        near = np.flatnonzero(cosines >= self._least)
        for row in near[np.argsort(-cosines[near], kind="stable")][:_MOST_LOOKED_AT].tolist():
            leader = self._numbers[int(row)]
            if leader in self._texts and may_ask_the_same(text, self._texts[leader]):
                return leader
        return None

    def _append(self, number: int, text: str, vector: Vector) -> None:
        count = len(self._numbers)
        if count == len(self._matrix):
            self._matrix = np.concatenate((self._matrix, np.zeros_like(self._matrix)))
        self._matrix[count] = vector
        self._numbers.append(number)
        self._texts[number] = text

    def remove(self, number: int) -> None:
        if self._texts.pop(number, None) is not None:
            self._matrix[self._numbers.index(number)] = 0


class _StemLeaders:
    """First prompts of groups, compared by the stems they say; each stem knows the leaders that say it."""

    def __init__(self) -> None:
        self._holding: dict[str, list[int]] = {}
        self._said_by: dict[int, frozenset[str]] = {}
        self._texts: dict[int, str] = {}

    def join(self, number: int, text: str) -> int:
        """The number of the one that leads it, maybe its own."""
        said = frozenset(terms(text[:_MOST_STEMMED], None)[:_MOST_STEMS])
        leader = _most_shared(said, self._holding, self._said_by)
        if leader is not None and may_ask_the_same(text[:_LONGEST_LED], self._texts[leader]):
            return leader
        self._said_by[number], self._texts[number] = said, text[:_LONGEST_LED]
        for stem in said:
            self._holding.setdefault(stem, []).append(number)
        return number

    def remove(self, number: int) -> None:
        self._texts.pop(number, None)
        for stem in self._said_by.pop(number, ()):
            self._holding[stem].remove(number)


def _most_shared(said: frozenset[str], holding: dict[str, list[int]], said_by: dict[int, frozenset[str]]) -> int | None:
    # Whoever shares enough shares one of the rarest: there are more of them than may be missing.
    rarest = sorted(said, key=lambda stem: (len(holding.get(stem, ())), stem))[: int(len(said) * (1 - SHARED_STEMS)) + 1]
    candidates = sorted({leader for stem in rarest for leader in holding.get(stem, ())[-_BLOCK:]})
    shares = [len(said & said_by[leader]) / len(said | said_by[leader]) for leader in candidates]
    most = max(shares, default=0.0)
    return candidates[shares.index(most)] if most >= SHARED_STEMS else None
