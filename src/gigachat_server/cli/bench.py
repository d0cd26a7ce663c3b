"""`gigachat bench`: this machine's figures beside their floors and budgets."""

from __future__ import annotations

import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType

import click
import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from gigachat_server.bench.databases import new_databases
from gigachat_server.bench.measurements import MEASUREMENTS, ON_POSTGRES
from gigachat_server.bench.metrics import FULL, QUICK, TINY, Metric, Report, Run, machine

_FILE_WIDTH = 110  # characters, where no terminal says: nothing of the table is cut off
_SIZES = {"full": FULL, "quick": QUICK, "tiny": TINY}


@click.command()
@click.option("--quick", is_flag=True, help="Fewer and shorter rounds: about a minute and a half.")
@click.option("--only", metavar="NAME,...", default="", help=f"Measure only these: {', '.join(MEASUREMENTS)}.")
@click.option("--json", "json_file", metavar="FILE", help="Also write the figures as JSON; - is standard output.")
@click.option("--check", is_flag=True, help="Exit with status 1 if a budget is missed.")
@click.option(
    "--folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder for temporary data, on the disk to measure. Default: the system's temporary folder.",
)
@click.option(
    "--database",
    metavar="URL",
    default="",
    help="Measure on this PostgreSQL: postgresql://user:password@host/postgres. Databases are created on it and dropped again.",
)
@click.option(
    "--chunks",
    type=click.IntRange(min=1),
    help="Chunks of the big chatbot in `retrieval`. Default: 100000, or 10000 with --quick. A million takes 5 GB of disk.",
)
@click.option(
    "--beside",
    type=click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path),
    help="Another checkout of gigachat: the turns of both are measured in the same rounds, and the other's stand as the floor.",
)
@click.option("--size", type=click.Choice(list(_SIZES)), hidden=True)
def bench(
    *,
    quick: bool,
    only: str,
    json_file: str | None,
    check: bool,
    folder: Path | None,
    database: str,
    chunks: int | None,
    beside: Path | None,
    size: str | None,
) -> int:
    """Measure how fast this machine serves.

    Each figure stands beside its floor, measured in the same run: the smallest application that loses no message, or
    the embedder alone. Everything runs on this machine, with temporary data.
    """
    every = list(ON_POSTGRES) if database else list(MEASUREMENTS)
    names = [name.strip() for name in only.split(",") if name.strip()] or every
    if unknown := [name for name in names if name not in every]:
        raise click.BadParameter(f"{unknown[0]} is none of {', '.join(every)}", param_hint="--only")
    signal.signal(signal.SIGTERM, _interrupt)
    chosen = _SIZES[size or ("quick" if quick else "full")]
    if chunks is not None:
        chosen = msgspec.structs.replace(chosen, searched=chunks)
    where = machine()
    metrics: list[Metric] = []
    with tempfile.TemporaryDirectory(prefix="gigachat-bench-", dir=folder) as data, new_databases(database) as new_database:
        run = Run(Path(data), chosen, lambda line: click.echo(line, err=True), new_database, beside)
        for name in names:
            run.say(f"{name} ...")
            metrics += MEASUREMENTS[name](run)
    console = Console(stderr=json_file == "-")
    if not console.is_terminal:
        console = Console(stderr=json_file == "-", width=_FILE_WIDTH)
    console.print(_table(metrics))
    if json_file is not None:
        text = msgspec.json.format(msgspec.json.encode(Report(where, metrics))).decode()
        if json_file == "-":
            sys.stdout.write(text + "\n")
        else:
            Path(json_file).write_text(text + "\n", encoding="utf-8")
    return 1 if check and any(metric.ok is False for metric in metrics) else 0


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Act like Ctrl-C, so that everything that was started is stopped."""
    raise KeyboardInterrupt


def _table(metrics: list[Metric]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("figure", "value", "floor", "ratio", "budget", ""):
        table.add_column(heading, justify="right" if heading in ("value", "floor", "ratio") else "left", no_wrap=True)
    for metric in metrics:
        verdict = {True: "[green]ok[/]", False: "[red]missed[/]", None: ""}[metric.ok]
        floor = "" if metric.floor is None else f"{metric.floor:,.4g} {metric.unit}"
        ratio = "" if metric.ratio is None else f"{metric.ratio:.0%}" if metric.ratio < 1 else f"{metric.ratio:.2f} x"
        table.add_row(metric.name, _figure(metric), floor, ratio, metric.budget or "", verdict)
    return table


def _figure(metric: Metric) -> str:
    return f"{metric.value:,.4g} {metric.unit}".strip()
