"""Search in what was said: all words of the query, newest messages first; words in quotes stand together.

Invariant: a hit is a message that is there, of the principal's own chatbot, on both stores the same.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import msgspec

from gigachat_server.access.principal import Principal
from gigachat_server.access.scopes import Scope
from gigachat_server.errors import FieldError, GigachatError, InvalidRequest
from gigachat_server.inbox.message_index import chatbot_hash, hashes_of
from gigachat_server.language.detect import language
from gigachat_server.language.stop_words import stop_words
from gigachat_server.language.terms import terms
from gigachat_server.language.words import normalised
from gigachat_server.records import Chatbot, Message, MessageRole
from gigachat_server.store import message_texts, messages
from gigachat_server.store.database import Database, Reader
from gigachat_server.store.message_texts import Hit

T = TypeVar("T")

MOST_WORDS = 10
_LONGEST_S = 2.0
_LOOKED_UP = 200  # hits whose text is read at once, where not every one of them counts
_MOST_LOOKS = 5  # for conversations
_QUOTED = re.compile(r'"([^"]+)"')


class SearchBusy(GigachatError):
    status = 503
    code = "search_busy"
    message = "The search took too long: use rarer words, or try again later."


class Query(msgspec.Struct, frozen=True):
    """`words` are hashes; `phrases` stand in the text as they are, but for case and punctuation."""

    words: Sequence[int]
    phrases: Sequence[str]


class SearchPage(msgspec.Struct, frozen=True):
    """`next` is where a further page starts: the place and the id of the last message; None if that was all."""

    messages: Sequence[Message]
    next: tuple[int, str] | None = None


def parse(text: str) -> Query | None:
    """None if nothing of it can be searched for: it has no words, or only such as stand everywhere. Raises `InvalidRequest`."""
    spoken = language(text)
    common = stop_words(spoken) if spoken is not None else stop_words("en")
    said = normalised(text).split()
    if not said or all(word in common for word in said):
        return None
    words = hashes_of(terms(text, None))
    if not words:
        return None
    if len(words) > MOST_WORDS:
        raise InvalidRequest(errors=(FieldError("q", f"Must have at most {MOST_WORDS} words."),))
    phrases = [phrase for phrase in map(normalised, _QUOTED.findall(text)) if " " in phrase]
    return Query(words, phrases)


class MessageSearch:
    """Raises `Forbidden` and `NotFound`, besides what it names."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def search(
        self,
        principal: Principal,
        chatbot: Chatbot,
        text: str,
        *,
        before: tuple[int, str] | None,
        limit: int,
        role: MessageRole | None = None,
        user_id: str | None = None,
    ) -> SearchPage:
        """Messages that hold all words of the text. Raises `InvalidRequest`, `SearchBusy`."""
        principal.require(Scope.CONVERSATIONS_READ)
        principal.check_reach(chatbot)
        query = parse(text)
        if query is None:
            return SearchPage([])

        async def read(reader: Reader) -> SearchPage:
            return await self._read(reader, chatbot, query, before, limit, role, user_id)

        return await self._in_time(read)

    async def newest_of_each(
        self, principal: Principal, chatbots: Sequence[Chatbot], text: str, *, limit: int
    ) -> dict[tuple[str, str], Message]:
        """By conversation, the newest message that holds all words of the text, and the newest of these first.

        Those of a few long conversations may hide others. Raises `InvalidRequest`, `SearchBusy`.
        """
        for chatbot in chatbots:
            inside = principal.within(chatbot)
            inside.require(Scope.CONVERSATIONS_READ)
            inside.check_reach(chatbot)
        query = parse(text)
        if query is None or not chatbots:
            return {}

        async def read(reader: Reader) -> dict[tuple[str, str], Message]:
            found: dict[tuple[str, str], Message] = {}
            last: Hit | None = None
            for _ in range(_MOST_LOOKS):
                before = None if last is None else (last.place, last.message_id)
                held, last = await self._look(reader, chatbots, query, before, _LOOKED_UP)
                for hit, message in held:
                    found.setdefault((hit.chatbot_id, message.conversation_id), message)
                if last is None or len(found) >= limit:
                    break
            return dict(list(found.items())[:limit])

        return await self._in_time(read)

    async def _in_time(self, read: Callable[[Reader], Awaitable[T]]) -> T:
        try:
            async with asyncio.timeout(_LONGEST_S):
                return await self._database.read(read)
        except TimeoutError:
            raise SearchBusy(retry_after_s=5) from None

    async def _read(
        self,
        reader: Reader,
        chatbot: Chatbot,
        query: Query,
        before: tuple[int, str] | None,
        limit: int,
        role: MessageRole | None,
        user_id: str | None,
    ) -> SearchPage:
        found: list[tuple[Hit, Message]] = []
        at_once = _LOOKED_UP if query.phrases else limit + 1
        while len(found) <= limit:
            held, seen = await self._look(reader, [chatbot], query, before, at_once, role=role, user_id=user_id)
            found += held
            if seen is None:
                break
            before = (seen.place, seen.message_id)
        last = found[limit - 1][0] if len(found) > limit else None
        return SearchPage([message for _, message in found[:limit]], (last.place, last.message_id) if last else None)

    async def _look(
        self,
        reader: Reader,
        chatbots: Sequence[Chatbot],
        query: Query,
        before: tuple[int, str] | None,
        at_once: int,
        *,
        role: MessageRole | None = None,
        user_id: str | None = None,
    ) -> tuple[list[tuple[Hit, Message]], Hit | None]:
        """Of the next so many messages that have the words, those that are found; and the last one, unless that was all."""
        hits = await message_texts.find(
            reader,
            self._database.dialect,
            {each.id: chatbot_hash(each.id) for each in chatbots},
            query.words,
            before=before,
            limit=at_once,
            role=role,
            user_id=user_id,
        )
        ids = {hit.chatbot_id for hit in hits}, [hit.message_id for hit in hits]
        there = await messages.list_of_chatbots(reader, *ids) if hits else {}
        held = [(hit, message) for hit in hits if (message := there.get(hit.key)) is not None and _holds(message, query)]
        return held, hits[-1] if len(hits) == at_once else None


def _holds(message: Message, query: Query) -> bool:
    if not query.phrases:
        return True
    text = f" {normalised(message.content)} "
    return all(f" {phrase} " in text for phrase in query.phrases)
