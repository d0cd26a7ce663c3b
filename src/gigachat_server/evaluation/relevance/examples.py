"""What a prompt teaches: the features of the first passages it finds, and which of these answer it.

Idea: prompts that the documents do not answer teach what to refuse, and so does an answerable prompt without the passages that
answer it: a near miss in the same style. Invariant: only the features that `/retrieve` shows enter a fit; nothing else of
prompts and documents does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

import msgspec
import numpy as np
import numpy.typing as npt

from gigachat_server.evaluation.compared_texts import holds, overlap
from gigachat_server.evaluation.measures import UNDERSPECIFIED, Question, RetrievedPassage, is_gold
from gigachat_server.knowledge.search.relevance import Features, parts
from gigachat_server.models.base import RelevanceScale

Array = npt.NDArray[np.float64]

FEATURES = (
    "cosine",
    "coverage",
    "foreign",
    "prior",
    "margin",
    "size",
)  # whose weights are fitted, as `RelevanceScale` names them
REMOVED = "removed"  # the kind of a prompt whose answer was taken away
COUNT = 3  # passages of a prompt that a fit looks at: as many as a reply is made from
_FEWEST_LEFT = 5  # passages that must remain where the answer is taken away
_FEWEST_CHUNKS = 8
_REMOVED_WEIGHT = 0.3
# Kinds that the documents may answer in part, or somewhere else.
_DOUBTFUL = {"adversarial": 0.1, "unanswerable": 0.1}
_ONES = RelevanceScale(cosine=1, coverage=1, foreign=1, prior=1, margin=1, size=1, bias=0)


class PassageExample(msgspec.Struct, frozen=True, kw_only=True):
    """A passage as `/retrieve` shows it."""

    name: str
    content: str
    cosine: float
    coverage: float
    margin: float
    units: int
    is_foreign: bool = False
    prior: float = 0.0
    parts: dict[str, float] = {}

    @property
    def retrieved(self) -> RetrievedPassage:
        return RetrievedPassage(self.name, self.content, 0.0)


class PromptExample(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt and what it found, best first; `searched` is the number of the chatbot's chunks."""

    question: Question
    folder: str
    passages: Sequence[PassageExample]
    searched: int
    is_dependent: bool = False


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt as a fit sees it: `features` has a row for each of its first passages, and `gold` says which of them answer.

    `given` is what identifiers add to the logit of each: too few prompts hold one to fit that, so it stays as it is.
    `teaches` is False where the passage that should have answered was not among them, so there is nothing to learn.
    """

    id: str
    collection: str
    group: str
    kind: str
    is_answerable: bool
    features: Array
    given: Array
    gold: npt.NDArray[np.bool_]
    teaches: bool
    document: str

    @property
    def is_removed(self) -> bool:
        return self.kind == REMOVED


def examples(asked: Iterable[PromptExample], *, weights: Iterable[str] = (), count: int = COUNT) -> list[Example]:
    """What all these prompts teach. `weights` are the patterns that have a weight of their own, whose collections are a group."""
    patterns = list(weights)
    found = []
    for one in asked:
        if one.question.kind == UNDERSPECIFIED:
            continue
        group = next((pattern for pattern in patterns if is_named(one.question.collection, one.folder, pattern)), one.folder)
        found.append(_example(one, group, count))
        if (removed := _removed(one, group, count)) is not None:
            found.append(removed)
    return found


def is_named(collection: str, folder: str, pattern: str) -> bool:
    return fnmatchcase(collection, pattern) or fnmatchcase(folder, pattern)


def row(passage: PassageExample) -> list[float]:
    """The features of a passage, as `FEATURES` names them: what it would add if every weight were 1."""
    features = Features(
        cosine=passage.cosine,
        coverage=passage.coverage,
        is_foreign=passage.is_foreign,
        prior=passage.prior,
        margin=passage.margin,
        identified=0.0,
        units=passage.units,
    )
    added = parts(_ONES, features)
    return [added[name] for name in FEATURES]


def _given(passages: Sequence[PassageExample]) -> Array:
    return np.array([passage.parts.get("identified", 0.0) for passage in passages], dtype=np.float64)


def _example(asked: PromptExample, group: str, count: int) -> Example:
    question, passages = asked.question, asked.passages[:count]
    gold = np.array([question.answerable and answers(question, passage) for passage in passages], dtype=np.bool_)
    is_taught = bool(passages) and (not question.answerable or bool(gold.any()))
    return Example(
        id=question.id,
        collection=question.collection,
        group=group,
        kind=question.kind,
        is_answerable=question.answerable,
        features=_matrix(passages),
        given=_given(passages),
        gold=gold,
        teaches=is_taught,
        document=min(question.gold_documents, default=""),
    )


def _matrix(passages: Sequence[PassageExample]) -> Array:
    rows = [row(passage) for passage in passages]
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(FEATURES))


def answers(question: Question, passage: PassageExample) -> bool:
    """Whether the passage answers the prompt, as far as is known."""
    if question.gold_documents and not is_gold(question, passage.retrieved):
        return False
    return holds(passage.content, question.answers) if question.answers else bool(question.gold_documents)


def _removed(asked: PromptExample, group: str, count: int) -> Example | None:
    """The prompt without its answer. None where that is not known for sure, or too little would be left."""
    question = asked.question
    if not question.answerable or not question.evidence or asked.is_dependent or asked.searched < _FEWEST_CHUNKS:
        return None
    left: list[PassageExample] = []
    gone: list[PassageExample] = []
    for passage in asked.passages:
        is_answer = answers(question, passage) or overlap(question.evidence[0], passage.content) >= 0.5
        (gone if is_answer else left).append(passage)
    if not gone or len(left) < _FEWEST_LEFT:
        return None
    left = _with_margins_of_what_is_left(left, gone)[:count]
    return Example(
        id=f"{question.id} without its answer",
        collection=question.collection,
        group=group,
        kind=REMOVED,
        is_answerable=False,
        features=_matrix(left),
        given=_given(left),
        gold=np.zeros(len(left), dtype=np.bool_),
        teaches=True,
        document=min(question.gold_documents, default=""),
    )


def _with_margins_of_what_is_left(left: Sequence[PassageExample], gone: Sequence[PassageExample]) -> list[PassageExample]:
    """The margin is to the chatbot's fifth best unit: without those that are gone, that is another one."""
    fifth = left[0].cosine - left[0].margin
    if all(passage.cosine < fifth for passage in gone) or not any(passage.margin for passage in left):
        return list(left)
    cosines = sorted({round(passage.cosine, 6) for passage in left}, reverse=True)  # chunks that overlap share a unit
    fifth = min(fifth, cosines[min(4, len(cosines) - 1)])
    return [msgspec.structs.replace(passage, margin=passage.cosine - fifth) for passage in left]


# --- how much each counts ---


def example_weights(found: Sequence[Example], groups: dict[str, float], *, total: float) -> Array:
    """What each example weighs: the answerable ones of a group together as much as its others, and groups as they are told.

    Kinds that may be answerable in part weigh a tenth, and so do removed answers in collections that have such kinds.
    """
    doubt: dict[str, float] = {}
    for one in found:
        doubt[one.collection] = min(doubt.get(one.collection, 1.0), _DOUBTFUL.get(one.kind, 1.0))
    own = np.array([_REMOVED_WEIGHT * doubt[one.collection] if one.is_removed else _DOUBTFUL.get(one.kind, 1.0) for one in found])
    weights = np.zeros(len(found))
    sides = [(one.group, one.is_answerable) for one in found]
    for group, is_answerable in set(sides):
        of_side = np.array([side == (group, is_answerable) for side in sides])
        weights[of_side] = own[of_side] / own[of_side].sum() * groups.get(group, 1.0) * total
    return weights
