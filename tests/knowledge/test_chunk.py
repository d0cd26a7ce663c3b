"""Chunks: the cutting as tables, its invariants on random and hostile text."""

from __future__ import annotations

import random
import time

import pytest

from gigachat_server.knowledge.documents.chunk import split

TWO_MEBIBYTES = 2 * 1024 * 1024
PIECES = ["\n\n", "\n", ". ", " ", "  ", "\r\n", "。", "wwww", "wwwwwwwwwwww", "w" * 40, "ww", "\t", "?", "! "]


@pytest.mark.parametrize(
    "text, size, overlap, expected",
    [
        ("", 10, 0, []),
        (" \n\t\n ", 10, 2, []),
        ("short", 10, 2, [("short", 1, 1)]),
        ("one\n\ntwo\n\nthree", 7, 0, [("one", 1, 1), ("two", 3, 3), ("three", 5, 5)]),
        ("one\n\ntwo\n\nthree", 9, 0, [("one\n\ntwo", 1, 3), ("three", 5, 5)]),
        ("a\nb\nc\nd", 4, 2, [("a\nb", 1, 2), ("b\nc", 2, 3), ("c\nd", 3, 4)]),
        ("One two. Three four. Five", 14, 0, [("One two.", 1, 1), ("Three four.", 1, 1), ("Five", 1, 1)]),
        ("aa bb cc dd", 6, 3, [("aa bb", 1, 1), ("bb cc", 1, 1), ("cc dd", 1, 1)]),
        ("abcdefghij", 4, 1, [("abcd", 1, 1), ("defg", 1, 1), ("ghij", 1, 1)]),
        ("\n\n\n  text", 20, 0, [("text", 4, 4)]),
        ("一二。三四。五六", 4, 0, [("一二。", 1, 1), ("三四。", 1, 1), ("五六", 1, 1)]),
        ("one\r\n\r\ntwo", 7, 0, [("one", 1, 1), ("two", 3, 3)]),
        ("short\n\n" + "x" * 12 + "\n\nshort", 10, 2, None),
    ],
)
def test_split(text: str, size: int, overlap: int, expected: list[tuple[str, int, int]] | None) -> None:
    if expected is None:  # a paragraph that fits no chunk is cut alone; its neighbours stay whole
        expected = [("short", 1, 1), ("x" * 9, 3, 3), ("x" * 5, 3, 3), ("short", 5, 5)]
    chunks = split(text, size=size, overlap=overlap)
    assert [(chunk.text, chunk.line_from, chunk.line_to) for chunk in chunks] == expected
    assert all(text.startswith(chunk.text, chunk.start) for chunk in chunks)


def test_no_chunk_begins_or_ends_within_an_emoji() -> None:
    family = "👩\u200d👩\u200d👧"
    for size, overlap in ((7, 0), (12, 3), (9, 8)):
        for chunk in split(family * 20, size=size, overlap=overlap):
            assert chunk.text.startswith("👩")
            assert chunk.text.endswith("👧")


def test_a_heading_is_no_chunk_by_itself_where_text_follows_it() -> None:
    sentence = "Guinea pigs are rodents. "
    text = "Guinea pig\n" + sentence * 50 + "\n\nCare\n" + sentence * 50
    chunks = split(text, size=1000, overlap=200)
    assert chunks[0].text.startswith("Guinea pig\nGuinea pigs are")
    assert (chunks[0].line_from, chunks[0].line_to) == (1, 2)
    assert len(chunks[0].text) > 900
    assert [chunk.text for chunk in chunks if len(chunk.text) < 120] == []
    assert any(chunk.text.startswith("Care\nGuinea pigs are") for chunk in chunks)
    # What is too long for a heading is a chunk.
    assert [chunk.text for chunk in split("a" * 300 + "\n\n" + "b" * 900, size=1000, overlap=0)] == ["a" * 300, "b" * 900]


@pytest.mark.parametrize("seed", range(60))
def test_chunks_cover_the_text_at_the_right_lines(seed: int) -> None:
    dice = random.Random(seed)
    unique = iter(range(0x20000, 0x30000))  # no letter occurs twice, so a chunk is found where it was cut
    pieces = "".join(dice.choices(PIECES, k=dice.randint(1, 400)))
    text = "".join(chr(next(unique)) if letter == "w" else letter for letter in pieces)
    size = dice.randint(1, 120)
    chunks = split(text, size=size, overlap=dice.randint(0, size))
    covered: set[str] = set()
    last_at = 0
    for chunk in chunks:
        assert 0 < len(chunk.text) <= size
        assert chunk.text == chunk.text.strip()
        at = text.index(chunk.text, last_at)
        if not covered.issuperset(chunk.text):  # it holds letters, so this is where it was cut
            assert chunk.line_from == 1 + text.count("\n", 0, at)
            last_at = at
        assert chunk.line_to == chunk.line_from + chunk.text.count("\n")
        covered.update(chunk.text)
    assert covered.issuperset("".join(text.split()))


@pytest.mark.parametrize("size, overlap", [(0, 0), (-1, 0), (10, -1)])
def test_senseless_sizes_are_refused(size: int, overlap: int) -> None:
    with pytest.raises(ValueError):
        split("text", size=size, overlap=overlap)


@pytest.mark.parametrize("overlap", [0, 200, 999, 5000])
@pytest.mark.parametrize(
    "unit", ["a", " ", "\n", "a ", "a\n\n", ". ", "。", "x" * 1001 + ". ", "x" * 999 + "\n\n" + "y" * 1500 + "\n"]
)
def test_no_text_takes_long_or_grows_without_bound(unit: str, overlap: int) -> None:
    """A quadratic step over two mebibytes would take hours; the bound allows for a busy machine."""
    text = unit * (TWO_MEBIBYTES // len(unit))
    started_at = time.process_time()
    chunks = split(text, size=1000, overlap=overlap)
    assert time.process_time() - started_at < 5
    assert sum(len(chunk.text) for chunk in chunks) <= 8 * len(text)
