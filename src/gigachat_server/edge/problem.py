"""Errors as they go out: one problem+json document (RFC 9457) for each."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.responses import Response

from gigachat_server.errors import GigachatError, RateLimited

_encode = msgspec.json.Encoder().encode


def problem(error: GigachatError, *, instance: str, request_id: str, root: str) -> dict[str, Any]:
    """The problem+json form of an error; also the data of an SSE `error` event. `root`: the path of the public address."""
    document: dict[str, Any] = {
        "type": f"{root}/docs#error-{error.code}",
        "title": error.message,
        "status": error.status,
        "detail": error.detail or error.message,
        "instance": instance,
        "code": error.code,
        "request_id": request_id,
    }
    if error.errors:
        document["errors"] = [{"field": e.field, "message": e.message} for e in error.errors]
    if isinstance(error, RateLimited) and error.violated:
        document["violated-policies"] = list(error.violated)
    return document


def problem_headers(error: GigachatError) -> dict[str, str]:
    """What an error says in headers, on whatever surface."""
    headers = dict(error.headers)
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="gigachat"'
    return headers


def render_problem(error: GigachatError, *, instance: str, request_id: str, root: str) -> Response:
    headers = problem_headers(error)
    document = problem(error, instance=instance, request_id=request_id, root=root)
    return Response(_encode(document), error.status, headers, "application/problem+json")
