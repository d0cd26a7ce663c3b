"""Words, stems, sentences and small talk: the little linguistics that retrieval and models share.

Pure functions of a string. Invariant: every one takes time linear in its input, whatever the input is, since documents
and prompts come from strangers; quantifiers that could meet their own remainder again are possessive or guarded.
Scripts that write no spaces between words (Chinese, Japanese, Thai, ...) and Korean become character bigrams, all
others words. Stop words and stems are English; a word in another language is its own stem or, at worst, loses an ending
on both sides alike.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

import Stemmer

SmallTalk = Literal["greeting", "thanks", "farewell"]


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


LONGEST_WORD = 64  # what follows is cut: no word is longer, and normalising one stays cheap
LONGEST_SENTENCE = 600

# Hiragana to Katakana, Hangul, Han with its extensions, half-width kana, Thai, Lao, Burmese, Khmer.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3040-\u30ff\u3130-\u318f\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\uff66-\uffdc\U00020000-\U0003ffff"
)
# Vowel signs and points belong to their word, though Python's \w leaves them out.
_MARKS = "\u0300-\u036f\u0483-\u0489\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed\u0900-\u0963\u0966-\u0dff"
# Hyphen, full stop and underscore join what they stand within: `1.1.1.1`, `pay-as-you-go`, `max_tokens` are one word
# each. (BM25 alone on the development set, recall@5 joined and not: mtrag_cloud .323 and .289, cloudflare .875 and .813, the
# two others within .003.)
_ASCII_WORD = re.compile(r"[a-z0-9]++(?:[-_.][a-z0-9]++|'[a-z]++)*+")
_LETTERS = rf"(?:[^\W_{_UNSPACED}]++[{_MARKS}]*+)++"
_WORD = re.compile(rf"(?P<unspaced>[{_UNSPACED}]++)|{_LETTERS}(?:[-_.'’]{_LETTERS})*+")

STOP_WORDS = _set(
    """a about above after again against all also am an and any are aren't as at be because been before being below
    between both but by can can't cannot could couldn't did didn't do does doesn't doing don't down during each few for
    from further had hadn't has hasn't have haven't having he he'd he'll he's her here here's hers herself him himself
    his how how's i i'd i'll i'm i've if in into is isn't it it's its itself just let's ll me more most mustn't my
    myself no nor not now of off on once only or other ought our ours ourselves out over own please re s same shan't she
    she'd she'll she's should shouldn't so some such t than that that's the their theirs them themselves then there
    there's these they they'd they'll they're they've this those through to too under until up ve very was wasn't we
    we'd we'll we're we've were weren't what what's when when's where where's which while who who's whom whose why why's
    will with won't would wouldn't you you'd you'll you're you've your yours yourself yourselves"""
)


_stemmer = Stemmer.Stemmer("english", maxCacheSize=0)  # what it would keep, `_stem` keeps
_stemming = threading.Lock()  # a stemmer keeps the word it works on in itself: two threads would mix theirs


@lru_cache(maxsize=32_768)  # prose repeats its words
def _stem(word: str) -> str:
    """The word's English stem; empty for a stop word."""
    if not word.isascii():
        word = unicodedata.normalize("NFKC", word).replace("’", "'")
    if word in STOP_WORDS:
        return ""
    with _stemming:
        stem: str = _stemmer.stemWord(word)
    return stem.replace("'", "")


def words(text: str) -> list[str]:
    """The lower-case words of a text, stop words included; of unspaced scripts, the character bigrams."""
    text = text.lower()
    if text.isascii():
        return [word[:LONGEST_WORD] for word in _ASCII_WORD.findall(text)]
    found: list[str] = []
    for match in _WORD.finditer(text):
        word = match.group()
        if match.lastgroup is None:
            found.append(word[:LONGEST_WORD])
        elif len(word) == 1:
            found.append(word)
        else:
            found.extend(word[at : at + 2] for at in range(len(word) - 1))
    return found


def stems(text: str) -> list[str]:
    """The stems of a text in its order, with repetitions and without stop words: the terms that BM25 counts."""
    return [stem for word in words(text) if (stem := _stem(word))]


def content_words(text: str) -> list[str]:
    """The words of a text that are no stop words."""
    return [word for word in words(text) if word.replace("’", "'") not in STOP_WORDS]


# --- sentences ---------------------------------------------------------------------------------------------------

# The lookbehind lets a run of full stops be tried from its first one alone: "...." without a space stays linear.
_END = re.compile(r"(?<![.!?…])[.!?…]++[\"'”’)\]]*+(?=\s)|[。！？]++[」』”）]*+|\n")
_ABBREVIATIONS = _set(
    """al approx art ave ca cf ch co corp dept dr e.g eq est etc ex fig gen gov hon i.e inc jr lt ltd maj mr mrs ms mt
    no nos p pp prof rep rev sec sen sgt sr st vol vs viz"""
)
_LAST_WORD = re.compile(r"[\w.]*\Z")
_LIST_ITEM = re.compile(r"[ \t]{0,8}(?:[-*+•‣–—|>#]|\d{1,3}[.)]|[a-zA-Z][.)])")
_WRAPPED = 45  # a line at least this long may have been broken by width; a shorter one is a heading or an item


