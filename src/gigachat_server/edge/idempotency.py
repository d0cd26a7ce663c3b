"""`Idempotency-Key`: a client's name for one intended write, so that sending it again does nothing again.

Idea: what the request does and the row that remembers it are one transaction; prompts are remembered by their id, and what
is answered again is made from the store (`chat/turns/turn.py`), any other answer is kept whole. Invariant: the scope is the
caller's key, the route and the header, so nobody meets what another caller did.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.responses import Response

from gigachat_server.errors import FieldError, InvalidRequest
from gigachat_server.records import Principal
from gigachat_server.store.idempotency import IdempotencyRecord, Key

REPLAYED = {"Idempotent-Replayed": "true"}
_LONGEST = 255
_HOW_TO_ANSWER = ("stream",)  # fields that change how the answer is sent, not what is done


def key_of(headers: Mapping[str, str], principal: Principal, *, chatbot_id: str | None, route: str, body: Any) -> Key | None:
    """The key that a request came with. Raises `InvalidRequest` for one that cannot be."""
    given = headers.get("idempotency-key")
    if given is None:
        return None
    given = given.strip(" \t")  # as HTTP has it: what else is blank is no part of a key
    if not 1 <= len(given) <= _LONGEST or not given.isprintable():
        message = f"Must have 1 to {_LONGEST} visible characters."
        raise InvalidRequest(errors=(FieldError("Idempotency-Key", message),))
    return Key(
        chatbot_id=chatbot_id or principal.account_id,
        principal=principal.key_id or "local",
        route=route,
        key=given,
        fingerprint=_fingerprint(body),
    )


def replay(kept: IdempotencyRecord) -> Response:
    """The first answer again."""
    return Response(kept.response, kept.status, REPLAYED, "application/json")


def _fingerprint(body: Any) -> str:
    """SHA-256 of the body as it was understood: neither spaces nor the order of fields make another request of it."""
    fields = msgspec.to_builtins(body) if body is not None else {}
    for name in _HOW_TO_ANSWER:
        fields.pop(name, None)
    return hashlib.sha256(msgspec.json.encode(fields, order="sorted")).hexdigest()
