"""The door to this package: what others ask of words, sentences and turns."""

from __future__ import annotations

from gigachat_server.language.blank import is_blank
from gigachat_server.language.human import asks_for_human
from gigachat_server.language.sameness import SHARED_STEMS, may_ask_the_same, normalised
from gigachat_server.language.sentences import LONGEST_SENTENCE, sentences
from gigachat_server.language.tokens import LONGEST_WORD, content_words, words
from gigachat_server.language.turns import SmallTalk, is_dependent, points_back, small_talk

__all__ = [
    "LONGEST_SENTENCE",
    "LONGEST_WORD",
    "SHARED_STEMS",
    "SmallTalk",
    "asks_for_human",
    "content_words",
    "is_blank",
    "is_dependent",
    "may_ask_the_same",
    "normalised",
    "points_back",
    "sentences",
    "small_talk",
    "words",
]
