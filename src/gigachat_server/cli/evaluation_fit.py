"""`gigachat eval --fit`: fits a relevance scale for the server's embedder from what prompts find.

Idea: the server shows the features of every passage that a prompt finds, so a fit needs only its API, for any embedder. No
replies are requested. Invariant: chatbots are only searched; turns before a follow-up are replayed as in any evaluation.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from gigachat_server.cli import evaluation_run
from gigachat_server.cli.client import ApiClient, ApiProblem
from gigachat_server.cli.evaluation_run import Chatbot
from gigachat_server.cli.output import note, print_json, print_table
from gigachat_server.cli.progress import for_each
from gigachat_server.errors import SetupError
from gigachat_server.evaluation.measures import Question
from gigachat_server.evaluation.relevance import examples as learning
from gigachat_server.evaluation.relevance.examples import PassageExample, PromptExample, is_named
from gigachat_server.evaluation.relevance.figures import Figures, Rate, figures
from gigachat_server.evaluation.relevance.fit import Bars, Fit, fit, has_prior, named, without_prior
from gigachat_server.models.embedders.relevance_file import FittedOn, FittedWeights, RelevanceFile

_LOOKED_AT = 20  # passages of a prompt: enough to be left with some when those that answer it are taken away


class FitPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How to fit. `weights` of folders and collections by pattern; `refuse` and `refuse_generating`: shares of kinds."""

    weights: Mapping[str, float]
    together: Sequence[str]
    refuse: Mapping[str, float]
    refuse_generating: Mapping[str, float]


class FitMaterial(msgspec.Struct, frozen=True):
    """What prompts found, for which embedder, and how much more lenient its scale is now for a model that generates."""

    asked: list[PromptExample]
    embedder: str
    leniency: float


class FitResult(msgspec.Struct, frozen=True):
    """A scale, as a file, and how good it is on collections that it was not made from."""

    file: RelevanceFile
    figures: Figures


class _Passage(PassageExample, frozen=True, kw_only=True):
    @property
    def seen(self) -> PassageExample:
        fields = msgspec.structs.asdict(self)
        fields["name"] = self.name.rpartition("-")[0]
        fields["content"] = self.content.partition("\n\n---\n\n")[2]
        return PassageExample(**fields)


class _Found(msgspec.Struct):
    passages: list[_Passage]
    searched: int
    is_dependent: bool
    embedder: str
    leniency: float


async def collect(api: ApiClient, chatbot: Chatbot, questions: Sequence[Question], *, folder: str, at_once: int) -> FitMaterial:
    """What the first passages of each prompt are like. Prompts that could not be asked are told of and left out."""
    asked: dict[str, PromptExample] = {}
    scales: set[tuple[str, float]] = set()
    started = f"{time.time_ns():x}"

    async def look(question: Question) -> _Found:
        query = {"query": question.question, "limit": str(_LOOKED_AT)}
        if question.history:
            query["conversation_id"] = await evaluation_run.replay(api, chatbot, question, started)
        return msgspec.convert(await api.get(chatbot.path + "/retrieve", **query), _Found)

    async def one(question: Question) -> None:
        try:
            found = await look(question)
        except ApiProblem as problem:
            note(f"{question.id}: {problem}")
            return
        scales.add((found.embedder, found.leniency))
        asked[question.id] = PromptExample(
            question=question,
            folder=folder,
            passages=[passage.seen for passage in found.passages],
            searched=found.searched,
            is_dependent=found.is_dependent,
        )

    await for_each(questions, one, at_once=at_once, label=f"{questions[0].collection}: prompts")
    if len(scales) != 1:
        raise SetupError("No prompt could be asked." if not scales else "The server's embedder or scale changed during the run.")
    in_order = [asked[question.id] for question in questions if question.id in asked]
    return FitMaterial(in_order, *scales.pop())


def counts(collection: str, folder: str, plan: FitPlan) -> bool:
    """Whether a collection weighs anything; what does not is not asked."""
    return next((weight for pattern, weight in plan.weights.items() if is_named(collection, folder, pattern)), 1.0) > 0


def fitted(collected: Sequence[FitMaterial], plan: FitPlan) -> FitResult:
    """The scale of all that was collected. Raises `SetupError` where that is too little, or of several embedders."""
    embedders = {one.embedder for one in collected}
    if len(embedders) > 1:
        raise SetupError(f"The embedder changed during the run: {', '.join(sorted(embedders))}.")
    found = learning.examples((one for each in collected for one in each.asked), weights=plan.weights)
    bars = Bars(plan.refuse, plan.refuse_generating, max((one.leniency for one in collected), default=0.0))
    scale = fit(found, plan.weights, bars=bars, together=plan.together)
    general = None
    if has_prior(found):
        general = fit(without_prior(found), plan.weights, bars=bars, together=plan.together)
    file = RelevanceFile(
        embedder=embedders.pop(),
        weights=_weights(scale),
        general=None if general is None else _weights(general),
        fitted_on=FittedOn(
            prompts=sum(not one.is_removed for one in found),
            collections=tuple(dict.fromkeys(one.collection for one in found)),
            fitted_at=datetime.now(UTC).isoformat(timespec="seconds"),
        ),
    )
    return FitResult(file, figures(found, scale))


def _weights(scale: Fit) -> FittedWeights:
    rounded = {name: round(weight, 4) for name, weight in named(scale.weights).items()}
    leniency = round(scale.bar - scale.lenient_bar, 4)
    return FittedWeights(**rounded, bias=round(scale.weights.bias, 4), leniency=leniency)


# --- what is told ---


def print_result(result: FitResult, path: Path, *, is_json: bool) -> None:
    if is_json:
        print_json(result)
        return
    rates = result.figures.rates
    names = list(dict.fromkeys(name for of_group in rates.values() for name in of_group))
    rows = [[name, *(_cell(rates[group].get(name)) for group in rates)] for name in names]
    print_table(["of prompts that the scale did not see", *rates], rows, nothing="", always_names_columns=True)
    print()
    bins = [
        (f"{one.low:.1f} to {one.high:.1f}", str(one.counted), f"{one.relevance:.2f}", _cell(one.answerable))
        for one in result.figures.bins
    ]
    print_table(("RELEVANCE", "PROMPTS", "MEAN", "ANSWERABLE"), bins, nothing="", always_names_columns=True)
    weights = msgspec.structs.asdict(result.file.weights)
    note("The scale: " + ", ".join(f"{name} {weight:+.2f}" for name, weight in weights.items()) + ".")
    note(f"Written to {path}. To use it, start the server with GIGACHAT_RELEVANCE={path}.")


def _cell(rate: Rate | None) -> str:
    return "" if rate is None else f"{rate.share:.3f} [{rate.low:.2f}, {rate.high:.2f}] of {rate.counted}"


# --- what is asked for ---


def named_number(most: float) -> Callable[[str], tuple[str, float]]:
    """The type of an option `NAME=NUMBER`, the number from 0 to `most`."""

    def convert(value: str) -> tuple[str, float]:
        told, _, number = value.rpartition("=")
        try:
            found = float(number)
        except ValueError:
            found = -1.0
        if not told or not 0 <= found <= most:
            raise click.BadParameter(f"{value!r} is not NAME=NUMBER with a number from 0 to {most:g}.")
        return told, found

    return convert
