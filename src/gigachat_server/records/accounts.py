"""Accounts, their API keys, their operators, and what was done in them."""

from __future__ import annotations

from typing import Any

import msgspec


class Account(msgspec.Struct, frozen=True):
    id: str
    name: str
    created_at: int


class ApiKey(msgspec.Struct, frozen=True):
    """A credential. The secret itself is never stored: `secret_sha256` is its digest, `last4` its last characters."""

    id: str
    account_id: str
    name: str
    secret_sha256: bytes
    last4: str
    scopes: tuple[str, ...]
    created_at: int
    expires_at: int | None
    revoked_at: int | None


class Membership(msgspec.Struct, frozen=True):
    """Of an operator in a chatbot, with what they may do there: a word of `access/principal.py`, or of a later version."""

    chatbot_id: str
    role: str


class Operator(msgspec.Struct, frozen=True, kw_only=True):
    """A person of the client's staff. `handle` is the name they speak under; `password` is a hash.

    An `oidc_issuer` knows them as `oidc_subject`. Who never signed in has no `seen_at`.
    """

    id: str
    account_id: str
    handle: str
    email: str
    name: str
    role: str
    password: str | None
    oidc_issuer: str | None
    oidc_subject: str | None
    created_at: int
    seen_at: int | None
    disabled_at: int | None
    memberships: tuple[Membership, ...] = ()


class OperatorSession(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody signed in to the pages: an operator, the holder of a key, or (neither) the local operator of the machine."""

    id_sha256: bytes
    account_id: str
    operator_id: str | None
    key_id: str | None
    created_at: int
    seen_at: int
    expires_at: int
    peer: str | None


class OneTimeToken(msgspec.Struct, frozen=True, kw_only=True):
    """What a link is good for, once. No `operator_id`: the local operator of the machine."""

    token_sha256: bytes
    account_id: str
    operator_id: str | None
    purpose: str
    expires_at: int


class AuditEntry(msgspec.Struct, frozen=True):
    """Who did what, when, to what; see `store/audit.py`."""

    account_id: str
    id: str
    at: int
    actor: str
    action: str
    target: str
    detail: dict[str, Any] | None
