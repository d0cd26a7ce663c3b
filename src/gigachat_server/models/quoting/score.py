"""How well each statement of some passages answers a prompt: features and their weights. Pure.

The idea: a statement answers if its vector is near the prompt's, if it or the heading above it holds the prompt's words, however
they are spelt, if it holds the kind of thing that is asked for, and if its passage is a good one. The weights were learnt as a
softmax over the statements of each prompt, so the softmax of the scores is how sure it is that a statement is the answer.

Which weights were tried, and what each feature brings, is in docs/decisions/0025.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from gigachat_server.language.characters import folded
from gigachat_server.language.detect import language
from gigachat_server.language.likeness import alike
from gigachat_server.language.terms import terms
from gigachat_server.language.words import words
from gigachat_server.models.base import Passage, Query, Vector
from gigachat_server.models.quoting.asked import PromptKinds, gives_leave, holds
from gigachat_server.models.quoting.lines import is_question
from gigachat_server.models.quoting.parse import Statement, statements

Numbers = npt.NDArray[np.float64]

MOST_EMBEDDED = 24  # statements whose vectors one prompt may ask for: with 100 hardly more replies hold the answer
_HEADINGS = 2  # above a statement whose words count as its own


class AskedWord(NamedTuple):
    """A word of the prompt: the terms any of which is that word, and how much it weighs."""

    word: str
    terms: tuple[str, ...]
    weight: float


def asked_words(query: Query) -> list[AskedWord]:
    """The words that were searched for."""
    if query.words:
        return [AskedWord(word.word, word.alternatives, word.idf) for word in query.words]
    return [AskedWord(stem, (stem,), weight) for stem, weight in query.stem_weights.items()]


class TextContent(msgspec.Struct, frozen=True):
    """The terms and words of a text."""

    terms: frozenset[str]
    words: frozenset[str]


class ReadPassage:
    """A passage as it was read, with what is worked out from it only when it is asked for. `vectors`: by statement."""

    __slots__ = ("_holding", "_language", "_said", "_said_above", "statements", "vectors")

    def __init__(self, text: str) -> None:
        self.statements = tuple(statements(text))
        self._language = language(text)
        self.vectors: dict[int, Vector] = {}
        self._said: list[TextContent] | None = None
        self._said_above: dict[str, TextContent] = {}
        self._holding: dict[str, list[bool]] = {}

    @property
    def memory_bytes(self) -> int:
        """About what this occupies: the text of a statement is there as words, too."""
        text = sum(len(each.text) for each in self.statements)
        return 600 * len(self.statements) + 12 * text + sum(vector.nbytes + 150 for vector in self.vectors.values())

    def embedded_text(self, place: int) -> str:
        """What is embedded for a statement: it, under its heading."""
        statement = self.statements[place]
        heading = statement.heading
        if not heading:
            return statement.text
        return f"{heading} {statement.text}" if is_question(heading) or heading[-1] in ".!" else f"{heading}. {statement.text}"

    @property
    def said(self) -> list[TextContent]:
        if self._said is None:
            self._said = [self._said_in(each.text) for each in self.statements]
        return self._said

    def said_above(self, place: int) -> TextContent:
        """The terms and words of the headings above a statement."""
        above = " ".join(self.statements[place].headings[-_HEADINGS:])
        found = self._said_above.get(above)
        if found is None:
            found = self._said_above[above] = self._said_in(above)
        return found

    def _said_in(self, text: str) -> TextContent:
        return TextContent(frozenset(terms(text, self._language)), frozenset(words(folded(text))))

    def is_first(self, place: int) -> bool:
        """Whether the statement is the first under its heading."""
        statement = self.statements[place]
        return bool(statement.headings) and (place == 0 or self.statements[place - 1].section != statement.section)

    def holding(self, kind: str) -> list[bool]:
        """Of each statement whether it holds that kind of answer; `leave` is one that only statements hold."""
        found = self._holding.get(kind)
        if found is None:
            texts = (each.text for each in self.statements)
            found = [gives_leave(text) if kind == "leave" else holds(kind, text) for text in texts]
            self._holding[kind] = found
        return found


class Candidate(NamedTuple):
    """Statement `place` of passage `passage`, both counted from 0."""

    passage: int
    place: int
    statement: Statement


class Weights(NamedTuple):
    """What each feature adds to a statement's score."""

    statement: float  # cosine of the statement to the prompt
    passage: float  # cosine of its passage
    words: float  # share of the prompt's words in it or in its headings
    own: float  # share of them in it alone
    first: float  # share of them in its headings, if it is the first below these: they ask, and it answers
    coverage: float  # share of them in its passage
    lexical: float  # BM25 of its passage, over the best
    kind: float  # share of the kinds of answer asked for that it holds
    leave: float  # it says that something may be, or is, and that is asked for


FEATURES = Weights._fields

