"""Who answers now: the chatbot, or an operator who took over.

Idea: a change of control is one conditional UPDATE that raises `control_epoch`, and every write of the chatbot's text is
conditional on the epoch its turn began with. Invariant: once a takeover is confirmed, nothing of the chatbot is stored
or shown in that conversation until release; what it had said until then is stored as a `stopped` reply before it.
"""

from __future__ import annotations

from gigachat_server.chat.alerts import Alerts
from gigachat_server.chat.answers.prompt import handoff_message
from gigachat_server.chat.attendance import Attendance
from gigachat_server.chat.events.recorder import Events
from gigachat_server.chat.ownership import Entry, conversation_target
from gigachat_server.chat.turns.endings import end_turns
from gigachat_server.chat.turns.live import FrozenTurns, LiveTurns
from gigachat_server.chat.turns.nodes import Nodes
from gigachat_server.chat.turns.progress import TurnResult
from gigachat_server.chat.turns.proposing import supersede
from gigachat_server.clock import Clock
from gigachat_server.errors import AlreadyTakenOver, NotFound
from gigachat_server.ids import new_id
from gigachat_server.language.detect import language
from gigachat_server.records import (
    Chatbot,
    ControlReleased,
    ControlTakenOver,
    Conversation,
    ConversationReopened,
    Ending,
    HandoffRequested,
    Message,
    ReopeningReason,
)
from gigachat_server.store import audit, chatbots, conversations, idempotency, messages
from gigachat_server.store.database import Database, Reader, Tx

_MINUTE_US = 60_000_000


