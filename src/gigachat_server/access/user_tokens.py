"""The tokens that a client's server signs for its users (JWT): which are good, and what they say.

Idea: the key decides how it is verified, never the token; what a token says is looked at only once its signature is good, and
then by types that take nothing for something else. PyJWT checks signatures and nothing besides.
Invariant: all that is wrong with a token raises the same error, but for one with a good signature that has expired, so that a
client asks its server for another.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import functools
import importlib
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from gigachat_server.access.speakers import client_defined_id, end_user_id, shown_name
from gigachat_server.errors import GigachatError, TokenExpired, Unauthenticated
from gigachat_server.records import Algorithm

LONGEST_LIFE_S = 24 * 3600
LEEWAY_S = 60
_MOST_BYTES = 4096
_MOST_CONVERSATIONS = 50
_MOST_METADATA_BYTES = 4096
_MOST_DEPTH = 32
_LONGEST_NAME = 255
_SECOND = 1_000_000

# Headers by which a token would bring its own key, or its own rules.
_REFUSED_HEADERS = frozenset({"crit", "jwk", "jku", "x5u", "x5c", "b64"})

_decode_header = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class TokenHead(msgspec.Struct, frozen=True):
    """What a token says before anything of it is proven: only good for finding the key."""

    key_id: str
    algorithm: str


class TokenClaims(msgspec.Struct, frozen=True, kw_only=True):
    """What a good token says. Times are microseconds."""

    user_id: str
    issued_at: int
    expires_at: int
    conversation_ids: tuple[str, ...] | None
    name: str | None
    email: str | None
    metadata: dict[str, Any] | None


class _Claims(msgspec.Struct, frozen=True):
    aud: str | list[str]
    sub: str
    iat: int | float
    exp: int | float
    nbf: int | float | UnsetType = UNSET
    conversation_ids: list[str] | UnsetType = UNSET
    name: str | None = None
    email: str | None = None
    metadata: dict[str, Any] | None = None


_decode_claims = msgspec.json.Decoder(_Claims).decode


def looks_like_token(text: str) -> bool:
    """Whether it has the form of a JWT, be it a bad one."""
    return text.startswith("eyJ") and text.count(".") == 2


def read_head(token: str) -> TokenHead:
    """Which key it asks to be verified with. Raises `Unauthenticated`."""
    if len(token) > _MOST_BYTES or not token.isascii() or token.count(".") != 2:
        raise Unauthenticated
    try:
        header = _decode_header(_decoded(token.partition(".")[0]))
        head = TokenHead(
            key_id=msgspec.json.decode(header["kid"], type=str), algorithm=msgspec.json.decode(header["alg"], type=str)
        )
    except (KeyError, ValueError, RecursionError):  # msgspec's errors are ValueErrors
        raise Unauthenticated from None
    if _REFUSED_HEADERS & header.keys():
        raise Unauthenticated
    return head


def _decoded(part: str) -> bytes:
    """Raises `ValueError`."""
    try:
        return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError from error


async def verified_payload(token: str, algorithm: Algorithm, key: str) -> bytes:
    """What the holder of that key signed: `key` is the shared secret, or the public key in PEM. Raises `Unauthenticated`."""
    if not _verifier.cache_info().currsize:
        await asyncio.to_thread(_verifier)  # to import it takes a quarter of a second
    return _verifier().payload(token, algorithm, key)


def check_claims(payload: bytes, *, chatbot_id: str, now_us: int) -> TokenClaims:
    """What it says, for that chatbot at that time. Raises `Unauthenticated`, `TokenExpired`."""
    try:
        said = _decode_claims(payload)
        claims = _checked(said, chatbot_id, now_us)
    except (msgspec.MsgspecError, GigachatError, ValueError, OverflowError, RecursionError):
        raise Unauthenticated from None
    if claims.expires_at + LEEWAY_S * _SECOND <= now_us:
        raise TokenExpired
    return claims


def _checked(said: _Claims, chatbot_id: str, now_us: int) -> TokenClaims:
    """But for whether it has expired."""
    audience = [said.aud] if isinstance(said.aud, str) else said.aud
    issued_at, expires_at = _microseconds(said.iat), _microseconds(said.exp)
    not_before = issued_at if said.nbf is UNSET else _microseconds(said.nbf)
    life_us = expires_at - issued_at
    if chatbot_id not in audience or not 0 < life_us <= LONGEST_LIFE_S * _SECOND:
        raise Unauthenticated
    if max(issued_at, not_before) > now_us + LEEWAY_S * _SECOND:
        raise Unauthenticated
    narrowed = None if said.conversation_ids is UNSET else said.conversation_ids
    if narrowed is not None and len(narrowed) > _MOST_CONVERSATIONS:
        raise Unauthenticated
    return TokenClaims(
        user_id=end_user_id(said.sub, "sub"),
        issued_at=issued_at,
        expires_at=expires_at,
        conversation_ids=None if narrowed is None else tuple(client_defined_id(each, "conversation_ids") for each in narrowed),
        name=_shown(said.name, "name"),
        email=_shown(said.email, "email"),
        metadata=checked_metadata(said.metadata),
    )


def _microseconds(seconds: int | float) -> int:
    """Raises `OverflowError` for what is no time."""
    if not 0 <= seconds < 10_000_000_000:
        raise OverflowError
    return int(seconds * _SECOND)


def _shown(text: str | None, field: str) -> str | None:
    """Raises `InvalidRequest`."""
    if not text:
        return None
    return client_defined_id(shown_name(text, field), field)


def checked_metadata(metadata: dict[str, Any] | None) -> dict[str, Any] | None:
    """What a client says of its user besides. Raises `ValueError` for what is too large or cannot be stored."""
    if not metadata:
        return None
    encoded = msgspec.json.encode(metadata)
    if len(encoded) > _MOST_METADATA_BYTES or b"\\u0000" in encoded or _depth(metadata) > _MOST_DEPTH:
        raise ValueError("metadata")
    return metadata


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(_depth, inner), default=0)


class _Verifier:
    """PyJWT, once it is imported."""

    def __init__(self) -> None:
        self._jws = importlib.import_module("jwt.api_jws").PyJWS(algorithms=["HS256", "EdDSA", "ES256", "RS256"])
        self._errors = importlib.import_module("jwt.exceptions")
        self._serialization = importlib.import_module("cryptography.hazmat.primitives.serialization")
        self._public_key = functools.lru_cache(maxsize=1024)(self._load)

    def payload(self, token: str, algorithm: Algorithm, key: str) -> bytes:
        try:
            verifying = key.encode() if algorithm == "HS256" else self._public_key(key)
            decoded = self._jws.decode_complete(token, verifying, algorithms=[algorithm])
        except (self._errors.PyJWTError, ValueError, TypeError):
            raise Unauthenticated from None
        payload: bytes = decoded["payload"]
        return payload

    def _load(self, public_key: str) -> Any:
        return self._serialization.load_pem_public_key(public_key.encode())


@functools.cache
def _verifier() -> _Verifier:
    return _Verifier()
