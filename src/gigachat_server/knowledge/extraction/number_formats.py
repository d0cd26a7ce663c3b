"""Numbers of spreadsheets as their formats show them: percentages, currencies, leading zeros, dates and durations, pure.

Idea: a format is a row of tokens. Which tokens it has tells what it is about; what is shown is made from them, with a point for
decimals and no separators of thousands, so that a number is found as people write it. Whatever is not understood is shown as the
number itself.
"""

from __future__ import annotations

import datetime
import math
import re
from typing import Any

from gigachat_server.knowledge.extraction.ooxml import attribute, descendants

_BUILT_IN = {
    0: "General", 1: "0", 2: "0.00", 3: "#,##0", 4: "#,##0.00", 9: "0%", 10: "0.00%", 11: "0.00E+00", 12: "# ?/?",
    14: "yyyy-mm-dd", 15: "d-mmm-yy", 16: "d-mmm", 17: "mmm-yy", 18: "h:mm AM/PM", 19: "h:mm:ss AM/PM", 20: "h:mm",
    21: "h:mm:ss", 22: "yyyy-mm-dd h:mm", 37: "#,##0", 38: "#,##0", 39: "#,##0.00", 40: "#,##0.00", 45: "mm:ss", 46: "[h]:mm:ss",
    47: "mm:ss", 48: "##0.0E+0", 49: "@",
}  # fmt: skip
_TOKEN = re.compile(
    r'"([^"]*)"|\\(.)|_.|\*.|\[([^\]]*)\]|(AM/PM|A/P)|([yY]+|[mM]+|[dD]+|[hH]+|[sS]+)|(General)'
    r"|([0#?](?:[0#?,. ]*[0#?.])?,*)|(.)",
    re.S | re.I,
)
_LONGEST_FORMAT = 255
_EPOCH, _EPOCH_1904 = datetime.datetime(1899, 12, 30), datetime.datetime(1904, 1, 1)
_LAST_DAY = 2_958_465  # 9999-12-31


class NumberFormats:
    """Which format the cells of each style have."""

    def __init__(self, root: Any, *, is_1904: bool) -> None:
        self.is_1904 = is_1904
        self._codes: list[str] = []
        if root is None:
            return
        own = {attribute(each, "numFmtId"): attribute(each, "formatCode") for each in descendants(root, "numFmt")}
        for group in descendants(root, "cellXfs"):
            for each in group:
                number = attribute(each, "numFmtId", "0")
                code = own.get(number) or _BUILT_IN.get(int(number) if number.isdigit() else 0, "General")
                self._codes.append(code)

    def of(self, style: str) -> tuple[str, bool]:
        place = int(style) if style.isdigit() and len(style) < 7 else -1
        return (self._codes[place] if 0 <= place < len(self._codes) else "General"), self.is_1904


def shown(text: str, form: tuple[str, bool]) -> str:
    """The number as the format has it; `form`: its code, and whether days are counted from 1904."""
    code, is_1904 = form
    try:
        number = float(text)
    except ValueError:
        return text
    if not math.isfinite(number):
        return text
    sections = _sections(code[:_LONGEST_FORMAT])
    negative = number < 0 and len(sections) > 1
    section = sections[1] if negative else sections[2] if number == 0 and len(sections) > 2 else sections[0]
    tokens = list(_TOKEN.finditer(section))
    if any(token[5] or (token[3] or "").lower() in ("h", "hh", "m", "mm", "s", "ss") for token in tokens):
        return _date(number, tokens, is_1904)
    if code in ("General", "@", "") or any(token[6] for token in tokens):
        frame = "".join(token[1] or token[2] or "" for token in tokens) if code not in ("General", "@", "") else ""
        return f"{plain(number)}{frame}"
    return _number(abs(number) if negative else number, tokens, section)


def plain(number: float) -> str:
    if number.is_integer() and abs(number) < 1e15:
        return str(int(number))
    return f"{number:.15g}" if 1e-5 <= abs(number) < 1e15 else f"{number:.12g}"


