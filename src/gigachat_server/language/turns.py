"""Small talk, and prompts that lean on what was said before."""

from __future__ import annotations

from typing import Literal

from gigachat_server.language.tokens import content_words, words

SmallTalk = Literal["greeting", "thanks", "farewell"]


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


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
