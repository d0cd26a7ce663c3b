"""Small talk, and prompts that lean on what was said before.

Small talk is what consists of nothing but courtesies (`courtesies`) of one language, names and emoji: one word more, and
something is asked or told. Invariant: only short texts are looked at.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import Literal

from gigachat_server.language.characters import composed, folded, word_set
from gigachat_server.language.codes import Language
from gigachat_server.language.courtesies import COURTESIES, EVERYWHERE, Courtesies
from gigachat_server.language.detect import language
from gigachat_server.language.stop_words import stop_words
from gigachat_server.language.tokens import content_words, words

SmallTalk = Literal["greeting", "thanks", "farewell"]

_LONGEST = 100
_KINDS = ("thanks", "farewell", "greeting", "agreed")
_GOING_ON = word_set("and und et y e en och og i a und also or")
_ASKING = word_set("is are was do have what how")  # "Is it cool?" is no agreement
_MOST_NAMES = 2
_WORD = re.compile(r"[^\W\d_][\w'’\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0900-\u0963\u0e31-\u0e4e]*")
_DIGIT = re.compile(r"\d")
_WAVES = frozenset("👋🙋🖐✋🤚")
_ASKING_SIGNS = frozenset("❓❔⁉🤔🤷")
_UNSPACED_LANGUAGES: frozenset[Language] = frozenset(("zh", "ja", "ko", "th"))
_SMILEY = re.compile(r"(?:(?<=\s)|^)(?:[:;=8xX]['-]?[)(DdPpOo3*/|]+|\^\^|<3|\^_\^|xD)(?=\s|$|[.!])")


def small_talk(text: str) -> SmallTalk | None:
    """What a text is when it is nothing but courtesy; None when it asks or tells anything."""
    if len(text) > _LONGEST:
        return None
    text = _SMILEY.sub(" 🙂 ", composed(text))
    said = _WORD.findall(text)
    plain = [folded(word) for word in said]
    if _are_many_unknown(plain):
        return None
    signs = {sign for sign in text if unicodedata.category(sign) in ("So", "Sk")}
    if _DIGIT.search(text) or signs & _ASKING_SIGNS:
        return None
    if not said:
        return ("greeting" if signs & _WAVES else "thanks") if signs else None
    is_asked = "?" in text or "؟" in text
    if is_asked and plain[0] in _GOING_ON:
        return None
    found = _courtesy(plain)
    if is_asked:
        return found if found == "greeting" else None  # "How are you?", but not "Super?"
    if found is None and (unnamed := _without_names(said, plain)):
        found = _courtesy(unnamed, is_punctuated=any(mark in text for mark in ",!."))
    return found


def _are_many_unknown(plain: Sequence[str]) -> bool:
    """Whether more of the words than may be names are in no courtesy: true of most prompts, and told in a moment."""
    known, unknown = _words_of_all(), 0
    for word in plain:
        if word.isascii() and word not in known:
            unknown += 1
            if unknown > _MOST_NAMES:
                return True
    return False


@cache
def _words_of_all() -> frozenset[str]:
    return frozenset[str]().union(*(phrases.words for phrases in _phrases().values()))


def _courtesy(said: list[str], *, is_punctuated: bool = True) -> SmallTalk | None:
    """What these words are if they are courtesies of one language. Who gives thanks and leaves, or greets, is thanked.

    In German any noun may look like a name, so there a name has to be set off.
    """
    for each, phrases in _phrases().items():
        if phrases.may_be(said) and (kinds := phrases.kinds(said)):
            if each == "de" and not is_punctuated and not {"herr", "frau"}.intersection(said):
                continue
            if "thanks" in kinds:
                return "thanks"
            if "farewell" in kinds:
                return "farewell"
            if "greeting" in kinds:
                return "greeting"
            if "agreed" in kinds and said[0] not in _ASKING:
                return "thanks"
    return None


class _Phrases:
    """The courtesies of one language, those of every language included, each with its kind ("" for what stands beside)."""

    def __init__(self, own: Courtesies, *, is_spaced: bool) -> None:
        self._is_spaced = is_spaced
        self._kind_of: dict[str, str] = {}
        self.words: set[str] = set()
        for kind in ("beside", *_KINDS):
            for phrase in f"{getattr(own, kind)} {getattr(EVERYWHERE, kind)}".split():
                said = _WORD.findall(folded(composed(phrase.replace("_", " "))))
                self._kind_of[self._joined(said)] = "" if kind == "beside" else kind
                self.words.update(said)
        self._most = max(map(len, self._kind_of)) if not is_spaced else max(phrase.count(" ") + 1 for phrase in self._kind_of)
        self._begins = {phrase.split(" ")[0] if is_spaced else phrase[0] for phrase in self._kind_of}
        self._parts = {part for phrase in self._kind_of for part in (phrase.split(" ") if is_spaced else phrase)}

    def _joined(self, words: Sequence[str]) -> str:
        return (" " if self._is_spaced else "").join(words)

    def may_be(self, said: Sequence[str]) -> bool:
        """False, in a moment, of what most prompts are: words that no courtesy of the language has."""
        if (said[0] if self._is_spaced else said[0][0]) not in self._begins:
            return False
        return self._parts.issuperset(said if self._is_spaced else "".join(said))

    def kinds(self, said: Sequence[str]) -> frozenset[str]:
        """The kinds of the phrases that the words consist of, the longest first; none if they consist of others, too."""
        units = said if self._is_spaced else "".join(said)
        reached: list[frozenset[str] | None] = [None] * len(units) + [frozenset()]
        for start in range(len(units) - 1, -1, -1):
            for end in range(min(len(units), start + self._most), start, -1):
                rest = reached[end]
                kind = self._kind_of.get(self._joined(units[start:end])) if rest is not None else None
                if rest is not None and kind is not None:
                    reached[start] = rest | {kind}
                    break
        return reached[0] or frozenset()


@cache
def _phrases() -> dict[Language, _Phrases]:
    return {each: _Phrases(own, is_spaced=each not in _UNSPACED_LANGUAGES) for each, own in COURTESIES.items()}


def _without_names(said: list[str], plain: list[str]) -> list[str] | None:
    """The words without one or two names: capitalised words that are none of the common ones."""
    if len(said) < 2:
        return None
    known = _known_words()
    kept = [each for word, each in zip(said, plain, strict=True) if each in known or not _may_be_name(word)]
    return kept if kept and 0 < len(said) - len(kept) <= _MOST_NAMES else None


def _may_be_name(word: str) -> bool:
    return word[:1].isupper() and not (len(word) > 1 and word.isupper()) and len(word) <= 14


@cache
def _known_words() -> frozenset[str]:
    """Words that are no names."""
    of_courtesies = {
        part
        for each in (EVERYWHERE, *COURTESIES.values())
        for phrases in each
        for part in folded(phrases).replace("_", " ").split()
    }
    return frozenset(of_courtesies).union(*(stop_words(each) for each in COURTESIES))


# --- what leans on what was said before ---

# Words that point to what was said. Left out are those that are also articles or "you" ("das", "sie", "la").
_POINTING: dict[Language, frozenset[str]] = {
    "en": word_set(
        """it its itself they them their theirs themselves this that these those he him his she her hers there one
        ones such other others another same former latter both either neither it's that's they're he's she's there's
        else instead again more"""
    ),
    "de": word_set(
        """davon dafür damit dazu daran darauf darüber daraus dabei dagegen dadurch dorthin dort dieser dieses
        diesen diesem diese ihn ihm ihnen jene jener jenes solche solchen stattdessen derselbe dasselbe beide beides
        letztere erstere"""
    ),
    "fr": word_set(
        "cela ça ceci celui celle ceux celles celui-ci celle-ci celui-là lui leur eux elles y dedans idem autre autres"
    ),
    "es": word_set(
        "eso esto ese esa esos esas ello ellos ellas aquel aquella aquello ahí allí dicho dicha mismo misma otro otra"
    ),
    "pt": word_set(
        "isso isto esse essa esses essas dele dela deles delas nisso disso nele nela lá aquilo aquele aquela outro outra"
    ),
    "it": word_set("questo questa quello quella questi queste ciò esso essa essi lì quelli quelle stesso stessa altro altra"),
    "nl": word_set("dit dat deze die hem hen hun ervan daarvan daarvoor daarmee daarbij ermee ervoor daar erop andere ander"),
    "ru": word_set(
        "это этот эта эти этого этой этом этим он она оно они его её ее их ним ней него нее там тот та те такой другой"
    ),
    "pl": word_set("to ten ta te tego tej tym tam on ona ono oni jego jej ich nim nią inny inna inne"),
    "tr": word_set("bu bunu bunun buna bunlar o onu onun ona onlar onları şu orada bunda ondan bundan diğeri başka"),
}
# Words that go on with what was said when a prompt begins with them.
_LEADING: dict[Language, frozenset[str]] = {
    "en": word_set("and but so or also what-about how-about why ok okay yes yeah no any which then"),
    "de": word_set("und aber oder also auch dann warum wieso weshalb ja nein ok was-ist wie-ist wie-sieht sonst noch nur"),
    "fr": word_set("et mais ou aussi donc alors pourquoi oui non ok sinon lequel laquelle"),
    "es": word_set("y pero o también entonces por-qué porqué sí no ok vale qué-tal"),
    "pt": word_set("e mas ou também então por-que porquê por-quê sim não ok"),
    "it": word_set("e ma o anche allora quindi perché sì no ok"),
    "nl": word_set("en maar of ook dus dan waarom ja nee ok hoe-zit"),
    "ru": word_set("а и но или также тогда почему да нет ок ещё еще зачем"),
    "pl": word_set("a i ale lub też także to dlaczego czemu tak nie ok"),
    "tr": word_set("ve ama veya peki ya neden niye evet hayır tamam"),
    "uk": word_set("а і й але або також тоді чому так ні"),
    "sv": word_set("och men eller också då varför ja nej ok"),
    "ar": word_set("و لكن أو أيضا إذن لماذا نعم لا وماذا وكيف وكم وهل ومتى وأين"),
    "hi": word_set("और लेकिन या भी तो क्यों हाँ नहीं"),
    "he": word_set("ו אבל או גם אז למה כן לא ומה ואיך וכמה ואם"),
    "fa": word_set("و اما یا هم پس چرا بله نه"),
}
_UNSPACED_LEADING = re.compile(
    "[那它这][么个些]?|还有|另外|如果|为什么|所以|但是|那么|而且|それ|その|これ|この|じゃあ|では|あと|でも|なぜ|もし|그럼|그러면|그건|그것|그리고|왜|이건|แล้ว|ถ้า|แต่|ทำไม"
)
_FEW_WORDS = 3


def is_dependent(text: str) -> bool:
    """Whether a prompt leans on what was said before: it points back, starts by continuing, or says very little."""
    return points_back(text) or len(content_words(text)) <= _FEW_WORDS


def points_back(text: str) -> bool:
    """Whether a prompt means nothing without what was said before, however long it is."""
    told = language(text)
    if told in _UNSPACED_LANGUAGES:
        return _UNSPACED_LEADING.match(text.lstrip(" ¿¡\"'")) is not None
    said = [word.replace("’", "'") for word in words(text)]
    if not said:
        return False
    if not _POINTING.get(told or "en", frozenset()).isdisjoint(said):
        return True
    leading = _LEADING.get(told, frozenset()) if told else _all_leading()
    return said[0] in leading or "-".join(said[:2]) in leading


@cache
def _all_leading() -> frozenset[str]:
    """Those of all languages, for prompts too short to tell theirs; but for the letters that are also articles or "I"."""
    return frozenset[str]().union(*_LEADING.values()) - {"a", "i", "o"}
