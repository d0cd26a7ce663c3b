"""Requests in, answers out: what every handler shares.

Idea: a handler gets an `ApiRequest` whose body is already a checked struct and returns an `Answer`; bodies are strict
(unknown fields are errors) and every failure is one problem+json document (RFC 9457), rendered here and nowhere else.
Invariant: a decoded body holds no NUL, no lone surrogate and no number that is not finite.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode

import msgspec
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope

from gigachat_server.errors import (
    FieldError,
    GigachatError,
    IdempotencyInProgress,
    InvalidRequest,
    MalformedBody,
    PayloadTooLarge,
    RequestTimeout,
    UnsupportedMediaType,
)
from gigachat_server.records import Chatbot, Principal
from gigachat_server.settings import Settings
from gigachat_server.store import idempotency
from gigachat_server.store.database import Tx
from gigachat_server.store.idempotency import IdempotencyRecord, Key

T = TypeVar("T")
D = TypeVar("D", bound=bool | None)

_encode = msgspec.json.Encoder().encode
_MOST_ERRORS = 50
_SMALL_BODY = 64 * 1024  # of a larger one that is wrong, only the first fault is named
_LARGEST_MERGE = 256 * 1024
_FORBIDDEN = re.compile("[\x00\ud800-\udfff]")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")  # in a body that does not decode: not one of a pair


class ApiRequest:
    """One request, authenticated, its path and body decoded."""

    __slots__ = (
        "_chatbot",
        "body",
        "file",
        "headers",
        "kept",
        "key",
        "path",
        "principal",
        "query",
        "raw_path",
        "reauthorise",
        "request_id",
    )

    def __init__(
        self,
        *,
        path: Mapping[str, str],
        query: Mapping[str, str],
        headers: Mapping[str, str],
        raw_path: str,
        principal: Principal | None,
        request_id: str,
        body: Any = None,
        chatbot: Chatbot | None = None,
        reauthorise: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self.path = path
        self.query = query
        self.headers = headers
        self.raw_path = raw_path
        self.principal = principal
        self.request_id = request_id
        self.body = body
        self.file: Path | None = None  # of a form: where the bytes of its file are until this request is answered
        self.key: Key | None = None  # as which the caller knows this write
        self.kept: IdempotencyRecord | None = None  # what came of it when it was sent before
        self.reauthorise = reauthorise  # raises once the caller may not make this request any more
        self._chatbot = chatbot

    async def keep(self, tx: Tx, answer: Answer | IdempotencyRecord, *, now_us: int) -> None:
        """Within the transaction that does what was asked: what to answer if it is asked again under the same key."""
        if self.key is None:
            return
        kept = (
            answer
            if isinstance(answer, IdempotencyRecord)
            else IdempotencyRecord("answer", answer.status, _encode(answer.body).decode())
        )
        if not await idempotency.keep(tx, self.key, kept, now_us=now_us):
            raise IdempotencyInProgress(retry_after_s=1)

    @property
    def chatbot(self) -> Chatbot:
        """The chatbot of the path: the caller's own, its restrictions checked where the route is guarded."""
        assert self._chatbot is not None, "a route without {chatbot_id} asked for the chatbot"
        return self._chatbot

    @property
    def account_id(self) -> str:
        assert self.principal is not None, "a route without a scope asked who is calling"
        return self.principal.account_id


class Answer(msgspec.Struct, frozen=True):
    """What a handler returns: a value to encode as JSON, and how."""

    body: Any
    status: int = 200
    headers: dict[str, str] = {}


def render(answer: Answer) -> Response:
    if answer.status == 204:
        return Response(status_code=204, headers=answer.headers)
    return Response(_encode(answer.body), answer.status, answer.headers, "application/json")


def problem(error: GigachatError, *, instance: str, request_id: str) -> dict[str, Any]:
    """The problem+json form of an error; also the data of an SSE `error` event."""
    document: dict[str, Any] = {
        "type": f"/docs#error-{error.code}",
        "title": error.message,
        "status": error.status,
        "detail": error.detail or error.message,
        "instance": instance,
        "code": error.code,
        "request_id": request_id,
    }
    if error.errors:
        document["errors"] = [{"field": e.field, "message": e.message} for e in error.errors]
    return document


