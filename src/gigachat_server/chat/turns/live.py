"""The turns that this process runs or waits for.

Invariant: a turn is here before its prompt is stored and until it has ended. So code that ends turns in the store finds here
every turn that must learn of it, and freezes them first: what is shown is then never more than what is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TypeVar

from gigachat_server.chat.answers.speech import always
from gigachat_server.chat.turns.progress import Turn, TurnResult
from gigachat_server.errors import GigachatError

K = TypeVar("K")


class TurnMovedOn(Exception):
    """Another node has begun a turn meanwhile, and may show more of it."""


class FrozenTurns(ExitStack):
    """Turns that show nothing more until it is left: those of this process, and `elsewhere` the prompts of others."""

    def __init__(self) -> None:
        super().__init__()
        self.turns: list[Turn] = []
        self.elsewhere: frozenset[str] | None = None  # None: there is no elsewhere

    def add(self, turn: Turn) -> None:
        self.enter_context(turn.speech.frozen())
        self.turns.append(turn)

    def find(self, prompt_id: str) -> Turn | None:
        """The one of that prompt; of several, the one that was begun last."""
        return max((turn for turn in self.turns if turn.prompt_id == prompt_id), key=_begun, default=None)

    def check(self, answering: str | None) -> None:
        """Raises `TurnMovedOn` unless the turn of the prompt that is being answered is among these."""
        if answering is None or self.elsewhere is None or answering in self.elsewhere:
            return
        if (turn := self.find(answering)) is None or not turn.is_running:
            raise TurnMovedOn


class LiveTurns:
    """Finds turns by their prompt and by their conversation."""

    def __init__(self, *, may_show: Callable[[], bool] = always) -> None:
        """`may_show` says whether the turns of this process may show anything at all."""
        self.may_show = may_show
        self._by_prompt: dict[str, list[Turn]] = {}
        self._by_conversation: dict[tuple[str, str], list[Turn]] = {}
        self._freezes: dict[tuple[str, str], list[FrozenTurns]] = {}

    def __iter__(self) -> Iterator[Turn]:
        return iter([turn for turns in self._by_prompt.values() for turn in turns])

    def add(self, turn: Turn) -> None:
        """It is here until it ends."""
        self._by_prompt.setdefault(turn.prompt_id, []).append(turn)
        self._by_conversation.setdefault((turn.chatbot_id, turn.conversation_id), []).append(turn)
        turn.when_ended(self.discard)
        for freeze in self._freezes.get((turn.chatbot_id, turn.conversation_id), ()):
            freeze.add(turn)  # one that was found waiting, and was handed the lease meanwhile

    def discard(self, turn: Turn) -> None:
        """Also one that never began."""
        _remove(self._by_prompt, turn.prompt_id, turn)
        _remove(self._by_conversation, (turn.chatbot_id, turn.conversation_id), turn)

    def find(self, prompt_id: str) -> Turn | None:
        """The turn that answers this prompt or waits to. Of several (a retry begins as another ends) the one begun last."""
        stored = (turn for turn in self._by_prompt.get(prompt_id, ()) if turn.is_stored)
        return max(stored, key=_begun, default=None)

    def of(self, chatbot_id: str, conversation_id: str) -> list[Turn]:
        return list(self._by_conversation.get((chatbot_id, conversation_id), ()))

    def running(self, chatbot_id: str, conversation_id: str) -> Turn | None:
        """The one being answered now."""
        running = (turn for turn in self.of(chatbot_id, conversation_id) if turn.is_running)
        return max(running, key=_begun, default=None)

    @contextmanager
    def frozen(self, chatbot_id: str, conversation_id: str) -> Iterator[FrozenTurns]:
        """The turns of a conversation, while it is decided which of them go on: nothing more of them is shown."""
        conversation = (chatbot_id, conversation_id)
        with FrozenTurns() as freeze:
            for turn in self.of(*conversation):
                freeze.add(turn)
            self._freezes.setdefault(conversation, []).append(freeze)
            try:
                yield freeze
            finally:
                self._freezes[conversation].remove(freeze)
                if not self._freezes[conversation]:
                    del self._freezes[conversation]

    def cut(self, ended: Mapping[str, TurnResult | GigachatError]) -> None:
        """The turns of these prompts were ended from outside, in these ways."""
        for prompt_id, outcome in ended.items():
            if (turn := self.find(prompt_id)) is not None:
                turn.cut(outcome)


def _begun(turn: Turn) -> int:
    return turn.start_seq


def _remove(turns: dict[K, list[Turn]], key: K, turn: Turn) -> None:
    found = turns.get(key, [])
    if turn in found:
        found.remove(turn)
        if not found:
            del turns[key]
