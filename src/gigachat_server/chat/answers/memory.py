"""What a turn knows of the conversation before it: earlier messages, and where humans took over and gave back.

Invariant: nothing is remembered that is not settled: no prompt that still waits, no reply that was replaced. What a caller
recounts of a conversation that is not stored here is marked as that, so that it is not taken for what was said.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np

from gigachat_server.chat.answers.markers import without_markers
from gigachat_server.chat.events.recorder import RELEASED, TAKEN_OVER
from gigachat_server.knowledge.search.retrieve import Earlier
from gigachat_server.records import UNSETTLED, Chatbot, Conversation, Event, Message
from gigachat_server.store import events, messages
from gigachat_server.store.database import Reader
from gigachat_server.store.messages import MemoryRow

# How many earlier messages a prompt that leans on them is searched together with: more gained nothing (measured on
# the MTRAG conversations: R@5 .564 with ten, .564 with all).
SEARCHED_MESSAGES = 10
_PAGE = 100
# More than can be unsettled at once in one conversation, the prompt's own reply included.
_MOST_LEFT_OUT = 32


class Recounted(msgspec.Struct, frozen=True):
    """An earlier message as a caller tells it; `role` is who is said to have said it."""

    role: Literal["user", "assistant"]
    text: str


class Memory(msgspec.Struct, frozen=True):
    """Earlier messages, each reply behind the prompt it answers; and the changes of control among them, oldest first.

    `is_recounted`: they are not stored, but what the caller says was said.
    """

    messages: Sequence[MemoryRow] = ()
    changes_of_control: Sequence[Event] = ()
    forgotten_unanswered: int = 0  # of a chatbot that remembers nothing else
    is_recounted: bool = False

    def newest(self, count: int) -> Sequence[MemoryRow]:
        return self.messages[-count:] if count else ()

    def searched(self, embedding_model: str) -> list[Earlier]:
        """What a prompt that leans on the conversation is searched together with; vectors that another model made are not."""
        return [
            Earlier(
                message.role,  # type: ignore[arg-type]
                without_markers(message.content) if message.role == "assistant" else message.content,
                np.frombuffer(message.embedding, "<f4")
                if message.embedding and message.embedding_model == embedding_model
                else None,
            )
            for message in self.newest(SEARCHED_MESSAGES)
            if message.role != "system"
        ]

    @property
    def unanswered_in_a_row(self) -> int:
        """How many of the newest replies said that the documents hold no answer, and nothing but that."""
        return self.forgotten_unanswered or _unanswered_in_a_row(self.messages)


def _unanswered_in_a_row(remembered: Sequence[MemoryRow]) -> int:
    count = 0
    for message in reversed(remembered):
        if message.role == "assistant":
            if not message.is_abstained:
                break
            count += 1
    return count


def most_recounted(size: int) -> int:
    """How many messages of a caller's account are of use to a chatbot of that `memory_size`."""
    return max(size, SEARCHED_MESSAGES) if size else 0


def recount(told: Sequence[Recounted], size: int) -> Memory:
    """What a turn knows that has nothing but the caller's account to go by."""
    count = most_recounted(size)
    newest = told[-count:] if count else ()
    rows = [MemoryRow(0, "", each.role, "", each.text, None, None, None, None, "{}") for each in newest]
    return Memory(rows, is_recounted=bool(rows))


async def first_answered_at(reader: Reader, prompt: Message) -> int:
    """Where in the order the prompt was first to be answered: at its own place, or behind those it had to wait for."""
    seq = prompt.seq
    while found := await events.list_events(reader, prompt.chatbot_id, prompt.conversation_id, after=seq, limit=_PAGE):
        for event in found:
            if event.data.get("prompt_id") == prompt.id:
                return event.seq if event.type == "turn.started" else prompt.seq
        seq = found[-1].seq
    return prompt.seq


