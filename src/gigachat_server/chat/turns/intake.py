"""How a prompt gets in: stored in its place, with the lease or behind whoever has it; or found to be in already.

Idea: all that a request decides, it decides within one transaction: whether its `Idempotency-Key` is new, what it ends,
where it stands, and whose turn it is. Invariant: nothing here runs or waits; what is to happen once it is durable, the
caller is told (`IntakeResult`).
"""

from __future__ import annotations

import msgspec

from gigachat_server.access.speakers import CLIENT_PREFIX
from gigachat_server.chat.answers.memory import Memory, first_answered_at, recall
from gigachat_server.chat.events.recorder import Events
from gigachat_server.chat.turns.control import Control
from gigachat_server.chat.turns.live import FrozenTurns
from gigachat_server.chat.turns.outcome import answered_with, joined_to
from gigachat_server.chat.turns.queue import LEASE_US, MOST_QUEUED, OpenTurn
from gigachat_server.clock import Clock
from gigachat_server.errors import ConversationBusy, ConversationTakenOver, FieldError, InvalidRequest, NotFound
from gigachat_server.records import UNSETTLED, Chatbot, EventType, Message, Overlap, TurnState
from gigachat_server.store import chatbots, conversations, idempotency, messages
from gigachat_server.store.conversations import BOT, Place
from gigachat_server.store.database import Reader, Tx

_REOPENED_AS: dict[TurnState, EventType] = {
    "running": "turn.started",
    "queued": "turn.queued",
    "intercepted": "turn.intercepted",
}


class PromptRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What someone says in a conversation. `user_id` starts with `client:` if it is the client's staff."""

    conversation_id: str
    user_id: str
    text: str
    metadata: dict[str, object]

    @property
    def operator(self) -> str | None:
        """Who of the client's staff speaks, or None for an end user."""
        return self.user_id.removeprefix(CLIENT_PREFIX) if self.user_id.startswith(CLIENT_PREFIX) else None