def render_problem(error: GigachatError, *, instance: str, request_id: str) -> Response:
    headers = dict(error.headers)
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="gigachat"'
    document = problem(error, instance=instance, request_id=request_id)
    return Response(_encode(document), error.status, headers, "application/problem+json")


def plain_headers(scope: Scope) -> dict[str, str]:
    """By lower-case name. Of a repeated one all count, in their order (RFC 9110, 5.3): a proxy may add its own after ours."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


# --- bodies ---


async def read_body(scope: Scope, receive: Receive, headers: Mapping[str, str], *, limit: int, timeout_s: float) -> bytes:
    """The whole body. Raises `PayloadTooLarge`, `UnsupportedMediaType`, `RequestTimeout`."""
    refuse_compressed(headers)
    too_large = PayloadTooLarge(f"A body may have at most {limit} bytes here.")
    if headers.get("content-length", "0").isdigit() and int(headers.get("content-length", "0")) > limit:
        raise too_large
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > limit:
                    raise too_large
                if not message.get("more_body", False):
                    return b"".join(parts)
    except TimeoutError:
        raise RequestTimeout(f"A body must arrive within {timeout_s:g} seconds.") from None


def refuse_compressed(headers: Mapping[str, str]) -> None:
    """What a compressed body unpacks to nobody knows beforehand. Raises `UnsupportedMediaType`."""
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("Compressed bodies are not accepted; send it without Content-Encoding.")


def check_media_type(headers: Mapping[str, str]) -> None:
    """A body without a type is taken for JSON, as is the form type that `curl -d` sends; any other type is refused."""
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type in ("", "application/json", "application/x-www-form-urlencoded", "text/plain"):
        return
    if media_type.endswith("+json"):
        return
    raise UnsupportedMediaType(f"Send application/json, not {media_type[:100]}.")


def decode(raw: bytes, wanted: type[T], settings: Settings) -> T:
    """The body as that struct. Raises `MalformedBody`, or `InvalidRequest` naming the fields at fault.

    A body that is right is read once, by a decoder in C. Of a wrong one every field is named if it is small; of a large
    one the first, since to look at millions of values would hold up everyone else.
    """
    try:
        body = msgspec.json.decode(raw, type=wanted)
    except msgspec.ValidationError as error:
        if len(raw) > _SMALL_BODY:
            _check_syntax(raw)
            raise InvalidRequest(errors=(_first_error(error, ""),)) from None
        data = _parse(raw)
        _refuse(_text_errors(data, "", depth=settings.max_depth))
        return convert(data, wanted)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        if len(raw) <= _SMALL_BODY:
            _refuse(_text_errors(_parse(raw), "", depth=settings.max_depth))
        elif _SURROGATE.search(raw):
            raise InvalidRequest(errors=(FieldError("", "Must not contain lone surrogates."),)) from None
        raise MalformedBody from None
    if b"\\u0000" in raw:  # NUL can only come escaped
        _refuse(_text_errors(msgspec.to_builtins(body), "", depth=settings.max_depth))
    return body


def convert(data: Any, wanted: type[T]) -> T:
    """Parsed JSON as that struct. Raises `InvalidRequest` naming every field at fault."""
    try:
        return msgspec.convert(data, wanted)
    except msgspec.ValidationError as error:
        errors = _field_errors(data, wanted, "")[:_MOST_ERRORS] or [_first_error(error, "")]
        raise InvalidRequest(errors=tuple(errors)) from None


def parse_object(raw: bytes, settings: Settings) -> dict[str, Any]:
    """The body as a plain JSON object, its texts checked, for a merge. Raises as `decode` does."""
    if len(raw) > _LARGEST_MERGE:
        raise PayloadTooLarge(f"A change may have at most {_LARGEST_MERGE} bytes.")
    data = _parse(raw)
    _refuse(_text_errors(data, "", depth=settings.max_depth))
    if not isinstance(data, dict):
        raise InvalidRequest(errors=(FieldError("", "Expected an object."),))
    return data


def _check_syntax(raw: bytes) -> None:
    """Reads over the JSON without making anything of it. Raises `MalformedBody`."""
    try:
        msgspec.json.decode(raw, type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise MalformedBody from None


def _parse(raw: bytes) -> Any:
    def refuse_constant(name: str) -> Any:
        raise ValueError(name)

    try:
        return json.loads(raw, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        place = f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        raise MalformedBody(f"The request body is not valid JSON{place}.") from None


def _refuse(errors: list[FieldError]) -> None:
    if errors:
        raise InvalidRequest(errors=tuple(errors[:_MOST_ERRORS]))


def _first_error(error: msgspec.ValidationError, field: str) -> FieldError:
    """What msgspec says, with the field beside the sentence instead of in it."""
    text, _, path = str(error).partition(" - at `$")
    return FieldError((field + path.rstrip("`")).lstrip("."), text.rstrip(".") + ".")


def _text_errors(data: Any, field: str, *, depth: int) -> list[FieldError]:
    """What no field may hold, wherever it is."""
    if isinstance(data, str):
        found = _FORBIDDEN.search(data)
        if found is None:
            return []
        what = "NUL characters" if found[0] == "\x00" else "lone surrogates"
        return [FieldError(field, f"Must not contain {what}.")]
    if isinstance(data, float) and not -1.8e308 < data < 1.8e308:
        return [FieldError(field, "Must be a finite number.")]
    if isinstance(data, (dict, list)) and depth == 0:
        return [FieldError(field, "Nested too deeply.")]
    if isinstance(data, list):
        return [e for i, item in enumerate(data) for e in _text_errors(item, f"{field}[{i}]", depth=depth - 1)]
    if isinstance(data, dict):
        errors = []
        for name, value in data.items():
            errors += _text_errors(name, f"{field}.<name>".lstrip("."), depth=depth - 1)
            errors += _text_errors(value, f"{field}.{name}".lstrip("."), depth=depth - 1)
        return errors
    return []


def _field_errors(data: Any, wanted: Any, field: str) -> list[FieldError]:
    """Every field at fault, where msgspec alone names the first."""
    info = msgspec.inspect.type_info(wanted)
    if not isinstance(info, msgspec.inspect.StructType) or not isinstance(data, dict):
        try:
            msgspec.convert(data, wanted)
        except msgspec.ValidationError as error:
            return [_first_error(error, field)]
        return []
    fields = {f.encode_name: f for f in msgspec.structs.fields(wanted)}
    prefix = field + "." if field else ""
    found = [FieldError(f"{prefix}{name}", "Unknown field.") for name in data if name not in fields]
    for name, described in fields.items():
        if name in data:
            found += _field_errors(data[name], described.type, prefix + name)
        elif described.required:
            found.append(FieldError(prefix + name, "Required."))
    return found


# --- queries ---


def parse_query(raw: bytes) -> dict[str, str]:
    """Of a repeated name the last counts."""
    try:
        return dict(parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=50))
    except (ValueError, UnicodeDecodeError):
        raise InvalidRequest(errors=(FieldError("query", "Cannot be decoded."),)) from None


def query_limit(query: Mapping[str, str], *, default: int = 50, most: int = 100) -> int:
    text = query.get("limit")
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= most):
        raise InvalidRequest(errors=(FieldError("limit", f"Must be a whole number from 1 to {most}."),))
    return int(text)


# Control characters but for tabs, ends of lines and paragraphs, and what turns the direction of all that follows.
_NO_NAME = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def name_error(field: str, name: str) -> FieldError | None:
    """Why this cannot be what a document is called: it is shown in one line, and as what it is."""
    found = _NO_NAME.search(name)
    if found is None:
        return None
    what = "NUL characters" if found[0] == "\0" else "line breaks, control characters or marks of direction"
    return FieldError(field, f"Must not contain {what}.")


def query_flag(query: Mapping[str, str], name: str, *, default: D) -> bool | D:
    text = query_choice(query, name, ("true", "false"))
    return default if text is None else text == "true"


def query_choice(query: Mapping[str, str], name: str, choices: Sequence[str]) -> str | None:
    text = query.get(name)
    if text is not None and text not in choices:
        raise InvalidRequest(errors=(FieldError(name, f"Must be {' or '.join(choices)}."),))
    return text


def next_link(request: ApiRequest, after: str) -> dict[str, str]:
    """The header that names a further page of the list just answered."""
    from_query = {name: value for name, value in request.query.items() if name != "after"}
    return {"Link": f'<{request.raw_path}?{urlencode({**from_query, "after": after})}>; rel="next"'}
