"""An answer as bytes, for callers who sent no request that the application could answer."""

from __future__ import annotations

from http import HTTPStatus

from gigachat_server.edge.problem import render_problem
from gigachat_server.errors import GigachatError


def last_word(error: GigachatError) -> bytes:
    """The problem, and that the connection ends."""
    response = render_problem(error, instance="", request_id="")
    lines = [f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}".encode()]
    lines += [b"%b: %b" % header for header in response.raw_headers]
    return b"\r\n".join((*lines, b"connection: close", b"", bytes(response.body)))
