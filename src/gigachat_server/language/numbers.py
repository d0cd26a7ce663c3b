"""Identifiers, numbers, dates, times and amounts: what people write in many ways and mean as one thing.

Idea: only where a digit stands is anything looked at. The digits, with what belongs to them on either side, are an
expression: it has parts, which are words of their own, and forms, which are the same however it is written. "E-1042",
"E1042" and "E 1042" share the form "e1042"; "14 March 2025" and "14.03.2025" share "2025-03-14".

A blank joins only what could be nothing else: capitals and digits ("E 1042", not "section 5"), and groups of three digits.
03/04/2025 is the third of April or the fourth of March: it has neither form, only its own, since a date that is wrong misleads
and one that is missed leaves its year and the words around it. With dots, and in any language but English, the day is first.

Invariant: an expression is at most `_LONGEST` characters long, and looking for the next one starts behind it: linear time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from gigachat_server.language.characters import UNSPACED, folded, word_set
from gigachat_server.language.codes import Language
from gigachat_server.language.months import MONTHS

_LONGEST = 64
_CONTEXT = 18  # characters before a number that are looked at
_MOST_CAPITALS = 5  # before a blank and digits, of an identifier
_BLANKS = " \u00a0\u2009\u202f"
_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2212-"
_DASH = _DASHES[:-1] + "\\-"  # in a class of a pattern
_LETTER = rf"[^\W\d_{UNSPACED}]"

FEWEST_DIGITS = 6  # of a number that is taken for an identifier by itself


class Expression(NamedTuple):
    """What stands at `start` to `end`. A text has the `parts` and the `forms`; a prompt asks for `asked`, any one of them: as
    one word if it is `whole`, else each of its parts may also be met by it."""

    start: int
    end: int
    parts: tuple[str, ...]
    forms: tuple[str, ...]
    asked: tuple[str, ...]
    is_whole: bool
    is_identifier: bool


# Digits and what joins them: a mark before another digit, a blank before exactly three.
_RUN = re.compile(rf"[0-9](?:[0-9]|[.,:/'’{_DASH}](?=[0-9])|[{_BLANKS}](?=[0-9]{{3}}(?![0-9]))){{0,{_LONGEST}}}+")
_HEAD = re.compile(rf"(?<!{_LETTER})(?:{_LETTER}{{1,12}}+[{_DASH}_./#]?)+\Z")
_TAIL = re.compile(rf"(?:[{_DASH}_/]?(?:{_LETTER}|\d)|\.\d){{1,{_LONGEST}}}+")
_MONTH_AFTER = re.compile(
    rf"(?:st|nd|rd|th|er|\.|º|-)?[{_BLANKS}]?(?:(?:of|de|di|d')[{_BLANKS}])?({_LETTER}[\w\u0900-\u0963]{{2,11}})\.?"
    rf"(?:(?:,|[{_BLANKS}]del?|[{_BLANKS}]of)?[{_BLANKS}-](\d{{4}})(?!\d))?"
)
_YEAR_AFTER = re.compile(rf"(?:st|nd|rd|th)?,?[{_BLANKS}](\d{{4}})(?![\d.,:]\d|\d)")
_CJK_DATE = re.compile(
    rf"(?:(\d{{4}})[{_BLANKS}]?[年년][{_BLANKS}]?)?(\d{{1,2}})[{_BLANKS}]?[月월](?:[{_BLANKS}]?(\d{{1,2}})[{_BLANKS}]?[日号號일])?"
)
_TIME_AFTER = re.compile(rf"[{_BLANKS}]?(?:([ap])\.?m(?:\.|\b)|(uhr|h|o'clock|óra|час|часов|часа)\b)", re.IGNORECASE)
_CURRENCY_AFTER = re.compile(
    rf"[{_BLANKS}]?([€$£¥₽₹₺₩₪₫฿₴]|(?:zł|kr|kč|eur|usd|gbp|chf|jpy|cny|rub|inr|pln|sek|nok|dkk|czk|huf|try|aud|cad|brl)\b)",
    re.IGNORECASE,
)
_AMERICAN_PHONE = re.compile(rf"\d{{3}}[{_BLANKS}.{_DASH}]\d{{3}}[{_BLANKS}.{_DASH}]\d{{4}}(?!\d)")
_PHONE = re.compile(r"\+?(?:\d|[ \u00a0./()-](?=[ /()-]?[\d(])){8,24}+")

_ISO = re.compile(r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})")
_NUMERIC_DATE = re.compile(r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4})")
_TIME = re.compile(r"(\d{1,2})[:.h](\d{2})")
_FRENCH_TIME = re.compile(r"\d{1,2}h\d{2}")
_GROUPED = re.compile(r"(\d{1,3})(?:([.,'’ ])\d{3})(?:\2\d{3})*(?:[.,](\d{1,2}|\d{4,}))?")
_AFTERS = frozenset(_BLANKS + "€$£¥₽₹₺₩₪₫฿₴.-º")
_DATE_SIGNS = "年년月월"
_TIME_STARTS = frozenset("apuhochчAPUHOCHЧó")
_CURRENCY_CODES = word_set("eur usd gbp chf jpy cny rub inr pln sek nok dkk czk huf try aud cad brl")
_TAIL_STARTS = frozenset(_DASHES + "_./")
_DECIMAL = re.compile(r"(\d+)[.,](\d+)")
_SPLIT = re.compile(rf"[^\W_{UNSPACED}]+")
_LETTERS_OR_DIGITS = re.compile(r"\d+|[^\W\d_]+")
_AMOUNT = re.compile(rf"([\d.,'’]*\d)({_LETTER}+)")
_VERSION = re.compile(r"v\.?(\d+(?:\.\d+)*)")

CURRENCIES = {
    "€": "eur", "$": "usd", "£": "gbp", "¥": "jpy", "₽": "rub", "₹": "inr", "₺": "try", "₩": "krw", "₪": "ils", "₫": "vnd",
    "฿": "thb", "₴": "uah", "zł": "pln", "kr": "kr", "Kč": "czk", "kč": "czk",
}  # fmt: skip
# Words that follow a number without a blank and are words of their own. None makes an identifier of it.
_UNITS = word_set(
    """mm cm dm m km in ft yd mi g kg mg lb lbs oz t l ml cl dl gal s sec secs min mins h hr hrs d w k mb gb tb kb
        kbit mbit gbit mbps gbps kbps hz khz mhz ghz v kv w kw mw kwh mah ah a ma px pt dpi fps c f rpm bar psi db
        st nd rd th er x p eur usd gbp chf jpy cny rub inr pln sek nok dkk czk huf ron brl cad aud euro euros am pm
        uhr г кг мг м км см мм л мл ч мин сек руб р грн"""
)
_ORDINALS = word_set("st nd rd th er")
_NO_IDENTIFIER = _UNITS | word_set("no nr num page p pp art fig tab vol ver rev eu us uk")
# What stands before a number that is one, however short.
_LABELS = word_set(
    """error code sku ticket invoice serial fehler fehlercode artikelnummer rechnung erreur code código codigo
        errore codice fout foutcode ошибка код ошибки артикул hata kodu kod błąd fel felkode
        felkod fejl fejlkode kode lỗi mã الخطأ رمز خطأ שגיאה קוד reference ref referenz référence referencia order
        bestellung commande pedido ordine bestelling заказ sipariş"""
)


def expressions(text: str, language: Language | None, *, also_plain: bool = True) -> Iterator[Expression]:
    """Those of a composed text, in order. `language` decides which number of a date is the day.

    Without `also_plain`, most of those that are just digits between blanks are left out: their form is their digits.
    """
    at = 0
    while run := _RUN.search(text, at):
        if not also_plain and _is_plain(text, *run.span()):
            at = run.end()
            continue
        found = _around(text, run, at, language)
        yield found
        at = found.end


def _around(text: str, run: re.Match[str], least: int, language: Language | None) -> Expression:
    start, end = run.span()
    token = run.group()
    before = text[max(least, start - _CONTEXT) : start]
    mark, after = before[-1:], text[end : end + 1]
    if not mark or mark in _BLANKS:
        # Most numbers stand among words: what is beside them is only looked at where it can matter.
        word = before.rsplit(None, 1)[-1] if mark and before.strip() else ""
        found = _beside(text, start, end, token, word, language) if word and _may_matter(word) else None
        if found:
            return found
    if after and (after.isalnum() or after in _AFTERS) and (found := _followed(text, start, end, token)):
        return found
    if len(token) == 7 and token[3] in _BLANKS and (phone := _AMERICAN_PHONE.match(text, start)):
        groups = (token[:3], token[4:], phone.group()[-4:])
        return _placed(start, phone.end(), groups, ("".join(groups),), True, True)
    if (mark == "+" or mark == "(" or token[0] == "0") and (found := _phone(text, start, mark, end)):
        return found
    if (
        not token.isdigit()
        and not after.isalnum()
        and not mark.isalnum()
        and (found := _numeric_date(start, end, token, language))
    ):
        return found
    if mark and not mark.isspace() and (head := _HEAD.search(before)):
        start -= len(head.group())
    if after and (after.isalpha() or after in _TAIL_STARTS) and (tail := _TAIL.match(text, end, end + _LONGEST)):
        end = tail.end()
    if end - start != len(token):
        return _placed(start, end, *_token(text[start:end], language))
    if symbol := CURRENCIES.get(mark):
        return _amount(start - 1, end, token, symbol, language)
    parts, forms, is_whole, is_identifier = _token(token, language)
    is_numbered = mark in ("#", "№") and len(token) > 2 and is_whole
    return _placed(start, end, parts, forms, is_whole, is_identifier or is_numbered)


def _is_plain(text: str, start: int, end: int) -> bool:
    """Whether it is certain that nothing beside these digits belongs to them. Most numbers of prose are so, and soon passed."""
    if not text[start:end].isdigit() or text[start] == "0" or (start and text[start - 1] not in _BLANKS):
        return False
    before = text[max(0, start - _CONTEXT) : start].rsplit(None, 1)
    if before and _may_matter(before[-1]):
        return False
    after = text[end : end + 1]
    if after in _BLANKS and after:
        following = text[end + 1 : end + 2]
        is_told = following.isalpha() if end - start < 3 else following in _DATE_SIGNS
        return not is_told and not _is_currency(text[end : end + 4])
    return after in ",;)\n" or (after == "." and end - start > 2 and not text[end + 1 : end + 2].isalnum())


@lru_cache(maxsize=4_096)
def _may_matter(word: str) -> bool:
    plain = folded(word.rstrip(".:"))
    is_capitals = word.isupper() and len(word) <= _MOST_CAPITALS
    return is_capitals or word in CURRENCIES or plain in _CURRENCY_CODES or plain in MONTHS or plain in _LABELS


def _beside(text: str, start: int, end: int, token: str, word: str, language: Language | None) -> Expression | None:
    """What the word before a number makes of it: a date ("March 14"), an identifier ("E 1042", "error 1042")."""
    first = start - 1 - len(word)
    if currency := CURRENCIES.get(word, word.lower() if word.lower() in _CURRENCY_CODES else None):
        return _amount(first, end, token, currency, language)
    if word.isupper() and len(word) <= _MOST_CAPITALS and len(token) > 1 and word.isalpha():
        plain = folded(word)
        if plain not in _NO_IDENTIFIER and plain not in MONTHS:
            parts, forms, _, is_identifier = _token(f"{word}-{token}", language)
            return _placed(first, end, parts, forms, True, is_identifier)
    plain = folded(word.rstrip(".:"))
    month = MONTHS.get(plain)
    if month and token.isdigit() and not (first and text[first - 1] in _DASHES):
        if len(token) <= 2 and 1 <= int(token) <= 31:
            year_after = _YEAR_AFTER.match(text, end)
            year = (year_after[1],) if year_after else ()
            parts = (word.rstrip(".").casefold(), token.lstrip("0"), *year)
            return _dated(first, year_after.end() if year_after else end, parts, year[0] if year else None, month, int(token))
        if len(token) == 4 and "1000" <= token < "2200":
            return _dated(first, end, (word.rstrip(".").casefold(), token), token, month, 0)
    if plain in _LABELS and len(token) > 2 and not text[end : end + 1].isalnum():
        parts, forms, is_whole, _ = _token(token, language)
        if is_whole and forms[0].isdigit():
            return _placed(start, end, parts, forms, True, True)
    return None


def _followed(text: str, start: int, end: int, token: str) -> Expression | None:
    """What stands behind a number makes of it: a date ("14 March 2025", "2025年3月"), a time, an amount."""
    following = text[end : end + 1] if text[end] not in _BLANKS else text[end + 1 : end + 2]
    if following in _DATE_SIGNS and following and (match := _CJK_DATE.match(text, start)):
        year, number, day = match[1], int(match[2]), int(match[3] or 0)
        if number <= 12 and day <= 31:
            return _dated(start, match.end(), (year,) if year else (), year, number, day)
    if len(token) <= 2 and (following.isalpha() or following in ".-") and 1 <= int(token) <= 31:
        match = _MONTH_AFTER.match(text, end)
        if match and (month := MONTHS.get(folded(match[1]))):
            parts = (token.lstrip("0"), match[1].casefold(), *((match[2],) if match[2] else ()))
            return _dated(start, match.end(), parts, match[2], month, int(token))
    if (
        len(token) <= 5
        and following in _TIME_STARTS
        and (time := _TIME_AFTER.match(text, end))
        and (form := _time(token, time[1]))
    ):
        return Expression(start, time.end(), (token,), (form,), (form,), True, False)
    if _is_currency(text[end : end + 4]) and (currency := _CURRENCY_AFTER.match(text, end)):
        return _amount(start, currency.end(), token, CURRENCIES.get(currency[1], currency[1].lower()), None)
    return None


def _is_currency(following: str) -> bool:
    first = following.lstrip(_BLANKS).lower()
    return first[:1] in CURRENCIES or first[:3] in _CURRENCY_CODES or first[:2] in CURRENCIES


def _placed(
    start: int, end: int, parts: tuple[str, ...], forms: tuple[str, ...], is_whole: bool = False, is_identifier: bool = False
) -> Expression:
    return Expression(start, end, parts, forms, forms, is_whole, is_identifier)


Reading = tuple[tuple[str, ...], tuple[str, ...], bool, bool]  # parts, forms, is_whole, is_identifier


def _amount(start: int, end: int, token: str, currency: str, language: Language | None) -> Expression:
    parts, forms, _, _ = _token(token, language)
    numbers = parts or forms
    if len(numbers) == 1 and re.fullmatch(r"\d+\.\d0", numbers[0]):
        numbers = (numbers[0][:-1],)
    return _placed(start, end, (*numbers, currency), ())


# --- by itself ---


@lru_cache(maxsize=8_192)  # numbers of prices, versions and years come again and again
def _token(token: str, language: Language | None) -> Reading:
    token = token.casefold()[:_LONGEST]
    if token.isdigit():
        digits = token.lstrip("0") or "0"
        is_long = len(token) >= FEWEST_DIGITS and not token.endswith("000")
        return (), (token,) if token == digits or len(token) < 3 else (token, digits), True, is_long
    if token[0].isdigit() and token[-1].isdigit() and not any(map(str.isalpha, token)):
        return _of_digits(token, language)
    if _FRENCH_TIME.fullmatch(token) and (form := _time(token, None)):
        return (), (form,), True, False
    if version := _VERSION.fullmatch(token):
        return (), (version[1], "v" + version[1]), True, False
    if (amount := _AMOUNT.fullmatch(token)) and amount[2] in _UNITS:
        parts, forms, is_whole, _ = _token(amount[1], language)
        if amount[2] in _ORDINALS:
            return parts, forms, is_whole, False
        if amount[2] in ("am", "pm", "uhr", "h") and (form := _time(amount[1], amount[2][0])):
            return (*(parts or forms), *(("h",) if amount[2] == "h" else ())), (form,), amount[2] != "h", False
        return (*(parts or forms), amount[2]), (), False, False
    return _mixed(token)


def _of_digits(token: str, language: Language | None) -> Reading:
    if (time := _TIME.fullmatch(token)) and ":" in token and int(time[1]) < 25 and int(time[2]) < 60:
        return (), (f"{int(time[1])}:{time[2]}",), True, False
    token = token.translate(_ONE_BLANK)
    if (grouped := _GROUPED.fullmatch(token)) and not token.startswith("0"):
        whole = token[: grouped.start(3) - 1] if grouped[3] else token
        if not grouped[3] or grouped[2] != token[grouped.start(3) - 1]:
            digits = re.sub(r"\D", "", whole)
            decimals = (grouped[3] or "").rstrip("0")
            return (), (f"{digits}.{decimals}" if decimals else digits,), True, False
    if decimal := _DECIMAL.fullmatch(token):
        number = decimal[1].lstrip("0") or "0"
        if set(decimal[2]) == {"0"} and len(decimal[2]) > 1:
            return (), (number,), True, False
        decimals = decimal[2].rstrip("0") or "0" if "," in token else decimal[2]
        return (), (f"{number}.{decimals}",), True, False
    if re.fullmatch(r"\d+(?:\.\d+)+", token):
        return (), (token,), True, False  # a version, an address
    numbers = tuple(re.findall(r"\d+(?:\.\d+)*", token))
    joined = "".join(filter(str.isdigit, token))
    is_identifier = len(joined) > FEWEST_DIGITS and not re.search(r"[,:/]", token)
    if is_identifier:
        return numbers, (joined,), True, True
    if any(dash in token for dash in _DASHES) and len(joined) >= 3 and (numbers[0].startswith("0") or len(numbers) > 2):
        return numbers, (joined,), True, False
    return numbers, (), False, False


_ONE_BLANK = str.maketrans(dict.fromkeys(_BLANKS, " ") | {"’": "'"} | dict.fromkeys(_DASHES, "-"))


def _mixed(token: str) -> Reading:
    """Letters with digits: an identifier, unless a whole word has merely a number behind it."""
    pieces = _LETTERS_OR_DIGITS.findall(token)
    joined = folded("".join(pieces))[:_LONGEST]
    digits = sum(len(piece) for piece in pieces if piece.isdigit())
    is_separated = len("".join(pieces)) < len(token)
    longest = max((len(piece) for piece in pieces if not piece.isdigit()), default=0)
    is_year = len(pieces) == 2 and is_separated and re.fullmatch(r"(?:19|20)\d\d", pieces[1]) is not None
    is_word = (longest >= 4 and digits <= 3) or (longest >= 3 and digits <= 2) or is_year
    segments = tuple(piece for piece in (pieces if is_word else _SPLIT.findall(token)) if len(piece) > 1 or piece.isdigit())
    if is_word:
        return segments, (joined,), False, False
    if is_separated and all(piece.isdigit() or piece in _UNITS or len(piece) > 4 for piece in pieces):
        return segments, (joined,), False, False  # "10-day", "3-5kg"
    is_identifier = digits >= 2 and not (token[0].isdigit() and digits < 3)
    parts = tuple(segment for segment in segments if segment != joined) if is_separated or digits > 2 else ()
    numbers = tuple(piece for piece in pieces if piece.isdigit() and len(piece) > 2 and piece not in parts)
    return (*parts, *numbers), (joined,), True, is_identifier


def _time(token: str, mark: str | None) -> str | None:
    """The hour and minute of "5", "5:30" or "17.30", where `mark` is the a or p of am and pm."""
    parts = re.fullmatch(r"(\d{1,2})(?:[:.h](\d{2}))?", token)
    if parts is None:
        return None
    hour, minute = int(parts[1]), parts[2] or "00"
    half = (mark or "").lower()
    if half in ("a", "p"):
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half == "p" else 0)
    return f"{hour}:{minute}" if hour <= 24 and int(minute) < 60 else None


# --- dates ---


def _dated(start: int, end: int, parts: tuple[str, ...], year: str | None, month: int, day: int) -> Expression:
    """A text has the day also without its year. A prompt with a year means that year, but a day without a year matches any."""
    forms, asked = _date_forms(year, month, day)
    is_whole = len(parts) < 2
    return Expression(start, end, parts, forms, asked, is_whole, False)


def _date_forms(year: str | None, month: int, day: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    of_year = f"{month:02}-{day:02}"
    if year is None:
        return ((of_year, f"any-{of_year}"), (of_year,)) if day else ((f"month-{month:02}",),) * 2
    if not day:
        return ((f"{year}-{month:02}",),) * 2
    date = f"{year}-{of_year}"
    return (date, of_year, f"{year}-{month:02}"), (date, f"any-{of_year}")


def _numeric_date(start: int, end: int, token: str, language: Language | None) -> Expression | None:
    token = token.translate(_ONE_BLANK)
    if match := _ISO.fullmatch(token):
        year, month, day = match[1], int(match[3]), int(match[4])
    elif match := _NUMERIC_DATE.fullmatch(token):
        day, month, year = int(match[1]), int(match[3]), match[4]
        if month > 12:
            day, month = month, day
        elif day <= 12 and day != month and match[2] != "." and language in (None, "en"):
            return _placed(start, end, (year,), ("/".join((match[1].lstrip("0"), match[3].lstrip("0"), year)),), True)
    else:
        return None
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return None
    return _dated(start, end, (year,), year, month, day)


# --- telephone numbers ---


def _phone(text: str, start: int, mark: str, end: int) -> Expression | None:
    """A number that begins with "+", "0" or "(", of at least eight digits with blanks, dashes or brackets between."""
    start -= mark == "+"
    match = _PHONE.match(text, start)
    if match is None or match.end() < end:
        return None
    groups = re.findall(r"\d+", match.group())
    digits = "".join(groups)
    if not 8 <= len(digits) <= 15 or _ISO.fullmatch(match.group()) or _NUMERIC_DATE.match(match.group()):
        return None
    significant = digits.lstrip("0") or "0"
    forms = tuple(dict.fromkeys((significant, f"tel-{digits[-7:]}")))
    parts = tuple(group for group in groups if group != significant) if len(groups) > 1 else ()
    return Expression(start, match.end(), parts, forms, forms, True, True)
