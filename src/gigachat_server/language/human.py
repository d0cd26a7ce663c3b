"""Does an end user ask for a person? In 29 languages, by rule: for models that cannot decide it themselves.

Idea: people who want a person say so in a separate clause, so whole clauses are matched, word by word: what merely
mentions staff ("What does the support team do?") says more than a request does. Invariant: linear in the prompt's length,
and only short prompts are looked at.
"""

from __future__ import annotations

import re
from functools import cache

from gigachat_server.language.characters import MARKS, composed, folded
from gigachat_server.language.human_requests import EIGHT, Request
from gigachat_server.language.more_human_requests import MORE, UNSPACED_CALLS

_LONGEST_CALL = 200
_SENTENCE_ENDS = re.compile(r"[.!?;…。！？؟۔।]++(?=\s|\Z)|[。！？]|\n")
_CLAUSE_ENDS = re.compile(
    r"[,:()–—\"，、،]| - | (?:and|but|so|because|und|aber|et|mais|y|pero|e|mas|ma|en|maar|и|но|ale|ve|ama|och|men|og|και|dan) ",
    re.IGNORECASE,
)
_NOT_WORDS = re.compile(rf"(?:[^\w{MARKS}\u0e31\u0e34-\u0e4e]|_)+")
_LATIN = re.compile("[a-z]")
_NO_LATIN = re.compile("[^\u0000-\u024f]")
_UNSPACED = re.compile("[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]")


def asks_for_human(text: str) -> bool:
    """Whether an end user asks explicitly for a person; in a short prompt only."""
    if len(text) > _LONGEST_CALL:
        return False
    for sentence in _SENTENCE_ENDS.split(composed(text)):
        if _is_call(_folded(sentence), is_whole=True):
            return True
        clauses = _CLAUSE_ENDS.split(sentence)  # a single one was the sentence
        if len(clauses) > 1 and any(_is_call(_folded(clause), is_whole=False) for clause in clauses):
            return True
    return False


def _is_call(clause: str, *, is_whole: bool) -> bool:
    """A clause that is only part of a sentence has to be put as a wish or an order: "an agent" may be one of a list."""
    if not clause:
        return False
    if _UNSPACED.search(clause):
        clause = clause.replace(" ", "")
        return any(pattern.fullmatch(clause) for pattern in _unspaced_calls())
    for pattern in _calls_for_human(bool(_LATIN.search(clause))):
        match = pattern.fullmatch(clause)
        if match and (is_whole or match["opening"] or match["order"]):
            return True
    return False


def _folded(text: str) -> str:
    """The words of a text without case and accents, one space between them."""
    return _NOT_WORDS.sub(" ", folded(text)).strip()


@cache  # made when the first offer of a handoff needs them
def _calls_for_human(is_latin: bool) -> tuple[re.Pattern[str], ...]:
    letters = _LATIN if is_latin else _NO_LATIN
    return tuple(_pattern(request) for request in (*EIGHT, *MORE) if letters.search(request.person))


@cache
def _unspaced_calls() -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(_folded_pattern(call)) for call in UNSPACED_CALLS)


def _pattern(request: Request) -> re.Pattern[str]:
    """Matches a folded clause. What repeats is possessive, so no clause is tried in many ways."""
    parts = {name: _folded_pattern(part) for name, part in request._asdict().items()}
    person, anyone = f"(?:{parts['person']})", f"(?:{parts['person']}|{parts['anyone']})"
    whole = parts["whole"].replace("{person}", person).replace("{anyone}", anyone)
    asked = f"(?:{parts['talk']}) {anyone}|(?P<order>{parts['order']}) {anyone}"
    asked += f"|(?:(?:mit|zu|an|met|naar) )?{anyone} (?:{parts['talk_last']})"
    return re.compile(
        f"(?P<opening>(?:(?:{parts['opening']}) )*+)"
        f"(?:(?:{asked})(?: (?:{parts['topic']}|{parts['manner']}))*+|(?:{person}|{whole})(?: (?:{parts['manner']}))*+)"
    )


def _folded_pattern(pattern: str) -> str:
    return folded(pattern.replace("\n", ""))
