"""Tokens as no server should sign them, byte by byte: what PyJWT would refuse to make."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any


def encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).decode().rstrip("=")


def unsigned(header: Any, payload: Any) -> str:
    """Header and payload: JSON, or bytes as they are."""
    parts = (part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, payload))
    return ".".join(map(encoded, parts))


def signed(header: Any, payload: Any, secret: str | bytes, *, digest: Any = hashlib.sha256) -> str:
    """With the HMAC of that secret, whatever the header says."""
    signing = unsigned(header, payload)
    key = secret.encode() if isinstance(secret, str) else secret
    return f"{signing}.{encoded(hmac.new(key, signing.encode(), digest).digest())}"
