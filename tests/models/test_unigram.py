"""Pieces are those of `tokenizers`, for made-up vocabularies."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import tokenizers
from tokenizers import models, pre_tokenizers

from gigachat_server.models.embedders.unigram import WORD_START, Unigram

CONTROLS = ("<s>", "</s>", "<unk>")
UNKNOWN = 2


def made_of(pieces: Sequence[tuple[str, float]]) -> Unigram:
    text = "".join(piece for piece, _ in pieces)
    ends = np.cumsum([len(piece) for piece, _ in pieces])
    return Unigram(text, ends, np.array([score for _, score in pieces]), unknown=UNKNOWN, controls=range(len(CONTROLS)))


def reference(pieces: Sequence[tuple[str, float]]) -> Callable[[str], list[int]]:
    """`tokenizers` with the same pieces. Those that control are given names that no text spells."""
    named = [(f"\x00{piece}" if piece in CONTROLS else piece, score) for piece, score in pieces]
    tokenizer = tokenizers.Tokenizer(models.Unigram(named, UNKNOWN, False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=WORD_START, prepend_scheme="always", split=True)

    def encode(text: str) -> list[int]:
        ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    return encode


@pytest.mark.parametrize("seed", range(40))
def test_made_up_vocabularies_cut_as_tokenizers_does(seed: int) -> None:
    chance = random.Random(seed)
    letters = chance.choice(["ab", "abcdef", "aé日\U0001f9ff", "ab\x00\u0301"])
    words = {"".join(chance.choices(letters, k=chance.randint(1, 6))) for _ in range(chance.randint(1, 40))}
    words |= {WORD_START + word for word in words if chance.random() < 0.4}
    if chance.random() < 0.7:
        words.add(WORD_START)
    scores = chance.choice([[-5.0], [-1.0, -2.0, -3.0], [-20 * chance.random() for _ in range(50)]])  # with ties, and without
    pieces = [(control, 0.0) for control in CONTROLS] + [(word, chance.choice(scores)) for word in sorted(words)]
    unigram, expected = made_of(pieces), reference(pieces)
    for _ in range(60):
        said = ["".join(chance.choices(letters + "xy", k=chance.randint(1, 12))) for _ in range(chance.randint(1, 5))]
        assert unigram.encode(said) == expected(" ".join(said)), said


def test_edges() -> None:
    pieces = [
        *((control, 0.0) for control in CONTROLS),
        ("a", -1.0),
        (WORD_START, -2.0),
        ("aaaa", -1.5),
        (WORD_START + "a", -9.0),
    ]
    unigram = made_of(pieces)
    assert unigram.encode([]) == []
    assert unigram.encode(["a"]) == [4, 3], "the likelier way, not the longer piece"
    assert unigram.encode(["xyz", "a"]) == [4, UNKNOWN, 4, 3], "unknown characters side by side are one"
    assert unigram.encode(["x", "y"]) == [4, UNKNOWN, 4, UNKNOWN], "but not of two words"
    assert unigram.encode(["\x00", "\ud800"]) == [4, UNKNOWN, 4, UNKNOWN]
    assert set(unigram.encode(["</s>"])) == {4, UNKNOWN}, "nobody can spell a control piece"
    assert unigram.encode(["a" * 40_000]) == [4, *[5] * 10_000]
