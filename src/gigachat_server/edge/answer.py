"""Answers as handlers return them, and as they go out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Send

_encode = msgspec.json.Encoder().encode


class Answer(msgspec.Struct, frozen=True):
    """What a handler returns: a value to encode as JSON, and how."""

    body: Any
    status: int = 200
    headers: Mapping[str, str] = {}


def render(answer: Answer | Response) -> Response:
    if isinstance(answer, Response):
        return answer
    if answer.status == 204:
        return Response(status_code=204, headers=answer.headers)
    return Response(_encode(answer.body), answer.status, answer.headers, "application/json")


def without_stream(response: Response) -> Response:
    """Its head alone, if it is one that might never end: the connection would be held up for as long."""
    if not isinstance(response, StreamingResponse):
        return response
    head = Response(status_code=response.status_code)
    head.raw_headers = response.raw_headers
    return head


def without_body(send: Send) -> Send:
    async def send_head(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return send_head
