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


class Principal(msgspec.Struct, frozen=True):
    """Who is calling: the account, by which key (None: this machine's operator), with which scopes."""

    account_id: str
    key_id: str | None
    scopes: frozenset[str]
    is_owner: bool = False  # may do all that an account's own key may, for as long
