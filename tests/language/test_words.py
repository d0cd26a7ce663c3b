"""Words, stems, sentences and what a turn is, as tables; and that hostile text costs no more than any other."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise

import pytest

from gigachat_server.language.terms import terms
from gigachat_server.language.words import LONGEST_SENTENCE, LONGEST_WORD, content_words, sentences, words

LONG = 200_000
HOSTILE = [
    "a",
    " ",
    "\n",
    ".",
    ". ",
    'a"',
    '."',
    "a'",
    "a-",
    "a.",
    "1. ",
    "\u0301\u0323",
    "a\u0301",
    "漢",
    "。",
    "x\n\n",
]


def terms_of_any(text: str) -> list[str]:
    return terms(text, None)


def test_a_word_without_end_is_cut() -> None:
    assert words("x" * 10_000) == ["x" * LONGEST_WORD]


def test_content_words_leave_out_stop_words() -> None:
    assert content_words("What is the capital of France?") == ["capital", "france"]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("", []),
        (" \n ", []),
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        (
            "Dr. Smith paid 3.50 dollars, e.g. for tea. He left.",
            ["Dr. Smith paid 3.50 dollars, e.g. for tea.", "He left."],
        ),
        ("It was made by J. R. Smith in the U.S. government. Good.", None),
        ('He said "Stop!" and left. (Really.) Yes.', ['He said "Stop!" and left.', "(Really.)", "Yes."]),
        ("1. Open the lid.\n2. Press the button.", ["1. Open the lid.", "2. Press the button."]),
        ("Shopping\n- milk\n- bread", ["Shopping", "- milk", "- bread"]),
        (
            "A line that is as long as lines of wrapped text are\nwont to be. Next.",
            ["A line that is as long as lines of wrapped text are\nwont to be.", "Next."],
        ),
        ("First paragraph\n\nsecond paragraph", ["First paragraph", "second paragraph"]),
        ("今日は晴れ。明日は雨！", ["今日は晴れ。", "明日は雨！"]),
    ],
)
def test_sentences(text: str, expected: list[str] | None) -> None:
    found = [text[start:end] for start, end in sentences(text)]
    if expected is None:
        expected = ["It was made by J. R. Smith in the U.S. government.", "Good."]
    assert found == expected


@pytest.mark.parametrize("unit", HOSTILE)
def test_sentences_are_bounded_and_hold_everything(unit: str) -> None:
    text = unit * (20_000 // len(unit))
    spans = sentences(text)
    assert all(0 < end - start <= LONGEST_SENTENCE for start, end in spans)
    assert all(text[start:end].strip() == text[start:end] for start, end in spans)
    assert "".join("".join(text[start:end] for start, end in spans).split()) == "".join(text.split())
    assert all(before[1] <= after[0] for before, after in pairwise(spans))


@pytest.mark.slow
@pytest.mark.parametrize("function", [terms_of_any, sentences])
@pytest.mark.parametrize("unit", HOSTILE)
def test_no_text_takes_long(function: Callable[[str], object], unit: str) -> None:
    """A quadratic step over so much text would take minutes; the bound allows for a busy machine."""
    text = unit * (LONG // len(unit))
    started_at = time.process_time()
    function(text)
    assert time.process_time() - started_at < 10
