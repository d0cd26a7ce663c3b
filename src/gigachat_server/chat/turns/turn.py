"""Answer one prompt: store it, have it answered, store the replies.

Idea: a turn is a task of its own. The request that started it only watches (`progress.py`), so a caller who goes away, or
reads slowly, changes nothing: the reply is still finished and stored. The transaction that settles a turn also hands
the lease on, and the next turn begins as soon as that is durable.

Invariant: the prompt is durable before the model is called; a reply gets its place in the order when it is stored, under
the `control_epoch` its turn began with, or not at all; and what a caller is told of a turn is what the store says of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from typing import Any, TypeVar

import msgspec

from gigachat_server.access.limits import Admission
from gigachat_server.access.standings import Standing
from gigachat_server.chat.answers.answer import Answerer
from gigachat_server.chat.answers.memory import Recounted
from gigachat_server.chat.answers.speech import Answer, Speech
from gigachat_server.chat.events.recorder import Events
from gigachat_server.chat.ownership import Entry
from gigachat_server.chat.turns import reply, unanswered
from gigachat_server.chat.turns.coalescing import join_waiting
from gigachat_server.chat.turns.control import Control
from gigachat_server.chat.turns.elsewhere import ViewElsewhere, read_elsewhere
from gigachat_server.chat.turns.endings import fail_turn, replace_earlier
from gigachat_server.chat.turns.intake import Intake, IntakeResult, PromptRequest, may_end_turns, prompt_of
from gigachat_server.chat.turns.live import FrozenTurns, LiveTurns
from gigachat_server.chat.turns.nodes import Nodes
from gigachat_server.chat.turns.outcome import read_outcome
from gigachat_server.chat.turns.progress import Lease, Turn, TurnResult
from gigachat_server.chat.turns.proposing import are_reviewed, propose, supersede
from gigachat_server.chat.turns.queue import MOST_QUEUED, start_next
from gigachat_server.chat.turns.spending import settle
from gigachat_server.clock import Clock
from gigachat_server.errors import GigachatError, ModelEmpty, ModelError, ShuttingDown, StorageUnavailable
from gigachat_server.ids import new_id
from gigachat_server.records import UNSETTLED, Chatbot, Message
from gigachat_server.store import conversations, drafts, idempotency, messages
from gigachat_server.store.database import Database, Reader, Tx
from gigachat_server.triggers import trigger

T = TypeVar("T")

_log = logging.getLogger("gigachat.turn")

_LOOK_AGAIN_S = 1.0  # a wake-up may be missed
_REPLY_S = 10.0  # how long callers wait for a whole reply to be stored while the store is away
_FAILURE_S = 2.0  # and for a failure
_SETTLE_S = 30.0  # storing is tried for so long: by then the lease has run out, and the node that finds it goes on


# Asked before a prompt is stored, with its idempotency key: what it may cost. Raises `RateLimited`.
Admit = Callable[[idempotency.Key | None], Awaitable[Admission | None]]


async def unlimited(key: idempotency.Key | None) -> Admission | None:
    """For those to whom no limit applies."""
    return None


class TurnHandle(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a request: a turn to watch, or the newest messages where there is nothing to wait for."""

    prompt: Message
    turn: Turn | None = None
    stored: TurnResult | None = None
    is_replayed: bool = False
    standings: tuple[Standing, ...] = ()  # what is left of the limits that the prompt was charged to

    @property
    def replies(self) -> list[Message]:
        """The replies that are stored already."""
        return [message for message in (self.stored.messages if self.stored else ()) if message.in_reply_to is not None]

    async def result(self) -> TurnResult:
        """Raises the `GigachatError` that the turn ended with."""
        if self.turn is not None:
            return await self.turn.result()
        return self.stored or TurnResult([self.prompt])


