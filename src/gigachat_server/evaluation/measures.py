"""How good answers are: retrieval, abstention and answer scores of a run over questions with known answers.

Idea: a run is one `Result` per question; everything here depends only on questions and results, so a run can be scored again
elsewhere or later. Invariant: a missing result is a failure: it found nothing and did not abstain; and a reply that abstains on
an answerable question is a wrong answer.

A retrieved passage is relevant if it comes from a gold document; where the gold sentence is known, the passage must
also hold a gold answer and share half of its 4-grams with that sentence.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeVar, get_args

import msgspec

from gigachat_server.errors import SetupError
from gigachat_server.evaluation.compared_texts import holds, normalised, overlap, rouge_l, word_f1

T = TypeVar("T")
Scores = dict[str, float | int | None]
Grouping = Literal["collection", "kind", "lang", "doc_lang", "all"]  # what questions are counted together

CUTOFFS = (1, 3, 5)
UNDERSPECIFIED = "underspecified"  # should be asked back: neither answering nor abstaining is right
UNTOLD = "not told"  # the group of questions whose line does not say
GROUPINGS: tuple[Grouping, ...] = get_args(Grouping)

_IN_ORDER = (
    *("questions", "missing", "right", "answer_contains", "answer_leads", "answer_", "rougeL", "false_abstain_rate"),
    *("false_abstain", "abstain_precision", "abstain_recall", "abstain", "gold_handed", "handed", "auroc"),
    *("hit", "recall", "ndcg", "mrr", "followup", "citation", "cites"),
)
_LEADING_WORDS = 25  # of a reply, in which what was asked should stand


class EarlierTurn(msgspec.Struct, frozen=True):
    """A turn before the question."""

    role: str
    text: str


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A line of questions.jsonl."""

    id: str
    collection: str
    question: str
    answerable: bool
    kind: str
    lang: str | None = None
    doc_lang: str | None = None
    document_name: str | None = None
    document_names: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    reference: str | None = None
    history: tuple[EarlierTurn, ...] = ()

    @property
    def gold_documents(self) -> frozenset[str]:
        return frozenset(self.document_names or ([self.document_name] if self.document_name else []))


class Document(msgspec.Struct, frozen=True):
    """A line of documents.jsonl."""

    collection: str
    name: str
    content: str


class RetrievedPassage(msgspec.Struct, frozen=True):
    """A passage, in the order of retrieval."""

    name: str
    content: str
    score: float


