"""Whether two texts say the same, and two prompts may ask the same."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from gigachat_server.language.terms import terms
from gigachat_server.language.tokens import words


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_EDGES = " ?!.,:;…\"'“”‘’«»()[]*_¿¡。？！؟"
_NEGATIONS = _set(
    """not no never none without nor neither cannot nothing nobody nowhere except unable nicht nichts kein keine keinen
    keinem keiner keines nie ohne ne pas jamais non sans não nunca sin sem niet geen не нет нельзя никогда без"""
)
_UNSPACED_NEGATION = re.compile("[不没沒无無未]|ない|ません|ไม่|않|없|못")
_ASKED_FOR = {"who": "who", "whom": "who", "whose": "who", "when": "when", "where": "where", "why": "why"}
# Words of which a text that says one does not mean another: the members of each line, their spellings beside each other.
_OPPOSITES = (
    "before|after",
    "minimum min minimal least lowest smallest mindestens|maximum max maximal most highest largest höchstens",
    "on|off",
    "enable enabled enabling activate activated activating|disable disabled disabling deactivate deactivated deactivating",
    "monday mon montag lundi lunes|tuesday tue tues dienstag mardi martes|wednesday wed mittwoch mercredi miércoles|"
    "thursday thu thur thurs donnerstag jeudi jueves|friday fri freitag vendredi viernes|"
    "saturday sat samstag samedi sábado|sunday sun sonntag dimanche domingo",
    "january jan januar janvier enero|february feb februar février febrero|march märz mars marzo|april apr avril abril|"
    "may mai mayo|june jun juni juin junio|july jul juli juillet julio|august aug août agosto|"
    "september sep sept septembre septiembre|october oct oktober octobre octubre|november nov novembre noviembre|"
    "december dec dezember décembre diciembre",
)
_MEMBERS = {
    word: (kind, member)
    for kind, members in enumerate(_OPPOSITES)
    for member, spellings in enumerate(members.split("|"))
    for word in spellings.split()
}
_WEAK = _set("on may mars sat sun")  # mostly something else, so they count where no other member of theirs is said
SHARED_STEMS = 0.6  # of all that either of two texts says whose vectors are missing, or say little
_MOST_COMPARED = 2_000  # characters from the start of a text


def normalised(text: str) -> str:
    """The text but for what does not change what it says: case, blanks, and the marks around it."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().replace("’", "'").split()).strip(_EDGES)


def may_ask_the_same(text: str, other: str) -> bool:
    """False where two prompts that look alike differ in a negation, a number, one of a few words that exclude each other, or
    between who, when, where and why; and where texts of other scripts, whose vectors are not trusted, share few stems.

    To vectors "is it open" and "is it not open", or version 3 and version 4, are next to the same; and an embedding model
    that knows no Chinese takes all that is Chinese for the same. Only the first 2,000 characters are looked at.
    """
    said, said_by_other = _marks(text[:_MOST_COMPARED]), _marks(other[:_MOST_COMPARED])
    if said.is_negated != said_by_other.is_negated or said.numbers != said_by_other.numbers:
        return False
    if said.asked_for and said_by_other.asked_for and said.asked_for.isdisjoint(said_by_other.asked_for):
        return False
    if any(members != said_by_other.members.get(kind, members) for kind, members in said.members.items()):
        return False
    if not (said.is_foreign or said_by_other.is_foreign):
        return True
    stems_said, stems_of_other = _stems_of(text[:_MOST_COMPARED]), _stems_of(other[:_MOST_COMPARED])
    return len(stems_said & stems_of_other) >= SHARED_STEMS * len(stems_said | stems_of_other)


class _Marks(NamedTuple):
    """What vectors do not see of a text. `is_foreign`: most of its letters are not Latin."""

    is_negated: bool
    numbers: frozenset[str]
    asked_for: frozenset[str]
    members: dict[int, frozenset[int]]
    is_foreign: bool


@lru_cache(maxsize=4_096)  # each prompt is compared with many
def _marks(text: str) -> _Marks:
    text = unicodedata.normalize("NFKC", text)[:_MOST_COMPARED]
    said = [word.replace("’", "'") for word in words(text)]
    letters = [character for character in text if character.isalpha()]
    return _Marks(
        is_negated=any(word in _NEGATIONS or word.endswith("n't") or word.startswith("n'") for word in said)
        or _UNSPACED_NEGATION.search(text) is not None,
        numbers=frozenset(word for word in said if any(character.isdigit() for character in word)),
        asked_for=frozenset(_ASKED_FOR[word] for word in said if word in _ASKED_FOR),
        members=_members(said),
        is_foreign=2 * sum(character >= "\u0250" for character in letters) > len(letters),
    )


@lru_cache(maxsize=512)
def _stems_of(text: str) -> frozenset[str]:
    return frozenset(terms(text, None))


def _members(said: Sequence[str]) -> dict[int, frozenset[int]]:
    """Which members of which of the `_OPPOSITES` are said."""
    singular = {word if word in _MEMBERS else word.removesuffix("s").removesuffix("'") for word in said}
    found: dict[int, set[int]] = {}
    for word in (singular & _MEMBERS.keys()) - _WEAK:
        kind, member = _MEMBERS[word]
        found.setdefault(kind, set()).add(member)
    strong = set(found)
    for word in singular & _WEAK:
        kind, member = _MEMBERS[word]
        if kind not in strong:
            found.setdefault(kind, set()).add(member)
    return {kind: frozenset(members) for kind, members in found.items()}