E5 = Weights(statement=74.3, passage=66.4, words=1.36, own=1.77, first=3.3, coverage=1.25, lexical=0.71, kind=2.16, leave=1.12)
OTHER = Weights(statement=11.7, passage=7.37, words=3.03, own=2.39, first=2.09, coverage=1.08, lexical=1.1, kind=2.23, leave=1.36)
# Without vectors of statements: which of them are worth one.
E5_BEFORE = Weights(
    statement=0.0, passage=113.5, words=5.78, own=3.4, first=2.31, coverage=-1.79, lexical=1.08, kind=2.18, leave=1.47
)
OTHER_BEFORE = Weights(
    statement=0.0, passage=14.7, words=5.63, own=3.72, first=2.23, coverage=-1.04, lexical=1.4, kind=2.19, leave=1.49
)


class WeightSet(NamedTuple):
    """Of an embedder: the weights with the vectors of statements, and without them."""

    after: Weights
    before: Weights


def weights_of(embedder_name: str) -> WeightSet:
    """The weights for the cosines of this embedder: those of the E5 family lie close together, near 1."""
    is_e5 = "e5" in embedder_name.casefold().replace("_", "-").replace("/", "-").split("-")
    return WeightSet(E5, E5_BEFORE) if is_e5 else WeightSet(OTHER, OTHER_BEFORE)


def candidates(read: Sequence[ReadPassage], passages: Sequence[Passage]) -> list[Candidate]:
    """The statements that can be said, each once: what two passages share counts for the better one. Code, if that is all."""
    return _candidates(read, passages, can_answer) or _candidates(read, passages, lambda each: each.kind == "code")


def _candidates(read: Sequence[ReadPassage], passages: Sequence[Passage], is_one: Callable[[Statement], bool]) -> list[Candidate]:
    found: list[Candidate] = []
    seen: set[tuple[str, str]] = set()
    for number, (of_passage, passage) in enumerate(zip(read, passages, strict=True)):
        for place, statement in enumerate(of_passage.statements):
            key = (passage.document_id, statement.text)
            if key not in seen and is_one(statement):
                seen.add(key)
                found.append(Candidate(number, place, statement))
    return found


def can_answer(statement: Statement) -> bool:
    """Code and questions answer nothing."""
    return statement.kind != "code" and not is_question(statement.text)


def features(
    asked: PromptKinds,
    asked_words: Sequence[AskedWord],
    found: Sequence[Candidate],
    read: Sequence[ReadPassage],
    passages: Sequence[Passage],
    cosines: Numbers,
) -> Numbers:
    """One row for each candidate, with the features in the order of `Weights`."""
    table = np.zeros((len(found), len(FEATURES)))
    share = covered(
        asked_words,
        [read[number].said[place] for number, place, _ in found],
        [read[number].said_above(place) for number, place, _ in found],
    )
    for row, (number, place, _) in enumerate(found):
        passage, of_passage = passages[number], read[number]
        kinds = [of_passage.holding(kind)[place] for kind in asked.kinds]
        table[row] = (
            cosines[row],
            passage.cosine,
            share.anywhere[row],
            share.own[row],
            share.above[row] if of_passage.is_first(place) else 0.0,
            passage.coverage,
            passage.lexical,
            sum(kinds) / len(kinds) if kinds else 0.0,
            asked.wants_leave and of_passage.holding("leave")[place],
        )
    return table


class Coverage(NamedTuple):
    """The shares of the prompt's words, by weight, that each statement holds, that its headings hold, and that either does."""

    own: Numbers
    above: Numbers
    anywhere: Numbers


def covered(asked_words: Sequence[AskedWord], own: Sequence[TextContent], above: Sequence[TextContent]) -> Coverage:
    """How much each of some statements says, and the headings above it, in this or in a similar spelling."""
    weights = np.array([asked.weight for asked in asked_words])
    if (total := weights.sum()) > 0:
        weights /= total
    said = frozenset[str]().union(*(text.words for text in (*own, *above)))
    like = alike([asked.word for asked in asked_words], said)
    in_own, in_above = _held(asked_words, like, own), _held(asked_words, like, above)
    return Coverage(weights @ in_own, weights @ in_above, weights @ np.maximum(in_own, in_above))


def _held(asked_words: Sequence[AskedWord], like: Sequence[Mapping[str, float]], texts: Sequence[TextContent]) -> Numbers:
    """Of each word, a row, and each text, a column: how like the word the likest is that the text holds."""
    with_word: dict[str, list[int]] = {}
    with_term: dict[str, list[int]] = {}
    for column, text in enumerate(texts):
        for word in text.words:
            with_word.setdefault(word, []).append(column)
        for term in text.terms:
            with_term.setdefault(term, []).append(column)
    held = np.zeros((len(asked_words), len(texts)))
    for row, asked, likenesses in zip(held, asked_words, like, strict=True):
        for word, likeness in likenesses.items():
            if columns := with_word.get(word):
                row[columns] = np.maximum(row[columns], likeness)
        for term in asked.terms:
            row[with_term.get(term, [])] = 1.0
    return held


def softmax(scores: Numbers) -> Numbers:
    raised = np.exp(scores - scores.max(initial=-np.inf)) if len(scores) else scores
    return raised / raised.sum() if len(scores) else raised
