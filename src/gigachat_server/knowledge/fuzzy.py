"""Words that are alike by their letters: typos, lost accents, parts of German compounds, endings no stemmer knows.

The idea: two words are as alike as the trigrams of their letters, taken from "^word$", overlap: Dice's coefficient, or nine
tenths of the share of the prompt's word that the other holds, where that is most of it ("Nummer" in "Versicherungsnummer").
A vocabulary finds the words like one by the trigrams they share, so a prompt's word is compared with few of the thousands that a
chatbot's documents use.

Invariants: a likeness is 1 for the same word and else 0, or from .5 to below 1; words of three letters and fewer, and those
with digits, are like themselves alone: "E1042" is not nearly "E1043". The same words give the same likeness whoever asks.
"""

from __future__ import annotations

from array import array
from functools import lru_cache

import numpy as np

LEAST = 0.5  # Dice's coefficient from which words count as alike
SHORTEST = 4  # letters of a prompt's word
SHORTEST_OTHER = 3
_PART = 0.9  # what holding most of the trigrams counts at most
_MOST_HELD = 0.8  # share of the prompt's trigrams that are most
_SHORTEST_PART = 5
_LONGEST = 40  # letters that are looked at


@lru_cache(maxsize=32_768)  # the words of a chatbot's documents and prompts come again and again
def trigrams(word: str) -> frozenset[str]:
    """Of the word with its edges marked."""
    marked = f"^{word[:_LONGEST]}$"
    return frozenset(marked[at : at + 3] for at in range(len(marked) - 2))


def likeness(word: str, term: str) -> float:
    """How alike a prompt's word and a document's are, from 0 to 1."""
    if word == term:
        return 1.0
    if not _is_comparable(word, SHORTEST) or not _is_comparable(term, SHORTEST_OTHER):
        return 0.0
    own, other = trigrams(word), trigrams(term)
    return _likeness(len(own & other), len(own), len(other), len(word))


def _likeness(shared: int, own: int, other: int, length: int) -> float:
    alike = 2 * shared / (own + other)
    if length >= _SHORTEST_PART and shared >= _MOST_HELD * own:
        alike = max(alike, _PART * shared / own)
    return min(alike, 0.99) if alike >= LEAST else 0.0


def _is_comparable(word: str, shortest: int) -> bool:
    return len(word) >= shortest and not any(map(str.isdigit, word))


class Vocabulary:
    """The distinct terms of one chatbot. Not thread-safe; terms are only added."""

    def __init__(self) -> None:
        self._terms: list[str] = []
        self._numbers: dict[str, int] = {}
        self._sizes = array("H")  # of trigrams, by number
        self._holding: dict[str, array[int]] = {}  # trigram -> numbers of the terms that have it

    def __len__(self) -> int:
        return len(self._terms)

    @property
    def memory_bytes(self) -> int:
        """About what this occupies, without the terms themselves, which their owner has too."""
        postings = sum(map(len, self._holding.values()))
        return 4 * postings + 120 * len(self._holding) + 110 * len(self._terms)

    def add(self, term: str) -> None:
        if term in self._numbers or not _is_comparable(term, SHORTEST_OTHER):
            return
        number = self._numbers[term] = len(self._terms)
        self._terms.append(term)
        own = trigrams(term)
        self._sizes.append(len(own))
        for trigram in own:
            held = self._holding.get(trigram)
            if held is None:
                self._holding[trigram] = array("I", (number,))
            else:
                held.append(number)

    def alike(self, word: str) -> list[tuple[str, float]]:
        """The terms like this word but not it, with their likeness, the most alike first."""
        if not _is_comparable(word, SHORTEST):
            return []
        own = trigrams(word)
        postings = [np.frombuffer(held, np.uint32) for trigram in own if (held := self._holding.get(trigram)) is not None]
        if not postings:
            return []
        numbers, shared = np.unique(np.concatenate(postings), return_counts=True)
        # Fewer shared trigrams than this are not enough for any term, however short.
        enough = shared >= LEAST * len(own) / (2 - LEAST)
        found = []
        for number, count in zip(numbers[enough].tolist(), shared[enough].tolist(), strict=True):
            alike = _likeness(count, len(own), self._sizes[number], len(word))
            if alike and self._terms[number] != word:
                found.append((self._terms[number], alike))
        found.sort(key=lambda each: (-each[1], each[0]))
        return found
