"""What is to be answered: a prompt's words, with what its chatbot and its conversation make of them."""

from __future__ import annotations

import msgspec

from gigachat_server.chat.answers.memory import Memory
from gigachat_server.records import Chatbot


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """`text` is what the chatbot is to answer, of one prompt or of several that are answered together."""

    chatbot: Chatbot
    text: str
    memory: Memory
    may_hand_off: bool
