"""A document as units: what is embedded for it, and to which chunks each belongs."""

from __future__ import annotations

import itertools
import random

import pytest

from gigachat_server.knowledge.documents.chunk import split
from gigachat_server.knowledge.documents.units import CHARACTERS, DENSE_CHARACTERS, placed, units

pytestmark = pytest.mark.sqlite_only


def texts(document: str) -> list[str]:
    return [unit.text for unit in units(document)]


@pytest.mark.parametrize(
    "document, wanted",
    [
        ("", []),
        (" \n\n ", []),
        ("Within 30 days.", ["Within 30 days."]),
        ("# Returns\nWithin 30 days.\nNo fee.\n", ["Returns: Within 30 days. No fee."]),
        ("Before.\n\n## Returns ##\nWithin 30 days.", ["Before.", "Returns: Within 30 days."]),
        ("# Shop\n\n## Returns\nWithin 30 days.", ["Returns: Within 30 days."]),
        ("# Phone 555-0100\n# Mail us\n", ["Phone 555-0100", "Mail us"]),
        ("# Shop\n\n## Phone\n\n## Mail\n\n# Jobs\nNone.", ["Phone", "Mail", "Jobs: None."]),
        ("```\n# no heading\n```\nText.", ["``` # no heading ``` Text."]),
    ],
)
def test_a_unit_is_a_stretch_of_one_section_behind_its_heading(document: str, wanted: list[str]) -> None:
    assert texts(document) == wanted


def test_sentences_are_joined_while_they_fit() -> None:
    sentence = "This sentence has exactly fifty characters in it. "
    found = texts(sentence * 12)
    assert [len(text) for text in found] == [299, 299]


def test_a_sentence_without_an_end_is_cut_at_blanks() -> None:
    found = texts("word " * 500)
    assert max(map(len, found)) <= CHARACTERS * 1.5
    assert sum(text.count("word") for text in found) == 500


def test_scripts_without_blanks_get_shorter_units() -> None:
    assert max(map(len, texts("返品は三十日以内に限ります。" * 60))) <= DENSE_CHARACTERS * 1.5


@pytest.mark.parametrize("seed", range(30))
def test_units_hold_all_that_is_said_once_and_each_belongs_to_chunks_that_hold_it(seed: int) -> None:
    chance = random.Random(seed)
    pieces = [
        "# Heading\n",
        "Short. ",
        "A sentence of some length, with a comma. ",
        "\n\n",
        "x" * 700,
        "- item\n",
        "返品。",
        "\n",
    ]
    document = "".join(chance.choice(pieces) for _ in range(chance.randint(1, 80)))
    chunks = split(document, size=200, overlap=chance.choice([0, 50, 150]))
    found = units(document)
    assert all(before.end <= after.start for before, after in itertools.pairwise(found))
    held = "".join("".join(document[unit.start : unit.end].split()) for unit in found)
    assert held.count("x") == document.count("x") and held.count("返") == document.count("返")
    for unit, (first, last) in zip(found, placed(found, chunks), strict=True):
        assert 0 <= first <= last < len(chunks)
        for chunk in chunks[first : last + 1]:
            assert chunk.start < unit.end and unit.start < chunk.start + len(chunk.text)


@pytest.mark.parametrize("text", ["#" * 200_000, "# " * 100_000, "#" + " " * 200_000 + "x", "# a" + "#x" * 90, "a" * 500_000])
def test_hostile_texts_take_linear_time(text: str) -> None:
    assert sum(unit.end - unit.start for unit in units(text)) <= len(text)
