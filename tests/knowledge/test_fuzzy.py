"""Words that are alike by their letters."""

from __future__ import annotations

import random

import pytest

from gigachat_server.knowledge.search.fuzzy import Vocabulary
from gigachat_server.language.likeness import alike, likeness

pytestmark = pytest.mark.sqlite_only


@pytest.mark.parametrize(
    "word, term",
    [
        ("waranty", "warranty"),
        ("delivry", "delivery"),
        ("nummer", "versicherungsnummer"),
        ("garantie", "garanti"),
        ("доставки", "доставка"),
        ("παραδοση", "παραδοσησ"),
    ],
)
def test_typos_endings_and_parts_of_compounds_are_alike(word: str, term: str) -> None:
    assert 0.5 <= likeness(word, term) < 1


@pytest.mark.parametrize(
    "word, term", [("e1042", "e1043"), ("2024", "2025"), ("cat", "car"), ("refund", "garden"), ("ab", "abc")]
)
def test_numbers_short_words_and_others_are_not(word: str, term: str) -> None:
    assert likeness(word, term) == 0


@pytest.mark.parametrize("word", ["e1042", "a", "refund", "返品"])
def test_a_word_is_itself(word: str) -> None:
    assert likeness(word, word) == 1


def test_a_vocabulary_finds_what_comparing_all_words_finds() -> None:
    chance = random.Random(7)
    letters = "abcdeio"
    words = {"".join(chance.choice(letters) for _ in range(chance.randint(2, 12))) for _ in range(1_500)}
    vocabulary = Vocabulary()
    for word in sorted(words):
        vocabulary.add(word)
        vocabulary.add(word)
    for word in chance.sample(sorted(words), 60):
        wanted = {other: much for other in words if other != word and (much := likeness(word, other))}
        assert dict(vocabulary.alike(word)) == pytest.approx(wanted)


def test_many_words_are_compared_as_each_is() -> None:
    chance = random.Random(8)
    words = {"".join(chance.choice("abcdeio1") for _ in range(chance.randint(1, 12))) for _ in range(800)} | {"x" * 60, "x" * 61}
    asked = [*chance.sample(sorted(words), 100), "nummer", "x" * 60]
    others = words | {"versicherungsnummer"}
    for word, found in zip(asked, alike(asked, others), strict=True):
        assert found == {other: much for other in others if (much := likeness(word, other))}
