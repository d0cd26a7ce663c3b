"""What is said in reply to a prompt, from the first character on: words as they come, and what is known of them.

Idea: a watcher is a cursor over the pieces that the model has said, so any number may watch, each at its own pace, from the
first character or from any later one. Invariants: nothing is buffered for a slow reader, who gets the same text in longer
pieces; and from the moment it is frozen nothing more of it is shown, until it is known whether it goes on. What was said
stays when its model fails, and still becomes messages.
"""

from __future__ import annotations

import asyncio
import bisect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import msgspec

from gigachat_server.chat.answers.rewrite import Rewrite
from gigachat_server.ids import new_id
from gigachat_server.models.base import (
    HandoffRequest,
    LeftOut,
    ModelAttempt,
    ModelCitation,
    ReplyEnd,
    TextDelta,
    UsageReport,
    Vector,
)
from gigachat_server.records import Source, UnansweredReason

_LONGEST_PIECE = 64 * 1024  # characters: what a reader who stopped reading holds in memory


class ReplyPiece(msgspec.Struct, frozen=True):
    """A piece of the reply `message_id`; `offset` counts the characters of that reply before it, `position` those of all."""

    message_id: str
    offset: int
    text: str
    position: int

    @property
    def end(self) -> int:
        return self.position + len(self.text)


class ReplyFacts(msgspec.Struct):
    """What is known of the replies to a prompt beside their words, as it comes to be known."""

    model_name: str = ""
    is_model_asked: bool = False
    rewrite: Rewrite | None = None  # what was searched for instead of the prompt
    sources: tuple[Source, ...] = ()
    vectors: Mapping[str, bytes] = {}  # of the chunks behind the sources
    fixed_answer_id: str | None = None  # what the reply is, if not a model's
    ends: dict[int, ReplyEnd] = {}  # by alternative
    cited: dict[int, list[ModelCitation]] = {}  # likewise; of one that is missing the model says nothing
    usage: UsageReport | None = None
    handoff: HandoffRequest | None = None
    left_out: LeftOut | None = None
    attempts: tuple[ModelAttempt, ...] = ()
    first_word_ms: int | None = None  # how long the end user waited for it, if that is known


class SpokenReply(msgspec.Struct, frozen=True):
    """One alternative as far as it was said; `end` is None if that is not its end, `cited` if its model says nothing of it."""

    alternative: int
    message_id: str
    text: str
    end: ReplyEnd | None
    cited: Sequence[ModelCitation] | None


class Answer(msgspec.Struct, frozen=True):
    """What a prompt is answered with: the replies that say anything, whole or as far as they came.

    `unanswered` tells why it is none, `vector` is the prompt's, if it needed one: both are known at the end.
    """

    replies: Sequence[SpokenReply]
    facts: ReplyFacts
    unanswered: UnansweredReason | None = None
    vector: Vector | None = None


def always() -> bool:
    """For turns that no other node can end."""
    return True