class Control:
    """Takeover, release, handoff and stop. With a key, each keeps its result under it."""

    def __init__(
        self,
        database: Database,
        *,
        events: Events,
        live: LiveTurns,
        nodes: Nodes,
        attendance: Attendance,
        alerts: Alerts,
        clock: Clock,
    ) -> None:
        self._database = database
        self._attendance = attendance
        self._alerts = alerts
        self._events = events
        self._live = live
        self._nodes = nodes
        self._clock = clock

    async def take_over(
        self,
        chatbot: Chatbot,
        conversation_id: str,
        operator: str,
        *,
        may_take_from: bool,
        key: idempotency.Key | None,
        actor: str,
    ) -> Conversation:
        """Give the conversation to the operator. On return, no text of the chatbot is stored or shown any more.

        An empty conversation may be taken over, too. Raises `AlreadyTakenOver`, `NotFound`.
        """

        async def take(live: FrozenTurns) -> Conversation:
            async def body(tx: Tx) -> Conversation:
                await conversations.open_empty(tx, chatbot.id, conversation_id, now_us=self._clock())
                if await self.take_over_in(tx, chatbot, conversation_id, operator, may_take_from=may_take_from, live=live):
                    await self._note(tx, chatbot, conversation_id, actor, "taken_over", operator)
                return await self._keep(tx, chatbot, conversation_id, key)

            return await self._database.transaction("control.take_over", body)

        return await self._nodes.while_frozen(chatbot.id, conversation_id, take)

    async def take_over_in(
        self,
        tx: Tx,
        chatbot: Chatbot,
        conversation_id: str,
        operator: str,
        *,
        may_take_from: bool,
        live: FrozenTurns,
    ) -> bool:
        """The same within a transaction, for a caller who has frozen the `live` turns; False where it was theirs already.

        Raises `TurnMovedOn` besides.
        """
        before = await conversations.lock(tx, chatbot.id, conversation_id)
        if before is None:
            raise NotFound
        live.check(before.answering)
        taken = await conversations.take_over(
            tx,
            chatbot.id,
            conversation_id,
            operator=operator,
            release_at=self.release_at(chatbot),
            may_take_from=may_take_from,
        )
        if taken is None:
            raise AlreadyTakenOver
        if before.controlled_by == operator:
            return False
        await supersede(tx, self._events, chatbot.id, conversation_id, "intercepted")
        unsettled = await messages.list_open(tx, chatbot.id, conversation_id)
        ended = await end_turns(tx, self._events, unsettled, "intercepted", chatbot_name=chatbot.name, live=live)
        await self.reopen_in(tx, chatbot.id, conversation_id, reason="operator")
        await self._events.add(tx, chatbot.id, conversation_id, ControlTakenOver(operator=operator))
        tx.after_commit(lambda: self._live.cut(ended))
        return True

    def release_at(self, chatbot: Chatbot) -> int | None:
        """When control goes back by itself if no operator speaks from now on."""
        minutes = chatbot.config.interception.release_after_minutes
        return None if minutes is None else self._clock() + minutes * _MINUTE_US

    async def release(
        self,
        chatbot: Chatbot,
        conversation_id: str,
        *,
        operator: str | None,
        may_take_from: bool,
        key: idempotency.Key | None,
        actor: str,
    ) -> Conversation:
        """Give control back to the chatbot, which answers the next prompt. `operator`: who does, if that is known.

        Raises `NotFound`, and `AlreadyTakenOver` where another one has it, but for `may_take_from`.
        """

        async def body(tx: Tx) -> Conversation:
            before = await conversations.lock(tx, chatbot.id, conversation_id)
            if before is None:
                raise NotFound
            if not may_take_from and before.controlled_by not in (conversations.BOT, operator):
                raise AlreadyTakenOver
            if await self.release_in(tx, chatbot.id, conversation_id, reason="released", operator=operator):
                await self._note(tx, chatbot, conversation_id, actor, "released", before.controlled_by)
            return await self._keep(tx, chatbot, conversation_id, key)

        return await self._database.transaction("control.release", body)

    async def release_due_in(self, tx: Tx, chatbot_id: str, conversation_id: str) -> bool:
        """Give control back if the operator has been silent for too long, and ask for another one if so configured.

        Whether it was given back.
        """
        if not await self.release_in(tx, chatbot_id, conversation_id, reason="silence", due_at=self._clock()):
            return False
        chatbot = await chatbots.find_of_any_account(tx, chatbot_id)
        if chatbot is not None and chatbot.config.interception.when_operator_silent == "queue":
            await self.ask_for_human_in(tx, chatbot, conversation_id, reason="silence", note="")
        else:
            await conversations.end_wait(tx, chatbot_id, conversation_id)
        return True

    async def release_due(self) -> None:
        """Give control back wherever it is due."""

        async def read(reader: Reader) -> list[tuple[str, str]]:
            return await conversations.list_due_for_release(reader, now_us=self._clock())

        for chatbot_id, conversation_id in await self._database.read(read):

            async def body(tx: Tx, chatbot_id: str = chatbot_id, conversation_id: str = conversation_id) -> bool:
                return await self.release_due_in(tx, chatbot_id, conversation_id)

            await self._database.transaction("control.release_due", body)

    async def reopen_in(
        self, tx: Tx, chatbot_id: str, conversation_id: str, *, reason: ReopeningReason, due_at: int | None = None
    ) -> bool:
        """Open the conversation if it is closed or snoozed (with `due_at`: until then), visibly; whether it was."""
        if not await conversations.reopen(tx, chatbot_id, conversation_id, due_at=due_at):
            return False
        await self._events.add(tx, chatbot_id, conversation_id, ConversationReopened(reason=reason))
        return True

    async def release_in(
        self,
        tx: Tx,
        chatbot_id: str,
        conversation_id: str,
        *,
        reason: str,
        operator: str | None = None,
        due_at: int | None = None,
    ) -> bool:
        """Give control back to the chatbot, within a transaction; whether an operator had it. `operator`: who releases it."""
        if await conversations.release(tx, chatbot_id, conversation_id, due_at=due_at) is None:
            return False
        await supersede(tx, self._events, chatbot_id, conversation_id, "intercepted")
        await self._events.add(tx, chatbot_id, conversation_id, ControlReleased(reason=reason, operator=operator))
        return True

    async def _note(self, tx: Tx, chatbot: Chatbot, conversation_id: str, actor: str, what: str, operator: str) -> None:
        """In the audit log: who did it, and whose control began or ended."""
        await audit.add(
            tx,
            chatbot.account_id,
            actor=actor,
            action=f"conversation.{what}",
            target=conversation_target(chatbot.id, conversation_id),
            now_us=self._clock(),
            detail={"operator": operator},
        )

    async def stop(
        self, chatbot: Chatbot, conversation_id: str, *, key: idempotency.Key | None, entry: Entry | None = None
    ) -> TurnResult:
        """Stop the running reply and the prompts queued behind it; returns the messages in which what was said is stored.

        Nothing happens where nothing is being answered. With a key, the ids of those messages are kept. Raises `NotFound`.
        """

        async def end(live: FrozenTurns) -> TurnResult:
            async def body(tx: Tx) -> TurnResult:
                if entry is not None:
                    await entry.prove(tx, chatbot.id, conversation_id)
                if await conversations.lock(tx, chatbot.id, conversation_id) is None:
                    raise NotFound
                ended = await self.end_turns_in(tx, chatbot, conversation_id, "stopped", live=live)
                newest = TurnResult(
                    [message for stored in ended.values() for message in stored.messages],
                    {name: vector for stored in ended.values() for name, vector in stored.vectors.items()},
                )
                ids = [message.id for message in newest.messages]
                await idempotency.keep_result(tx, key, ids, now_us=self._clock())
                return newest

            return await self._database.transaction("control.stop", body)

        return await self._nodes.while_frozen(chatbot.id, conversation_id, end)

    async def end_turns_in(
        self, tx: Tx, chatbot: Chatbot, conversation_id: str, state: Ending, *, live: FrozenTurns
    ) -> dict[str, TurnResult]:
        """Within a transaction: nothing is being answered or queued any more; by prompt, what came of it.

        For a caller who has frozen the `live` turns. Raises `TurnMovedOn`.
        """
        conversation = await conversations.lock(tx, chatbot.id, conversation_id)
        live.check(conversation.answering if conversation else None)
        unsettled = await messages.list_open(tx, chatbot.id, conversation_id)
        if not unsettled:
            return {}
        await conversations.raise_epoch(tx, chatbot.id, conversation_id)
        ended = await end_turns(tx, self._events, unsettled, state, chatbot_name=chatbot.name, live=live)
        await conversations.hand_on(tx, chatbot.id, conversation_id, prompt_id=None, lease_until=None)
        tx.after_commit(lambda: self._live.cut(ended))
        return ended

    async def hand_off(
        self,
        chatbot: Chatbot,
        conversation_id: str,
        *,
        reason: str,
        note: str,
        key: idempotency.Key | None,
        entry: Entry | None = None,
    ) -> Conversation:
        """Ask for a human, visibly; nothing happens where one was asked for already, or is there. Raises `NotFound`."""

        async def body(tx: Tx) -> Conversation:
            if entry is None:
                await conversations.open_empty(tx, chatbot.id, conversation_id, now_us=self._clock())
            else:
                await entry.prove(tx, chatbot.id, conversation_id)
            await self.ask_for_human_in(tx, chatbot, conversation_id, reason=reason, note=note)
            return await self._keep(tx, chatbot, conversation_id, key)

        return await self._database.transaction("control.hand_off", body)

    async def ask_for_human_in(self, tx: Tx, chatbot: Chatbot, conversation_id: str, *, reason: str, note: str) -> None:
        """The same within a transaction, in a conversation that is there. An end user who waits already has waited so long."""
        if not await conversations.request_handoff(tx, chatbot.id, conversation_id, at=self._clock()):
            return
        await self.reopen_in(tx, chatbot.id, conversation_id, reason="handoff")
        is_away = await self._attendance.is_away_in(tx, chatbot)
        message_id = await self._tell(tx, chatbot, conversation_id, is_away=is_away)
        wanted = HandoffRequested(reason=reason, note=note, message_id=message_id)
        await self._events.add(tx, chatbot.id, conversation_id, wanted)
        if is_away:
            await self._alerts.add_in(tx, chatbot, conversation_id)

    async def note_handoff(self, tx: Tx, said: Message, *, reason: str, note: str, message_id: str) -> None:
        """Note, within the transaction that stores what was `said`, that it asks for a human: it tells the end user itself."""
        chatbot_id, conversation_id = said.chatbot_id, said.conversation_id
        if not await conversations.request_handoff(tx, chatbot_id, conversation_id, at=said.updated_at):
            return
        await self.reopen_in(tx, chatbot_id, conversation_id, reason="handoff")  # it may have been closed during the turn
        wanted = HandoffRequested(reason=reason, note=note, message_id=message_id)
        await self._events.add(tx, chatbot_id, conversation_id, wanted)
        if not self._alerts.are_sent:
            return
        chatbot = await chatbots.find_of_any_account(tx, chatbot_id)
        if chatbot is not None and await self._attendance.is_away_in(tx, chatbot):
            await self._alerts.add_in(tx, chatbot, conversation_id)

    async def _tell(self, tx: Tx, chatbot: Chatbot, conversation_id: str, *, is_away: bool) -> str:
        """Say so, in the language the end user spoke last; the id of the message."""
        prompt = await messages.find_newest_prompt(tx, chatbot.id, conversation_id)
        spoken = None if prompt is None else language(prompt.content)
        place = await conversations.open_and_advance(tx, chatbot.id, conversation_id, now_us=self._clock(), speaker="chatbot")
        if place is None:
            raise NotFound
        told = Message(
            chatbot_id=chatbot.id,
            conversation_id=conversation_id,
            seq=place.seq,
            id=new_id(),
            role="system",
            user_id="",
            name=chatbot.name,
            content=handoff_message(chatbot.config, spoken, is_away=is_away),
            status="completed",
            in_reply_to=None,
            alternative=0,
            replaced_by=None,
            metadata={},
            sources=(),
            created_at=place.at,
            updated_at=place.at,
        )
        await self._events.store_message(tx, told)
        return told.id

    async def _keep(self, tx: Tx, chatbot: Chatbot, conversation_id: str, key: idempotency.Key | None) -> Conversation:
        """The conversation as it is at the end of the transaction, kept as its result."""
        found = await conversations.find(tx, chatbot.id, conversation_id)
        if found is None:
            raise NotFound
        await idempotency.keep_result(tx, key, found, now_us=self._clock())
        return found
