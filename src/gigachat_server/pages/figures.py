"""The page of figures: what a chatbot did in the last days, drawn, and as a table and a file.

Idea: the numbers are those that the API tells (`api/figures.py`); the page adds up, compares with the days before, and draws.
Invariant: it shows chatbots whose conversations the visitor may read, and of them numbers, and prompts that went unanswered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

import msgspec
from starlette.responses import Response

from gigachat_server.access.principal import Principal
from gigachat_server.api.figures import WireDay, WireFigures, WireWait, download, of_days
from gigachat_server.errors import NotFound
from gigachat_server.inbox.figures import DayFigures
from gigachat_server.learning.groups import Group
from gigachat_server.pages import charts
from gigachat_server.pages.charts import Chart, Scale, Series
from gigachat_server.pages.context import PageContext
from gigachat_server.pages.inbox import account_of, chatbots_of
from gigachat_server.pages.request import PageRequest
from gigachat_server.records import Chatbot, PricesConfig

PERIODS = {"7": "7 days", "30": "30 days", "90": "90 days", "365": "A year"}
_COMPARED = 90  # days at most; a year is compared with nothing
_BY_WEEK = 100  # days, from which on a bar stands for a week
_WEEK = 7
_LOOKED_AT, _SHOWN = 25, 5  # groups of unanswered prompts

REPLIES = (
    Series("answered", "Answered"),
    Series("fixed", "Fixed answer"),
    Series("refused", "Not known"),
    Series("failed", "Failed"),
)
REASONS = (
    Series("asked", "They asked"),
    Series("unanswered", "Unanswered"),
    Series("review", "Not reviewed in time"),
    Series("silence", "Operator silent"),
    Series("other", "Other"),
)
CONVERSATIONS = (Series("only", "Conversations"),)
COST = (Series("only", "Cost"),)
TOKENS = (Series("asked", "Read"), Series("only", "Written"))
WAITS = (Series("p50", "Half of them, within"), Series("p90", "Nine of ten, within"))


class Tile(msgspec.Struct, frozen=True):
    """A number, what it counts, and how it compares with the days before."""

    name: str
    value: str
    hint: str = ""
    change: str = ""


class Drawing(msgspec.Struct, frozen=True):
    """A chart with its title, and what it comes to in a sentence."""

    id: str
    title: str
    said: str
    chart: Chart
    is_wide: bool = False


class Score(msgspec.Struct, frozen=True):
    """How many gave it, as a share of all in percent."""

    score: int
    count: int
    percent: float


class Days(msgspec.Struct, frozen=True):
    """What there is to draw, and the same number of days before, if they are compared."""

    days: list[WireDay]
    total: WireFigures
    before: WireFigures | None


async def show(request: PageRequest[None], context: PageContext) -> Response:
    mine = await chatbots_of(request, context)
    wanted = request.query.get("chatbot", "")
    chatbot = next((each for each in mine if wanted in ("", each.id)), None)
    if chatbot is None and wanted:
        raise NotFound
    chosen = request.query.get("days", "")
    period = chosen if chosen in PERIODS else "7"
    values: dict[str, Any] = {}
    if chatbot is not None:
        found, before = await _read(account_of(request).within(chatbot), context, chatbot, int(period))
        if request.query.get("format") == "csv":
            return download(found)
        read = of_days(found)
        values = _shown(Days(read.days, read.total, before), chatbot.config.prices)
        values["missed"] = await _missed(context, chatbot)
    return await context.page(
        request,
        "figures.html",
        chatbots=mine,
        chatbot=chatbot,
        periods=PERIODS,
        period=period,
        duration=charts.duration,
        **values,
    )


async def _read(
    who: Principal, context: PageContext, chatbot: Chatbot, days: int
) -> tuple[Sequence[DayFigures], WireFigures | None]:
    figures = context.services.figures
    today = figures.today()
    is_compared = days <= _COMPARED
    found = await figures.list(who, chatbot, from_day=today - days * (2 if is_compared else 1) + 1, to_day=today)
    return found[-days:], of_days(found[:-days]).total if is_compared else None


async def _missed(context: PageContext, chatbot: Chatbot) -> list[Group]:
    """What went unanswered most often of late."""
    page = await context.services.learning.page(chatbot.id, "open", before=None, limit=_LOOKED_AT)
    return sorted(page.groups, key=lambda each: len(each.ids), reverse=True)[:_SHOWN]


def _shown(of: Days, prices: PricesConfig) -> dict[str, Any]:
    rated = sum(of.total.ratings.values())
    return {
        "is_empty": not (of.total.conversations or of.total.prompts or rated or any(_replies(of.total))),
        "tiles": _tiles(of, prices),
        "drawings": _drawings(of, prices),
        "scores": [_score(of.total, score, rated) for score in range(5, 0, -1)] if rated else [],
        "mean": f"{_mean(of.total):.1f}" if rated else "",
        "rated": rated,
        "up": of.total.thumbs.get("up", 0),
        "down": of.total.thumbs.get("down", 0),
        "days": of.days[::-1],
        "reasons": REASONS,
    }


def _tiles(of: Days, prices: PricesConfig) -> list[Tile]:
    total, before = of.total, of.before
    replies = sum(_replies(total))
    known = total.answered + total.fixed
    tokens = total.input_tokens + total.output_tokens
    asked = sum(total.handoffs.values())
    tiles = [
        Tile("Conversations", f"{total.conversations:,}", "", _change(total, before, lambda each: each.conversations)),
        Tile("Prompts", f"{total.prompts:,}", "", _change(total, before, lambda each: each.prompts)),
        Tile("Answered", f"{100 * known / replies:.0f} %" if replies else "–", f"{known:,} of {replies:,} replies"),
        Tile(
            "Asked for a human",
            f"{asked:,}",
            f"{total.takeovers:,} taken over",
            _change(total, before, lambda each: sum(each.handoffs.values())),
        ),
    ]
    if prices != PricesConfig():
        tiles.append(Tile("Cost", f"{total.cost:,.2f}", f"{tokens:,} tokens", _change(total, before, lambda each: each.cost)))
    else:
        tiles.append(
            Tile("Tokens", _short(tokens), "", _change(total, before, lambda each: each.input_tokens + each.output_tokens))
        )
    return tiles


def _drawings(of: Days, prices: PricesConfig) -> list[Drawing]:
    spans = _spans(of.days)
    names = [_day(span[0].day) for span in spans]
    when = "on {}" if len(spans) == len(of.days) else "in the week from {}"

    def stacked(
        id_: str, title: str, series: Sequence[Series], of_day: _Values, *, scale: _Scale = charts.counts, wide: bool = False
    ) -> Drawing:
        values = [[sum(column) for column in zip(*(of_day(day) for day in span), strict=True)] for span in spans]
        sums = [sum(each) for each in values]
        chart = charts.bars(series, names, values, scale(max(sums, default=0)))
        return Drawing(id_, title, _most([when.format(name) for name in names], sums, scale), chart, wide)

    drawings = [
        stacked("replies", "What became of prompts", REPLIES, _replies, wide=True),
        stacked("conversations", "Conversations that began", CONVERSATIONS, lambda day: [day.conversations]),
        stacked(
            "handoffs", "Why a human was asked for", REASONS, lambda day: [day.handoffs.get(each.name, 0) for each in REASONS]
        ),
        _waits("human", "How long people waited for a human", of.days, lambda day: day.first_human_reply_ms),
        _waits("word", "How long until the chatbot’s first word", of.days, lambda day: day.first_word_ms),
    ]
    if prices != PricesConfig():
        drawings.append(stacked("cost", "What it cost", COST, lambda day: [day.cost], scale=charts.amounts))
    else:
        drawings.append(stacked("tokens", "Tokens", TOKENS, lambda day: [day.input_tokens, day.output_tokens]))
    return drawings


_Values = Callable[[WireDay], Sequence[float]]
_Scale = Callable[[float], Scale]


def _waits(id_: str, title: str, days: Sequence[WireDay], of_day: Callable[[WireDay], WireWait]) -> Drawing:
    """By day also where bars stand for weeks: medians of days cannot be added up."""
    values = [(of_day(day).p50, of_day(day).p90) for day in days]
    most = max((p90 for _, p90 in values if p90 is not None), default=0)
    chart = charts.lines(WAITS, [_day(day.day) for day in days], values, charts.durations(most))
    longest = max(days, key=lambda day: of_day(day).p90 or 0, default=None)
    said = (
        "No waits."
        if longest is None or not most
        else f"Longest on {_day(longest.day)}: nine of ten within {charts.duration(most)}."
    )
    return Drawing(id_, title, said, chart)


def _replies(figures: WireFigures) -> list[float]:
    return [figures.answered, figures.fixed, figures.refused, figures.failed]


def _spans(days: Sequence[WireDay]) -> list[Sequence[WireDay]]:
    """Each day by itself, or whole weeks that end with the last day."""
    length = 1 if len(days) <= _BY_WEEK else _WEEK
    first = len(days) % length
    return [*([days[:first]] if first else []), *(days[at : at + length] for at in range(first, len(days), length))]


def _most(whens: Sequence[str], sums: Sequence[float], scale: _Scale) -> str:
    most = max(sums, default=0)
    if not most:
        return "None."
    return f"Most {whens[sums.index(most)]}: {scale(most).words(most)}."


def _change(total: WireFigures, before: WireFigures | None, of: Callable[[WireFigures], float]) -> str:
    """In words, against the days before; empty where there is nothing to compare with."""
    if before is None or not of(before):
        return ""
    percent = round(100 * (of(total) / of(before) - 1))
    if not percent:
        return "as before"
    return f"{abs(percent):,} % {'more' if percent > 0 else 'less'} than before"


def _score(total: WireFigures, score: int, rated: int) -> Score:
    count = total.ratings.get(str(score), 0)
    return Score(score, count, round(100 * count / rated, 1))


def _mean(total: WireFigures) -> float:
    return sum(int(score) * count for score, count in total.ratings.items()) / sum(total.ratings.values())


def _short(count: int) -> str:
    for unit, name in ((1_000_000, "M"), (1_000, "k")):
        if count >= unit:
            return f"{count / unit:.1f}".removesuffix(".0") + f" {name}"
    return str(count)


def _day(iso: str) -> str:
    day = date.fromisoformat(iso)
    return f"{day.day} {day:%b}"
