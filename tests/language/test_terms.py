"""What texts are indexed by and what prompts ask for: the same thing is the same term, however either writes it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from gigachat_server.language import terms as of_terms
from gigachat_server.language.codes import Language
from gigachat_server.language.terms import query_words, terms


@pytest.mark.parametrize(
    "text, expected",
    [
        ("", []),
        ("The cats were running", ["cat", "run"]),
        ("Don't the dogs' owners' understand?", ["dog", "owner", "understand"]),
        ("1.1.1.1 is pay-as-you-go: set max_tokens.", ["1.1.1.1", "pay", "payasyougo", "set", "max", "token", "maxtoken"]),
        ("https://example.com/faq", ["https", "exampl", "com", "examplecom", "faq"]),
        ("東京都の天気", ["東京", "京都", "都の", "の天", "天気"]),
        ("水", ["水"]),
        ("Привет, миры!", ["мир"]),
        ("हिन्दी भाषा", ["हिन्द", "भाष"]),
        ("ｃａｔｓ ﬁnds", ["cat", "find"]),
        ("parcels returning", ["parcel", "return"]),
        ("generously skies dying", ["generous", "sky", "die"]),
        ("consolidating relational hopefulness", ["consolid", "relat", "hope"]),
        ("dog’s cats'", ["dog", "cat"]),
        ("bad\ud800word", ["bad", "word"]),  # half a character of UTF-16, which is no character
        ("a" * 70, ["a" * 64]),
        ("Who are you?", ["who", "are", "you"]),  # nothing else is said
    ],
)
def test_terms_are_those_that_stores_hold(text: str, expected: list[str]) -> None:
    """Another stemmer, or another version of it, would no longer find what is indexed."""
    assert terms(text, None) == expected


def test_threads_do_not_mix_their_words() -> None:
    texts = [" ".join(f"{chr(97 + n)}{chr(97 + m)}runnings" for n in range(26)) for m in range(26)]
    alone = [terms(text, "en") for text in texts]
    of_terms._tables.clear()
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda text: terms(text, "en"), texts)) == alone


def covered(prompt: str, text: str, language: Language | None = "en") -> float:
    """The share of the prompt's words that the text holds."""
    held = set(terms(text, language))
    asked = query_words(prompt, [language])
    return sum(not held.isdisjoint(word.alternatives) for word in asked) / len(asked)
