"""Terms: what a text is indexed by, and the words of a prompt with the terms that would meet each.

The same thing has the same term on both sides, however it is written: a stem without accents; of an identifier, a number, a
date its one form (`numbers`); of a compound its parts and the whole ("pre-order": "pre", "order", "preorder"). A text has as
few terms as that takes; what else could be meant ("pre order", "Oeffnungszeiten", "25 euros" for "€25") the prompt's side thinks
of, where it costs next to nothing.

Invariants: no term holds a blank or "|"; both functions take time linear in the text; where stop words are all there is, they
are not dropped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain, pairwise
from typing import NamedTuple

import msgspec

from gigachat_server.language import detect
from gigachat_server.language.characters import MARKS, UNSPACED, composed, folded, word_set
from gigachat_server.language.codes import Language
from gigachat_server.language.fillers import without_fillers
from gigachat_server.language.numbers import FEWEST_DIGITS, Expression, expressions
from gigachat_server.language.stems import language_of_word, stems
from gigachat_server.language.stop_words import stop_words
from gigachat_server.language.tokens import LONGEST_WORD, bigrams

_MOST_KEPT = 32_768  # words whose terms are remembered, of all languages together
_MOST_PARTS = 6  # of a compound that is also one word

_ASCII_WORD = re.compile(r"[a-z]++(?:[-_.][a-z]++|'[a-z]++)*+|\d++")  # digits are plain numbers
_LETTERS = rf"(?:[^\W\d_{UNSPACED}]++[{MARKS}]*+)++"
_SPACED_WORD = re.compile(rf"{_LETTERS}(?:[-_.'’‐‑]{_LETTERS})*+")
_PLAIN_LETTERS = rf"[^\W\d_]++(?:[{MARKS}]++[^\W\d_]*+)*+"
_PLAIN_WORD = re.compile(rf"{_PLAIN_LETTERS}(?:[-_.'’‐‑]{_PLAIN_LETTERS})*+|\d++")  # where no script is unspaced: faster
_ANY_WORD = re.compile(rf"([{UNSPACED}]++)|{_SPACED_WORD.pattern}|\d++")
_IS_UNSPACED = re.compile(f"[{UNSPACED}]")
# Words of their own where they are capitals among small letters, and stop words of English else.
_ACRONYM = re.compile(r"\b(?:IT|US|WHO)\b")
_JOINER = re.compile(r"[-_.‐‑]")
_ELISION = re.compile(r"(?:[ldjmnstcg]|qu|gl|un|all|dell|nell|dall|sull|quest|quell|jusqu|lorsqu|puisqu|quelqu)'(?=\w\w)")
# Behind a verb these make one word of two: "check in", "set up".
_PARTICLES = word_set("in out up on off over down back away")
_SPELLINGS = (("ä", "ae"), ("ö", "oe"), ("ü", "ue"), ("å", "aa"))
# Terms that stand for one another, each line's for each.
_SAME = {
    term: tuple(group.split())
    for group in (
        "eur euro", "usd dollar", "gbp pound", "jpy yen", "rub руб рубл", "chf frank franken", "inr rupe", "kg kilogram kilo кг",
        "km kilomet kilometer км", "cm centimet", "g gram gramm", "min minut", "h hour hr hrs stund uhr", "mb megabyt",
        "gb gigabyt", "no number nr numm numb",
    )
    for term in group.split()
}  # fmt: skip


class QueryWord(msgspec.Struct, frozen=True):
    """A word of a prompt: `word` as fuzzy matching compares it, and the terms any of which means that a chunk holds it.

    `is_identifier`: it names one thing exactly, as the number of an order does, and nothing that looks like it will do.
    """

    word: str
    alternatives: tuple[str, ...]
    is_identifier: bool


# --- texts ---


class _Terms(dict[str, tuple[str, ...]]):
    """The terms of each word of one language, made when first asked for."""

    kept = 0

    def __init__(self, language: Language | None) -> None:
        super().__init__()
        self._language = language

    def __missing__(self, word: str) -> tuple[str, ...]:
        found = _terms_of(word[:LONGEST_WORD], self._language)
        if len(word) <= LONGEST_WORD:
            _Terms.kept += 1
            if _Terms.kept > _MOST_KEPT:
                _Terms.kept = 1
                for table in list(_tables.values()):
                    table.clear()
            self[word] = found
        return found


_tables: dict[Language | None, _Terms] = {}


def terms(text: str, language: Language | None) -> list[str]:
    """The terms of a text in that language, with repetitions, in order but for acronyms: what BM25 counts."""
    text = composed(text)
    table = _tables.get(language) or _tables.setdefault(language, _Terms(language))
    found: list[str] = []
    at = 0
    for expression in expressions(text, language, also_plain=False):
        if expression.start > at + 1:
            found += _of_words(text[at : expression.start], table)
        for part in expression.parts:
            found += (part,) if part[0].isdigit() else table[part]
        found += expression.forms
        at = expression.end
    found += _of_words(text[at:] if at else text, table)
    if language in (None, "en"):
        found += _acronyms(text)
    return found or [folded(word[:LONGEST_WORD]) for word in _SPACED_WORD.findall(text.lower())]


def _acronyms(text: str) -> list[str]:
    if not ("IT" in text or "US" in text or "WHO" in text) or text.isupper():
        return []
    return [acronym.lower() for acronym in _ACRONYM.findall(text)]


def _of_words(text: str, table: _Terms) -> Iterable[str]:
    text = text.lower()
    if text.isascii():
        return chain.from_iterable(map(table.__getitem__, _ASCII_WORD.findall(text)))
    if not _IS_UNSPACED.search(text):
        return chain.from_iterable(map(table.__getitem__, _PLAIN_WORD.findall(text)))
    found: list[str] = []
    for match in _ANY_WORD.finditer(text):
        found += table[match.group()] if match.lastindex is None else bigrams(match.group())
    return found


def _terms_of(word: str, language: Language | None) -> tuple[str, ...]:
    """The terms of a lower-case word or a plain number; none of a stop word."""
    if word.isdigit():
        return (word,)
    pieces = _JOINER.split(word)
    if len(pieces) == 1:
        return _stems_of(word, language)
    joined = "".join(pieces)
    found = [stem for piece in pieces if len(piece) > 1 for stem in _stems_of(piece, language)]
    if len(pieces) <= _MOST_PARTS:
        found += stems(joined, language_of_word(joined, language))
    return tuple(found)


def _stems_of(word: str, language: Language | None) -> tuple[str, ...]:
    word = word.replace("’", "'")
    of = language_of_word(word, language)
    stop = stop_words(of)
    if word in stop:
        return ()
    if "'" in word:
        if elision := _ELISION.match(word):
            word = word[elision.end() :]
            if word in stop:
                return ()
        return tuple(stem.replace("'", "") for stem in stems(word, of))
    return stems(word, of)


# --- prompts ---


class _Draft:
    """A word on its way to be a `QueryWord`. `joins`: it may make one word with its neighbour."""

    def __init__(
        self, word: str, alternatives: Sequence[str], *, joins: bool = False, is_identifier: bool = False, is_stop: bool = False
    ) -> None:
        self.word = word
        self.alternatives = dict.fromkeys(alternatives)
        self.joins = joins
        self.is_identifier = is_identifier
        self.is_stop = is_stop


def query_words(text: str, languages: Sequence[Language | None]) -> list[QueryWord]:
    """The distinct words of a prompt to documents in these languages, in order and without stop words."""
    text = composed(text)
    of_documents = tuple(dict.fromkeys(languages)) or (None,)
    own = detect.language(text)
    drafts: list[_Draft] = []
    at = 0
    for expression in expressions(text, own or (of_documents[0] if len(of_documents) == 1 else None)):
        drafts += _drafts(text[at : expression.start], own, of_documents)
        drafts += _drafts_of_expression(expression, of_documents)
        at = expression.end
    drafts += _drafts(text[at:], own, of_documents)
    _join_neighbours(drafts, of_documents)
    kept = [draft for draft in drafts if not draft.is_stop] or drafts
    merged: dict[str, _Draft] = {}
    for draft in kept:
        same = merged.setdefault(draft.word, draft)
        same.alternatives |= draft.alternatives
        same.is_identifier |= draft.is_identifier
    return [QueryWord(draft.word, tuple(draft.alternatives), draft.is_identifier) for draft in merged.values()]


def _drafts(text: str, own: Language | None, languages: tuple[Language | None, ...]) -> Iterator[_Draft]:
    acronyms = set(_acronyms(text))
    for match in _ANY_WORD.finditer(text.lower()):
        word = match.group()
        if match.lastindex is not None:
            pieces = without_fillers(word)
            for pair in chain.from_iterable(map(bigrams, pieces or [word])):
                yield _Draft(pair, (pair,), is_stop=not pieces)
            continue
        for piece, folded_piece, alternatives, joins, is_stop in _pieces(word[:LONGEST_WORD], own, languages):
            yield _Draft(folded_piece, alternatives, joins=joins, is_stop=is_stop and piece not in acronyms)


class _Piece(NamedTuple):
    """A part of a word between hyphens and the like, usually all of it."""

    written: str
    word: str
    alternatives: tuple[str, ...]
    joins: bool
    is_stop: bool


@lru_cache(maxsize=16_384)  # prompts use the same words
def _pieces(word: str, own: Language | None, languages: tuple[Language | None, ...]) -> tuple[_Piece, ...]:
    word = word.replace("’", "'")
    pieces = [piece for piece in _JOINER.split(word) if piece]
    whole = _alternatives("".join(pieces), languages) if len(pieces) > 1 else ()
    if whole and max(map(len, pieces)) == 1:
        joined = "".join(pieces)
        return (_Piece(joined, folded(joined), whole, joins=False, is_stop=False),)
    return tuple(
        _Piece(
            piece,
            folded(_bare(piece)),
            (*_alternatives(piece, languages), *whole),
            joins=len(pieces) == 1,
            is_stop=_is_stop(piece, own, languages),
        )
        for piece in pieces
        if len(piece) > 1 or not whole
    )


def _bare(word: str) -> str:
    elision = _ELISION.match(word)
    return word[elision.end() :] if elision else word


def _is_stop(word: str, own: Language | None, languages: tuple[Language | None, ...]) -> bool:
    """By the prompt's own language; where that cannot be told, in any of those that the documents are in."""
    among = {language_of_word(word, language) for language in ((own,) if own else languages)}
    return any(word in (stop := stop_words(language)) or _bare(word) in stop for language in among)


