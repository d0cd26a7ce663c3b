"""Cursors: opaque names of the place in a list where a further page starts.

Invariant: a cursor names a moment and an id, not a count, so what is added meanwhile is neither shown twice nor skipped.
"""

from __future__ import annotations

import base64
import binascii

from gigachat_server.errors import FieldError, InvalidRequest


def dump(at: int, last_id: str) -> str:
    return base64.urlsafe_b64encode(f"{at} {last_id}".encode()).decode().rstrip("=")


def load(text: str | None) -> tuple[int, str] | None:
    """(time in microseconds, id) of the last entry already seen. Raises `InvalidRequest`."""
    if text is None:
        return None
    try:
        at, _, last_id = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode().partition(" ")
        return int(at[:18]), last_id
    except (binascii.Error, ValueError):
        raise InvalidRequest(errors=(FieldError("after", "Must be a cursor from a Link header."),)) from None
