"""uvicorn's HTTP protocol with an end to what a caller may send before there is a request: so many bytes, so much time.

Idea: the parser keeps what it has read of a header until the header is whole, so the bytes are counted as they arrive.
Invariant: a connection that has sent neither a whole head nor been answered is gone after `head_timeout_s`, and never
holds more than `MOST_HEAD_BYTES` and one read; bodies have their own limits, in `api/http.py`.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gigachat_server.errors import HeadTooLarge

MOST_HEAD_BYTES = 64 * 1024


class BoundedHttp(HttpToolsProtocol):
    """One connection."""

    head_timeout_s = 30.0

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._head_bytes = 0
        self._head_deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_whole()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._head_deadline is None:
            self._expect_head()

    def on_headers_complete(self) -> None:
        self._head_is_whole()
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._head_deadline is None:
            return
        self._head_bytes += len(data)
        if self._head_bytes > MOST_HEAD_BYTES:
            self._refuse()

    def _expect_head(self) -> None:
        self._head_bytes = 0
        self._head_deadline = self.loop.call_later(self.head_timeout_s, self.transport.close)

    def _head_is_whole(self) -> None:
        if self._head_deadline is not None:
            self._head_deadline.cancel()
            self._head_deadline = None

    def _refuse(self) -> None:
        """There is no request to answer in the usual way yet, but a caller should learn why it ends."""
        self._head_is_whole()
        kind = HeadTooLarge
        body = msgspec.json.encode(
            {
                "type": f"/docs#error-{kind.code}",
                "title": kind.message,
                "status": kind.status,
                "detail": f"They may have {MOST_HEAD_BYTES} bytes.",
                "instance": "",
                "code": kind.code,
                "request_id": "",
            }
        )
        head = (
            f"HTTP/1.1 {kind.status} Request Header Fields Too Large\r\nContent-Type: application/problem+json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()


def bounded_http(head_timeout_s: float) -> type[BoundedHttp]:
    """The protocol with that much time for a head."""
    return type("BoundedHttpWithTimeout", (BoundedHttp,), {"head_timeout_s": head_timeout_s})
