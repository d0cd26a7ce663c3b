"""What the chat templates of well-known models refuse; no I/O.

A server that applies chat templates (vLLM, llama.cpp, LM Studio, text-generation-inference) renders the messages with the
model's and answers with an error where the template raises one. `refusal_of` says what it would raise.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Messages = Sequence[Mapping[str, Any]]


def _role(message: Mapping[str, Any]) -> str:
    return str(message.get("role"))


def _alternation(messages: Messages, error: str) -> str | None:
    for position, message in enumerate(messages):
        if (_role(message) == "user") != (position % 2 == 0):
            return error
    return None


def _mistral_first(messages: Messages) -> str | None:
    """Mistral 7B Instruct 0.1 and 0.2: no system role, and no specific error for it."""
    return _alternation(messages, "Conversation roles must alternate user/assistant/user/assistant/...")


def _mistral_later(messages: Messages) -> str | None:
    """Mistral from 2024 on, Devstral, Ministral: a system message first, if any."""
    rest = messages[1:] if messages and _role(messages[0]) == "system" else messages
    error = "After the optional system message, conversation roles must alternate user and assistant roles"
    return _alternation(rest, error)


def _mistral_without_system(messages: Messages) -> str | None:
    for message in messages:
        if _role(message) not in ("user", "assistant", "tool"):
            return f"Only user, assistant and tool roles are supported, got {_role(message)}."
    return _mistral_first(messages)


def _gemma(messages: Messages) -> str | None:
    if messages and _role(messages[0]) == "system":
        return "System role not supported"
    return _alternation(messages, "Conversation roles must alternate user/assistant/user/assistant/...")


def _llama_2(messages: Messages) -> str | None:
    return _mistral_later(messages) and "Conversation roles must alternate user/assistant/user/assistant/..."


def _qwen(messages: Messages) -> str | None:
    if any(_role(message) == "system" for message in messages[1:]):
        return "System message must be at the beginning."
    return None if any(_role(message) == "user" for message in messages) else "No user query found in messages."


def _deepseek_reasoner(messages: Messages) -> str | None:
    roles = [_role(message) for message in messages]
    if any(first == second for first, second in itertools.pairwise(roles)):
        return "deepseek-reasoner does not support successive user or assistant messages"
    return None if roles and roles[-1] == "user" else "The last message of deepseek-reasoner must be a user message"


def _claude(messages: Messages) -> str | None:
    if any(not str(message.get("content") or "").strip() for message in messages):
        return "messages: text content blocks must contain non-whitespace text"
    rest = messages[1:] if messages and _role(messages[0]) == "system" else messages
    if any(_role(message) == "system" for message in rest):
        return 'messages: Unexpected role "system". The Messages API accepts a top-level `system` parameter'
    return _alternation(rest, 'messages: roles must alternate between "user" and "assistant", and begin with "user"')


def _o1_mini(messages: Messages) -> str | None:
    if any(_role(message) == "system" for message in messages):
        return "Unsupported value: 'messages[0].role' does not support 'system' with this model."
    return None


def _gemma_at_google(messages: Messages) -> str | None:
    if any(_role(message) == "system" for message in messages):
        return "Developer instruction is not enabled for models/gemma-3-27b-it"
    return None


TEMPLATES: dict[str, Callable[[Messages], str | None]] = {
    "chatml": lambda _: None,
    "claude": _claude,
    "deepseek-reasoner": _deepseek_reasoner,
    "gemma": _gemma,
    "gemma-at-google": _gemma_at_google,
    "llama-2": _llama_2,
    "mistral-0.2": _mistral_first,
    "mistral-later": _mistral_later,
    "mistral-without-system": _mistral_without_system,
    "o1-mini": _o1_mini,
    "qwen": _qwen,
}


def refusal_of(template: str, messages: Messages) -> str | None:
    """What the template raises for these messages; None where it takes them."""
    return TEMPLATES[template](messages)
