"""What the nodes on one store have to agree on while a turn runs: who may still show its words.

Idea: the store decides what is stored, and it is fenced; but the node that runs a turn shows words that are not stored yet.
So whoever is about to end a turn of another node asks that node first to pause it: to show nothing more, and to keep as a
draft what it has shown. What then ends the turn in the store stores that draft. A node that does not answer in time is
taken for dead or stopped.

Invariants: a node shows words of a turn only while its event loop has run within the last `_STALE_S`, and while it hears
the others; otherwise it first asks the store whether the turn is still its own. And nobody waits less than `_PAUSE_S`,
which is longer, for an answer. So from when an ending is confirmed on any node, no other shows a word that came after it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from gigachat_server.chat.events.recorder import Events
from gigachat_server.chat.turns import reply
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
_STALE_S = 1.0
_PAUSE_S = 2.0
_ASK_AGAIN_S = 0.25  # a message may be lost
_PAUSED_S = 5.0  # how long a turn stays paused for somebody who then did nothing
_MOST_TRIES = 25  # each is lost to another that was stored: so many may end one conversation's turns at once


class Nodes:
    """This node among the others. Alone on its store, it has nobody to ask."""

    def __init__(self, database: Database, events: Events, live: LiveTurns, clock: Clock, background: Background) -> None:
        self._database = database
        self._events = events
        self._live = live
        self._clock = clock
        self._answers: dict[str, asyncio.Event] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._beat_at_s = 0.0
        self._beating = background.loop("heartbeat", self._beat, every_s=_BEAT_S, backoff=_BEAT_AGAIN, rests_first=True)
        self.when_waiting: Callable[[], None] = lambda: None  # prompts wait that nobody answers: another node left them

    def start(self, *, is_dormant: bool = False) -> None:
        """Also where `is_dormant`: a process that is no node runs turns, too."""
        if self._database.is_shared:
            self._database.on_told(self._told)
            self._beat_at_s = asyncio.get_running_loop().time()
            self._live.may_show = self._may_show
            self._beating.start()

    async def aclose(self) -> None:
        await self._beating.aclose()
        await cancel_all(self._tasks)

    # --- ending turns that other nodes may run ---

    async def while_frozen(self, chatbot_id: str, conversation_id: str, work: Callable[[FrozenTurns], Awaitable[T]]) -> T:
        """Do it while nobody shows more of the conversation's turns. Raises `ConversationBusy` if they begin too fast."""
        for _ in range(_MOST_TRIES):
            with self._live.frozen(chatbot_id, conversation_id) as frozen:
                if self._database.is_shared:
                    frozen.elsewhere = await self._pause_elsewhere(chatbot_id, conversation_id)
                with contextlib.suppress(TurnMovedOn):
                    return await work(frozen)
        raise ConversationBusy(retry_after_s=1)

    async def _pause_elsewhere(self, chatbot_id: str, conversation_id: str) -> frozenset[str]:
        """The prompt whose turn another node runs, once that has paused it or is not to be waited for; or nothing."""
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
        """This node leaves prompts behind that nobody answers any more."""
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
            self.when_waiting()
        elif kind == "chatbot":
            self._events.wake_all_here(rest)
            self._soon(self._reconcile([turn for turn in self._live if turn.is_running and turn.chatbot.id == rest]))
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
        """Show nothing more, keep what was shown, say so, and wait for what becomes of it."""
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
        """Keep what was shown until they were frozen; False if one of them is being ended as it is."""
        kept = [(turn, said) for turn in turns if (said := reply.drafts(turn, is_cut=True))]
        if not kept:
            return True
        for turn, _ in kept:
            turn.drafted_to = max(turn.drafted_to, 1)  # before it is so: one that ends meanwhile must know that it has a draft

        async def body(tx: Tx) -> bool:
            return all(
                [await drafts.put(tx, draft, control_epoch=turn.epoch, must_wait=True) for turn, said in kept for draft in said]
            )

        return await self._database.transaction("turn.pause", body)

    async def _reconcile(self, turns: Sequence[Turn]) -> None:
        """Turns that are not ours any more end here as they ended there."""
        for turn in turns:
            with contextlib.suppress(StorageUnavailable):  # the lease is renewed, or is lost, later on
                await self._reconcile_one(turn)

    async def _reconcile_one(self, turn: Turn) -> None:
        chatbot_id, conversation_id = turn.chatbot.id, turn.conversation_id
        is_ours, outcome = True, None

        async def read(reader: Reader) -> tuple[bool, TurnResult | GigachatError | None]:
            found = await conversations.find(reader, chatbot_id, conversation_id)
            if found is not None and (found.control_epoch, found.answering) == (turn.epoch, turn.prompt_id):
                return True, None
            return False, await read_outcome(reader, chatbot_id=chatbot_id, prompt_id=turn.prompt_id)

        is_ours, outcome = await self._database.read(read)
        if is_ours or turn.is_settling:
            return
        if outcome is not None:
            turn.cut(outcome)
        elif turn.runner is not None:
            turn.runner.cancel()  # somebody else answers it now: it waits for what they make of it

    # --- whether this node may show anything ---

    def _may_show(self) -> bool:
        return asyncio.get_running_loop().time() - self._beat_at_s < _STALE_S and self._database.hears

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        if self._may_show():
            self._beat_at_s = loop.time()
        elif self._database.hears:
            # This process stood still, or was deaf: what it missed comes before anything is shown.
            await self._reconcile([turn for turn in self._live if turn.is_running])
            self._beat_at_s = loop.time()
            for turn in self._live:
                turn.wake_watchers()

    def _soon(self, work: Coroutine[Any, Any, None]) -> None:
        task = observed(work, name="nodes")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _end_of(turn: Turn) -> None:
    with contextlib.suppress(GigachatError):
        await turn.result()
