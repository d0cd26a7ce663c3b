"""The input and the output of every measurement.

Invariant: a figure that has a floor was measured beside it, round by round, in the same minutes: on a machine that
others use too only their ratio means something, so a ratio is the median of the rounds' own ratios.
"""

from __future__ import annotations

import os
import platform
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import apsw
import msgspec

from gigachat_server import __version__
from gigachat_server.bench.load import Load, Outcome
from gigachat_server.bench.processes import run_load
from gigachat_server.errors import SetupError


class Budget(msgspec.Struct, frozen=True):
    """A limit that the value must keep to, or its ratio to the floor (`of_floor`)."""

    limit: float
    is_most: bool = True  # else it is the least
    of_floor: bool = False

    def is_met(self, value: float, ratio: float | None) -> bool:
        measured = ratio if self.of_floor else value
        if measured is None:
            return False
        return measured <= self.limit if self.is_most else measured >= self.limit

    def text(self, unit: str) -> str:
        sign = "<=" if self.is_most else ">="
        if not self.of_floor:
            return f"{sign} {self.limit:g} {unit}".rstrip()
        return f"{sign} {self.limit:g} x" if self.is_most else f"{sign} {self.limit:.0%}"


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """One figure. A budget in `x` or percent applies to the ratio; `ok` is None without a budget."""

    name: str
    value: float
    unit: str
    floor: float | None = None
    ratio: float | None = None
    budget: str | None = None
    ok: bool | None = None


class Machine(msgspec.Struct, frozen=True):
    """Where it was measured. Figures of another machine, or of this one at another load, compare only as ratios."""

    cores: int
    processor: str
    system: str
    python: str
    gigachat: str
    sqlite: str
    load_average: float


class Report(msgspec.Struct, frozen=True):
    machine: Machine
    metrics: list[Metric]


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """How much is measured."""

    rounds: int = 3
    seconds: float = 5.0  # of one round at full load
    clients: int = 64
    chunks: int = 10_000
    ingested: int = 96  # chunks a round
    topics: int = 40
    first_tokens: int = 200
    streams: int = 1_000
    starts: int = 5
    searched: int = 100_000  # chunks of the big chatbot that is searched
    small_chatbots: int = 1_000
    searches: int = 500


FULL = Size()
QUICK = Size(
    rounds=2, seconds=2.0, ingested=48, topics=20, first_tokens=100, starts=2, searched=10_000, small_chatbots=50, searches=200
)
TINY = Size(
    rounds=1,
    seconds=0.1,
    clients=2,
    chunks=20,
    ingested=4,
    topics=2,
    first_tokens=3,
    streams=5,
    starts=1,
    searched=6_000,
    small_chatbots=2,
    searches=10,
)  # to see that everything works


class Run(msgspec.Struct, frozen=True):
    """One run of the benchmark: its data folder, how much to measure, and where to report progress.

    `new_database` gives the URL of an empty database, or nothing where the embedded store is measured. `beside` is another
    checkout of gigachat, whose turns are measured in the same rounds.
    """

    folder: Path
    size: Size
    say: Callable[[str], None]
    new_database: Callable[[], str] = str
    beside: Path | None = None

    def new_folder(self, name: str) -> Path:
        folder = self.folder / name
        folder.mkdir()
        return folder


def metric(
    name: str,
    values: Sequence[float],
    unit: str,
    *,
    floors: Sequence[float] = (),
    budget: Budget | None = None,
) -> Metric:
    """The medians of the rounds, `values` and `floors` in the same order, held against the budget."""
    value = statistics.median(values)
    pairs = [(ours, floor) for ours, floor in zip(values, floors, strict=False) if floor]
    ratio = statistics.median(ours / floor for ours, floor in pairs) if pairs else None
    return Metric(
        name=name,
        value=round(value, 3),
        unit=unit,
        floor=round(statistics.median(floors), 3) if floors else None,
        ratio=round(ratio, 4) if ratio is not None else None,
        budget=budget.text(unit) if budget else None,
        ok=budget.is_met(value, ratio) if budget else None,
    )


def machine() -> Machine:
    return Machine(
        cores=len(os.sched_getaffinity(0)),
        processor=_processor(),
        system=platform.platform(),
        python=platform.python_version(),
        gigachat=__version__,
        sqlite=apsw.sqlite_lib_version(),
        load_average=round(os.getloadavg()[0], 2),
    )


def _processor() -> str:
    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if sys.platform == "linux" and about.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def all_answered(load: Load) -> Outcome:
    """What came of the load. Raises `SetupError` unless every request was answered with success."""
    outcome = run_load(load)
    refused = [answered.status for answered in outcome.answered if not 200 <= answered.status < 300]
    if refused or outcome.broken or not outcome.answered:
        raise SetupError(
            f"{load.path}: of {len(outcome.answered)} requests {len(refused)} were refused (first status "
            f"{refused[0] if refused else None}), and {outcome.broken} connections broke. Nothing is measured of that."
        )
    return outcome


def rate(outcome: Outcome) -> float:
    """Requests answered in a second."""
    began = min(answered.sent_at for answered in outcome.answered)
    ended = max(answered.answered_at for answered in outcome.answered)
    return len(outcome.answered) / (ended - began)


def median_ms(outcome: Outcome) -> float:
    """The time that half of the requests took at most."""
    return statistics.median((answered.answered_at - answered.sent_at) * 1000 for answered in outcome.answered)
