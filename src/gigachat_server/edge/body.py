"""Bodies: read with limits, and decoded into structs that hold nothing they should not.

Idea: bodies are strict (unknown fields are errors), and a wrong one is answered with every field at fault. Invariant: a decoded
body holds no NUL, no lone surrogate and no number that is not finite.
"""

from __future__ import annotations

import asyncio
import json
import re
from codecs import BOM_UTF8
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from gigachat_server.edge.field_faults import BODY, LONGEST_FIELD, example, located, unknown_field
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

S = TypeVar("S", bound=msgspec.Struct)
T = TypeVar("T")

_MOST_ERRORS = 50
_SMALL_BODY = 64 * 1024  # of a larger one that is wrong, only the first fault is named
_LARGEST_MERGE = 256 * 1024
_INLINE_BYTES = 16 * 1024  # more can take longer than others should wait between two words of a reply
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
    """How much a compressed body unpacks to is unknown beforehand. Raises `UnsupportedMediaType`."""
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


async def parsed(raw: bytes, parse: Callable[[bytes], T]) -> T:
    """What `parse` makes of the body: in a thread if it is large, so that a caller who builds a slow one waits alone."""
    return parse(raw) if len(raw) <= _INLINE_BYTES else await asyncio.to_thread(parse, raw)


def _utf8(raw: bytes) -> bytes:
    """The body without a byte order mark. Raises `MalformedBody` for JSON in UTF-16 or UTF-32, which RFC 8259 rules out."""
    encoding = json.detect_encoding(raw)
    if encoding.startswith(("utf-16", "utf-32")):
        raise MalformedBody(f"The body is {encoding[:6].upper()}; send JSON in UTF-8.")
    return raw.removeprefix(BOM_UTF8)


def decode(raw: bytes, wanted: type[T], settings: Settings) -> T:
    """The body as that struct. Raises `MalformedBody`, or `InvalidRequest` naming the fields at fault.

    A body that is right is read once, by a decoder in C. Of a wrong one every field is named if it is small; of a large
    one the first, since to look at millions of values would take too long.
    """
    raw = _utf8(raw)
    try:
        body = msgspec.json.decode(raw, type=wanted)
    except msgspec.ValidationError as error:
        if len(raw) > _SMALL_BODY or not _is_strict(wanted):
            _check_syntax(raw)
            raise InvalidRequest(errors=(FieldError(*located(error, "")),)) from None
        data = _parse(raw, wanted)
        _refuse_texts(data, settings)
        return convert(data, wanted)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        if len(raw) <= _SMALL_BODY:
            _refuse_texts(_parse(raw, wanted), settings)
        elif _SURROGATE.search(raw):
            raise InvalidRequest(errors=(FieldError(BODY, "Must not contain lone surrogates."),)) from None
        raise MalformedBody(why_malformed(raw, example(wanted)) if len(raw) <= _SMALL_BODY else None) from None
    if b"\\u0000" in raw:  # NUL can only come escaped
        _refuse_texts(msgspec.to_builtins(body, enc_hook=_unread), settings)
    return body


def _is_strict(wanted: Any) -> bool:
    """Whether it refuses unknown fields. What reads a part of a body alone is told the first fault in that part."""
    config = getattr(wanted, "__struct_config__", None)
    return config is None or config.forbid_unknown_fields


def _unread(raw: Any) -> None:
    """What is kept as it came is checked by those who read it."""


def convert(data: Any, wanted: type[T]) -> T:
    """Parsed JSON as that struct. Raises `InvalidRequest` naming every field at fault."""
    try:
        return msgspec.convert(data, wanted)
    except msgspec.ValidationError as error:
        errors = _field_errors(data, wanted, "")[:_MOST_ERRORS] or [FieldError(*located(error, ""))]
        raise InvalidRequest(errors=tuple(errors)) from None


def patched(held: S, said: msgspec.Struct, patch: dict[str, Any]) -> S:
    """`held` with those fields of `said` that the patch names; all of `said` where nothing is held, as with a limit of null."""
    changes = {
        name: patched(below, getattr(said, name), value)
        if isinstance(value, dict) and isinstance(below := getattr(held, name), msgspec.Struct)
        else getattr(said, name)
        for name, value in patch.items()
    }
    return msgspec.structs.replace(held, **changes)


def parse_object(raw: bytes, wanted: Any, settings: Settings) -> dict[str, Any]:
    """The body as a plain JSON object, its texts checked, to be merged into a `wanted`. Raises as `decode` does."""
    if len(raw) > _LARGEST_MERGE:
        raise PayloadTooLarge(f"A change may have at most {_LARGEST_MERGE} bytes.")
    data = _parse(_utf8(raw), wanted)
    _refuse_texts(data, settings)
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


def _refuse_texts(data: Any, settings: Settings) -> None:
    """Raises `InvalidRequest` for what no field may hold."""
    errors: list[FieldError] = []
    _find_text_errors(data, None, settings.max_depth, errors)
    if errors:
        raise InvalidRequest(errors=tuple(errors))


_Path = tuple[Any, str] | None  # of a value: the path of what it is in, and the step from there


def _find_text_errors(data: Any, path: _Path, depth: int, errors: list[FieldError]) -> None:
    """Add what no field may hold, wherever it is. Paths are written out for errors alone: most values are fine."""
    if len(errors) == _MOST_ERRORS:
        return
    if isinstance(data, str):
        if (found := _FORBIDDEN.search(data)) is not None:
            what = "NUL characters" if found[0] == "\x00" else "lone surrogates"
            errors.append(FieldError(_written(path), f"Must not contain {what}."))
    elif isinstance(data, float) and not -1.8e308 < data < 1.8e308:
        errors.append(FieldError(_written(path), "Must be a finite number."))
    elif isinstance(data, (dict, list, tuple)) and depth == 0:
        errors.append(FieldError(_written(path), "Nested too deeply."))
    elif isinstance(data, (list, tuple)):  # a decoded body has tuples
        for number, item in enumerate(data):
            _find_text_errors(item, (path, f"[{number}]"), depth - 1, errors)
    elif isinstance(data, dict):
        for name, value in data.items():
            _find_text_errors(name, (path, ".<name>"), depth - 1, errors)
            _find_text_errors(value, (path, "." + name), depth - 1, errors)


def _written(path: _Path) -> str:
    steps = []
    while path is not None:
        path, step = path
        steps.append(step)
    return "".join(reversed(steps)).lstrip(".")[:LONGEST_FIELD] or BODY


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
    found = [FieldError(f"{prefix}{name}"[:LONGEST_FIELD], unknown_field(name, fields)) for name in data if name not in fields]
    for name, described in fields.items():
        if name in data:
            found += _field_errors(data[name], described.type, prefix + name)
        elif described.required:
            found.append(FieldError(prefix + name, "Required."))
    return found
