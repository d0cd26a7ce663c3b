"""How gigachat's own bearer credentials look: a prefix, an id, random characters, a checksum, all base62.

Idea: scanners find them by their prefix, a typo is refused without a query, and 190 random bits make a slow hash pointless.
Invariant: a store holds the id and the SHA-256 of the whole, never the whole; a widget key, which is public, is the exception.
"""

from __future__ import annotations

import hmac
import re
import secrets
import zlib
from typing import Final

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM = 32
_CHECKSUM = 6


class BearerForm:
    """One kind of bearer: `prefix`, then an id of `id_length` characters, 32 that are random, and 6 of CRC32."""

    def __init__(self, prefix: str, *, id_length: int) -> None:
        self.prefix = prefix
        self._id = slice(len(prefix), len(prefix) + id_length)
        self._made = id_length + _RANDOM
        self._form = re.compile(rf"{prefix}[0-9A-Za-z]{{{self._made + _CHECKSUM}}}")

    @property
    def length(self) -> int:
        return len(self.prefix) + self._made + _CHECKSUM

    def mint(self) -> str:
        """A new one, to be shown once."""
        body = self.prefix + random_characters(self._made)
        return body + _checksum(body)

    def is_well_formed(self, text: str) -> bool:
        """Whether it has the form and the checksum of one of ours."""
        return bool(self._form.fullmatch(text)) and hmac.compare_digest(_checksum(text[:-_CHECKSUM]), text[-_CHECKSUM:])

    def id_of(self, text: str) -> str:
        """Of one that is well formed."""
        return text[self._id]


API_KEY: Final = BearerForm("gca_", id_length=8)
WIDGET_KEY: Final = BearerForm("gcp_", id_length=12)
SESSION: Final = BearerForm("gcu_", id_length=12)  # a chatbot may have millions


def random_characters(count: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(count))


def _checksum(body: str) -> str:
    number, digits = zlib.crc32(body.encode()), ""
    for _ in range(_CHECKSUM):
        number, digit = divmod(number, 62)
        digits = _ALPHABET[digit] + digits
    return digits
