"""Accounts, their API keys, and who is calling."""

from __future__ import annotations

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
