"""Charts as data for `chart.html`: bars and lines by day, with their axes. Pure.

Idea: across, everything has its place in percent; upright, in pixels. So a chart is as wide as there is room for, while its text
and its lines keep their size on every screen. Invariant: a value that is missing is drawn nowhere, and never as 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import msgspec

HEIGHT = 176  # of the plot, in pixels
_TOP = 22  # above it, for what is told of the column under the pointer
_MOST_TICKS = 4
_MOST_LABELS = 7
_LEAST_PX = 1.5  # of a part that is not 0

_SECOND, _MINUTE, _HOUR, _DAY = 1_000, 60_000, 3_600_000, 86_400_000
_STEPS_MS = (
    *(1, 2, 5, 10, 20, 50, 100, 200, 500),
    *(each * _SECOND for each in (1, 2, 5, 10, 15, 30)),
    *(each * _MINUTE for each in (1, 2, 5, 10, 15, 30)),
    *(each * _HOUR for each in (1, 2, 4, 8, 12)),
    *(each * _DAY for each in (1, 2, 5, 10, 20, 50, 100)),
)
_UNITS = ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min"), (_SECOND, "s"))


class Series(msgspec.Struct, frozen=True):
    """What is counted together: its name in the style sheet, and in words."""

    name: str
    label: str


class Part(msgspec.Struct, frozen=True):
    """A rectangle of a bar, or a point of a line."""

    name: str
    y: float
    height: float = 0.0


class Told(msgspec.Struct, frozen=True):
    """A number in words, of the series of that name."""

    name: str
    text: str


class Column(msgspec.Struct, frozen=True):
    """A day, or a week, with its numbers in words."""

    x: float
    title: str
    told: list[Told]
    parts: list[Part]


class Stroke(msgspec.Struct, frozen=True):
    """From one day to the next."""

    name: str
    x1: float
    y1: float
    x2: float
    y2: float


class Tick(msgspec.Struct, frozen=True):
    y: float
    text: str


class Label(msgspec.Struct, frozen=True):
    """`is_minor`: there is no room for it on a narrow screen."""

    x: float
    text: str
    is_minor: bool


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    series: Sequence[Series]
    columns: list[Column]
    strokes: list[Stroke]
    ticks: list[Tick]
    labels: list[Label]
    column_width: float
    bar_width: float
    height: float = _TOP + HEIGHT
    bottom: float = _TOP + HEIGHT

    @property
    def is_empty(self) -> bool:
        return not any(each.parts for each in self.columns)


Values = Sequence[float | None]  # one for each series


class Scale(msgspec.Struct, frozen=True):
    """From a value to its height, in steps that are easy to read."""

    step: float
    top: float
    words: Callable[[float], str]

    def y(self, value: float) -> float:
        return round(_TOP + HEIGHT * (1 - value / self.top), 1)

    def ticks(self) -> list[Tick]:
        return [Tick(self.y(each * self.step), self.words(each * self.step)) for each in range(round(self.top / self.step) + 1)]


def bars(series: Sequence[Series], names: Sequence[str], values: Sequence[Values], scale: Scale) -> Chart:
    """A bar for each of `names`, of parts that stand on each other."""
    columns = []
    for at, those in enumerate(values):
        parts, below = [], 0.0
        for each, value in zip(series, those, strict=True):
            if value:
                y = scale.y(below + value)
                height = max(scale.y(below) - y, _LEAST_PX)
                parts.append(Part(each.name, min(y, scale.y(below) - height), height))
                below += value
        columns.append(Column(_middle(at, len(values)), names[at], _told(series, those, scale), parts))
    return _chart(series, names, columns, [], scale)


def lines(series: Sequence[Series], names: Sequence[str], values: Sequence[Values], scale: Scale) -> Chart:
    """A point for each value, and a line from each to that of the day after, if there is one."""
    columns, strokes = [], []
    for at, those in enumerate(values):
        pairs = [(each.name, value) for each, value in zip(series, those, strict=True) if value is not None]
        x = _middle(at, len(values))
        points = [Part(name, scale.y(value)) for name, value in pairs]
        columns.append(Column(x, names[at], _told(series, those, scale), points))
        for number, each in enumerate(series if at else ()):
            before, value = values[at - 1][number], those[number]
            if before is not None and value is not None:
                strokes.append(Stroke(each.name, _middle(at - 1, len(values)), scale.y(before), x, scale.y(value)))
    return _chart(series, names, columns, strokes, scale)


def counts(most: float) -> Scale:
    """For whole numbers."""
    step = max(_step(most), 1)
    return Scale(step, _top(most, step), lambda value: f"{value:,.0f}")


def amounts(most: float) -> Scale:
    """For money: two decimals, or as many as it needs."""
    step = _step(most)
    decimals = max(2, -math.floor(math.log10(step)))
    return Scale(step, _top(most, step), lambda value: f"{value:,.{decimals}f}")


def durations(most: float) -> Scale:
    """For milliseconds."""
    step = next((each for each in _STEPS_MS if most / each <= _MOST_TICKS), _step(most))
    return Scale(step, _top(most, step), duration)


def duration(ms: float) -> str:
    for unit, name in _UNITS:
        if ms >= unit:
            return f"{ms / unit:.1f}".removesuffix(".0") + f" {name}"
    return f"{ms:.0f} ms" if ms else "0"


def _chart(series: Sequence[Series], names: Sequence[str], columns: list[Column], strokes: list[Stroke], scale: Scale) -> Chart:
    every = math.ceil(len(names) / _MOST_LABELS) if names else 1
    shown = range(0, len(names), every)
    width = 100 / max(len(columns), 1)
    share = 0.45 if len(columns) <= _MOST_LABELS else 0.7 if len(columns) <= 31 else 0.8
    return Chart(
        series=series,
        columns=columns,
        strokes=strokes,
        ticks=scale.ticks(),
        labels=[Label(_middle(at, len(names)), names[at], bool(number % 2)) for number, at in enumerate(shown)],
        column_width=round(width, 3),
        bar_width=round(width * share, 3),
    )


def _told(series: Sequence[Series], values: Values, scale: Scale) -> list[Told]:
    return [Told(each.name, scale.words(value)) for each, value in zip(series, values, strict=True) if value]


def _middle(at: int, count: int) -> float:
    return round((at + 0.5) * 100 / count, 3)


def _step(most: float) -> float:
    """1, 2 or 5 times a power of ten, so that few of them reach the largest value."""
    if most <= 0:
        return 1
    power = 10.0 ** math.floor(math.log10(most / _MOST_TICKS))
    return next((power * each for each in (1, 2, 5) if most / (power * each) <= _MOST_TICKS), power * 10)


def _top(most: float, step: float) -> float:
    return max(math.ceil(round(most / step, 9)), 1) * step
