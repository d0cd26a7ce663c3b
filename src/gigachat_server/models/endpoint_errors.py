"""What an endpoint's refusals mean: statuses, error bodies and errors inside a stream, as our own errors; no I/O.

Invariant: the endpoint's prose is never looked at for a meaning beyond the name of a parameter, and never passed on.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

import msgspec

from gigachat_server.errors import ModelError, ModelRateLimited, ModelRejected


class EndpointError(msgspec.Struct, gc=False):
    """What endpoints say about a failure. Only `code`, `type` and `param` are ever looked at, never the prose."""

    code: int | str | None = None
    type: str | None = None
    param: str | None = None


class _ErrorBody(msgspec.Struct):
    error: EndpointError | str | None = None


# What a reply can do without.
OPTIONAL_PARAMETERS = frozenset(
    {"stream_options", "max_tokens", "temperature", "top_p", "presence_penalty", "frequency_penalty", "tools"}
)
# How endpoints say that they know no tools: as a bad request, as a route that is not there (OpenRouter), or as a failure of
# their own (llama.cpp before its templates were on: "tools param requires --jinja flag").
_TOOLS_REFUSED = {
    400: re.compile(rb"\btools?\b", re.IGNORECASE),
    404: re.compile(rb"support (?:[^\"]{1,40} )?tool", re.IGNORECASE),
    422: re.compile(rb"\btools?\b", re.IGNORECASE),
    500: re.compile(rb"\btools param|\bparam: tools", re.IGNORECASE),
}


def error_in(body: bytes) -> EndpointError:
    """What an error body says, as far as it can be read; nothing at all if it cannot."""
    try:
        error = msgspec.json.decode(body, type=_ErrorBody).error
    except (ValueError, RecursionError):
        return EndpointError()
    return error if isinstance(error, EndpointError) else EndpointError()


def failure_named(error: EndpointError) -> ModelError:
    """The error for a failure that an endpoint reports inside a stream that began as a success."""
    names = f"{error.code} {error.type}".lower()
    status = _status(error.code)
    if status == 429 or "rate_limit" in names or "insufficient_quota" in names:
        return ModelRateLimited()
    if (status is not None and 400 <= status < 500) or "invalid_request" in names or "badrequest" in names:
        return ModelRejected()
    return ModelError()


def _status(code: int | str | None) -> int | None:
    if isinstance(code, str):
        return int(code) if len(code) == 3 and code.isascii() and code.isdigit() else None
    return code


def refused_parameter(status: int, body: bytes, prompt: str, *, has_tools: bool = False) -> str | None:
    """The parameter a refusal may be about, if a reply can do without it.

    Endpoints word it as they like, and some echo what they were sent: if the prompt names a parameter, its name in the body
    proves nothing. The word "tool" is too common in prompts for that: there, only a call without `tools` will tell, so
    whoever calls learns nothing before it was accepted.
    """
    if status in (400, 422) and (name := _named_parameter(body, prompt)) is not None and (name != "tools" or has_tools):
        return name
    refusal = _TOOLS_REFUSED.get(status)
    return "tools" if has_tools and refusal is not None and refusal.search(body) else None


def _named_parameter(body: bytes, prompt: str) -> str | None:
    if "stream_options" in prompt or "include_usage" in prompt or "max_tokens" in prompt:
        return None
    if b"stream_options" in body or b"include_usage" in body:
        return "stream_options"
    if b"max_completion_tokens" in body and b"max_tokens" in body:
        return "max_tokens"
    error = error_in(body)
    if error.code in ("unsupported_parameter", "unsupported_value") and error.param in OPTIONAL_PARAMETERS:
        return error.param
    return None


def failure_of_status(status: int, headers: Mapping[str, str]) -> ModelError:
    """The error that an HTTP status other than success stands for."""
    if status == 429:
        return ModelRateLimited(retry_after_s=retry_after_s(headers))
    if status >= 500:
        return ModelError(retry_after_s=retry_after_s(headers))
    return ModelRejected()


def retry_after_s(headers: Mapping[str, str]) -> int | None:
    """Whole seconds until a retry is welcome, rounded up. A date counts from the answer's own: no clock is compared."""
    value = headers.get("Retry-After", "").strip()
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value) - parsedate_to_datetime(headers.get("Date", ""))).total_seconds()
        except (ValueError, TypeError, OverflowError):
            return None
    if not math.isfinite(seconds):
        return None
    return min(max(math.ceil(seconds), 0), 86_400)
