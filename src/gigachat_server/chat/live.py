"""The turns that somebody in this process runs or waits for.

Invariant: a turn is here before its prompt is stored and until it has ended; so whoever ends turns in the store finds here
all that must learn of it, and freezes them first: what is shown is then never more than what is stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from gigachat_server.chat.progress import Stored, Turn
from gigachat_server.errors import GigachatError


class _Freeze(ExitStack):
    """Turns that are frozen until it is left, by prompt."""

    def __init__(self) -> None:
        super().__init__()
        self.turns: dict[str, Turn] = {}

    def add(self, turn: Turn) -> None:
        self.enter_context(turn.frozen())
        self.turns[turn.prompt_id] = turn


class LiveTurns:
    """Finds turns by their prompt and by their conversation."""

    def __init__(self) -> None:
        self._by_prompt: dict[str, Turn] = {}
        self._by_conversation: dict[tuple[str, str], list[Turn]] = {}
        self._freezes: dict[tuple[str, str], list[_Freeze]] = {}

    def __iter__(self) -> Iterator[Turn]:
        return iter(list(self._by_prompt.values()))

    def __len__(self) -> int:
        return len(self._by_prompt)

    def add(self, turn: Turn) -> None:
        """It is here until it ends."""
        self._by_prompt[turn.prompt_id] = turn
        self._by_conversation.setdefault((turn.chatbot.id, turn.conversation_id), []).append(turn)
        turn.when_ended(lambda: self.discard(turn))
        for freeze in self._freezes.get((turn.chatbot.id, turn.conversation_id), ()):
            freeze.add(turn)  # one that was found waiting, and was handed the lease meanwhile

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
        conversation = (chatbot_id, conversation_id)
        with _Freeze() as freeze:
            for turn in self.of(*conversation):
                freeze.add(turn)
            self._freezes.setdefault(conversation, []).append(freeze)
            try:
                yield freeze.turns
            finally:
                self._freezes[conversation].remove(freeze)
                if not self._freezes[conversation]:
                    del self._freezes[conversation]

    def cut(self, ended: Mapping[str, Stored | GigachatError]) -> None:
        """The turns of these prompts were ended from outside, in these ways."""
        for prompt_id, outcome in ended.items():
            if (turn := self.find(prompt_id)) is not None:
                turn.cut(outcome)
