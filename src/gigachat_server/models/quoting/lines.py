"""What the lines of a document are, in Markdown and in plain text: headings, items, rows, rules, fences. Pure.

Invariant: each test takes time linear in its line, whatever the line is; a line that is no kind of markup is text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from gigachat_server.language.words import LONGEST_SENTENCE

LONGEST_HEADING = 200  # characters; what is longer is text
LONGEST_TITLE = 60  # of a heading that no markup shows
MOST_TITLE_WORDS = 10
_LONG_LINE = 60  # a line at least as long is text, so what stands above it may be its title
_MOST_NUMBERED_WORDS = 7  # of a numbered title

_QUOTED = re.compile(r"[ \t]{0,3}(?:>[ \t]?)++")
_QUOTED_LINES = re.compile(r"\n[ \t]{0,3}(?:>[ \t]?)++")
_HEADING = re.compile(r"[ \t]{0,3}(#{1,6})[ \t]++(.*?)[ \t]*+#*[ \t]*\Z", re.DOTALL)
_ITEM = re.compile(r"[ \t]{0,12}(?:[-*+•‣◦▪–—]|\d{1,3}[.)]|[a-zA-Z]\))[ \t]++(?:\[[ xX]\][ \t]++)?(?=\S)")
_NUMBER = re.compile(r"[ \t]{0,3}\d{1,2}(?:\.\d{1,2})?[.)]?[ \t]++(?=\S)")
_TABLE_RULE = re.compile(r"[ \t]*+\|?[ \t]*+:?-+:?[ \t]*+(?:\|[ \t]*+:?-+:?[ \t]*+)*+\|?[ \t]*+\Z")
_RULE = re.compile(r"[-=*_~+#. \t]+\Z")
_WALL = re.compile(r"[ \t]{0,3}:{3,}+")
_DEFINITION = re.compile(r"[ \t]{0,3}\[(?!\^)[^\[\]\n]{1,200}+\]:[ \t]*+(?=[^\s]*?(?:[/#]|\.\w))\S")
_UNDERLINE = re.compile(r"[ \t]{0,3}(={3,}|-{3,})[ \t]*\Z")
_BAR = re.compile(r"(?<!\\)\|")
_LABELLED = re.compile(r"[:：](?:\s|\Z)|：")

# What begins an item of a list of questions and answers, in the languages that such lists are often written in.
_ASKING = re.compile(
    r"[ \t]*+(?:\*\*|__)?(?:Q|F|P|D|В|问|問|質問|Question|Frage|Pregunta|Pergunta|Domanda|Vraag|Вопрос|Soru|س|प्रश्न)"
    r"[ \t]?\d{0,3}[ \t]?[.:：](?:\*\*|__)?[ \t]*+(?=\S)"
)
_ANSWERING = re.compile(
    r"[ \t]*+(?:\*\*|__)?(?:A|R|О|答|回答|Answer|Antwort|Réponse|Respuesta|Resposta|Risposta|Antwoord|Ответ|Cevap|ج|उत्तर)"
    r"[ \t]?\d{0,3}[ \t]?[.:：](?:\*\*|__)?[ \t]*+(?=\S)"
)
_BOLD_OPENING = re.compile(
    r"[ \t]*+(?:\d{1,3}[.)][ \t]++)?(\*\*|__)(?=\S)([^*_\n]{2,200}+(?:[*_](?![*_])[^*_\n]{1,200}+){0,3}+)\1[ \t]*+"
)

QUESTION_MARKS = "?？؟"
SENTENCE_ENDS = ".!…。！।۔॥" + QUESTION_MARKS
_COLONS = ":："
_PAUSES = ";；؛,،、"
CLOSING = "\"'”’»)]」』）*_`"


class Line(msgspec.Struct, frozen=True):
    """Characters `start` to `end` of a passage, without their line break and without what quotes them (`>`)."""

    start: int
    end: int
    text: str

    @property
    def is_blank(self) -> bool:
        return not self.text.strip()


def lines(text: str) -> list[Line]:
    """All lines, in order."""
    found, start = [], 0
    for raw in text.split("\n"):
        quoted = _QUOTED.match(raw)
        skipped = quoted.end() if quoted else 0
        line = raw[skipped:].rstrip("\r")
        found.append(Line(start + skipped, start + skipped + len(line), line))
        start += len(raw) + 1
    return found


def unquoted(text: str) -> str:
    """Lines of one quotation without what quotes them."""
    return _QUOTED_LINES.sub("\n", text) if "\n" in text and ">" in text else text


def quoted_to(text: str, start: int, end: int) -> int:
    """Where the text begins behind what quotes it."""
    match = _QUOTED.match(text, start, end)
    return match.end() if match else start


def is_fence(line: str) -> bool:
    return line.lstrip(" \t").startswith(("```", "~~~"))


def heading(line: str) -> tuple[int, str] | None:
    """The level and the text of a Markdown heading."""
    if len(line) > LONGEST_HEADING or "#" not in line[:4]:
        return None
    match = _HEADING.match(line)
    return (len(match[1]), match[2]) if match and match[2] else None


def underline_level(line: str) -> int | None:
    """The level of the heading above this line, if it underlines one."""
    match = _UNDERLINE.match(line)
    return None if match is None else 1 if match[1][0] == "=" else 2


def is_rule(line: str) -> bool:
    """Whether it says nothing: it parts what stands above and below it, or tells where a link leads."""
    return any(rule.match(line) is not None for rule in (_WALL, _DEFINITION)) or _RULE.fullmatch(line.strip()) is not None


def item_text_at(line: str) -> int | None:
    """Where the text of a list's item begins."""
    match = _ITEM.match(line)
    return match.end() if match else None


