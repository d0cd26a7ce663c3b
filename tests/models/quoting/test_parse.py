"""What statements a passage is made of, and what is said for each."""

from __future__ import annotations

import random
import re
import time
from itertools import pairwise

import pytest

from gigachat_server.language.markup import plain
from gigachat_server.models.quoting.parse import LONGEST_PASSAGE, MOST_STATEMENTS, row_text, statements

pytestmark = pytest.mark.sqlite_only


def said(text: str) -> list[tuple[str, str]]:
    """The nearest heading and the text of each statement."""
    return [(each.heading, each.text) for each in statements(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# Prices\n\nThe red lamp costs 9 €.", [("Prices", "The red lamp costs 9 €.")]),
        ("Prices\n======\n\nIt costs 9 €.", [("Prices", "It costs 9 €.")]),
        ("**Opening hours**\n\nWe open at nine.", [("Opening hours", "We open at nine.")]),
        ("**Do you ship?** Yes. To Norway, too.", [("Do you ship?", "Yes."), ("Do you ship?", "To Norway, too.")]),
        (
            "Do you ship abroad? We do. It takes a week.",
            [("Do you ship abroad?", "We do."), ("Do you ship abroad?", "It takes a week.")],
        ),
        ("Q: Do you ship?\nA: We do.\n\nQ: When?\nA: On Monday.", [("Do you ship?", "We do."), ("When?", "On Monday.")]),
        ("F: Liefern Sie?\nA: Ja, gern.", [("Liefern Sie?", "Ja, gern.")]),
        ("问：可以退货吗？\n答：可以。", [("可以退货吗？", "可以。")]),
        ("MOVING IN\nThe keys are at the desk.", [("MOVING IN", "The keys are at the desk.")]),
        (
            "1. RENT\nThe rent is due on the first day of each month.",
            [("RENT", "The rent is due on the first day of each month.")],
        ),
        (
            "Returns\n\nYou can send everything back within thirty days.",
            [("Returns", "You can send everything back within thirty days.")],
        ),
        ("Monday: closed\nTuesday: 9 to 5", [("", "Monday: closed"), ("", "Tuesday: 9 to 5")]),
        ("> Quoted, but said.\n> Twice.", [("", "Quoted, but said."), ("", "Twice.")]),
        ("- one\n* two\n3. three\n• four", [("", "one"), ("", "two"), ("", "three"), ("", "four")]),
        ("- one that is\n  wrapped\n- two", [("", "one that is wrapped"), ("", "two")]),
        ("See [the guide](guide.md) and ![a lamp](lamp.png).", [("", "See the guide and .")]),
        ("It is **very** *red* and `max_tokens` is_not.", [("", "It is very red and `max_tokens` is_not.")]),
        ("The red lamp\n  costs nine euros [1][2].", [("", "The red lamp costs nine euros [1][2].")]),
        ("---\n\nWe open.\n\n***\n", [("", "We open.")]),
        ("## \n\nWe open.", [("", "We open.")]),
        ("## Only a heading", []),
        ("", []),
    ],
)
def test_each_stands_under_its_heading_and_is_said_without_markup(text: str, expected: list[tuple[str, str]]) -> None:
    assert said(text) == expected


TABLE = """\
Prices per night:

| Room | Low season | High season |
|:-----|-----------:|:-----------:|
| Suite Farol | 175 € | **315 €** |
| [Single](single.md) | – | 105 € |
| Attic | | |
"""


def test_a_row_is_said_with_the_names_of_its_columns_and_cited_by_its_span() -> None:
    lead_in, farol, single, attic = statements(TABLE)
    assert [farol.text, single.text, attic.text] == [
        "Suite Farol: Low season 175 €; High season 315 €",
        "Single: High season 105 €",
        "Attic",
    ]
    assert TABLE[farol.start : farol.end] == "| Suite Farol | 175 € | **315 €** |"
    assert {each.kind for each in (farol, single, attic)} == {"row"}
    assert {each.lead_in for each in (farol, single, attic)} == {0}
    assert lead_in.text == "Prices per night:"


@pytest.mark.parametrize(
    ("row", "columns", "expected"),
    [
        (("C-8", "under inspection"), ("Code", "Meaning"), "C-8: under inspection"),
        (("Pets", "no"), ("What", "Allowed"), "Pets: Allowed no"),
        (("Key", "$8"), ("Item", "Fee"), "Key: $8"),
        (("Kayak", "12"), ("Item", "Weight in kg"), "Kayak: Weight in kg 12"),
        (("Basic", "Free from £60", "–"), ("Plan", "Free from", "Notes"), "Basic: Free from £60"),
        (("", "9:00", "17:00"), ("", "Opens", "Closes"), "Opens 9:00; Closes 17:00"),
        (("a", "x", "y", "z"), ("A", "B"), "a: B x; y; z"),
        (("a", "b"), (), "a – b"),
        (("a",), ("A",), "a"),
    ],
)
def test_the_name_of_a_column_is_said_where_it_tells_something(
    row: tuple[str, ...], columns: tuple[str, ...], expected: str
) -> None:
    assert row_text(row, columns) == expected


