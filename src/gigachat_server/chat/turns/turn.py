"""Answer one prompt: store it, have it answered, store the replies.

Idea: a turn is a task of its own. The request that started it only watches (`progress.py`), so a caller who goes away, or
reads slowly, changes nothing: the reply is finished and stored all the same. Whoever settles a turn hands the lease on in
the same transaction, and the next turn begins as that is durable.

Invariant: the prompt is durable before the model is called; a reply gets its place in the order when it is stored, under
the `control_epoch` its turn began with, or not at all; and what a caller is told of a turn is what the store says of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

import msgspec

from gigachat_server.chat.answers.answer import Answerer
from gigachat_server.chat.events.recorder import Events
from gigachat_server.chat.turns import reply, unanswered
from gigachat_server.chat.turns.control import Control
from gigachat_server.chat.turns.endings import fail_turn, replace_earlier
from gigachat_server.chat.turns.intake import Intake, IntakeResult, PromptRequest, may_end_turns, prompt_of
from gigachat_server.chat.turns.live import FrozenTurns, LiveTurns
from gigachat_server.chat.turns.nodes import Nodes
from gigachat_server.chat.turns.outcome import answered_with, read_outcome
from gigachat_server.chat.turns.progress import Turn, TurnResult
from gigachat_server.chat.turns.queue import MOST_QUEUED, OpenTurn, start, start_next
from gigachat_server.clock import Clock
from gigachat_server.errors import GigachatError, ModelEmpty, ModelError, ShuttingDown, StorageUnavailable
from gigachat_server.ids import new_id
from gigachat_server.models.base import HandoffRequest, Vector
from gigachat_server.records import UNSETTLED, Chatbot, Message
from gigachat_server.store import conversations, drafts, idempotency, messages
from gigachat_server.store.database import Database, Reader, Tx
from gigachat_server.triggers import trigger

T = TypeVar("T")

_log = logging.getLogger("gigachat.turn")

_LOOK_AGAIN_S = 1.0  # a wake-up may be missed
_REPLY_S = 10.0  # how long callers wait for a whole reply to be stored while the store is away
_FAILURE_S = 2.0  # and for a failure
_SETTLE_S = 30.0  # for so long it is tried all the same: by then the lease has run out, and whoever finds that goes on


class TurnHandle(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a request: a turn to watch, or, where nothing is to be waited for, the newest messages."""

    prompt: Message
    turn: Turn | None = None
    stored: TurnResult | None = None
    is_replayed: bool = False

    @property
    def replies(self) -> list[Message]:
        """Those that are stored already."""
        return [message for message in (self.stored.messages if self.stored else ()) if message.in_reply_to is not None]

    async def result(self) -> TurnResult:
        """Raises the `GigachatError` that the turn ended with."""
        if self.turn is not None:
            return await self.turn.result()
        return self.stored or TurnResult([self.prompt])


