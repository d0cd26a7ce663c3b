"""How good answers are: retrieval, abstention and answer scores of a run over questions with known answers.

Idea: a run is one `Result` a question; everything here is a function of questions and results alone, so a run can be scored
again, elsewhere, later. Invariant: what is missing counts as a failure: a question without a result found nothing and did
not abstain, and a reply that abstains on an answerable question is a wrong answer.

A retrieved passage is relevant if it comes from a gold document; where the gold sentence is known, the passage must
also hold a gold answer and share half of its 4-grams with that sentence.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from gigachat_server.errors import SetupError

T = TypeVar("T")
Scores = dict[str, float | int | None]

CUTOFFS = (1, 3, 5)
UNDERSPECIFIED = "underspecified"  # should be asked back: neither answering nor abstaining is right
_LONGEST_COMPARED = 400  # words of an answer that ROUGE-L looks at

_NOT_A_WORD = re.compile(r"[^a-z0-9 ]+")


class Said(msgspec.Struct, frozen=True):
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
    document_name: str | None = None
    document_names: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    reference: str | None = None
    history: tuple[Said, ...] = ()

    @property
    def gold_documents(self) -> frozenset[str]:
        return frozenset(self.document_names or ([self.document_name] if self.document_name else []))


class Document(msgspec.Struct, frozen=True):
    """A line of documents.jsonl."""

    collection: str
    name: str
    content: str


class Retrieved(msgspec.Struct, frozen=True):
    """A passage, in the order of retrieval."""

    name: str
    content: str
    score: float


class Result(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A line of results.jsonl. An `answer` that is absent means that none was asked for."""

    id: str
    retrieved: tuple[Retrieved, ...] = ()
    answer: str | msgspec.UnsetType | None = msgspec.UNSET
    abstained: bool | None = None
    score: float | None = None
    citations: tuple[str, ...] = ()
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


def score(questions: Iterable[Question], results: Mapping[str, Result], *, threshold: float = 0.78) -> dict[str, Scores]:
    """Every metric of every collection."""
    has_answers = any(result.answer is not msgspec.UNSET for result in results.values())
    by_collection: dict[str, _Collection] = {}
    for question in questions:
        collection = by_collection.setdefault(question.collection, _Collection(has_answers, threshold))
        collection.add(question, results.get(question.id))
    return {name: collection.scores() for name, collection in by_collection.items()}


class _Collection:
    """The tallies of one collection."""

    def __init__(self, has_answers: bool, threshold: float) -> None:
        self._has_answers = has_answers
        self._threshold = threshold
        self._questions = 0
        self._missing = 0
        self._values: dict[str, list[float]] = defaultdict(list)  # metrics that are means
        self._decisions: Counter[tuple[bool, bool]] = Counter()  # (is answerable, abstained)
        self._confidence: dict[str, list[float]] = defaultdict(list)  # by kind; all answerable ones together
        self._times: dict[str, list[float]] = {"retrieval": [], "reply": []}  # milliseconds

    def add(self, question: Question, result: Result | None) -> None:
        self._questions += 1
        self._missing += result is None
        result = result or Result(id=question.id, abstained=False)
        for what, took in (("retrieval", result.retrieval_ms), ("reply", result.reply_ms)):
            if took is not None:
                self._times[what].append(took)
        confidence = result.score
        if confidence is None:
            confidence = max((passage.score for passage in result.retrieved), default=0.0)
        abstained = has_abstained(result, confidence, threshold=self._threshold)
        self._values["citations_hold"] += result.cited_spans
        if result.citations:
            self._values["cites_a_span"].append(bool(result.cited_spans))
        if question.kind == UNDERSPECIFIED:
            self._values[f"abstain_{UNDERSPECIFIED}"].append(abstained)
            return
        self._decisions[question.answerable, abstained] += 1
        self._confidence["answerable" if question.answerable else question.kind].append(confidence)
        if not question.answerable:
            self._values[f"abstain_{question.kind}"].append(abstained)
            return
        self._add_retrieval(question, result)
        if self._has_answers:
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

    def _add_answer(self, question: Question, answer: str) -> None:
        if question.answers:
            self._values["answer_contains"].append(holds(answer, question.answers))
            self._values["answer_f1"].append(max(word_f1(answer, gold) for gold in question.answers))
            if answer:
                self._values["answer_words"].append(len(answer.split()))
        elif question.reference:
            self._values["rougeL_ref"].append(rouge_l(answer, question.reference))

    def scores(self) -> Scores:
        scores: Scores = {"questions": self._questions, "missing": self._missing}
        scores.update((name, round(sum(values) / len(values), 4)) for name, values in self._values.items() if values)
        rightly, wrongly = self._decisions[False, True], self._decisions[True, True]
        unanswerable = rightly + self._decisions[False, False]
        answerable = wrongly + self._decisions[True, False]
        scores["abstain_precision"] = _share(rightly, rightly + wrongly)
        scores["abstain_recall"] = _share(rightly, unanswerable)
        scores["false_abstain_rate"] = _share(wrongly, answerable)
        for kind, confidence in self._confidence.items():
            if kind != "answerable":
                area = auroc(self._confidence["answerable"], confidence)
                scores[f"auroc_vs_{kind}"] = None if area is None else round(area, 4)
        for what, times in self._times.items():
            if times:
                scores[f"{what}_p50_ms"], scores[f"{what}_p95_ms"] = percentile(times, 50), percentile(times, 95)
        return scores


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


