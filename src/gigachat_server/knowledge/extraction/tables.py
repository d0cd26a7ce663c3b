"""CSV: every row on its own line with the names of its columns, so that a row makes sense alone.

Idea: quotation marks hold cells with line breaks together, but an unclosed mark would swallow the rest of the file. So a cell
over many lines, or to the end, is not taken for one: its line is read separately, with a warning. Invariant: no line
is lost, and each is looked at a bounded number of times.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator

from gigachat_server.knowledge.extraction.decoding import charset_of, decode
from gigachat_server.knowledge.extraction.extracted import FileText, TextWriter
from gigachat_server.knowledge.extraction.rows import write_table

_DELIMITERS = ",;\t|"
_LONGEST_CELL = 1_000_000
_MOST_LINES = 100  # of one row: what has more was never closed


def read_csv(data: bytes, media_type: str | None, most: int) -> FileText:
    writer = TextWriter(most)
    text = decode(data, declared=charset_of(media_type), warnings=writer.warnings)
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    delimiter = None
    if lines and lines[0].lower().startswith("sep=") and len(lines[0].strip()) == 5:
        delimiter = lines.pop(0)[4]
    write_table(writer, _rows(lines, delimiter or _delimiter(lines), writer), is_data=True)
    return writer.done(None)


def _rows(lines: list[str], delimiter: str, writer: TextWriter) -> Iterator[list[str]]:
    csv.field_size_limit(_LONGEST_CELL)
    place = 0
    while place < len(lines):
        count = _lines_of_row(lines, place, delimiter)
        if count is None:
            writer.warnings.add("rows_mended", f"line {place + 1}")
            yield [cell.strip().strip('"') for cell in lines[place].split(delimiter)]
        else:
            yield next(csv.reader([line + "\n" for line in lines[place : place + count]], delimiter=delimiter), [])
        place += count or 1


def _lines_of_row(lines: list[str], start: int, delimiter: str) -> int | None:
    """How many lines the row has; None if a quotation mark that begins a cell is closed in none of them."""
    is_open = False
    for count, line in enumerate(lines[start : start + _MOST_LINES], start=1):
        is_odd, is_open = _marks(line, delimiter, is_open)
        if is_odd and count > 1:
            return None  # what seems to close the cell of a line above opens a new one
        if not is_open:
            return count
    return None


def _marks(line: str, delimiter: str, is_open: bool) -> tuple[bool, bool]:
    """Whether the first mark that closes a cell stands elsewhere than at the cell's end, and whether a cell is open at the end
    of the line. `is_open`: one is from the line before."""
    place = 0
    is_odd = False
    if not is_open:
        place = 1 if line.startswith('"') else line.find(delimiter + '"') + 2
        if place == 1 and not line.startswith('"'):
            return False, False
    is_first = is_open
    while (place := line.find('"', place)) >= 0:
        if line.startswith('""', place):
            place += 2
            continue
        is_odd = is_odd or (is_first and line[place + 1 : place + 2] not in ("", delimiter))
        is_first = False
        place = line.find(delimiter + '"', place)
        if place < 0:
            return is_odd, False
        place += 2
    return is_odd, True


def _delimiter(lines: list[str]) -> str:
    """The one that cuts most of the first lines into the same number of cells, the most of them."""
    first = [line for line in lines[:20] if line.strip()]

    def worth(delimiter: str) -> tuple[int, int]:
        counts = Counter(count for line in first if (count := _count(line, delimiter)))
        cells, lines = counts.most_common(1)[0] if counts else (0, 0)
        return lines, cells

    return max(_DELIMITERS, key=worth)


def _count(line: str, delimiter: str) -> int:
    """Those between quotation marks do not count."""
    return sum(part.count(delimiter) for part in line.split('"')[::2])
