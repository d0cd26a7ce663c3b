"""`Idempotency-Key`: a client's name for one intended write, so that sending it again does nothing again.

Idea: what the request does and the row that remembers it are one transaction. A use case is given the key and keeps its result
under it: the id of a prompt or a document, which is answered as it is by then, or the result itself. The edge shapes a result
once, after the commit; sent again, the same request reads it and shapes it the same way. Invariant: the scope is the caller,
the route and the header, so no caller meets what another one did.
"""

from __future__ import annotations

import hashlib
from typing import Any
from unicodedata import normalize
from urllib.parse import quote

import msgspec
from starlette.responses import Response

from gigachat_server.edge.request import Request
from gigachat_server.edge.routes import AnyRoute
from gigachat_server.errors import FieldError, InvalidRequest
from gigachat_server.store.idempotency import IdempotencyRecord, ImplicitKey, Key

REPLAYED = {"Idempotent-Replayed": "true"}
_LONGEST = 255
_HOW_TO_ANSWER = ("stream",)  # fields that change how the answer is sent, not what is done


def key_of(request: Request[Any], route: AnyRoute) -> Key:
    """The key that a request came with. Raises `InvalidRequest` for one that cannot be."""
    given = request.headers["idempotency-key"].strip(" \t")  # as HTTP has it: what else is blank is no part of a key
    if not 1 <= len(given) <= _LONGEST or not given.isprintable():
        message = f"Must have 1 to {_LONGEST} visible characters."
        raise InvalidRequest(errors=(FieldError("Idempotency-Key", message),))
    principal, chatbot = request.principal, request.named_chatbot
    return Key(
        chatbot_id=principal.account_id if chatbot is None else chatbot.id,
        principal=principal.id,
        route=_write_of(request, route),
        key=given,
        fingerprint=fingerprint(request.body),
        conversation_id=normalize("NFC", named) if (named := request.named.get("conversation_id")) is not None else None,
    )


def implicit_key_of(request: Request[Any], *named: str, is_repeat: bool) -> ImplicitKey:
    """The key of a request that came without one: who sent it, to which address, its bytes, and whom its headers name."""
    digest = hashlib.sha256(request.body_sha256 + "\0".join(named).encode()).hexdigest()
    route = f"implicit {request.method} {request.encoded_path.decode('ascii', 'replace')}"
    return ImplicitKey(
        chatbot_id=request.chatbot.id,
        principal=request.principal.id,
        route=route,
        key=digest,
        fingerprint=digest,
        is_repeat=is_repeat,
    )


def replay(kept: IdempotencyRecord) -> Response:
    """The first answer again, where an earlier version kept it whole."""
    return Response(kept.response, kept.status, REPLAYED, "application/json")


def _write_of(request: Request[Any], route: AnyRoute) -> str:
    """What a key's request writes to, however its path was spelt."""
    return " ".join((route.method, route.path, *(quote(request.named[name], safe="") for name in sorted(request.named))))


def _read_raw(kept: Any) -> Any:
    """What a body holds as it came, since its route reads but a part of it: by its bytes, if nothing can be made of them."""
    try:
        return msgspec.json.decode(kept)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return bytes(kept).decode("latin-1")


def fingerprint(body: Any) -> str:
    """SHA-256 of the body as it was understood: neither spaces nor the order of fields make another request of it."""
    fields = msgspec.to_builtins(body, enc_hook=_read_raw) if body is not None else {}
    for name in _HOW_TO_ANSWER:
        fields.pop(name, None)
    return hashlib.sha256(msgspec.json.encode(fields, order="sorted")).hexdigest()
