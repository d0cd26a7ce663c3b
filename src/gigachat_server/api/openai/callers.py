"""Whose prompt it is, and which conversation goes on, as clients and front ends of OpenAI's API say it.

Invariant: an end-user token says who its user is, whatever the request claims; staff does not speak here; and a conversation is
found by an id of a message only if that end user takes part in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from gigachat_server.access.principal import Principal
from gigachat_server.access.speakers import CLIENT_PREFIX, client_defined_id, speaker_id
from gigachat_server.api.openai.errors import TaskNotAnswered, invalid

CONVERSATION_PREFIX = "conv_"
_TASK = "x-openwebui-task"
_USER = "x-openwebui-user-id"
_CONVERSATIONS = ("x-conversation-id", "x-openwebui-chat-id")
# What front ends send before they have an id, and (Open WebUI) for chats that are not to be kept.
_NO_IDS = frozenset({"", "new", "null", "undefined", "none", "local"})
_TEMPORARY = "local:"


class Named(msgspec.Struct, frozen=True):
    """A name, and the field or header that it comes from."""

    value: str
    field: str


def without_placeholders(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers without those that a front end left empty, or whose placeholder it did not fill in."""
    return {name: value for name, value in headers.items() if name not in _FILLED_IN or (value.strip() and "{{" not in value)}


_FILLED_IN = frozenset({*_CONVERSATIONS, _TASK, _USER, "idempotency-key"})


def refuse_task(headers: Mapping[str, str]) -> None:
    """Raises `TaskNotAnswered` for what a front end asks for itself: it carries the chat's id, and is no part of it."""
    if headers.get(_TASK, "").strip():
        raise TaskNotAnswered


def speaker(
    principal: Principal, headers: Mapping[str, str], *, metadata: Mapping[str, Any], user: str | None, safety: str | None
) -> str:
    """The id of the end user who speaks. Raises `InvalidRequest`."""
    if principal.is_end_user and principal.user_id is not None:
        return principal.user_id
    found = _first(
        (metadata.get("user_id"), "metadata.user_id"),
        (user, "user"),
        (safety, "safety_identifier"),
        (_header(headers, _USER), "X-OpenWebUI-User-Id"),
    )
    if found is None:
        return f"openai:{principal.id}"
    if found.value.startswith(CLIENT_PREFIX):
        raise invalid(found.field, "Staff does not speak here: send what it says as a message of the conversation.")
    return speaker_id(found.value, found.field)


def named_in_metadata(metadata: Mapping[str, Any]) -> Named | None:
    return _first((metadata.get("conversation_id"), "metadata.conversation_id"))


def named_in_headers(headers: Mapping[str, str]) -> Named | None:
    for name in _CONVERSATIONS:
        value = _header(headers, name) or ""
        if value.lower() not in _NO_IDS and not value.startswith(_TEMPORARY):
            return Named(value, name)
    return None


def conversation_id(named: Named) -> str:
    """Raises `InvalidRequest`."""
    return client_defined_id(named.value, named.field)


def as_header(text: str) -> str:
    """The text in UTF-8, as a header's value is written."""
    return text.encode().decode("latin-1")


def _header(headers: Mapping[str, str], name: str) -> str | None:
    """As UTF-8 if it is that: an id that was sent in a header comes back in one."""
    value = headers.get(name)
    if value is None or value.isascii():
        return value
    try:
        return value.encode("latin-1").decode()
    except UnicodeDecodeError:
        return value


def _first(*given: tuple[Any, str]) -> Named | None:
    return next((Named(value, field) for value, field in given if isinstance(value, str) and value), None)
