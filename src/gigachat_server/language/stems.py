"""Stems: what the forms of a word have in common, in each language, without accents.

A word of another script than its text's language is stemmed in the language that script is mostly written in; a Latin one of
an unknown language as English. What a stemmer does depends on accents that people leave out, so a word with accents has the
stem of its plain form, too, where that is another.
"""

from __future__ import annotations

import re
import threading
from functools import cache

import Stemmer

from gigachat_server.language.characters import folded
from gigachat_server.language.codes import Language

_ALGORITHMS: dict[Language, str] = {
    "en": "english", "de": "german", "fr": "french", "es": "spanish", "it": "italian", "pt": "portuguese", "nl": "dutch_porter",
    "ru": "russian", "ar": "arabic", "fa": "persian", "hi": "hindi", "tr": "turkish", "pl": "polish", "sv": "swedish",
    "da": "danish", "no": "norwegian", "fi": "finnish", "hu": "hungarian", "ro": "romanian", "el": "greek",
    "id": "indonesian", "uk": "russian", "cs": "czech",
}  # fmt: skip
_LATIN: frozenset[Language] = frozenset(
    ("en", "de", "fr", "es", "it", "pt", "nl", "tr", "pl", "sv", "da", "no", "fi", "hu", "ro", "id", "vi", "cs")
)
# By script: the languages that write it, and the one that stands for a text of another language.
_SCRIPTS: tuple[tuple[re.Pattern[str], frozenset[Language], Language], ...] = (
    (re.compile("[\u0400-\u052f]"), frozenset(("ru", "uk")), "ru"),
    (re.compile("[\u0600-\u06ff]"), frozenset(("ar", "fa")), "ar"),
    (re.compile("[\u0900-\u097f]"), frozenset(("hi",)), "hi"),
    (re.compile("[\u0590-\u05ff]"), frozenset(("he",)), "he"),
    (re.compile("[\u0370-\u03ff]"), frozenset(("el",)), "el"),
)
_HEBREW_PREFIXES = "הובלכמש"
_HEBREW_ENDINGS = ("ים", "ות")
_FEWEST_LETTERS = 4  # of a Hebrew word that is left

_stemming = threading.Lock()  # a stemmer keeps the word it works on in itself: two threads would mix theirs


@cache
def _stemmer(algorithm: str) -> Stemmer.Stemmer:
    return Stemmer.Stemmer(algorithm, maxCacheSize=0)


def language_of_word(word: str, language: Language | None) -> Language:
    """The language whose rules hold for a word in a text of that language."""
    if word.isascii():
        return language if language in _LATIN else "en"
    for letters, languages, usual in _SCRIPTS:
        if letters.search(word):
            return language if language in languages else usual
    return language if language in _LATIN else "en"


def stems(word: str, language: Language) -> tuple[str, ...]:
    """The stem of a lower-case word, and that of its plain form if it is another."""
    plain = folded(word)
    if language == "he":
        return (_hebrew(plain),)
    algorithm = _ALGORITHMS.get(language)
    if algorithm is None:
        return (plain,)
    with _stemming:
        stem = folded(_stemmer(algorithm).stemWord(word))
        of_plain = stem if plain == word else folded(_stemmer(algorithm).stemWord(plain))
    return (stem or plain,) if of_plain in ("", stem) else (stem or plain, of_plain)


def _hebrew(word: str) -> str:
    """Without prefixes such as "the", "and", "in", and without the endings of plurals."""
    while len(word) > _FEWEST_LETTERS and word[0] in _HEBREW_PREFIXES:
        word = word[1:]
    return word[:-2] if len(word) > _FEWEST_LETTERS + 1 and word.endswith(_HEBREW_ENDINGS) else word
