"""Bodies: read with limits, and decoded into structs that hold nothing they should not.

Idea: bodies are strict (unknown fields are errors), and a wrong one is answered with every field at fault. Invariant: a decoded
body holds no NUL, no lone surrogate and no number that is not finite.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from gigachat_server.edge.field_faults import BODY, example, located, unknown_field
from gigachat_server.edge.malformed import why_malformed
from gigachat_server.errors import (
    FieldError,
    InvalidRequest,
    MalformedBody,
    PayloadTooLarge,
    RequestTimeout,
    UnsupportedMediaType,
)
from gigachat_server.settings import Settings

T = TypeVar("T")

_MOST_ERRORS = 50
_SMALL_BODY = 64 * 1024  # of a larger one that is wrong, only the first fault is named
_LARGEST_MERGE = 256 * 1024
_FORBIDDEN = re.compile("[\x00\ud800-\udfff]")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")  # in a body that does not decode: not one of a pair


async def read_body(receive: Receive, headers: Mapping[str, str], *, limit: int, timeout_s: float) -> bytes:
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
            raise InvalidRequest(errors=(FieldError(*located(error, "")),)) from None
        data = _parse(raw, wanted)
        _refuse(_text_errors(data, "", depth=settings.max_depth))
        return convert(data, wanted)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        if len(raw) <= _SMALL_BODY:
            _refuse(_text_errors(_parse(raw, wanted), "", depth=settings.max_depth))
        elif _SURROGATE.search(raw):
            raise InvalidRequest(errors=(FieldError(BODY, "Must not contain lone surrogates."),)) from None
        raise MalformedBody(why_malformed(raw, example(wanted)) if len(raw) <= _SMALL_BODY else None) from None
    if b"\\u0000" in raw:  # NUL can only come escaped
        _refuse(_text_errors(msgspec.to_builtins(body), "", depth=settings.max_depth))
    return body


def convert(data: Any, wanted: type[T]) -> T:
    """Parsed JSON as that struct. Raises `InvalidRequest` naming every field at fault."""
    try:
        return msgspec.convert(data, wanted)
    except msgspec.ValidationError as error:
        errors = _field_errors(data, wanted, "")[:_MOST_ERRORS] or [FieldError(*located(error, ""))]
        raise InvalidRequest(errors=tuple(errors)) from None


def parse_object(raw: bytes, wanted: Any, settings: Settings) -> dict[str, Any]:
    """The body as a plain JSON object, its texts checked, to be merged into a `wanted`. Raises as `decode` does."""
    if len(raw) > _LARGEST_MERGE:
        raise PayloadTooLarge(f"A change may have at most {_LARGEST_MERGE} bytes.")
    data = _parse(raw, wanted)
    _refuse(_text_errors(data, "", depth=settings.max_depth))
    if not isinstance(data, dict):
        raise InvalidRequest(errors=(FieldError(BODY, "Must be an object."),))
    return data


def _check_syntax(raw: bytes) -> None:
    """Reads over the JSON without making anything of it. Raises `MalformedBody`."""
    try:
        msgspec.json.decode(raw, type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise MalformedBody from None


def _parse(raw: bytes, wanted: Any) -> Any:
    def refuse_constant(name: str) -> Any:
        raise ValueError(name)

    try:
        return json.loads(raw, parse_constant=refuse_constant)
    except (ValueError, RecursionError):
        raise MalformedBody(why_malformed(raw, example(wanted))) from None


def _refuse(errors: list[FieldError]) -> None:
    if errors:
        raise InvalidRequest(errors=tuple(errors[:_MOST_ERRORS]))


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
            return [FieldError(*located(error, field, wanted))]
        return []
    fields = {f.encode_name: f for f in msgspec.structs.fields(wanted)}
    prefix = field + "." if field else ""
    found = [FieldError(f"{prefix}{name}", unknown_field(name, fields)) for name in data if name not in fields]
    for name, described in fields.items():
        if name in data:
            found += _field_errors(data[name], described.type, prefix + name)
        elif described.required:
            found.append(FieldError(prefix + name, "Required."))
    return found