class Turns:
    """Takes prompts and brings each to its end."""

    def __init__(
        self,
        database: Database,
        *,
        answerer: Answerer,
        control: Control,
        events: Events,
        live: LiveTurns,
        nodes: Nodes,
        clock: Clock,
        suggestions_wanted: asyncio.Event,
    ) -> None:
        """`suggestions_wanted` is set when an operator in control is to be shown what the chatbot would reply."""
        self._database = database
        self._answerer = answerer
        self._control = control
        self._intake = Intake(control=control, events=events, clock=clock, suggestions_wanted=suggestions_wanted)
        self._events = events
        self._live = live
        self._nodes = nodes
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()
        self._late: set[asyncio.Task[None]] = set()  # tasks still storing after their callers were answered
        self._is_stopping = False

    # --- prompts in ---

    async def start(
        self, chatbot: Chatbot, request: PromptRequest, key: idempotency.Key | None = None, admit: Admit = unlimited
    ) -> TurnHandle:
        """Store a message. A prompt is answered by a turn that runs on its own; an operator's message just stands there.

        A key that was used before gives what came of it then. Raises `ConversationBusy`, `IdempotencyKeyReused`, `NotFound`,
        `RateLimited`.
        """
        admission = await admit(key)
        store = functools.partial(self._store_prompt, chatbot, request, key, admission)
        if may_end_turns(chatbot, request):
            result, turn = await self._nodes.while_frozen(chatbot.id, request.conversation_id, store)
        else:
            result, turn = await store(FrozenTurns())
        return await self._handle(chatbot, result, turn, admission, admit, is_retry=False, recounted=request.recounted)

    async def _store_prompt(
        self,
        chatbot: Chatbot,
        request: PromptRequest,
        key: idempotency.Key | None,
        admission: Admission | None,
        live: FrozenTurns,
    ) -> tuple[IntakeResult, Turn]:
        turn = self._new_turn(chatbot, request.conversation_id, new_id())
        take_in = self._intake.store_prompt if request.operator is None else self._intake.inject
        body = functools.partial(
            take_in,
            chatbot=chatbot,
            request=request,
            key=key,
            prompt_id=turn.prompt_id,
            live=live,
            begin=functools.partial(self._begin, turn, admission),
            admission=admission,
        )
        with self._unless_stored(turn, admission):
            return await self._database.transaction("turn.start", body), turn

    def find_making(self, message_id: str) -> Turn | None:
        """The turn of this process that makes the reply of that id."""
        return next((turn for turn in self._live if turn.is_stored and message_id in turn.speech.message_ids), None)

    async def retry(
        self,
        chatbot: Chatbot,
        conversation_id: str,
        message_id: str,
        key: idempotency.Key | None = None,
        admit: Admit = unlimited,
        *,
        entry: Entry | None = None,
    ) -> TurnHandle:
        """Answer the prompt, or the prompt of that reply, again. The replies it had stay readable.

        Raises `ConversationBusy`, `ConversationTakenOver`, `InvalidRequest`, `NotFound`, `RateLimited`.
        """

        async def read(reader: Reader) -> Message:
            return await prompt_of(reader, chatbot, conversation_id, message_id)

        prompt = await self._database.read(read)
        admission = await admit(key)
        result, turn = await self._reopen("turn.retry", chatbot, prompt, key, admission, entry=entry)
        return await self._handle(chatbot, result, turn, admission, admit, is_retry=True)

    async def _reopen(
        self,
        name: str,
        chatbot: Chatbot,
        prompt: Message,
        key: idempotency.Key | None,
        admission: Admission | None,
        *,
        only_if_failed: bool = False,
        entry: Entry | None = None,
        recounted: tuple[Recounted, ...] = (),
    ) -> tuple[IntakeResult, Turn]:
        turn = self._new_turn(chatbot, prompt.conversation_id, prompt.id)
        body = functools.partial(
            self._intake.reopen,
            chatbot=chatbot,
            conversation_id=prompt.conversation_id,
            prompt_id=prompt.id,
            key=key,
            begin=functools.partial(self._begin, turn, admission),
            only_if_failed=only_if_failed,
            admission=admission,
            entry=entry,
            recounted=recounted,
        )
        with self._unless_stored(turn, admission):
            return await self._database.transaction(name, body), turn

    @contextlib.contextmanager
    def _unless_stored(self, turn: Turn, admission: Admission | None) -> Iterator[None]:
        """A turn whose prompt could not be stored leaves no trace."""
        try:
            yield
        except Exception:
            self._live.discard(turn)
            if admission is not None:
                admission.give_back()
            raise  # a cancelled caller says nothing of the transaction: if it goes through, the turn begins

    def _begin(self, turn: Turn, admission: Admission | None, result: IntakeResult) -> None:
        if admission is not None and admission.charge is not None:
            if result.prompt.turn in UNSETTLED:
                turn.when_ended(functools.partial(settle, admission.charge, is_generating=self._answerer.is_generating))
            else:
                admission.charge.settle(turns=0, tokens=0)
        if turn.is_ended:
            return  # a later transaction ended it, and its result reached us first
        if result.lease is not None:
            self._run_soon(result.lease, turn)
        elif result.prompt.turn == "queued":
            self._follow_soon(turn)

    async def _handle(
        self,
        chatbot: Chatbot,
        result: IntakeResult,
        turn: Turn,
        admission: Admission | None,
        admit: Admit,
        *,
        is_retry: bool,
        recounted: tuple[Recounted, ...] = (),
    ) -> TurnHandle:
        """After its transaction: the turn that runs or waits, or what came of the prompt before."""
        if result.is_known:
            self._live.discard(turn)
            return await self._replayed(chatbot, result.prompt, admit, is_retry=is_retry, recounted=recounted)
        standings = () if admission is None else admission.standings
        if result.prompt.turn not in UNSETTLED:
            self._live.discard(turn)
            return TurnHandle(prompt=result.prompt, standings=standings)
        return TurnHandle(prompt=result.prompt, turn=turn, standings=standings)

    async def _replayed(
        self, chatbot: Chatbot, prompt: Message, admit: Admit, *, is_retry: bool, recounted: tuple[Recounted, ...]
    ) -> TurnHandle:
        """What came of a prompt that was stored before. A turn that failed is run again, for the same prompt, and charged."""
        turn = self._live.find(prompt.id)
        # A retry that failed is one even where the prompt has a reply from before.
        if turn is None and (prompt.turn == "failed" or (is_retry and prompt.error is not None)):
            admission = await admit(None)
            again, turn = await self._reopen(
                "turn.again", chatbot, prompt, None, admission, only_if_failed=True, recounted=recounted
            )
            if not again.is_known and again.prompt.turn in UNSETTLED:
                return TurnHandle(prompt=again.prompt, turn=turn, is_replayed=True)
            self._live.discard(turn)
            prompt = again.prompt
        if (turn := self.watched(chatbot, prompt)) is not None:
            return TurnHandle(prompt=prompt, turn=turn, is_replayed=True)
        outcome = await self._database.read(functools.partial(read_outcome, chatbot_id=chatbot.id, prompt_id=prompt.id))
        if isinstance(outcome, GigachatError):
            raise outcome
        return TurnHandle(prompt=prompt, stored=outcome, is_replayed=True)

    def watched(self, chatbot: Chatbot, prompt: Message) -> Turn | None:
        """The turn of a prompt that is stored, to watch from its first word; None if the prompt is settled."""
        turn = self._live.find(prompt.id)
        if turn is None and prompt.turn in UNSETTLED:
            turn = self._new_turn(chatbot, prompt.conversation_id, prompt.id)
            self._follow_soon(turn)
        return turn

    def _new_turn(self, chatbot: Chatbot, conversation_id: str, prompt_id: str) -> Turn:
        """Add it to `LiveTurns` before anything of it is stored, so anything that ends it in the store finds it there."""
        speech = Speech(chatbot.config.response.n, may_show=self._live.may_show)
        turn = Turn(chatbot.id, conversation_id, prompt_id, speech)
        self._live.add(turn)
        return turn

    # --- running ---

    def resume(self, lease: Lease) -> None:
        """Run a turn that the lease was handed on to. For `after_commit`, so that it cannot be ended unnoticed."""
        prompt = lease.prompt
        turn = self._live.find(prompt.id) or self._new_turn(lease.chatbot, prompt.conversation_id, prompt.id)
        self._run_soon(lease, turn)

    def _run_soon(self, lease: Lease, turn: Turn) -> None:
        self._take_up(lease, turn)
        lease.runner = self._keep_task(turn, self._run(lease, turn))

    def _take_up(self, lease: Lease, turn: Turn) -> None:
        lease.began_at_s = asyncio.get_running_loop().time()
        turn.lease, turn.is_stored = lease, True
        turn.speech.expect(lease.chatbot.config.response.n)
        if are_reviewed(lease.chatbot):
            turn.speech.conceal()
        elif lease.start_seq == lease.prompt.seq:  # and not when it is answered once more, long after it was said
            asked_at = lease.prompt.created_at
            turn.speech.time_first_word(lambda: max(0, self._clock() - asked_at) // 1000)

    def _follow_soon(self, turn: Turn) -> None:
        turn.is_stored = True
        self._keep_task(turn, self._follow(turn))

    def _keep_task(self, turn: Turn, running: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(running, name="turn")
        self._tasks.add(task)
        task.add_done_callback(functools.partial(self._forget_task, turn))
        return task

    def _forget_task(self, turn: Turn, task: asyncio.Task[None]) -> None:
        """If a bug ended the task, those who wait for the turn are told so."""
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("the task of a turn failed", exc_info=error)
            turn.end(GigachatError())

    async def _run(self, lease: Lease, turn: Turn) -> None:
        """Bring the turn to its end, whatever happens: the store knows how it ended before anyone is told."""
        try:
            if self._is_stopping:
                await self._leave(lease, turn)
                return
            await trigger("S3")
            if lease.chatbot.config.response.overlap == "coalesce":
                gathered = await self._gather(lease, turn)
                if gathered is None:
                    await self._follow(turn)
                    return
                lease, turn = gathered
            await self._answer(lease, turn)
        except GigachatError as error:
            await self._fail(lease, turn, error)
        except asyncio.CancelledError:
            if not turn.is_ended:  # or else it was cut off: whatever did that has dealt with the rest
                await self._leave(lease, turn)
        except Exception:  # noqa: BLE001 - the edge of the turn's task: a bug must not leave its caller waiting
            _log.exception("turn failed")
            await self._fail(lease, turn, GigachatError())

    async def _gather(self, lease: Lease, turn: Turn) -> tuple[Lease, Turn] | None:
        """Wait until no prompt has come for a while. All that came are answered in one turn, the last prompt's.

        None if the turn was ended elsewhere meanwhile.
        """
        lead = functools.partial(self._lead, lease)
        wait_s = lease.chatbot.config.response.coalesce_ms / 1000
        for rounds_left in reversed(range(MOST_QUEUED)):  # a clock that jumps must not have it wait for ever
            await asyncio.sleep(wait_s)

            async def body(tx: Tx, must_end: bool = not rounds_left) -> Lease | float | None:
                return await join_waiting(tx, self._events, lease, now_us=self._clock(), must_end=must_end, lead=lead)

            gathered = await self._database.transaction("turn.gather", body)
            if not isinstance(gathered, float):
                break
            wait_s = gathered
        assert not isinstance(gathered, float)
        leader = None if gathered is None else self._live.find(gathered.prompt.id)
        return None if gathered is None or leader is None else (gathered, leader)

    def _lead(self, waited: Lease, lease: Lease, joined: Sequence[Message]) -> None:
        """The last prompt's turn goes on for all of them, in the task that has waited."""
        prompt = lease.prompt
        leader = self._live.find(prompt.id) or self._new_turn(lease.chatbot, prompt.conversation_id, prompt.id)
        self._take_up(lease, leader)
        lease.runner, waited.runner = waited.runner, None
        for each in joined:
            if (follower := self._live.find(each.id)) is not None:
                follower.follow(leader)

    async def _answer(self, lease: Lease, turn: Turn) -> None:
        answer = await self._answerer.answer(lease.answer_input, turn.speech)
        replies = reply.replies(answer, lease.prompt, chatbot_name=lease.chatbot.name, unfinished="completed")
        if not replies:
            raise ModelEmpty  # an empty reply is never stored, and an answer is never an empty array
        stored = await self._store(lease, turn, answer, replies)
        if stored is None:
            await self._follow(turn)
        else:
            turn.end(TurnResult(stored, answer.facts.vectors))

    async def _store(self, lease: Lease, turn: Turn, answer: Answer, replies: Sequence[Message]) -> list[Message] | None:
        """The replies, durable and in their places (S8); None if the turn was ended elsewhere meanwhile."""
        prompt = lease.prompt
        vector = None if answer.vector is None else answer.vector.astype("<f4", copy=False).tobytes()

        if turn.speech.is_concealed:
            return await self._propose(lease, turn, answer, replies, vector)

        async def body(tx: Tx) -> list[Message] | None:
            placed: list[Message] = []
            for each in replies:
                place = await conversations.advance(
                    tx,
                    prompt.chatbot_id,
                    prompt.conversation_id,
                    control_epoch=lease.epoch,
                    now_us=self._clock(),
                    is_last=len(placed) + 1 == len(replies),
                )
                if place is None:
                    return None  # so was the first: nothing is written yet
                placed.append(reply.placed(each, seq=place.seq, at=place.at))
                await self._events.store_message(tx, placed[-1])
            at, first = placed[-1].created_at, placed[0]
            # The prompt is still there: deleting one that is being answered raises the epoch.
            model = self._answerer.embedding_model
            await messages.finish_prompt(tx, prompt.chatbot_id, prompt.id, vector=vector, embedding_model=model, at=at)
            is_anew = lease.start_seq != prompt.seq  # not the first time that it is answered, perhaps
            if is_anew:
                await replace_earlier(tx, self._events, prompt, first)
            await unanswered.note(tx, self._events, answer, prompt, at=at, is_anew=is_anew)
            if (wanted := answer.facts.handoff) is not None:
                await self._control.note_handoff(tx, first, reason=wanted.reason, note=wanted.note, message_id=first.id)
            if lease.drafted_to or is_anew:
                await drafts.delete(tx, prompt.chatbot_id, prompt.conversation_id, prompt.id)
            if place is not None and place.queued:
                await self._hand_on(tx, prompt)
            await trigger("S8")
            return placed

        late = StorageUnavailable(retry_after_s=1)
        return await self._settle("turn.finish", lease, turn, body, or_else=late, after_s=_REPLY_S)

    async def _propose(
        self, lease: Lease, turn: Turn, answer: Answer, replies: Sequence[Message], vector: bytes | None
    ) -> list[Message] | None:
        """Likewise, for operators to say: the prompt is settled, and the conversation goes on."""
        prompt = lease.prompt

        async def body(tx: Tx) -> list[Message] | None:
            if not await conversations.hold(
                tx, prompt.chatbot_id, prompt.conversation_id, control_epoch=lease.epoch, prompt_id=prompt.id
            ):
                return None
            proposed = await propose(tx, self._events, replies, prompt, control_epoch=lease.epoch)
            at, model = proposed.updated_at, self._answerer.embedding_model
            await messages.finish_prompt(
                tx, prompt.chatbot_id, prompt.id, vector=vector, embedding_model=model, at=at, turn="proposed"
            )
            await unanswered.note(tx, self._events, answer, prompt, at=at, is_anew=lease.start_seq != prompt.seq)
            if (wanted := answer.facts.handoff) is not None:
                await self._control.note_handoff(tx, proposed, reason=wanted.reason, note=wanted.note, message_id="")
            if await self._hand_on(tx, prompt):  # newer prompts wait: nobody has to look at it
                await supersede(tx, self._events, prompt.chatbot_id, prompt.conversation_id, "interrupted")
                proposed = await messages.find(tx, prompt.chatbot_id, prompt.id) or proposed
            await trigger("S8")
            return [proposed]

        late = StorageUnavailable(retry_after_s=1)
        return await self._settle("turn.propose", lease, turn, body, or_else=late, after_s=_REPLY_S)

    async def _settle(
        self, name: str, lease: Lease, turn: Turn, body: Callable[[Tx], Awaitable[T]], *, or_else: GigachatError, after_s: float
    ) -> T:
        """Store how the turn ended. While the store is away callers are told `or_else` in time, and it is stored later on."""
        lease.is_settling = True
        giving_up = asyncio.get_running_loop().call_later(after_s, self._give_up_waiting, lease, turn, or_else)
        try:
            return await self._database.transaction(name, body, patience_s=_SETTLE_S)
        finally:
            giving_up.cancel()

    def _give_up_waiting(self, lease: Lease, turn: Turn, error: GigachatError) -> None:
        if lease.runner is not None:
            self._late.add(lease.runner)
            lease.runner.add_done_callback(self._late.discard)
        turn.end(error)

    async def _hand_on(self, tx: Tx, ended: Message) -> bool:
        """Whether another prompt waited."""
        following = await start_next(tx, self._events, ended.chatbot_id, ended.conversation_id, now_us=self._clock())
        if following is not None:
            tx.after_commit(functools.partial(self.resume, following))
        return following is not None

    async def _leave(self, lease: Lease, turn: Turn) -> None:
        """This node stops in the middle of the turn. If nothing of it was said yet, another node starts it over."""
        error, prompt = ShuttingDown(retry_after_s=5), lease.prompt
        if turn.speech.showable().replies or not (self._is_stopping and self._database.is_shared):
            await self._fail(lease, turn, error)
            return

        body = functools.partial(self._give_up_in, lease=lease)
        try:
            await self._settle("turn.leave", lease, turn, body, or_else=error, after_s=_FAILURE_S)
        except StorageUnavailable as second:
            _log.error("cannot leave prompt %s to others: %s", prompt.id, second)
        finally:
            turn.end(error)

    async def _give_up_in(self, tx: Tx, *, lease: Lease) -> bool:
        """The lease runs out now: the turn is for the node that finds it first. Always true: it was ours until now."""
        prompt = lease.prompt
        await conversations.give_up(tx, prompt.chatbot_id, prompt.conversation_id, control_epoch=lease.epoch, prompt_id=prompt.id)
        tx.after_commit(self._nodes.tell_of_waiting)
        return True

    async def _fail(self, lease: Lease, turn: Turn, error: GigachatError) -> None:
        """Settle the prompt as failed, with what was said in reply so far, and tell everyone who waits."""
        if not isinstance(error, ModelError):
            _log.warning("turn ended with %s", error.code)
        is_ours = True
        try:
            is_ours = await self._store_failure(lease, turn, error)
        except GigachatError as second:
            _log.error("cannot mark prompt %s as failed: %s", lease.prompt.id, second)
        finally:
            if is_ours:
                turn.end(error)
        if not is_ours:
            await self._follow(turn)

    async def _store_failure(self, lease: Lease, turn: Turn, error: GigachatError) -> bool:
        """Whether the turn still held the lease. It does not hold it any longer.

        If the store cannot hold the reply, which may be why the turn failed, the reply is left out. If the store cannot even
        hold the failure, the lease runs out at once, so that the next prompt does not have to wait for it.
        """
        so_far = turn.speech.showable()
        said = reply.replies(so_far, lease.prompt, chatbot_name=lease.chatbot.name, unfinished="incomplete")
        attempts: dict[str, Callable[[Tx], Awaitable[bool]]] = {
            "turn.fail": functools.partial(self._fail_in, lease=lease, said=said, error=error),
            "turn.fail_unsaid": functools.partial(self._fail_in, lease=lease, said=(), error=error),
            "turn.give_up": functools.partial(self._give_up_in, lease=lease),
        }
        for name, body in attempts.items():
            try:
                return await self._settle(name, lease, turn, body, or_else=error, after_s=_FAILURE_S)
            except StorageUnavailable:
                raise
            except Exception:  # noqa: BLE001 - the edge of the failure itself: a second one must not keep the lease
                _log.exception("%s of prompt %s", name, lease.prompt.id)
        return True

    async def _fail_in(self, tx: Tx, *, lease: Lease, said: Sequence[Message], error: GigachatError) -> bool:
        prompt = lease.prompt
        if not await conversations.hold(
            tx, prompt.chatbot_id, prompt.conversation_id, control_epoch=lease.epoch, prompt_id=prompt.id
        ):
            return False
        if (stored := await messages.find(tx, prompt.chatbot_id, prompt.id)) is not None:
            await fail_turn(tx, self._events, stored, said, error)
        await drafts.delete(tx, prompt.chatbot_id, prompt.conversation_id, prompt.id)
        await self._hand_on(tx, prompt)
        return True

    async def _follow(self, turn: Turn) -> None:
        """Follow a turn that is settled elsewhere: say what is said there, and end the way the store says it ended."""
        with self._events.woken(turn.chatbot_id, turn.conversation_id) as woken:
            turn.when_ended(lambda _: woken.set())
            while not turn.is_ended:
                woken.clear()
                with contextlib.suppress(StorageUnavailable):  # it is asked again
                    view = await self._view_elsewhere(turn)
                    for each in view.replies:
                        turn.speech.catch_up(each.alternative, each.message_id, each.text)
                    if view.outcome is not None:
                        turn.end(view.outcome)
                        return
                if self._is_stopping:
                    turn.end(ShuttingDown(retry_after_s=5))
                    return
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_AGAIN_S):
                        await woken.wait()

    async def _view_elsewhere(self, turn: Turn) -> ViewElsewhere:
        async def read(reader: Reader) -> ViewElsewhere:
            return await read_elsewhere(
                reader,
                chatbot_id=turn.chatbot_id,
                conversation_id=turn.conversation_id,
                prompt_id=turn.prompt_id,
                has_drafts=self._database.is_shared and not turn.is_running,
            )

        return await self._database.read(read)

    async def drain(self, timeout_s: float) -> None:
        """Let running turns end; those that take longer fail as `shutting_down`, their prompts stored."""
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_s
        while self._tasks and (left_s := until - loop.time()) > 0:  # those that end begin what waited behind them
            await asyncio.wait(set(self._tasks), timeout=left_s)
        self._is_stopping = True  # what still waits is not begun any more
        self._events.wake_all_here()
        await asyncio.sleep(0)  # a task that is cancelled before its first step could not tell anyone
        for turn in self._live:
            if turn.lease is not None and turn.lease.runner is not None:
                turn.lease.runner.cancel()
        for task in self._late:
            task.cancel()
        while self._tasks:
            await asyncio.wait(set(self._tasks))
        for turn in self._live:
            if turn.is_stored:  # a task that was cancelled while it settled another turn cannot tell who waits for this one
                turn.end(ShuttingDown(retry_after_s=5))
