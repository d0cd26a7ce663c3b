"""Where the sentences of a text end, in any language.

A full stop ends a sentence unless it belongs to an abbreviation, an initial or an ordinal, or a small letter follows. Some
abbreviations end sentences as often as not ("the U.S. The law"): there the next word tells, if it is one that sentences begin
with. Invariant: linear time, whatever the text is.
"""

from __future__ import annotations

import re
from functools import cache

from gigachat_server.language.characters import folded, word_set
from gigachat_server.language.codes import Language
from gigachat_server.language.months import MONTHS
from gigachat_server.language.stop_words import stop_words

LONGEST_SENTENCE = 600

_AT_ONCE = "。！？｡।॥؟۔։።။"  # end a sentence whatever follows
# The lookbehind lets a run of full stops be tried from its first one alone: "...." without a space stays linear.
_END = re.compile(
    rf"(?<![.!?…])[.!?…]++[\"'”’»)\]*_]*+(?=\s)|[{_AT_ONCE}]++[」』”’»）)\"']*+|(?<=[\u0370-\u03ff\u1f00-\u1fff])[;\u037e](?=\s)"
    r"|\n|(?<=[\u0e00-\u0e7f]) ++(?=[\u0e00-\u0e7f])"
)
_LOOKED_AT = 16  # characters before a full stop
_LAST_WORD = re.compile(r"[\w.]*\Z")
_NEXT_WORD = re.compile(r"[\s\"'“‘«(\[*_¿¡]*(\w*)")
# Never the end of a sentence: a name, a number or an example follows.
_OPENING = word_set(
    """approx capt cf dr e.g eg eq est fig gen gov hon i.e ie lt maj messrs mr mrs ms mt prof rep rev sen sgt viz vs ed eds
    abb bzgl bzw ca d.h evtl ggf ggfs hr fr inkl exkl max min mind o.g o.ä s.o s.u sog tel telef u.u v.a z.b z.t z.zt zzgl str
    art bd env ex mlle mme mm av boul p.ex c.-à-d tél réf éd
    sr sra srta d dña dra ej p.ej pág págs núm tfno ud uds avda exmo exma dept
    sig sigg dott dott.ssa prof.ssa ing avv pag pagg ecc.mo es p.es v.le p.za sr.ta
    bijv d.w.z dhr mevr mw blz m.b.t o.a t.a.v m.a.w
    т.е т.к т.н ул д кв стр рис им см ср тел напр пл пр-т обл р-н гр проф акад тыс млн млрд ст вул напр буд тел р.н
    ul np nr tzw godz m.in tj ur prof inż mgr hab al pl
    např tzv tj č ing mgr
    bl.a t.ex f.eks kl ang resp s.k d.v.s dvs jf feks
    esim ks klo puh mm n ns os
    pl ún kb dr ill jún febr
    dl dna d-l d-na jud bl sc
    π.χ δηλ τηλ κ κα αρ βλ λεωφ οδ
    sn cad sok mah apt örn bkz prof doç
    jl ds no.telp tn ny"""
)
# Only before a figure; "No. You must" and "Art. The" end.
_BEFORE_FIGURES = word_set(
    """no nos nr nrs num n núm nº n° p pp s ss art arts § sec ch vol ver v fig figs abs kap tab abb pos lfd par
        ziff jan feb mar apr jun jul aug sep sept oct okt nov dec dez déc janv févr avr juil ene abr ago dic gen
        mag giu lug set ott г п ст № čl bl"""
)
# The end of a sentence where a capital follows: "etc. We", "и т.д. Мы".
_CLOSING = word_set(
    """etc usw u.s.w u.v.m ecc enz e.d itd itp atd apod osv m.m m.fl o.l stb dll dsb dst vb vs.vs κλπ κ.λπ κ.ά т.д т.п др пр тд
    тп etcétera uvm"""
)
_LIST_ITEM = re.compile(r"[ \t]{0,8}(?:[-*+•‣–—|>#]|\d{1,3}[.)]|[a-zA-Z][.)])")
_WRAPPED = 45  # a line at least this long may have been broken by width; a shorter one is a heading or an item
_BEFORE_ORDINALS = word_set("am der die das den dem des vom zum im ab bis seit und zur beim")
_CLOSED = frozenset(_AT_ONCE + ".!?…:;：；")
_THAI_CLAUSE = 60  # Thai writes a blank between clauses, too: so much must have been said before it
_THAI_ENDS = ("ครับ", "ค่ะ", "คะ", "จ้ะ", "ๆ")
_THAI_GOES_ON = ("และ", "หรือ", "ที่", "แต่", "ซึ่ง", "โดย", "เพื่อ", "เพราะ", "ของ", "เช่น", "คือ", "ได้แก่", "ใน", "กับ")


