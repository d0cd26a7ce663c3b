"""What the nodes on one store have to agree on while a turn runs: who may still show its words.

Idea: the store decides what is stored, and it is fenced; but the node that runs a turn shows words that are not stored yet.
So a node that is about to end another node's turn first asks that node to pause it: to show nothing more, and to keep as a
draft what it has shown. The transaction that then ends the turn stores that draft. A node that does not answer in time counts
as dead or stopped.

Invariants: a node shows words of a turn only while its event loop runs and it hears the others (`heartbeat.py`); otherwise it
first asks the store whether the turn is still its own. And every node waits at least `_PAUSE_S` for an answer, longer than a
heart may stand still. So once an ending is confirmed on any node, no other shows a word that came after it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from gigachat_server.chat.events.recorder import Events
from gigachat_server.chat.turns import reply
from gigachat_server.chat.turns.heartbeat import Heartbeat
from gigachat_server.chat.turns.live import FrozenTurns, LiveTurns, TurnMovedOn
from gigachat_server.chat.turns.outcome import read_outcome
from gigachat_server.chat.turns.progress import Turn, TurnResult
from gigachat_server.clock import Clock
from gigachat_server.errors import ConversationBusy, GigachatError, StorageUnavailable
from gigachat_server.ids import random_text
from gigachat_server.store import conversations, drafts
from gigachat_server.store.database import Database, Reader, Tx
from gigachat_server.work.background import Background
from gigachat_server.work.pace import Backoff
from gigachat_server.work.tasks import cancel_all, observed

T = TypeVar("T")

_BEAT_S = 0.1
_BEAT_AGAIN = Backoff(first_s=0.1, longest_s=1.0)
_PAUSE_S = 2.0
_ASK_AGAIN_S = 0.25  # a message may be lost
_PAUSED_S = 5.0  # how long a turn stays paused if its ending never comes
_MOST_TRIES = 25  # each is lost to another that was stored: so many may end one conversation's turns at once


class Nodes:
    """This node among the others. A node that is alone on its store asks nothing."""

    def __init__(
        self,
        database: Database,
        events: Events,
        live: LiveTurns,
        clock: Clock,
        background: Background,
        *,
        heartbeat: Heartbeat,
        prompts_wait: asyncio.Event,
    ) -> None:
        """`prompts_wait` is set when another node leaves prompts behind."""
        self._database = database
        self._events = events
        self._live = live
        self._clock = clock
        self._answers: dict[str, asyncio.Event] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._beating = background.loop("heartbeat", self._beat, every_s=_BEAT_S, backoff=_BEAT_AGAIN, rests_first=True)
        self._heartbeat = heartbeat
        self._prompts_wait = prompts_wait

    def start(self, *, is_dormant: bool = False) -> None:
        """Also where `is_dormant`: a process that is no node runs turns, too."""
        if self._database.is_shared:
            self._database.on_told(self._told)
            self._heartbeat.beat()
            self._beating.start()

    async def aclose(self) -> None:
        await self._beating.aclose()
        await cancel_all(self._tasks)

    # --- ending turns that other nodes may run ---

    async def while_frozen(self, chatbot_id: str, conversation_id: str, work: Callable[[FrozenTurns], Awaitable[T]]) -> T:
        """Do the work while no node shows more of the conversation's turns.

        Raises `ConversationBusy` if turns begin faster than they can be frozen.
        """
        for _ in range(_MOST_TRIES):
            with self._live.frozen(chatbot_id, conversation_id) as frozen:
                if self._database.is_shared:
                    frozen.elsewhere = await self._pause_elsewhere(chatbot_id, conversation_id)
                with contextlib.suppress(TurnMovedOn):
                    return await work(frozen)
        raise ConversationBusy(retry_after_s=1)

    async def _pause_elsewhere(self, chatbot_id: str, conversation_id: str) -> frozenset[str]:
        """The prompt whose turn another node runs, once that node has paused it or has taken too long; or nothing."""
        loop = asyncio.get_running_loop()
        token, give_up_at = random_text(12), loop.time() + _PAUSE_S
        paused = self._answers[token] = asyncio.Event()
        try:
            while True:
                answering = await self._answered_elsewhere(chatbot_id, conversation_id)
                if answering is None:
                    return frozenset()
                if paused.is_set() or loop.time() > give_up_at:
                    return frozenset((answering,))
                self._database.tell(f"pause {token} {chatbot_id} {conversation_id}")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_ASK_AGAIN_S):
                        await paused.wait()
        finally:
            del self._answers[token]

    async def _answered_elsewhere(self, chatbot_id: str, conversation_id: str) -> str | None:
        async def read(reader: Reader) -> str | None:
            return await conversations.find_answering(reader, chatbot_id, conversation_id, now_us=self._clock())

        answering = await self._database.read(read)
        running = self._live.running(chatbot_id, conversation_id)
        return None if answering is None or (running is not None and running.prompt_id == answering) else answering

    def tell_of_waiting(self) -> None:
        """Tell the other nodes that this one leaves prompts behind."""
        self._database.tell("waiting")

    # --- what other nodes tell ---

    def _told(self, topic: str | None) -> None:
        if topic is None:  # we may have missed something
            self._events.wake_all_here()
            self._soon(self._reconcile([turn for turn in self._live if turn.is_running]))
            return
        kind, _, rest = topic.partition(" ")
        if kind == "paused":
            if (answer := self._answers.get(rest)) is not None:
                answer.set()
        elif kind == "waiting":
            self._prompts_wait.set()
        elif kind == "chatbot":
            self._events.wake_all_here(rest)
            self._soon(self._reconcile([turn for turn in self._live if turn.is_running and turn.chatbot_id == rest]))
        elif kind == "conversation":
            chatbot_id, _, conversation_id = rest.partition(" ")
            self._events.wake_here(chatbot_id, conversation_id)
            if (turn := self._live.running(chatbot_id, conversation_id)) is not None:
                self._soon(self._reconcile([turn]))
        elif kind == "pause":
            token, chatbot_id, conversation_id = rest.split(" ", 2)
            if self._live.running(chatbot_id, conversation_id) is not None:
                self._soon(self._pause(token, chatbot_id, conversation_id))

    async def _pause(self, token: str, chatbot_id: str, conversation_id: str) -> None:
        """Show nothing more, keep what was shown, say so, and wait for the ending."""
        with self._live.frozen(chatbot_id, conversation_id) as frozen:
            with contextlib.suppress(StorageUnavailable):
                if await self._keep_drafts([turn for turn in frozen.turns if turn.is_running]):
                    self._database.tell(f"paused {token}")
            ends = [asyncio.ensure_future(_end_of(turn)) for turn in frozen.turns]
            if ends:
                await asyncio.wait(ends, timeout=_PAUSED_S, return_when=asyncio.FIRST_COMPLETED)
            for end in ends:
                end.cancel()

    async def _keep_drafts(self, turns: Sequence[Turn]) -> bool:
        """Keep what was shown before they were frozen; False if one of them is already ending."""
        kept = [
            (lease, said)
            for turn in turns
            if (lease := turn.lease) is not None and (said := reply.drafts(turn.speech.shown(), lease.prompt))
        ]
        if not kept:
            return True
        for lease, _ in kept:
            lease.drafted_to = max(lease.drafted_to, 1)  # before it is so: one that ends meanwhile must know that it has a draft

        async def body(tx: Tx) -> bool:
            return all(
                [await drafts.put(tx, draft, control_epoch=lease.epoch, must_wait=True) for lease, said in kept for draft in said]
            )

        return await self._database.transaction("turn.pause", body)

    async def _reconcile(self, turns: Sequence[Turn]) -> None:
        """End turns that are not ours any more the way they ended elsewhere."""
        for turn in turns:
            with contextlib.suppress(StorageUnavailable):  # the lease is renewed, or is lost, later on
                await self._reconcile_one(turn)

    async def _reconcile_one(self, turn: Turn) -> None:
        chatbot_id, conversation_id, lease = turn.chatbot_id, turn.conversation_id, turn.lease
        if lease is None:
            return

        async def read(reader: Reader) -> tuple[bool, TurnResult | GigachatError | None]:
            found = await conversations.find(reader, chatbot_id, conversation_id)
            if found is not None and (found.control_epoch, found.answering) == (lease.epoch, turn.prompt_id):
                return True, None
            return False, await read_outcome(reader, chatbot_id=chatbot_id, prompt_id=turn.prompt_id)

        is_ours, outcome = await self._database.read(read)
        if is_ours or lease.is_settling:
            return
        if outcome is not None:
            turn.cut(outcome)
        elif lease.runner is not None:
            lease.runner.cancel()  # another node answers it now: wait for that reply

    async def _beat(self) -> None:
        if self._heartbeat.may_show():
            self._heartbeat.beat()
        elif self._database.hears:
            # This process stood still, or was deaf: what it missed comes before anything is shown.
            await self._reconcile([turn for turn in self._live if turn.is_running])
            self._heartbeat.beat()
            for turn in self._live:
                turn.speech.wake_watchers()

    def _soon(self, work: Coroutine[Any, Any, None]) -> None:
        task = observed(work, name="nodes")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _end_of(turn: Turn) -> None:
    with contextlib.suppress(GigachatError):
        await turn.result()