def _sections(code: str) -> list[str]:
    """Of positive and negative numbers and of zero, where they differ."""
    parts, start, is_quoted = [], 0, False
    for place, character in enumerate(code):
        if character == '"':
            is_quoted = not is_quoted
        elif character == ";" and not is_quoted:
            parts.append(code[start:place])
            start = place + 1
    return [*parts, code[start:]]


def _number(number: float, tokens: list[re.Match[str]], section: str) -> str:
    digits = next((token[7] for token in tokens if token[7]), None)
    if digits is None:  # words alone, or nothing to be seen
        words = "".join(token[1] or token[2] or "" for token in tokens).strip()
        return words or plain(number)
    is_percent = any(token[8] == "%" for token in tokens)
    if "e+" in section.lower() or "e-" in section.lower() or "/" in section:
        return plain(number)
    if is_percent:
        number *= 100
    whole, _, decimals = digits.strip().rstrip(",").partition(".")
    scaled = number / 1000 ** (len(digits.strip()) - len(digits.strip().rstrip(",")))
    places = sum(character in "0#?" for character in decimals)
    body = f"{abs(scaled):.{places}f}"
    least = decimals.count("0")
    while "." in body and body.endswith("0") and len(body.partition(".")[2]) > least:
        body = body[:-1]
    body = body.rstrip(".")
    body = _filled(body, whole)
    first = True
    parts = ["-" if scaled < 0 and float(body.replace("-", "").replace(" ", "") or 0) else ""]
    for token in tokens:
        if token[7]:
            if first:
                parts.append(body)
                first = False
        elif token[3]:
            parts.append(_currency(token[3]))
        elif token[8] == "%":
            parts.append(" %" if parts[-1][-1:].isdigit() else "%")
        else:
            parts.append(token[1] or token[2] or (token[8] if token[8] not in (None, ",") else ""))
    return " ".join("".join(parts).split())


def _filled(body: str, whole: str) -> str:
    """With the zeros before it that the format asks for: of a postcode, say."""
    zeros = whole.replace(",", "").replace(" ", "").count("0")
    front, dot, back = body.partition(".")
    return front.zfill(zeros) + dot + back


def _currency(tag: str) -> str:
    """`[$€-407]` shows the euro; colours and conditions show nothing."""
    return tag[1:].partition("-")[0] if tag.startswith("$") else ""


def _date(number: float, tokens: list[re.Match[str]], is_1904: bool) -> str:
    units = "".join((token[5] or token[3] or "").lower() for token in tokens)
    if any((token[3] or "").lower() in ("h", "hh", "m", "mm", "s", "ss") for token in tokens):
        return _duration(number, units)
    if not 0 <= number <= _LAST_DAY:
        return plain(number)
    seconds = round(number * 86_400)
    moment = (_EPOCH_1904 if is_1904 else _EPOCH) + datetime.timedelta(seconds=seconds)
    has_day, has_time = any(unit in units for unit in "yd"), any(unit in units for unit in "hs")
    if not has_day and not has_time:  # a month alone
        return f"{moment:%Y-%m}"
    if not has_day:
        return f"{moment:%H:%M:%S}" if moment.second else f"{moment:%H:%M}"
    if "d" not in units and not has_time:
        return f"{moment:%Y-%m}" if "m" in units else f"{moment:%Y}"
    day = f"{moment:%Y-%m-%d}"
    if not has_time or (not moment.hour and not moment.minute and not moment.second):
        return day
    return f"{day} {moment:%H:%M:%S}" if moment.second else f"{day} {moment:%H:%M}"


def _duration(number: float, units: str) -> str:
    seconds = round(abs(number) * 86_400)
    sign = "-" if number < 0 else ""
    hours, minutes, rest = seconds // 3600, seconds // 60 % 60, seconds % 60
    if "h" not in units:
        return f"{sign}{seconds // 60}:{rest:02}"
    return f"{sign}{hours}:{minutes:02}" + (f":{rest:02}" if "s" in units else "")
