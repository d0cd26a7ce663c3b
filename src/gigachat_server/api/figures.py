"""Figures of a chatbot over HTTP, by day, as JSON or as CSV for a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.responses import Response

from gigachat_server.edge.answer import Answer
from gigachat_server.edge.request import Request, prefers, query_choice
from gigachat_server.errors import FieldError, InvalidRequest
from gigachat_server.inbox.counting import ADDED, BY_DIMENSION, HANDOFF_REASONS, MEASURED, PERCENTILES, Figure
from gigachat_server.inbox.figures import MOST_DAYS, DayFigures
from gigachat_server.services import Services

EPOCH = date(1970, 1, 1)
_USUAL_DAYS = 30
_MILLION = 1_000_000
_CSV = "text/csv"


class WireWait(msgspec.Struct, frozen=True):
    """How long people waited, in milliseconds; null where none did. Percentiles of days cannot be added up."""

    count: int
    p50: int | None = None
    p90: int | None = None


class WireFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What happened, each fact on the day of its own event."""

    conversations: Annotated[int, Meta(description="Conversations that began.")]
    prompts: int
    answered: Annotated[int, Meta(description="Replies that are neither refusals, fixed answers nor handoffs.")]
    refused: Annotated[int, Meta(description="Replies to prompts that count as unanswered.")]
    fixed: Annotated[int, Meta(description="Replies that are a fixed answer.")]
    failed: int
    takeovers: int
    handoffs: Annotated[dict[str, int], Meta(description="By reason: asked, unanswered, review, silence, other.")]
    ratings: Annotated[dict[str, int], Meta(description="Of conversations, by score from 1 to 5.")]
    thumbs: Annotated[dict[str, int], Meta(description="Of replies: up, down.")]
    input_tokens: int
    output_tokens: int
    cost: Annotated[float, Meta(description="By the chatbot's `prices`.")]


class WireDay(WireFigures, frozen=True, kw_only=True):
    day: Annotated[str, Meta(description="YYYY-MM-DD, in UTC.")]
    first_word_ms: Annotated[WireWait, Meta(description="From a prompt to the first word of its reply.")]
    first_human_reply_ms: Annotated[WireWait, Meta(description="From a handoff to the first word of an operator.")]


class WireFiguresOfDays(msgspec.Struct, frozen=True):
    days: list[WireDay]
    total: WireFigures


async def show(request: Request[None], services: Services) -> Answer | Response:
    """The last 30 days, unless `from` and `to` say otherwise. A day that is over stays as it is."""
    today = EPOCH + timedelta(days=services.figures.today())
    to = _day(request, "to", today)
    from_ = _day(request, "from", to - timedelta(days=_USUAL_DAYS - 1))
    days = (to - from_).days + 1
    if not 1 <= days <= MOST_DAYS:
        raise InvalidRequest(errors=(FieldError("from", f"Must be at most {MOST_DAYS - 1} days before `to`, and not after it."),))
    found = await services.figures.list(
        request.principal, request.chatbot, from_day=(from_ - EPOCH).days, to_day=(to - EPOCH).days
    )
    wanted = query_choice(request.query, "format", ("json", "csv"))
    if wanted == "csv" or (wanted is None and prefers(_CSV, request.headers.get("accept", ""))):
        return download(found)
    return Answer(of_days(found))


def download(found: Sequence[DayFigures]) -> Response:
    """The table as a file, named after its first and last day."""
    span = f"-{_date(found[0].day)}-{_date(found[-1].day)}" if found else ""
    return Response(
        table(found),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="figures{span}.csv"'},
    )


def of_days(found: Sequence[DayFigures]) -> WireFiguresOfDays:
    return WireFiguresOfDays([_wire_day(each) for each in found], _wire(_total(found)))


def table(found: Sequence[DayFigures]) -> str:
    """CSV with a line a day; the columns are always the same."""
    handoffs = [("handoffs", reason) for reason in sorted((*HANDOFF_REASONS, "other"))]
    columns = [
        *((name, "") for name in ADDED),
        *handoffs,
        *(("ratings", str(score)) for score in range(1, 6)),
        *(("thumbs", which) for which in ("up", "down")),
        *((name, which) for name in MEASURED for which in ("count", *(f"p{percent}" for percent in PERCENTILES))),
    ]
    written = io.StringIO()
    lines = csv.writer(written)
    lines.writerow(["day", *("_".join(filter(None, column)) for column in columns)])
    for each in found:
        values = {(name, dimension): value for name, dimension, value in each.figures}
        lines.writerow([_date(each.day), *(_cell(column, values.get(column)) for column in columns)])
    return written.getvalue()


def _cell(column: tuple[str, str], value: int | None) -> str:
    if column == ("cost", ""):
        return f"{(value or 0) / _MILLION:.6f}"
    if value is None:
        return "" if column[1] in ("p50", "p90") else "0"
    return str(value)


def _wire_day(counted: DayFigures) -> WireDay:
    values = {(name, dimension): value for name, dimension, value in counted.figures}
    fields = msgspec.structs.asdict(_wire(counted.figures)) | {
        name: WireWait(values.get((name, "count"), 0), *(values.get((name, f"p{percent}")) for percent in PERCENTILES))
        for name in MEASURED
    }
    return WireDay(day=_date(counted.day), **fields)


def _wire(figures: Iterable[Figure]) -> WireFigures:
    fields: dict[str, Any] = {**dict.fromkeys(ADDED, 0), **{name: {} for name in BY_DIMENSION}}
    for name, dimension, value in figures:
        if name in ADDED:
            fields[name] = value
        elif name in BY_DIMENSION:
            fields[name][dimension] = value
    return WireFigures(**{**fields, "cost": fields["cost"] / _MILLION})


def _total(found: Iterable[DayFigures]) -> list[Figure]:
    total: Counter[tuple[str, str]] = Counter()
    for each in found:
        for name, dimension, value in each.figures:
            if name not in MEASURED:
                total[name, dimension] += value
    return [(name, dimension, value) for (name, dimension), value in sorted(total.items())]


def _date(day: int) -> str:
    return (EPOCH + timedelta(days=day)).isoformat()


def _day(request: Request[None], name: str, otherwise: date) -> date:
    text = request.query.get(name)
    if text is None:
        return otherwise
    try:
        # Stricter than `fromisoformat`, which takes weeks, too.
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date() if len(text) == 10 else None
    except ValueError:
        day = None
    if day is None or day < EPOCH:
        raise InvalidRequest(errors=(FieldError(name, "Must be a day since 1970, such as 2027-01-31."),))
    return day
