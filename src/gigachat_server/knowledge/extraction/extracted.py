"""The result of reading a file: its text, and where its pages and headings begin.

Invariant: a text holds neither NUL nor lone surrogates and stays within the limit; `places` rise.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from gigachat_server.errors import TextTooLong
from gigachat_server.language.graphemes import cut
from gigachat_server.records import DocumentWarning, WarningCode

LONGEST_HEADING = 200
MOST_PLACES = 20_000
_MOST_REPEATED = 3  # times as long as it may be, a text may become by names of columns
_MOST_NAMED = 20  # places of one warning
_LONGEST_NAMED = 80


class Place(msgspec.Struct, frozen=True, array_like=True):
    """From the character `at` on, that page or that heading holds; None: what held before still does."""

    at: int
    page: int | None = None
    heading: str | None = None


class FileText(msgspec.Struct, frozen=True):
    """The text of a file, and what the file calls itself."""

    title: str | None
    text: str
    places: list[Place] = []
    warnings: tuple[DocumentWarning, ...] = ()


class Warnings:
    """What was not read, gathered by code, in the order in which it was met."""

    def __init__(self) -> None:
        self._counts: dict[WarningCode, int] = {}
        self._where: dict[WarningCode, dict[str, None]] = {}
        self._numbers: dict[WarningCode, list[int]] = {}

    def add(self, code: WarningCode, where: str = "", *, count: int = 1) -> None:
        """So many, there: a sheet, a part, a piece of the text."""
        self._counts[code] = self._counts.get(code, 0) + count
        places = self._where.setdefault(code, {})
        if where and len(places) <= _MOST_NAMED:
            places[one_line(where)[:_LONGEST_NAMED]] = None

    def add_page(self, code: WarningCode, number: int, *, count: int = 1) -> None:
        """So many on that page, or slide; pages in rising order."""
        self._counts[code] = self._counts.get(code, 0) + count
        numbers = self._numbers.setdefault(code, [])
        if not numbers or numbers[-1] != number:
            numbers.append(number)

    def done(self) -> tuple[DocumentWarning, ...]:
        return tuple(DocumentWarning(code, count, self._places(code)) for code, count in self._counts.items())

    def _places(self, code: WarningCode) -> str:
        named = list(self._where.get(code, ()))
        if numbers := self._numbers.get(code):
            named.insert(0, ("page " if len(numbers) == 1 else "pages ") + _ranges(numbers))
        return "; ".join(named[:_MOST_NAMED]) + (" ..." if len(named) > _MOST_NAMED else "")


def _ranges(numbers: Sequence[int]) -> str:
    """`1, 3-5`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    shown = [str(first) if first == last else f"{first}-{last}" for first, last in runs[:_MOST_NAMED]]
    return ", ".join(shown) + (" ..." if len(runs) > _MOST_NAMED else "")


class TextWriter:
    """Puts a text together from blocks. Raises `TextTooLong` as soon as it has more than `most` characters."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._parts: list[str] = []
        self._length = 0
        self._repeated = 0
        self._places: list[Place] = []
        self._page: int | None = None
        self._was_item = False
        self.warnings = Warnings()

    def begin_page(self, number: int) -> None:
        """What is written next is on that page."""
        self._page = number

    def heading(self, level: int, text: str) -> None:
        """As Markdown has it."""
        if text := one_line(text):
            self._write(f"{'#' * level} {text}", "\n\n", heading=text)
            self._was_item = False

    def block(self, text: str) -> None:
        """A paragraph, a table, a piece of code."""
        if text.strip():
            self._write(text.strip("\n"), "\n\n")
            self._was_item = False

    def item(self, text: str, *, repeated: int = 0) -> None:
        """One of several that belong together, such as the entries of a list: no blank line stands between them.

        `repeated`: so many of its characters are only said again, and do not count towards the most, within bounds.
        """
        if text.strip():
            self._repeated = min(self._repeated + repeated, _MOST_REPEATED * self._most)
            self._write(text, "\n" if self._was_item else "\n\n")
            self._was_item = True

    def end_items(self) -> None:
        """The next item is of another list, or table."""
        self._was_item = False

    def begin_section(self, heading: str) -> None:
        """What is written next is under that heading, which the text itself says in some other way."""
        self._mark(self._length + (2 if self._length else 0), one_line(heading))
        self._was_item = False

    def done(self, title: str | None) -> FileText:
        return FileText(one_line(title or "") or None, "".join(self._parts), self._places, self.warnings.done())

    def _write(self, text: str, separator: str, *, heading: str | None = None) -> None:
        text = clean(text)
        if self._length:
            text = separator + text
        at = self._length + (len(separator) if self._length else 0)
        self._mark(at, heading)
        self._parts.append(text)
        self._length += len(text)
        if self._length - self._repeated > self._most:
            raise too_long(self._most)

    def _mark(self, at: int, heading: str | None) -> None:
        if (self._page is not None or heading) and len(self._places) < MOST_PLACES:
            self._places.append(Place(at, self._page, heading or None))
        self._page = None


def locate(places: Sequence[Place], starts: Sequence[int]) -> list[Place]:
    """For each of these characters, in rising order: the page and the heading that hold there."""
    located = []
    page: int | None = None
    heading: str | None = None
    following = 0
    for start in starts:
        while following < len(places) and places[following].at <= start:
            page = places[following].page or page
            heading = places[following].heading or heading
            following += 1
        located.append(Place(start, page, heading))
    return located


def too_long(most: int) -> TextTooLong:
    return TextTooLong(f"Its text has more than {most} characters: split the file, or raise GIGACHAT_MAX_DOCUMENT_CHARACTERS.")


# NUL, and what is invisible within a word: soft hyphens, zero-width blanks and joiners that join nothing, byte order marks.
_UNWANTED = {0: "\ufffd", 0xAD: None, 0x200B: None, 0x2060: None, 0xFEFF: None}


def clean(text: str) -> str:
    """Without forbidden characters, and without invisible ones that would split a word."""
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text.translate(_UNWANTED)


def one_line(text: str) -> str:
    """A label: on one line and not endless."""
    return cut(clean(" ".join(text.split())), LONGEST_HEADING)


def row(cells: Iterable[str]) -> str:
    """A row of a table on one line; empty if all its cells are."""
    texts = [" ".join(cell.split()) for cell in cells]
    while texts and not texts[-1]:
        texts.pop()
    return " | ".join(texts)