def is_table_rule(line: str) -> bool:
    return "-" in line and "|" in line and _TABLE_RULE.match(line) is not None


def is_row(line: str, following: str) -> bool:
    """Whether the line is of a table, or the head of one."""
    is_framed = line.lstrip(" \t").startswith("|") and line.count("|") > 1
    return is_framed or line.count(" | ") > 1 or ("|" in line and is_table_rule(following))


def cells(line: str) -> list[str]:
    """The cells of a table's row, as they stand there."""
    line = line.strip()
    line = line.removeprefix("|")
    if line.endswith("|") and not line.endswith("\\|"):
        line = line[:-1]
    return _BAR.split(line)


def question_at(line: str) -> int | None:
    """Where the question begins, in a line such as "Q: Do you ship abroad?"."""
    match = _ASKING.match(line)
    return match.end() if match else None


def answer_at(line: str) -> int | None:
    """Where the answer begins, in a line such as "A: We do."."""
    match = _ANSWERING.match(line)
    return match.end() if match else None


def bold_opening(line: str) -> tuple[str, int] | None:
    """The bold words that a line begins with, and where the rest of it begins."""
    if "**" not in line[:8] and "__" not in line[:8]:
        return None
    match = _BOLD_OPENING.match(line)
    return (match[2], match.end()) if match else None


def without_number(title: str) -> str:
    match = _NUMBER.match(title)
    return title[match.end() :] if match else title


def is_title(found: Sequence[Line], at: int, *, after_blank: bool) -> bool:
    """Whether a line of plain text stands as a heading over what follows: short, set apart, and over something longer."""
    title = found[at].text.strip()
    if not _may_be_title(title):
        return False
    below = found[at + 1].text.strip() if at + 1 < len(found) else ""
    if numbered := _NUMBER.match(title):
        words = title[numbered.end() :]
        is_over_text = len(below) > _LONG_LINE and after_blank and len(words.split()) <= _MOST_NUMBERED_WORDS
        return bool(below) and _NUMBER.match(below) is None and (_is_upper(words) or is_over_text)
    if not after_blank or item_text_at(title) is not None or _LABELLED.search(title):
        return False
    if _is_upper(title) and not any(map(str.isdigit, title[-3:])):
        return True
    if below:
        is_lead = (
            len(below) > len(title) or item_text_at(below) is not None or bool(_LABELLED.search(below) or below[-1] in ".。।")
        )
        goes_on = title[0].islower() or below[0].islower()
        return is_lead and not goes_on
    following = next((line.text.strip() for line in found[at + 2 : at + 6] if not line.is_blank), "")
    return len(following) > len(title) and not any(map(str.isdigit, title))


def _may_be_title(text: str) -> bool:
    if not text or len(text) > LONGEST_TITLE or len(text.split()) > MOST_TITLE_WORDS or text.startswith(("|", ">", "`")):
        return False
    return text[-1] in QUESTION_MARKS or text[-1] not in SENTENCE_ENDS + _COLONS + _PAUSES


def _is_upper(text: str) -> bool:
    return text.upper() == text and text.lower() != text


def goes_on(line: str, following: str) -> bool:
    """Whether a sentence that the line does not end goes on in what follows it."""
    is_open = not is_ended(line) and not leads_in(line) and len(line) + len(following) <= LONGEST_SENTENCE
    return is_open and following[0].islower() and not (_LABELLED.search(line) or _LABELLED.search(following))


def is_question(text: str) -> bool:
    return text.rstrip(CLOSING)[-1:] in tuple(QUESTION_MARKS)


def is_ended(text: str) -> bool:
    """Whether the text ends as a sentence does."""
    return text.rstrip(CLOSING)[-1:] in tuple(SENTENCE_ENDS)


def leads_in(text: str) -> bool:
    """Whether it announces what follows, as by a colon."""
    return text.rstrip(CLOSING)[-1:] in tuple(_COLONS)
