"""Compares texts word for word, in any script.

Idea: texts are compared as words of letters, marks and numbers, ignoring case, width and punctuation. Scripts without spaces
between words (Chinese, Japanese, Thai, Lao, Burmese, Khmer) are compared character by character, so that a name in the middle
of a sentence is found. Invariant: pure; the normalised text is never shown.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

_LONGEST_COMPARED = 400  # words of an answer that ROUGE-L looks at

# Thai and Lao, Burmese, Khmer, kana, Han: each character is a word of its own.
_DENSE = re.compile("([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff])")


def normalised(text: str) -> str:
    """The words of the text, casefolded, with single spaces between."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    words = "".join(character if unicodedata.category(character)[0] in "LMN" else " " for character in folded)
    return " ".join(_DENSE.sub(r" \1 ", words).split())


def holds(text: str, answers: Sequence[str]) -> bool:
    """Whether one of the answers stands in the text, word for word."""
    padded = f" {normalised(text)} "
    return any(f" {wanted} " in padded for wanted in map(normalised, answers) if wanted)


def overlap(first: str, second: str) -> float:
    """The share of the shorter text's 4-grams that the other has too."""
    grams, others = _four_grams(first), _four_grams(second)
    return len(grams & others) / max(1, min(len(grams), len(others)))


def _four_grams(text: str) -> set[tuple[str, ...]]:
    words = normalised(text).split()
    return {tuple(words[start : start + 4]) for start in range(max(1, len(words) - 3))}


def word_f1(text: str, gold: str) -> float:
    words, wanted = normalised(text).split(), normalised(gold).split()
    common = (Counter(words) & Counter(wanted)).total()
    return 2 * common / (len(words) + len(wanted)) if common else 0.0


def rouge_l(text: str, gold: str) -> float:
    """F-measure of the longest common subsequence of words."""
    words, wanted = (normalised(part).split()[:_LONGEST_COMPARED] for part in (text, gold))
    if not words or not wanted:
        return 0.0
    longest = [0] * (len(wanted) + 1)
    for word in words:
        diagonal = 0
        for column, other in enumerate(wanted, 1):
            above = longest[column]
            longest[column] = diagonal + 1 if word == other else max(above, longest[column - 1])
            diagonal = above
    return 2 * longest[-1] / (len(words) + len(wanted))
