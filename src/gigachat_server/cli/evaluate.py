"""`gigachat eval`: ask a chatbot questions with known answers and score what it finds and says.

Idea: a collection of questions comes with its documents and becomes a chatbot that is kept, so the next run embeds nothing;
or `--chatbot` names one that has its documents, and then questions are asked and nothing else is changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import click
import msgspec

from gigachat_server import evaluation, question_sets, thresholds
from gigachat_server.cli import evaluation_report, evaluation_run
from gigachat_server.cli.client import ApiClient, connected, connected_to, run
from gigachat_server.cli.evaluation_report import Asked
from gigachat_server.cli.evaluation_run import Plan
from gigachat_server.cli.options import EVERYWHERE, with_settings
from gigachat_server.cli.output import note, print_json, printable
from gigachat_server.errors import SetupError
from gigachat_server.evaluation import GROUPINGS, Document, Grouping, Question, Scores
from gigachat_server.settings import Settings
from gigachat_server.thresholds import Suggestion

_MATCH_COUNT, _MATCH_THRESHOLD = 3, 0.78
_PLOTS = (".svg", ".png")

_file = click.Path(dir_okay=False, path_type=Path)


class Target(msgspec.Struct, frozen=True):
    """Which chatbot is asked: an existing one, or one that is filled with the documents and has these settings."""

    chatbot: str
    documents: Sequence[Document]
    results: dict[str, Any]


@click.command("eval")
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--chatbot", default="", metavar="NAME_OR_ID", help="Ask this one as it is, instead of one filled with documents.")
@click.option("--collection", default="", help="Only these collections, separated by commas.")
@click.option("--by", type=click.Choice(GROUPINGS), default="collection", show_default=True, help="What is scored together.")
@click.option("--out", type=_file, help="Write one JSON line a question there.")
@click.option("--csv", "table", type=_file, help="Write one line a question there, for a spreadsheet.")
@click.option("--plot", type=_file, help="Draw scores and refusals there, as .svg or .png.")
@click.option("--suggest-threshold", is_flag=True, help="Say which match_threshold tells best what can be answered.")
@click.option("--url", default="", help="Measure the server there instead of this machine's.")
@click.option("--key", default="", help="API key for --url.")
@click.option("--limit", type=click.IntRange(1), help="Ask only the first N questions of each collection.")
@click.option("--measure", type=click.Choice(["both", "answers", "retrieval"]), default="both", show_default=True)
@click.option("--match-count", type=click.IntRange(1, 100), help=f"The chatbot's, for answers.  [default: {_MATCH_COUNT}]")
@click.option("--match-threshold", type=click.FloatRange(0, 1), help=f"Likewise.  [default: {_MATCH_THRESHOLD}]")
@click.option("--retrieved", type=click.IntRange(1, 100), default=10, show_default=True, help="Passages to rank.")
@click.option("--concurrency", type=click.IntRange(1, 64), default=4, show_default=True, help="Questions asked at once.")
@click.option("--json", "is_json", is_flag=True, help="Print the scores as JSON.")
@with_settings(*EVERYWHERE)
def evaluate(
    settings: Settings,
    *,
    folder: Path,
    chatbot: str,
    collection: str,
    by: Grouping,
    out: Path | None,
    table: Path | None,
    plot: Path | None,
    suggest_threshold: bool,
    url: str,
    key: str,
    limit: int | None,
    measure: str,
    match_count: int | None,
    match_threshold: float | None,
    is_json: bool,
    **numbers: Any,
) -> None:
    """Measure how well a chatbot answers the questions in FOLDER: questions.csv or questions.jsonl, with the documents beside it.

    Each collection becomes a chatbot named "eval: <collection>", which is kept: a second run has nothing to embed. With
    --chatbot an existing one is asked, and FOLDER may be a file of questions alone.
    """
    if bool(url) != bool(key):
        raise click.UsageError("--url and --key go together.")
    if chatbot and (match_count is not None or match_threshold is not None):
        raise click.UsageError("--match-count and --match-threshold are not for --chatbot, which is asked as it is.")
    if (plot or suggest_threshold) and measure == "answers":
        raise click.UsageError("--plot and --suggest-threshold need the scores of retrieval: not with --measure answers.")
    if plot:
        _check_plot(plot)
    asked_for = question_sets.read(folder)
    if not chatbot and asked_for.documents is None:
        raise SetupError(f"{folder} holds no documents: put them beside the questions, or name a --chatbot that has them.")
    for remark in asked_for.remarks:
        note(remark)
    results = {"match_count": match_count or _MATCH_COUNT}
    results["match_threshold"] = _MATCH_THRESHOLD if match_threshold is None else match_threshold  # type: ignore[assignment]
    by_collection = _chosen(collection, asked_for.questions, limit=limit)
    plan = Plan(with_answers=measure != "retrieval", with_retrieval=measure != "answers", **numbers)
    server = connected_to(url, key) if url else connected(settings)
    asked = run(_measure(server, plan, Target(chatbot, asked_for.documents or [], results), by_collection))

    scores = _scores(asked, by)
    suggestions = _suggestions(asked) if suggest_threshold or plot else []
    _write(asked, suggestions, out=out, table=table, plot=plot)
    _print(scores, suggestions if suggest_threshold else [], is_json=is_json)
    unasked = sum(len(one.questions) - len(one.results) for one in asked)
    if unasked:
        raise SetupError(f"{unasked} questions could not be asked; they count as failures.")


def _check_plot(path: Path) -> None:
    """Told before all questions have been asked."""
    if path.suffix.lower() not in _PLOTS:
        raise click.UsageError(f"--plot writes {' or '.join(_PLOTS)}, told by the end of the name.")
    from gigachat_server.cli import evaluation_plot  # half a second of imports

    evaluation_plot.check()


def _chosen(collection: str, questions: Sequence[Question], *, limit: int | None) -> dict[str, list[Question]]:
    known: dict[str, list[Question]] = {}
    for question in questions:
        known.setdefault(question.collection, []).append(question)
    wanted = [name.strip() for name in collection.split(",") if name.strip()]
    for name in wanted:
        if name not in known:
            raise SetupError(f"There is no collection {name!r}: there are {', '.join(known)}.")
    return {name: known[name][:limit] for name in wanted or known}


async def _measure(
    server: AbstractAsyncContextManager[ApiClient], plan: Plan, target: Target, by_collection: dict[str, list[Question]]
) -> list[Asked]:
    asked = []
    async with server as api:
        for name, questions in by_collection.items():
            if target.chatbot:
                chatbot = await evaluation_run.find(api, target.chatbot)
            else:
                documents = [document for document in target.documents if document.collection == name]
                chatbot = await evaluation_run.fill(api, name, documents, results=target.results)
            results = await evaluation_run.ask(api, chatbot, questions, plan, label=name)
            asked.append(Asked(name, chatbot, questions, results))
    return asked


def _scores(asked: Sequence[Asked], by: Grouping) -> dict[str, Scores]:
    questions = [question for one in asked for question in one.questions]
    results = {id: result for one in asked for id, result in one.results.items()}
    return evaluation.score(questions, results, threshold={one.name: one.chatbot.match_threshold for one in asked}, by=by)


def _suggestions(asked: Sequence[Asked]) -> list[tuple[Asked, Suggestion]]:
    """One for each chatbot, which has one threshold whatever it is asked."""
    by_chatbot: dict[str, list[Asked]] = {}
    for one in asked:
        by_chatbot.setdefault(one.chatbot.id, []).append(one)
    pooled = [
        Asked(
            ", ".join(one.name for one in together),
            together[0].chatbot,
            [question for one in together for question in one.questions],
            {id: result for one in together for id, result in one.results.items()},
        )
        for together in by_chatbot.values()
    ]
    return [(one, thresholds.suggest(one.scored, present=one.chatbot.match_threshold)) for one in pooled]


def _write(
    asked: Sequence[Asked],
    suggestions: Sequence[tuple[Asked, Suggestion]],
    *,
    out: Path | None,
    table: Path | None,
    plot: Path | None,
) -> None:
    try:
        if out is not None:
            results = [result for one in asked for result in one.results.values()]
            out.write_bytes(b"".join(msgspec.json.encode(result) + b"\n" for result in results))
        if table is not None:
            # With the mark by which spreadsheets know UTF-8.
            table.write_text(evaluation_report.csv_text(asked), encoding="utf-8-sig", newline="")
        if plot is not None:
            from gigachat_server.cli import evaluation_plot

            plot.write_bytes(evaluation_plot.draw(suggestions, kind=plot.suffix.lower().removeprefix(".")))
    except OSError as error:
        raise SetupError(f"Cannot write {error.filename}: {error.strerror}.") from None


def _print(scores: dict[str, Scores], suggestions: Sequence[tuple[Asked, Suggestion]], *, is_json: bool) -> None:
    if is_json:
        told: dict[str, Any] = {name: dict(of_collection) for name, of_collection in scores.items()}
        for one, suggestion in suggestions:
            for name in {question.collection for question in one.questions}:
                told.setdefault(name, {})["suggested_threshold"] = msgspec.to_builtins(suggestion)
        print_json(told)
        return
    evaluation_report.print_scores(scores)
    for one, suggestion in suggestions:
        for line in evaluation_report.advice(one, suggestion):
            print(printable(line))