async def recall(
    reader: Reader, chatbot: Chatbot, prompt: Message, *, before: int, control_epoch: int, without: Sequence[Message] = ()
) -> Memory:
    """What may be known to the turn that answers the prompt, of what was stored before seq `before`.

    Without the prompt itself and the replies it had, without those of `without`, and without prompts not yet answered.
    """
    size, interception = chatbot.config.response.memory_size, chatbot.config.interception
    counts_unanswered = interception.handoff and interception.handoff_after_unanswered > 1
    if not size and not counts_unanswered:
        return Memory()
    wanted = max(size, SEARCHED_MESSAGES)
    # A prompt that is the last to be stored has nothing behind it that would have to be left out.
    most_left_out = 0 if before == prompt.seq else _MOST_LEFT_OUT
    found = await messages.remember(reader, chatbot.id, prompt.conversation_id, before=before, limit=wanted + most_left_out)
    hidden = {prompt.id, *(message.id for message in without)}
    known = [each for each in found if hidden.isdisjoint((each.id, each.in_reply_to)) and _is_settled_before(each, prompt)]
    known = known[:wanted][::-1]
    if not size:
        return Memory(forgotten_unanswered=_unanswered_in_a_row(in_turns(known)))
    changes: Sequence[Event] = ()
    if control_epoch and known:  # control has never changed hands before it was raised
        changes = await events.list_of_types(
            reader, chatbot.id, prompt.conversation_id, (TAKEN_OVER, RELEASED), after=known[0].seq
        )
    return Memory(in_turns(known), [change for change in changes if change.seq < before])


async def recall_for_next(reader: Reader, chatbot: Chatbot, conversation: Conversation) -> Memory:
    """What a prompt would know if it were the next to be said, once those that wait are left out."""
    if not chatbot.config.response.memory_size:
        return Memory()
    wanted = max(chatbot.config.response.memory_size, SEARCHED_MESSAGES)
    found = await messages.remember(
        reader,
        chatbot.id,
        conversation.conversation_id,
        before=conversation.last_seq + 1,
        limit=wanted + _MOST_LEFT_OUT,
    )
    known = [each for each in found if each.role != "user" or each.turn not in UNSETTLED]
    return Memory(in_turns(known[:wanted][::-1]))


def _is_settled_before(message: MemoryRow, prompt: Message) -> bool:
    """Of prompts, those said earlier than this one, and not waiting for their own reply."""
    return message.role != "user" or (message.seq < prompt.seq and message.turn not in UNSETTLED)


def in_turns(memory: Sequence[MemoryRow]) -> list[MemoryRow]:
    """Prompts that waited for another's reply stand behind it: each gets its own reply behind it, even that of a retry."""
    anew = _made_anew(memory)
    told: list[MemoryRow] = []
    for message in _as_answered([each for each in memory if each.in_reply_to not in anew]):
        told.append(message)
        if message.id in anew:
            told.append(anew[message.id])
    return told


def _made_anew(memory: Sequence[MemoryRow]) -> dict[str, MemoryRow]:
    """By prompt, the replies that are newer than one to a later prompt."""
    prompts = {message.id: message.seq for message in memory if message.role == "user"}
    anew: dict[str, MemoryRow] = {}
    newest_answered = 0
    for message in memory:
        if message.in_reply_to in prompts:
            if prompts[message.in_reply_to] < newest_answered:
                anew[message.in_reply_to] = message
            newest_answered = max(newest_answered, prompts[message.in_reply_to])
    return anew


def _as_answered(memory: Sequence[MemoryRow]) -> list[MemoryRow]:
    answered = {message.in_reply_to for message in memory}
    told: list[MemoryRow] = []
    waiting: list[MemoryRow] = []
    in_progress: str | None = None  # the prompt whose reply is still to come
    for message in memory:
        if message.role == "user" and in_progress is not None:
            waiting.append(message)
            continue
        told.append(message)
        if message.role == "user" and message.id in answered:
            in_progress = message.id
        elif in_progress is not None and message.in_reply_to == in_progress:
            in_progress = None
            while waiting and in_progress is None:
                told.append(waiting.pop(0))
                in_progress = told[-1].id if told[-1].id in answered else None
    return told + waiting