class Result(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A line of results.jsonl. An `answer` that is absent means that none was asked for.

    `handed` are the passages that a model which generates would be given, best first; None where that was not asked.
    """

    id: str
    retrieved: tuple[RetrievedPassage, ...] = ()
    answer: str | msgspec.UnsetType | None = msgspec.UNSET
    abstained: bool | None = None
    score: float | None = None
    citations: tuple[str, ...] = ()
    handed: tuple[RetrievedPassage, ...] | None = None
    cited_spans: tuple[bool, ...] = ()  # of each span that the reply cites: whether it stands in its source word for word
    retrieval_ms: float | None = None
    reply_ms: float | None = None


def read_lines(path: Path, kind: type[T]) -> list[T]:
    """The objects of a JSON Lines file. Raises `SetupError` naming the line at fault."""
    return [found for _, found in numbered_lines(path, kind)]


def numbered_lines(path: Path, kind: type[T]) -> list[tuple[int, T]]:
    """The same with the number of its line beside each."""
    decoder = msgspec.json.Decoder(kind)
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise SetupError(f"Cannot read {path}: {error.strerror}.") from None
    found = []
    for number, line in enumerate(lines, 1):
        try:
            if line.strip():
                found.append((number, decoder.decode(line)))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise SetupError(f"{path}, line {number}: {error}.") from None
    return found


def score(
    questions: Iterable[Question],
    results: Mapping[str, Result],
    *,
    threshold: float | Mapping[str, float] = 0.78,
    by: Grouping = "collection",
) -> dict[str, Scores]:
    """Every metric of every group of questions. `threshold` may differ from collection to collection."""
    measured = _QuestionScores(
        answers=any(result.answer is not msgspec.UNSET for result in results.values()),
        handed=any(result.handed is not None for result in results.values()),
    )
    groups: dict[str, _Group] = {}
    for question in questions:
        group = groups.setdefault(_group_of(question, by), _Group(measured))
        least = threshold[question.collection] if isinstance(threshold, Mapping) else threshold
        group.add(question, results.get(question.id), threshold=least)
    return {name: group.scores() for name, group in groups.items()}


def _group_of(question: Question, by: Grouping) -> str:
    return "all" if by == "all" else getattr(question, by) or UNTOLD


class _QuestionScores(msgspec.Struct, frozen=True):
    """What of a run was measured at all; of that, what is missing is a failure."""

    answers: bool
    handed: bool


class _Group:
    """The tallies of questions that are counted together."""

    def __init__(self, measured: _QuestionScores) -> None:
        self._measured = measured
        self._questions = 0
        self._missing = 0
        self._values: dict[str, list[float]] = defaultdict(list)  # metrics that are means
        self._decisions: Counter[tuple[bool, bool]] = Counter()  # (is answerable, abstained)
        self._confidence: dict[str, list[float]] = defaultdict(list)  # by kind; all answerable ones together
        self._words: list[int] = []  # of each reply
        self._times: dict[str, list[float]] = {"retrieval": [], "reply": []}  # milliseconds

    def add(self, question: Question, result: Result | None, *, threshold: float) -> None:
        self._questions += 1
        self._missing += result is None
        result = result or Result(id=question.id, abstained=False)
        for what, took in (("retrieval", result.retrieval_ms), ("reply", result.reply_ms)):
            if took is not None:
                self._times[what].append(took)
        confidence = result.score
        if confidence is None:
            confidence = max((passage.score for passage in result.retrieved), default=0.0)
        abstained = has_abstained(result, confidence, threshold=threshold)
        self._values["citations_hold"] += result.cited_spans
        if result.citations:
            self._values["cites_a_span"].append(bool(result.cited_spans))
        if question.kind == UNDERSPECIFIED:
            self._values[f"abstain_{UNDERSPECIFIED}"].append(abstained)
            return
        self._decisions[question.answerable, abstained] += 1
        self._confidence["answerable" if question.answerable else question.kind].append(confidence)
        if self._measured.handed:
            self._add_handed(question, result.handed or ())
        if not question.answerable:
            self._values[f"abstain_{question.kind}"].append(abstained)
            self._values["right"].append(abstained)
            return
        self._values[f"false_abstain_{question.kind}"].append(abstained)
        self._add_retrieval(question, result)
        if self._measured.answers:
            self._add_answer(question, "" if abstained else (result.answer or ""))
        if result.citations and question.gold_documents:
            cited_gold = sum(name in question.gold_documents for name in result.citations)
            self._values["citation_precision"].append(cited_gold / len(result.citations))

    def _add_retrieval(self, question: Question, result: Result) -> None:
        if not question.gold_documents:
            return  # where the answer stands is not known
        relevant, wanted = relevance(question, result.retrieved)
        for cutoff in CUTOFFS:
            found = sum(relevant[:cutoff])
            self._values[f"hit@{cutoff}"].append(found > 0)
            self._values[f"recall@{cutoff}"].append(min(1.0, found / wanted))
        gain = ndcg(relevant, wanted, cutoff=5)
        self._values["ndcg@5"].append(gain)
        self._values["mrr@10"].append(next((1 / rank for rank, is_gold in enumerate(relevant[:10], 1) if is_gold), 0.0))
        if question.history:
            self._values["followup_hit@5"].append(any(relevant[:5]))
            self._values["followup_ndcg@5"].append(gain)

    def _add_handed(self, question: Question, handed: Sequence[RetrievedPassage]) -> None:
        if not question.answerable:
            self._values[f"handed_nothing_{question.kind}"].append(not handed)
        elif question.gold_documents:
            self._values["gold_handed"].append(any(is_gold(question, passage) for passage in handed))

    def _add_answer(self, question: Question, answer: str) -> None:
        if question.answers:
            is_answered = holds(answer, question.answers)
            self._values["answer_contains"].append(is_answered)
            self._values["right"].append(is_answered)
            if answer and question.evidence:
                self._values["answer_leads"].append(leads(answer, question.evidence[0]))
            self._values["answer_f1"].append(max(word_f1(answer, gold) for gold in question.answers))
            if answer:
                self._values["answer_words"].append(len(answer.split()))
                self._words.append(len(answer.split()))
        elif question.reference:
            self._values["rougeL_ref"].append(rouge_l(answer, question.reference))

    def scores(self) -> Scores:
        scores: Scores = {"questions": self._questions, "missing": self._missing}
        scores.update((name, round(sum(values) / len(values), 4)) for name, values in self._values.items() if values)
        if self._words:
            scores["answer_words_p50"] = percentile(self._words, 50)
        rightly, wrongly = self._decisions[False, True], self._decisions[True, True]
        unanswerable = rightly + self._decisions[False, False]
        answerable = wrongly + self._decisions[True, False]
        scores["abstain_precision"] = _share(rightly, rightly + wrongly)
        scores["abstain_recall"] = _share(rightly, unanswerable)
        scores["false_abstain_rate"] = _share(wrongly, answerable)
        answerable_ones = self._confidence.get("answerable", [])
        for kind, confidence in self._confidence.items():
            if kind != "answerable":
                area = auroc(answerable_ones, confidence)
                scores[f"auroc_vs_{kind}"] = None if area is None else round(area, 4)
        for what, times in self._times.items():
            if times:
                scores[f"{what}_p50_ms"], scores[f"{what}_p95_ms"] = percentile(times, 50), percentile(times, 95)
        return dict(sorted(scores.items(), key=lambda item: _place(item[0])))


def _place(figure: str) -> int:
    """What matters most is read first; what is counted by kind stands together, and times come last."""
    return next((place for place, start in enumerate(_IN_ORDER) if figure.startswith(start)), len(_IN_ORDER))


def has_abstained(result: Result, confidence: float, *, threshold: float) -> bool:
    """Whether it said so; of a run without answers, whether nothing it found reaches the threshold."""
    if result.abstained is not None:
        return result.abstained
    if result.answer is not msgspec.UNSET:
        return not (result.answer or "").strip()
    return confidence < threshold


def top_score(result: Result, match_count: int) -> float:
    """The score that decides on a reply: the best of the passages that it could be made from. 0 where nothing was found."""
    return max((passage.score for passage in result.retrieved[:match_count]), default=0.0)


def first_relevant(question: Question, retrieved: Sequence[RetrievedPassage]) -> int | None:
    """The place of the first relevant passage, from 1."""
    relevant, _ = relevance(question, retrieved)
    return next((rank for rank, is_gold in enumerate(relevant, 1) if is_gold), None)


def percentile(values: Sequence[float], percent: int) -> float:
    """The least of the values that so many percent do not exceed."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def relevance(question: Question, retrieved: Sequence[RetrievedPassage]) -> tuple[list[bool], int]:
    """Which ranks are relevant, and how many could be. Passages collapse to documents where those are what is judged."""
    gold = question.gold_documents
    if question.evidence:
        return [is_gold(question, passage) for passage in retrieved], 1
    return [name in gold for name in dict.fromkeys(passage.name for passage in retrieved)], len(gold)


def is_gold(question: Question, passage: RetrievedPassage) -> bool:
    """Whether the passage is of a gold document and, where the gold sentence is known, holds the answer and that sentence."""
    if passage.name not in question.gold_documents:
        return False
    if not question.evidence:
        return True
    return holds(passage.content, question.answers) and overlap(question.evidence[0], passage.content) >= 0.5


def leads(answer: str, evidence: str) -> bool:
    """Whether the reply begins with what was asked: its first words share two fifths of their 4-grams with the gold sentence."""
    return overlap(" ".join(normalised(answer).split()[:_LEADING_WORDS]), evidence) >= 0.4


def ndcg(relevant: Sequence[bool], wanted: int, *, cutoff: int) -> float:
    """Overlapping chunks may all be relevant: then as many are what could be had."""
    found = sum(relevant[:cutoff])
    gain = sum(1 / math.log2(rank + 1) for rank, is_gold in enumerate(relevant[:cutoff], 1) if is_gold)
    best = max(1, min(cutoff, max(wanted, found)))
    return gain / sum(1 / math.log2(rank + 1) for rank in range(1, best + 1))


def auroc(positives: Sequence[float], negatives: Sequence[float]) -> float | None:
    """How likely a positive scores above a negative; ties count half."""
    if not positives or not negatives:
        return None
    ordered = sorted(negatives)
    wins = 0.0
    for value in positives:
        below = bisect_left(ordered, value)
        wins += below + (bisect_right(ordered, value) - below) / 2
    return wins / (len(positives) * len(negatives))