def test_a_table_needs_no_outer_bars_and_its_head_is_never_said() -> None:
    assert said("Day | Hours\n--- | ---\nMonday | closed on holidays\n\nWe wait.") == [
        ("", "Monday: closed on holidays"),
        ("", "We wait."),
    ]


def test_items_know_what_announces_them_and_code_is_apart() -> None:
    text = "You need:\n\n- a passport\n- a photo\n\nThen run:\n\n```sh\nrun **it**\n```\n\nDone."
    kinds = [(each.kind, each.text, each.lead_in) for each in statements(text)]
    assert kinds == [
        ("sentence", "You need:", None),
        ("item", "a passport", 0),
        ("item", "a photo", 0),
        ("sentence", "Then run:", None),
        ("code", "run **it**", 3),
        ("sentence", "Done.", None),
    ]


def test_a_question_in_a_paragraph_is_the_heading_of_that_paragraph_alone() -> None:
    text = "# Help\n\n**Is there parking?** Yes, behind the house.\n\nDogs are welcome."
    assert said(text) == [("Is there parking?", "Yes, behind the house."), ("Help", "Dogs are welcome.")]


def test_headings_are_known_up_to_the_top() -> None:
    [statement] = statements("# Shop\n\n## Shipping\n\n### Abroad\n\nIt takes a week.")
    assert statement.headings == ("Shop", "Shipping", "Abroad")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("**bold** and __bold__", "bold and bold"),
        ("2 * 3 * 4", "2 * 3 * 4"),
        ("snake_case_name", "snake_case_name"),
        ("`a * b` and ``x_y``", "`a * b` and ``x_y``"),
        ("[a][b] and [c](d (e))", "a and c"),
        ("[![alt](a.png)](b)", ""),
        ("<https://example.com/a_b>", "https://example.com/a_b"),
        ("a<br>b", "a b"),
        (r"\*not emphasis\*", "*not emphasis*"),
        ("a\0b\x1b", "a b"),
        ("nested ***very* much**", "nested very much"),
    ],
)
def test_plain_is_what_a_person_would_write(text: str, expected: str) -> None:
    assert plain(text) == expected


HOSTILE = {
    "bars": "|" * 20_000,
    "cells": "|a" * 10_000,
    "rows": "| a | b |\n|---|---|\n" + "| a | b |\n" * 2_000,
    "rules": "|-" * 10_000,
    "stars": "*" * 20_000,
    "nested": "**_" * 6_000 + "a" + "_**" * 600,
    "open bold": "**a" * 6_000,
    "hashes": "#" * 20_000,
    "headings": "# a\n" * 5_000,
    "brackets": "[" * 20_000,
    "links": "[a](" * 5_000,
    "backquotes": "`" * 20_000,
    "fences": "```\n" * 5_000,
    "no end": "word " * 4_000,
    "no blank": "a" * 20_000,
    "items": "- x\n" * 1_000,
    "numbers": "1. " * 6_000,
    "full stops": ". " * 10_000,
    "NUL": "\0" * 20_000,
    "quotes": "> " * 10_000,
    "blanks": " " * 20_000,
    "lines": "\n" * 20_000,
    "right to left": "هذا نص طويل " * 1_500,
    "underscores": "__a__b" * 3_000,
    "angles": "<a" * 10_000,
    "backslashes": "\\" * 20_000,
    "colons": "a: " * 6_000,
    "questions": "a? " * 6_000,
    "bold questions": "**a?** b\n" * 2_000,
    "Q and A": "Q: a?\nA: b.\n" * 1_500,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_whatever_a_passage_holds_is_read_in_bounds(text: str) -> None:
    found = statements(text)
    assert len(found) <= MOST_STATEMENTS
    for each in found:
        assert 0 <= each.start < each.end <= len(text)
        assert each.text.strip()


def test_time_is_linear_in_the_text() -> None:
    # Counted, not timed by a threshold: twice the text takes about twice as long, whatever it is, and never the square.
    for name, text in HOSTILE.items():
        took = []
        for part in (text[: LONGEST_PASSAGE // 4], text):
            best = min(_took(part) for _ in range(3))
            took.append(best)
        assert took[1] < 40 * took[0] + 0.05, name


def _took(text: str) -> float:
    began = time.process_time()
    statements(text)
    return time.process_time() - began


def test_statements_lie_in_order_and_every_word_of_one_is_in_its_passage() -> None:
    rng = random.Random(11)
    parts = [
        "# Head", "**Bold** words", "| A | B |", "|---|---|", "| 1 | [two](x) |", "- item one", "- item two", "", "",
        "Go: now.", "Is it?", "> said", "1. first", "```", "CAPITAL LINE", "Yes.", "Q: why?", "A: so.",
        "plain line without an end", "东京。天气", "*", "|", "---", "====",
    ]  # fmt: skip
    for _ in range(1_500):
        text = "\n".join(rng.choices(parts, k=rng.randrange(1, 25)))
        found = statements(text)
        assert all(first.start < second.start for first, second in pairwise(found)), text
        words = _words(text)
        for each in found:
            assert _words(each.text) <= words, text
            assert each.lead_in is None or each.lead_in < len(found), text


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text))
