"""Accounts, their API keys, and what was done in them."""

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


class AuditEntry(msgspec.Struct, frozen=True):
    """Who did what, when, to what; see `store/audit.py`."""

    account_id: str
    id: str
    at: int
    actor: str
    action: str
    target: str
    detail: dict[str, Any] | None