def sentences(text: str) -> list[tuple[int, int]]:
    """The spans of the sentences, in order, none blank or longer than `LONGEST_SENTENCE`. A sentence ends at its
    punctuation, at a blank line, and at the end of a line unless that line was only wrapped; in Thai, which has
    no full stop, at a blank behind much."""
    spans: list[tuple[int, int]] = []
    start = 0
    for match in _END.finditer(text):
        end = match.end()
        mark = text[match.start()]
        if mark == "\n":
            is_end = _line_ends_sentence(text, match.start())
        elif mark == " ":
            is_end = _clause_ends_sentence(text, start, match)
        else:
            is_end = mark in _AT_ONCE or mark in ";\u037e" or _ends_sentence(text, match)
        if is_end:
            _append_bounded(spans, text, start, end)
            start = end
    _append_bounded(spans, text, start, len(text))
    return spans


def _ends_sentence(text: str, match: re.Match[str]) -> bool:
    mark, at, end = text[match.start()], match.start(), match.end()
    following = _NEXT_WORD.match(text, end, end + 24)
    word = following[1] if following else ""
    if word[:1].islower():
        return False
    if mark != "." or match.group().startswith(".."):
        return True
    before = text[max(0, at - _LOOKED_AT) : at]
    found = _LAST_WORD.search(before)
    last = found.group() if found else ""
    if last.isdigit():
        return _digits_end_sentence(before, last, word)
    return _letters_end_sentence(last, word)


def _digits_end_sentence(before: str, last: str, word: str) -> bool:
    line_so_far = before.rpartition("\n")[2]
    if line_so_far.strip() == last and len(last) <= 3:
        return False  # "3. " numbers an item
    if len(last) > 2:
        return True
    preceding = line_so_far[: -len(last)].split()[-1:]
    return folded(word) not in MONTHS and not (preceding and preceding[0].lower() in _BEFORE_ORDINALS)


def _letters_end_sentence(last: str, word: str) -> bool:
    plain = last.lower()
    if plain in _BEFORE_FIGURES and word[:1].isdigit():
        return False
    if plain in _CLOSING or plain == "no":
        return True
    if plain in _OPENING:
        return False
    is_initial = len(last) == 1 and last.isalpha() and last != "I"
    is_dotted = "." in last and max(map(len, last.split("."))) <= 2 and not any(map(str.isdigit, last))
    if is_initial or is_dotted or plain in _EITHER:
        return not word or folded(word) in _starters()
    return True


# As often as not the end of a sentence, before a capital: only a word that sentences begin with tells.
_EITHER = word_set(
    """al ave blvd rd st bros co corp inc jr sr ltd llc plc gmbh ag a.m p.m am pm u.s u.k e.u d.c ph.d b.c a.d hrs
        min mins sec cia s.a s.l s.r.l s.p.a b.v n.v sp p.m a.m str platz alt jan feb mar apr jun jul aug sep sept
        oct nov dec г р руб коп мин час грн zł kč ft"""
)
_STARTING: tuple[Language, ...] = ("en", "de", "fr", "es", "it", "pt", "nl", "sv", "da", "no", "pl", "cs", "tr", "ru", "uk", "el")


@cache
def _starters() -> frozenset[str]:
    """Words that sentences begin with, and names hardly ever."""
    found = frozenset[str]().union(*(stop_words(language) for language in _STARTING))
    return frozenset(word for word in found if len(word) > 1 or word == "a") | {"please", "bitte"}


def _line_ends_sentence(text: str, at: int) -> bool:
    line_from = text.rfind("\n", max(0, at - _WRAPPED), at)
    if line_from >= 0 or at < _WRAPPED:
        return True  # a short line, or a blank one
    if _LIST_ITEM.match(text, at + 1):
        return True
    following = text[at + 1 : at + 10].lstrip(" \t")[:1]
    if following.isupper() or not following.isalpha():
        return True
    # A script without capitals tells less: then only an unfinished line goes on. Thai never finishes one.
    return not following.islower() and (text[at - 1] in _CLOSED or "\u0e00" <= following <= "\u0e7f")


def _clause_ends_sentence(text: str, start: int, match: re.Match[str]) -> bool:
    if text.startswith(_THAI_GOES_ON, match.end()):
        return False
    said = match.start() - start
    return said >= _THAI_CLAUSE or (said >= 12 and text.endswith(_THAI_ENDS, start, match.start()))


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
