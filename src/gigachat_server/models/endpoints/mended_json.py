r"""Decodes JSON from strangers, even if its text is invalid; no I/O.

Invariant: every text that leaves here is valid Unicode, except lone surrogates on request. Bytes that are not
UTF-8 and lone surrogates become U+FFFD, raw control characters blanks; an escaped NUL (`\u0000`) is sound JSON and stays, so
callers replace it where it matters.
"""

from __future__ import annotations

import json
import re
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

_ESCAPE = re.compile(
    r"\\(?:(?P<pair>u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|(?P<lone>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)"
)
_CONTROLS = dict.fromkeys(range(1, 32), " ") | {0: "\ufffd"}
NOTHING = object()  # what no JSON decodes to


def decode_mended(decoder: msgspec.json.Decoder[T], payload: bytes) -> T | None:
    """What `payload` says, repaired if necessary; None if it does not match."""
    try:
        return decoder.decode(payload)
    except msgspec.ValidationError:
        return None
    except (ValueError, RecursionError):
        pass
    try:
        return decoder.decode(_mended(payload).encode())
    except (ValueError, RecursionError):
        return None


def decode_anything(payload: bytes, *, keeps_surrogates: bool = False) -> Any:
    """What `payload` says in dicts, lists and texts, repaired if necessary; `NOTHING` if it is not JSON.

    `keeps_surrogates`: half of a character that was cut in two is left as it is, so that the other half can be put to it.
    """
    try:
        return msgspec.json.decode(payload)
    except (ValueError, RecursionError):
        pass
    try:
        if keeps_surrogates:
            return json.loads(payload.decode("utf-8", "replace").translate(_CONTROLS), parse_constant=_refuse_constant)
        return msgspec.json.decode(_mended(payload).encode())
    except (ValueError, RecursionError):
        return NOTHING


def _refuse_constant(name: str) -> None:
    raise ValueError(name)  # NaN and Infinity are JSON only to Python


def _mended(payload: bytes) -> str:
    text = payload.decode("utf-8", "replace").translate(_CONTROLS)
    return _ESCAPE.sub(lambda match: "\ufffd" if match["lone"] else match[0], text)
