"""Finds titles and page numbers that most pages repeat at the top or bottom; pure.

Idea: only the first and last lines of a page are candidates, and only if most pages repeat them word for word, or if they count
the pages. Table rows never are. Invariant: text that differs between pages in more than the page number stays, and no page
loses more than a small share.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from gigachat_server.knowledge.extraction.page_layout import Piece, Row

_FEWEST_PAGES = 3
_MOST_PAGES = 0.6  # of those with text
_MOST_PAGES_APART = 0.4  # the same of what stands in the margin: left and right pages may have titles of their own
_APART = "~"
_OUTER_ROWS = 2
_MOST_TAKEN = 0.4  # of a page's characters; of a page with little text that is a line of two
_MOST_TAKEN_OF_MANY = 0.2
_MANY = 600  # characters
_DETACHED = 2.2  # of a row's height
_MARGIN = 0.08  # of the page's height
_MOST_OFFSET = 60  # pages of a preface, which are numbered otherwise or not at all
_NUMBER = re.compile(r"\d{1,5}")
_PAGE_WORDS = re.compile(
    r"\b(?:page|pages|pg|seite|seiten|s|p|pp|página|pagina|pág|pag|strona|str|strana|oldal|side|sida|sivu|blz|bladzijde|"
    r"стр|страница|σελίδα|sayfa|halaman|trang|lk)\b|[页頁]|ページ|쪽|페이지",
    re.I,
)
_LETTER = re.compile(r"[^\W\d_]")


class Page:
    """The rows of a page in the order of the file, and how high it is."""

    def __init__(self, rows: Sequence[Row], height: float) -> None:
        self.rows = rows
        self.height = height
        self.characters = sum(len(row.text) for row in rows)


def running(pages: Sequence[Page]) -> list[set[int]]:
    """For each page the places of the rows that are no part of its text."""
    outer = [_outer(page) for page in pages]
    filled = sum(bool(page.rows) for page in pages)
    if filled < _FEWEST_PAGES:
        return [set() for _ in pages]
    counts: Counter[str] = Counter()
    for number, (page, places) in enumerate(zip(pages, outer, strict=True)):
        counts.update({key for place in places for key in _keys(page, place, number)})
    known = {
        key
        for key, count in counts.items()
        if count >= max(_FEWEST_PAGES, filled * (_MOST_PAGES_APART if key.startswith(_APART) else _MOST_PAGES))
    }
    found = []
    for number, (page, places) in enumerate(zip(pages, outer, strict=True)):
        taken = {place for place in places if not known.isdisjoint(_keys(page, place, number))}
        found.append(taken if _is_small(page, taken) else set())
    bare = [place for place, page in enumerate(pages) if page.rows and len(found[place]) == len(page.rows)]
    if len(bare) * 2 > filled:  # then it is what the pages say
        for place in bare:
            found[place] = set()
    return found


def _outer(page: Page) -> list[int]:
    """Which rows stand first and last, from top to bottom."""
    places = sorted(range(len(page.rows)), key=lambda place: -page.rows[place].bottom)
    return list(dict.fromkeys((*places[:_OUTER_ROWS], *places[-_OUTER_ROWS:])))


def _is_small(page: Page, taken: set[int]) -> bool:
    share = sum(len(page.rows[place].text) for place in taken) / max(page.characters, 1)
    is_all = len(taken) == len(page.rows)  # a page that is blank but for them
    return is_all or share <= (_MOST_TAKEN_OF_MANY if page.characters > _MANY else _MOST_TAKEN)


def _keys(page: Page, place: int, number: int) -> list[str]:
    """What a row would have in common with those of other pages, if it is a running head."""
    row = page.rows[place]
    text = " ".join(row.text.split())
    keys = [] if _is_in_table(page, place) else [f"= {text}"]
    if keys and _is_apart(page, row):
        keys.append(f"{_APART} {text}")
    for found in _NUMBER.finditer(text):
        offset = int(found[0]) - number
        rest = f"{text[: found.start()]}#{text[found.end() :]}"
        is_told = _PAGE_WORDS.search(rest) is not None or not _LETTER.search(rest)
        if is_told or (abs(offset) <= _MOST_OFFSET and _is_apart(page, row)):
            keys.append(f"# {offset} {rest}")
    return keys


def _is_in_table(page: Page, place: int) -> bool:
    """Whether it is a row of a table that goes on: it has cells, and so have those next to it, at the same places."""
    row = page.rows[place]
    if len(row.pieces) < 2:
        return False
    near = [page.rows[each] for each in (place - 1, place + 1) if 0 <= each < len(page.rows)]
    return any(_shares_columns(row.pieces, other.pieces) for other in near)


def _shares_columns(one: Sequence[Piece], other: Sequence[Piece]) -> bool:
    lefts = [piece.left for piece in other]
    rights = [piece.right for piece in other]

    def is_below(piece: Piece) -> bool:
        return any(abs(piece.left - left) < 2 for left in lefts) or any(abs(piece.right - right) < 2 for right in rights)

    return sum(map(is_below, one)) >= 2


def _is_apart(page: Page, row: Row) -> bool:
    """Whether it stands in the margin, away from the text."""
    if page.height * _MARGIN < row.bottom < page.height * (1 - _MARGIN):
        return False
    others = [other for other in page.rows if other is not row]
    return bool(others) and all(abs(other.bottom - row.bottom) > _DETACHED * row.height for other in others)
