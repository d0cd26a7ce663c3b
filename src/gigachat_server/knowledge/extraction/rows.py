"""Writes table rows of any format, each on its own line with the names of its columns.

Idea: a chunk may hold one row of a thousand, and a reply may quote one line of it, so a row must make sense alone:
`Country: Norway | Fee: 9`. The header row is declared by the format (`header_rows`) or inferred: a name is a word, and the
cells below it are of another kind. Invariant: no cell is lost; memory and time are linear in the rows.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence

from gigachat_server.knowledge.extraction.extracted import TextWriter, row

_LONGEST_NAME = 100
_LOOKED_AT = 20  # rows from which it is told whether the first one names the columns
_MOST_TITLES = 5  # lines above a table, of one cell each
_YEAR = re.compile(r"(?:19|20)\d\d(?:/\d{2,4})?")
_VALUE = re.compile(r"@|://|^[\s€$£¥]*[-+]?[\d.,:/\s'%€$£¥–-]*\d[\d.,:/\s'%€$£¥–-]*$|[.!?;]$")
_DIGITS = re.compile(r"\d+")
_LETTERS = re.compile(r"[^\W\d_]+")


class Whole(list[str]):
    """A row of one cell that goes over all columns, and so is under no name."""


def write_table(
    writer: TextWriter, rows: Iterable[Sequence[str]], *, header_rows: int | None = None, is_data: bool = False
) -> None:
    """One table: nothing of it runs into another. `header_rows`: how many rows name the columns, where the format says so.

    `is_data`: it comes from a table that programs write, in which two columns are seldom a list of labels.
    """
    writer.end_items()
    _write_rows(writer, rows, header_rows, is_data)
    writer.end_items()


def _write_rows(writer: TextWriter, rows: Iterable[Sequence[str]], header_rows: int | None, is_data: bool) -> None:
    filled = (cells for cells in map(_clean, rows) if any(cells))
    start = list(itertools.islice(filled, _MOST_TITLES + _LOOKED_AT + (header_rows or 0)))
    if header_rows is None:
        for title in _titles(start):
            writer.item(row(title))
            start.pop(0)
        header_rows = 1 if names_columns(start, is_data=is_data) else 0
    if len(start) <= header_rows:
        header_rows = 0  # names of nothing
    names = _joined(start[:header_rows])
    for cells in itertools.chain(start[header_rows:], filled):
        line = named(names, cells)
        writer.item(line, repeated=max(len(line) - sum(map(len, cells)), 0))


def named(names: Sequence[str], cells: Sequence[str]) -> str:
    """The row on its line."""
    if not names or isinstance(cells, Whole):
        return row(cells)
    pairs = itertools.zip_longest(names, cells, fillvalue="")
    return row(f"{name}: {cell}" if name and name != cell else cell for name, cell in pairs if cell)


def names_columns(rows: Sequence[Sequence[str]], *, is_data: bool = False) -> bool:
    """Whether the first of these rows says what is in the columns, rather than being a row like the others."""
    if len(rows) < 2:
        return False
    if max(map(len, rows)) == 2 and not is_data and not _measures(rows):
        return False  # labels, each with its value
    first, others = rows[0], rows[1:_LOOKED_AT]
    names = [cell for cell in first if cell]
    if len(names) < 2 or len(names) < max(len([cell for cell in cells if cell]) for cells in others) - 1:
        return False
    if not any(_LETTERS.search(name) for name in names) or any(len(name) > _LONGEST_NAME for name in names):
        return False
    return all(_may_name(cell, [cells[place] for cells in others if place < len(cells)]) for place, cell in enumerate(first))


def _measures(rows: Sequence[Sequence[str]]) -> bool:
    """Whether below a word of the second column there are numbers, all of one kind: of labels and values no two are."""
    first, below = rows[0][-1], [cells[-1] for cells in rows[1:_LOOKED_AT] if cells[-1]]
    if len(below) < 2 or _DIGITS.search(first):
        return False
    return all(_DIGITS.search(cell) for cell in below) and len({_shape(cell) for cell in below}) == 1


def _may_name(name: str, below: Sequence[str]) -> bool:
    """Whether it names what is below it: it is not a value, is not repeated, and does not look like the cells below."""
    if not name:
        return True
    if _YEAR.fullmatch(name):
        return not any(_YEAR.fullmatch(cell) for cell in below)
    if _VALUE.search(name) or name in below:
        return False
    return not _DIGITS.search(name) or _shape(name) not in {_shape(cell) for cell in below}


def _shape(cell: str) -> str:
    return _LETTERS.sub("a", _DIGITS.sub("0", cell))


def _titles(rows: Sequence[Sequence[str]]) -> Iterator[Sequence[str]]:
    """The lines above the table proper: of one cell each, where later rows have more."""
    most = max((sum(map(bool, cells)) for cells in rows), default=0)
    for cells in rows[:_MOST_TITLES]:
        if most < 2 or sum(map(bool, cells)) > 1:
            return
        yield cells


def _joined(rows: Sequence[Sequence[str]]) -> list[str]:
    """One name for each column, from one or several rows of them."""
    columns = itertools.zip_longest(*rows, fillvalue="")
    return [" ".join(dict.fromkeys(name.rstrip(":") for name in column if name)) for column in columns]


def _clean(cells: Sequence[str]) -> list[str]:
    texts = [" ".join(cell.split()) for cell in cells]
    return Whole(texts) if isinstance(cells, Whole) else texts
