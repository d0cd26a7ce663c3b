"""What keeps turns alive and cleans up behind those that died.

Idea: the node that runs a turn keeps saying so in the store: it renews the lease, and keeps what has been said as a draft.
So a turn whose process was killed, or froze, is found by its lease, and the first node that finds it takes it up.
Invariants: a draft never outlives its turn; what was shown of a reply becomes an `incomplete` message; a prompt that got no
word in reply is answered after all, unless that has failed before in the same way.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import Awaitable, Callable, Sequence

from gigachat_server.chat.events.recorder import Events
from gigachat_server.chat.turns import reply
from gigachat_server.chat.turns.control import Control
from gigachat_server.chat.turns.endings import fail_abandoned_turn, fail_unread_turns
from gigachat_server.chat.turns.live import LiveTurns
from gigachat_server.chat.turns.progress import Lease, Turn
from gigachat_server.chat.turns.queue import LEASE_US, start_next
from gigachat_server.chat.turns.turn import Turns
from gigachat_server.clock import Clock
from gigachat_server.errors import InvalidRequest, ReplyCutOff, StorageUnavailable
from gigachat_server.records import Chatbot, Message, TurnRecovered
from gigachat_server.store import chatbots, conversations, drafts, events, idempotency, messages
from gigachat_server.store.database import Database, Reader, Tx
from gigachat_server.work.background import Background
from gigachat_server.work.loop import Loop
from gigachat_server.work.pace import Backoff

DRAFT_AFTER_S = 0.25  # most replies are whole by then and need no draft
_DRAFT_EVERY_S = 0.25
_RENEW_EVERY_S = 10.0
_TAKE_UP_EVERY_S = 1.0
_RELEASE_EVERY_S = 5.0
_FORGET_EVERY_S = 600.0
_SOON = Backoff(first_s=0.5, longest_s=4.0)  # those who wait for a reply wait for this as well, and leases run out
_LEFT_ALONE_S = 60.0  # what could not be settled is not tried again before
_MOST_RECOVERIES = 1  # a prompt that brings its process down must not do so for ever
_MOST_TAKEN_UP = 64  # conversations at once: a start behind thousands must not call the model for all of them

_log = logging.getLogger("gigachat.lifecycle")


class Lifecycle:
    """The background work of turns."""

    def __init__(
        self,
        database: Database,
        *,
        turns: Turns,
        control: Control,
        events: Events,
        live: LiveTurns,
        clock: Clock,
        background: Background,
        prompts_wait: asyncio.Event,
    ) -> None:
        """`prompts_wait` is set when another node leaves prompts behind."""
        self._database = database
        self._turns = turns
        self._events = events
        self._live = live
        self._clock = clock
        self._taken_up: set[tuple[str, str]] = set()  # conversations in which a turn may run that was abandoned
        self._left_alone: dict[tuple[str, str], float] = {}  # those that cannot even be given up, and until when

        def soon(name: str, body: Callable[[], Awaitable[None]], every_s: float, wake: asyncio.Event | None = None) -> Loop:
            return background.loop(name, body, every_s=every_s, backoff=_SOON, rests_first=True, wake=wake)

        self._own = (
            soon("drafts", self.keep_drafts, _DRAFT_EVERY_S),
            soon("turn-leases", self.renew_leases, _RENEW_EVERY_S),
        )
        self._for_everyone = (
            soon("recovery", self.recover, _TAKE_UP_EVERY_S, prompts_wait),
            soon("releases", control.release_due, _RELEASE_EVERY_S),
            background.loop("idempotency-keys", self.forget, every_s=_FORGET_EVERY_S, rests_first=True),
        )

    def start(self, *, is_dormant: bool = False) -> None:
        """`is_dormant`: this process is no node, and takes care of its own turns alone."""
        for loop in self._own if is_dormant else (*self._own, *self._for_everyone):
            loop.start()

    async def aclose(self) -> None:
        for loop in (*self._own, *self._for_everyone):
            await loop.aclose()

    async def keep_drafts(self) -> None:
        """Keep what running turns have said since they were last kept."""
        now_s = asyncio.get_running_loop().time()
        talking = [
            (turn, lease)
            for turn in self._live
            if turn.is_running
            and (lease := turn.lease) is not None
            and not turn.speech.is_concealed
            and turn.speech.length > lease.drafted_to
            and now_s - lease.began_at_s >= DRAFT_AFTER_S
        ]
        if not talking:
            return
        # One after the other by their ids, as their leases are renewed: two that wait for each other would both lose time.
        talking.sort(key=lambda talker: _by_conversation(talker[0]))
        try:
            await self._keep_drafts_of(talking)
        except InvalidRequest:  # the store cannot hold what one of them says, which is no reason to lose the others'
            for talker in talking:
                with contextlib.suppress(InvalidRequest):
                    await self._keep_drafts_of([talker])

    async def _keep_drafts_of(self, talking: Sequence[tuple[Turn, Lease]]) -> None:
        kept = [(turn, lease, reply.drafts(turn.speech.so_far(), lease.prompt), lease.drafted_to) for turn, lease in talking]
        for turn, lease in talking:
            lease.drafted_to = turn.speech.length  # before it is so: a turn that ends meanwhile must know that it has a draft

        async def body(tx: Tx) -> list[bool]:
            return [all([await drafts.put(tx, draft, control_epoch=lease.epoch) for draft in said]) for _, lease, said, _ in kept]

        try:
            are_kept = await self._database.transaction("turn.draft", body)
        except BaseException:
            for _, lease, _, before in kept:
                lease.drafted_to = max(before, 1)  # it is tried again, and may be stored already
            raise
        for (turn, lease, _, before), is_kept in zip(kept, are_kept, strict=True):
            if is_kept:
                self._events.wake_elsewhere(turn.chatbot_id, turn.conversation_id)
            else:
                lease.drafted_to = before

    async def renew_leases(self) -> None:
        running = sorted(map(_by_conversation, filter(_is_running, self._live)))
        if not running:
            return

        async def body(tx: Tx) -> None:
            await conversations.renew_leases(tx, running, lease_until=self._clock() + LEASE_US)

        await self._database.transaction("turn.renew", body)

    async def recover(self, *, is_only_process: bool = False) -> None:
        """Take up abandoned prompts, as many as there is room for; the rest as those are answered.

        A process that is the only one need not wait for leases to run out.
        """
        if is_only_process:
            await self._database.transaction("turn.end_leases", conversations.end_leases)

        async def read(reader: Reader) -> list[tuple[str, str, int]]:
            return await conversations.list_abandoned(reader, now_us=self._clock())

        abandoned = [found for found in await self._database.read(read) if self._is_to_be_taken_up(*found[:2])]
        while some := abandoned[: self._room()]:
            abandoned = abandoned[len(some) :]
            await self._take_up(some)

    def _is_to_be_taken_up(self, chatbot_id: str, conversation_id: str) -> bool:
        is_running = self._live.running(chatbot_id, conversation_id) is not None
        left_until = self._left_alone.get((chatbot_id, conversation_id), 0.0)
        return not is_running and asyncio.get_running_loop().time() >= left_until

    def _room(self) -> int:
        """How many more may be taken up now: what is settled without a model leaves room at once."""
        self._taken_up = {each for each in self._taken_up if self._live.running(*each) is not None}
        return max(0, _MOST_TAKEN_UP - len(self._taken_up))

    async def _take_up(self, abandoned: list[tuple[str, str, int]]) -> None:
        """Whatever becomes of one keeps neither the others nor the server down, unless nothing can be stored at all."""
        outcomes = await asyncio.gather(*(self._recover_one(*found) for found in abandoned), return_exceptions=True)
        self._taken_up.update(found[:2] for found in abandoned)
        left = [found for found, outcome in zip(abandoned, outcomes, strict=True) if outcome is not None]
        for found, outcome in zip(abandoned, outcomes, strict=True):
            if isinstance(outcome, StorageUnavailable):
                raise outcome
            if outcome is None:
                self._left_alone.pop(found[:2], None)
            else:
                self._left_alone[found[:2]] = asyncio.get_running_loop().time() + _LEFT_ALONE_S
                _log.error("a conversation of chatbot %s stays as it is for a minute", found[0], exc_info=outcome)
        await asyncio.gather(*(self._pass_over(*found) for found in left), return_exceptions=True)

    async def _recover_one(self, chatbot_id: str, conversation_id: str, lease_was: int) -> None:
        async def body(tx: Tx) -> None:
            await self._recover_in(tx, chatbot_id=chatbot_id, conversation_id=conversation_id, lease_was=lease_was)

        async def give_up(tx: Tx) -> None:
            await self._give_up_in(tx, chatbot_id=chatbot_id, conversation_id=conversation_id, lease_was=lease_was)

        try:
            await self._database.transaction("turn.recover", body)
        except StorageUnavailable:
            raise
        except Exception:  # noqa: BLE001 - one conversation that cannot be read must not keep the others, or the server, down
            _log.exception("a conversation of chatbot %s cannot be taken up: its turns fail", chatbot_id)
            await self._database.transaction("turn.give_up", give_up)

    async def _give_up_in(self, tx: Tx, *, chatbot_id: str, conversation_id: str, lease_was: int) -> None:
        """Settle what is open as failed, without a look at what was said."""
        if await conversations.raise_epoch(tx, chatbot_id, conversation_id, lease_was=lease_was) is None:
            return
        await fail_unread_turns(tx, self._events, chatbot_id, conversation_id, ReplyCutOff(retry_after_s=1))
        await conversations.hand_on(tx, chatbot_id, conversation_id, prompt_id=None, lease_until=None)

    async def _pass_over(self, chatbot_id: str, conversation_id: str, lease_was: int) -> None:
        """The next prompt that waits has its turn, though the one before it is not settled."""

        async def body(tx: Tx) -> None:
            if await conversations.raise_epoch(tx, chatbot_id, conversation_id, lease_was=lease_was) is None:
                return
            following = await start_next(tx, self._events, chatbot_id, conversation_id, now_us=self._clock())
            if following is not None:
                tx.after_commit(functools.partial(self._turns.resume, following))

        await self._database.transaction("turn.pass_over", body)

    async def _recover_in(self, tx: Tx, *, chatbot_id: str, conversation_id: str, lease_was: int) -> None:
        if await conversations.raise_epoch(tx, chatbot_id, conversation_id, lease_was=lease_was) is None:
            return  # somebody else was first
        chatbot = await chatbots.find_of_any_account(tx, chatbot_id)
        if chatbot is None:
            return
        for prompt in await messages.list_open(tx, chatbot_id, conversation_id):
            if prompt.turn == "running":
                await self._settle(tx, chatbot, prompt)
        following = await start_next(tx, self._events, chatbot_id, conversation_id, now_us=self._clock())
        if following is not None:
            tx.after_commit(functools.partial(self._turns.resume, following))
        tx.after_commit(lambda: _log.info("took up an abandoned conversation of chatbot %s", chatbot_id))

    async def _settle(self, tx: Tx, chatbot: Chatbot, prompt: Message) -> None:
        """Store what was said in reply to it, or have it answered once more."""
        kept = await drafts.list_of(tx, chatbot.id, prompt.conversation_id)
        was_shown = any(draft.prompt_id == prompt.id for draft in kept)
        recoveries = await events.list_of_types(tx, chatbot.id, prompt.conversation_id, ("turn.recovered",), after=prompt.seq)
        count = sum(event.prompt_id == prompt.id for event in recoveries)
        if was_shown or count >= _MOST_RECOVERIES:
            await fail_abandoned_turn(tx, self._events, prompt, ReplyCutOff(retry_after_s=1), chatbot_name=chatbot.name)
            return
        place = await self._events.add(tx, chatbot.id, prompt.conversation_id, TurnRecovered(prompt_id=prompt.id))
        await messages.set_turn(tx, chatbot.id, prompt.id, "queued", at=place.at)

    async def forget(self) -> None:
        """What idempotency keys stand for is kept for a day."""

        async def body(tx: Tx) -> None:
            await idempotency.delete_old(tx, now_us=self._clock())

        await self._database.transaction("idempotency.forget", body)


def _is_running(turn: Turn) -> bool:
    return turn.is_running


def _by_conversation(turn: Turn) -> tuple[str, str, str]:
    return turn.chatbot_id, turn.conversation_id, turn.prompt_id
