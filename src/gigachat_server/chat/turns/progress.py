"""A turn as those who wait for it see it: what is said, who may store it, and how it ended.

Idea: a turn holds three things that change apart from each other. Its `speech` is what has been said; its `lease` is the
right to answer, which it has once it is its turn; its outcome comes once. Invariants: every watcher ends, because every turn
does; and a turn that is over, or never began, is gone with the last reference to it, so that the cycle collector, whose passes
hold up everything else, finds nothing of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping

import msgspec

from gigachat_server.chat.answers.answer_input import AnswerInput
from gigachat_server.chat.answers.speech import ReplyPiece, Speech
from gigachat_server.errors import GigachatError
from gigachat_server.records import Chatbot, Message
from gigachat_server.work.waking import is_set_within


class TurnResult(msgspec.Struct, frozen=True):
    """The messages a turn ended with, newest, and the vectors of the chunks behind their sources, which the wire form shows."""

    messages: list[Message]
    vectors: Mapping[str, bytes] = {}


class Lease(msgspec.Struct, kw_only=True):
    """The right to answer a prompt: under which epoch its replies may be stored, and how far the turn that has it is."""

    prompt: Message
    answer_input: AnswerInput
    epoch: int  # the control_epoch under which replies may be stored
    start_seq: int  # of the event with which the prompt began to be answered
    began_at_s: float = 0.0  # on the event loop's clock
    drafted_to: int = 0  # how many characters of the speech are kept as a draft
    is_settling: bool = False  # the end of the turn is being stored here
    runner: asyncio.Task[None] | None = None

    @property
    def chatbot(self) -> Chatbot:
        return self.answer_input.chatbot


class Turn:
    """One prompt on its way to its replies."""

    def __init__(self, chatbot_id: str, conversation_id: str, prompt_id: str, speech: Speech) -> None:
        self.chatbot_id = chatbot_id
        self.conversation_id = conversation_id
        self.prompt_id = prompt_id
        self.speech = speech
        self.is_stored = False  # its prompt is, so that the turn can be found by it
        self.lease: Lease | None = None
        self._leader: Turn | None = None
        self._when_ended: list[Callable[[Turn], object]] = []
        # An error is a result, too: there may be no caller left to raise it in, and each caller gets a copy of its own.
        self._ended: asyncio.Future[TurnResult | GigachatError] = asyncio.get_running_loop().create_future()

    @property
    def is_ended(self) -> bool:
        return self._ended.done()

    @property
    def outcome(self) -> TurnResult | GigachatError | None:
        """What it ended with."""
        return self._ended.result() if self._ended.done() else None

    @property
    def is_running(self) -> bool:
        """Whether it is being answered here, rather than waiting, answered with another, or ended."""
        return self.lease is not None and self._leader is None and not self._ended.done()

    @property
    def start_seq(self) -> int:
        """The seq of the event with which it began to be answered; 0 before."""
        return 0 if self.lease is None else self.lease.start_seq

    @property
    def answered_in(self) -> Turn:
        """The turn whose words are those of this one: itself, unless its prompt is answered together with a later one."""
        return self if self._leader is None else self._leader

    async def result(self) -> TurnResult:
        """The stored replies. Raises the `GigachatError` that the turn ended with. May be awaited by many."""
        outcome = await asyncio.shield(self._ended)
        if isinstance(outcome, GigachatError):
            raise outcome.again()
        return outcome

    async def watch(self, *, idle_s: float, left_at: tuple[int, int] = (0, 0)) -> AsyncGenerator[ReplyPiece | None, None]:
        """All that is said, from the first character, until the turn ends; None whenever nothing was for `idle_s`.

        `left_at`: the seq of an event, and how many characters of the turn that ran then the watcher has: it goes on behind them.
        A slow reader gets it in longer pieces; nothing is buffered for it. What was not shown before the turn was cut never
        is.
        """
        changed = asyncio.Event()
        is_over = False
        while not is_over:
            speech, position = self.speech, self._position_of(left_at)
            with speech.waking(changed):
                while True:
                    while (piece := speech.after(position)) is not None:
                        position = piece.end
                        yield piece
                    if self.speech is not speech:
                        break
                    if is_over := self.is_ended:
                        break
                    changed.clear()
                    if not await is_set_within(changed, idle_s):
                        yield None

    def _position_of(self, left_at: tuple[int, int]) -> int:
        """How many characters of this turn a watcher has who left there: none of one that began since."""
        seq, position = left_at
        return position if self.answered_in.start_seq <= seq and position <= self.speech.length else 0

    def follow(self, leader: Turn) -> None:
        """Answer this prompt together with that one: what is said and stored there ends this turn too."""
        speech, self.speech = self.speech, leader.speech
        self._leader = leader
        leader.when_ended(self._end_like)
        speech.wake_watchers()

    def end(self, outcome: TurnResult | GigachatError) -> None:
        """End the turn. Only the first outcome counts."""
        if self._ended.done():
            return
        # What holds this turn is not held by it any more: callbacks, its task, and the frames that an error came through.
        self._ended.set_result(outcome.with_traceback(None) if isinstance(outcome, GigachatError) else outcome)
        callbacks, self._when_ended = self._when_ended, []
        for callback in callbacks:
            callback(self)
        if self.lease is not None:
            self.lease.runner = None
        self.speech.wake_watchers()

    def cut(self, outcome: TurnResult | GigachatError) -> None:
        """End the turn from outside: from now on only what was stored of it is shown, if that was not deleted."""
        if self._ended.done():
            return
        runner = None if self.lease is None else self.lease.runner
        self.speech.cut()
        self.end(outcome)
        if runner is not None:
            runner.cancel()

    def when_ended(self, callback: Callable[[Turn], object]) -> None:
        """Call back with this turn."""
        if self._ended.done():
            callback(self)
        else:
            self._when_ended.append(callback)

    def _end_like(self, leader: Turn) -> None:
        self.end(leader._ended.result())
