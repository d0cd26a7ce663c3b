"""An answer as bytes, for callers who sent no request that the application could answer."""

from __future__ import annotations

from http import HTTPStatus

from gigachat_server.edge.problem import render_problem
from gigachat_server.errors import GigachatError


def last_word(error: GigachatError, *, root: str) -> bytes:
    """The problem, and that the connection ends. `root`: the path of the public address."""
    response = render_problem(error, instance="", request_id="", root=root)
    lines = [f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}".encode()]
    lines += [b"%b: %b" % header for header in response.raw_headers]
    return b"\r\n".join((*lines, b"connection: close", b"", bytes(response.body)))
