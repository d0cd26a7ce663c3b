"""What `gigachat eval` writes for people: the table of scores, a spreadsheet of the questions, advice on the threshold."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import msgspec

from gigachat_server.cli.evaluation_run import Chatbot
from gigachat_server.cli.output import print_table
from gigachat_server.evaluation import measures
from gigachat_server.evaluation.compared_texts import holds
from gigachat_server.evaluation.measures import UNDERSPECIFIED, Question, Result, Scores
from gigachat_server.evaluation.thresholds import FEWEST, ScoredQuestion, Suggestion, Tally

COLUMNS = (
    "id",
    "collection",
    "kind",
    "question",
    "answerable",
    "abstained",
    "top_score",
    "first_relevant",
    "contains_answer",
    "retrieval_ms",
    "reply_ms",
    "answer",
    "sources",
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


class ChatbotRun(msgspec.Struct, frozen=True):
    """Questions that were put to one chatbot, and what came of them."""

    name: str
    chatbot: Chatbot
    questions: Sequence[Question]
    results: dict[str, Result]

    @property
    def scored(self) -> list[ScoredQuestion]:
        """The questions as a threshold sees them. Those that should be asked back, or were not asked, say nothing about it."""
        return [
            ScoredQuestion(question.id, question.answerable, measures.top_score(result, self.chatbot.match_count))
            for question in self.questions
            if question.kind != UNDERSPECIFIED and (result := self.results.get(question.id)) is not None
        ]

    def tallies_of_kinds(self) -> dict[str, Tally]:
        """The unanswerable questions by kind, the most frequent first."""
        scores = {scored.id: scored for scored in self.scored if not scored.is_answerable}
        kinds: dict[str, list[ScoredQuestion]] = {}
        for question in self.questions:
            if question.id in scores:
                kinds.setdefault(question.kind, []).append(scores[question.id])
        return {kind: Tally(kinds[kind]) for kind in sorted(kinds, key=lambda kind: (-len(kinds[kind]), kind))}


def print_scores(scores: dict[str, Scores]) -> None:
    metrics = list(dict.fromkeys(metric for of_collection in scores.values() for metric in of_collection))
    rows = [[metric, *(_cell(scores[name].get(metric)) for name in scores)] for metric in metrics]
    print_table(["", *scores], rows, nothing="", always_names_columns=True)


def csv_text(asked: Sequence[ChatbotRun]) -> str:
    """A line per question. A text that a spreadsheet would take for a formula gets a leading apostrophe."""
    written = io.StringIO(newline="")
    writer = csv.writer(written)
    writer.writerow(COLUMNS)
    for one in asked:
        for question in one.questions:
            writer.writerow(_row(one, question))
    return written.getvalue()


def _row(asked: ChatbotRun, question: Question) -> list[str]:
    result = asked.results.get(question.id)
    told = [question.id, question.collection, question.kind, question.question]
    known = [*map(safe_cell, told), _yes(question.answerable)]
    if result is None:
        return [*known, "not asked", *[""] * (len(COLUMNS) - len(known) - 1)]
    top_score = measures.top_score(result, asked.chatbot.match_count)
    abstained = measures.has_abstained(result, top_score, threshold=asked.chatbot.match_threshold)
    has_ranking = result.retrieval_ms is not None
    has_rank = has_ranking and question.answerable and bool(question.gold_documents)
    answer = "" if isinstance(result.answer, msgspec.UnsetType) else (result.answer or "")
    is_judged = result.reply_ms is not None and question.answerable and bool(question.answers)
    is_answered = not abstained and holds(answer, question.answers)
    sources = result.citations or [passage.name for passage in result.retrieved[: asked.chatbot.match_count]]
    return [
        *known,
        _yes(abstained),
        f"{top_score:.4f}" if has_ranking else "",
        _cell(measures.first_relevant(question, result.retrieved)) if has_rank else "",
        _yes(is_answered) if is_judged else "",
        _cell(result.retrieval_ms),
        _cell(result.reply_ms),
        safe_cell(answer),
        safe_cell(" | ".join(dict.fromkeys(sources))),
    ]


def safe_cell(text: str) -> str:
    return "'" + text if text.lstrip(" ").startswith(_FORMULA) else text


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value}"


def advice(asked: ChatbotRun, suggestion: Suggestion) -> list[str]:
    """A suggestion in sentences."""
    counted = f"{suggestion.answerable} answerable and {suggestion.unanswerable} unanswerable questions"
    if suggestion.suggested is None or suggestion.checked is None or suggestion.present is None:
        return [f"{asked.name}: {counted} are too few to suggest a threshold; that takes {FEWEST} of either kind."]
    present, suggested, checked = suggestion.present, suggestion.suggested, suggestion.checked
    kinds = asked.tallies_of_kinds().items()
    of_kinds = ", ".join(f"{kind} {tally.rates(suggested.threshold).right_refusals:.1%}" for kind, tally in kinds)
    told = [
        f"{asked.name}: of {counted},",
        f"  the present threshold {present.threshold:.2f} refuses {present.false_refusals:.1%} wrongly and "
        f"{present.right_refusals:.1%} rightly;",
        f"  {suggested.threshold:.2f} would refuse {suggested.false_refusals:.1%} wrongly and "
        f"{suggested.right_refusals:.1%} rightly ({of_kinds}).",
        f"  Chosen without the questions it was tried on, it was between {checked.lowest:.2f} and {checked.highest:.2f}, and "
        f"refused {checked.false_refusals:.1%} wrongly and {checked.right_refusals:.1%} rightly.",
    ]
    if suggestion.is_better:
        return [*told, f"  Suggested match_threshold: {suggested.threshold:.2f}."]
    return [*told, "  On questions it was not chosen from, it is not clearly better than the current threshold: keep that."]
