"""Guesses an undeclared old encoding from what the text would say in it.

Idea: each language has common words and only a few letters beyond ASCII. In the right encoding nearly all bytes beyond ASCII
are letters of one language, or signs that all share; in a wrong one they fit no language. If nearly every letter is beyond
ASCII, and there are enough of them, a library knows more. Invariant: time is linear in the sample.
"""

from __future__ import annotations

import itertools
import re

_ENOUGH = 24  # of fewer bytes beyond ASCII the library can tell nothing
_MOSTLY = 0.6  # of the letters: then the script is not Latin
_SIGNS = frozenset("\u00a0–—‚‘’„“”«»‹›€£§°…·•©®™²³½¼¾×±¡¿")
# The first that explains most wins, so those that are told from nothing but what they share come first.
_LATIN: tuple[tuple[str, str, str], ...] = (
    ("cp1252", "äöüß", "der die und ist für"),
    ("cp1252", "àâæçéèêëîïôùûœ", "le la les et est pour"),
    ("cp1252", "áéíñóúüªº", "el la los de es para"),
    ("cp1252", "àáâãçéêíóôõúªº", "o de do não para que"),
    ("cp1252", "àèéìíîòóùú", "il la di che è per"),
    ("cp1252", "åäöæøéé", "och og det en er på"),
    ("cp1252", "áðéíóúýþæö", "og er að í"),
    ("cp1252", "àçéèíïòóúü·", "el la i és per amb"),
    ("cp1250", "áčďéěíňóřšťúůýž", "a v na je se do"),
    ("cp1250", "ąćęłńóśźż", "i w na jest nie do"),
    ("cp1250", "áéíóöőúüű", "a az és nem hogy van"),
    ("cp1250", "áäčďéíĺľňóôŕšťúýž", "a v na je sa do"),
    ("cp1250", "čćđšž", "i u je na za"),
    ("cp1250", "ăâîşţ", "şi în de la este cu"),
    ("cp1254", "âçğîıöşûüİ", "ve bir için bu ile"),
    ("cp1257", "āčēģīķļņšūž", "un ir no ar"),
    ("cp1257", "ąčęėįšųūž", "ir yra į su"),
    ("cp1257", "äõöüšž", "ja on ei see"),
    ("iso8859-2", "ąćęłńóśźż", "i w na jest nie do"),
    ("iso8859-2", "áčďéěíňóřšťúůýž", "a v na je se do"),
    ("cp850", "äöüßéèàç", "der die und le la"),
    ("mac-roman", "äöüßéèàçñ", "der die und le la"),
)
# Letters from the most to the least frequent.
_OTHERS: tuple[tuple[str, str], ...] = (
    ("cp1251", "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфъёіїєґ"),
    ("koi8-r", "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфъё"),
    ("cp866", "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфъё"),
    ("cp1253", "αοιετσνηυρπκμλςίόθγάδέωχήφύβώξζψ"),
    ("cp1255", "יוהלאמרתבשנםעדקחפכטגזסןצךףץ"),
    ("cp1256", "اليمنوترهبةعدسفكحقجشطصخزذضغثءئىظأإ"),
)
_A_WORD = 0.01  # counts a common word of the language, where letters alone decide nothing
_FOR_WORDS = 4_000
_WORD_BREAKS = re.compile(r"[a-zß-öø-ÿ][A-ZÀ-ÖØ-ÞŠŽ]")


def looks_like(sample: bytes) -> str:
    """Python's name of the encoding."""
    beyond = sum(byte > 0x7F for byte in sample)
    letters = beyond + sum(chr(byte).isalpha() for byte in sample if byte <= 0x7F)
    if beyond < _MOSTLY * letters and (found := _latin(sample)) is not None:
        return found
    if beyond >= _ENOUGH:
        from charset_normalizer import from_bytes

        best = from_bytes(sample).best()
        if best is not None:
            return best.encoding
    return _other(sample) if beyond >= _MOSTLY * letters else "cp1252"


def _latin(sample: bytes) -> str | None:
    """The encoding that makes letters of one language of (nearly) all; None if none does."""
    best, best_share = None, 0.85
    for encoding, letters, words in _LATIN:
        text = sample.decode(encoding, "replace")
        beyond = [character for character in text if character > "\x7f"]
        known = frozenset(letters + letters.upper()) | _SIGNS
        share = sum(character in known for character in beyond) / max(len(beyond), 1)
        share -= len(_WORD_BREAKS.findall(text)) / max(len(beyond), 1)
        share += _A_WORD * len(frozenset(words.split()) & frozenset(text[:_FOR_WORDS].lower().split()))
        if share > best_share:
            best, best_share = encoding, share
    return best


def _other(sample: bytes) -> str:
    best, best_weight = "cp1252", 0.3
    for encoding, letters in _OTHERS:
        weights = {letter: 1.0 - rank / len(letters) for rank, letter in enumerate(letters)}
        text = sample.decode(encoding, "replace")
        beyond = [character for character in text if character > "\x7f" and character not in _SIGNS]
        weight = sum(weights.get(character.lower(), -1.0) for character in beyond)
        weight -= sum(before.islower() and after.isupper() for before, after in itertools.pairwise(text))
        if weight / max(len(beyond), 1) > best_weight:
            best, best_weight = encoding, weight / len(beyond)
    return best
