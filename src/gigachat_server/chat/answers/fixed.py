"""What a turn needs to know about fixed answers, as protocols: `learning/` writes them, a turn only looks them up."""

from __future__ import annotations

from typing import Protocol

from gigachat_server.models.base import Vector
from gigachat_server.records import Chatbot, FixedAnswer


class KnownPhrasings(Protocol):
    """The phrasings of one chatbot's enabled fixed answers."""

    @property
    def has_vectors(self) -> bool:
        """Whether embedding a prompt could find one."""

    def find_exact(self, text: str) -> str | None:
        """The id of the fixed answer with a phrasing of these words."""

    def find_nearest(self, text: str, vector: Vector, *, least_cosine: float, is_follow_up: bool) -> str | None:
        """The id of the fixed answer with a phrasing that means the same."""


class FixedAnswerBook(Protocol):
    """The fixed answers of all chatbots."""

    async def known(self, chatbot: Chatbot) -> KnownPhrasings:
        """The chatbot's phrasings, at its `knowledge_version` or later."""

    def least_cosine(self, chatbot: Chatbot) -> float:
        """The cosine from which two prompts of this chatbot count as the same."""

    async def find(self, chatbot: Chatbot, fixed_answer_id: str) -> FixedAnswer | None:
        """None if it was deleted."""
