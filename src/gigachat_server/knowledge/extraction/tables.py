"""CSV and XLSX: every row on a line of its own that says what its columns are, so that a row makes sense by itself."""

from __future__ import annotations

import csv
import datetime
import io
import itertools
from collections.abc import Iterable, Iterator, Sequence

from gigachat_server.errors import FileDamaged
from gigachat_server.knowledge.extraction import archive
from gigachat_server.knowledge.extraction.decoding import charset_of, decode
from gigachat_server.knowledge.extraction.extracted import Extracted, TextWriter, row

_LONGEST_NAME = 100
_DELIMITERS = ",;\t|"
_LONGEST_CELL = 1_000_000


def read_csv(data: bytes, media_type: str | None, most: int) -> Extracted:
    text = decode(data, declared=charset_of(media_type))
    csv.field_size_limit(_LONGEST_CELL)
    writer = TextWriter(most)
    try:
        _write_rows(csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text)), writer)
    except csv.Error as error:
        raise FileDamaged("Its rows cannot be told apart: a quotation mark may be left open.") from error
    return writer.done(None)


def read_xlsx(data: bytes, most: int) -> Extracted:
    import openpyxl

    with archive.opened(data) as checked:
        archive.refuse_type_declarations(checked)
    workbook = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True, keep_links=False)
    writer = TextWriter(most)
    sheets = [sheet for sheet in workbook.worksheets if sheet.sheet_state == "visible"]
    for sheet in sheets:
        sheet.reset_dimensions()  # what the file says of them may be wrong
        rows = ([_cell(value) for value in values] for values in sheet.iter_rows(values_only=True))
        filled = (cells for cells in rows if any(cells))
        first = next(filled, None)
        if first is not None:
            writer.heading(2, sheet.title) if len(sheets) > 1 else writer.begin_section(sheet.title)
            _write_rows(itertools.chain([first], filled), writer)
    return writer.done(workbook.properties.title)


def _write_rows(rows: Iterable[Sequence[str]], writer: TextWriter) -> None:
    filled = (list(cells) for cells in rows if any(cell.strip() for cell in cells))
    first = next(filled, None)
    if first is None:
        return
    second = next(filled, None)
    if second is None or not _names_columns(first):
        lines: Iterator[list[str]] = itertools.chain([first], [second] if second else [], filled)
        for cells in lines:
            writer.item(row(cells))
        return
    for cells in itertools.chain([second], filled):
        pairs = itertools.zip_longest(first, cells, fillvalue="")
        writer.item(row(f"{name.strip()}: {cell}" if name.strip() else cell for name, cell in pairs if cell.strip()))


def _names_columns(cells: Sequence[str]) -> bool:
    """Whether a first row says what is in the columns, rather than being a row like the others."""
    names = [cell.strip() for cell in cells if cell.strip()]
    is_words = all(len(name) <= _LONGEST_NAME and any(map(str.isalpha, name)) for name in names)
    return len(names) >= 2 and len(set(names)) == len(names) and is_words


def _delimiter(text: str) -> str:
    """The one that cuts the first lines into the same number of cells, the most of them."""
    lines = [line for line in text[:20_000].splitlines()[:20] if line.strip()]

    def worth(delimiter: str) -> tuple[int, int]:
        counts = [line.count(delimiter) for line in lines]
        return (sum(count == counts[0] for count in counts) if counts and counts[0] else 0, counts[0] if counts else 0)

    return max(_DELIMITERS, key=worth)


def _cell(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case float() if value.is_integer() and abs(value) < 1e15:
            return str(int(value))
        case datetime.datetime() if value.time() == datetime.time():
            return value.date().isoformat()
        case datetime.datetime():
            return value.isoformat(" ", "minutes")
        case _:
            return str(value)
