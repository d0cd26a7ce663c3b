"""How a prompt gets in: stored in its place, with the lease or behind the turn that holds it; or found to be in already.

Idea: one transaction decides everything about a request: whether its `Idempotency-Key` is new, which turns it ends, where it
stands, and whose turn it is. Invariant: nothing here runs or waits; the caller does what follows the commit (`Begin`).
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Literal

import msgspec

from gigachat_server.access.limits import Admission
from gigachat_server.access.speakers import CLIENT_PREFIX
from gigachat_server.chat.answers.memory import Recounted, first_answered_at, recall, recount
from gigachat_server.chat.events.recorder import Events
from gigachat_server.chat.ownership import Entry
from gigachat_server.chat.turns.control import Control
from gigachat_server.chat.turns.live import FrozenTurns
from gigachat_server.chat.turns.outcome import answered_with, joined_to
from gigachat_server.chat.turns.progress import Lease
from gigachat_server.chat.turns.proposing import may_be_proposed, supersede, want
from gigachat_server.chat.turns.queue import LEASE_US, MOST_QUEUED, lease
from gigachat_server.clock import Clock
from gigachat_server.errors import (
    ConversationBusy,
    ConversationTakenOver,
    FieldError,
    GigachatError,
    InvalidRequest,
    NotFound,
    PreviousResponseSuperseded,
)
from gigachat_server.records import (
    UNSETTLED,
    Chatbot,
    ConversationReopened,
    Message,
    TurnIntercepted,
    TurnQueued,
    TurnStarted,
    TurnState,
)
from gigachat_server.store import chatbots, conversations, idempotency, messages
from gigachat_server.store.conversations import BOT, Place
from gigachat_server.store.database import Reader, Tx
from gigachat_server.triggers import trigger

_REOPENED_AS: dict[TurnState, type[TurnStarted | TurnQueued | TurnIntercepted]] = {
    "running": TurnStarted,
    "queued": TurnQueued,
    "intercepted": TurnIntercepted,
}


class PromptRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What someone says in a conversation. `user_id` starts with `client:` if it is the client's staff.

    `recounted` is what the caller says was said before, for a conversation of which nothing is stored. `follows`: only if the
    newest reply is that to this prompt.
    """

    conversation_id: str
    user_id: str
    text: str
    metadata: dict[str, object]
    recounted: tuple[Recounted, ...] = ()
    follows: str | None = None
    entry: Entry | None = None  # of an end user who calls themselves

    @property
    def operator(self) -> str | None:
        """Who of the client's staff speaks, or None for an end user."""
        return self.user_id.removeprefix(CLIENT_PREFIX) if self.user_id.startswith(CLIENT_PREFIX) else None


class IntakeResult(msgspec.Struct, frozen=True, kw_only=True):
    """A message as it is stored; `lease` if it is a prompt whose turn it is now. `is_known`: it was stored before."""

    prompt: Message
    lease: Lease | None = None
    is_known: bool = False


# Called with what was stored once that is durable, unless it was known before.
Begin = Callable[[IntakeResult], None]


