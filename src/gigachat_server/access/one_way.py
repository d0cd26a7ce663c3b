"""Secrets that only their holders have: what is kept of one, and what can be derived from one, does not tell the secret."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets


def new_secret() -> str:
    """256 random bits as text."""
    return secrets.token_urlsafe(32)


def digest(secret: str) -> bytes:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def derived(secret: str, purpose: str) -> str:
    """Another secret that the holder of the first one can derive, and from which the first one cannot be told."""
    made = hmac.digest(secret.encode(), purpose.encode(), "sha256")
    return base64.urlsafe_b64encode(made).decode().rstrip("=")


def csrf_token_of(session_id: str) -> str:
    """What the forms of that session's pages carry."""
    return derived(session_id, "csrf")