class Speech:
    """The `count` replies to one prompt, as they are spoken. `may_show`: whether anything may be shown at all."""

    def __init__(self, count: int = 0, *, may_show: Callable[[], bool] = always) -> None:
        self.facts = ReplyFacts()
        self.message_ids = [new_id() for _ in range(count)]
        self.length = 0  # characters, in all replies together
        self._may_show = may_show
        self._pieces: list[ReplyPiece] = []
        self._ends: list[int] = []  # `end` of each piece
        self._texts: list[list[str]] = [[] for _ in range(count)]
        self._lengths = [0] * count
        self._watchers: set[asyncio.Event] = set()
        self._freezes = 0
        self._shown: Answer | None = None  # as it was when it was frozen
        self._is_cut = False
        self.is_concealed = False
        self._waited_ms: Callable[[], int] | None = None

    # --- speaking ---

    def expect(self, count: int) -> None:
        """Make room for so many replies: how many a chatbot makes may have changed while the prompt waited."""
        for _ in range(len(self.message_ids), count):
            self.message_ids.append(new_id())
            self._texts.append([])
            self._lengths.append(0)

    def time_first_word(self, waited_ms: Callable[[], int]) -> None:
        """Have the facts tell how long it took: `waited_ms` says how long it is now since the prompt."""
        self._waited_ms = waited_ms

    def say(self, delta: TextDelta) -> None:
        index, text = delta.index, delta.text
        if self._waited_ms is not None:
            self.facts.first_word_ms, self._waited_ms = self._waited_ms(), None
        self._pieces.append(ReplyPiece(self.message_ids[index], self._lengths[index], text, self.length))
        self._texts[index].append(text)
        self._lengths[index] += len(text)
        self.length += len(text)
        self._ends.append(self.length)
        if self._watchers:
            self.wake_watchers()

    def take_back(self, alternative: int) -> None:
        """Drop what was said of that reply. It starts over as another message, so that no text is joined to it."""
        self.message_ids[alternative] = new_id()
        self._texts[alternative] = []
        self._lengths[alternative] = 0
        self.facts.cited.pop(alternative, None)

    def catch_up(self, alternative: int, message_id: str, text: str) -> None:
        """Say what is new in a reply that is made elsewhere, of which this much is known by now."""
        self.expect(alternative + 1)
        known = self._lengths[alternative]
        if not known:
            self.message_ids[alternative] = message_id
        if self.message_ids[alternative] == message_id and len(text) > known:
            self.say(TextDelta(alternative, text[known:]))

    # --- as far as it was said ---

    def text(self, alternative: int) -> str:
        return "".join(self._texts[alternative])

    def replies(self) -> list[SpokenReply]:
        """The replies in which anything was said."""
        facts = self.facts
        return [
            SpokenReply(
                alternative, self.message_ids[alternative], text, facts.ends.get(alternative), facts.cited.get(alternative)
            )
            for alternative, texts in enumerate(self._texts)
            if (text := "".join(texts)) and not text.isspace()
        ]

    def so_far(self) -> Answer:
        """All that was said until now."""
        return Answer(self.replies(), self.facts)

    def shown(self) -> Answer:
        """What was shown until it was frozen, or until now if it is not: what came later was never shown."""
        return self.showable() if self._shown is None else self._shown

    def showable(self) -> Answer:
        """All that was said until now, if it may be shown at all: what stays when it breaks off by itself."""
        return Answer((), self.facts) if self.is_concealed else self.so_far()

    # --- watching ---

    def after(self, position: int) -> ReplyPiece | None:
        """What was said after the first `position` characters and may be shown: of one reply, in one piece of bounded length."""
        if self._freezes or self._is_cut or self.is_concealed or position >= self.length or not self._may_show():
            return None
        following = bisect.bisect_right(self._ends, position)
        start = self._pieces[following]
        skipped = position - start.position
        texts = [start.text[skipped:]]
        length = len(texts[0])
        while (following := following + 1) < len(self._pieces) and length < _LONGEST_PIECE:
            piece = self._pieces[following]
            if piece.message_id != start.message_id:
                break
            texts.append(piece.text)
            length += len(piece.text)
        return ReplyPiece(start.message_id, start.offset + skipped, "".join(texts), position)

    @contextmanager
    def waking(self, changed: asyncio.Event) -> Iterator[None]:
        """Set whenever there may be something new to see."""
        self._watchers.add(changed)
        try:
            yield
        finally:
            self._watchers.discard(changed)

    def wake_watchers(self) -> None:
        for watcher in self._watchers:
            watcher.set()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """What is said within this block is not shown before it is left, or never if the turn is cut."""
        if not self._freezes:
            self._shown = self.showable()
        self._freezes += 1
        try:
            yield
        finally:
            self._freezes -= 1
            if not self._freezes:
                self._shown = None
            self.wake_watchers()

    def conceal(self) -> None:
        """From now on none of it is shown: it is for the operators to say."""
        self.is_concealed = True

    def cut(self) -> None:
        """Nothing more of it is shown."""
        self._is_cut = True
