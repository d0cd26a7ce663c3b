"""Chatbots as their owner sees them: creating, listing, changing and deleting them.

Invariant: a change is merged into what is stored at that moment, and documents that a new `text_splitter` must cut again wait
for that from the same transaction on.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from gigachat_server.access.principal import Principal
from gigachat_server.access.scopes import Scope
from gigachat_server.access.speakers import shown_name
from gigachat_server.chat.erasure import Erasure
from gigachat_server.chat.turns.turn import Turns
from gigachat_server.clock import Clock
from gigachat_server.errors import NotFound
from gigachat_server.ids import new_id
from gigachat_server.records import Chatbot, ChatbotConfig
from gigachat_server.store import audit, chatbots, idempotency, ingest_queue, messages
from gigachat_server.store.database import Database, Reader, Tx


class Chatbots:
    """The chatbots of all accounts, each seen by its own."""

    def __init__(
        self,
        database: Database,
        *,
        erasure: Erasure,
        turns: Turns,
        clock: Clock,
        on_recut: Callable[[], None],
        on_deleted: Callable[[str], None],
    ) -> None:
        """`on_recut`: documents wait to be cut again; `on_deleted`: what is remembered of that chatbot can be forgotten."""
        self._database = database
        self._erasure = erasure
        self._turns = turns
        self._clock = clock
        self._on_recut = on_recut
        self._on_deleted = on_deleted

    async def create(
        self, principal: Principal, name: str, config: ChatbotConfig, *, key: idempotency.Key | None = None
    ) -> Chatbot:
        """A new chatbot of the principal's account; with a key, it is kept under it as it is now."""
        principal.require(Scope.CHATBOTS_WRITE)
        name = shown_name(name, "name")
        now_us = self._clock()
        chatbot = Chatbot(new_id(), principal.account_id, name, config, 0, now_us, now_us)

        async def body(tx: Tx) -> None:
            await chatbots.insert(tx, chatbot)
            await self._note(tx, principal, chatbot, "chatbot.created")
            await idempotency.keep_result(tx, key, chatbot, now_us=now_us)

        await self._database.transaction("chatbot.create", body)
        return chatbot

    async def list(self, principal: Principal, *, after: str | None, limit: int) -> list[Chatbot]:
        """Newest first."""
        principal.require(Scope.CHATBOTS_READ)

        async def read(reader: Reader) -> list[Chatbot]:
            return await chatbots.list_chatbots(reader, principal.account_id, among=principal.reachable, after=after, limit=limit)

        return await self._database.read(read)

    async def find(self, principal: Principal, chatbot_id: str) -> Chatbot:
        """As it is stored now. Raises `NotFound`."""
        principal.require(Scope.CHATBOTS_READ)

        async def read(reader: Reader) -> Chatbot | None:
            return await chatbots.find(reader, principal.account_id, chatbot_id)

        found = await self._database.read(read)
        if found is None:
            raise NotFound
        principal.check_reach(found)
        return found

    async def find_of_message(self, principal: Principal, message_id: str) -> str | None:
        """The id of the chatbot of the principal's account in which the message is, or is being made."""
        if (making := self._turns.find_making(message_id)) is not None:
            return making.chatbot_id

        async def read(reader: Reader) -> str | None:
            return await messages.find_chatbot_id(reader, principal.account_id, message_id)

        return await self._database.read(read)

    async def change(self, principal: Principal, chatbot_id: str, merge: Callable[[Chatbot], Chatbot]) -> Chatbot:
        """`merge`, pure, says what becomes of the chatbot as it is stored now. Raises `NotFound`, and what `merge` raises."""
        principal.require(Scope.CHATBOTS_WRITE)

        async def body(tx: Tx) -> tuple[Chatbot, bool]:
            held = await chatbots.lock(tx, principal.account_id, chatbot_id)
            if held is None:
                raise NotFound
            changed = msgspec.structs.replace(merge(held), updated_at=max(held.updated_at + 1, self._clock()))
            await chatbots.update(tx, changed)
            await self._note(tx, principal, changed, "chatbot.changed")
            is_recut = held.config.documents.text_splitter != changed.config.documents.text_splitter
            if is_recut:
                await ingest_queue.mark_all_waiting(tx, held.id)
            return changed, is_recut

        changed, is_recut = await self._database.transaction("chatbot.change", body)
        if is_recut:
            self._on_recut()
        return changed

    async def _note(self, tx: Tx, principal: Principal, chatbot: Chatbot, action: str) -> None:
        await audit.add(
            tx,
            principal.account_id,
            actor=principal.actor,
            action=action,
            target=f"chatbot:{chatbot.id}",
            now_us=self._clock(),
            detail={"name": chatbot.name},
        )

    async def delete(self, principal: Principal, chatbot_id: str) -> None:
        """With all its documents and conversations. Raises `NotFound`."""
        principal.require(Scope.CHATBOTS_WRITE)
        await self._erasure.delete_chatbot(principal, chatbot_id)
        self._on_deleted(chatbot_id)
