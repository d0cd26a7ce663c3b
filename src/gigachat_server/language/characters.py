"""Characters: which scripts write no spaces, which marks belong to their letter, and what is the same but for its accents."""

from __future__ import annotations

import re
import unicodedata

# Hiragana to Katakana, Hangul, Han with its extensions, half-width kana, Thai, Lao, Burmese, Khmer.
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3005\u3040-\u30ff\u3130-\u318f\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\uff66-\uffdc\U00020000-\U0003ffff"
)
# Vowel signs and points belong to their word, though Python's \w leaves them out.
MARKS = (
    "\u0300-\u036f\u0483-\u0489\u0591-\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06ed"
    "\u0900-\u0963\u0966-\u0dff\u200c\u200d"
)

_OTHER_DIGITS = re.compile("[^\\W\\D0-9]")  # \d without those of ASCII
_MANY_MARKS = re.compile(r"[^\w\s\x00-\x7f]{31,}+")  # putting so many in their canonical order takes quadratic time
_ACCENTS = re.compile(
    "[\u0300-\u036f\u0483-\u0487"  # of Latin, Greek and Cyrillic
    "\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7"  # Hebrew points
    "\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06ed"  # Arabic vowels and the tatweel
    "\u093c\u200c\u200d]"  # the nukta of Hindi; joiners
)
# Letters that no decomposition turns into a plain one, and those that people write for one another.
_PLAIN = str.maketrans(
    {
        "ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "ł": "l", "ħ": "h", "ı": "i", "þ": "th",
        "’": "'", "ʼ": "'", "‘": "'", "`": "'", "´": "'", "׳": "'", "״": '"',
        "أ": "ا", "إ": "ا", "آ": "ا", "ٱ": "ا", "ى": "ي", "ی": "ي", "ئ": "ي", "ؤ": "و", "ک": "ك", "ة": "ه", "ۀ": "ه",
        "ё": "е", "ς": "σ",
    }
)  # fmt: skip


def word_set(words: str) -> frozenset[str]:
    return frozenset(words.split())


def composed(text: str) -> str:
    """The text with one form for each letter (full-width ones are plain) and the digits of all scripts as 0 to 9."""
    if text.isascii():
        return text
    text = unicodedata.normalize("NFKC", _MANY_MARKS.sub(_without_marks, text))
    return _OTHER_DIGITS.sub(lambda digit: str(unicodedata.decimal(digit.group())), text)


def _without_marks(run: re.Match[str]) -> str:
    return "".join(sign for sign in run.group() if not unicodedata.combining(sign))


def folded(word: str) -> str:
    """The word in lower case without accents, points and the variants of letters that people write for one another."""
    word = word.casefold()
    if word.isascii():
        return word
    word = unicodedata.normalize("NFD", word.translate(_PLAIN))
    return unicodedata.normalize("NFC", _ACCENTS.sub("", word).translate(_PLAIN))
