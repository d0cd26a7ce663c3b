"""What an answer is made from: the words of a prompt, its chatbot, and what was said before."""

from __future__ import annotations

import msgspec

from gigachat_server.chat.answers.memory import Memory
from gigachat_server.records import Chatbot


class AnswerInput(msgspec.Struct, frozen=True, kw_only=True):
    """`text` is that of one prompt, or of several that are answered together."""

    chatbot: Chatbot
    text: str
    memory: Memory
    may_hand_off: bool
