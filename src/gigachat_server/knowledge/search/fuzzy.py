"""The words of a chatbot's documents that are like a word of a prompt (`language/likeness.py`).

The idea: a vocabulary finds the words like one by the trigrams they share, so a prompt's word is compared with few of the
thousands that a chatbot's documents use. Invariant: the same words always give the same likeness.
"""

from __future__ import annotations

import threading
from array import array

import numpy as np

from gigachat_server.language.likeness import LEAST, MOST_HELD, SHORTEST, SHORTEST_OTHER, is_comparable, likeness_of, trigrams


class Vocabulary:
    """The distinct terms of one chatbot. Threads may share it; terms are only added."""

    def __init__(self) -> None:
        self._terms: list[str] = []
        self._numbers: dict[str, int] = {}
        self._sizes = array("H")  # of trigrams, by number
        self._holding: dict[str, array[int]] = {}  # trigram -> numbers of the terms that have it
        self._lock = threading.Lock()  # an array that is being looked at cannot grow

    def __len__(self) -> int:
        return len(self._terms)

    @property
    def memory_bytes(self) -> int:
        """About what this occupies, without the terms themselves, which their owner has too."""
        postings = sum(map(len, self._holding.values()))
        return 4 * postings + 120 * len(self._holding) + 110 * len(self._terms)

    def add(self, term: str) -> None:
        if term in self._numbers or not is_comparable(term, SHORTEST_OTHER):
            return
        with self._lock:
            self._add(term)

    def _add(self, term: str) -> None:
        if term in self._numbers:
            return  # another thread was quicker
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
        if not is_comparable(word, SHORTEST):
            return []
        with self._lock:
            return self._alike(word)

    def _alike(self, word: str) -> list[tuple[str, float]]:
        own = trigrams(word)
        postings = [np.frombuffer(held, np.uint32) for trigram in own if (held := self._holding.get(trigram)) is not None]
        if not postings:
            return []
        shared = np.bincount(np.concatenate(postings))  # by number: counting is quicker than sorting
        # Fewer shared trigrams than this are not enough for any term, however short.
        some = np.flatnonzero(shared >= LEAST * len(own) / (2 - LEAST))
        common, sizes = shared[some], np.frombuffer(self._sizes, np.uint16)[some]
        enough = some[(2 * common >= LEAST * (len(own) + sizes)) | (common >= MOST_HELD * len(own))]
        found = []
        for number, count in zip(enough.tolist(), shared[enough].tolist(), strict=True):
            alike = likeness_of(count, len(own), self._sizes[number], len(word))
            if alike and self._terms[number] != word:
                found.append((self._terms[number], alike))
        found.sort(key=lambda each: (-each[1], each[0]))
        return found
