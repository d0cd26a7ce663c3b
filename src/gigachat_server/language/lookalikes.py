"""Which spellings look like one another: a skeleton, the same for all texts that a person may take for the same.

Idea: that of Unicode's UTS #39, for the letters of `client:` and `bot` alone, and blunter, since no person is called nearly
`client:`. What cannot be seen is left out, a mark belongs to its letter, and letters that are alike in some font are one:
c and e, i and l and 1, o and 0, d and cl.
"""

from __future__ import annotations

import functools
import re
import unicodedata

# By what they look like, code points that neither their decomposition nor their name explains. From Unicode's
# confusables.txt (https://www.unicode.org/Public/security/); the Cyrillic and Greek pi and other dots are added.
_CODE_POINTS = {
    ":": "589 5C3 D83 1361 16EC 1803 1809 205A 205D 2236 22EE A4FD FE30",
    "b": ("184 392 411 42C 432 463 48D 13CF 13F4 1472 1473 15AF 15F7 A4D0 A7B4 10282 102A1 10301 1D6A9 1D6E3 1D71D 1D757 1D791"),
    "bl": "42B",
    "c": (
        "A2 A9 254 259 37D 3B5 3F2 3F9 435 437 441 454 499 4AB 4BD 4BF 4D9 511 13AC 13CB 13DF 20A1 20AC 212E 2203 "
        "22F4 22FF 2377 2C89 2CA5 2D39 2D3A A4DA A4F0 A4F1 A79D 10286 102A2 10302 10429 1042A 1043D 10442 1051C 118A6 "
        "118CE 118E9 118F2 16F2D 1D221 1F16E 1F74C"
    ),
    "cl": "D0 501 13A0 13E7 146F 15DE 15EA 20AB A4D2 A4D3",
    "co": "1D14 AB41 AB42",
    "l": (
        "1C0 269 2DB 37A 3B9 456 4CF 5C0 5D5 5DF 625 627 661 673 6F1 7CA 13A5 13DE 14AA 16C1 18F3 1D7C 2223 2373 2378 "
        "23FD 2502 2780 2C92 2CD1 2D4F 30FC A4E1 A4F2 A647 FD3C FD3D FE87 FE88 1028A 10309 10320 10443 10526 118B2 "
        "118C3 16F16 16F28 1D22A 1E8C7"
    ),
    "ll": "1C1 5F0 2016 2225 10199",
    "lo": "42E 23E8 2789",
    "lt": "20B6",
    "n": "377 39D 3B7 3C0 438 43F 578 57C 2C9A A4E0 1018E 1044D 10513 1D6B4 1D6EE 1D728 1D762 1D79C",
    "o": (
        "37B 3B8 3BF 3C3 43E 473 4E9 585 5E1 629 647 665 6BE 6C1 6D5 6F5 6FF 7C0 966 9E6 A66 AE6 B20 B66 BE6 C02 C66 "
        "C82 CE6 D02 D20 D66 D82 E50 ED0 101D 1040 10FF 12D0 13BE 13EB 2184 2296 229D 236C 2C9F 2D31 2D41 2D54 3007 "
        "A4DB A4F3 AB74 FCD9 10292 102AB 1042C 1044B 104EA 10516 114D0 118B5 118C8 118D7 118E0 1D21A 1F10D 1F714"
    ),
    "oc": "153 276 AB62",
    "oo": "221E A699 A74F",
    "t": "3C4 442 4AD 10A0 13A2 13BF 20AE 22A4 2361 27D9 2CA6 A4D4 A4D5 10297 102B1 10315 118BC 16F0A 1F768",
    "tc": "2A8",
}
_LOOKS_LIKE = {chr(int(point, 16)): seen for seen, points in _CODE_POINTS.items() for point in points.split()}
_ALIKE = str.maketrans({"e": "c", "i": "l", "1": "l", "|": "l", "0": "o", "d": "cl"})
_LETTER_BY_NAME = re.compile(r"(?:LATIN .*LETTER|INDICATOR SYMBOL LETTER)(?: [A-Z]+)*? ([BCDEILNOT])(?:$| WITH| SYMBOL)")
_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zs", "Zl", "Zp", "Mn", "Me"}
# Letters and symbols by category, which nothing is drawn for: fillers of Hangul, a Braille cell without dots, an empty note.
_BLANK = frozenset("\u115f\u1160\u3164\uffa0\u2800\U0001d159\U00013441\U00013442")


def skeleton(text: str) -> str:
    """The same for texts that look alike, as far as the letters of `client:` and `bot` go."""
    if text.isascii():
        return text.lower().replace(" ", "").translate(_ALIKE)
    return "".join(_seen(character) for character in text)


@functools.lru_cache(maxsize=4096)
def _seen(character: str) -> str:
    """What one character looks like; empty if it cannot be seen."""
    for form in (character, character.upper()):
        if form in _LOOKS_LIKE:
            return _LOOKS_LIKE[form]
    if character in _BLANK or unicodedata.category(character) in _UNSEEN:
        return ""
    if not character.isascii():
        name = unicodedata.name(character, "")
        if letter := _LETTER_BY_NAME.search(name):
            return letter[1].lower().translate(_ALIKE)
        if not {"COLON", "VISARGA"}.isdisjoint(name.split()):
            return ":"
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", character).casefold())
    if plain == character:
        return character.translate(_ALIKE)
    return "".join(_seen(each) for each in plain)
