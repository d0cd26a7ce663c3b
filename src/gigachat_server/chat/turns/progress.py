"""A turn as those who wait for it see it: what has been said so far, and how it ended.

Idea: a watcher is a cursor over the pieces that the model has said, so any number may watch, each at its own pace, from the
first character or from any later one. Invariants: nothing is buffered for a slow reader, who gets the same text in longer
pieces; every watcher ends, because every turn does; and from the moment a turn is frozen nothing more of it is shown,
until it is known whether it goes on. A turn that is over, or never began, is gone with the last reference to it, so that the
cycle collector, whose passes hold up everyone, finds nothing of it.
"""

from __future__ import annotations

import asyncio
import bisect
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import contextmanager

import msgspec

from gigachat_server.chat.answers.rewrite import Rewrite
from gigachat_server.errors import GigachatError
from gigachat_server.ids import new_id
from gigachat_server.models.base import HandoffRequest, LeftOut, ModelAttempt, ModelCitation, ReplyEnd, TextDelta, UsageReport
from gigachat_server.records import Chatbot, Message, Source, UnansweredReason
from gigachat_server.work.waking import is_set_within

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


class TurnResult(msgspec.Struct, frozen=True):
    """The messages a turn ended with, newest, and the vectors of the chunks behind their sources, which the wire form shows."""

    messages: list[Message]
    vectors: Mapping[str, bytes] = {}


class ModelReport(msgspec.Struct):
    """What a model reported beside its text."""

    ends: dict[int, ReplyEnd] = {}
    usage: UsageReport | None = None
    handoff: HandoffRequest | None = None
    cited: dict[int, list[ModelCitation]] = {}  # by alternative
    left_out: LeftOut | None = None
    attempts: tuple[ModelAttempt, ...] = ()


