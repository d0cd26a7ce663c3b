"""Output of commands: tables for people, JSON for programs."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Any

import click
import msgspec

_STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

as_json = click.option("--json", "is_json", is_flag=True, help="Print JSON, as the API answers.")


def print_json(value: Any) -> None:
    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, nothing: str, always_names_columns: bool = False
) -> None:
    """A table; tab-separated lines where the output is not a terminal, without a heading unless it is needed to read them."""
    if not sys.stdout.isatty():
        for row in [columns, *rows] if always_names_columns else rows:
            print("\t".join(printable(cell).replace("\t", " ").replace("\n", " ") for cell in row))
        return
    if not rows:
        note(nothing)
        return
    # Rich takes a tenth of a second to import, which pipes need not wait for.
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    Console().print(table)


def note(text: str) -> None:
    """A remark for a person: never part of the output proper."""
    print(text, file=sys.stderr)


def printable(text: str) -> str:
    """The text without characters that steer a terminal: names and replies may come from anyone."""
    return _STEERING.sub("\ufffd", text)


def day_and_time(text: str | None) -> str:
    """A time of the API to the minute, in UTC."""
    return "" if text is None else text[:16].replace("T", " ")