@lru_cache(maxsize=16_384)
def _alternatives(word: str, languages: tuple[Language | None, ...]) -> tuple[str, ...]:
    """The terms under which texts in these languages hold the word."""
    bare = _bare(word)
    spellings = [bare]
    for letter, letters in _SPELLINGS:
        if letter in bare or letters in bare:
            spellings += [bare.replace(letter, letters), bare.replace(letters, letter)]
    found: dict[str, None] = {}
    for language in languages:
        for spelling in spellings:
            for stem in stems(spelling, language_of_word(spelling, language)):
                stem = stem.replace("'", "")
                found |= dict.fromkeys((stem, *_SAME.get(stem, ())))
    return tuple(found)


def _drafts_of_expression(expression: Expression, languages: tuple[Language | None, ...]) -> list[_Draft]:
    asked = expression.asked
    if expression.is_whole and asked:
        joins = asked[0].isdigit() and not expression.is_identifier
        return [_Draft(asked[0], asked, is_identifier=expression.is_identifier, joins=joins)]
    return [
        _Draft(part, (*((part,) if part[0].isdigit() else _alternatives(part, languages)), *asked)) for part in expression.parts
    ]


def _join_neighbours(drafts: Sequence[_Draft], languages: tuple[Language | None, ...]) -> None:
    """Two words may be one in the documents: "pre order", "e 1042". Who merely says both means no identifier."""
    for first, second in pairwise(drafts):
        if not (first.joins and second.joins) or first.word[:1].isdigit() or first.word.isdigit():
            continue
        is_number = second.word.isdigit()
        if is_number and first.is_stop and len(first.word) > 1:
            continue
        if not is_number and (first.is_stop or len(first.word) < 2 or (second.is_stop and second.word not in _PARTICLES)):
            continue
        joined = (first.word + second.word,) if is_number else _alternatives(first.word + second.word, languages)
        first.alternatives |= dict.fromkeys(joined)
        second.alternatives |= dict.fromkeys(joined)
        if is_number and not first.is_stop and len(first.word) <= 4 and len(second.word) in range(4, FEWEST_DIGITS):
            second.is_identifier = second.is_identifier or not second.word.startswith(("19", "20"))