class Turn:
    """One prompt on its way to its replies. `prompt`, `chatbot`, `epoch` and `start_seq` are known once it is stored."""

    prompt: Message
    chatbot: Chatbot

    def __init__(self, chatbot: Chatbot, conversation_id: str, prompt_id: str, message_ids: list[str]) -> None:
        self.chatbot = chatbot
        self.conversation_id = conversation_id
        self.prompt_id = prompt_id
        self.message_ids = message_ids
        self.is_stored = False  # its prompt is, so that it can be found by it
        self.epoch = -1  # the control_epoch under which its replies may be stored
        self.start_seq = 0  # of the event with which it began to be answered
        self.has_partial_reply = False
        self.began_at_s = 0.0  # on the event loop's clock
        self.drafted_to = 0  # how many characters of it are kept as a draft
        self.model_name = ""
        self.rewrite: Rewrite | None = None  # what was searched for instead of the prompt
        self.sources: tuple[Source, ...] = ()
        self.vectors: Mapping[str, bytes] = {}
        self.fixed_answer_id: str | None = None  # what its reply is, if not a model's
        self.is_model_asked = False
        self.unanswered: UnansweredReason | None = None  # known at its end
        self.heard = ModelReport()
        self.runner: asyncio.Task[None] | None = None
        self.is_settling = False  # its end is being stored here
        self.may_show: Callable[[], bool] = lambda: True
        self._said: list[ReplyPiece] = []
        self._ends: list[int] = []  # `end` of each piece said
        self._lengths = [0] * len(message_ids)
        self._watchers: set[asyncio.Event] = set()
        self._leader: Turn | None = None
        self._frozen = 0
        self._frozen_length = 0
        self.frozen_ends: dict[int, ReplyEnd] = {}  # of `heard`, when it was frozen
        self._is_cut = False
        self._when_ended: list[Callable[[Turn], object]] = []
        # An error is a result, too: nobody need be there to see it, and each who is gets one of their own.
        self._ended: asyncio.Future[TurnResult | GigachatError] = asyncio.get_running_loop().create_future()

    @property
    def is_ended(self) -> bool:
        return self._ended.done()

    @property
    def is_running(self) -> bool:
        """Whether it is being answered here, rather than waiting, answered with another, or ended."""
        return self.epoch >= 0 and self._leader is None and not self.is_ended

    @property
    def answered_in(self) -> Turn:
        """The turn whose words are those of this one: itself, unless its prompt is answered together with a later one."""
        return self if self._leader is None else self._leader

    @property
    def length(self) -> int:
        """How many characters were said, in all replies together."""
        return self._ends[-1] if self._ends else 0

    async def result(self) -> TurnResult:
        """The stored replies. Raises the `GigachatError` that the turn ended with. May be awaited by many."""
        outcome = await asyncio.shield(self._ended)
        if isinstance(outcome, GigachatError):
            raise outcome.again()
        return outcome

    async def watch(self, *, idle_s: float) -> AsyncGenerator[ReplyPiece | None, None]:
        """All that is said, from the first character, until the turn ends; None whenever nothing was for `idle_s`.

        A slow reader gets it in longer pieces; nothing is buffered for it. What was not shown when the turn was cut is not
        shown any more.
        """
        changed = asyncio.Event()
        source, position = self, 0
        with self.waking(changed):
            while not self._is_cut:
                if self._leader is not None and source is self:
                    source, position = self._leader, 0
                    source._watchers.add(changed)
                while (piece := source.after(position)) is not None:
                    position = piece.end
                    yield piece
                if self._ended.done():
                    return
                changed.clear()
                if not await is_set_within(changed, idle_s):
                    yield None

    @contextmanager
    def waking(self, changed: asyncio.Event) -> Iterator[None]:
        """Set whenever there is something new to see."""
        self._watchers.add(changed)
        try:
            yield
        finally:
            self._watchers.discard(changed)
            if self._leader is not None:
                self._leader._watchers.discard(changed)

    def after(self, position: int) -> ReplyPiece | None:
        """What was said after the first `position` characters and may be shown: of one reply, in one piece of bounded length."""
        if self._frozen or self._is_cut or position >= self.length or not self.may_show():
            return None
        following = bisect.bisect_right(self._ends, position)
        start = self._said[following]
        skipped = position - start.position
        texts = [start.text[skipped:]]
        length = len(texts[0])
        while (following := following + 1) < len(self._said) and length < _LONGEST_PIECE:
            piece = self._said[following]
            if piece.message_id != start.message_id:
                break
            texts.append(piece.text)
            length += len(piece.text)
        return ReplyPiece(start.message_id, start.offset + skipped, "".join(texts), position)

    def text(self, alternative: int, *, is_cut: bool = False) -> str:
        """What has been said so far; `is_cut`: until the turn was frozen."""
        message_id, length = self.message_ids[alternative], self._frozen_length if is_cut else self.length
        return "".join(piece.text for piece in self._said if piece.message_id == message_id and piece.end <= length)

    def expect(self, count: int) -> None:
        """Have room for so many replies: how many a chatbot makes may have changed while the prompt waited."""
        for _ in range(len(self.message_ids), count):
            self.message_ids.append(new_id())
            self._lengths.append(0)

    def say(self, delta: TextDelta) -> None:
        piece = ReplyPiece(self.message_ids[delta.index], self._lengths[delta.index], delta.text, self.length)
        self._lengths[delta.index] += len(delta.text)
        self._said.append(piece)
        self._ends.append(piece.end)
        self.wake_watchers()

    def take_back(self, alternative: int) -> None:
        """What was said of that reply is none of it: it begins anew, as another message, so that no text is joined to it."""
        self.message_ids[alternative] = new_id()
        self._lengths[alternative] = 0
        self.heard.cited.pop(alternative, None)

    def catch_up(self, alternative: int, message_id: str, text: str) -> None:
        """It is said elsewhere: by now, this much of that reply."""
        self.expect(alternative + 1)
        known = self._lengths[alternative]
        if not known:
            self.message_ids[alternative] = message_id
        if self.message_ids[alternative] == message_id and len(text) > known:
            self.say(TextDelta(alternative, text[known:]))

    def follow(self, leader: Turn) -> None:
        """This prompt is answered together with that one: what is said and stored there ends this turn too."""
        self._leader = leader
        leader.when_ended(self._end_like)
        self.wake_watchers()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """What is said within this block is not shown before it is left, or never if the turn is cut."""
        if not self._frozen:
            self._frozen_length, self.frozen_ends = self.length, dict(self.heard.ends)
        self._frozen += 1
        try:
            yield
        finally:
            self._frozen -= 1
            self.wake_watchers()

    def end(self, outcome: TurnResult | GigachatError) -> None:
        """It has ended; the first to say how is believed."""
        if self._ended.done():
            return
        # What holds this turn is not held by it any more: callbacks, its task, and the frames that an error came through.
        self._ended.set_result(outcome.with_traceback(None) if isinstance(outcome, GigachatError) else outcome)
        callbacks, self._when_ended = self._when_ended, []
        for callback in callbacks:
            callback(self)
        self.runner = None
        self.wake_watchers()

    def cut(self, outcome: TurnResult | GigachatError) -> None:
        """It was ended from outside: nothing of it is shown any more but what was stored, if it was not deleted."""
        if self.is_ended:
            return
        runner = self.runner
        self._is_cut = True
        self.end(outcome)
        if runner is not None:
            runner.cancel()

    def when_ended(self, callback: Callable[[Turn], object]) -> None:
        """Call back with this turn."""
        if self.is_ended:
            callback(self)
        else:
            self._when_ended.append(callback)

    def _end_like(self, leader: Turn) -> None:
        self._is_cut = leader._is_cut
        self.end(leader._ended.result())

    def wake_watchers(self) -> None:
        for watcher in self._watchers:
            watcher.set()
