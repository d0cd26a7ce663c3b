"""A passage as statements: what can be quoted by itself, with the headings it stands under. Pure.

The idea: an answer is often less than a sentence, or no sentence at all: a row of a table, an item of a list, a line such as
"Monday: closed". Each of these is one statement, said in words of its own passage: a row with the names of its columns, an item
without its bullet. What no statement can be is a heading, the head of a table, or a rule: these tell what others are about.

Invariants: statements lie in order and do not overlap; `text` holds no word that is not in the passage; and the time is linear
in its length. Only so many statements of one passage are made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from gigachat_server.language.markup import plain
from gigachat_server.language.words import sentences
from gigachat_server.models.quoting import lines
from gigachat_server.models.quoting.lines import Line

Kind = Literal["sentence", "item", "row", "code"]

LONGEST_PASSAGE = 20_000  # characters that are looked at
MOST_STATEMENTS = 200  # of one passage
LONGEST_STATEMENT = 1_200  # characters: a row or a line of code that is longer is no answer
LONGEST_ITEM = 320  # characters of an item that is said whole
_MOST_HEADINGS = 4  # above one statement that are kept, the nearest ones
_TITLE_LEVEL = 7  # of a heading that no markup shows: below all that have one
_NOTHING = ("", "–", "-", "—", "n/a", "N/A")


class Statement(msgspec.Struct, frozen=True):
    """Characters `start` to `end` of a passage, and what is said for them.

    `section` counts the stretches under one heading, `block` the paragraphs, lists and tables. `lead_in` is the place, among
    the passage's statements, of the one that announces this one ("You need:").
    """

    start: int
    end: int
    text: str
    kind: Kind
    headings: tuple[str, ...]  # above it, the nearest last
    section: int
    block: int
    lead_in: int | None = None

    @property
    def heading(self) -> str:
        return self.headings[-1] if self.headings else ""


def statements(text: str) -> list[Statement]:
    """The statements of a passage, in order."""
    return _Parser(text[:LONGEST_PASSAGE]).parse()


class _Parser:
    """Reads a passage line by line."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._lines = lines.lines(text)
        self._at = 0
        self._found: list[Statement] = []
        self._above: list[tuple[int, str]] = []  # levels and texts of the headings
        self._question: str | None = None  # of what follows up to the next heading or question
        self._is_run_in = False  # it stands in the paragraph that answers it, and is of that alone
        self._lead_in: int | None = None
        self._paragraph: list[Line] = []
        self._section = self._block = 0
        self._is_after_blank = True

    def parse(self) -> list[Statement]:
        while self._at < len(self._lines) and len(self._found) < MOST_STATEMENTS:
            line = self._lines[self._at]
            if self._is_run_in and self._is_after_blank and not self._paragraph and not line.is_blank and self._lead_in is None:
                self._begin_section(None)
            following = self._lines[self._at + 1].text if self._at + 1 < len(self._lines) else ""
            if line.is_blank:
                self._end_paragraph()
                self._at += 1
                self._is_after_blank = True
            elif lines.is_fence(line.text):
                self._read_code()
            elif lines.is_row(line.text, following):
                self._read_table()
            elif not self._read_heading(line, following):
                self._read_text(line)
        self._end_paragraph()
        return self._found[:MOST_STATEMENTS]

    # --- headings ---

    def _read_heading(self, line: Line, following: str) -> bool:
        """Whether the line is a heading, or says nothing; then it is read."""
        if (marked := lines.heading(line.text)) is not None:
            self._end_paragraph()
            self._enter(marked[0], marked[1])
        elif not self._paragraph and (level := lines.underline_level(following)) is not None and not lines.is_rule(line.text):
            self._enter(level, line.text)
            self._at += 1
        elif lines.is_rule(line.text):
            self._end_paragraph()
        elif (opening := self._bold_line(line)) is not None:
            self._end_paragraph()
            self._ask(opening)
        elif (start := lines.question_at(line.text)) is not None:
            self._end_paragraph()
            self._ask(line.text[start:])
        elif not self._paragraph and lines.is_title(self._lines, self._at, after_blank=self._is_after_blank):
            self._enter(_TITLE_LEVEL if self._above else 1, lines.without_number(line.text.strip()))
        else:
            return False
        self._at += 1
        self._is_after_blank = True
        return True

    def _bold_line(self, line: Line) -> str | None:
        """The words of a line that is bold from its first word to its last."""
        opening = lines.bold_opening(line.text)
        if opening is None or not self._is_after_blank or line.text[opening[1] :].strip(" :："):
            return None
        return opening[0]

    def _enter(self, level: int, heading: str) -> None:
        while self._above and self._above[-1][0] >= level:
            self._above.pop()
        if said := plain(heading):
            self._above.append((level, said))
        self._begin_section(None)

    def _ask(self, question: str) -> None:
        self._begin_section(plain(question) or None)

    def _begin_section(self, question: str | None) -> None:
        self._question, self._lead_in, self._is_run_in = question, None, False
        self._section += 1
        self._block += 1

    # --- code, tables, text ---

    def _read_code(self) -> None:
        self._end_paragraph()
        self._at += 1
        while self._at < len(self._lines) and not lines.is_fence(self._lines[self._at].text):
            line = self._lines[self._at]
            if not line.is_blank:
                self._add("code", line.start, line.end, " ".join(line.text.split()), lead_in=self._lead_in)
            self._at += 1
        self._at += 1
        self._block += 1
        self._lead_in = None
        self._is_after_blank = True

    def _read_table(self) -> None:
        self._end_paragraph()
        rows: list[Line] = []
        while self._at < len(self._lines) and "|" in self._lines[self._at].text:
            rows.append(self._lines[self._at])
            self._at += 1
        columns: list[str] = []
        if len(rows) > 1 and lines.is_table_rule(rows[1].text):
            columns = [plain(cell) for cell in lines.cells(rows[0].text)]
            rows = rows[2:]
        for row in rows:
            if not lines.is_table_rule(row.text):
                said = row_text([plain(cell) for cell in lines.cells(row.text)], columns)
                self._add("row", row.start, row.end, said, lead_in=self._lead_in)
        self._block += 1
        self._lead_in = None
        self._is_after_blank = True

    def _read_text(self, line: Line) -> None:
        answer = lines.answer_at(line.text) if self._question is not None else None
        if answer is not None:
            self._end_paragraph()
            line = Line(line.start + answer, line.end, line.text[answer:])
        item = lines.item_text_at(line.text) if answer is None else None
        if item is not None:
            self._end_paragraph()
            self._read_item(line, item)
        else:
            if self._is_after_blank and not self._paragraph and self._found and self._found[-1].kind in ("item", "row"):
                self._lead_in = None
            self._paragraph.append(line)
            self._at += 1
        self._is_after_blank = False

    def _read_item(self, line: Line, text_at: int) -> None:
        """An item with the indented lines that go on with it."""
        start, end = line.start + text_at, line.end
        self._at += 1
        while self._at < len(self._lines) and _continues(self._lines[self._at]):
            end = self._lines[self._at].end
            self._at += 1
        content = self._text[start:end]
        opening = lines.bold_opening(content)
        if opening is not None and lines.is_question(opening[0]) and content[opening[1] :].strip():
            self._ask(opening[0])
            self._add_sentences("sentence", start + opening[1], end)
        elif end - start > LONGEST_ITEM:
            self._add_sentences("item", start, end, lead_in=self._lead_in)
        else:
            self._add("item", start, end, lead_in=self._lead_in)

    def _end_paragraph(self) -> None:
        """What was gathered becomes statements: its sentences, under the question that it may begin with."""
        if not self._paragraph:
            return
        start, end = self._paragraph[0].start, self._paragraph[-1].end
        opening = lines.bold_opening(self._paragraph[0].text)
        self._paragraph = []
        if opening is not None and self._text[start + opening[1] : end].strip():
            self._ask(opening[0].rstrip(" :："))
            self._is_run_in = True
            start += opening[1]
        spans = self._sentences(start, end)
        if opening is None and self._question is None and len(spans) > 1 and self._is_question(spans[0]):
            self._ask(self._text[slice(*spans[0])])
            self._is_run_in = True
            del spans[0]
        last = None
        for span in spans:
            last = self._add("sentence", *span) or last
        self._lead_in = len(self._found) - 1 if last is not None and lines.leads_in(last.text) else None
        self._block += 1

    def _is_question(self, span: tuple[int, int]) -> bool:
        return lines.is_question(self._text[slice(*span)])

    def _sentences(self, start: int, end: int) -> list[tuple[int, int]]:
        """Those of a stretch. A short line is one by itself, unless the next goes on in the middle of a sentence."""
        found: list[tuple[int, int]] = []
        for first, last in sentences(self._text[start:end]):
            span = (start + first, start + last)
            if found and lines.goes_on(self._text[slice(*found[-1])], self._text[slice(*span)]):
                found[-1] = (found[-1][0], span[1])
            else:
                found.append(span)
        return found

    def _add_sentences(self, kind: Kind, start: int, end: int, *, lead_in: int | None = None) -> None:
        for first, last in self._sentences(start, end):
            self._add(kind, first, last, lead_in=lead_in)

    def _add(self, kind: Kind, start: int, end: int, said: str | None = None, *, lead_in: int | None = None) -> Statement | None:
        start, end = _trimmed(self._text, lines.quoted_to(self._text, start, end), end)
        said = plain(lines.unquoted(self._text[start:end])) if said is None else said
        if not any(map(str.isalnum, said)) or end - start > LONGEST_STATEMENT:
            return None
        above = tuple(text for _, text in self._above[-_MOST_HEADINGS:])
        headings = above if self._question is None else (*above, self._question)
        found = Statement(start, end, said, kind, headings, self._section, self._block, lead_in)
        self._found.append(found)
        return found