class Turns:
    """Takes prompts and sees each to its end."""

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
    ) -> None:
        self._database = database
        self._answerer = answerer
        self._intake = Intake(control=control, events=events, clock=clock)
        self._events = events
        self._live = live
        self._nodes = nodes
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()
        self._late: set[asyncio.Task[None]] = set()  # those that store what nobody waits for any more
        self._is_stopping = False

    # --- prompts in ---

    async def start(self, chatbot: Chatbot, request: PromptRequest, key: idempotency.Key | None = None) -> TurnHandle:
        """Store what was said. The turn that answers it runs by itself; without one the stored message is all there is.

        With a key that was used before, what came of it then. Raises `ConversationBusy`, `IdempotencyKeyReused`, `NotFound`.
        """

        async def store(live: FrozenTurns) -> tuple[IntakeResult, Turn]:
            turn = self._new_turn(chatbot, request.conversation_id, new_id())
            body = functools.partial(
                self._intake.store_prompt, chatbot=chatbot, request=request, key=key, prompt_id=turn.prompt_id, live=live
            )
            return await self._transact("turn.start", turn, body), turn

        if may_end_turns(chatbot, request):
            asked, turn = await self._nodes.while_frozen(chatbot.id, request.conversation_id, store)
        else:
            asked, turn = await store(FrozenTurns())
        return await self._go_on(chatbot, asked, turn, is_retry=False)

    async def retry(
        self, chatbot: Chatbot, conversation_id: str, message_id: str, key: idempotency.Key | None = None
    ) -> TurnHandle:
        """Have the prompt, or the prompt of that reply, answered anew. The replies it had stay readable.

        Raises `ConversationBusy`, `ConversationTakenOver`, `InvalidRequest`, `NotFound`.
        """

        async def read(reader: Reader) -> Message:
            return await prompt_of(reader, chatbot, conversation_id, message_id)

        prompt = await self._database.read(read)
        turn = self._new_turn(chatbot, conversation_id, prompt.id)
        body = functools.partial(
            self._intake.reopen, chatbot=chatbot, conversation_id=conversation_id, prompt_id=prompt.id, key=key
        )
        asked = await self._transact("turn.retry", turn, body)
        return await self._go_on(chatbot, asked, turn, is_retry=True)

    async def _transact(self, name: str, turn: Turn, body: Callable[[Tx], Awaitable[IntakeResult]]) -> IntakeResult:
        """Run the body that stores this turn's prompt, and then the turn. One that was not stored leaves no trace."""

        async def and_begin(tx: Tx) -> IntakeResult:
            asked = await body(tx)
            # After the commit, and before anyone else can learn of it: so nobody can end a turn that is not there yet.
            if not asked.is_known:
                tx.after_commit(functools.partial(self._begin, asked, turn))
            await trigger("S2")
            return asked

        try:
            return await self._database.transaction(name, and_begin)
        except Exception:
            self._live.discard(turn)
            raise  # a cancelled caller says nothing of the transaction: if it goes through, the turn begins

    def _begin(self, asked: IntakeResult, turn: Turn) -> None:
        if turn.is_ended:
            return  # by a transaction that came after its own, and of which we heard first
        if asked.opened is not None:
            self._run_soon(asked.opened, turn)
        elif asked.prompt.turn == "queued":
            self._follow_soon(asked.prompt, turn)

    async def _go_on(self, chatbot: Chatbot, asked: IntakeResult, turn: Turn, *, is_retry: bool) -> TurnHandle:
        """After its transaction: the turn that runs or waits, or what came of the prompt before."""
        if asked.is_known:
            self._live.discard(turn)
            return await self._replayed(chatbot, asked.prompt, is_retry=is_retry)
        if asked.prompt.turn not in UNSETTLED:
            self._live.discard(turn)
            return TurnHandle(prompt=asked.prompt)
        return TurnHandle(prompt=asked.prompt, turn=turn)

    async def _replayed(self, chatbot: Chatbot, prompt: Message, *, is_retry: bool) -> TurnHandle:
        """What came of a prompt that was stored before. A turn that failed is run again, for the same prompt."""
        turn = self._live.find(prompt.id)
        # A retry that failed is one even where the prompt has a reply from before.
        if turn is None and (prompt.turn == "failed" or (is_retry and prompt.error is not None)):
            turn = self._new_turn(chatbot, prompt.conversation_id, prompt.id)
            body = functools.partial(
                self._intake.reopen,
                chatbot=chatbot,
                conversation_id=prompt.conversation_id,
                prompt_id=prompt.id,
                key=None,
                only_if_failed=True,
            )
            again = await self._transact("turn.again", turn, body)
            if not again.is_known and again.prompt.turn in UNSETTLED:
                return TurnHandle(prompt=again.prompt, turn=turn, is_replayed=True)
            self._live.discard(turn)
            prompt, turn = again.prompt, self._live.find(prompt.id)
        if turn is None and prompt.turn in UNSETTLED:
            turn = self._new_turn(chatbot, prompt.conversation_id, prompt.id)
            self._follow_soon(prompt, turn)
        if turn is not None:
            return TurnHandle(prompt=prompt, turn=turn, is_replayed=True)
        outcome = await self._database.read(functools.partial(read_outcome, chatbot_id=chatbot.id, prompt_id=prompt.id))
        if isinstance(outcome, GigachatError):
            raise outcome
        return TurnHandle(prompt=prompt, stored=outcome, is_replayed=True)

    def _new_turn(self, chatbot: Chatbot, conversation_id: str, prompt_id: str) -> Turn:
        """In `LiveTurns` before anything of it is stored: whoever ends it in the store from then on finds it there."""
        turn = Turn(chatbot, conversation_id, prompt_id, [new_id() for _ in range(chatbot.config.response.n)])
        self._live.add(turn)
        return turn

    # --- running ---

    def resume(self, opened: OpenTurn) -> None:
        """See through a turn that the lease was handed on to. For `after_commit`, so that nobody can end it unnoticed."""
        turn = self._live.find(opened.prompt.id)
        self._run_soon(opened, turn or self._new_turn(opened.chatbot, opened.prompt.conversation_id, opened.prompt.id))

    def _run_soon(self, opened: OpenTurn, turn: Turn) -> None:
        self._take_up(opened, turn)
        turn.runner = self._keep_task(turn, self._run(opened, turn))

    def _take_up(self, opened: OpenTurn, turn: Turn) -> None:
        turn.chatbot, turn.prompt, turn.is_stored = opened.chatbot, opened.prompt, True
        turn.expect(opened.chatbot.config.response.n)
        turn.epoch, turn.start_seq = opened.epoch, opened.start_seq
        turn.began_at_s = asyncio.get_running_loop().time()

    def _follow_soon(self, prompt: Message, turn: Turn) -> None:
        turn.prompt, turn.is_stored = prompt, True
        self._keep_task(turn, self._follow(turn))

    def _keep_task(self, turn: Turn, running: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(running, name="turn")
        self._tasks.add(task)
        task.add_done_callback(functools.partial(self._forget_task, turn))
        return task

    def _forget_task(self, turn: Turn, task: asyncio.Task[None]) -> None:
        """It has ended; if a bug ended it, nobody waits for the turn any longer."""
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("the task of a turn failed", exc_info=error)
            turn.end(GigachatError())

    async def _run(self, opened: OpenTurn, turn: Turn) -> None:
        """See the turn to its end, whatever happens: the store knows how it ended before anyone is told."""
        try:
            if self._is_stopping:
                await self._leave(opened, turn)
                return
            await trigger("S3")
            if opened.chatbot.config.response.overlap == "coalesce":
                gathered = await self._gather(opened, turn)
                if gathered is None:
                    await self._follow(turn)
                    return
                opened, turn = gathered
            await self._answer(opened, turn)
        except GigachatError as error:
            await self._fail(opened, turn, error)
        except asyncio.CancelledError:
            if not turn.is_ended:  # or else it was cut off: whoever did that has seen to the rest
                await self._leave(opened, turn)
        except Exception:  # noqa: BLE001 - the edge of the turn's task: a bug must not leave its caller waiting
            _log.exception("turn failed")
            await self._fail(opened, turn, GigachatError())

    async def _gather(self, opened: OpenTurn, turn: Turn) -> tuple[OpenTurn, Turn] | None:
        """Wait until nothing more was said for a while; all that was said by then is one turn, that of the last prompt.

        None if the turn was ended elsewhere meanwhile.
        """
        wait_s = opened.chatbot.config.response.coalesce_ms / 1000
        for rounds_left in reversed(range(MOST_QUEUED)):  # a clock that jumps must not have it wait for ever
            await asyncio.sleep(wait_s)
            body = functools.partial(self._join_waiting, opened=opened, turn=turn, must_end=not rounds_left)
            gathered = await self._database.transaction("turn.gather", body)
            if not isinstance(gathered, float):
                break
            wait_s = gathered
        assert not isinstance(gathered, float)
        leader = None if gathered is None else self._live.find(gathered.prompt.id)
        return None if gathered is None or leader is None else (gathered, leader)

    async def _join_waiting(self, tx: Tx, *, opened: OpenTurn, turn: Turn, must_end: bool) -> OpenTurn | float | None:
        """Join what waits to this turn, if the last of it is old enough; else how long that takes, in seconds."""
        chatbot, prompt, now_us = opened.chatbot, opened.prompt, self._clock()
        held = await conversations.hold(tx, chatbot.id, prompt.conversation_id, control_epoch=opened.epoch, prompt_id=prompt.id)
        if not held:
            return None
        if await messages.list_replies(tx, prompt):
            return opened  # what was answered before is answered anew by itself
        unsettled = await messages.list_open(tx, chatbot.id, prompt.conversation_id)
        waiting = [each for each in unsettled if each.seq > prompt.seq and not await messages.list_replies(tx, each)]
        *joined, last = [prompt, *waiting]
        window_us = chatbot.config.response.coalesce_ms * 1000
        left_us = min(window_us, last.created_at + window_us - now_us)
        if left_us > 0 and not must_end and len(unsettled) <= MOST_QUEUED:
            return left_us / 1_000_000
        if not joined:
            return opened
        for each in joined:
            data = {"prompt_id": each.id, "with": last.id}
            place = await self._events.add(tx, chatbot.id, prompt.conversation_id, "turn.coalesced", data)
            await messages.set_turn(tx, chatbot.id, each.id, "coalesced", at=place.at)
        together = await start(tx, self._events, chatbot, last, now_us=now_us, joined=tuple(joined))
        tx.after_commit(lambda: self._lead(together, joined, turn))
        return together

    def _lead(self, opened: OpenTurn, joined: Sequence[Message], turn: Turn) -> None:
        """The last prompt's turn goes on for all of them, in the task that has waited."""
        leader = self._live.find(opened.prompt.id) or self._new_turn(
            opened.chatbot, opened.prompt.conversation_id, opened.prompt.id
        )
        self._take_up(opened, leader)
        leader.runner, turn.runner = turn.runner, None
        for each in joined:
            if (follower := self._live.find(each.id)) is not None:
                follower.follow(leader)

    async def _answer(self, opened: OpenTurn, turn: Turn) -> None:
        vector = await self._answerer.answer(opened, turn)
        replies = reply.replies(turn, unfinished="completed")
        if not replies:
            raise ModelEmpty  # an empty reply is never stored, and an answer is never an empty array
        stored = await self._store(opened, turn, replies, vector)
        if stored is None:
            await self._follow(turn)
        else:
            turn.end(TurnResult(stored, turn.vectors))

    async def _store(
        self, opened: OpenTurn, turn: Turn, replies: Sequence[Message], vector: Vector | None
    ) -> list[Message] | None:
        """The replies, durable and in their places (S8); None if the turn was ended elsewhere meanwhile."""
        prompt, chatbot_id, conversation_id = opened.prompt, opened.chatbot.id, opened.prompt.conversation_id
        kept_vector = None if vector is None else vector.astype("<f4").tobytes()

        async def body(tx: Tx) -> list[Message] | None:
            placed: list[Message] = []
            for each in replies:
                place = await conversations.advance(
                    tx,
                    chatbot_id,
                    conversation_id,
                    control_epoch=opened.epoch,
                    now_us=self._clock(),
                    is_last=len(placed) + 1 == len(replies),
                )
                if place is None:
                    return None  # so was the first: nothing is written yet
                placed.append(reply.placed(each, seq=place.seq, at=place.at))
                await self._events.add_message(tx, placed[-1])
            at = placed[-1].created_at
            # It is there: whoever deletes a prompt that is being answered raises the epoch.
            model = self._answerer.embedding_model
            await messages.finish_prompt(tx, chatbot_id, prompt.id, vector=kept_vector, embedding_model=model, at=at)
            is_anew = turn.start_seq != prompt.seq  # not the first time that it is answered, perhaps
            if is_anew:
                await replace_earlier(tx, self._events, prompt, placed[0])
            await unanswered.note(tx, self._events, turn, prompt, at=at, is_anew=is_anew)
            if turn.heard.handoff is not None:
                await self._request_handoff(tx, placed[0], turn.heard.handoff)
            if turn.drafted_to or is_anew:
                await drafts.delete(tx, chatbot_id, conversation_id, prompt.id)
            if place is not None and place.queued:
                await self._hand_on(tx, prompt)
            await trigger("S8")
            return placed

        return await self._settle("turn.finish", turn, body, or_else=StorageUnavailable(retry_after_s=1), after_s=_REPLY_S)

    async def _settle(
        self, name: str, turn: Turn, body: Callable[[Tx], Awaitable[T]], *, or_else: GigachatError, after_s: float
    ) -> T:
        """Store how the turn ended. While the store is away callers are told `or_else` in time, and it is stored later on."""
        turn.is_settling = True
        giving_up = asyncio.get_running_loop().call_later(after_s, self._give_up_waiting, turn, or_else)
        try:
            return await self._database.transaction(name, body, patience_s=_SETTLE_S)
        finally:
            giving_up.cancel()

    def _give_up_waiting(self, turn: Turn, error: GigachatError) -> None:
        if turn.runner is not None:
            self._late.add(turn.runner)
            turn.runner.add_done_callback(self._late.discard)
        turn.end(error)

    async def _request_handoff(self, tx: Tx, said: Message, wanted: HandoffRequest) -> None:
        if await conversations.request_handoff(tx, said.chatbot_id, said.conversation_id, at=said.created_at):
            data = {"reason": wanted.reason, "note": wanted.note, "message_id": said.id}
            await self._events.add(tx, said.chatbot_id, said.conversation_id, "handoff.requested", data)

    async def _hand_on(self, tx: Tx, ended: Message) -> None:
        following = await start_next(tx, self._events, ended.chatbot_id, ended.conversation_id, now_us=self._clock())
        if following is not None:
            tx.after_commit(functools.partial(self.resume, following))

    async def _leave(self, opened: OpenTurn, turn: Turn) -> None:
        """This node stops in the middle of the turn. Of which nothing was said yet, another one begins it anew."""
        error = ShuttingDown(retry_after_s=5)
        if turn.length or not (self._is_stopping and self._database.is_shared):
            await self._fail(opened, turn, error)
            return

        body = functools.partial(self._give_up_in, opened=opened)
        try:
            await self._settle("turn.leave", turn, body, or_else=error, after_s=_FAILURE_S)
        except StorageUnavailable as second:
            _log.error("cannot leave prompt %s to others: %s", opened.prompt.id, second)
        finally:
            turn.end(error)

    async def _give_up_in(self, tx: Tx, *, opened: OpenTurn) -> bool:
        """The turn is for whoever finds it first. Whether it had the lease until now."""
        prompt = opened.prompt
        await conversations.give_up(
            tx, prompt.chatbot_id, prompt.conversation_id, control_epoch=opened.epoch, prompt_id=prompt.id
        )
        tx.after_commit(self._nodes.tell_of_waiting)
        return True

    async def _fail(self, opened: OpenTurn, turn: Turn, error: GigachatError) -> None:
        """Settle the prompt as failed, with what was said in reply to it until then, and tell whoever waits."""
        if not isinstance(error, ModelError):
            _log.warning("turn ended with %s", error.code)
        is_ours = True
        try:
            is_ours = await self._store_failure(opened, turn, error)
        except GigachatError as second:
            _log.error("cannot mark prompt %s as failed: %s", opened.prompt.id, second)
        finally:
            if is_ours:
                turn.end(error)
        if not is_ours:
            await self._follow(turn)

    async def _store_failure(self, opened: OpenTurn, turn: Turn, error: GigachatError) -> bool:
        """Whether the turn still had the lease; it has it no longer.

        What cannot be stored of the reply, perhaps the very cause of the failure, is left out. If not even the failure can
        be stored, the lease runs out at once, so that the next prompt does not wait for it.
        """
        said = reply.replies(turn, unfinished="incomplete")
        with_reply = functools.partial(self._fail_in, opened=opened, said=said, error=error)
        without_reply = functools.partial(self._fail_in, opened=opened, said=[], error=error)
        give_up = functools.partial(self._give_up_in, opened=opened)
        for name, body in (("turn.fail", with_reply), ("turn.fail_unsaid", without_reply), ("turn.give_up", give_up)):
            try:
                is_ours = await self._settle(name, turn, body, or_else=error, after_s=_FAILURE_S)
            except StorageUnavailable:
                raise
            except Exception:  # noqa: BLE001 - the edge of the failure itself: a second one must not keep the lease
                _log.exception("%s of prompt %s", name, opened.prompt.id)
                continue
            turn.has_partial_reply = is_ours and bool(said) and body is with_reply
            return is_ours
        return True

    async def _fail_in(self, tx: Tx, *, opened: OpenTurn, said: Sequence[Message], error: GigachatError) -> bool:
        prompt = opened.prompt
        if not await conversations.hold(
            tx, prompt.chatbot_id, prompt.conversation_id, control_epoch=opened.epoch, prompt_id=prompt.id
        ):
            return False
        if (stored := await messages.find(tx, prompt.chatbot_id, prompt.id)) is not None:
            await fail_turn(tx, self._events, stored, said, error)
        await drafts.delete(tx, prompt.chatbot_id, prompt.conversation_id, prompt.id)
        await self._hand_on(tx, prompt)
        return True

    async def _follow(self, turn: Turn) -> None:
        """The turn is settled elsewhere: have it say what is said there, and end as the store says it ended, once it did."""
        with self._events.woken(turn.chatbot.id, turn.conversation_id) as woken:
            turn.when_ended(lambda _: woken.set())
            while not turn.is_ended:
                woken.clear()
                with contextlib.suppress(StorageUnavailable):  # it is asked again
                    outcome, said = await self._heard_elsewhere(turn)
                    for each in said:
                        turn.catch_up(*each)
                    if outcome is not None:
                        turn.end(outcome)
                        return
                if self._is_stopping:
                    turn.end(ShuttingDown(retry_after_s=5))
                    return
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_AGAIN_S):
                        await woken.wait()

    async def _heard_elsewhere(self, turn: Turn) -> tuple[TurnResult | GigachatError | None, list[tuple[int, str, str]]]:
        """How it ended, if it did; and of each reply its alternative, id and text so far."""
        chatbot_id, conversation_id = turn.chatbot.id, turn.conversation_id

        async def read(reader: Reader) -> tuple[TurnResult | GigachatError | None, list[tuple[int, str, str]]]:
            outcome = await read_outcome(reader, chatbot_id=chatbot_id, prompt_id=turn.prompt_id)
            if isinstance(outcome, TurnResult):
                replies = [message for message in outcome.messages if message.in_reply_to is not None]
                return outcome, [(message.alternative, message.id, message.content) for message in replies]
            if outcome is not None or turn.is_running or not self._database.is_shared:
                return outcome, []
            prompt = await answered_with(reader, await messages.find(reader, chatbot_id, turn.prompt_id))
            kept = await drafts.list_of(reader, chatbot_id, conversation_id)
            mine = [draft for draft in kept if prompt is not None and draft.prompt_id == prompt.id]
            return None, [(draft.alternative, draft.message_id, draft.content) for draft in mine]

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
            if turn.runner is not None:
                turn.runner.cancel()
        for task in self._late:
            task.cancel()
        while self._tasks:
            await asyncio.wait(set(self._tasks))
        for turn in self._live:
            if turn.is_stored:  # a task that was cancelled while it settled another turn cannot tell who waits for this one
                turn.end(ShuttingDown(retry_after_s=5))
