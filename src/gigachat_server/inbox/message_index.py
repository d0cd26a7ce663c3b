"""Has messages found by their words, some seconds after they were said; never in their turn.

Idea: a conversation whose newest message is behind its `indexed_seq` waits. The words are made outside any transaction, and
written under the conversation's row, if no other node was faster, for those messages that are there still. Invariant: so what was
erased is in no index, what is there is passed over by no step, and a process that is killed leaves nothing that the next does not
find.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import logging
from collections.abc import Iterable, Sequence

from gigachat_server.errors import StorageUnavailable
from gigachat_server.language.terms import terms
from gigachat_server.records import Message
from gigachat_server.store import conversations, message_texts, messages
from gigachat_server.store.database import Database, Reader, Tx
from gigachat_server.store.message_texts import IndexedMessage, UnindexedConversation

_MESSAGES_AT_ONCE = 100
_LEFT_ALONE_S = 60.0  # what could not be indexed is not tried again before

_log = logging.getLogger("gigachat.inbox")


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
        self._left_alone: dict[tuple[str, str], float] = {}  # conversations that cannot be indexed, and until when

    async def index_all(self) -> None:
        """Until nothing waits that can be indexed: one that cannot be holds up none of the others."""
        while await self._index_some_of_each():
            pass

    async def _index_some_of_each(self) -> bool:
        """Whether there was anything to do that other nodes are not at."""
        has_advanced, after = False, ("", "")
        while waiting := await self._database.read(functools.partial(message_texts.list_unindexed, after=after)):
            for conversation in waiting:
                has_advanced |= await self._try(conversation)
            after = waiting[-1].key
        return has_advanced

    async def _try(self, conversation: UnindexedConversation) -> bool:
        now_s = asyncio.get_running_loop().time()
        if now_s < self._left_alone.get(conversation.key, 0.0):
            return False
        self._left_alone.pop(conversation.key, None)
        (outcome,) = await asyncio.gather(self._index(conversation), return_exceptions=True)
        if isinstance(outcome, bool):
            return outcome
        if isinstance(outcome, StorageUnavailable):
            raise outcome
        self._left_alone[conversation.key] = now_s + _LEFT_ALONE_S
        _log.error("a conversation of chatbot %s is not found in searches yet", conversation.chatbot_id, exc_info=outcome)
        return False

    async def _index(self, conversation: UnindexedConversation) -> bool:
        async def read(reader: Reader) -> Sequence[Message]:
            return await _unindexed(reader, conversation)

        found = await self._database.read(read)
        words = await asyncio.to_thread(_words_by_text, found)
        to_seq = found[-1].seq if len(found) == _MESSAGES_AT_ONCE else conversation.last_message_seq

        async def body(tx: Tx) -> bool:
            now = await conversations.lock(tx, *conversation.key)
            # It may have been deleted and made anew since, with an order of its own: what is passed over must be what was read.
            if now is None or now.last_message_seq < to_seq:
                return False
            there = [each for each in await _unindexed(tx, conversation) if each.seq <= to_seq]
            if any((each.id, each.content) not in words for each in there):
                return False
            if not await message_texts.advance(tx, conversation, to_seq=max(to_seq, conversation.indexed_seq + 1)):
                return False
            for each in there:
                await message_texts.insert(tx, self._database.dialect, _indexed(each, words[each.id, each.content]))
            return True

        return await self._database.transaction("message.index", body)


async def _unindexed(reader: Reader, conversation: UnindexedConversation) -> Sequence[Message]:
    return await messages.list_messages(reader, *conversation.key, after=conversation.indexed_seq, limit=_MESSAGES_AT_ONCE)


def _words_by_text(found: Sequence[Message]) -> dict[tuple[str, str], Sequence[int]]:
    """By id and content."""
    return {(each.id, each.content): hashes_of(terms(each.content, None)) for each in found}


def _indexed(message: Message, words: Sequence[int]) -> IndexedMessage:
    return IndexedMessage(
        chatbot_id=message.chatbot_id,
        message_id=message.id,
        conversation_id=message.conversation_id,
        role=message.role,
        user_id=message.user_id,
        created_at=message.created_at,
        words=(*words, chatbot_hash(message.chatbot_id)),
    )