def _continues(line: Line) -> bool:
    return not line.is_blank and line.text.startswith((" ", "\t")) and lines.item_text_at(line.text) is None


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    stretch = text[start:end]
    return start + len(stretch) - len(stretch.lstrip()), start + len(stretch.rstrip())


# --- a row of a table ---


def row_text(row: Sequence[str], columns: Sequence[str]) -> str:
    """A row as it would be said: its first cell, then each value with the name of its column, where that tells something."""
    if len(row) < 2 or not columns:
        return " – ".join(cell for cell in row if cell not in _NOTHING)
    first, values = row[0], list(_values(row, columns))
    if not values:
        return first
    return f"{first}: {'; '.join(values)}" if first else "; ".join(values)


def _values(row: Sequence[str], columns: Sequence[str]) -> Iterator[str]:
    is_pair = len(row) == 2
    for place, value in enumerate(row[1:], 1):
        column = columns[place] if place < len(columns) else ""
        if value in _NOTHING:
            continue
        is_told = not column or column.casefold() in value.casefold() or (is_pair and _says_enough(value))
        yield value if is_told else f"{column} {value}"


def _says_enough(value: str) -> bool:
    """Whether a value needs no name of its column: more than a word, or than a bare number."""
    return len(value) > 1 and (
        " " in value or (any(map(str.isdigit, value)) and not value.replace(".", "").replace(",", "").isdigit())
    )
