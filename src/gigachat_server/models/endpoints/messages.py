"""A prompt's messages in the shape that every chat template accepts, as many as fit the model; no I/O.

Chat templates are strict in different ways: some require the system message first, some refuse two messages of one role in a
row, some require that the first or the last message is a user's. Invariant: the result is at most one system message, then
user and assistant in turn, a user first and last, and none of them blank. gigachat's own notes go into the assistant's
messages, which never hold an end user's words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from gigachat_server.models.base import ChatMessage, LeftOut, ModelInput

# What stands where a template wants a user's words and there are none.
_EARLIER = "(What was said before this is left out.)"
_GO_ON = "(Go on.)"

_DENSE = re.compile("[\u1100-\u11ff\u2e80-\ud7ff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]")  # a token each, or nearly
CHARACTERS_PER_TOKEN = 3.0  # of other scripts, for a model that is not known yet
_MARGIN = 1.1
_MESSAGE_TOKENS = 8  # what a template puts around each message
_LEAST_ROOM = 64  # tokens for a reply


class Parts(msgspec.Struct, frozen=True):
    """An input taken apart: what may be left out of it, oldest first, and what may not."""

    system: str
    memory: tuple[ChatMessage, ...]
    prompt: str

    @classmethod
    def of(cls, model_input: ModelInput) -> Parts:
        messages = list(model_input.messages)
        prompt = messages.pop().content if messages and messages[-1].role == "user" else ""
        system = []
        while messages and messages[0].role == "system":
            system.append(messages.pop(0).content)
        return cls("\n\n".join(text for text in system if text.strip()), tuple(messages), prompt)


def shaped(model_input: ModelInput, *, has_system_role: bool = True, left_out: LeftOut | None = None) -> tuple[ChatMessage, ...]:
    """The input as it is sent. Without a system role, the first user message begins with what it would have said."""
    parts, sections = Parts.of(model_input), model_input.sections
    left_out = left_out or LeftOut()
    turns = _turns(parts.memory[left_out.messages :])
    told = "" if sections is None else sections.text(len(sections.passages) - left_out.passages)
    _add_prompt(turns, told, parts.prompt)
    if turns[0].role == "assistant":
        turns.insert(0, ChatMessage("user", _EARLIER))
    if not parts.system:
        return tuple(turns)
    if has_system_role:
        return (ChatMessage("system", parts.system), *turns)
    return (ChatMessage("user", f"{parts.system}\n\n{turns[0].content}"), *turns[1:])


def weight(text: str) -> tuple[int, int]:
    """How many characters of it are about a token each, and how many are not."""
    dense = 0 if text.isascii() else len(_DENSE.findall(text))
    return dense, len(text) - dense


def tokens(text: str, characters_per_token: float = CHARACTERS_PER_TOKEN) -> float:
    """An upper estimate of a text's tokens: the exact number needs the model's own tokenizer."""
    dense, others = weight(text)
    return (dense + others / characters_per_token) * _MARGIN + _MESSAGE_TOKENS


def fitting(model_input: ModelInput, context_tokens: int, characters_per_token: float) -> LeftOut:
    """What has to be left out so that the input and its reply fit: the oldest messages first, then the worst passages.

    Never the persona or the prompt; of the passages the best stays as long as it can.
    """
    parts, sections = Parts.of(model_input), model_input.sections
    room = context_tokens - min(model_input.sampling.max_tokens, context_tokens // 2)
    room = max(room, _LEAST_ROOM)
    passages = () if sections is None else sections.passages
    cost = [tokens(message.content, characters_per_token) for message in parts.memory]
    passage_cost = [tokens(passage, characters_per_token) for passage in passages]
    tools = 0 if model_input.handoff is None else 300
    total = tools + tokens(parts.system, characters_per_token) + tokens(parts.prompt, characters_per_token)
    total += (
        sum(cost) + sum(passage_cost) + 4 * _MESSAGE_TOKENS + (0 if sections is None else tokens(sections.head + sections.foot))
    )
    dropped = 0
    while total > room and dropped < len(cost):
        total -= cost[dropped]
        dropped += 1
    left = 0
    while total > room and left < len(passage_cost):
        left += 1
        total -= passage_cost[-left]
    return LeftOut(dropped, left)


def _turns(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Neighbours of one side are one message."""
    turns: list[ChatMessage] = []
    for message in messages:
        if not message.content.strip():
            continue
        role, text = message.role, message.content
        if role == "system":
            role, text = "assistant", f"[Note: {text}]"
        if turns and turns[-1].role == role:
            turns[-1] = ChatMessage(role, f"{turns[-1].content}\n\n{text}")
        else:
            turns.append(ChatMessage(role, text))
    return turns


def _add_prompt(turns: list[ChatMessage], sections: str, prompt: str) -> None:
    """The prompt with its sections is the last message. It opens with them, whatever was said and not answered before it."""
    if turns and turns[-1].role == "user":
        prompt = f"{turns.pop().content}\n\n{prompt}"
    text = "\n\n".join(part for part in (sections, prompt) if part.strip())
    turns.append(ChatMessage("user", text or _GO_ON))
