"""The front door to conversations: all that is said, done and read in them passes here, whatever protocol it came by.

Invariant: every method takes the principal first and checks, once, what it may do (its scope), as whom it speaks and what it
can see; a conversation or chatbot that is another account's looks the same as none. So a surface, such as the API, a page or
another protocol, only translates: it parses a request, calls, and shapes what comes back.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

import msgspec

from gigachat_server.access.limits import Limits
from gigachat_server.access.one_way import digest
from gigachat_server.access.principal import Principal
from gigachat_server.access.scopes import Scope
from gigachat_server.access.speakers import CLIENT_PREFIX, client_defined_id, operator_name, speaker_id
from gigachat_server.access.streams import Streams
from gigachat_server.access.user_sessions import NewSession, UserSessions, claimed_id
from gigachat_server.chat.answers.memory import Recounted as Recounted
from gigachat_server.chat.answers.memory import most_recounted as most_recounted
from gigachat_server.chat.answers.memory import recall_for_next
from gigachat_server.chat.erasure import Erasure
from gigachat_server.chat.events.recorder import RELEASED as RELEASED
from gigachat_server.chat.events.recorder import TAKEN_OVER, Events
from gigachat_server.chat.feed import Feed, FeedDelta, FeedEvent, FeedTyping, Place
from gigachat_server.chat.ownership import entry_of
from gigachat_server.chat.threads import Threads
from gigachat_server.chat.turns.control import Control
from gigachat_server.chat.turns.intake import PromptRequest
from gigachat_server.chat.turns.outcome import vectors_of
from gigachat_server.chat.turns.progress import TurnResult
from gigachat_server.chat.turns.spending import most_tokens
from gigachat_server.chat.turns.turn import Admit, TurnHandle, Turns
from gigachat_server.clock import Clock
from gigachat_server.errors import Conflict, FieldError, Forbidden, InvalidRequest, NotFound
from gigachat_server.ids import random_text
from gigachat_server.knowledge.search.retrieve import Earlier
from gigachat_server.language.words import is_blank
from gigachat_server.records import Chatbot, Conversation, ConversationIdentified, Event, Feedback, FeedbackGiven, Message
from gigachat_server.records.events import EventType
from gigachat_server.settings import Settings
from gigachat_server.store import (
    conversations,
    drafts,
    end_users,
    events,
    idempotency,
    message_texts,
    messages,
    read_marks,
    user_sessions,
)
from gigachat_server.store.conversations import BOT as BOT  # who controls a conversation that no operator does
from gigachat_server.store.conversations import ConversationFilter as ConversationFilter
from gigachat_server.store.database import Database, Reader, Tx
from gigachat_server.store.idempotency import Key

CHANGES_OF_CONTROL: tuple[EventType, ...] = (TAKEN_OVER, RELEASED)
_NAMED_PROMPTS = 500  # of a conversation, the newest: those that a name is looked up in
MOST_CLAIMED = 50
CONVERSATION_PREFIX = "cnv_"  # of the id of a new one

_SPEAKS_AS_CLIENT = "To speak as client: a key needs the scope messages:inject."
_AS_AN_END_USER = "You speak as yourself: what staff say is never stored as an end user's words."
_REMEMBERS = "With a conversation_id this needs a key with the scope conversations:read too."


class NotClaimable(Conflict):
    code = "session_not_claimable"
    message = "There is no such anonymous session any more: it has ended, or was claimed before."


class Transcript(msgspec.Struct, frozen=True):
    """Messages, and the vectors of the chunks behind their sources, by chunk id."""

    messages: list[Message]
    vectors: Mapping[str, bytes] = {}


class RecentTranscript(msgspec.Struct, frozen=True):
    """A conversation with its newest messages, and the changes of control between them, read at one moment.

    What has a seq up to `first_seq` is left out.
    """

    conversation: Conversation
    messages: list[Message]
    changes: list[Event]
    first_seq: int


class SpokenTurn(msgspec.Struct, frozen=True):
    """A prompt, and the first of its replies; None while that is made, or where none was."""

    prompt: Message
    reply: Message | None


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
        limits: Limits,
        sessions: UserSessions,
        threads: Threads,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._database = database
        self._clock = clock
        self._turns = turns
        self._control = control
        self._feed = feed
        self._erasure = erasure
        self._events = events
        self._limits = limits
        self._streams = Streams()
        self._sessions = sessions
        self.threads = threads
        self._settings = settings

    # --- speaking ---

    async def speak(
        self,
        principal: Principal,
        chatbot: Chatbot,
        *,
        conversation_id: str | None,
        user_id: str | None,
        text: str,
        metadata: dict[str, Any],
        key: Key | None,
        recounted: Sequence[Recounted] = (),
        follows: str | None = None,
        new_prefix: str = CONVERSATION_PREFIX,
        may_begin: bool = False,
    ) -> TurnHandle:
        """Store what a user says, or an operator (`client:`), and have it answered if it is a prompt.

        An end user speaks as themselves, in a conversation of theirs. Without an id it is a new one, whose id begins with
        `new_prefix`. `may_begin`: also with an id that is theirs alone, because it was made from their user id.

        With a key that was used before, what came of it then. `recounted` is what the caller says was said before: told to
        the model as that, in a conversation of which nothing is stored. `follows`: only if the newest reply is that to this
        prompt. Raises `ConversationBusy`, `IdempotencyKeyReused`, `InvalidRequest`, `PreviousResponseSuperseded`,
        `RateLimited`.
        """
        principal = _admit(principal, Scope.CONVERSATIONS_WRITE, chatbot)
        _check_text(text)
        is_new = conversation_id is None or (
            may_begin and principal.is_end_user and not await self._is_there(chatbot, conversation_id)
        )
        if is_new and principal.conversation_ids is not None:
            raise Forbidden("Your token is for certain conversations: name one of them.")
        request = PromptRequest(
            conversation_id=new_conversation_id(new_prefix) if conversation_id is None else _id(conversation_id),
            user_id=_speaker(principal, user_id),
            text=text,
            metadata=self._checked_metadata(metadata),
            recounted=tuple(recounted),
            follows=follows,
            entry=entry_of(principal, is_new=is_new),
        )
        if request.operator is not None:
            principal.require(Scope.MESSAGES_INJECT, _SPEAKS_AS_CLIENT)
            return await self._turns.start(chatbot, request, key)
        return await self._turns.start(chatbot, request, key, self._admitting(principal, chatbot, text))

    async def _is_there(self, chatbot: Chatbot, conversation_id: str) -> bool:
        async def read(reader: Reader) -> bool:
            return await conversations.find(reader, chatbot.id, conversation_id) is not None

        return await self._database.read(read)

    async def open(self, principal: Principal, chatbot: Chatbot, conversation_id: str, *, key: Key | None) -> Conversation:
        """Have a conversation in which nothing was said yet. With a key, the conversation is kept as its result."""
        _admit(principal, Scope.CONVERSATIONS_WRITE, chatbot)
        conversation_id = _id(conversation_id)

        async def body(tx: Tx) -> Conversation:
            now_us = self._clock()
            await conversations.open_empty(tx, chatbot.id, conversation_id, now_us=now_us)
            found = await conversations.find(tx, chatbot.id, conversation_id)
            if found is None:
                raise NotFound  # the chatbot was deleted while the request was on its way
            await idempotency.keep_result(tx, key, found, now_us=now_us)
            return found

        return await self._database.transaction("conversation.open", body)

    async def try_out(
        self, principal: Principal, chatbot: Chatbot, conversation_id: str, *, text: str, key: Key | None
    ) -> TurnHandle:
        """Speak as a visitor who tries the chatbot out, in a conversation that is theirs alone. Raises as `speak` does.

        So what staff type is never stored as the words of an end user.
        """
        _admit(principal, Scope.CONVERSATIONS_WRITE, chatbot)
        _check_text(text)
        conversation_id, visitor = _id(conversation_id), trial_id(principal)

        async def read(reader: Reader) -> Conversation | None:
            return await conversations.find_owned(reader, principal.account_id, chatbot.id, conversation_id)

        begun = await self._database.read(read)
        if begun is not None and begun.user_id not in (None, visitor):
            raise Forbidden(_AS_AN_END_USER)
        request = PromptRequest(conversation_id=conversation_id, user_id=visitor, text=text, metadata={})
        return await self._turns.start(chatbot, request, key)

    async def retry(
        self, principal: Principal, chatbot: Chatbot, conversation_id: str, message_id: str, *, key: Key | None
    ) -> TurnHandle:
        """Answer a prompt, or the prompt of that reply, again. Raises as `speak` does, and `ConversationTakenOver`."""
        _admit(principal, Scope.CONVERSATIONS_WRITE, chatbot)
        conversation_id = _id(conversation_id)
        if principal.is_end_user:
            await self._database.read(
                functools.partial(_check_own, principal=principal, chatbot=chatbot, conversation_id=conversation_id)
            )
        admit = self._admitting(principal, chatbot, "")
        return await self._turns.retry(chatbot, conversation_id, message_id, key, admit, entry=entry_of(principal))

    async def join(self, principal: Principal, chatbot: Chatbot, conversation_id: str) -> TurnHandle | None:
        """The turn that is being answered, to watch from its first word; None if none is, or nothing was said yet."""
        _admit(principal, Scope.CONVERSATIONS_READ, chatbot)
        conversation_id = _id(conversation_id)

        async def read(reader: Reader) -> Message | None:
            conversation = await _find(reader, principal, chatbot, conversation_id)
            if conversation is None or conversation.answering is None:
                return None
            return await messages.find(reader, chatbot.id, conversation.answering)

        prompt = await self._database.read(read)
        turn = None if prompt is None else self._turns.watched(chatbot, prompt)
        return None if prompt is None or turn is None else TurnHandle(prompt=prompt, turn=turn, is_replayed=True)

    async def stop(self, principal: Principal, chatbot: Chatbot, conversation_id: str, *, key: Key | None) -> TurnResult:
        """Stop the running reply and the prompts queued behind it. With a key, the ids of these messages are kept."""
        _admit(principal, Scope.CONVERSATIONS_WRITE, chatbot)
        return await self._control.stop(chatbot, _id(conversation_id), key=key, entry=entry_of(principal))

    async def rate(
        self, principal: Principal, chatbot: Chatbot, conversation_id: str, message_id: str, feedback: Feedback
    ) -> Transcript:
        """Note what the end user thought of a reply; the reply. Neither rating nor text: they take it back."""
        _admit(principal, Scope.CONVERSATIONS_WRITE, chatbot)
        conversation_id = _id(conversation_id)

        async def body(tx: Tx) -> Transcript:
            principal.check_own(conversation_id, await conversations.lock(tx, chatbot.id, conversation_id))
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

    # --- whose it is ---

    async def claim(self, principal: Principal, chatbot: Chatbot, bearer: str) -> NewSession:
        """What an anonymous visitor said is the principal's from now on; a session for them. That of the visitor has ended.

        The newest conversations, `MOST_CLAIMED` at most. Raises `InvalidRequest`, `NotClaimable`, `Unauthenticated`.
        """
        made, session_id = self._sessions.made_for(principal, chatbot), claimed_id(bearer)
        user_id, now_us = made.session.user_id, self._events.now_us()

        async def body(tx: Tx) -> None:
            was = await user_sessions.claim(tx, chatbot.id, session_id, secret_sha256=digest(bearer), now_us=now_us)
            if was is None:
                raise NotClaimable
            await self._sessions.open_in(tx, principal, made)
            moved = await conversations.give_to(tx, chatbot.id, was, user_id, most=MOST_CLAIMED)
            await messages.give_to(tx, chatbot.id, moved, was, user_id)
            await message_texts.give_to(tx, chatbot.id, moved, was, user_id)
            await read_marks.give_to(tx, chatbot.id, moved, was, user_id)
            for conversation_id in moved:
                await self._events.add(tx, chatbot.id, conversation_id, ConversationIdentified())
            await end_users.delete(tx, chatbot.id, was)

        await self._database.transaction("conversation.claim", body)
        return made

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
        principal = _admit(principal, Scope.MESSAGES_INJECT, chatbot)
        name = principal.operator or operator_name(operator, "operator")
        return await self._control.take_over(
            chatbot, _id(conversation_id), name, may_take_from=may_take_from, key=key, actor=principal.actor
        )

    async def release(
        self,
        principal: Principal,
        chatbot: Chatbot,
        conversation_id: str,
        *,
        operator: str | None = None,
        may_take_from: bool = True,
        key: Key | None,
    ) -> Conversation:
        """Give the conversation back to the chatbot, which answers the next prompt.

        `operator` is who releases it, if that is known; from another one only with `may_take_from`. Raises `AlreadyTakenOver`.
        """
        principal = _admit(principal, Scope.MESSAGES_INJECT, chatbot)
        name = principal.operator or (None if operator is None else operator_name(operator, "operator"))
        return await self._control.release(
            chatbot, _id(conversation_id), operator=name, may_take_from=may_take_from, key=key, actor=principal.actor
        )

    async def hand_off(
        self, principal: Principal, chatbot: Chatbot, conversation_id: str, *, note: str, key: Key | None
    ) -> Conversation:
        """Ask for a human; the chatbot goes on until one takes over."""
        _admit(principal, Scope.CONVERSATIONS_WRITE, chatbot)
        return await self._control.hand_off(
            chatbot, _id(conversation_id), reason="asked", note=note, key=key, entry=entry_of(principal)
        )

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
        if principal.is_end_user:
            which = _of_user(principal, which, longest_waiting_first=longest_waiting_first)

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
            changes = await events.list_of_types(reader, chatbot.id, conversation_id, types=CHANGES_OF_CONTROL, after=first_seq)
            return RecentTranscript(conversation, found, changes, first_seq)

        return await self._database.read(read)

    async def shown(
        self, principal: Principal, chatbot: Chatbot, conversation_id: str, *, before: int | None, limit: int
    ) -> Sequence[Message]:
        """What a browser shows: the newest messages before that seq, oldest first; none if nothing was said yet.

        Of replies the first alternative, and neither those that gave way to another nor those that are about to.
        """
        _admit(principal, Scope.CONVERSATIONS_READ, chatbot)
        conversation_id = _id(conversation_id)

        async def read(reader: Reader) -> list[Message]:
            conversation = await _find(reader, principal, chatbot, conversation_id)
            if conversation is None:
                return []
            before_seq = conversation.last_seq + 1 if before is None else before
            return await messages.list_shown(reader, conversation, before=before_seq, limit=limit)

        return await self._database.read(read)

    async def find_prompt(
        self, principal: Principal, chatbot: Chatbot, conversation_id: str, names: Sequence[str], *, metadata_key: str
    ) -> str | None:
        """The id of the first of these messages that there is: its own id, or a name that a prompt has in its metadata.

        Without names, the newest prompt's.
        """
        _admit(principal, Scope.CONVERSATIONS_WRITE, chatbot)
        conversation_id = _id(conversation_id)

        async def read(reader: Reader) -> str | None:
            conversation = await _find(reader, principal, chatbot, conversation_id)
            if conversation is None:
                return None
            prompts = await messages.list_prompt_metadata(reader, chatbot.id, conversation_id, limit=_NAMED_PROMPTS)
            if not names:
                return next(iter(prompts), None)
            found = await messages.list_by_id(reader, chatbot.id, [*names])
            own = {each.id: each.id for each in found.values() if each.conversation_id == conversation_id}
            known = {str(given.get(metadata_key)): prompt_id for prompt_id, given in reversed(prompts.items())} | own
            return next((known[name] for name in names if name in known), None)

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

    async def last_known(
        self, principal: Principal, chatbot: Chatbot, message_ids: Sequence[str], *, user_id: str
    ) -> Message | None:
        """The last of these messages that there is, if that end user takes part in its conversation: for who goes on from it."""
        _admit(principal, Scope.CONVERSATIONS_WRITE, chatbot)

        async def read(reader: Reader) -> Message | None:
            found = await messages.list_by_id(reader, chatbot.id, [*message_ids])
            last = next((found[each] for each in reversed(message_ids) if each in found), None)
            if last is None or (last.user_id == user_id and not principal.is_end_user):
                return last
            conversation = await _find(reader, principal, chatbot, last.conversation_id)
            is_theirs = conversation is not None and (principal.is_end_user or conversation.user_id == user_id)
            return last if is_theirs else None

        return await self._database.read(read)

    async def turn_of(self, principal: Principal, chatbot: Chatbot, message_id: str, *, is_read: bool = True) -> SpokenTurn:
        """The turn of that prompt, or of that reply, which may still be in the making. `is_read`: in order to show it."""
        _admit(principal, Scope.CONVERSATIONS_READ if is_read else Scope.CONVERSATIONS_WRITE, chatbot)
        making = self._turns.find_making(message_id)

        async def read(reader: Reader) -> SpokenTurn:
            message = await messages.find(reader, chatbot.id, message_id)
            prompt, reply = message, None
            if message is None:
                made_for = making.prompt_id if making else await drafts.find_prompt_id(reader, chatbot.id, message_id)
                prompt = await messages.find(reader, chatbot.id, made_for) if made_for else None
            elif message.role == "assistant" and message.in_reply_to is not None:
                prompt, reply = await messages.find(reader, chatbot.id, message.in_reply_to), message
            if prompt is None:
                raise NotFound
            await _check_own(reader, principal, chatbot, prompt.conversation_id)
            if reply is None and prompt.role == "user":
                reply = next(iter(await messages.list_replies(reader, prompt)), None)
            return SpokenTurn(prompt, reply)

        return await self._database.read(read)

    async def page(
        self,
        principal: Principal,
        chatbot: Chatbot,
        conversation_id: str,
        *,
        behind: str | None,
        is_newest_first: bool,
        limit: int,
    ) -> Sequence[Message]:
        """What the conversation consists of, from behind the message `behind` on: one reply to each prompt, none replaced.

        Raises `InvalidRequest` for a `behind` that is not of this conversation.
        """
        _admit(principal, Scope.CONVERSATIONS_READ, chatbot)
        conversation_id = _id(conversation_id)

        async def read(reader: Reader) -> list[Message]:
            await _get(reader, principal, chatbot, conversation_id)
            seq = None
            if behind is not None:
                message = await messages.find(reader, chatbot.id, behind)
                if message is None or message.conversation_id != conversation_id:
                    raise InvalidRequest(errors=(FieldError("after", "Must be the id of an item of this conversation."),))
                seq = message.seq
            return await messages.list_current(
                reader, chatbot.id, conversation_id, behind=seq, is_newest_first=is_newest_first, limit=limit
            )

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
            principal, chatbot.id, _id(conversation_id), after=after, limit=limit, with_vectors=with_vectors
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
        with_typing: bool = False,
    ) -> AsyncGenerator[FeedEvent | FeedDelta | FeedTyping | None, None]:
        """All that happens from that place on, with every word of a reply; see `Feed.follow_conversation`.

        Raises `InvalidRequest` for a place that the conversation has not reached, `RateLimited` for one stream too many.
        """
        _admit(principal, Scope.CONVERSATIONS_READ, chatbot)
        conversation_id = _id(conversation_id)
        if place.seq > await self._feed.last_seq(principal, chatbot.id, conversation_id):
            raise InvalidRequest(errors=(FieldError("Last-Event-ID", "Must be the id of an event of this stream."),))
        followed = self._feed.follow_conversation(
            principal,
            chatbot.id,
            conversation_id,
            place,
            idle_s=idle_s,
            with_vectors=with_vectors,
            with_typing=with_typing,
        )
        return self._streams.counted(principal, chatbot, followed) if principal.is_end_user else followed

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
        await self._erasure.delete_conversation(principal, chatbot.id, _id(conversation_id))

    async def erase_user(self, principal: Principal, chatbot: Chatbot, user_id: str) -> None:
        """Delete all that one end user said, the replies to it, and what is known of them; what was theirs alone goes whole."""
        _admit(principal, Scope.CONVERSATIONS_WRITE, chatbot)
        await self._erasure.delete_user(principal, chatbot.id, client_defined_id(user_id, "user_id"))

    def _admitting(self, principal: Principal, chatbot: Chatbot, text: str) -> Admit:
        """What is asked before such a prompt of theirs is answered."""
        return functools.partial(self._limits.admit, principal, chatbot, most_tokens(chatbot.config, text))

    def _checked_metadata(self, metadata: dict[str, Any]) -> dict[str, Any]:
        if metadata and _is_deeper(metadata, self._settings.max_depth):
            raise InvalidRequest(errors=(FieldError("metadata", "Nested too deeply."),))
        most = self._settings.max_metadata_bytes
        if metadata and len(msgspec.json.encode(metadata)) > most:
            raise InvalidRequest(errors=(FieldError("metadata", f"Must have at most {most} bytes as JSON."),))
        return metadata


def _of_user(principal: Principal, which: ConversationFilter, *, longest_waiting_first: bool) -> ConversationFilter:
    """Their own alone, whatever they ask for. Raises `InvalidRequest` for what only staff can ask."""
    staff = {
        "assigned_to": which.assigned_to,
        "waiting": which.is_waiting,
        "operator": which.controlled_by,
        "status": which.status,
    }
    asked = [name for name, value in (*staff.items(), ("sort", longest_waiting_first or None)) if value is not None]
    if asked:
        raise InvalidRequest(errors=tuple(FieldError(name, "Is for your staff: leave it out.") for name in asked))
    return msgspec.structs.replace(which, owned_by=principal.user_id, among=principal.conversation_ids)


def _admit(principal: Principal, scope: Scope, chatbot: Chatbot) -> Principal:
    """The principal as they are in that chatbot."""
    principal.require(scope)
    within = principal.within(chatbot)
    within.require(scope)
    return within


def _check_text(text: str) -> None:
    if is_blank(text):
        raise InvalidRequest(errors=(FieldError("prompt", "Must contain text: it is empty, blank or invisible."),))


def _as_themselves(principal: Principal, user_id: str) -> str:
    """Whatever name is given, an operator who is signed in speaks under their own, and never as an end user."""
    if principal.operator is None:
        return user_id
    if not user_id.startswith(CLIENT_PREFIX):
        raise Forbidden(_AS_AN_END_USER)
    return CLIENT_PREFIX + principal.operator


def trial_id(principal: Principal) -> str:
    """As which end user somebody tries a chatbot out who is signed in to the pages."""
    return "visitor" if principal.operator is None else f"visitor:{principal.operator}"


def _id(conversation_id: str) -> str:
    return client_defined_id(conversation_id, "conversation_id")


async def _check_own(reader: Reader, principal: Principal, chatbot: Chatbot, conversation_id: str) -> None:
    """Before an end user is shown anything of the conversation. Raises `NotFound`."""
    if principal.is_end_user:
        await _get(reader, principal, chatbot, conversation_id)


async def _get(reader: Reader, principal: Principal, chatbot: Chatbot, conversation_id: str) -> Conversation:
    found = await conversations.find_owned(reader, principal.account_id, chatbot.id, conversation_id)
    if found is None:
        raise NotFound
    principal.check_own(conversation_id, found)
    return found


async def _find(reader: Reader, principal: Principal, chatbot: Chatbot, conversation_id: str) -> Conversation | None:
    """The same, for who may ask before there is one: a foreign one looks like none."""
    try:
        return await _get(reader, principal, chatbot, conversation_id)
    except NotFound:
        return None


def new_conversation_id(prefix: str = CONVERSATION_PREFIX) -> str:
    """An id that cannot be guessed."""
    return prefix + random_text(16)


def _required(text: str | None, field: str) -> str:
    """Raises `InvalidRequest`."""
    if text is None:
        raise InvalidRequest(errors=(FieldError(field, "Required."),))
    return text


def _speaker(principal: Principal, user_id: str | None) -> str:
    """As whom the principal speaks: an end user as themselves. Raises `Forbidden`, `InvalidRequest`."""
    if not principal.is_end_user:
        return _as_themselves(principal, speaker_id(_required(user_id, "user_id"), "user_id"))
    if user_id is not None and speaker_id(user_id, "user_id") != principal.user_id:
        raise Forbidden("You speak as the user of your token or session: leave out user_id.")
    assert principal.user_id is not None, "who may write is a user"
    return principal.user_id


def _is_deeper(value: Any, depth: int) -> bool:
    """Looks no further down than that."""
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return depth == 0 or any(_is_deeper(each, depth - 1) for each in inner)