class IntakeResult(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt as it is stored; `opened` if it is its turn now. `is_known`: it was stored before, by the same request."""

    prompt: Message
    opened: OpenTurn | None = None
    is_known: bool = False


class Intake:
    """Stores prompts, and takes settled ones up again. For use within transactions."""

    def __init__(self, *, control: Control, events: Events, clock: Clock) -> None:
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
    ) -> IntakeResult:
        """The prompt in its place, and whether it is its turn (S2); with a key that was used before, the prompt of then.

        Raises `AlreadyTakenOver`, `ConversationBusy`, `IdempotencyKeyReused`, `NotFound`.
        """
        now_us = self._clock()
        if key is not None and (asked := await self._kept_before(tx, chatbot, key, prompt_id, now_us)) is not None:
            return asked
        operator = request.operator
        await self._make_room(tx, chatbot, request, live)
        place, chatbot = await self._place(tx, chatbot, request, prompt_id, now_us)
        prompt = Message(
            chatbot_id=chatbot.id,
            conversation_id=request.conversation_id,
            seq=place.seq,
            id=prompt_id,
            role="user" if operator is None else "operator",
            user_id=request.user_id,
            name=operator or "",
            content=request.text,
            status="completed",
            in_reply_to=None,
            alternative=0,
            replaced_by=None,
            turn=None if operator is not None else _turn_state(place, prompt_id),
            metadata=request.metadata,
            sources=(),
            created_at=place.at,
            updated_at=place.at,
        )
        await self._events.add_message(tx, prompt)
        if prompt.turn != "running":
            return IntakeResult(prompt=prompt)
        return IntakeResult(prompt=prompt, opened=await self._opened(tx, chatbot, prompt, place, before=place.seq))

    async def _make_room(self, tx: Tx, chatbot: Chatbot, request: PromptRequest, live: FrozenTurns) -> None:
        """What has to end before this is said, ends; so that what the chatbot had said until then stands before it."""
        conversation_id, interception = request.conversation_id, chatbot.config.interception
        if request.operator is not None:
            found = await conversations.lock(tx, chatbot.id, conversation_id)
            if found is not None and found.controlled_by != BOT:
                release_at = self._control.release_at(chatbot)
                await conversations.extend_control(tx, chatbot.id, conversation_id, release_at=release_at)
            elif interception.mode == "takeover":
                await conversations.open_empty(tx, chatbot.id, conversation_id, now_us=self._clock())
                await self._control.take_over_in(tx, chatbot, conversation_id, request.operator, may_take_from=False, live=live)
            return
        if interception.release_after_minutes is not None:
            await self._control.release_due_in(tx, chatbot.id, conversation_id)
        if chatbot.config.response.overlap == "interrupt":
            # Its row has to be there to be held: of two that begin it at once, the second interrupts the first.
            await conversations.open_empty(tx, chatbot.id, conversation_id, now_us=self._clock())
            await self._control.end_turns_in(tx, chatbot, conversation_id, "interrupted", live=live)

    async def _place(
        self, tx: Tx, chatbot: Chatbot, request: PromptRequest, prompt_id: str, now_us: int
    ) -> tuple[Place, Chatbot]:
        conversation_id = request.conversation_id
        if request.operator is None:
            return await self._take_place(tx, chatbot, conversation_id, request.user_id, prompt_id, now_us)
        place = await conversations.open_and_advance(tx, chatbot.id, conversation_id, user_id=None, now_us=now_us)
        if place is None:
            raise NotFound
        return place, chatbot

    async def _take_place(
        self, tx: Tx, chatbot: Chatbot, conversation_id: str, user_id: str, prompt_id: str, now_us: int
    ) -> tuple[Place, Chatbot]:
        """For a prompt; and the chatbot as it is in this transaction."""
        taken = await conversations.open_for_prompt(
            tx,
            chatbot.id,
            conversation_id,
            user_id=user_id,
            prompt_id=prompt_id,
            lease_until=now_us + LEASE_US,
            most_queued=_most_queued(chatbot.config.response.overlap),
            now_us=now_us,
        )
        if taken is None:
            if not await chatbots.exists(tx, chatbot.id):
                raise NotFound  # deleted while the request was on its way
            raise ConversationBusy(retry_after_s=1)
        place, version = taken
        if version == chatbot.version:
            return place, chatbot
        return place, await chatbots.find(tx, chatbot.account_id, chatbot.id) or chatbot

    async def _kept_before(
        self, tx: Tx, chatbot: Chatbot, key: idempotency.Key, prompt_id: str, now_us: int
    ) -> IntakeResult | None:
        """The prompt that this key stands for already; None if it stands for this one from now on."""
        if await idempotency.keep(tx, key, idempotency.IdempotencyRecord("turn", 201, prompt_id), now_us=now_us):
            return None
        kept = await idempotency.find(tx, key, now_us=now_us)
        prompt = await messages.find(tx, chatbot.id, kept.response) if kept else None
        if (prompt := await answered_with(tx, prompt)) is None:
            raise NotFound  # deleted since
        return IntakeResult(prompt=prompt, is_known=True)

    async def _opened(
        self, tx: Tx, chatbot: Chatbot, prompt: Message, place: Place, *, before: int, joined: tuple[Message, ...] = ()
    ) -> OpenTurn:
        memory = Memory()
        if before > 1:
            memory = await recall(tx, chatbot, prompt, before=before, control_epoch=place.control_epoch, without=joined)
        return OpenTurn(
            chatbot=chatbot,
            prompt=prompt,
            text="\n".join(message.content for message in (*joined, prompt)),
            epoch=place.control_epoch,
            start_seq=place.seq,
            memory=memory,
            may_hand_off=place.handoff_requested_at is None,
        )

    async def reopen(
        self,
        tx: Tx,
        *,
        chatbot: Chatbot,
        conversation_id: str,
        prompt_id: str,
        key: idempotency.Key | None,
        only_if_failed: bool = False,
    ) -> IntakeResult:
        """The prompt is to be answered again: at once, or after those that are being answered."""
        now_us = self._clock()
        if key is not None and (asked := await self._kept_before(tx, chatbot, key, prompt_id, now_us)) is not None:
            return asked
        await conversations.lock(tx, chatbot.id, conversation_id)
        prompt = await messages.find(tx, chatbot.id, prompt_id)
        if prompt is None:
            raise NotFound
        if prompt.turn in UNSETTLED or (only_if_failed and prompt.error is None):
            return IntakeResult(prompt=prompt, is_known=True)
        await self._control.release_due_in(tx, chatbot.id, prompt.conversation_id)
        place, chatbot = await self._take_place(tx, chatbot, prompt.conversation_id, prompt.user_id, prompt_id, now_us)
        state = _turn_state(place, prompt_id)
        if state == "intercepted" and not only_if_failed:
            raise ConversationTakenOver
        data = {"prompt_id": prompt_id}
        await self._events.add_at(tx, place, chatbot.id, prompt.conversation_id, _REOPENED_AS[state], data)
        await messages.set_turn(tx, chatbot.id, prompt_id, state, at=place.at)
        prompt = msgspec.structs.replace(prompt, turn=state, status="completed", error=None, updated_at=place.at)
        if state != "running":
            return IntakeResult(prompt=prompt)
        before, joined = await first_answered_at(tx, prompt), await joined_to(tx, prompt)
        return IntakeResult(prompt=prompt, opened=await self._opened(tx, chatbot, prompt, place, before=before, joined=joined))


def may_end_turns(chatbot: Chatbot, request: PromptRequest) -> bool:
    """Whether storing this may end what is being answered."""
    if request.operator is not None:
        return chatbot.config.interception.mode == "takeover"
    return chatbot.config.response.overlap == "interrupt"


def _most_queued(overlap: Overlap) -> int:
    return {"queue": MOST_QUEUED, "coalesce": MOST_QUEUED, "reject": 0, "interrupt": MOST_QUEUED}[overlap]


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
