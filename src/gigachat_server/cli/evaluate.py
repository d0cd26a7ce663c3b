"""`gigachat eval`: ask a chatbot questions with known answers and score what it finds and says.

Idea: a collection of questions comes with its documents and becomes a chatbot that is kept, so the next run embeds nothing; or
`--chatbot` names a chatbot with documents, which is then asked but not changed. `--fit` only looks at what questions find.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from gigachat_server.cli import evaluation_fit, evaluation_report, evaluation_run
from gigachat_server.cli.client import ApiClient, connected, connected_to, run
from gigachat_server.cli.evaluation_fit import FitMaterial, FitPlan, named_number
from gigachat_server.cli.evaluation_report import ChatbotRun
from gigachat_server.cli.evaluation_run import Chatbot, Plan
from gigachat_server.cli.options import EVERYWHERE, with_settings
from gigachat_server.cli.output import note, print_json, printable
from gigachat_server.errors import SetupError
from gigachat_server.evaluation import measures, question_sets, thresholds
from gigachat_server.evaluation.measures import GROUPINGS, Document, Grouping, Question, Scores
from gigachat_server.evaluation.thresholds import Suggestion
from gigachat_server.models.embedders import relevance_file
from gigachat_server.settings import Settings

T = TypeVar("T")

_MATCH_COUNT, _MATCH_THRESHOLD = 3, 0.78
_PLOTS = (".svg", ".png")

_file = click.Path(dir_okay=False, path_type=Path)


@click.command("eval")
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path), metavar="FOLDER...")
@click.option("--chatbot", default="", metavar="NAME_OR_ID", help="Ask this chatbot as it is, without pushing documents.")
@click.option("--collection", default="", help="Only these collections, separated by commas.")
@click.option("--by", type=click.Choice(GROUPINGS), default="collection", show_default=True, help="How to group the scores.")
@click.option("--out", type=_file, help="Write one JSON line per question to this file.")
@click.option("--csv", "table", type=_file, help="Write one line per question to this file, for a spreadsheet.")
@click.option("--plot", type=_file, help="Draw scores and refusals, or with --fit the reliability, as .svg or .png.")
@click.option("--suggest-threshold", is_flag=True, help="Suggest the match_threshold that best separates answerable questions.")
@click.option("--url", default="", help="Measure the server at this URL instead of this machine's.")
@click.option("--key", default="", help="API key for --url.")
@click.option("--limit", type=click.IntRange(1), help="Ask only the first N questions of each collection.")
@click.option("--measure", type=click.Choice(["both", "answers", "retrieval"]), default="both", show_default=True)
@click.option("--match-count", type=click.IntRange(1, 100), help=f"The chatbot's, for answers.  [default: {_MATCH_COUNT}]")
@click.option("--match-threshold", type=click.FloatRange(0, 1), help=f"Likewise.  [default: {_MATCH_THRESHOLD}]")
@click.option("--retrieved", type=click.IntRange(1, 100), default=10, show_default=True, help="Passages to rank.")
@click.option("--concurrency", type=click.IntRange(1, 64), default=4, show_default=True, help="Questions asked at once.")
@click.option("--fit", type=_file, help="Fit the relevance scale to the server's embedder, and write it to this file.")
@click.option(
    "--weight",
    type=named_number(1000),
    multiple=True,
    metavar="NAME=NUMBER",
    help="With --fit: the weight of a folder or of collections.",
)
@click.option("--together", multiple=True, metavar="NAMES", help="With --fit: collections about the same documents.")
@click.option(
    "--refuse",
    type=named_number(1),
    multiple=True,
    metavar="KIND=SHARE",
    help="With --fit: the share of a kind that 0.78 must refuse.",
)
@click.option(
    "--refuse-generating",
    type=named_number(1),
    multiple=True,
    metavar="KIND=SHARE",
    help="The same for a generating model.",
)
@click.option("--json", "is_json", is_flag=True, help="Print the scores as JSON.")
@with_settings(*EVERYWHERE)
def evaluate(settings: Settings, *, folders: tuple[Path, ...], is_json: bool, url: str, key: str, **options: Any) -> None:
    """Measure how well a chatbot answers the questions in FOLDER: questions.csv or questions.jsonl, with the documents beside it.

    Each collection becomes a chatbot named "eval: <collection>", which is kept: a second run has nothing to embed. With
    --chatbot an existing one is asked, and FOLDER may be a file of questions alone. Several folders are measured together.

    With --fit no reply is asked for: the scale by which the features of a passage become its score is fitted to what the
    questions find, tried on collections that it was not made from, and written for the setting GIGACHAT_RELEVANCE.
    """
    chosen = _Options(**options)
    _check(chosen, url=url, key=key)
    sets = _read(folders, chosen)
    server = connected_to(url, key) if url else connected(settings)
    if chosen.fit is not None:
        _fit(server, sets, chosen, chosen.fit, is_json=is_json)
        return
    plan = Plan(
        with_answers=chosen.measure != "retrieval",
        with_retrieval=chosen.measure != "answers",
        retrieved=chosen.retrieved,
        concurrency=chosen.concurrency,
    )

    async def ask(api: ApiClient, chatbot: Chatbot, part: _Part) -> ChatbotRun:
        results = await evaluation_run.ask(api, chatbot, part.questions, plan, label=part.name)
        return ChatbotRun(part.name, chatbot, part.questions, results)

    asked = run(_each(server, sets, chosen, ask))
    suggestions = _suggestions(asked) if chosen.suggest_threshold or chosen.plot else []
    _write(asked, suggestions, out=chosen.out, table=chosen.table, plot=chosen.plot)
    _print(_scores(asked, chosen.by), suggestions if chosen.suggest_threshold else [], is_json=is_json)
    unasked = sum(len(one.questions) - len(one.results) for one in asked)
    if unasked:
        raise SetupError(f"{unasked} questions could not be asked; they count as failures.")


class _Options(msgspec.Struct, frozen=True, kw_only=True):
    """The options of the command line."""

    chatbot: str
    collection: str
    by: Grouping
    out: Path | None
    table: Path | None
    plot: Path | None
    fit: Path | None
    suggest_threshold: bool
    limit: int | None
    measure: str
    match_count: int | None
    match_threshold: float | None
    retrieved: int
    concurrency: int
    weight: tuple[tuple[str, float], ...]
    together: tuple[str, ...]
    refuse: tuple[tuple[str, float], ...]
    refuse_generating: tuple[tuple[str, float], ...]

    @property
    def results(self) -> dict[str, float]:
        """The settings of a chatbot that the run fills."""
        threshold = _MATCH_THRESHOLD if self.match_threshold is None else self.match_threshold
        return {"match_count": self.match_count or _MATCH_COUNT, "match_threshold": threshold}


class _Part(msgspec.Struct, frozen=True):
    """A collection to ask about: its folder, its documents (None: not present), its questions."""

    name: str
    folder: str
    documents: Sequence[Document]
    questions: Sequence[Question]


def _check(chosen: _Options, *, url: str, key: str) -> None:
    """Checked before any question is asked."""
    if bool(url) != bool(key):
        raise click.UsageError("--url and --key go together.")
    if chosen.chatbot and (chosen.match_count is not None or chosen.match_threshold is not None):
        raise click.UsageError("--match-count and --match-threshold are not for --chatbot, which is asked as it is.")
    if chosen.fit is None and (chosen.weight or chosen.together or chosen.refuse or chosen.refuse_generating):
        raise click.UsageError("--weight, --together, --refuse and --refuse-generating go with --fit.")
    if chosen.fit is not None and (chosen.out or chosen.table or chosen.suggest_threshold or chosen.chatbot):
        raise click.UsageError("--fit asks for no replies: it excludes --out, --csv, --suggest-threshold and --chatbot.")
    if (chosen.plot or chosen.suggest_threshold) and chosen.measure == "answers":
        raise click.UsageError("--plot and --suggest-threshold need retrieval scores: they exclude --measure answers.")
    if chosen.plot:
        _check_plot(chosen.plot)


def _read(folders: Sequence[Path], chosen: _Options) -> list[_Part]:
    """The collections of all folders, with their questions. Raises `SetupError` where two of a name are in the way."""
    wanted = {name.strip() for name in chosen.collection.split(",") if name.strip()}
    parts: dict[str, _Part] = {}
    ids: set[str] = set()
    for folder in folders:
        found = question_sets.read(folder)
        if not chosen.chatbot and found.documents is None:
            raise SetupError(f"{folder} holds no documents: put them beside the questions, or name a --chatbot that has them.")
        for remark in found.remarks:
            note(remark)
        by_collection: dict[str, list[Question]] = {}
        for question in found.questions:
            by_collection.setdefault(question.collection, []).append(question)
        for name, questions in by_collection.items():
            if name in parts or not ids.isdisjoint(question.id for question in questions):
                raise SetupError(f"{folder}: the collection {name!r} or ids of its questions are in another folder too.")
            ids.update(question.id for question in questions)
            documents = [document for document in found.documents or () if document.collection == name]
            parts[name] = _Part(name, folder.resolve().name, documents, questions[: chosen.limit])
    for name in sorted(wanted - parts.keys()):
        raise SetupError(f"There is no collection {name!r}: there are {', '.join(parts)}.")
    return [part for part in parts.values() if not wanted or part.name in wanted]


async def _each(
    server: AbstractAsyncContextManager[ApiClient],
    parts: Sequence[_Part],
    chosen: _Options,
    work: Callable[[ApiClient, Chatbot, _Part], Awaitable[T]],
) -> list[T]:
    """Do that with the chatbot of each collection: the existing one, or one that holds its documents and nothing else."""
    done = []
    async with server as api:
        for part in parts:
            if chosen.chatbot:
                chatbot = await evaluation_run.find(api, chosen.chatbot)
            else:
                chatbot = await evaluation_run.fill(api, part.name, part.documents, results=chosen.results)
            done.append(await work(api, chatbot, part))
    return done


def _fit(
    server: AbstractAsyncContextManager[ApiClient], parts: Sequence[_Part], chosen: _Options, path: Path, *, is_json: bool
) -> None:
    plan = FitPlan(
        weights=dict(chosen.weight),
        together=chosen.together,
        refuse=dict(chosen.refuse),
        refuse_generating=dict(chosen.refuse_generating),
    )
    counted = [part for part in parts if evaluation_fit.counts(part.name, part.folder, plan)]

    async def collect(api: ApiClient, chatbot: Chatbot, part: _Part) -> FitMaterial:
        return await evaluation_fit.collect(api, chatbot, part.questions, folder=part.folder, at_once=chosen.concurrency)

    result = evaluation_fit.fitted(run(_each(server, counted, chosen, collect)), plan)
    relevance_file.write(path, result.file)
    if chosen.plot is not None:
        from gigachat_server.cli import evaluation_plot

        _save(chosen.plot, evaluation_plot.draw_reliability(result.figures, kind=_kind(chosen.plot)))
    evaluation_fit.print_result(result, path, is_json=is_json)


def _check_plot(path: Path) -> None:
    """Checked before any question is asked."""
    if path.suffix.lower() not in _PLOTS:
        raise click.UsageError(f"--plot writes {' or '.join(_PLOTS)}: end the file's name with one of these.")
    from gigachat_server.cli import evaluation_plot  # half a second of imports

    evaluation_plot.check()


def _scores(asked: Sequence[ChatbotRun], by: Grouping) -> dict[str, Scores]:
    questions = [question for one in asked for question in one.questions]
    results = {id: result for one in asked for id, result in one.results.items()}
    return measures.score(questions, results, threshold={one.name: one.chatbot.match_threshold for one in asked}, by=by)


def _suggestions(asked: Sequence[ChatbotRun]) -> list[tuple[ChatbotRun, Suggestion]]:
    """One for each chatbot, which has one threshold whatever it is asked."""
    by_chatbot: dict[str, list[ChatbotRun]] = {}
    for one in asked:
        by_chatbot.setdefault(one.chatbot.id, []).append(one)
    pooled = [
        ChatbotRun(
            ", ".join(one.name for one in together),
            together[0].chatbot,
            [question for one in together for question in one.questions],
            {id: result for one in together for id, result in one.results.items()},
        )
        for together in by_chatbot.values()
    ]
    return [(one, thresholds.suggest(one.scored, present=one.chatbot.match_threshold)) for one in pooled]


def _write(
    asked: Sequence[ChatbotRun],
    suggestions: Sequence[tuple[ChatbotRun, Suggestion]],
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

            plot.write_bytes(evaluation_plot.draw(suggestions, kind=_kind(plot)))
    except OSError as error:
        raise SetupError(f"Cannot write {error.filename}: {error.strerror}.") from None


def _kind(plot: Path) -> str:
    return plot.suffix.lower().removeprefix(".")


def _save(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise SetupError(f"Cannot write {error.filename}: {error.strerror}.") from None


def _print(scores: dict[str, Scores], suggestions: Sequence[tuple[ChatbotRun, Suggestion]], *, is_json: bool) -> None:
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
