"""Deleting what was said, also while it is being answered.

Invariant: with a prompt go its reply and its draft; those who wait for that reply are told at once, the model call is cancelled,
and the prompts of others that waited behind it are answered. The audit log goes on to say what was done, but not to whom.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

from gigachat_server.access.end_users import user_target
from gigachat_server.access.limits import USER
from gigachat_server.access.principal import Principal
from gigachat_server.access.secrets import Secrets
from gigachat_server.chat.events.recorder import Events
from gigachat_server.chat.ownership import conversation_target
from gigachat_server.chat.turns.live import LiveTurns
from gigachat_server.chat.turns.queue import start_next
from gigachat_server.chat.turns.turn import Turns
from gigachat_server.clock import Clock
from gigachat_server.errors import NotFound
from gigachat_server.records import Message, MessagesDeleted
from gigachat_server.store import (
    audit,
    chatbots,
    conversations,
    drafts,
    end_users,
    idempotency,
    mails,
    message_texts,
    messages,
    proposals,
    rates,
    ratings,
    read_marks,
    typing,
    unanswered,
    user_sessions,
)
from gigachat_server.store.database import Database, Tx


class Erasure:
    """Deletes chatbots, conversations, and what one end user said."""

    def __init__(
        self, database: Database, *, turns: Turns, events: Events, live: LiveTurns, secrets: Secrets, clock: Clock
    ) -> None:
        self._database = database
        self._secrets = secrets
        self._turns = turns
        self._events = events
        self._live = live
        self._clock = clock

    async def delete_chatbot(self, principal: Principal, chatbot_id: str) -> None:
        """With all its documents and conversations. Raises `NotFound`."""

        async def body(tx: Tx) -> bool:
            if not await chatbots.delete(tx, principal.account_id, chatbot_id):
                return False
            for name_target in (user_target, conversation_target):
                await audit.forget_targets(tx, principal.account_id, name_target(chatbot_id, ""))
            await self._note(tx, principal, chatbot_id, "chatbot.deleted")
            tx.after_commit(functools.partial(self._events.wake_chatbot, chatbot_id))
            tx.after_commit(lambda: self._cut(turn.prompt_id for turn in self._live if turn.chatbot_id == chatbot_id))
            return True

        if not await self._database.transaction("chatbot.delete", body):
            raise NotFound

    async def delete_conversation(self, principal: Principal, chatbot_id: str, conversation_id: str) -> None:
        """With all that was said in it. Raises `NotFound`."""

        async def body(tx: Tx) -> bool:
            if not await self._delete_whole(tx, principal.account_id, chatbot_id, conversation_id):
                return False
            await self._note(tx, principal, chatbot_id, "conversation.deleted", conversation=conversation_id)
            return True

        if not await self._database.transaction("conversation.delete", body):
            raise NotFound

    async def delete_user(self, principal: Principal, chatbot_id: str, user_id: str) -> None:
        """All that one end user said, the replies to it, their profile and sessions; what was theirs alone goes whole."""

        async def body(tx: Tx) -> None:
            await self._note(tx, principal, chatbot_id, "user.deleted", user=user_id)
            for conversation_id, is_shared in await conversations.list_of_user(tx, chatbot_id, user_id):
                if is_shared:
                    await self._delete_part(tx, chatbot_id, conversation_id, user_id)
                else:
                    await self._delete_whole(tx, principal.account_id, chatbot_id, conversation_id)
            await rates.delete(tx, chatbot_id, [(USER, user_id)])
            tx.erases()
            await user_sessions.delete_of_user(tx, chatbot_id, user_id)
            known = await end_users.find(tx, chatbot_id, user_id)
            await mails.delete_to(tx, chatbot_id, [user_id, *([known.email] if known and known.email else [])])
            await end_users.delete(tx, chatbot_id, user_id)
            await idempotency.delete_of(tx, chatbot_id, f"user:{user_id}")
            await audit.forget_target(tx, principal.account_id, user_target(chatbot_id, user_id))

        await self._database.transaction("user.delete", body)

    async def _delete_whole(self, tx: Tx, account_id: str, chatbot_id: str, conversation_id: str) -> bool:
        await conversations.lock(tx, chatbot_id, conversation_id)
        unsettled = await messages.list_open(tx, chatbot_id, conversation_id)
        tx.after_commit(functools.partial(self._events.wake, chatbot_id, conversation_id))
        tx.after_commit(functools.partial(self._cut, [prompt.id for prompt in unsettled]))
        is_deleted = await conversations.delete(tx, chatbot_id, conversation_id)
        await idempotency.erase(tx, chatbot_id, conversation_id)
        await audit.forget_target(tx, account_id, conversation_target(chatbot_id, conversation_id))
        return is_deleted

    async def _delete_part(self, tx: Tx, chatbot_id: str, conversation_id: str, user_id: str) -> None:
        await conversations.lock(tx, chatbot_id, conversation_id)
        unsettled = await messages.list_open(tx, chatbot_id, conversation_id)
        theirs = [prompt for prompt in unsettled if prompt.user_id == user_id]
        deleted = await messages.delete_of_user(tx, chatbot_id, conversation_id, user_id)
        await unanswered.delete_of_prompts(tx, chatbot_id, deleted)
        await message_texts.delete_of_messages(tx, chatbot_id, deleted)
        await proposals.delete_of_prompts(tx, chatbot_id, conversation_id, deleted)
        await conversations.forget_opener(tx, chatbot_id, conversation_id, user_id)
        await read_marks.delete_of(tx, chatbot_id, conversation_id, user_id)
        await typing.end(tx, chatbot_id, conversation_id, user_id)
        await ratings.delete_of(tx, chatbot_id, conversation_id)
        await idempotency.erase(tx, chatbot_id, conversation_id)
        await self._events.add(tx, chatbot_id, conversation_id, MessagesDeleted(message_ids=deleted))
        if theirs:
            tx.after_commit(functools.partial(self._cut, [prompt.id for prompt in theirs]))
            await self._go_on_without(tx, theirs)

    async def _go_on_without(self, tx: Tx, deleted: list[Message]) -> None:
        """Prompts that wait in a conversation no longer wait for these."""
        chatbot_id, conversation_id = deleted[0].chatbot_id, deleted[0].conversation_id
        for prompt in deleted:
            await drafts.delete(tx, chatbot_id, conversation_id, prompt.id)
        if not any(prompt.turn == "running" for prompt in deleted):
            await conversations.count_queued(tx, chatbot_id, conversation_id)
            return
        await conversations.raise_epoch(tx, chatbot_id, conversation_id)
        following = await start_next(tx, self._events, chatbot_id, conversation_id, now_us=self._clock())
        if following is not None:
            tx.after_commit(functools.partial(self._turns.resume, following))

    async def _note(self, tx: Tx, principal: Principal, chatbot_id: str, action: str, **erased: str) -> None:
        """In the audit log, which outlives what was deleted. Of the ids of what was `erased`, a pseudonym is kept, if any."""
        detail = {what: self._secrets.pseudonym(chatbot_id, client_id) for what, client_id in erased.items()}
        await audit.add(
            tx,
            principal.account_id,
            actor=principal.actor,
            action=action,
            target=f"chatbot:{chatbot_id}",
            now_us=self._clock(),
            detail={what: pseudonym for what, pseudonym in detail.items() if pseudonym is not None} or None,
        )

    def _cut(self, prompt_ids: Iterable[str]) -> None:
        self._live.cut({prompt_id: NotFound() for prompt_id in prompt_ids})