def sentences(text: str) -> list[tuple[int, int]]:
    """The spans of the sentences, in order, none blank or longer than `LONGEST_SENTENCE`.

    A sentence ends at its punctuation, at a blank line, and at the end of a line unless that line was only wrapped.
    """
    spans: list[tuple[int, int]] = []
    start = 0
    for match in _END.finditer(text):
        end = match.end()
        is_end = _line_ends_sentence(text, match.start()) if match.group() == "\n" else _ends_sentence(text, match)
        if is_end:
            _append_bounded(spans, text, start, end)
            start = end
    _append_bounded(spans, text, start, len(text))
    return spans


def _ends_sentence(text: str, match: re.Match[str]) -> bool:
    mark, at, end = match.group()[0], match.start(), match.end()
    if mark in "。！？":
        return True
    following = text[end : end + 8].lstrip()[:1]
    if following.islower():
        return False
    if mark != ".":
        return True
    word = _LAST_WORD.search(text[max(0, at - 12) : at])
    last = word.group() if word else ""
    if last.lower() in _ABBREVIATIONS or (len(last) == 1 and last.isalpha() and last != "I"):
        return False
    line_so_far = text[max(0, at - 12) : at].rpartition("\n")[2]
    return not (last.isdigit() and line_so_far.strip() == last and len(last) <= 3)  # "3. " numbers an item


def _line_ends_sentence(text: str, at: int) -> bool:
    line_from = text.rfind("\n", max(0, at - _WRAPPED), at)
    if line_from >= 0 or at < _WRAPPED:
        return True  # a short line, or a blank one
    if _LIST_ITEM.match(text, at + 1):
        return True
    return not text[at + 1 : at + 10].lstrip(" \t")[:1].islower()


def _append_bounded(spans: list[tuple[int, int]], text: str, start: int, end: int) -> None:
    """Add the span without its outer blanks, cut at spaces where it is too long."""
    while start < end:
        cut = end
        if end - start > LONGEST_SENTENCE:
            space = text.rfind(" ", start + LONGEST_SENTENCE // 2, start + LONGEST_SENTENCE)
            cut = space if space > 0 else start + LONGEST_SENTENCE
        piece = text[start:cut]
        left = len(piece) - len(piece.lstrip())
        if left < len(piece):
            spans.append((start + left, start + len(piece.rstrip())))
        start = cut


# --- turns of a conversation -------------------------------------------------------------------------------------

_GREETING = _set("hi hello hey hiya howdy yo greetings good morning afternoon evening day hallo hola bonjour")
_THANKS = _set("thanks thank thx ty cheers appreciated appreciate merci danke gracias")
_FAREWELL = _set("bye goodbye cya ciao farewell later see night")
_COURTESY = _set(
    """there you your all everyone everybody team bot chatbot so very much a lot again for help helping the and ok okay
    great perfect nice awesome cool it that this i is are how doing to meet have day one now then soon tomorrow sir
    madam was helpful good it's that's well today up what's sup"""
)
_TALK = _GREETING | _THANKS | _FAREWELL | _COURTESY


def small_talk(text: str) -> SmallTalk | None:
    """What a text is when it is nothing but courtesy; None when it asks or tells anything."""
    if len(text) > 80:
        return None
    said = [word.replace("’", "'") for word in words(text)]
    if not said or len(said) > 8 or not _TALK.issuperset(said):
        return None
    if _THANKS.intersection(said):
        return "thanks"
    if said[0] in {"bye", "goodbye", "cya", "ciao", "farewell"} or said[:2] in (["see", "you"], ["good", "night"]):
        return "farewell"
    if "bye" in said or "goodbye" in said:
        return "farewell"
    if said[0] in _GREETING and (said[0] != "good" or said[1:2] in (["morning"], ["afternoon"], ["evening"], ["day"])):
        return "greeting"
    return None


_POINTING = _set(
    """it its itself they them their theirs themselves this that these those he him his she her hers there one ones such
    other others another same former latter both either neither it's that's they're he's she's there's else instead
    again more"""
)
_LEADING = _set("and but so or also what-about how-about why ok okay yes yeah no any which then")
_FEW_WORDS = 3


def is_dependent(text: str) -> bool:
    """Whether a prompt leans on what was said before: it points back, starts by continuing, or says very little."""
    return points_back(text) or len(content_words(text)) <= _FEW_WORDS


def points_back(text: str) -> bool:
    """Whether a prompt means nothing without what was said before, however long it is."""
    said = [word.replace("’", "'") for word in words(text)]
    if not _POINTING.isdisjoint(said):
        return True
    opening = "-".join(said[:2])
    return bool(said) and (said[0] in _LEADING or opening in _LEADING)


# --- texts that say the same --------------------------------------------------------------------------------------

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
    return frozenset(stems(text))


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
