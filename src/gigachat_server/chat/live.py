"""The turns that somebody in this process runs or waits for.

Invariant: a turn is here before its prompt is stored and until it has ended; so whoever ends turns in the store finds here
all that must learn of it, and freezes them first: what is shown is then never more than what is stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from gigachat_server.chat.progress import Stored, Turn


class LiveTurns:
    """Finds turns by their prompt and by their conversation."""

    def __init__(self) -> None:
        self._by_prompt: dict[str, Turn] = {}
        self._by_conversation: dict[tuple[str, str], list[Turn]] = {}

    def __iter__(self) -> Iterator[Turn]:
        return iter(list(self._by_prompt.values()))

    def __len__(self) -> int:
        return len(self._by_prompt)

    def add(self, turn: Turn) -> None:
        """It is here until it ends."""
        self._by_prompt[turn.prompt_id] = turn
        self._by_conversation.setdefault((turn.chatbot.id, turn.conversation_id), []).append(turn)
        turn.when_ended(lambda: self.discard(turn))

    def discard(self, turn: Turn) -> None:
        """Also one that never began."""
        if self._by_prompt.get(turn.prompt_id) is turn:
            del self._by_prompt[turn.prompt_id]
        conversation = (turn.chatbot.id, turn.conversation_id)
        turns = self._by_conversation.get(conversation, [])
        if turn in turns:
            turns.remove(turn)
            if not turns:
                del self._by_conversation[conversation]

    def find(self, prompt_id: str) -> Turn | None:
        return self._by_prompt.get(prompt_id)

    def of(self, chatbot_id: str, conversation_id: str) -> list[Turn]:
        return list(self._by_conversation.get((chatbot_id, conversation_id), ()))

    def running(self, chatbot_id: str, conversation_id: str) -> Turn | None:
        """The one being answered now."""
        return next((turn for turn in self.of(chatbot_id, conversation_id) if turn.is_running), None)

    @contextmanager
    def frozen(self, chatbot_id: str, conversation_id: str) -> Iterator[Mapping[str, Turn]]:
        """The turns of a conversation, by prompt, while it is decided which of them go on: nothing more of them is shown."""
        with ExitStack() as stack:
            turns = self.of(chatbot_id, conversation_id)
            for turn in turns:
                stack.enter_context(turn.frozen())
            yield {turn.prompt_id: turn for turn in turns}

    def cut(self, ended: Mapping[str, Stored]) -> None:
        """The turns of these prompts were ended from outside, with these messages."""
        for prompt_id, stored in ended.items():
            if (turn := self.find(prompt_id)) is not None:
                turn.cut(stored)
