"""How alike two words are by their letters: typos, lost accents, parts of German compounds, endings no stemmer knows. Pure.

The idea: two words are as alike as the trigrams of their letters, taken from "^word$", overlap: Dice's coefficient, or nine
tenths of the share of the prompt's word that the other holds, where that is most of it ("Nummer" in "Versicherungsnummer").

Invariants: a likeness is 1 for the same word and else 0, or from .5 to below 1; words of three letters and fewer, and those
with digits, are like themselves alone: "E1042" is not nearly "E1043".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from functools import lru_cache
from itertools import chain

LEAST = 0.5  # Dice's coefficient from which words count as alike
SHORTEST = 4  # letters of a prompt's word
SHORTEST_OTHER = 3
_PART = 0.9  # what holding most of the trigrams counts at most
MOST_HELD = 0.8  # share of the prompt's trigrams that are most
_SHORTEST_PART = 5
_LONGEST = 40  # letters that are looked at


@lru_cache(maxsize=8_192)  # at most 4 kB each; the words of a chatbot's documents and prompts come again and again
def trigrams(word: str) -> frozenset[str]:
    """Of the word with its edges marked."""
    marked = f"^{word[:_LONGEST]}$"
    return frozenset(marked[at : at + 3] for at in range(len(marked) - 2))


def likeness(word: str, term: str) -> float:
    """How alike a prompt's word and a document's are, from 0 to 1."""
    if word == term:
        return 1.0
    if not is_comparable(word, SHORTEST) or not is_comparable(term, SHORTEST_OTHER):
        return 0.0
    own, other = trigrams(word), trigrams(term)
    return likeness_of(len(own & other), len(own), len(other), len(word))


def alike(words: Sequence[str], others: Collection[str]) -> list[dict[str, float]]:
    """For each of the words those of the others that are like it, with their likeness.

    Only words that share a trigram are compared, so that a long prompt can be compared with all words of some passages.
    """
    holding: dict[str, list[str]] = {}
    for other in others:
        if is_comparable(other, SHORTEST_OTHER):
            for trigram in trigrams(other):
                holding.setdefault(trigram, []).append(other)
    found = []
    for word in words:
        near = {word: 1.0} if word in others else {}
        if is_comparable(word, SHORTEST):
            own = trigrams(word)
            shared = Counter(chain.from_iterable(holding.get(trigram, ()) for trigram in own))
            for other, count in shared.items():
                if other != word and (much := likeness_of(count, len(own), len(trigrams(other)), len(word))):
                    near[other] = much
        found.append(near)
    return found


def likeness_of(shared: int, own: int, other: int, length: int) -> float:
    alike = 2 * shared / (own + other)
    if length >= _SHORTEST_PART and shared >= MOST_HELD * own:
        alike = max(alike, _PART * shared / own)
    return min(alike, 0.99) if alike >= LEAST else 0.0


def is_comparable(word: str, shortest: int) -> bool:
    return len(word) >= shortest and not any(map(str.isdigit, word))
