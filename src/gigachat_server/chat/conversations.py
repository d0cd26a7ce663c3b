"""The front door to conversations: all that is said, done and read in them passes here, whatever protocol it came by.

Invariant: every method takes the principal first and checks, once, what it may do (its scope), as whom it speaks and what it
can see; a conversation or chatbot that is another account's looks the same as none. So a surface, such as the API, a page or
another protocol, only translates: it parses a request, calls, and shapes what comes back.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

import msgspec

from gigachat_server.access.principal import Principal
from gigachat_server.access.scopes import Scope
from gigachat_server.access.speakers import client_defined_id, operator_name, speaker_id
from gigachat_server.chat.answers.memory import recall_for_next
from gigachat_server.chat.erasure import Erasure
from gigachat_server.chat.events.recorder import Events
from gigachat_server.chat.feed import Feed, FeedDelta, FeedEvent, Place
from gigachat_server.chat.turns.control import Control
from gigachat_server.chat.turns.intake import PromptRequest
from gigachat_server.chat.turns.outcome import vectors_of
from gigachat_server.chat.turns.progress import TurnResult
from gigachat_server.chat.turns.turn import TurnHandle, Turns
from gigachat_server.errors import FieldError, InvalidRequest, NotFound
from gigachat_server.knowledge.search.retrieve import Earlier
from gigachat_server.language.words import is_blank
from gigachat_server.records import Chatbot, Conversation, Feedback, FeedbackGiven, Message
from gigachat_server.settings import Settings
from gigachat_server.store import conversations, messages
from gigachat_server.store.conversations import BOT as BOT  # who controls a conversation that no operator does
from gigachat_server.store.conversations import ConversationFilter as ConversationFilter
from gigachat_server.store.database import Database, Reader, Tx
from gigachat_server.store.idempotency import Key

_SPEAKS_AS_CLIENT = "To speak as client: a key needs the scope messages:inject."
_REMEMBERS = "With a conversation_id this needs a key with the scope conversations:read too."


class Transcript(msgspec.Struct, frozen=True):
    """Messages, and the vectors of the chunks behind their sources, by chunk id."""

    messages: list[Message]
    vectors: Mapping[str, bytes] = {}


class RecentTranscript(msgspec.Struct, frozen=True):
    """A conversation with its newest messages, read at one moment. Messages up to `first_seq` are left out."""

    conversation: Conversation
    messages: list[Message]
    first_seq: int


class Conversations:
    """What principals do in conversations. Each method raises `Forbidden` and `NotFound`, besides what it names."""

    def __init__(
        self,
        database: Database,
        *,
        turns: Turns,
        control: Control,
        feed: Feed,
        erasure: Erasure,
        events: Events,
        settings: Settings,
    ) -> None:
        self._database = database
        self._turns = turns
        self._control = control
        self._feed = feed
        self._erasure = erasure
        self._events = events
        self._settings = settings

    # --- speaking ---

    async def speak(
        self,
        principal: Principal,
        chatbot: Chatbot,
        *,
        conversation_id: str,
        user_id: str,
        text: str,
        metadata: dict[str, Any],
        key: Key | None,
    ) -> TurnHandle:
        """Store what a user says, or an operator (`client:`), and have it answered if it is a prompt.

        With a key that was used before, what came of it then. Raises `ConversationBusy`, `IdempotencyKeyReused`,
        `InvalidRequest`.
        """
        _admit(principal, Scope.CONVERSATIONS_WRITE, chatbot)
        if is_blank(text):
            raise InvalidRequest(errors=(FieldError("prompt", "Must contain text: it is empty, blank or invisible."),))
        request = PromptRequest(
            conversation_id=client_defined_id(conversation_id, "conversation_id"),
            user_id=speaker_id(user_id, "user_id"),
            text=text,
            metadata=self._checked_metadata(metadata),
        )
        if request.operator is not None:
            principal.require(Scope.MESSAGES_INJECT, _SPEAKS_AS_CLIENT)
        return await self._turns.start(chatbot, request, key)

    async def retry(
        self, principal: Principal, chatbot: Chatbot, conversation_id: str, message_id: str, *, key: Key | None
    ) -> TurnHandle:
        """Answer a prompt, or the prompt of that reply, again. Raises as `speak` does, and `ConversationTakenOver`."""
        _admit(principal, Scope.CONVERSATIONS_WRITE, chatbot)
        return await self._turns.retry(chatbot, _id(conversation_id), message_id, key)

    async def stop(self, principal: Principal, chatbot: Chatbot, conversation_id: str, *, key: Key | None) -> TurnResult:
        """Stop the running reply and the prompts queued behind it. With a key, the ids of these messages are kept."""
        _admit(principal, Scope.CONVERSATIONS_WRITE, chatbot)
        return await self._control.stop(chatbot, _id(conversation_id), key=key)

    async def rate(
        self, principal: Principal, chatbot: Chatbot, conversation_id: str, message_id: str, feedback: Feedback
    ) -> Transcript:
        """Note what the end user thought of a reply; the reply. Neither rating nor text: they take it back."""
        _admit(principal, Scope.CONVERSATIONS_WRITE, chatbot)
        conversation_id = _id(conversation_id)

        async def body(tx: Tx) -> Transcript:
            await conversations.lock(tx, chatbot.id, conversation_id)
            message = await messages.find(tx, chatbot.id, message_id)
            if message is None or message.conversation_id != conversation_id:
                raise NotFound
            if message.role != "assistant":
                raise InvalidRequest(errors=(FieldError("message_id", "Only a reply of the chatbot takes feedback."),))
            given = None if feedback.rating is None and not feedback.text else feedback
            if given != message.feedback:
                place = await self._events.add(tx, chatbot.id, conversation_id, FeedbackGiven(message_id=message_id))
                await messages.set_feedback(tx, chatbot.id, message_id, given, at=place.at)
                message = msgspec.structs.replace(message, feedback=given, updated_at=place.at)
            return Transcript([message], await vectors_of(tx, chatbot.id, [message]))

        return await self._database.transaction("message.feedback", body)

    # --- who answers ---

    async def take_over(
        self,
        principal: Principal,
        chatbot: Chatbot,
        conversation_id: str,
        operator: str,
        *,
        may_take_from: bool,
        key: Key | None,
    ) -> Conversation:
        """Give the conversation to an operator, from another one only with `may_take_from`. Raises `AlreadyTakenOver`."""
        _admit(principal, Scope.MESSAGES_INJECT, chatbot)
        name = operator_name(operator, "operator")
        return await self._control.take_over(chatbot, _id(conversation_id), name, may_take_from=may_take_from, key=key)

    async def release(self, principal: Principal, chatbot: Chatbot, conversation_id: str, *, key: Key | None) -> Conversation:
        """Give the conversation back to the chatbot, which answers the next prompt."""
        _admit(principal, Scope.MESSAGES_INJECT, chatbot)
        return await self._control.release(chatbot, _id(conversation_id), key=key)

    async def hand_off(
        self, principal: Principal, chatbot: Chatbot, conversation_id: str, *, note: str, key: Key | None
    ) -> Conversation:
        """Ask for a human; the chatbot goes on until one takes over."""
        _admit(principal, Scope.CONVERSATIONS_WRITE, chatbot)
        return await self._control.hand_off(chatbot, _id(conversation_id), reason="asked", note=note, key=key)

    # --- reading ---

    async def read(self, principal: Principal, chatbot: Chatbot, conversation_id: str) -> Conversation:
        _admit(principal, Scope.CONVERSATIONS_READ, chatbot)
        conversation_id = _id(conversation_id)

        async def read(reader: Reader) -> Conversation:
            return await _get(reader, principal, chatbot, conversation_id)

        return await self._database.read(read)

    async def list(
        self,
        principal: Principal,
        chatbot: Chatbot,
        *,
        after: tuple[int, str] | None,
        limit: int,
        which: ConversationFilter = ConversationFilter(),  # noqa: B008 - frozen
        longest_waiting_first: bool = False,
    ) -> list[Conversation]:
        """The one that spoke last comes first, or the one in which somebody has waited longest for a human, of those alone.

        `after`: the time by which they are sorted, and the id, of the last one that the caller has.
        """
        _admit(principal, Scope.CONVERSATIONS_READ, chatbot)
        account_id = principal.account_id

        async def read(reader: Reader) -> list[Conversation]:
            if longest_waiting_first:
                return await conversations.list_longest_waiting(
                    reader, account_id, chatbot.id, after=after, limit=limit, which=which
                )
            return await conversations.list_conversations(reader, account_id, chatbot.id, before=after, limit=limit, which=which)

        return await self._database.read(read)

    async def messages(
        self, principal: Principal, chatbot: Chatbot, conversation_id: str, *, after: int, limit: int, with_vectors: bool
    ) -> Transcript:
        """Those behind the seq `after`, oldest first."""
        _admit(principal, Scope.CONVERSATIONS_READ, chatbot)
        conversation_id = _id(conversation_id)

        async def read(reader: Reader) -> Transcript:
            await _get(reader, principal, chatbot, conversation_id)
            found = await messages.list_messages(reader, chatbot.id, conversation_id, after=after, limit=limit)
            return Transcript(found, await vectors_of(reader, chatbot.id, found) if with_vectors else {})

        return await self._database.read(read)

    async def newest(self, principal: Principal, chatbot: Chatbot, conversation_id: str, *, limit: int) -> RecentTranscript:
        """The conversation with its newest messages, at most about so many."""
        _admit(principal, Scope.CONVERSATIONS_READ, chatbot)
        conversation_id = _id(conversation_id)

        async def read(reader: Reader) -> RecentTranscript:
            conversation = await _get(reader, principal, chatbot, conversation_id)
            # Each message has a seq of its own, so the newest ones are among the newest seqs.
            first_seq = max(0, conversation.last_seq - limit)
            found = await messages.list_messages(reader, chatbot.id, conversation_id, after=first_seq, limit=limit)
            return RecentTranscript(conversation, found, first_seq)

        return await self._database.read(read)

    async def named(self, principal: Principal, chatbot: Chatbot, conversation_id: str, message_ids: Sequence[str]) -> Transcript:
        """These messages of the conversation, in this order, for a write that is repeated: `NotFound` if they are deleted."""
        _admit(principal, Scope.CONVERSATIONS_WRITE, chatbot)
        conversation_id = _id(conversation_id)

        async def read(reader: Reader) -> Transcript:
            await _get(reader, principal, chatbot, conversation_id)
            by_id = await messages.list_by_id(reader, chatbot.id, [*message_ids]) if message_ids else {}
            found = [by_id[each] for each in message_ids if each in by_id]
            if len(found) < len(message_ids):
                raise NotFound
            return Transcript(found, await vectors_of(reader, chatbot.id, found))

        return await self._database.read(read)

    async def recall(
        self, principal: Principal, chatbot: Chatbot, conversation_id: str, *, embedding_model: str
    ) -> Sequence[Earlier]:
        """What a search for the conversation's next prompt would know of what was said before."""
        principal.require(Scope.CONVERSATIONS_READ, _REMEMBERS)
        principal.check_reach(chatbot)
        conversation_id = _id(conversation_id)

        async def read(reader: Reader) -> Sequence[Earlier]:
            conversation = await _get(reader, principal, chatbot, conversation_id)
            return (await recall_for_next(reader, chatbot, conversation)).searched(embedding_model)

        return await self._database.read(read)

    # --- following ---

    async def events(
        self, principal: Principal, chatbot: Chatbot, conversation_id: str, *, after: int, limit: int, with_vectors: bool
    ) -> Sequence[FeedEvent]:
        """What happened behind the seq `after`, oldest first."""
        _admit(principal, Scope.CONVERSATIONS_READ, chatbot)
        return await self._feed.page(
            principal.account_id, chatbot.id, _id(conversation_id), after=after, limit=limit, with_vectors=with_vectors
        )

    async def follow(
        self,
        principal: Principal,
        chatbot: Chatbot,
        conversation_id: str,
        place: Place,
        *,
        idle_s: float,
        with_vectors: bool = False,
    ) -> AsyncGenerator[FeedEvent | FeedDelta | None, None]:
        """All that happens from that place on, with every word of a reply; see `Feed.follow_conversation`.

        Raises `InvalidRequest` for a place that the conversation has not reached.
        """
        _admit(principal, Scope.CONVERSATIONS_READ, chatbot)
        account_id, conversation_id = principal.account_id, _id(conversation_id)
        if place.seq > await self._feed.last_seq(account_id, chatbot.id, conversation_id):
            raise InvalidRequest(errors=(FieldError("Last-Event-ID", "Must be the id of an event of this stream."),))
        return self._feed.follow_conversation(
            account_id, chatbot.id, conversation_id, place, idle_s=idle_s, with_vectors=with_vectors
        )

    async def follow_all(
        self, principal: Principal, chatbot: Chatbot, since_us: int | None, *, idle_s: float, with_vectors: bool = False
    ) -> AsyncGenerator[FeedEvent | None, None]:
        """What happens in all the chatbot's conversations; see `Feed.follow_chatbot`."""
        _admit(principal, Scope.CONVERSATIONS_READ, chatbot)
        return await self._feed.follow_chatbot(
            principal.account_id, chatbot.id, since_us, idle_s=idle_s, with_vectors=with_vectors
        )

    # --- erasing ---

    async def erase(self, principal: Principal, chatbot: Chatbot, conversation_id: str) -> None:
        """Delete the conversation with all that was said in it."""
        _admit(principal, Scope.CONVERSATIONS_WRITE, chatbot)
        await self._erasure.delete_conversation(chatbot.id, _id(conversation_id))

    async def erase_user(self, principal: Principal, chatbot: Chatbot, user_id: str) -> None:
        """Delete all that one end user said and the replies to it; a conversation that was theirs alone goes whole."""
        _admit(principal, Scope.CONVERSATIONS_WRITE, chatbot)
        await self._erasure.delete_user(chatbot.id, client_defined_id(user_id, "user_id"))

    def _checked_metadata(self, metadata: dict[str, Any]) -> dict[str, Any]:
        if metadata and _is_deeper(metadata, self._settings.max_depth):
            raise InvalidRequest(errors=(FieldError("metadata", "Nested too deeply."),))
        most = self._settings.max_metadata_bytes
        if metadata and len(msgspec.json.encode(metadata)) > most:
            raise InvalidRequest(errors=(FieldError("metadata", f"Must have at most {most} bytes as JSON."),))
        return metadata


def _admit(principal: Principal, scope: Scope, chatbot: Chatbot) -> None:
    principal.require(scope)
    principal.check_reach(chatbot)


def _id(conversation_id: str) -> str:
    return client_defined_id(conversation_id, "conversation_id")


async def _get(reader: Reader, principal: Principal, chatbot: Chatbot, conversation_id: str) -> Conversation:
    found = await conversations.find_owned(reader, principal.account_id, chatbot.id, conversation_id)
    if found is None:
        raise NotFound
    return found


def _is_deeper(value: Any, depth: int) -> bool:
    """Looks no further down than that."""
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return depth == 0 or any(_is_deeper(each, depth - 1) for each in inner)