def first_relevant(question: Question, retrieved: Sequence[Retrieved]) -> int | None:
    """The place of the first relevant passage, from 1."""
    relevant, _ = relevance(question, retrieved)
    return next((rank for rank, is_gold in enumerate(relevant, 1) if is_gold), None)


def percentile(values: Sequence[float], percent: int) -> float:
    """The least of the values that so many percent do not exceed."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def normalised(text: str) -> str:
    """Lower-case words of ASCII letters and digits, single spaces between."""
    return " ".join(_NOT_A_WORD.sub(" ", text.lower()).split())


def holds(text: str, answers: Sequence[str]) -> bool:
    """Whether one of the answers stands in the text, word for word."""
    padded = f" {normalised(text)} "
    return any(f" {wanted} " in padded for wanted in map(normalised, answers) if wanted)


def relevance(question: Question, retrieved: Sequence[Retrieved]) -> tuple[list[bool], int]:
    """Which ranks are relevant, and how many could be. Passages collapse to documents where those are what is judged."""
    gold = question.gold_documents
    if question.evidence:
        judged = [
            passage.name in gold
            and holds(passage.content, question.answers)
            and overlap(question.evidence[0], passage.content) >= 0.5
            for passage in retrieved
        ]
        return judged, 1
    return [name in gold for name in dict.fromkeys(passage.name for passage in retrieved)], len(gold)


def overlap(first: str, second: str) -> float:
    """The share of the shorter text's 4-grams that the other has too."""
    grams, others = _four_grams(first), _four_grams(second)
    return len(grams & others) / max(1, min(len(grams), len(others)))


def _four_grams(text: str) -> set[tuple[str, ...]]:
    words = normalised(text).split()
    return {tuple(words[start : start + 4]) for start in range(max(1, len(words) - 3))}


def ndcg(relevant: Sequence[bool], wanted: int, *, cutoff: int) -> float:
    """Overlapping chunks may all be relevant: then as many are what could be had."""
    found = sum(relevant[:cutoff])
    gain = sum(1 / math.log2(rank + 1) for rank, is_gold in enumerate(relevant[:cutoff], 1) if is_gold)
    best = max(1, min(cutoff, max(wanted, found)))
    return gain / sum(1 / math.log2(rank + 1) for rank in range(1, best + 1))


def word_f1(text: str, gold: str) -> float:
    words, wanted = normalised(text).split(), normalised(gold).split()
    common = (Counter(words) & Counter(wanted)).total()
    return 2 * common / (len(words) + len(wanted)) if common else 0.0


def rouge_l(text: str, gold: str) -> float:
    """F-measure of the longest common subsequence of words."""
    words, wanted = (normalised(part).split()[:_LONGEST_COMPARED] for part in (text, gold))
    if not words or not wanted:
        return 0.0
    longest = [0] * (len(wanted) + 1)
    for word in words:
        diagonal = 0
        for column, other in enumerate(wanted, 1):
            above = longest[column]
            longest[column] = diagonal + 1 if word == other else max(above, longest[column - 1])
            diagonal = above
    return 2 * longest[-1] / (len(words) + len(wanted))


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