class Intake:
    """Stores prompts, and takes settled ones up again. For use within transactions."""

    def __init__(self, *, control: Control, events: Events, clock: Clock, suggestions_wanted: asyncio.Event) -> None:
        self._suggestions_wanted = suggestions_wanted
        self._control = control
        self._events = events
        self._clock = clock

    async def store_prompt(
        self,
        tx: Tx,
        *,
        chatbot: Chatbot,
        request: PromptRequest,
        key: idempotency.Key | None,
        prompt_id: str,
        live: FrozenTurns,
        begin: Begin,
        admission: Admission | None = None,
    ) -> IntakeResult:
        """Store the prompt in its place (S2). A key that was used before gives the prompt stored then.

        Raises `ConversationBusy`, `IdempotencyKeyReused`, `NotFound`, `RateLimited`.
        """
        now_us, conversation_id = self._clock(), request.conversation_id
        if request.entry is not None:
            await request.entry.prove(tx, chatbot.id, conversation_id)
        if key is not None and (known := await self._known(tx, chatbot, key, prompt_id, now_us)) is not None:
            return await _stored(tx, known, begin, admission)
        if admission is not None:
            admission.check()
        if chatbot.config.interception.release_after_minutes is not None:
            await self._control.release_due_in(tx, chatbot.id, conversation_id)
        if chatbot.config.response.overlap == "interrupt":
            # Its row has to be there to be held: of two that begin it at once, the second interrupts the first.
            await conversations.open_empty(tx, chatbot.id, conversation_id, now_us=now_us)
            await self._control.end_turns_in(tx, chatbot, conversation_id, "interrupted", live=live)
        taken = await conversations.open_for_prompt(
            tx,
            chatbot.id,
            conversation_id,
            user_id=request.user_id,
            prompt_id=prompt_id,
            lease_until=now_us + LEASE_US,
            most_queued=_most_queued(chatbot),
            now_us=now_us,
        )
        if taken is None:
            raise await _refusal(tx, chatbot)
        await _check_followed(tx, chatbot, request)
        place, chatbot = taken[0], await _in_force(tx, chatbot, taken[1])
        prompt = _message(chatbot, request, place, prompt_id, role="user", turn=_turn_state(place, prompt_id))
        await self._events.store_message(tx, prompt)
        if place.is_reopening:
            await self._events.add(tx, chatbot.id, conversation_id, ConversationReopened(reason="prompt"))
        if may_be_proposed(chatbot):
            await supersede(tx, self._events, chatbot.id, conversation_id, "interrupted")
            if prompt.turn == "intercepted" and chatbot.config.interception.suggest:
                await want(tx, prompt, control_epoch=place.control_epoch)
                tx.after_commit(self._suggestions_wanted.set)
        if prompt.turn != "running":
            return await _stored(tx, IntakeResult(prompt=prompt), begin)
        memory = recount(request.recounted, chatbot.config.response.memory_size)
        if place.seq > 1:
            memory = await recall(tx, chatbot, prompt, before=place.seq, control_epoch=place.control_epoch)
        return await _stored(tx, IntakeResult(prompt=prompt, lease=lease(chatbot, prompt, place, memory=memory)), begin)

    async def inject(
        self,
        tx: Tx,
        *,
        chatbot: Chatbot,
        request: PromptRequest,
        key: idempotency.Key | None,
        prompt_id: str,
        live: FrozenTurns,
        begin: Begin,
        admission: Admission | None = None,
    ) -> IntakeResult:
        """Store what an operator says, in its place. It is never answered, not even while the chatbot is in control.

        Raises `AlreadyTakenOver`, `IdempotencyKeyReused`, `NotFound`.
        """
        now_us, operator, conversation_id = self._clock(), request.operator or "", request.conversation_id
        if key is not None and (known := await self._known(tx, chatbot, key, prompt_id, now_us)) is not None:
            return await _stored(tx, known, begin, admission)
        conversation = await conversations.lock(tx, chatbot.id, conversation_id)
        if conversation is not None and conversation.controlled_by != BOT:
            release_at = self._control.release_at(chatbot)
            await conversations.extend_control(tx, chatbot.id, conversation_id, release_at=release_at)
        elif chatbot.config.interception.mode == "takeover":
            # What the chatbot had said until then stands before it.
            await conversations.open_empty(tx, chatbot.id, conversation_id, now_us=now_us)
            await self._control.take_over_in(tx, chatbot, conversation_id, operator, may_take_from=False, live=live)
        place = await conversations.open_and_advance(tx, chatbot.id, conversation_id, now_us=now_us, speaker="operator")
        if place is None:
            raise NotFound
        said = _message(chatbot, request, place, prompt_id, role="operator", turn=None)
        await self._events.store_message(tx, said)
        if place.is_reopening:
            await self._events.add(tx, chatbot.id, conversation_id, ConversationReopened(reason="operator"))
        return await _stored(tx, IntakeResult(prompt=said), begin)

    async def reopen(
        self,
        tx: Tx,
        *,
        chatbot: Chatbot,
        conversation_id: str,
        prompt_id: str,
        key: idempotency.Key | None,
        begin: Begin,
        only_if_failed: bool = False,
        admission: Admission | None = None,
        entry: Entry | None = None,
        recounted: tuple[Recounted, ...] = (),
    ) -> IntakeResult:
        """Have the prompt answered again: at once, or after those that are being answered. `recounted`: see `PromptRequest`."""
        now_us = self._clock()
        if entry is not None:
            await entry.prove(tx, chatbot.id, conversation_id)
        if key is not None and (known := await self._known(tx, chatbot, key, prompt_id, now_us)) is not None:
            return await _stored(tx, known, begin, admission)
        if admission is not None:
            admission.check()
        await conversations.lock(tx, chatbot.id, conversation_id)
        prompt = await messages.find(tx, chatbot.id, prompt_id)
        if prompt is None:
            raise NotFound
        if prompt.turn in UNSETTLED or (only_if_failed and prompt.error is None):
            return await _stored(tx, IntakeResult(prompt=prompt, is_known=True), begin, admission)
        await self._control.release_due_in(tx, chatbot.id, conversation_id)
        await supersede(tx, self._events, chatbot.id, conversation_id, "interrupted", but=prompt_id)
        taken = await conversations.open_for_prompt(
            tx,
            chatbot.id,
            conversation_id,
            user_id=prompt.user_id,
            prompt_id=prompt_id,
            lease_until=now_us + LEASE_US,
            most_queued=_most_queued(chatbot),
            now_us=now_us,
            is_new=False,
        )
        if taken is None:
            raise await _refusal(tx, chatbot)
        place, chatbot = taken[0], await _in_force(tx, chatbot, taken[1])
        state = _turn_state(place, prompt_id)
        if state == "intercepted" and not only_if_failed:
            raise ConversationTakenOver
        await self._events.add_at(tx, place, chatbot.id, conversation_id, _REOPENED_AS[state](prompt_id=prompt_id))
        await messages.set_turn(tx, chatbot.id, prompt_id, state, at=place.at)
        prompt = msgspec.structs.replace(prompt, turn=state, status="completed", error=None, updated_at=place.at)
        if state != "running":
            return await _stored(tx, IntakeResult(prompt=prompt), begin)
        before, joined = await first_answered_at(tx, prompt), await joined_to(tx, prompt)
        memory = await recall(tx, chatbot, prompt, before=before, control_epoch=place.control_epoch, without=joined)
        if recounted and not memory.messages:
            memory = recount(recounted, chatbot.config.response.memory_size)
        held = lease(chatbot, prompt, place, memory=memory, joined=joined)
        return await _stored(tx, IntakeResult(prompt=prompt, lease=held), begin)

    async def _known(self, tx: Tx, chatbot: Chatbot, key: idempotency.Key, prompt_id: str, now_us: int) -> IntakeResult | None:
        """The prompt that this key stands for already; None if it stands for this one from now on."""
        if isinstance(key, idempotency.ImplicitKey):
            if await idempotency.keep_implicit(tx, key, prompt_id, now_us=now_us):
                return None
            return await self._kept(tx, chatbot, key, now_us)
        if await idempotency.keep(tx, key, idempotency.IdempotencyRecord("turn", 201, prompt_id), now_us=now_us):
            return None
        return await self._kept(tx, chatbot, key, now_us)

    async def _kept(self, tx: Tx, chatbot: Chatbot, key: idempotency.Key, now_us: int) -> IntakeResult:
        kept = await idempotency.find(tx, key, now_us=now_us)
        prompt = await messages.find(tx, chatbot.id, kept.response) if kept else None
        if (prompt := await answered_with(tx, prompt)) is None:
            raise NotFound  # deleted since
        return IntakeResult(prompt=prompt, is_known=True)


