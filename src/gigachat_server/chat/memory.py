"""What a turn knows of the conversation before it: earlier messages, and where humans took over and gave back.

Invariant: nothing is remembered that is not settled: no prompt that still waits, no reply that was replaced.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gigachat_server.chat.events import RELEASED, TAKEN_OVER
from gigachat_server.records import Chatbot, Event, Message
from gigachat_server.store import events, messages
from gigachat_server.store.database import Reader
from gigachat_server.store.messages import Remembered

# How many earlier messages a prompt that leans on them is searched together with: more gained nothing (measured on
# the MTRAG conversations: R@5 .564 with ten, .564 with all).
SEARCHED_MESSAGES = 10
# More than can be unsettled at once in one conversation, the prompt's own reply included.
_MOST_LEFT_OUT = 32
_UNSETTLED = ("queued", "running")


class Memory(msgspec.Struct, frozen=True):
    """Earlier messages, each reply behind the prompt it answers; and the changes of control among them, oldest first."""

    messages: Sequence[Remembered] = ()
    changes_of_control: Sequence[Event] = ()

    def newest(self, count: int) -> Sequence[Remembered]:
        return self.messages[-count:] if count else ()

    @property
    def unanswered_in_a_row(self) -> int:
        """How many of the newest replies said that the documents hold no answer, and nothing but that."""
        count = 0
        for message in reversed(self.messages):
            if message.role == "assistant":
                if not message.is_abstained:
                    break
                count += 1
        return count


async def recall(
    reader: Reader, chatbot: Chatbot, prompt: Message, *, before: int, control_epoch: int, without: Sequence[Message] = ()
) -> Memory:
    """What may be known to the turn that answers the prompt, of what was stored before seq `before`.

    Without the prompt itself and the replies it had, without those of `without`, and without prompts not yet answered.
    """
    size = chatbot.config.response.memory_size
    if not size:
        return Memory()
    wanted = max(size, SEARCHED_MESSAGES)
    # A prompt that is the last to be stored has nothing behind it that would have to be left out.
    most_left_out = 0 if before == prompt.seq else _MOST_LEFT_OUT
    found = await messages.remember(reader, chatbot.id, prompt.conversation_id, before=before, limit=wanted + most_left_out)
    hidden = {prompt.id, *(message.id for message in without)}
    known = [each for each in found if each.turn not in _UNSETTLED and hidden.isdisjoint((each.id, each.in_reply_to))][:wanted]
    known.reverse()
    changes: Sequence[Event] = ()
    if control_epoch and known:  # control has never changed hands before it was raised
        changes = await events.list_of_types(
            reader, chatbot.id, prompt.conversation_id, (TAKEN_OVER, RELEASED), after=known[0].seq
        )
    return Memory(in_turns(known), changes)


def in_turns(memory: Sequence[Remembered]) -> list[Remembered]:
    """Prompts that waited for another's reply stand behind it: each is followed by its own, as it was answered."""
    answered = {message.in_reply_to for message in memory}
    told: list[Remembered] = []
    waiting: list[Remembered] = []
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
