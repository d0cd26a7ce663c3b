"""From pieces of text on a page to what is read one after the other: lines, columns and tables, pure.

Idea: a line that a program has drawn across the page may be one of a paragraph, a row of a table, or lines of two columns that
only stand at the same height. What tells them apart is where blank strips run down the page: `Block`s are found from the rows
that leave the same strips free. Between them the order is the file's own. Invariant: no piece is lost; time is in proportion
to the pieces, times the columns of a table.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence

import msgspec

_GAP = 0.9  # of a line's height: wider than any blank between words, narrower than one between columns
_GAP_WITHOUT_BLANK = 0.1  # the same where the file has blanks between its words, and none here
_SAME_LINE = 0.5  # of a line's height
_NEW_PARAGRAPH = 1.75  # of a line's height, from one line to the next
_FAR = 4.0
_MARKER = re.compile(r"\(?(?:\d{1,3}|[a-zA-Z]|[ivx]{1,5})[.)]|[•·▪◦‣●○■–—*-]")  # what a list's entry begins with
_FEWEST_ROWS = 2
_FEWEST_COLUMN_ROWS = 3
_COLUMN_WORDS = 3.0  # on a line of a column of prose
_COLUMN_FILL = 0.5
_MOST_COLUMNS = 40


class Piece(msgspec.Struct, frozen=True):
    """Words that stand close together on one line; y grows upwards. `is_apart`: no blank was written before them."""

    text: str
    left: float
    right: float
    bottom: float
    top: float
    is_apart: bool = False


class Row(msgspec.Struct, frozen=True):
    """Pieces at one height, from left to right."""

    pieces: tuple[Piece, ...]

    @property
    def text(self) -> str:
        return " ".join(piece.text for piece in self.pieces)

    @property
    def bottom(self) -> float:
        return min(piece.bottom for piece in self.pieces)

    @property
    def top(self) -> float:
        return max(piece.top for piece in self.pieces)

    @property
    def height(self) -> float:
        return max(self.top - self.bottom, 1.0)


class Paragraph(msgspec.Struct, frozen=True):
    lines: list[str]


class Table(msgspec.Struct, frozen=True):
    rows: list[list[str]]


Block = Paragraph | Table
_Strips = list[tuple[float, float]]


def rows_of(words: Sequence[Piece]) -> list[Row]:
    """Words in the order of the file, joined to pieces and rows."""
    rows: list[list[Piece]] = []
    for word in words:
        height = max(word.top - word.bottom, 1.0)
        last = rows[-1][-1] if rows else None
        if last is None or abs(last.bottom - word.bottom) > _SAME_LINE * height or word.left < last.left:
            rows.append([word])
        elif len(rows[-1]) == 1 and _MARKER.fullmatch(last.text) and word.left - last.right < _FAR * height:
            rows[-1][-1] = _together(last, word)
        elif word.left - last.right > (_GAP_WITHOUT_BLANK if word.is_apart else _GAP) * height:
            rows[-1].append(word)
        else:
            rows[-1][-1] = _together(last, word)
    return [Row(tuple(pieces)) for pieces in rows]


def _together(one: Piece, other: Piece) -> Piece:
    bottom, top = min(one.bottom, other.bottom), max(one.top, other.top)
    return Piece(f"{one.text} {other.text}", one.left, other.right, bottom, top, one.is_apart)


def blocks_of(rows: Sequence[Row]) -> Iterator[Block]:
    """What is read one after the other."""
    lines: list[Row] = []
    start = 0
    while start < len(rows):
        end, strips = _aligned(rows, start) if len(rows[start].pieces) > 1 else (start, [])
        if end - start < _FEWEST_ROWS:
            lines.append(rows[start])
            start += 1
            continue
        cells = [_cells(row, strips) for row in rows[start:end]]
        if end - start >= _FEWEST_COLUMN_ROWS and _are_columns(cells):
            yield from _paragraphs(lines)
            for place in range(len(strips) + 1):
                yield from _paragraphs([Row(tuple(each[place])) for each in cells if each[place]])
        else:
            yield from _paragraphs(lines)
            yield Table(_unwrapped(_merged(cells), rows[start:end]))
        lines = []
        start = end
    yield from _paragraphs(lines)


def _aligned(rows: Sequence[Row], start: int) -> tuple[int, _Strips]:
    """How far the rows go that leave the same strips free, and those strips."""
    taken = [(piece.left, piece.right) for piece in rows[start].pieces]
    end = last_of_several = start + 1
    while end < len(rows):
        row, above = rows[end], rows[end - 1]
        step = above.bottom - row.bottom
        if not 0 < step < _FAR * row.height:
            break
        joined = _union(taken, [(piece.left, piece.right) for piece in row.pieces])
        is_several = len(row.pieces) > 1
        if len(joined) < len(taken) or len(joined) < 2 or len(joined) > _MOST_COLUMNS:
            break
        if not is_several and (len(joined) > len(taken) or step > _NEW_PARAGRAPH * row.height):
            break
        taken, end = joined, end + 1
        if is_several:
            last_of_several = end
    if end > last_of_several and not _are_columns([_cells(row, _between(taken)) for row in rows[start:end]]):
        end = last_of_several  # lines behind a table, which happen to be short
    return end, _between(taken)


def _union(one: Sequence[tuple[float, float]], other: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    joined: list[tuple[float, float]] = []
    for left, right in sorted((*one, *other)):
        if joined and left <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], right))
        else:
            joined.append((left, right))
    return joined


def _between(taken: Sequence[tuple[float, float]]) -> _Strips:
    return [(one[1], other[0]) for one, other in itertools.pairwise(taken)]


def _cells(row: Row, strips: _Strips) -> list[list[Piece]]:
    cells: list[list[Piece]] = [[] for _ in range(len(strips) + 1)]
    place = 0
    for piece in row.pieces:
        while place < len(strips) and piece.left >= strips[place][1] - 0.01:
            place += 1
        cells[place].append(piece)
    return cells


def _merged(cells: Sequence[list[list[Piece]]]) -> list[list[list[Piece]]]:
    """What stands in the middle of a column, above what stands at its edge, is of the same column: no row has both."""
    columns: list[list[list[Piece]]] = []
    for column in zip(*cells, strict=True):
        if columns and not any(one and other for one, other in zip(columns[-1], column, strict=True)):
            columns[-1] = [one or other for one, other in zip(columns[-1], column, strict=True)]
        else:
            columns.append(list(column))
    return [list(row) for row in zip(*columns, strict=True)]


def _are_columns(cells: Sequence[Sequence[Sequence[Piece]]]) -> bool:
    """Whether each column is prose: its lines are several words long, and go on to its edge."""
    for column in zip(*cells, strict=True):
        lines = [pieces for pieces in column if pieces]
        words = sum(len(piece.text.split()) for pieces in lines for piece in pieces)
        if len(lines) < _FEWEST_COLUMN_ROWS - 1 or words < _COLUMN_WORDS * len(lines):
            return False
        width = max(pieces[-1].right for pieces in lines) - min(pieces[0].left for pieces in lines)
        filled = sum(pieces[-1].right - pieces[0].left for pieces in lines)
        if filled < _COLUMN_FILL * width * len(lines):
            return False
    return True


def _unwrapped(cells: Sequence[Sequence[Sequence[Piece]]], rows: Sequence[Row]) -> list[list[str]]:
    """The table's rows; text that continues on a line below its cell is put back into the cell."""
    table: list[list[str]] = []
    for number, each in enumerate(cells):
        texts = [" ".join(piece.text for piece in pieces) for pieces in each]
        is_close = number > 0 and rows[number - 1].bottom - rows[number].bottom < _NEW_PARAGRAPH * rows[number].height
        is_rest = is_close and not texts[0] and sum(map(bool, texts)) == 1 and len(texts) > 1
        if table and is_rest:
            table[-1] = [f"{above} {text}".strip() for above, text in zip(table[-1], texts, strict=True)]
        else:
            table.append(texts)
    return table


def _paragraphs(rows: Sequence[Row]) -> Iterator[Paragraph]:
    lines: list[str] = []
    above: Row | None = None
    for row in rows:
        if above is not None and lines and above.bottom - row.bottom > _NEW_PARAGRAPH * max(row.height, above.height):
            yield Paragraph(lines)
            lines = []
        lines.append(row.text)
        above = row
    if lines:
        yield Paragraph(lines)
