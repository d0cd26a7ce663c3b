"""Scopes: what a credential may do. The values are the wire's words; code uses the names."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from enum import StrEnum


class Scope(StrEnum):
    CHATBOTS_READ = "chatbots:read"
    CHATBOTS_WRITE = "chatbots:write"
    DOCUMENTS_READ = "documents:read"
    DOCUMENTS_WRITE = "documents:write"
    CONVERSATIONS_READ = "conversations:read"
    CONVERSATIONS_WRITE = "conversations:write"
    MESSAGES_INJECT = "messages:inject"
    KEYS_WRITE = "keys:write"
    LEARNING_WRITE = "learning:write"
    ACCESS_WRITE = "access:write"
    TOKENS_WRITE = "tokens:write"
    OPERATORS_WRITE = "operators:write"
    AUDIT_READ = "audit:read"


SCOPES = tuple(Scope)
# Names that keys were given before they meant anything. They are accepted and grant nothing, in this version and in later
# ones: no scope is ever called so again, or an upgrade would give old keys a new power.
RETIRED = frozenset({"webhooks:write"})
# A key that someone carries into their application can make neither keys nor users nor operators. What a key may do is
# what it was given: nothing is ever added here.
DEFAULT_SCOPES = (
    Scope.CHATBOTS_READ,
    Scope.CHATBOTS_WRITE,
    Scope.DOCUMENTS_READ,
    Scope.DOCUMENTS_WRITE,
    Scope.CONVERSATIONS_READ,
    Scope.CONVERSATIONS_WRITE,
    Scope.MESSAGES_INJECT,
)
# What a scope includes, so that a key that could teach a chatbot goes on to.
_INCLUDED = {Scope.DOCUMENTS_WRITE: Scope.LEARNING_WRITE}

_BY_VALUE = {scope.value: scope for scope in SCOPES}


def unknown_scopes(values: Iterable[str]) -> list[str]:
    """Those that name no scope, and never did."""
    return [value for value in values if value not in _BY_VALUE and value not in RETIRED]


@functools.lru_cache(maxsize=256)
def known_scopes(values: tuple[str, ...]) -> frozenset[Scope]:
    """Those that this version knows: a key made by a later one may carry more, which grant nothing here."""
    named = {_BY_VALUE[value] for value in values if value in _BY_VALUE}
    return frozenset(named | {_INCLUDED[scope] for scope in named if scope in _INCLUDED})
