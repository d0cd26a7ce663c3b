"""Has messages found by their words, some seconds after they were said; never in their turn.

Idea: a conversation whose newest message is behind its `indexed_seq` waits. The words are made outside any transaction, and
written under the conversation's row, if no other node was faster, for those messages that are there still. Invariant: so what was
erased is in no index, and a process that is killed leaves nothing that the next does not find.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Sequence

from gigachat_server.language.terms import terms
from gigachat_server.records import Message
from gigachat_server.store import message_texts, messages
from gigachat_server.store.database import Database, Reader, Tx
from gigachat_server.store.message_texts import IndexedMessage, UnindexedConversation

_MESSAGES_AT_ONCE = 100


def word_hash(word: str) -> int:
    """64 bits, signed, as both stores hold a whole number."""
    return int.from_bytes(hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big", signed=True)


def chatbot_hash(chatbot_id: str) -> int:
    return word_hash(f"chatbot {chatbot_id}")  # no term has a blank


def hashes_of(words: Iterable[str]) -> list[int]:
    return sorted({word_hash(word) for word in words})


class MessageIndex:
    """Adds what is not found yet."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def index_all(self) -> None:
        """Until nothing waits that can be indexed."""
        while waiting := await self._database.read(message_texts.list_unindexed):
            if not any([await self._index(conversation) for conversation in waiting]):
                return  # other nodes are at it

    async def _index(self, conversation: UnindexedConversation) -> bool:
        chatbot_id, conversation_id = conversation.chatbot_id, conversation.conversation_id

        async def read(reader: Reader) -> Sequence[Message]:
            return await messages.list_messages(
                reader, chatbot_id, conversation_id, after=conversation.indexed_seq, limit=_MESSAGES_AT_ONCE
            )

        found = await self._database.read(read)
        made = await asyncio.to_thread(_indexed, found)
        to_seq = found[-1].seq if len(found) == _MESSAGES_AT_ONCE else conversation.last_message_seq

        async def body(tx: Tx) -> bool:
            if not await message_texts.advance(tx, conversation, to_seq=max(to_seq, conversation.indexed_seq + 1)):
                return False
            there = await messages.list_by_id(tx, chatbot_id, [each.message_id for each in made]) if made else {}
            for each in made:
                if each.message_id in there:
                    await message_texts.insert(tx, self._database.dialect, each)
            return True

        return await self._database.transaction("message.index", body)


def _indexed(found: Sequence[Message]) -> list[IndexedMessage]:
    return [
        IndexedMessage(
            chatbot_id=message.chatbot_id,
            message_id=message.id,
            conversation_id=message.conversation_id,
            role=message.role,
            user_id=message.user_id,
            created_at=message.created_at,
            words=(*hashes_of(terms(message.content, None)), chatbot_hash(message.chatbot_id)),
        )
        for message in found
    ]
