"""Which language a text is in, where a simple test can tell; and the words that stand before the names of its sources. Pure.

Idea: most scripts tell by a look at their letters, the Latin one by its commonest words: the language whose words are the
most is believed if no other has as many. Invariant: what cannot be told is None, and nobody guesses.
"""

from __future__ import annotations

import re
from typing import Literal

Language = Literal["en", "de", "fr", "es", "it", "pt", "nl", "ru", "zh", "ja", "ko", "ar"]

_LOOKED_AT = 2_000  # characters


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


# Words that one of these languages has and the others hardly do.
_COMMON: dict[Language, frozenset[str]] = {
    "en": _set("the and of to is are was were for with from that this it on by be has have not you we at as or"),
    "de": _set("der die das und ist sind nicht ein eine einen zu den dem des mit auf für von im wir sie wird auch"),
    "fr": _set("le les des et est sont une du dans pour que qui pas sur avec vous nous il au aux ce cette"),
    "es": _set("el los las y es son del para por con una que no se su al lo más está como pero"),
    "it": _set("il gli è sono del della dei di che per con una non si lo nel alla anche più ma"),
    "pt": _set("o os é são do da dos das que para por com uma não se no na ao mais em também"),
    "nl": _set("de het een en is zijn niet van voor met dat op te wij u aan ook wordt bij naar"),
}
_LABELS: dict[Language, tuple[str, str]] = {
    "en": ("Source: ", "Sources: "),
    "de": ("Quelle: ", "Quellen: "),
    "fr": ("Source : ", "Sources : "),
    "es": ("Fuente: ", "Fuentes: "),
    "it": ("Fonte: ", "Fonti: "),
    "pt": ("Fonte: ", "Fontes: "),
    "nl": ("Bron: ", "Bronnen: "),
    "ru": ("Источник: ", "Источники: "),
    "zh": ("来源：", "来源："),
    "ja": ("出典：", "出典："),
    "ko": ("출처: ", "출처: "),
    "ar": ("المصدر: ", "المصادر: "),
}
# In this order: Japanese has Chinese characters, too, and other languages share the letters of Russian and Arabic.
_SCRIPTS: tuple[tuple[Language | None, re.Pattern[str]], ...] = (
    ("ja", re.compile("[\u3041-\u30fa]")),
    ("ko", re.compile("[\uac00-\ud7a3]")),
    ("zh", re.compile("[\u4e00-\u9fff]")),
    (None, re.compile("[іїєґўјљњћђџ]", re.IGNORECASE)),
    ("ru", re.compile("[ыэё]", re.IGNORECASE)),
    (None, re.compile("[\u067e\u0686\u0698\u06a9\u06af\u06cc\u0679\u0688\u0691\u06d2]")),
    ("ar", re.compile("[\u0629\u0649]|\\bال")),
)
_WORD = re.compile(r"[^\W\d_]+")


def language(text: str) -> Language | None:
    """The language of a text, by its first 2,000 characters."""
    text = text[:_LOOKED_AT].lower()
    said = _WORD.findall(text)
    latin = sum(word[0] < "\u0250" for word in said)
    if latin * 2 < len(said):
        return next((found for found, letters in _SCRIPTS if letters.search(text)), None)
    counts = {found: sum(word in common for word in said) for found, common in _COMMON.items()}
    best: Language = max(counts, key=counts.__getitem__)
    is_told = counts[best] > 0 and list(counts.values()).count(counts[best]) == 1
    return best if is_told else None


def source_label(text: str, count: int) -> str:
    """What is said in the text's language before the names of so many sources; nothing where it cannot be told."""
    found = language(text)
    return "" if found is None else _LABELS[found][count > 1]
