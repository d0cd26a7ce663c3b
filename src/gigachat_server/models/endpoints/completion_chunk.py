"""Decodes one chunk of a chat completion, tolerating oddities; no I/O.

Idea: a well-formed chunk is decoded in one pass; only a malformed one is read field by field. Invariant: an oddity that carries
no text is ignored (an index as a string, a fractional count, an empty error); one that may have carried text but cannot be read
is `Unreadable`, because a reply with a hole in it is not the reply.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from gigachat_server.models.endpoints.mended_json import NOTHING, decode_anything

_ABSENT = frozenset({b"", b"null", b'""', b"[]", b"{}", b"false"})
_REASONING = ("reasoning_content", "reasoning", "reasoning_details", "reasoning_text", "thinking", "thought", "thoughts")
_KEEP_ALIVES: tuple[Any, ...] = ({}, "", None)
_NO_ERROR = frozenset({"", "0", "null", "none", "ok", "success", "200", "no error", "no_error"})
_ERROR_KEYS = ("error", "errors", "detail", "error_code", "error_msg", "error_message", "errormessage", "fault", "exception")


class Unreadable(Exception):
    """It may have held a part of a reply, but cannot be read."""


class Content(msgspec.Struct, gc=False):
    """What is said: a `delta`, or the whole `message`. Only whether there is reasoning matters."""

    content: str | None = None
    refusal: str | None = None
    reasoning_content: msgspec.Raw = msgspec.Raw()
    reasoning: msgspec.Raw = msgspec.Raw()
    tool_calls: msgspec.Raw = msgspec.Raw()
    function_call: msgspec.Raw = msgspec.Raw()

    @property
    def is_text_alone(self) -> bool:
        """What nearly all pieces of a reply are."""
        return bool(self.content) and not (self.tool_calls or self.function_call or self.refusal)

    @property
    def has_reasoning(self) -> bool:
        return _is_there(self.reasoning_content) or _is_there(self.reasoning)

    @property
    def calls(self) -> Any:
        """The tool calls in it, or their pieces; None if there are none."""
        return _decoded(self.tool_calls) if _is_there(self.tool_calls) else None

    @property
    def called_function(self) -> Any:
        return _decoded(self.function_call) if _is_there(self.function_call) else None


class Choice(msgspec.Struct, gc=False):
    index: int | None = None
    delta: Content | None = None
    message: Content | None = None
    finish_reason: str | None = None
    error: msgspec.Raw = msgspec.Raw()
    text: str | None = None  # of completions that are no chat

    @property
    def is_going_on(self) -> bool:
        return not (self.finish_reason or self.error)

    @property
    def failure(self) -> Any:
        return real_error(_decoded(self.error)) if _is_there(self.error) else None


class TokenDetails(msgspec.Struct, gc=False):
    reasoning_tokens: int | None = None


class Usage(msgspec.Struct, gc=False):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    completion_tokens_details: TokenDetails | None = None


class Chunk(msgspec.Struct, gc=False):
    """One `data:` line, or the whole JSON body: the two differ in `delta` and `message` only."""

    object: str | None = None
    type: str | None = None
    model: str | None = None
    choices: list[Choice] | None = None
    usage: Usage | None = None
    error: msgspec.Raw = msgspec.Raw()


class Read(msgspec.Struct, frozen=True, gc=False):
    """What a payload is: a chunk, or the error that it tells of (decoded, in any form), or neither."""

    chunk: Chunk | None = None
    error: Any = None
    is_keep_alive: bool = False
    is_done: bool = False  # the reply is over, as its endpoint says


_decode = msgspec.json.Decoder(Chunk).decode


def read_chunks(payload: bytes) -> Sequence[Read] | None:
    """Its contents, most often one chunk; None if it is not JSON. Raises `Unreadable`."""
    try:
        chunk = _decode(payload)
    except (ValueError, RecursionError):
        pass
    else:
        is_sound = chunk.choices or (chunk.choices is not None and chunk.usage is not None)
        if is_sound and not _is_there(chunk.error) and chunk.object != "error":
            return (Read(chunk),)
    value = decode_anything(payload, keeps_surrogates=True)
    if value is NOTHING:
        return None
    return [_read(each) for each in value] if isinstance(value, list) and value else [_read(value)]


def real_error(value: Any) -> Any:
    """The error, if that is what it is: some servers send an empty one with every chunk."""
    if isinstance(value, dict):
        return value if any(real_error(each) is not None for each in value.values()) else None
    if isinstance(value, str):
        return None if value.strip().lower() in _NO_ERROR else value
    if isinstance(value, list):
        return value if any(real_error(each) is not None for each in value) else None
    return None if value in (None, False, 0, 200) else value


def _read(value: Any) -> Read:
    if not isinstance(value, dict):
        return Read(is_keep_alive=value in _KEEP_ALIVES)
    choices = _choices(value)
    if (error := _error_in(value, has_choices=bool(choices))) is not None:
        return Read(error=error)
    usage = _usage(value.get("usage"))
    has_known = choices is not None or usage is not None
    kind = value.get("type")
    if not has_known:
        is_ping = not value or kind in ("ping", "heartbeat", "keepalive", "keep-alive", "keep_alive")
        nulls = all(each is None for each in value.values())
        return Read(Chunk() if nulls and value else None, is_keep_alive=is_ping or nulls)
    return Read(Chunk(model=_text(value.get("model")), choices=choices, usage=usage))


def _error_in(value: dict[str, Any], *, has_choices: bool) -> Any:
    if real_error(value.get("error")) is not None:
        return value
    if value.get("object") == "error" or value.get("type") == "error":
        return value
    if has_choices:
        return None
    lowered = {name.lower(): each for name, each in value.items() if isinstance(name, str)}
    if any(real_error(lowered.get(key)) is not None for key in _ERROR_KEYS) or lowered.get("success") is False:
        return value
    status = lowered.get("code", lowered.get("status", lowered.get("status_code")))
    if number_of(status) is not None and number_of(status) >= 400:  # type: ignore[operator]
        return value
    has_message = any(isinstance(lowered.get(key), str) and lowered[key].strip() for key in ("message", "msg"))
    if has_message and real_error(status) is not None:
        return value
    base = lowered.get("base_resp")
    if isinstance(base, dict) and number_of(base.get("status_code")) not in (None, 0):
        return base
    return None


def _choices(value: dict[str, Any]) -> list[Choice] | None:
    given = value.get("choices")
    if isinstance(given, dict):
        given = [given] if given.keys() & {"delta", "message", "finish_reason", "text"} else list(given.values())
        given = [each for each in given if isinstance(each, dict)] or None
    if not isinstance(given, list):
        return None
    return [_choice(each) for each in given if isinstance(each, dict)]


def _choice(value: dict[str, Any]) -> Choice:
    return Choice(
        index=number_of(value.get("index")),
        delta=_content(value.get("delta")),
        message=_content(value.get("message")),
        finish_reason=_text(value.get("finish_reason", value.get("finishReason"))),
        error=_raw(real_error(value.get("error"))),
        text=_text(value.get("text")),
    )


def _content(value: Any) -> Content | None:
    if value is None or value is False or value == [] or value == "":
        return None
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, dict):
        raise Unreadable
    return Content(
        content=_said(value.get("content")),
        refusal=_text(value.get("refusal")),
        reasoning=_raw(next((value[name] for name in _REASONING if value.get(name)), None)),
        tool_calls=_raw(value.get("tool_calls")),
        function_call=_raw(value.get("function_call")),
    )


def _said(value: Any) -> str | None:
    """Text in any of the forms it comes in: itself, parts, an object, none. Thoughts among the parts are not said."""
    if value is None or value is False or isinstance(value, str):
        return value or None
    if isinstance(value, list):
        return "".join(_said(each) or "" for each in value) or None
    if isinstance(value, dict):
        kind = value.get("type")
        if kind not in (None, "text", "output_text", "text_delta", "input_text"):
            return None
        for name in ("text", "content", "value", "parts", "output_text"):
            if name in value:
                return _said(value[name])
        if not value:
            return None
    raise Unreadable


def _usage(value: Any) -> Usage | None:
    if not isinstance(value, dict):
        return None
    details = value.get("completion_tokens_details", value.get("output_tokens_details"))
    thought = details.get("reasoning_tokens") if isinstance(details, dict) else value.get("reasoning_tokens")
    return Usage(
        prompt_tokens=number_of(value.get("prompt_tokens", value.get("input_tokens"))),
        completion_tokens=number_of(value.get("completion_tokens", value.get("output_tokens"))),
        completion_tokens_details=TokenDetails(number_of(thought)),
    )


def number_of(value: Any) -> int | None:
    """A whole number, also if it comes as a text or a fraction."""
    if value is None or isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return int(float(value)) if not isinstance(value, int) else value
    except (ValueError, OverflowError):
        return None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _raw(value: Any) -> msgspec.Raw:
    if value is None:
        return msgspec.Raw()
    try:
        return msgspec.Raw(msgspec.json.encode(value))
    except (ValueError, TypeError, OverflowError, UnicodeError, RecursionError):
        return msgspec.Raw(b"true")  # something is there


def _is_there(raw: msgspec.Raw) -> bool:
    return bool(raw) and bytes(raw) not in _ABSENT


def _decoded(raw: msgspec.Raw) -> Any:
    value = decode_anything(bytes(raw))
    return None if value is NOTHING else value
