"""Which statements make a reply, and in which order: what a person would have copied out of the documents. Pure.

The idea: the best statement is said first, and others behind it while it is not sure enough that the answer is among them. What
directly follows one that is said stands behind it. A statement is never said without what it needs to be understood: the items
of a list that it announces, the announcement of its list, the sentence that its "it" or "then" points back to, the "No." before
its reason.

Invariants: what is said is whole statements, each once; at least one where there is any; and no more than the budget allows but
for the first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from gigachat_server.models.quoting.asked import PromptKinds
from gigachat_server.models.quoting.dependence import is_yes_or_no, points_back
from gigachat_server.models.quoting.lines import leads_in
from gigachat_server.models.quoting.parse import Statement
from gigachat_server.models.quoting.score import Candidate, Numbers, ReadPassage, can_answer, softmax

MOST_GROUPS = 4
SURE_ENOUGH = 0.95  # so sure that the answer has been said that no more is
MOST_WORDS = 75
MOST_WORDS_OF_TWO = 85  # what the second may take the reply to
_LIST_WORDS = 60  # of the items that an announcement takes with it
_STEPS_WORDS = 70  # of a list that is said whole to who asks how
_FOLLOWING_WORDS = 45
_SAME_DOCUMENT, _FOLLOWING = 0.5, 1.0  # what the first statement adds to the scores of others
_NEVER = -np.inf

_LONG = 12  # characters: a shorter text stands in another only by whole words
_UNSPACED_WORDS = 0.6  # words that a character is where no blanks part them


class Place(NamedTuple):
    """A statement: the number of its passage and its own, from 0."""

    passage: int
    number: int


class Reply(NamedTuple):
    """What is said, in order, and how sure it is that the first of it is the answer."""

    places: tuple[Place, ...]
    confidence: float


def compose(
    found: Sequence[Candidate],
    scores: Numbers,
    read: Sequence[ReadPassage],
    document_ids: Sequence[str],
    asked: PromptKinds,
    *,
    most_characters: int,
    most_passages: int,
    left_out: Sequence[Place] = (),
) -> Reply:
    """The reply made of these candidates. `left_out`: what another alternative has said."""
    composer = _Composer(found, scores, read, document_ids, asked, most_characters, most_passages, left_out)
    composer.choose()
    return Reply(tuple(composer.in_order()), composer.confidence)


class _Composer:
    def __init__(
        self,
        found: Sequence[Candidate],
        scores: Numbers,
        read: Sequence[ReadPassage],
        document_ids: Sequence[str],
        asked: PromptKinds,
        most_characters: int,
        most_passages: int,
        left_out: Sequence[Place],
    ) -> None:
        self._found, self._read, self._asked = found, read, asked
        self._document_ids = document_ids
        self._most_characters, self._most_passages = most_characters, most_passages
        self._scores = scores.astype(np.float64)
        self._quoted_elsewhere = {place.passage for place in left_out}
        self._said: list[str] = [self._statement(place).text.casefold() for place in left_out]
        for row, candidate in enumerate(found):
            if self._is_said(candidate.statement.text):
                self._scores[row] = _NEVER
        self._shares = softmax(self._scores) if np.isfinite(self._scores).any() else np.zeros(len(scores))
        self._groups: list[list[Place]] = []
        self._words = 0.0
        self._characters = 0
        self.confidence = float(self._shares.max(initial=0.0))

    def choose(self) -> None:
        sure = 0.0
        while len(self._groups) < MOST_GROUPS and sure < SURE_ENOUGH:
            row = int(np.argmax(self._scores)) if len(self._scores) else -1
            if row < 0 or self._scores[row] == _NEVER:
                break
            self._scores[row] = _NEVER
            place = Place(self._found[row].passage, self._found[row].place)
            if self._is_said(self._found[row].statement.text) or self._is_one_passage_too_many(place.passage):
                continue
            beside = (each for each in self._completed(place) if not self._is_said(self._statement(each).text))
            group = list(beside)
            if self._groups and not self._fits(group):
                group = [place]
                if not self._fits(group):
                    if len(self._groups) == 1:
                        continue
                    break
            sure += self._say(group)
            if len(self._groups) == 1:
                self._prefer_what_belongs_to(place)

    def in_order(self) -> list[Place]:
        """Best first, but what directly follows something said stands behind it, and so does more of one list or table."""
        ordered: list[Place] = []
        for group in self._groups:
            beside = [at for at, place in enumerate(ordered) if self._is_beside(place, group[0])]
            at = beside[-1] + 1 if beside else len(ordered)
            ordered[at:at] = group
        return ordered

    def _is_beside(self, place: Place, other: Place) -> bool:
        if self._is_together(place, other):
            return True
        first, second = self._statement(place), self._statement(other)
        is_listed = first.kind == second.kind and second.kind in ("item", "row")
        return is_listed and place.passage == other.passage and first.block == second.block

    # --- what is said ---

    def _say(self, group: Sequence[Place]) -> float:
        """Say these; how much surer that makes it."""
        sure = 0.0
        self._groups.append(list(group))
        self._words += self._length(group)
        self._characters += sum(len(self._statement(place).text) for place in group)
        self._said += [self._statement(place).text.casefold() for place in group]
        for row, candidate in enumerate(self._found):
            if Place(candidate.passage, candidate.place) in group:
                sure += float(self._shares[row])
                self._scores[row] = _NEVER
        return sure

    def _is_said(self, text: str) -> bool:
        """Whether this was said, or is part of what was, or has it as a part: chunks overlap, and documents repeat."""
        text = text.casefold()
        return any(_is_part(text, said) or _is_part(said, text) for said in self._said)

    def _is_one_passage_too_many(self, passage: int) -> bool:
        quoted = self._quoted_elsewhere | {place.passage for group in self._groups for place in group}
        return passage not in quoted and len(quoted) >= self._most_passages

    def _prefer_what_belongs_to(self, first: Place) -> None:
        document = self._document_ids[first.passage]
        for row, candidate in enumerate(self._found):
            if self._document_ids[candidate.passage] == document:
                self._scores[row] += _SAME_DOCUMENT
                if (candidate.passage, candidate.place) == (first.passage, first.number + 1):
                    self._scores[row] += _FOLLOWING * self._is_together(first, Place(*candidate[:2]))

    def _fits(self, group: Sequence[Place]) -> bool:
        most = MOST_WORDS_OF_TWO if len(self._groups) == 1 else MOST_WORDS
        characters = sum(len(self._statement(place).text) for place in group)
        return self._words + self._length(group) <= most and self._characters + characters <= self._most_characters

    def _length(self, places: Sequence[Place]) -> float:
        return sum(length(self._statement(place).text) for place in places)

    # --- what a statement needs beside it ---

    def _completed(self, place: Place) -> list[Place]:
        statement = self._statement(place)
        if leads_in(statement.text):
            return self._with_items(place)
        if statement.kind == "item":
            return self._listed(place)
        group = [place]
        before, behind = Place(place.passage, place.number - 1), Place(place.passage, place.number + 1)
        if is_yes_or_no(statement.text) and self._is_together(place, behind):
            group.append(behind)
        if self._is_together(before, place):
            is_reason = is_yes_or_no(self._statement(before).text)
            is_dangling = points_back(statement.text) and self._words + self._length([before, *group]) <= MOST_WORDS
            if is_reason or is_dangling:
                group.insert(0, before)
        after = Place(place.passage, group[-1].number + 1)
        is_continued = self._is_together(group[-1], after) and points_back(self._statement(after).text)
        if not self._groups and is_continued and self._length([*group, after]) <= _FOLLOWING_WORDS:
            group.append(after)
        return group if self._characters_of(group) <= self._most_characters else [place]

    def _with_items(self, lead_in: Place) -> list[Place]:
        return self._taken_while(
            lead_in, lambda statement: statement.kind != "sentence" and statement.lead_in == lead_in.number, _LIST_WORDS
        )

    def _listed(self, place: Place) -> list[Place]:
        """The item, with what announces its list; the whole list for who asks how, if it is short."""
        statement = self._statement(place)
        announced = [] if statement.lead_in is None else [Place(place.passage, statement.lead_in)]
        group = [*announced, place]
        before = self._read[place.passage].statements[place.number - 1] if place.number else statement
        if points_back(statement.text) and before.kind == "item" and before.block == statement.block:
            group.insert(-1, Place(place.passage, place.number - 1))
        if self._asked.wants_steps and not self._groups:
            of_passage = self._read[place.passage].statements
            items = [
                Place(place.passage, number)
                for number, each in enumerate(of_passage)
                if each.kind == "item" and each.block == statement.block
            ]
            whole = [*announced, *items]
            if self._length(whole) <= _STEPS_WORDS and self._characters_of(whole) <= self._most_characters:
                return whole
        return group if self._characters_of(group) <= self._most_characters else [place]

    def _taken_while(self, first: Place, belongs: Callable[[Statement], bool], most: float) -> list[Place]:
        group = [first]
        of_passage = self._read[first.passage].statements
        for number in range(first.number + 1, len(of_passage)):
            following = [*group, Place(first.passage, number)]
            if not belongs(of_passage[number]) or self._length(following) > most:
                break
            if self._characters_of(following) > self._most_characters:
                break
            group = following
        return group

    def _characters_of(self, places: Sequence[Place]) -> int:
        return sum(len(self._statement(place).text) for place in places)

    def _is_together(self, first: Place, second: Place) -> bool:
        """Whether both are sentences of one section, the second right behind the first."""
        of_passage = self._read[first.passage].statements
        if first.passage != second.passage or not 0 <= first.number < second.number < len(of_passage):
            return False
        before, behind = of_passage[first.number], of_passage[second.number]
        return (
            second.number == first.number + 1
            and before.section == behind.section
            and before.kind == behind.kind == "sentence"
            and can_answer(before)
            and can_answer(behind)
        )

    def _statement(self, place: Place) -> Statement:
        return self._read[place.passage].statements[place.number]


def length(text: str) -> float:
    """How long a text is in words, also where no blanks part them."""
    unspaced = 0 if text.isascii() else sum("\u0e00" <= sign <= "\u0eff" or "\u3040" <= sign <= "\u9fff" for sign in text)
    return max(len(text.split()), unspaced * _UNSPACED_WORDS)


def _is_part(text: str, whole: str) -> bool:
    """Whether a statement stands in another: "tea" does not stand in "Steak and chips"."""
    at = whole.find(text)
    while at >= 0:
        end = at + len(text)
        starts = at == 0 or len(text) >= _LONG or not (whole[at - 1].isalnum() and whole[at].isalnum())
        ends = end == len(whole) or len(text) >= _LONG or not (whole[end].isalnum() and whole[end - 1].isalnum())
        if starts and ends:
            return True
        at = whole.find(text, at + 1)
    return False
