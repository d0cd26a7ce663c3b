"""Which statements mean little by themselves: those that point back, and a bare yes or no. Pure."""

from __future__ import annotations

import re

_LONGEST_OPENING = 60


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


def _rows(listed: str) -> tuple[str, ...]:
    """Words in a row, each list of them behind a comma, as they begin a text."""
    return tuple(f"{' '.join(row.split())} " for row in listed.split(","))


# What points back to the sentence before, as the first word or words of one.
_POINTING = _set(
    """it they this these that those he she then otherwise however but also their its such both
    therefore instead afterwards likewise er es dann danach dies diese dieser dieses das sonst darüber dafür dabei dazu
    daher deshalb außerdem andernfalls ihre ihr ils elle elles cela ceci ce ces cet cette ensuite puis sinon celui celle
    ceux leur leurs toutefois ella ellos ellas esto este esta estos estas eso después luego además sino entonces su sus
    ele eles ela elas isto isso estes essa esse depois então também seu sua esso essi queste questo questi quello poi
    inoltre altrimenti dopo hij zij ze dit deze dat dan daarna anders hun daarom bovendien он она оно они это этот эта эти
    затем потом тогда иначе его её их поэтому также bu bunlar şu sonra ayrıca aksi هو هي هذا هذه ذلك ثم بعدها यह ये वह वे
    इसके उसके फिर इसलिए"""
)
_POINTING_ROWS = _rows(
    """in that case, after that, if so, if not, in diesem fall, in dem fall, dans ce cas, après cela,
    en ese caso, en este caso, nesse caso, neste caso, in questo caso, in dat geval, в этом случае, после этого, кроме
    того"""
)
# What only looks so: words that stand for nothing.
_IMPERSONAL_ROWS = _rows(
    """it is possible, it is not possible, it is important, it takes, it costs, es gibt, es ist
    möglich, es ist nicht möglich, es posible, ce n est pas possible"""
)
_POINTING_SIGNS = (
    "它",
    "他们",
    "她们",
    "这些",
    "之后",
    "否则",
    "因此",
    "それ",
    "その",
    "これ",
    "この",
    "また、",
    "ただし",
    "그",
    "이것",
    "มัน",
)
_YES_OR_NO = _set(
    """yes no not yet sure certainly unfortunately ja nein leider oui non sí si sim não да нет sì nee
    evet hayır 是的 是 不 不是 可以 不可以 不能 はい いいえ 네 아니요 हाँ नहीं जी نعم لا ใช่ ไม่"""
)
# Vowel signs of Indian scripts are part of their words, though Python takes them for marks.
_NOT_WORDS = re.compile(r"[^\w'\u0900-\u0dff\u0e31-\u0e4e]+")


def points_back(text: str) -> bool:
    """Whether the statement begins with what stands for something said before it."""
    opening = _words(text[:_LONGEST_OPENING])
    if text.startswith(_POINTING_SIGNS):
        return True
    if opening.startswith(_IMPERSONAL_ROWS):
        return False
    return opening.partition(" ")[0] in _POINTING or opening.startswith(_POINTING_ROWS)


def is_yes_or_no(text: str) -> bool:
    """Whether it says yes or no, and nothing else."""
    if len(text) > _LONGEST_OPENING:
        return False
    said = _words(text).split()
    return 0 < len(said) <= 2 and all(word in _YES_OR_NO for word in said)


def _words(text: str) -> str:
    """The words of a text in lower case, a blank behind each."""
    return _NOT_WORDS.sub(" ", text.casefold().replace("’", "'")).strip() + " "