async def _stored(tx: Tx, result: IntakeResult, begin: Begin, admission: Admission | None = None) -> IntakeResult:
    """Begin its turn after the commit, before anyone else can learn of it: so no turn is ended before it is there."""
    if not result.is_known:
        tx.after_commit(functools.partial(begin, result))
    elif admission is not None:
        tx.after_commit(admission.give_back)
    await trigger("S2")
    return result


async def _refusal(tx: Tx, chatbot: Chatbot) -> GigachatError:
    """The reason why the conversation takes no prompt."""
    if not await chatbots.exists(tx, chatbot.id):
        return NotFound()  # deleted while the request was on its way
    return ConversationBusy(retry_after_s=1)


async def _check_followed(tx: Tx, chatbot: Chatbot, request: PromptRequest) -> None:
    """Raises `PreviousResponseSuperseded` unless the newest reply is the one that the request goes on from, if it names one."""
    follows, conversation_id = request.follows, request.conversation_id
    if follows is not None and not await messages.is_last_replied(tx, chatbot.id, conversation_id, prompt_id=follows):
        raise PreviousResponseSuperseded


async def _in_force(tx: Tx, chatbot: Chatbot, version: tuple[int, int]) -> Chatbot:
    """The chatbot as this transaction sees it, whose version that is."""
    if version == chatbot.version:
        return chatbot
    return await chatbots.find(tx, chatbot.account_id, chatbot.id) or chatbot


def _message(
    chatbot: Chatbot,
    request: PromptRequest,
    place: Place,
    message_id: str,
    *,
    role: Literal["user", "operator"],
    turn: TurnState | None,
) -> Message:
    return Message(
        chatbot_id=chatbot.id,
        conversation_id=request.conversation_id,
        seq=place.seq,
        id=message_id,
        role=role,
        user_id=request.user_id,
        name=request.operator or "",
        content=request.text,
        status="completed",
        in_reply_to=None,
        alternative=0,
        replaced_by=None,
        turn=turn,
        metadata=request.metadata,
        sources=(),
        created_at=place.at,
        updated_at=place.at,
    )


def may_end_turns(chatbot: Chatbot, request: PromptRequest) -> bool:
    """Whether storing this may end what is being answered."""
    if request.operator is not None:
        return chatbot.config.interception.mode == "takeover"
    return chatbot.config.response.overlap == "interrupt"


def _most_queued(chatbot: Chatbot) -> int:
    return 0 if chatbot.config.response.overlap == "reject" else MOST_QUEUED


def _turn_state(place: Place, prompt_id: str) -> TurnState:
    if place.controlled_by != BOT:
        return "intercepted"
    return "running" if place.answering == prompt_id else "queued"


async def prompt_of(reader: Reader, chatbot: Chatbot, conversation_id: str, message_id: str) -> Message:
    """The prompt that this message is, or replies to."""
    message = await messages.find(reader, chatbot.id, message_id)
    if message is not None and message.in_reply_to is not None:
        message = await messages.find(reader, chatbot.id, message.in_reply_to)
    message = await answered_with(reader, message)
    if message is None or message.conversation_id != conversation_id:
        raise NotFound
    if message.role != "user":
        raise InvalidRequest(errors=(FieldError("message_id", "Only a prompt, or a reply to one, can be retried."),))
    return message
