"""JSON-RPC as the Model Context Protocol has it, of both eras: what a message asks for, and what is sent back. Pure.

Idea: since the revision 2026-07-28 a request carries all that there is to know of it, in `_meta` and again in its headers, for
proxies; before, a handshake settled the version. Nothing is kept between requests in either. Invariant: where the headers and
the body of a modern request disagree it is refused, so that nothing before this server judged another request than it answers.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from gigachat_server import __version__
from gigachat_server.errors import (
    GigachatError,
    InvalidRequest,
    MalformedBody,
    PayloadTooLarge,
    UnsupportedMediaType,
)

MODERN = "2026-07-28"
HANDSHAKE = ("2025-11-25", "2025-06-18", "2025-03-26")  # versions that begin with `initialize`, newest first
SUPPORTED = (MODERN, *HANDSHAKE)
SERVER_INFO = {"name": "gigachat", "title": "gigachat", "version": __version__}

PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS, INTERNAL_ERROR = -32700, -32600, -32601, -32602, -32603
SERVER_ERROR = -32000
RESOURCE_NOT_FOUND = -32002  # before 2026-07-28, which has INVALID_PARAMS for it
HEADER_MISMATCH, UNSUPPORTED_VERSION = -32020, -32022

_VERSION = "io.modelcontextprotocol/protocolVersion"
_CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
_SERVER_INFO = "io.modelcontextprotocol/serverInfo"
# What of the parameters the header Mcp-Name repeats.
_NAMED = {"tools/call": "name", "resources/read": "uri", "prompts/get": "name"}
_BASE64 = re.compile(r"=\?base64\?(.*)\?=", re.DOTALL)
_STATUS = {METHOD_NOT_FOUND: 404, INTERNAL_ERROR: 200, SERVER_ERROR: 200}  # of modern answers; of other errors 400
_KEPT_MS = 60_000  # how long lists may be kept: what there is depends on the key, and on what is pushed meanwhile

_encode = msgspec.json.Encoder().encode


class RpcMessage(msgspec.Struct, frozen=True):
    """A request, or without `id` a notification."""

    jsonrpc: Literal["2.0"]
    method: str
    id: str | int | UnsetType = UNSET
    params: dict[str, Any] = {}

    @property
    def is_notification(self) -> bool:
        return self.id is UNSET

    @property
    def meta(self) -> Mapping[str, Any]:
        given = self.params.get("_meta")
        return given if isinstance(given, dict) else {}

    @property
    def progress_token(self) -> str | int | None:
        given = self.meta.get("progressToken")
        return given if isinstance(given, str | int) and not isinstance(given, bool) else None


class RpcError(Exception):
    """What a request is refused with."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


class Era(msgspec.Struct, frozen=True):
    """By which rules a message is answered."""

    is_modern: bool


def era_of(message: RpcMessage, headers: Mapping[str, str]) -> Era:
    """Raises `RpcError` for versions that are not served, and for headers that say something else than the body."""
    told, meant = headers.get("mcp-protocol-version"), message.meta.get(_VERSION)
    if message.method == "initialize" and meant is None:
        return Era(is_modern=False)  # it negotiates the version itself
    if told is not None and meant is not None and told != meant:
        raise RpcError(HEADER_MISMATCH, "The header MCP-Protocol-Version is not the version in _meta.")
    version = meant if told is None else told
    if version is None or version in HANDSHAKE:
        return Era(is_modern=False)
    if version != MODERN:
        data = {"supported": [*SUPPORTED], "requested": version}
        raise RpcError(UNSUPPORTED_VERSION, "This protocol version is not served.", data)
    if not message.is_notification:  # what those have to carry is not laid down
        if told is None:
            raise RpcError(HEADER_MISMATCH, "The header MCP-Protocol-Version is missing.")
        if missing := [name for name in (_VERSION, _CAPABILITIES) if name not in message.meta]:
            raise RpcError(INVALID_PARAMS, f"params._meta lacks {' and '.join(missing)}.")
        _check_headers(message, headers)
    return Era(is_modern=True)


def _check_headers(message: RpcMessage, headers: Mapping[str, str]) -> None:
    if headers.get("mcp-method") != message.method:
        raise RpcError(HEADER_MISMATCH, "The header Mcp-Method is not the method of the body.")
    name = _NAMED.get(message.method)
    wanted = message.params.get(name) if name else None
    if wanted is not None and _decoded(headers.get("mcp-name")) != wanted:
        raise RpcError(HEADER_MISMATCH, f"The header Mcp-Name is not params.{name} of the body.")


def _decoded(value: str | None) -> str | None:
    """A header's value; what no header can hold comes as base64."""
    found = _BASE64.fullmatch(value or "")
    if found is None:
        return value
    try:
        return base64.b64decode(found[1], validate=True).decode()
    except (binascii.Error, ValueError):
        return None


def negotiated(message: RpcMessage) -> str:
    """The version of a handshake: the one that the client wants if it is served, or else the newest."""
    wanted = message.params.get("protocolVersion")
    return wanted if wanted in HANDSHAKE else HANDSHAKE[0]


# --- what is sent back ---


def answer(message: RpcMessage, era: Era, result: Mapping[str, Any], *, is_kept: bool = False) -> dict[str, Any]:
    """`is_kept`: it may be kept for a while, by this client alone."""
    if era.is_modern:
        kept = {"ttlMs": _KEPT_MS, "cacheScope": "private"} if is_kept else {}
        result = {**result, "resultType": "complete", "_meta": {_SERVER_INFO: SERVER_INFO}, **kept}
    return {"jsonrpc": "2.0", "id": message.id, "result": result}


def refusal(message: RpcMessage, error: RpcError) -> dict[str, Any]:
    """The same for a request whose era is not known."""
    return _refusal(None if message.id is UNSET else message.id, error.code, error.message, error.data)


def status_of(error: RpcError, era: Era | None) -> int:
    """Before 2026-07-28 an answer is one, whatever it says; a request that belongs to neither era is a bad one."""
    if era is not None and not era.is_modern:
        return 200
    return _STATUS.get(error.code, 400)


def problem_body(error: GigachatError) -> bytes:
    """What the request as a whole ended with, before or beside what it asks for."""
    code = SERVER_ERROR if error.status < 500 else INTERNAL_ERROR
    if isinstance(error, MalformedBody):
        code = PARSE_ERROR
    elif isinstance(error, InvalidRequest | PayloadTooLarge | UnsupportedMediaType):
        code = INVALID_REQUEST
    return _encode(_refusal(None, code, error.detail or error.message, problem_data(error)))


def problem_data(error: GigachatError) -> dict[str, Any]:
    """An error as programs and models can act on it."""
    told: dict[str, Any] = {"code": error.code, "title": error.message}
    if error.detail:
        told["detail"] = error.detail
    if error.errors:
        told["errors"] = [{"field": each.field, "message": each.message} for each in error.errors]
    return told


def progress(token: str | int, so_far: int, message: str) -> bytes:
    params = {"progressToken": token, "progress": so_far, "message": message}
    return event({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})


def event(message: Mapping[str, Any]) -> bytes:
    return b"event: message\ndata: " + _encode(message) + b"\n\n"


def _refusal(message_id: str | int | None, code: int, message: str, data: Any) -> dict[str, Any]:
    told = {"code": code, "message": message}
    return {"jsonrpc": "2.0", "id": message_id, "error": told if data is None else {**told, "data": data}}
